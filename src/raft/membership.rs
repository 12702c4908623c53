//! Changes of the cluster's membership, one at a time.

use super::core::{Core, Members};
use crate::license::State;
use crate::store::{LogId, NodeInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// For one committed change of the membership.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    #[error("this node does not lead the cluster; ask the active node")]
    NotLeader,
    #[error("node {0} is not a member of the cluster")]
    Unknown(u64),
    #[error("node id {0} was given before; ids are never used twice")]
    UsedId(u64),
    #[error("node {node_id} did not catch up within {waited:?}; see its status, then try again")]
    NotCaughtUp { node_id: u64, waited: Duration },
    #[error("removing node {0} would leave no voter")]
    LastVoter(u64),
    #[error("the change was not committed within {CHANGE_TIMEOUT:?}; it may still be: look at the status")]
    NotConfirmed,
    #[error("{0}")]
    Raft(String),
}

/// The one way to change who is a member.
pub struct Membership {
    core: Arc<dyn Core>,
    me: u64,
    /// Held during a change: Raft allows one at a time, and each looks at the result of the one before.
    turn: tokio::sync::Mutex<()>,
    /// The highest id given out or seen by this process.
    highest: AtomicU64,
    /// The highest id that was a member as far as this process has seen; see also [`Self::next_node_id`].
    joined: AtomicU64,
}

impl Membership {
    pub(super) fn new(core: Arc<dyn Core>, me: u64) -> Self {
        Self { core, me, turn: tokio::sync::Mutex::new(()), highest: AtomicU64::new(me), joined: AtomicU64::new(0) }
    }

