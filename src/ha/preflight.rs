//! What `ha deploy` checks before it changes anything: on this node, on the nodes that have joined, and between them.

use super::deploy::node_info;
use super::running::Running;
use super::shared::Shared;
use crate::admin::{self, Check, CheckResult, Deploy, Preflight, Progress};
use crate::config::{Config, NodeRole, VipDriver};
use crate::license::Member;
use crate::proto::admin::PreflightRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::raft::CLOCK_TOLERANCE_MS;
use crate::vip::{self, Usable};
use CheckResult::{Failed, Passed, Warning};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// For one connection to another node.
const REACH: Duration = Duration::from_secs(2);
/// For all that another node checks at its end.
const THERE: Duration = Duration::from_secs(10);
/// A slower disk barrier than this makes every license wait noticeably.
const SLOW_BARRIER: Duration = Duration::from_millis(20);
/// Clocks that follow a time server differ by far less.
const CLOCK_WORTH_A_WORD_MS: u64 = 1_000;

/// Tells every check; gives the number of failed ones.
pub(super) async fn preflight(
    shared: &Arc<Shared>,
    running: &Running,
    request: &Deploy,
    joined: &[Member],
    progress: &Progress,
) -> usize {
    let mut failed = 0;
    let mut tell = |check: Check| {
        failed += usize::from(check.result == Failed);
        progress.check(check);
    };
    tell(nodes(joined, running.replica.membership().voters().len()));
    match &shared.config.vip.driver {
        VipDriver::Bind => {
            tell(check("driver", Passed, "bind: this host must already answer for the virtual address"));
        }
        VipDriver::Hook { .. } => tell(check("driver", Passed, "hook: the commands of the node file move the address")),
        VipDriver::Netlink => {}
    }
    let interface = request.interface.as_deref();
    if let Some(interface) = interface.filter(|_| shared.config.vip.driver != VipDriver::Netlink) {
        tell(check("interface", Warning, format!("{interface} is used only by the driver \"netlink\"")));
    }
    let held = running.holding.borrow().held.clone();
    for address in &request.vip {
        tell(match held.contains(address) {
            true => check("virtual address", Passed, format!("{address} is held by this cluster")),
            false => address_free(&shared.config, *address, interface).await,
        });
    }
    tell(disk(&shared.config.data_dir).await);
    let there = Preflight {
        reach: vec![
            shared.config.raft.listen,
            SocketAddr::new(shared.config.address, shared.config.admin.listen.port()),
        ],
        vip: request.vip.iter().filter(|address| !held.contains(address)).copied().collect(),
        interface: request.interface.clone(),
    };
    for member in joined {
        for found in member_checks(shared, running, &there, member).await {
            tell(found);
        }
    }
    failed
}

fn check(name: impl Into<String>, result: CheckResult, detail: impl Into<String>) -> Check {
    Check { name: name.into(), result, detail: detail.into() }
}

fn nodes(joined: &[Member], voters: usize) -> Check {
    let (result, detail) = match (joined.len(), voters) {
        (0, 1) => (Failed, "no node has joined; run `licraft ha generate-keys` and provision one".into()),
        (1, 1) if joined[0].witness => (Failed, "only a witness has joined; provision a standby too".into()),
        (1, 1) => (Warning, "two nodes without a witness: a crash of one stops service".into()),
        (n, v) => (Passed, format!("{v} voting, {n} to be added")),
    };
    Check { name: "nodes".to_owned(), result, detail }
}

/// What can be said of a node that has joined: over its cluster address, and by itself.
async fn member_checks(shared: &Shared, running: &Running, there: &Preflight, member: &Member) -> Vec<Check> {
    let (name, address) = (&member.name, &member.cluster_address);
    let reach = format!("reach {name}");
    let asked = tokio::time::timeout(REACH, running.replica.ask(member.node_id, &node_info(member))).await;
    let (report, clock_offset_ms) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return vec![check(reach, Failed, format!("{address}: {error}"))],
        Err(_) => return vec![check(reach, Failed, format!("{address} does not answer within {REACH:?}"))],
    };
    let mut found = vec![
        check(reach, Passed, format!("{address} answers")),
        version(name, &report.version, env!("CARGO_PKG_VERSION")),
        clock(name, clock_offset_ms),
    ];
    if let Some(trouble) = report.trouble {
        found.push(check(format!("health of {name}"), Failed, trouble));
    }
    let checks_there = tokio::time::timeout(THERE, ask_member(shared, running, there, member)).await;
    match checks_there.unwrap_or_else(|_| Err(format!("no answer within {THERE:?}"))) {
        Ok(more) => found.extend(more),
        Err(why) => {
            let port = shared.config.admin.listen.port();
            let detail = format!("{} port {port} (administration): {why}", member.public_address);
            found.push(check(format!("ask {name}"), Failed, detail));
        }
    }
    found
}

/// Has a node that has joined look at its end.
async fn ask_member(
    shared: &Shared,
    running: &Running,
    there: &Preflight,
    member: &Member,
) -> Result<Vec<Check>, String> {
    let ip: IpAddr = member.public_address.parse().map_err(|_| "no address".to_owned())?;
    // Every node uses the same admin port.
    let address = SocketAddr::new(ip, shared.config.admin.listen.port());
    let channel = admin::channel(address.to_string(), ip.into(), running.node_tls.client());
    let request = PreflightRequest {
        reach: there.reach.iter().map(ToString::to_string).collect(),
        vip: there.vip.iter().map(ToString::to_string).collect(),
        interface: there.interface.clone().unwrap_or_default(),
    };
    let asked = ClusterClient::new(channel).preflight(admin::on_behalf(request, "deploy")).await;
    let reply = asked.map_err(|status| status.message().to_owned())?.into_inner();
    Ok(reply.checks.into_iter().map(Check::from).collect())
}

