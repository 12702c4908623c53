//! The planned change of the active node, and the gap that clients saw.

use super::certificates::authorities;
use super::control::{internal, not_active};
use super::facts::whole_ms;
use super::running::Running;
use super::shared::Shared;
use crate::admin::{AdminError, Check, CheckResult, Kind, Progress, Switchover, SwitchoverReport};
use crate::pki::tls;
use crate::raft::PeerStatus;
use crate::vip::Holding;
use rustls_pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// The new active node answers within a second; after this something is wrong.
const GAP_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the virtual address; the precision of the gap.
const GAP_LOOK: Duration = Duration::from_millis(2);
/// One look may not hang on a half-open address.
const LOOK_TIMEOUT: Duration = Duration::from_millis(250);
/// Entries in flight at full load; a standby further behind would make everybody wait for it.
const IN_SYNC: u64 = 1_000;
/// Nodes report every half second, so what was wrong with one that has just come back is stale within this.
const SETTLE: Duration = Duration::from_secs(2);
const SETTLE_LOOK: Duration = Duration::from_millis(50);
/// How long the holder may take to let go of the address.
const RELEASE: Duration = Duration::from_millis(200);

/// Hands over to `request.to`, or to the fittest other data node. `dry_run` only checks.
///
/// # Errors
/// When this node is not active, nobody is fit to take over, or the hand-over failed.
pub async fn switchover(
    shared: &Arc<Shared>,
    running: &Arc<Running>,
    request: &Switchover,
    progress: &Progress,
) -> Result<Option<SwitchoverReport>, AdminError> {
    if running.replica.guard().serving_until().is_none() {
        return Err(not_active(running));
    }
    let target = settled(running, request.to.as_deref()).await?;
    let checks = checks(running, &target);
    let fit = fit(&checks);
    checks.into_iter().for_each(|check| progress.check(check));
    if request.dry_run {
        return Ok(None);
    }
    if !fit {
        return Err(AdminError::new(Kind::ClusterState, format!("{} cannot take over now", target.info.name))
            .hint("mend what the checks name, then try again"));
    }
    progress.step(format!("Handing over to {}...", target.info.name));
    let began = Instant::now();
    let handed = running.replica.transfer_to(target.node_id, released(running.holding.clone())).await;
    let gap = handed.map_err(|e| {
        AdminError::new(Kind::ClusterState, format!("{} did not take over", target.info.name)).because(e.to_string())
    })?;
    let gap = match clients_gap(shared, running, began).await? {
        Some(seen) => seen,
        None => gap,
    };
    let gap_ms = whole_ms(gap);
    Ok(Some(SwitchoverReport { from: running.identity.file.name.clone(), to: target.info.name, gap_ms }))
}

/// The data node called `wanted`, or else the fittest other one.
fn target(running: &Running, wanted: Option<&str>) -> Result<PeerStatus, AdminError> {
    let mut others = running.replica.status().peers.into_iter().filter(|p| !p.info.witness);
    match wanted {
        Some(name) => others.find(|p| p.info.name == name).ok_or_else(|| {
            AdminError::new(Kind::NotFound, format!("there is no other data node called {name}"))
                .hint("`licraft ha status` names the nodes")
        }),
        None => others.min_by_key(|p| (!fit(&checks(running, p)), p.behind.unwrap_or(u64::MAX), p.node_id)).ok_or_else(
            || {
                AdminError::new(Kind::ClusterState, "there is no other data node")
                    .hint("add one with `licraft ha generate-keys`")
            },
        ),
    }
}

fn fit(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.result == CheckResult::Passed)
}

/// The target, after a node that has just come back had a moment to report itself well.
pub(super) async fn settled(running: &Running, wanted: Option<&str>) -> Result<PeerStatus, AdminError> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let target = target(running, wanted)?;
        if fit(&checks(running, &target)) || Instant::now() > deadline {
            return Ok(target);
        }
        tokio::time::sleep(SETTLE_LOOK).await;
    }
}

/// What speaks for and against the target.
fn checks(running: &Running, target: &PeerStatus) -> Vec<Check> {
    let name = &target.info.name;
    let check = |what: &str, ok: bool, detail: String| Check {
        name: what.to_owned(),
        result: if ok { CheckResult::Passed } else { CheckResult::Failed },
        detail,
    };
    let contact = target.last_contact.filter(|age| *age < Duration::from_secs(1));
    let contact_detail = match contact {
        Some(age) => format!("{name} answered {} ms ago", age.as_millis()),
        None => format!("{name} does not answer; look at it first"),
    };
    let voter_detail = match target.voter {
        true => format!("{name} votes"),
        false => format!("{name} is still catching up; wait for it"),
    };
    let sync_detail = match target.behind {
        Some(behind) => format!("{name} is {behind} entries behind"),
        None => format!("{name} has acknowledged nothing yet"),
    };
    let health_detail = target.trouble.clone().unwrap_or_else(|| format!("{name} reports no trouble"));
    let same = !running.replica.differing().contains(name);
    let same_detail = match same {
        true => format!("{name} is not known to have other data"),
        false => format!("{name} has other data; see `licraft doctor`"),
    };
    vec![
        check("contact", contact.is_some(), contact_detail),
        check("voter", target.voter, voter_detail),
        check("in sync", target.behind.is_some_and(|behind| behind <= IN_SYNC), sync_detail),
        check("healthy", target.trouble.is_none(), health_detail),
        check("same data", same, same_detail),
    ]
}

/// From `began` until the virtual address answers as ready; none without one.
async fn clients_gap(shared: &Shared, running: &Running, began: Instant) -> Result<Option<Duration>, AdminError> {
    use crate::raft::Ledger;
    let state = shared.ledger.state();
    let Some(vip) = state.settings().vip.first().and_then(|a| a.parse::<IpAddr>().ok()) else { return Ok(None) };
    let address = SocketAddr::new(vip, shared.config.https.product.port());
    let roots = authorities(&running.identity.ca_cert, state.settings());
    let config = tls::client_config(roots.iter().map(Vec::as_slice), None).map_err(internal)?;
    let connector = TlsConnector::from(Arc::new(config));
    while began.elapsed() < GAP_PATIENCE {
        if matches!(tokio::time::timeout(LOOK_TIMEOUT, ready(&connector, address)).await, Ok(Ok(true))) {
            return Ok(Some(began.elapsed()));
        }
        tokio::time::sleep(GAP_LOOK).await;
    }
    Err(AdminError::new(Kind::ClusterState, "the new active node does not answer on the virtual address")
        .hint("look at `licraft ha status`"))
}

/// Waits until the holder has let go of the address. It goes with `serving`, which the drain has ended; the holder looks
/// every few milliseconds.
pub(super) async fn released(mut holding: watch::Receiver<Holding>) {
    if tokio::time::timeout(RELEASE, holding.wait_for(|h| h.held.is_empty())).await.is_err() {
        tracing::warn!("the virtual address was not let go in time");
    }
}

/// Whether `GET /readyz` at `address` says that licenses are served there.
pub(super) async fn ready(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<bool> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::from(address.ip()), stream).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/1.1 200")
}