    /// Makes this fresh node a cluster of one. Done before: no change.
    ///
    /// # Errors
    /// When the log is not empty but belongs to another cluster, or Raft has stopped.
    pub async fn initialize(&self, info: NodeInfo) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        if self.members().contains_key(&self.me) {
            return Ok(());
        }
        self.core.initialize(BTreeMap::from([(self.me, info)])).await.map_err(MembershipError::Raft)
    }

    /// Every member, voters and learners, by the newest membership known here.
    #[must_use]
    pub fn members(&self) -> BTreeMap<u64, NodeInfo> {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.nodes().map(|(id, info)| (*id, info.clone())).collect()
    }

    /// The voters by the newest membership known here.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<u64> {
        self.core.metrics().borrow().membership_config.voter_ids().collect()
    }

    /// Whether the newest membership known here is on its way to another one.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.core.metrics().borrow().membership_config.get_joint_config().len() > 1
    }

    /// Whether the newest membership known here, or the one it is on the way to, is without this node.
    #[must_use]
    pub fn leaving(&self) -> bool {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow();
        let newest = metrics.membership_config.membership().get_joint_config();
        newest.last().is_some_and(|voters| !voters.contains(&self.me))
            && metrics.membership_config.membership().get_node(&self.me).is_none_or(|_| newest.len() > 1)
    }

    /// An id that no node had: above every id in the membership, in the members on record (retired ones too) and
    /// given out before by this process. It counts as used once the member is recorded in `state` or the membership.
    #[must_use]
    pub fn next_node_id(&self, state: &State) -> u64 {
        let recorded = state.members().map(|m| m.node_id).max().unwrap_or(0);
        let members = self.members().keys().next_back().copied().unwrap_or(0);
        let above = recorded.max(members);
        self.highest.fetch_max(above, Ordering::AcqRel);
        self.highest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Adds `node_id` as learner, waits until it has caught up, and makes it a voter. `progress` hears
    /// (entries it has, entries there are).
    ///
    /// # Errors
    /// See [`MembershipError`]; after `NotCaughtUp` the node stays a learner, and adding it again goes on from there.
    pub async fn add_voter(
        &self,
        node_id: u64,
        info: NodeInfo,
        patience: Duration,
        progress: impl Fn(u64, u64) + Send,
    ) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        self.settle().await?;
        self.learner(node_id, info).await?;
        self.caught_up(node_id, patience, progress).await?;
        self.change(Members::AddVoterIds(BTreeSet::from([node_id])), true).await?;
        tracing::info!(node_id, "is a voter now");
        Ok(())
    }

    /// Adds `node_id` as learner, without waiting for it.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn add_learner(&self, node_id: u64, info: NodeInfo) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        self.settle().await?;
        self.learner(node_id, info).await
    }

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn promote(&self, node_id: u64, patience: Duration) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        self.settle().await?;
        if !self.members().contains_key(&node_id) {
            return Err(MembershipError::Unknown(node_id));
        }
        self.caught_up(node_id, patience, |_, _| {}).await?;
        self.change(Members::AddVoterIds(BTreeSet::from([node_id])), true).await
    }

    /// Makes a voter a learner: it goes on replicating but counts for no quorum.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn demote(&self, node_id: u64) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        self.settle().await?;
        self.not_last(node_id)?;
        self.change(Members::RemoveVoters(BTreeSet::from([node_id])), true).await
    }

    /// Removes `node_id` from the cluster; its id is never used again. Removing a node that is gone changes nothing.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove(&self, node_id: u64) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        self.settle().await?;
        if !self.members().contains_key(&node_id) {
            return Ok(());
        }
        self.not_last(node_id)?;
        self.joined.fetch_max(node_id, Ordering::AcqRel);
        if self.voters().contains(&node_id) {
            return self.change(Members::RemoveVoters(BTreeSet::from([node_id])), false).await;
        }
        self.change(Members::RemoveNodes(BTreeSet::from([node_id])), false).await
    }

    /// Records new addresses of a member. Raft connects to the new cluster address from then on.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn update(&self, node_id: u64, info: NodeInfo) -> Result<(), MembershipError> {
        let _turn = self.turn.lock().await;
        self.settle().await?;
        if !self.members().contains_key(&node_id) {
            return Err(MembershipError::Unknown(node_id));
        }
        self.change(Members::SetNodes(BTreeMap::from([(node_id, info)])), true).await
    }

    fn not_last(&self, node_id: u64) -> Result<(), MembershipError> {
        if self.voters() == BTreeSet::from([node_id]) { Err(MembershipError::LastVoter(node_id)) } else { Ok(()) }
    }

    /// Waits until the newest membership is committed, and ends a joint one that another leader left behind.
    async fn settle(&self) -> Result<(), MembershipError> {
        let mut metrics = self.core.metrics();
        let settled = metrics.wait_for(|m| {
            m.current_leader != Some(self.me) || m.membership_config.log_id() == m.committed_membership_config.log_id()
        });
        let joint = match tokio::time::timeout(CHANGE_TIMEOUT, settled).await {
            Ok(Ok(m)) if m.current_leader == Some(self.me) => m.membership_config.get_joint_config().len() > 1,
            Ok(_) => return Err(MembershipError::NotLeader),
            Err(_) => return Err(MembershipError::NotConfirmed),
        };
        if joint { self.change(Members::AddVoterIds(BTreeSet::new()), true).await } else { Ok(()) }
    }

    async fn learner(&self, node_id: u64, info: NodeInfo) -> Result<(), MembershipError> {
        match self.members().get(&node_id) {
            Some(known) if *known == info => return Ok(()),
            Some(_) => return Err(MembershipError::UsedId(node_id)),
            None => {}
        }
        // Ids ascend: one below a member's was given before, and whoever had it has left.
        let newest = self.members().keys().next_back().copied().unwrap_or(0);
        if node_id <= self.joined.fetch_max(newest, Ordering::AcqRel).max(newest) {
            return Err(MembershipError::UsedId(node_id));
        }
        self.highest.fetch_max(node_id, Ordering::AcqRel);
        self.joined.fetch_max(node_id, Ordering::AcqRel);
        self.change(Members::AddNodes(BTreeMap::from([(node_id, info)])), true).await
    }

    async fn caught_up(
        &self,
        node_id: u64,
        patience: Duration,
        progress: impl Fn(u64, u64) + Send,
    ) -> Result<(), MembershipError> {
        let started = Instant::now();
        let metrics = self.core.metrics();
        while started.elapsed() < patience {
            let (has, all) = {
                let m = metrics.borrow();
                let Some(replication) = &m.replication else { return Err(MembershipError::NotLeader) };
                let matched: Option<LogId> = replication.get(&node_id).copied().flatten();
                (matched.map_or(0, |id| id.index), m.last_log_index.unwrap_or(0))
            };
            progress(has, all);
            if has > 0 && all.saturating_sub(has) <= super::config::CAUGHT_UP_WITHIN {
                return Ok(());
            }
            // A change is looked at soon, but not each of thousands a second.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(MembershipError::NotCaughtUp { node_id, waited: patience })
    }

    async fn change(&self, members: Members, retain: bool) -> Result<(), MembershipError> {
        match tokio::time::timeout(CHANGE_TIMEOUT, self.core.change(members, retain)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(MembershipError::Raft(why)),
            Err(_) => Err(MembershipError::NotConfirmed),
        }
    }
}
