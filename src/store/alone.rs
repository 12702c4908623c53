//! Making one node the only voter where no quorum will ever agree on it again.

use super::LogStore;
use super::open::{Store, StoreOptions};
use super::types::{Entry, LeaderId, LogId, NodeInfo, TypeConfig, Vote};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, Membership, StorageHelper};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

impl Store {
    /// Appends to the log in `dir`, which nobody else has open, a membership with `node_id` as its only voter and all
    /// other members as learners. The entries before it stay, and so count as agreed on once the node leads.
    ///
    /// Raft allows no such thing: two nodes that do it to one log go apart. The caller must have raised the epoch of the
    /// cluster, so that they do not listen to each other again.
    ///
    /// # Errors
    /// When the store cannot be opened or written, or `node_id` is no member.
    pub async fn make_sole_voter(dir: &Path, options: StoreOptions, node_id: u64) -> io::Result<()> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open(&dir, options)).await?;
        let (mut log, mut machine, handle) = opened?;
        let mut helper = StorageHelper::<TypeConfig, _, _>::new(&mut log, &mut machine).with_id(node_id);
        let known = helper.get_membership().await.map_err(io::Error::other);
        let done = match known.map(|known| known.effective().membership().clone()) {
            Ok(known) => append(&mut log, node_id, &known).await,
            Err(error) => Err(error),
        };
        tokio::task::spawn_blocking(move || handle.close()).await?;
        done
    }
}

async fn append(log: &mut LogStore, node_id: u64, known: &Membership<u64, NodeInfo>) -> io::Result<()> {
    if known.get_node(&node_id).is_none() {
        return Err(io::Error::other("this node is not a member of its cluster yet"));
    }
    let nodes: BTreeMap<u64, NodeInfo> = known.nodes().map(|(id, info)| (*id, info.clone())).collect();
    let alone = Membership::new(vec![BTreeSet::from([node_id])], nodes).map_err(io::Error::other)?;
    let vote = log.get_log_reader().await.read_vote().await?;
    let last = log.get_log_state().await?.last_log_id;
    let term = vote.map_or(0, |vote| vote.leader_id.term).max(last.map_or(0, |last| last.leader_id.term)) + 1;
    let leader_id = LeaderId { term, node_id };
    // The vote first: no entry may be of a later term than it.
    log.save_vote(&Vote { leader_id, committed: false }).await?;
    let log_id = LogId { leader_id, index: last.map_or(0, |last| last.index + 1) };
    let entry = Entry { log_id, payload: EntryPayload::Membership(alone) };
    log.blocking_append([entry]).await.map_err(io::Error::other)
}

#[cfg(test)]
const LEADER: LeaderId = LeaderId { term: 3, node_id: 2 };

/// For tests: a store whose log has one entry, a membership of these voters.
#[cfg(test)]
pub async fn store_of_voters(dir: &Path, voters: &[u64]) {
    let (mut log, _machine, handle) = Store::open(dir, StoreOptions::default()).unwrap();
    let nodes: BTreeMap<u64, NodeInfo> = voters.iter().map(|id| (*id, NodeInfo::default())).collect();
    let membership = Membership::new(vec![voters.iter().copied().collect()], nodes).unwrap();
    let entry = Entry { log_id: LogId { leader_id: LEADER, index: 0 }, payload: EntryPayload::Membership(membership) };
    log.save_vote(&Vote { leader_id: LEADER, committed: true }).await.unwrap();
    log.blocking_append([entry]).await.unwrap();
    tokio::task::spawn_blocking(move || handle.close()).await.unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_others_become_learners_in_a_later_term() {
        let dir = tempfile::tempdir().unwrap();
        store_of_voters(dir.path(), &[1, 2, 3]).await;
        // Done again after a crash it comes to the same.
        for times in 1..3 {
            Store::make_sole_voter(dir.path(), StoreOptions::default(), 1).await.unwrap();
            let (mut log, mut machine, handle) = Store::open(dir.path(), StoreOptions::default()).unwrap();
            let mut helper = StorageHelper::<TypeConfig, _, _>::new(&mut log, &mut machine).with_id(1);
            let known = helper.get_membership().await.unwrap();
            let effective = known.effective().membership();
            assert_eq!(effective.get_joint_config(), &[BTreeSet::from([1])]);
            assert_eq!(effective.learner_ids().collect::<Vec<_>>(), [2, 3]);
            let last = log.get_log_state().await.unwrap().last_log_id.unwrap();
            assert_eq!((last.index, last.leader_id), (times, LeaderId { term: 3 + times, node_id: 1 }));
            let vote = log.get_log_reader().await.read_vote().await.unwrap().unwrap();
            assert!(vote.leader_id == last.leader_id && !vote.committed);
            tokio::task::spawn_blocking(move || handle.close()).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_that_is_no_member_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        store_of_voters(dir.path(), &[2, 3]).await;
        let error = Store::make_sole_voter(dir.path(), StoreOptions::default(), 1).await.unwrap_err();
        assert!(error.to_string().contains("not a member"), "{error}");
        let (mut log, _machine, handle) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        assert_eq!(log.get_log_state().await.unwrap().last_log_id.unwrap().index, 0);
        tokio::task::spawn_blocking(move || handle.close()).await.unwrap();
    }
}
