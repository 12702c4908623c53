//! Gray failures: a node that leads but cannot do its work hands over to one that can. Seen are a hung disk, an
//! interface that is down, and a listener that answers no more.

use super::address::event;
use super::certificates::authorities;
use super::failed::Failed;
use super::shared::Shared;
use super::switchover::{ready, released};
use crate::admin::FailedAction;
use crate::license::{Millis, Severity};
use crate::pki::tls;
use crate::raft::{Ledger, PeerStatus, Replica};
use crate::vip::Holding;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// How often trouble is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Trouble that passes within this is not worth a hand-over: a cable that is put into another socket.
const PATIENCE: Duration = Duration::from_millis(300);
/// After a hand-over that failed, until the next one is tried.
const RETRY: Duration = Duration::from_secs(5);
/// How long a hand-over waits for its record in the events.
const RECORD: Duration = Duration::from_millis(50);
/// A report of another node that is older says nothing about now.
const FRESH: Duration = Duration::from_millis(1_500);
/// How often the active node asks itself for `/readyz`, how long it waits, and how many failures mean trouble.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
const PROBES: u32 = 3;

/// What is known of the trouble of this node and its peers.
#[derive(Clone)]
pub struct Trouble {
    holding: watch::Receiver<Holding>,
    /// Why the listeners do not answer.
    silent: watch::Receiver<Option<String>>,
}

impl Trouble {
    pub(super) const fn new(holding: watch::Receiver<Holding>, silent: watch::Receiver<Option<String>>) -> Self {
        Self { holding, silent }
    }

    /// What keeps this node from serving, beside Raft and the store.
    #[must_use]
    pub fn here(&self) -> Option<String> {
        let address = self.holding.borrow().trouble.as_ref().map(|why| format!("virtual address: {why}"));
        address.or_else(|| self.silent.borrow().clone())
    }
}

/// Watches for trouble, publishes it, and hands over when it is this node's and lasts.
pub(super) async fn watch_trouble(
    shared: Arc<Shared>,
    replica: Arc<Replica>,
    holding: watch::Receiver<Holding>,
    failed: Arc<Failed>,
    stop: CancellationToken,
) {
    let mut since: BTreeMap<(String, String), (Millis, Instant)> = BTreeMap::new();
    let mut tried: Option<Instant> = None;
    while !stop.is_cancelled() {
        let status = replica.status();
        let mine = status.trouble.map(|why| (shared.config.name.clone(), why));
        let theirs = status.peers.iter().filter(|p| p.last_contact.is_some_and(|age| age < FRESH));
        let theirs = theirs.filter_map(|p| Some((p.info.name.clone(), p.own_trouble.clone()?)));
        let all: Vec<(String, String)> = mine.iter().cloned().chain(theirs).collect();
        since.retain(|trouble, _| all.contains(trouble));
        for trouble in all {
            since.entry(trouble).or_insert_with(|| ((shared.clock)(), Instant::now()));
        }
        let actions = since.iter().map(|((node, why), (at, _))| FailedAction {
            at: *at,
            node: node.clone(),
            what: "serving".into(),
            why: why.clone(),
        });
        failed.set("trouble", actions.collect());
        let lasting = mine.filter(|m| since.get(m).is_some_and(|(_, at)| at.elapsed() >= PATIENCE));
        if let Some((name, why)) = lasting
            && replica.guard().serving_until().is_some()
            && tried.is_none_or(|at| at.elapsed() > RETRY)
            && let Some(target) = healthy(&status.peers)
        {
            tried = Some(Instant::now());
            hand_over(&replica, &name, &why, target, holding.clone()).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// A data node that could lead and says that nothing is wrong with it.
fn healthy(peers: &[PeerStatus]) -> Option<&PeerStatus> {
    let fit = |p: &&PeerStatus| {
        !p.info.witness && p.voter && p.trouble.is_none() && p.last_contact.is_some_and(|age| age < FRESH)
    };
    peers.iter().find(fit)
}

async fn hand_over(
    replica: &Arc<Replica>,
    name: &str,
    why: &str,
    target: &PeerStatus,
    holding: watch::Receiver<Holding>,
) {
    let message = format!("{name} cannot serve ({why}); handing over to {}", target.info.name);
    tracing::error!(message, "gray failure");
    // The disk may be what hangs: the hand-over does not wait for the record for long.
    let ledger = replica.ledger();
    let record = event(&*ledger, Severity::Major, "failed-action", message);
    if tokio::time::timeout(RECORD, record).await.is_err() {
        tracing::info!("handing over before the event is recorded");
    }
    match replica.transfer_to(target.node_id, released(holding)).await {
        Ok(_) => tracing::info!(to = target.info.name, "handed over"),
        Err(error) => tracing::error!(%error, "the hand-over failed; trying again soon"),
    }
}

/// Asks this node's own ports on the virtual address whether licenses are served, while it is held.
pub(super) struct SelfProbe {
    /// The cluster's, which has issued the certificate until central has.
    pub ca: Vec<u8>,
    pub ledger: Arc<dyn Ledger>,
    pub port: u16,
    pub holding: watch::Receiver<Holding>,
    /// Why the listeners do not answer.
    pub silent: watch::Sender<Option<String>>,
}

impl SelfProbe {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let held = self.holding.borrow_and_update().held.first().copied();
            let answer = match held {
                Some(address) => Some(self.answers(SocketAddr::new(address, self.port)).await),
                None => None,
            };
            // An address that went while it was probed says nothing.
            let still = self.holding.borrow().held.first().copied() == held;
            failures = match answer {
                Some(false) if still => failures + 1,
                _ => 0,
            };
            let trouble = (failures >= PROBES).then(|| format!("its own port {} does not answer", self.port));
            self.silent.send_if_modified(|before| {
                let change = *before != trouble;
                *before = trouble;
                change
            });
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn answers(&self, address: SocketAddr) -> bool {
        let roots = authorities(&self.ca, self.ledger.state().settings());
        let connector = match tls::client_config(roots.iter().map(Vec::as_slice), None) {
            Ok(config) => TlsConnector::from(Arc::new(config)),
            Err(error) => {
                tracing::error!(%error, "this node cannot probe itself");
                return true;
            }
        };
        matches!(tokio::time::timeout(PROBE_PATIENCE, ready(&connector, address)).await, Ok(Ok(true)))
    }
}
