//! The virtual address of this node: the driver that the node file names, and what becomes of the driver's findings.

use super::ports::Ports;
use super::running::Served;
use crate::config::{Config, VipDriver};
use crate::license::{Command, NewEvent, Severity};
use crate::pki::random;
use crate::raft::Ledger;
use crate::vip::{self, Bind, Driver, Finding, Holder, Holding, Hook, Netlink};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// A finding that stays true becomes an event only this often.
const REPEAT: Duration = Duration::from_secs(600);

/// What the holder follows and tells.
pub(super) struct Address {
    pub wanted: watch::Receiver<Vec<IpAddr>>,
    pub report: watch::Sender<Holding>,
    pub stop: CancellationToken,
}

/// Starts the holder with the driver of the node file. The receiver ends when every address is off.
///
/// # Errors
/// When the driver cannot work here at all.
pub(super) fn hold(
    config: &Config,
    served: Served,
    ports: Arc<Ports>,
    address: Address,
) -> Result<(oneshot::Receiver<()>, mpsc::UnboundedReceiver<Finding>)> {
    let (findings, found) = mpsc::unbounded_channel();
    let Address { wanted, report, stop } = address;
    let holder = Holder { guard: Arc::new(served), stage: ports, addresses: wanted, report, findings, stop };
    let end = vip::hold(holder, driver(config)?, Handle::current());
    Ok((end.context("starting the thread of the virtual address")?, found))
}

/// # Errors
/// When the kernel cannot be asked.
pub(super) fn driver(config: &Config) -> Result<Box<dyn Driver>> {
    Ok(match &config.vip.driver {
        VipDriver::Bind => Box::new(Bind),
        VipDriver::Hook { add, remove } => Box::new(Hook::new(add.clone(), remove.clone())),
        VipDriver::Netlink => {
            let own = vec![config.address, config.raft.listen.ip()];
            let netlink = Netlink::new(config.vip.interface.clone(), own);
            Box::new(netlink.context("asking the kernel for interfaces")?)
        }
    })
}

/// Makes events of findings, in this node's name, until the holder has ended.
pub(super) async fn note(name: String, ledger: Arc<dyn Ledger>, mut findings: mpsc::UnboundedReceiver<Finding>) {
    let mut noted: BTreeMap<String, Instant> = BTreeMap::new();
    while let Some(finding) = findings.recv().await {
        let (severity, message) = describe(&name, &finding);
        noted.retain(|_, at| at.elapsed() < REPEAT);
        if noted.contains_key(&message) {
            continue;
        }
        tracing::warn!(message, "virtual address");
        noted.insert(message.clone(), Instant::now());
        event(&*ledger, severity, "virtual-address", message).await;
    }
}

/// Commits an event in the cluster's name; a node that does not lead only logs why it could not.
pub(super) async fn event(ledger: &dyn Ledger, severity: Severity, kind: &str, message: String) {
    let event = NewEvent { severity, account: None, kind: kind.to_owned(), message };
    if let Err(error) = ledger.propose(random::u128(), "cluster", Command::NoteEvent { event }).await {
        tracing::info!(%error, "the event is in this log alone");
    }
}

fn describe(name: &str, finding: &Finding) -> (Severity, String) {
    match finding {
        Finding::PutBack(address) => {
            (Severity::Minor, format!("{address} was taken off {name}, which serves; it is on again"))
        }
        Finding::Stranger { address, hardware } => (
            Severity::Major,
            format!(
                "another machine ({hardware}) answers for the virtual address {address}; {name} keeps it and announces \
                 it again: find that machine and give it another address"
            ),
        ),
        Finding::Stray(address) => {
            (Severity::Minor, format!("{address} was on {name}, which does not serve; it has been removed"))
        }
    }
}
