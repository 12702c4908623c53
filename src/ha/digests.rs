//! The replicas compare their states: the active node has all take a digest at one place of the log from time to time, and
//! each looks whether the others have its own.

use super::control::{Control, commit};
use super::failed::{Failed, Unrecorded};
use super::finding::{Finding, Teller};
use super::leave::fresh;
use super::running::Running;
use super::switchover::released;
use crate::admin::{AdminError, FailedAction, NodeDigest};
use crate::license::{Command, Millis};
use crate::pki::random;
use crate::product::Clock;
use crate::raft::{Agreement, CAUGHT_UP_WITHIN, PeerStatus, Replica};
use crate::store::{StateDigest, StoreHandle};
use crate::vip::Holding;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a digest is due, and what came of it; peers report every half second.
const LOOK: Duration = Duration::from_millis(500);
/// Entries after which a digest is due, but for the shortest time between two: one of a large state takes a core for some
/// hundred milliseconds.
const ENTRIES: u64 = 10_000;
const SHORTEST: Duration = Duration::from_secs(60);
/// All have reported a digest within this.
const TAKES: Duration = Duration::from_secs(10);
/// So long a node that is outvoted stays for the others to hear of its digest, so that they can say why it is gone.
const HEARD: Duration = Duration::from_millis(1_500);
/// After this one is due even if less has changed.
const LONGEST: Duration = Duration::from_hours(1);

/// Peers compute a digest of 300,000 instances within a second; then they are asked every half second.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_FOR_ALL: Duration = Duration::from_millis(50);

impl Control {
    /// Has every replica take a digest at one place of the log, and collects them.
    pub(super) async fn collect_all_digests(&self) -> Result<Vec<NodeDigest>, AdminError> {
        let running = self.need_running()?;
        let nonce = u64::from_le_bytes(random::bytes());
        commit(&*running.ledger(), "doctor", Command::DigestMark { nonce }).await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let digests = collect_digests(&running, nonce);
            let complete = !digests.is_empty() && digests.iter().all(|d| d.digest.is_some());
            if complete || tokio::time::Instant::now() > deadline {
                return Ok(digests);
            }
            tokio::time::sleep(LOOK_FOR_ALL).await;
        }
    }
}

fn collect_digests(running: &Running, nonce: u64) -> Vec<NodeDigest> {
    let mine = running.store.digests().borrow().iter().find(|d| d.nonce == nonce).copied();
    let Some(StateDigest { index, digest, .. }) = mine else { return Vec::new() };
    let mut all = vec![NodeDigest { node: running.identity.file.name.clone(), digest: Some(hex::encode(digest)) }];
    for peer in running.replica.status().peers {
        let theirs = peer.digests.iter().find(|(i, _)| *i == index);
        all.push(NodeDigest { node: peer.info.name.clone(), digest: theirs.map(|(_, d)| hex::encode(d)) });
    }
    all
}

