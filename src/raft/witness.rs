//! The witness: a full voter that never serves. It leads only for as long as it takes to hand over.
//!
//! It may hold the longest log, because it acknowledged entries that the other data node has not seen. Then only it can
//! win an election: it must stand, bring the data node up to date and hand leadership to it.

use super::config::Timings;
use super::core::{Core, Metrics};
use crate::store::LogId;
use openraft::Instant as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the witness looks whether it leads, and a leading one whether a data node has caught up.
const LOOK: Duration = Duration::from_millis(3);
/// After so many leases without a leader the witness stands unasked: the last resort.
const WATCHDOG_LEASES: u32 = 10;
/// A hand-over that has not worked after so many leases is tried with the next data node.
const HAND_OVER_LEASES: u32 = 2;

/// Plays the witness until `stop`. `shorter_log` tells that a ballot was refused to a log shorter than this one's.
pub(super) async fn play(
    core: Arc<dyn Core>,
    me: u64,
    timings: Timings,
    hold_until: Instant,
    mut shorter_log: mpsc::Receiver<()>,
    stop: CancellationToken,
) {
    let metrics = core.metrics();
    let lease = timings.lease();
    let mut leaderless_since = hold_until;
    let mut last_heard = None;
    loop {
        let leader = metrics.borrow().current_leader;
        if leader == Some(me) {
            hand_over(&*core, me, lease, &stop).await;
            leaderless_since = Instant::now();
        }
        // A leader that says nothing any more is not taken off the metrics; the pre-vote below finds out.
        let heard = metrics.borrow().last_log_index;
        if heard != last_heard {
            leaderless_since = Instant::now();
        }
        last_heard = heard;
        tokio::select! {
            asked = shorter_log.recv() => {
                if asked.is_none() {
                    return;
                }
                // The pre-vote checks that no lease is alive, here and at the asker.
                stand(&core, true, "a data node with a shorter log stands").await;
                leaderless_since = Instant::now();
            }
            () = tokio::time::sleep(LOOK) => {
                if leaderless_since.elapsed() > lease * WATCHDOG_LEASES {
                    // The pre-vote makes this harmless while there is a leader after all.
                    stand(&core, true, "nothing new from a leader").await;
                    leaderless_since = Instant::now();
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

async fn stand(core: &Arc<dyn Core>, pre_vote: bool, why: &str) {
    tracing::debug!(why, "the witness stands for election");
    if let Err(error) = core.elect(pre_vote).await {
        tracing::error!(error, "the witness cannot stand");
    }
}

/// Leads until a data node has everything, then passes leadership on; tries the next one when that does not work.
async fn hand_over(core: &dyn Core, me: u64, lease: Duration, stop: &CancellationToken) {
    let metrics = core.metrics();
    tracing::warn!("the witness leads; it hands over as soon as a data node has caught up");
    let mut tried: Option<(u64, Instant)> = None;
    while !stop.is_cancelled() {
        let successor = {
            let m = metrics.borrow();
            if m.current_leader != Some(me) || m.running_state.is_err() {
                return;
            }
            successor(&m, me, lease)
        };
        let waiting = tried.is_some_and(|(_, at)| at.elapsed() < lease * HAND_OVER_LEASES);
        if let Some(node_id) = successor.filter(|_| !waiting) {
            tracing::info!(node_id, "handing leadership over");
            if let Err(error) = core.transfer_to(node_id).await {
                tracing::error!(error, "cannot hand leadership over");
            }
            tried = Some((node_id, Instant::now()));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The data node to lead next: a voter in contact that has every entry.
fn successor(metrics: &Metrics, me: u64, lease: Duration) -> Option<u64> {
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    let replication = metrics.replication.as_ref()?;
    let data =
        metrics.membership_config.nodes().filter(|(id, info)| **id != me && !info.witness && voters.contains(id));
    let in_contact = |id: &u64| {
        let heard = metrics.heartbeat.as_ref().and_then(|h| h.get(id).copied().flatten());
        heard.is_some_and(|at| at.elapsed() < lease)
    };
    let has_all = |id: &u64| {
        let matched: Option<LogId> = replication.get(id).copied().flatten();
        matched.is_some() && matched.map(|id| id.index) >= metrics.last_log_index
    };
    data.map(|(id, _)| *id).find(|id| in_contact(id) && has_all(id))
}
