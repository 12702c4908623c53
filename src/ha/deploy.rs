//! `ha deploy`: checks everything, makes the joined nodes voters, and raises the virtual address.

use super::control::{commit, not_active};
use super::preflight::preflight;
use super::running::Running;
use super::shared::Shared;
use crate::admin::{AdminError, Deploy, Kind, Progress};
use crate::license::{Command, Member, Settings};
use crate::raft::Ledger;
use crate::store::NodeInfo;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A new node copies 100,000 instances within seconds; this is for slow links.
const CATCH_UP: Duration = Duration::from_secs(600);
/// Until the address answers after it was set.
const RAISE: Duration = Duration::from_secs(10);

/// Forms the cluster.
///
/// # Errors
/// When a check fails, before anything is changed; or when a node does not catch up.
pub async fn deploy(
    shared: &Arc<Shared>,
    running: &Arc<Running>,
    request: Deploy,
    progress: &Progress,
) -> Result<(), AdminError> {
    if running.replica.guard().serving_until().is_none() {
        return Err(not_active(running));
    }
    let common_name = settings(shared, &request).host_common_name;
    let families = |v6| request.vip.iter().any(|vip| vip.is_ipv6() == v6);
    if families(false) && families(true) && common_name.parse::<IpAddr>().is_ok() {
        return Err(AdminError::new(Kind::Invalid, "products need one name for an IPv4 and an IPv6 virtual address")
            .because(format!("the host common name would be {common_name}"))
            .hint("set it first, as it is in the products' URL: `licraft cert set-common-name licenses.example.com`"));
    }
    let joined = joined(shared, running);
    let failed = preflight(shared, running, &request, &joined, progress).await;
    if failed > 0 {
        return Err(AdminError::new(Kind::ClusterState, format!("{failed} checks failed, so nothing was changed"))
            .hint("mend what they name, then run `licraft ha deploy` again"));
    }
    if request.dry_run {
        return Ok(());
    }
    for member in &joined {
        progress.step(format!("Copying to {}...", member.name));
        let info = node_info(member);
        let added = running.replica.membership().add_voter(member.node_id, info, CATCH_UP, |_, _| {}).await;
        added.map_err(|e| {
            AdminError::new(Kind::ClusterState, format!("{} did not become a voter", member.name))
                .because(e.to_string())
                .hint("look at that node's log, then run `licraft ha deploy` again: it goes on from here")
        })?;
    }
    progress.step("Raising the virtual address...");
    let settings = settings(shared, &request);
    commit(&*running.ledger(), "deploy", Command::SetSettings { settings }).await?;
    let mut holding = running.holding.clone();
    match tokio::time::timeout(RAISE, holding.wait_for(|h| h.held == request.vip)).await {
        Ok(Ok(_)) => Ok(()),
        _ => {
            let why = running.holding.borrow().trouble.clone().unwrap_or_default();
            Err(AdminError::new(Kind::ClusterState, "the virtual address could not be raised").because(why))
        }
    }
}

/// The settings with the virtual address, which is the common name, too, where that was the node's own.
fn settings(shared: &Shared, request: &Deploy) -> Settings {
    let mut settings = shared.ledger.state().settings().clone();
    settings.vip = request.vip.iter().map(ToString::to_string).collect();
    let own = shared.config.address.to_string();
    if settings.host_common_name.is_empty() || settings.host_common_name == own {
        settings.host_common_name.clone_from(&settings.vip[0]);
    }
    settings
}

/// The members that are paired but do not vote yet, in the order of their ids.
fn joined(shared: &Shared, running: &Running) -> Vec<Member> {
    let voters = running.replica.membership().voters();
    let state = shared.ledger.state();
    state.members().filter(|m| !m.retired && !voters.contains(&m.node_id)).cloned().collect()
}

/// How Raft knows a member.
pub(super) fn node_info(member: &Member) -> NodeInfo {
    NodeInfo {
        name: member.name.clone(),
        public_address: member.public_address.clone(),
        cluster_address: member.cluster_address.clone(),
        witness: member.witness,
    }
}