/// On the active node: has all take a digest when one is due.
pub(super) async fn mark(replica: Arc<Replica>, store: StoreHandle, stop: CancellationToken) {
    let mut last: Option<Mark> = None;
    while !stop.is_cancelled() {
        let serving = replica.guard().serving_until().is_some();
        last = last.filter(|_| serving);
        let (company, index) = (company(&replica), applied(&replica));
        // Not as soon as it is active: then products come back, and have the processor.
        let before = last.get_or_insert_with(|| Mark { index, at: Instant::now() });
        let newest = store.digests().borrow().back().map(|digest| digest.index);
        if serving && !company.is_empty() && before.another_is_due(index, newest, &company) {
            let command = Command::DigestMark { nonce: u64::from_le_bytes(random::bytes()) };
            match replica.ledger().propose(random::u128(), "cluster", command).await {
                Ok(_) => last = Some(Mark { index: applied(&replica), at: Instant::now() }),
                Err(error) => tracing::info!(%error, "the replicas took no digest"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// When the last digest was taken, and after which entry; at first, when this node became active.
struct Mark {
    index: u64,
    at: Instant,
}

impl Mark {
    /// Also as soon as a node is there that has not the `newest` one: from then on it may be promoted.
    fn another_is_due(&self, index: u64, newest: Option<u64>, company: &[PeerStatus]) -> bool {
        let (changed, age) = (index.saturating_sub(self.index), self.at.elapsed());
        let has_newest = |peer: &PeerStatus| peer.digests.iter().any(|(index, _)| Some(*index) == newest);
        (age >= TAKES && !company.iter().all(has_newest))
            || (changed >= ENTRIES && age >= SHORTEST)
            || (changed > 0 && age >= LONGEST)
    }
}

/// The peers that are there and have all of the log.
fn company(replica: &Replica) -> Vec<PeerStatus> {
    let here = |behind: Option<u64>| behind.is_some_and(|behind| behind <= CAUGHT_UP_WITHIN);
    let peers = replica.status().peers.into_iter();
    peers.filter(|peer| fresh(peer) && here(peer.behind)).collect()
}

fn applied(replica: &Replica) -> u64 {
    replica.status().last_applied.map_or(0, |id| id.index)
}

/// Compares the digests, and says what came of it.
pub(super) struct Compare {
    pub name: String,
    pub replica: Arc<Replica>,
    pub holding: watch::Receiver<Holding>,
    pub failed: Arc<Failed>,
    pub teller: Teller,
    pub clock: Clock,
}

impl Compare {
    /// Until it is found that a majority has another state than this node; then it serves no more and tells that.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut since: Option<Millis> = None;
        let mut unrecorded = Unrecorded::default();
        while !stop.is_cancelled() {
            match self.replica.agreement() {
                Agreement::Equal => {
                    since = None;
                    unrecorded.forget();
                    self.failed.set("digests", Vec::new());
                }
                Agreement::Differs { index, peers } => {
                    let at = *since.get_or_insert_with(|| (self.clock)());
                    if let Some(message) = self.note(at, index, &self.replica.names(&peers)) {
                        unrecorded.put(message);
                    }
                }
                Agreement::Outvoted { index } => {
                    tracing::error!(index, "a majority of the nodes has another state than this one, which stops");
                    self.leave().await;
                    self.replica.guard().bar();
                    tokio::select! {
                        () = tokio::time::sleep(HEARD) => self.teller.tell(Finding::Outvoted { index }),
                        () = stop.cancelled() => {}
                    }
                    return;
                }
            }
            unrecorded.record(&self.replica, "replicas-differ").await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Shows that these nodes differ; gives what the events will say, when that is new.
    fn note(&self, at: Millis, index: u64, names: &[String]) -> Option<String> {
        let action = |name: &String| FailedAction {
            at,
            node: name.clone(),
            what: "keeping the same data".into(),
            why: format!(
                "its data differs from that of {} after entry {index:X}; do not promote it or switch over to it, run \
                 `licraft doctor`, and provision the node afresh that has the wrong data",
                self.name
            ),
        };
        if !self.failed.set("digests", names.iter().map(action).collect()) {
            return None;
        }
        let message = format!("the data of {} and {} differs after entry {index:X}", self.name, names.join(" and "));
        tracing::error!(message, "the replicas differ");
        Some(message)
    }

    /// Hands over, if this node is active, to one that has the data of the majority.
    async fn leave(&self) {
        let fit = |peer: &PeerStatus| peer.voter && !peer.info.witness && fresh(peer);
        let Some(target) = self.replica.status().peers.into_iter().find(fit) else { return };
        if self.replica.guard().serving_until().is_none() {
            return;
        }
        match self.replica.transfer_to(target.node_id, released(self.holding.clone())).await {
            Ok(_) => tracing::info!(to = target.info.name, "handed over"),
            Err(error) => tracing::error!(%error, "the hand-over failed; the others elect one of them"),
        }
    }
}
