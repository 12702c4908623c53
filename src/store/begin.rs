//! Making a store that begins with a state from elsewhere.

use super::dir::{self, DataDir};
use super::image::{Image, Position};
use super::open::{Store, StoreOptions};
use super::types::{LogId, NodeInfo, StoredMembership, Vote};
use crate::license::State;
use openraft::Membership;
use openraft::storage::RaftLogStorage;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

impl Store {
    /// Makes a store in `dir`, where there is none, whose log begins after `first`: what came before is `state`, and its
    /// leader, as `info`, the only voter. Not whole before it returns: remove `dir` if that fails.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin_with(
        dir: &Path,
        options: StoreOptions,
        state: State,
        first: LogId,
        info: NodeInfo,
    ) -> io::Result<()> {
        let node_id = first.leader_id.node_id;
        let alone = Membership::new(vec![BTreeSet::from([node_id])], BTreeMap::from([(node_id, info)]));
        let membership = StoredMembership::new(Some(first), alone.map_err(io::Error::other)?);
        let (root, cache_bytes) = (dir.to_owned(), options.image_cache_bytes);
        let write = move || -> io::Result<()> {
            let data = DataDir::open(&root)?;
            let position = Position { applied: Some(first), membership };
            Image::create(&data.image(), cache_bytes, &state, &position).map_err(io::Error::other)?.close();
            Ok(dir::sync_dir(&root)?)
        };
        tokio::task::spawn_blocking(write).await??;
        let root = dir.to_owned();
        let (mut log, _machine, handle) = tokio::task::spawn_blocking(move || Self::open(&root, options)).await??;
        // The vote first: no entry may be of a later term than it.
        let voted = log.save_vote(&Vote { leader_id: first.leader_id, committed: false }).await;
        let begun = match voted {
            Ok(()) => log.purge(first).await,
            Err(error) => Err(error),
        };
        // Waits for the log's thread, which does all of that first.
        tokio::task::spawn_blocking(move || handle.close()).await?;
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Millis, Record};
    use crate::store::{LeaderId, TypeConfig};
    use openraft::StorageHelper;
    use openraft::storage::RaftLogReader;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_begins_with_the_state_and_one_voter() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("raft");
        let meta = crate::license::Meta { now: Millis(7), server_uid: "00ff".into(), ..Default::default() };
        let settings = crate::license::Settings::default();
        let records = [Record::Meta(meta), Record::Settings(settings)].map(|record| (record.key(), record));
        let state = State::from_records(records);
        let first = LogId { leader_id: LeaderId { term: 9, node_id: 1 }, index: 40 };
        let info = NodeInfo { name: "a".into(), ..NodeInfo::default() };
        assert!(!Store::exists(&root));
        Store::begin_with(&root, StoreOptions::default(), state.clone(), first, info).await.unwrap();
        assert!(Store::exists(&root));
        let (mut log, mut machine, handle) = Store::open(&root, StoreOptions::default()).unwrap();
        assert_eq!(handle.state_at(), (std::sync::Arc::new(state), Some(first)));
        let logged = log.get_log_state().await.unwrap();
        assert_eq!((logged.last_purged_log_id, logged.last_log_id), (Some(first), Some(first)));
        let vote = log.get_log_reader().await.read_vote().await.unwrap().unwrap();
        assert_eq!((vote.leader_id, vote.committed), (first.leader_id, false));
        let mut helper = StorageHelper::<TypeConfig, _, _>::new(&mut log, &mut machine).with_id(1);
        let known = helper.get_membership().await.unwrap();
        assert_eq!(known.effective().membership().voter_ids().collect::<Vec<_>>(), [1]);
        tokio::task::spawn_blocking(move || handle.close()).await.unwrap();
    }
}
