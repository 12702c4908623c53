//! Builds the system from nothing, step by step, as an operator would.

use super::plan::{NODES, Plan, VIP};
use super::scene::{CENTRAL, ENTITLEMENTS, Scene, path};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// Its presence says that the folder holds a finished demo; it keeps what cannot be asked for again.
pub const DONE: &str = "demo.json";

const SMART_ACCOUNT: &str = "Example Corp";
const VIRTUAL_ACCOUNT: &str = "Headquarters";
const ACCOUNT: &str = "TEST";
/// The four products of story B.
const PRODUCTS: usize = 4;

/// Everything from `central init` to the fourth product.
///
/// # Errors
/// When a step fails; with the command's own words.
pub async fn build(plan: Plan) -> Result<Scene> {
    println!("Building a demo in {}", plan.dir.display());
    let mut scene = Scene::new(plan)?;
    central(&mut scene).await.context("setting up central")?;
    nodes(&mut scene).await.context("setting up the nodes")?;
    account(&mut scene).await.context("setting up the account")?;
    for product in 0..PRODUCTS {
        scene.bring_in(product).await.context("bringing in a product")?;
    }
    done("four product instances registered and licensed through the virtual address");
    scene.check_totals(&NODES[0], PRODUCTS).await?;
    let kept = serde_json::json!({ "password": scene.password, "token": scene.token });
    write_private(&scene.plan.dir.join(DONE), kept.to_string().as_bytes())?;
    Ok(scene)
}

/// Starts a demo that was built before.
///
/// # Errors
/// When it does not start.
pub async fn resume(plan: Plan) -> Result<Scene> {
    println!("Resuming the demo in {}", plan.dir.display());
    let kept: Value = serde_json::from_slice(&std::fs::read(plan.dir.join(DONE))?).context("reading demo.json")?;
    let mut scene = Scene::new(plan)?;
    scene.password = text(&kept, "password")?;
    scene.token = text(&kept, "token")?;
    scene.start(CENTRAL)?;
    for node in &NODES {
        // The ports may be others than last time.
        std::fs::write(scene.plan.config_file(node), scene.plan.config(node)).context("writing a node file")?;
        scene.start(node.name)?;
    }
    scene.active().await?;
    Ok(scene)
}

async fn central(scene: &mut Scene) -> Result<()> {
    let dir = path(scene.plan.central_dir());
    std::fs::create_dir_all(&scene.plan.dir).context("making the demo's folder")?;
    scene.program.run(&["central", "init", "--dir", &dir, "--name", "Example Vendor"]).await?;
    let account = ["central", "account", "create", SMART_ACCOUNT, "--virtual-account", VIRTUAL_ACCOUNT, "--dir", &dir];
    scene.program.run(&account).await?;
    for (tag, name, quantity) in ENTITLEMENTS {
        let quantity = quantity.to_string();
        let to = ["--smart-account", SMART_ACCOUNT, "--virtual-account", VIRTUAL_ACCOUNT, "--dir", &dir];
        let what = ["central", "entitle", "--license", tag, "--name", name, "--quantity", &quantity];
        scene.program.run(&[&what[..], &to].concat()).await?;
    }
    scene.start(CENTRAL)?;
    done("the vendor's central: root, issuing CA, a smart account with eight licenses");
    Ok(())
}

async fn nodes(scene: &mut Scene) -> Result<()> {
    for node in &NODES {
        let config = scene.plan.config_file(node);
        std::fs::create_dir_all(config.parent().context("a node file has a folder")?)?;
        std::fs::write(&config, scene.plan.config(node)).context("writing a node file")?;
        scene.start(node.name)?;
        scene.until(node, &["ha", "status"], "an answer of the node", |_| true).await?;
    }
    let primary = &NODES[0];
    let made = scene.on(primary, &["init"]).await?;
    scene.password = text(&made, "password")?;
    let ca = scene.plan.dir.join(primary.name).join("data").join("cluster-ca.pem");
    std::fs::copy(ca, scene.ca_file()).context("copying the cluster CA's certificate")?;
    done("primary-node initialised: sealing key, cluster CA, first administrator");
    for node in &NODES[1..] {
        let code = scene.on(primary, &["ha", "generate-keys"]).await?;
        let (code, join) = (text(&code, "code")?, text(&code, "join_address")?);
        let verb = if node.witness { "provision-witness" } else { "provision-standby" };
        let socket = path(scene.plan.socket(node));
        scene.program.run(&["--socket", &socket, "ha", verb, "--join", &join, "--code", &code, "--yes"]).await?;
        done(&format!("{} joined with a one-time code", node.name));
    }
    let (socket, vip) = (path(scene.plan.socket(primary)), VIP.to_string());
    scene.program.run(&["--socket", &socket, "ha", "deploy", "--vip", &vip]).await?;
    let normal = |status: &Value| status["cluster"] == "normal";
    let status = scene.until(primary, &["ha", "status"], "a normal cluster", normal).await?;
    done(&format!("cluster deployed with the virtual address {VIP}: {}", status["verdict"].as_str().unwrap_or("")));
    Ok(())
}

async fn account(scene: &mut Scene) -> Result<()> {
    let primary = &NODES[0];
    let socket = path(scene.plan.socket(primary));
    let root = format!("@{}", path(scene.vendor_root()));
    let url = format!("https://{}", scene.plan.central_listen());
    for (key, value) in [("vendor-root", root), ("central-url", url)] {
        scene.program.run(&["--socket", &socket, "settings", "set", key, &value]).await?;
    }
    let bound = ["--smart-account", SMART_ACCOUNT, "--virtual-account", VIRTUAL_ACCOUNT, "--requested-by", "admin"];
    scene.program.run(&[&["--socket", &socket, "account", "request", ACCOUNT][..], &bound].concat()).await?;
    scene.program.run(&["--socket", &socket, "account", "approve", ACCOUNT]).await?;
    let active = |list: &Value| list[0]["status"].as_str().is_some_and(|s| s.eq_ignore_ascii_case("active"));
    scene.until(primary, &["account", "list"], "an active account", active).await?;
    scene.program.run(&["--socket", &socket, "sync", "now", "--account", ACCOUNT]).await?;
    done("account TEST approved, registered with central and synchronized");
    let made = scene.on(primary, &["token", "create", "--account", ACCOUNT, "--description", "demo"]).await?;
    scene.token = text(&made, "token")?;
    done("registration token created");
    Ok(())
}

/// Says that a step is done.
pub fn done(what: &str) {
    println!("  ✓ {what}");
}

/// A text member of an answer; of its only row where the answer is a list.
pub fn text(value: &Value, member: &str) -> Result<String> {
    let row = value.get(0).unwrap_or(value);
    row[member].as_str().map(str::to_owned).with_context(|| format!("the answer has no {member}: {value}"))
}

fn write_private(file: &Path, content: &[u8]) -> Result<()> {
    crate::pki::seal::write_secret(file, content).with_context(|| format!("writing {}", file.display()))
}
