//! The proof: the active node dies, the other takes over, a product registers meanwhile, the node comes back, roles
//! are switched back, and nothing was lost.

use super::plan::{NODES, Node};
use super::scene::{PATIENCE, PRODUCTS, Scene, node, path};
use super::setup::done;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Registered before the node dies, and with the one that comes during the outage.
const BEFORE: usize = 4;
const AFTER: usize = PRODUCTS.len();

/// Plays it all and checks it all.
///
/// # Errors
/// With what is not as it must be.
pub async fn prove(scene: &mut Scene) -> Result<()> {
    println!("\nKilling the active node:");
    let first = scene.active().await?;
    let other = NODES.iter().find(|n| !n.witness && n.name != first).context("there is no other data node")?;
    let killed = Instant::now();
    scene.kill(&first).await?;
    let gap = until_granted(scene, killed).await?;
    scene.until(other, &["ha", "status"], "the take-over", |s| s["vip"]["holder"] == other.name).await?;
    done(&format!(
        "{} took over: the next license was granted {} ms after `kill -9` of {first}",
        other.name,
        gap.as_millis()
    ));
    scene.check_totals(other, BEFORE).await?;
    scene.bring_in(AFTER - 1).await?;
    done(&format!("{} registered during the outage, through the same address", PRODUCTS[AFTER - 1].host));

    scene.start(&first)?;
    let first = node(&first)?;
    let back = |s: &Value| s["cluster"] == "normal";
    scene.until(first, &["ha", "status"], "the node's return", back).await.context("after starting the dead node")?;
    done(&format!("{} came back as standby by itself", first.name));

    let socket = path(scene.plan.socket(other));
    let said = scene.program.json(&["--socket", &socket, "ha", "switchover", "--to", first.name, "--yes"]).await?;
    let gap_ms = said["gap_ms"].as_u64().or_else(|| said[0]["gap_ms"].as_u64()).unwrap_or_default();
    scene.until(first, &["ha", "status"], "the switch back", |s| s["vip"]["holder"] == first.name).await?;
    done(&format!("switched back to {}: {gap_ms} ms without service", first.name));

    for asked in [first, other] {
        scene.check_totals(asked, AFTER).await?;
    }
    doctor(scene, first).await?;
    done("nothing was lost: five instances, the totals are exact, and all replicas have equal digests");
    Ok(())
}

/// Asks for the first product's licenses until they are granted again; the time since `killed`.
async fn until_granted(scene: &Scene, killed: Instant) -> Result<Duration> {
    use crate::product::agent::{Agent, Settings};
    use crate::product::message::LicenseCount;
    let licenses: Vec<LicenseCount> = PRODUCTS[0]
        .licenses
        .iter()
        .map(|(tag, count)| LicenseCount { tag: (*tag).to_owned(), count: *count })
        .collect();
    let mut agent = Agent::open(&scene.agent_dir(0), Settings::default(), None)?.with_patience(PATIENCE);
    agent.request(licenses).await.context("no license was granted after the kill")?;
    Ok(killed.elapsed())
}

async fn doctor(scene: &Scene, node: &Node) -> Result<()> {
    let checks = scene.on(node, &["doctor"]).await?;
    let failed: Vec<&Value> = checks.as_array().into_iter().flatten().filter(|c| c["result"] == "failed").collect();
    if !failed.is_empty() {
        bail!("`licraft doctor` found: {failed:?}");
    }
    Ok(())
}
