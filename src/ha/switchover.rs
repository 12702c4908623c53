//! The planned change of the active node, and the gap that clients saw.

use super::control::{internal, not_active};
use super::running::Running;
use super::shared::Shared;
use crate::admin::{AdminError, Check, CheckResult, Kind, Progress, Switchover, SwitchoverReport};
use crate::pki::tls;
use crate::raft::PeerStatus;
use rustls_pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The new active node answers within a second; after this something is wrong.
const GAP_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the virtual address; the precision of the gap.
const GAP_LOOK: Duration = Duration::from_millis(2);
/// One look may not hang on a half-open address.
const LOOK_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the holder may take to let go of the address.
const RELEASE: Duration = Duration::from_millis(200);

/// Hands over to `request.to`, or to the only other data node. `dry_run` only checks.
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
    let target = target(running, request.to.as_deref())?;
    let fit = check(&target, progress);
    if request.dry_run {
        return Ok(None);
    }
    if !fit {
        return Err(AdminError::new(Kind::ClusterState, format!("{} cannot take over now", target.info.name))
            .hint("mend what the checks name, then try again"));
    }
    progress.step(format!("Handing over to {}...", target.info.name));
    let began = Instant::now();
    let mut holding = running.holding.clone();
    let release = async move {
        // The address goes with `serving`, which the drain has ended; the holder looks every few milliseconds.
        let gone = holding.wait_for(|h| h.held.is_empty());
        if tokio::time::timeout(RELEASE, gone).await.is_err() {
            tracing::warn!("the virtual address was not let go in time");
        }
    };
    let handed = running.replica.transfer_to(target.node_id, release).await;
    let gap = handed.map_err(|e| {
        AdminError::new(Kind::ClusterState, format!("{} did not take over", target.info.name)).because(e.to_string())
    })?;
    let gap = match clients_gap(shared, running, began).await? {
        Some(seen) => seen,
        None => gap,
    };
    let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(SwitchoverReport { from: running.identity.file.name.clone(), to: target.info.name, gap_ms }))
}

fn target(running: &Running, wanted: Option<&str>) -> Result<PeerStatus, AdminError> {
    let mut others: Vec<PeerStatus> = running.replica.status().peers.into_iter().filter(|p| !p.info.witness).collect();
    match wanted {
        Some(name) => others.into_iter().find(|p| p.info.name == name).ok_or_else(|| {
            AdminError::new(Kind::NotFound, format!("there is no other data node called {name}"))
                .hint("`licraft ha status` names the nodes")
        }),
        None if others.len() == 1 => Ok(others.swap_remove(0)),
        None if others.is_empty() => Err(AdminError::new(Kind::ClusterState, "there is no other data node")
            .hint("add one with `licraft ha generate-keys`")),
        None => Err(AdminError::new(Kind::Invalid, "there is more than one other data node").hint("choose with --to")),
    }
}

/// Tells what speaks for and against the target; whether all is well enough.
fn check(target: &PeerStatus, progress: &Progress) -> bool {
    let name = &target.info.name;
    let mut fit = true;
    let mut tell = |what: &str, ok: bool, detail: String| {
        fit &= ok;
        let result = if ok { CheckResult::Passed } else { CheckResult::Failed };
        progress.check(Check { name: what.to_owned(), result, detail });
    };
    let contact = target.last_contact.filter(|age| *age < Duration::from_secs(1));
    tell(
        "contact",
        contact.is_some(),
        match contact {
            Some(age) => format!("{name} answered {} ms ago", age.as_millis()),
            None => format!("{name} does not answer; look at it first"),
        },
    );
    tell(
        "voter",
        target.voter,
        match target.voter {
            true => format!("{name} votes"),
            false => format!("{name} is still catching up; wait for it"),
        },
    );
    let behind = target.behind.unwrap_or(u64::MAX);
    tell(
        "in sync",
        behind <= 1_000,
        match target.behind {
            Some(behind) => format!("{name} is {behind} entries behind"),
            None => format!("{name} has acknowledged nothing yet"),
        },
    );
    tell(
        "healthy",
        target.trouble.is_none(),
        target.trouble.clone().unwrap_or_else(|| format!("{name} reports no trouble")),
    );
    fit
}

/// From `began` until the virtual address answers as ready; none without one.
async fn clients_gap(shared: &Shared, running: &Running, began: Instant) -> Result<Option<Duration>, AdminError> {
    use crate::raft::Ledger;
    let state = shared.ledger.state();
    let Some(vip) = state.settings().vip.first().and_then(|a| a.parse::<IpAddr>().ok()) else { return Ok(None) };
    let address = SocketAddr::new(vip, shared.config.https.product.port());
    let config = tls::client_config([running.identity.ca_cert.as_slice()], None).map_err(internal)?;
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

/// Whether `GET /readyz` at `address` says that licenses are served there.
async fn ready(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<bool> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::from(address.ip()), stream).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/1.1 200")
}
