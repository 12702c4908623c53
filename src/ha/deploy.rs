//! `ha deploy`: checks everything, makes the joined nodes voters, and raises the virtual address.

use super::control::{commit, not_active};
use super::running::Running;
use super::shared::Shared;
use crate::admin::{AdminError, Check, CheckResult, Deploy, Kind, Progress};
use crate::config::{Config, VipDriver};
use crate::license::{Command, Member};
use crate::raft::Ledger;
use crate::store::NodeInfo;
use crate::vip::{self, Usable};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// For one connection to another node.
const REACH: Duration = Duration::from_secs(2);
/// A new node copies 100,000 instances within seconds; this is for slow links.
const CATCH_UP: Duration = Duration::from_secs(600);
/// A slower disk barrier than this makes every license wait noticeably.
const SLOW_BARRIER: Duration = Duration::from_millis(20);
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
        let info = NodeInfo {
            name: member.name.clone(),
            public_address: member.public_address.clone(),
            cluster_address: member.cluster_address.clone(),
            witness: member.witness,
        };
        let added = running.replica.membership().add_voter(member.node_id, info, CATCH_UP, |_, _| {}).await;
        added.map_err(|e| {
            AdminError::new(Kind::ClusterState, format!("{} did not become a voter", member.name))
                .because(e.to_string())
                .hint("look at that node's log, then run `licraft ha deploy` again: it goes on from here")
        })?;
    }
    progress.step("Raising the virtual address...");
    let mut settings = shared.ledger.state().settings().clone();
    let own = shared.config.address.to_string();
    settings.vip = request.vip.iter().map(ToString::to_string).collect();
    if settings.host_common_name.is_empty() || settings.host_common_name == own {
        settings.host_common_name.clone_from(&settings.vip[0]);
    }
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

/// The members that are paired but do not vote yet, in the order of their ids.
fn joined(shared: &Shared, running: &Running) -> Vec<Member> {
    let voters = running.replica.membership().voters();
    let state = shared.ledger.state();
    state.members().filter(|m| !m.retired && !voters.contains(&m.node_id)).cloned().collect()
}

/// Tells every check; gives the number of failed ones.
async fn preflight(
    shared: &Arc<Shared>,
    running: &Running,
    request: &Deploy,
    joined: &[Member],
    progress: &Progress,
) -> usize {
    let mut failed = 0;
    let mut tell = |name: &str, result: CheckResult, detail: String| {
        failed += usize::from(result == CheckResult::Failed);
        progress.check(Check { name: name.to_owned(), result, detail });
    };
    use CheckResult::{Failed, Passed, Warning};
    match (joined.len(), running.replica.membership().voters().len()) {
        (0, 1) => tell("nodes", Failed, "no node has joined; run `licraft ha generate-keys` and provision one".into()),
        (1, 1) if joined[0].witness => {
            tell("nodes", Failed, "only a witness has joined; provision a standby too".into());
        }
        (1, 1) => tell("nodes", Warning, "two nodes without a witness: a crash of one stops service".into()),
        (n, v) => tell("nodes", Passed, format!("{v} voting, {n} to be added")),
    }
    match &shared.config.vip.driver {
        VipDriver::Bind => {
            tell("driver", Passed, "bind: this host must already answer for the virtual address".into());
        }
        VipDriver::Hook { .. } => tell("driver", Passed, "hook: the commands of the node file move the address".into()),
        VipDriver::Netlink => {}
    }
    if let Some(interface) = request.interface.as_ref().filter(|_| shared.config.vip.driver != VipDriver::Netlink) {
        tell("interface", Warning, format!("{interface} is used only by the driver \"netlink\""));
    }
    for address in &request.vip {
        let (result, detail) = address_free(shared, running, *address, request.interface.as_deref()).await;
        tell("virtual address", result, detail);
    }
    for member in joined {
        let (result, detail) = reachable(member).await;
        tell(&format!("reach {}", member.name), result, detail);
    }
    match barrier(shared).await {
        Ok(took) if took > SLOW_BARRIER => {
            tell("disk", Warning, format!("a barrier took {} ms; every license waits for one", took.as_millis()));
        }
        Ok(took) => tell("disk", Passed, format!("a barrier took {:.2} ms", took.as_secs_f64() * 1000.0)),
        Err(error) => tell("disk", Failed, format!("{error}: is the data directory writable?")),
    }
    failed
}

async fn address_free(
    shared: &Shared,
    running: &Running,
    address: IpAddr,
    asked: Option<&str>,
) -> (CheckResult, String) {
    if running.holding.borrow().held.contains(&address) {
        return (CheckResult::Passed, format!("{address} is held by this cluster"));
    }
    let port = shared.config.https.product.port();
    match shared.config.vip.driver {
        VipDriver::Netlink => return address_usable(&shared.config, address, asked).await,
        // Where it is before a command has moved it here, only the cloud knows.
        VipDriver::Hook { .. } => return (CheckResult::Passed, format!("{address} is left to the commands")),
        VipDriver::Bind => {}
    }
    match TcpListener::bind(SocketAddr::new(address, port)).await {
        Ok(_) => (CheckResult::Passed, format!("{address} is free on port {port}")),
        Err(e) => (CheckResult::Failed, format!("{address} port {port} cannot be had here: {e}")),
    }
}

/// Asks the interface that would take the address, and the link whether somebody has it.
async fn address_usable(config: &Config, address: IpAddr, asked: Option<&str>) -> (CheckResult, String) {
    let (own, configured) = (config.address, config.vip.interface.clone());
    let usable = tokio::task::spawn_blocking(move || vip::usable(configured.as_deref(), own, address)).await;
    match usable.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
        Ok(Usable { interface, .. }) if asked.is_some_and(|asked| asked != interface) => {
            let hint = "set `vip.interface` in the node files, then restart the nodes";
            (CheckResult::Failed, format!("by this node's file {address} goes onto {interface}; {hint}"))
        }
        Ok(Usable { interface, taken_by: None }) => (CheckResult::Passed, format!("{address} is free on {interface}")),
        Ok(Usable { interface, taken_by: Some(other) }) => {
            let what = format!("{address} is in use: {other} answers for it on {interface}");
            (CheckResult::Failed, format!("{what}; choose another address, or take it from that machine"))
        }
        Err(error) => (CheckResult::Failed, error.to_string()),
    }
}

async fn reachable(member: &Member) -> (CheckResult, String) {
    let address = &member.cluster_address;
    match tokio::time::timeout(REACH, TcpStream::connect(address)).await {
        Ok(Ok(_)) => (CheckResult::Passed, format!("{address} answers")),
        Ok(Err(e)) => (CheckResult::Failed, format!("{address} does not answer: {e}")),
        Err(_) => (CheckResult::Failed, format!("{address} does not answer within {REACH:?}")),
    }
}

/// Time of one write with its barrier in the data directory.
async fn barrier(shared: &Shared) -> std::io::Result<Duration> {
    let path = shared.config.data_dir.join("barrier-probe");
    let probe = move || {
        let file = std::fs::File::create(&path)?;
        file.set_len(4096)?;
        file.sync_all()?;
        let began = Instant::now();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], 0)?;
        file.sync_data()?;
        let took = began.elapsed();
        std::fs::remove_file(&path)?;
        Ok(took)
    };
    tokio::task::spawn_blocking(probe).await.map_err(std::io::Error::other)?
}