/// What this node, which has joined, finds at its end.
pub(super) async fn at_this_end(config: &Config, request: Preflight) -> Vec<Check> {
    let mut found = Vec::new();
    for address in request.reach {
        let (result, detail) = match tokio::time::timeout(REACH, TcpStream::connect(address)).await {
            Ok(Ok(_)) => (Passed, format!("{address} answers")),
            Ok(Err(error)) => (Failed, format!("{address} does not answer: {error}")),
            Err(_) => (Failed, format!("{address} does not answer within {REACH:?}")),
        };
        found.push(check("reach the active node", result, detail));
    }
    if config.role == NodeRole::Data {
        for address in request.vip {
            found.push(address_free(config, address, request.interface.as_deref()).await);
        }
    }
    found.push(disk(&config.data_dir).await);
    for check in &mut found {
        check.name = format!("{}: {}", config.name, check.name);
    }
    found
}

fn version(name: &str, theirs: &str, ours: &str) -> Check {
    let (result, detail) = match theirs == ours {
        true => (Passed, format!("{name} runs {theirs}, as this node")),
        false => (Failed, format!("{name} runs {theirs}, this node {ours}; install the same version on both")),
    };
    check("version", result, detail)
}

fn clock(name: &str, offset_ms: i64) -> Check {
    let (away, side) = (offset_ms.unsigned_abs(), if offset_ms < 0 { "behind" } else { "ahead of" });
    let detail = format!("the clock of {name} is {}.{:03} s {side} this one", away / 1_000, away % 1_000);
    match away {
        0..=CLOCK_WORTH_A_WORD_MS => check("clock", Passed, detail),
        _ if away <= CLOCK_TOLERANCE_MS => check("clock", Warning, format!("{detail}; let both follow a time server")),
        _ => check("clock", Failed, format!("{detail}; set them, and let both follow a time server")),
    }
}

async fn address_free(config: &Config, address: IpAddr, asked: Option<&str>) -> Check {
    let port = config.https.product.port();
    let (result, detail) = match config.vip.driver {
        VipDriver::Netlink => address_usable(config, address, asked).await,
        // Where it is before a command has moved it here, only the cloud knows.
        VipDriver::Hook { .. } => (Passed, format!("{address} is left to the commands")),
        VipDriver::Bind => match TcpListener::bind(SocketAddr::new(address, port)).await {
            Ok(_) => (Passed, format!("{address} is free on port {port}")),
            Err(e) => (Failed, format!("{address} port {port} cannot be had here: {e}")),
        },
    };
    check("virtual address", result, detail)
}

/// Asks the interface that would take the address, and the link whether somebody has it.
async fn address_usable(config: &Config, address: IpAddr, asked: Option<&str>) -> (CheckResult, String) {
    let (own, configured) = (config.address, config.vip.interface.clone());
    let usable = tokio::task::spawn_blocking(move || vip::usable(configured.as_deref(), own, address)).await;
    match usable.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
        Ok(Usable { interface, .. }) if asked.is_some_and(|asked| asked != interface) => {
            let hint = "set `vip.interface` in the node files, then restart the nodes";
            (Failed, format!("by this node's file {address} goes onto {interface}; {hint}"))
        }
        Ok(Usable { interface, taken_by: None }) => (Passed, format!("{address} is free on {interface}")),
        Ok(Usable { interface, taken_by: Some(other) }) => {
            let what = format!("{address} is in use: {other} answers for it on {interface}");
            (Failed, format!("{what}; choose another address, or take it from that machine"))
        }
        Err(error) => (Failed, error.to_string()),
    }
}

async fn disk(data_dir: &Path) -> Check {
    let (result, detail) = match barrier(data_dir).await {
        Ok(took) if took > SLOW_BARRIER => {
            (Warning, format!("a barrier took {} ms; every license waits for one", took.as_millis()))
        }
        Ok(took) => (Passed, format!("a barrier took {:.2} ms", took.as_secs_f64() * 1000.0)),
        Err(error) => (Failed, format!("{error}: is the data directory writable?")),
    };
    check("disk", result, detail)
}

/// Time of one write with its barrier in the data directory.
async fn barrier(data_dir: &Path) -> std::io::Result<Duration> {
    let path = data_dir.join("barrier-probe");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_and_a_wrong_clock_are_refused() {
        assert_eq!(version("b", "0.1.0", "0.1.0").result, Passed);
        let older = version("b", "0.1.0", "0.2.0");
        assert_eq!(older.result, Failed);
        assert_eq!(older.detail, "b runs 0.1.0, this node 0.2.0; install the same version on both");
        for (offset_ms, result) in [(0, Passed), (-900, Passed), (1_001, Warning), (-10_000, Warning), (10_001, Failed)]
        {
            assert_eq!(clock("b", offset_ms).result, result, "{offset_ms}");
        }
        assert!(clock("b", -61_005).detail.starts_with("the clock of b is 61.005 s behind this one"));
        assert!(clock("b", i64::MIN).detail.contains("behind"));
    }
}
