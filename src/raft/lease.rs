//! Until when this node may serve: a fact drawn from what a quorum acknowledged, never from the mere role of leader.

use super::config::Timings;
use super::core::MetricsWatch;
use crate::store::LeaderId;
use openraft::Instant as _;
use openraft::vote::RaftLeaderId as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A sole voter whose disk lets no barrier pass for this long while work waits is not alive.
pub const DISK_STALL: Duration = Duration::from_secs(2);

/// What the lease needs to know of the store.
pub trait StoreCheck: Send + Sync + 'static {
    /// What is wrong for good; none while the store works.
    fn failed(&self) -> Option<String>;
    /// Why new work must wait, for instance a disk nearly full; none otherwise.
    fn refuses(&self) -> Option<String>;
    /// For how long work has waited for a barrier without one passing.
    fn stalled_for(&self) -> Duration;
}

/// The leadership under which this node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leading {
    pub leader: LeaderId,
    pub until: Instant,
}

/// Tells until when this node may serve. Cheap to clone and to ask.
#[derive(Clone)]
pub struct LeaseGuard {
    metrics: MetricsWatch,
    store: Arc<dyn StoreCheck>,
    draining: Arc<AtomicBool>,
    barred: Arc<AtomicBool>,
    lease: Duration,
    me: u64,
    witness: bool,
}

impl LeaseGuard {
    pub(super) fn new(
        metrics: MetricsWatch,
        store: Arc<dyn StoreCheck>,
        timings: Timings,
        me: u64,
        witness: bool,
    ) -> Self {
        Self { metrics, store, draining: Arc::default(), barred: Arc::default(), lease: timings.lease(), me, witness }
    }

    /// The end of the leader lease; none when this node does not lead, has not applied its own term's first entry, or
    /// the lease is over. A sole voter needs nobody's acknowledgement but a working disk.
    #[must_use]
    pub fn valid_until(&self) -> Option<Instant> {
        self.leading().map(|l| l.until)
    }

    /// The end of the lease under which this node serves: as [`Self::valid_until`], for a data node that is not
    /// handing over nor barred.
    #[must_use]
    pub fn serving_until(&self) -> Option<Instant> {
        self.serving().map(|l| l.until)
    }

    pub(super) fn serving(&self) -> Option<Leading> {
        let quiet = self.witness || self.draining() || self.barred();
        if quiet { None } else { self.leading() }
    }

    pub(super) fn leading(&self) -> Option<Leading> {
        // Read before the age of the acknowledgement is taken, so that the sum can only come out too early.
        let now = tokio::time::Instant::now().into_std();
        let metrics = self.metrics.borrow();
        let leader = metrics.vote.leader_id;
        let mine = metrics.vote.committed && leader.node_id == self.me && metrics.running_state.is_ok();
        // A node that has just started finds the vote of its last leadership, but leads nobody.
        if !mine
            || !metrics.state.is_leader()
            || metrics.last_applied.map(|id| id.leader_id) != Some(leader.to_committed())
        {
            return None;
        }
        let configs = metrics.membership_config.membership().get_joint_config();
        if configs.iter().all(|voters| voters.len() == 1 && voters.contains(&self.me)) {
            let alive = self.store.failed().is_none() && self.store.stalled_for() < DISK_STALL;
            return alive.then_some(Leading { leader, until: now + self.lease });
        }
        let until = (now + self.lease).checked_sub(metrics.last_quorum_acked.as_ref()?.elapsed())?;
        (until > now).then_some(Leading { leader, until })
    }

    /// Stops or resumes serving without touching leadership.
    pub(super) fn drain(&self, on: bool) {
        self.draining.store(on, Ordering::Release);
    }

    /// Ends serving for good, as long as this replica runs: another epoch of the cluster goes before this one.
    pub fn bar(&self) {
        self.barred.store(true, Ordering::Release);
    }

    /// Whether this node may not serve, be it the leader.
    #[must_use]
    pub fn barred(&self) -> bool {
        self.barred.load(Ordering::Acquire)
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn store(&self) -> &Arc<dyn StoreCheck> {
        &self.store
    }
}
