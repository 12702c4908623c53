//! openraft's storage suite, and the rules of ours that it does not know.

use super::support::*;
use licraft::license::Command;
use licraft::store::*;
use openraft::StorageError;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, (StoreHandle, tempfile::TempDir)> for Builder {
    async fn build(&self) -> Result<((StoreHandle, tempfile::TempDir), LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine, handle) = Store::open(dir.path(), options()).unwrap();
        Ok(((handle, dir), log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

/// Writes `count` entries of one batch each, some with a second, and returns the directory.
async fn filled(dir: &Path, count: u64) -> [u8; 32] {
    let mut node = Node::open(dir, options()).unwrap();
    node.log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for index in 0..=count {
        node.write(vec![entry(1, index)]).await.unwrap();
    }
    let digest = node.digest();
    node.close();
    digest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_store_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let digest = filled(dir.path(), 3_000).await;
    let mut node = Node::open(dir.path(), options()).unwrap();
    assert_eq!(node.handle.applied().borrow().unwrap(), log_id(1, 3_000), "the image was written at close");
    node.recover().await.unwrap();
    assert_eq!(node.digest(), digest);
    assert!(is_expected(&node.handle.state(), 3_000));
    assert_eq!(node.last_index().await, 3_000);
    let mut reader = node.log.get_log_reader().await;
    assert_eq!(reader.read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)));
    let entries = reader.try_get_log_entries(..).await.unwrap();
    assert!(entries.iter().eq((0..=3_000).map(|index| entry(1, index)).collect::<Vec<_>>().iter()), "read from disk");
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), options()).unwrap();
    assert!(matches!(Node::open(dir.path(), options()), Err(StoreError::Locked(_))));
    node.close();
    Node::open(dir.path(), options()).unwrap().close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("FORMAT"), "licraft data, format 9\n").unwrap();
    let error = Node::open(dir.path(), options()).err().unwrap();
    assert!(matches!(error, StoreError::Format { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_segments_go_only_when_the_image_covers_them() {
    let dir = tempfile::tempdir().unwrap();
    let slow = StoreOptions { image_interval: std::time::Duration::from_secs(3_600), ..options() };
    let mut node = Node::open(dir.path(), slow).unwrap();
    for index in 0..=4_000 {
        node.write(vec![entry(1, index)]).await.unwrap();
    }
    let before = segments(dir.path()).len();
    assert!(before > 3, "{before} segments");
    node.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    node.log.purge(log_id(1, 3_990)).await.unwrap();
    node.log.sync().await.unwrap();
    assert!(segments(dir.path()).len() >= before, "nothing may go before the image is durable");
    node.handle.flush_image().await.unwrap();
    node.log.sync().await.unwrap();
    until("old segments are deleted", || segments(dir.path()).len() <= 2);
    node.close();
    let mut node = Node::open(dir.path(), options()).unwrap();
    node.recover().await.unwrap();
    assert!(is_expected(&node.handle.state(), 4_000));
    assert_eq!(node.log.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, 3_990)));
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_entries_stay_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), options()).unwrap();
    node.append((0..=10).map(|index| entry(1, index)).collect()).await.unwrap();
    node.log.truncate_after(Some(log_id(1, 6))).await.unwrap();
    node.append(vec![entry(2, 7)]).await.unwrap();
    node.close();
    let mut node = Node::open(dir.path(), options()).unwrap();
    let entries = node.log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.log_id).collect::<Vec<_>>()[6..], [log_id(1, 6), log_id(2, 7)]);
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 10).await;
    // What a power cut leaves of a last group: a record without its beginning, and a whole one behind it.
    let segment = segments(dir.path()).remove(0);
    let end = used(&segment);
    let file = std::fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[0xa5; 700], end + 64).unwrap();
    let mut node = Node::open(dir.path(), options()).unwrap();
    node.recover().await.unwrap();
    assert_eq!(node.last_index().await, 10);
    assert!(used(&segment) <= end, "the rest is zero again");
    node.write(vec![entry(1, 11)]).await.unwrap();
    node.close();
    let mut node = Node::open(dir.path(), options()).unwrap();
    assert_eq!(node.last_index().await, 11);
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_a_barrier_is_never_cut_away() {
    for damage in ["zeros", "bit"] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 50).await;
        let segment = segments(dir.path()).remove(0);
        let middle = used(&segment) / 2;
        let file = std::fs::File::options().read(true).write(true).open(&segment).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, middle).unwrap();
        let bytes = if damage == "bit" { vec![byte[0] ^ 4] } else { vec![0; 512] };
        file.write_all_at(&bytes, middle).unwrap();
        let error = Node::open(dir.path(), options()).err().unwrap_or_else(|| panic!("{damage} was not noticed"));
        assert!(matches!(error, StoreError::LogDamaged { .. }), "{error}");
        assert!(error.to_string().contains("re-seed"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3_000).await;
    let segments = segments(dir.path());
    std::fs::remove_file(&segments[1]).unwrap();
    assert!(matches!(Node::open(dir.path(), options()), Err(StoreError::LogDamaged { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_image_is_rebuilt_from_snapshot_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), options()).unwrap();
    for index in 0..=100 {
        node.write(vec![entry(1, index)]).await.unwrap();
        if index == 60 {
            node.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        }
    }
    node.close();
    damage_image(dir.path());
    assert_rebuilt(dir.path()).await;
    for harm in [lose_a_record, keep_an_old_record, invent_a_record] {
        harm(&sled::open(current_image(dir.path())).unwrap());
        assert_rebuilt(dir.path()).await;
    }
}

/// That the image is made anew from the snapshot at 60, and the log brings the state to 100.
async fn assert_rebuilt(dir: &Path) {
    let mut node = Node::open(dir, options()).unwrap();
    assert_eq!(*node.handle.applied().borrow(), Some(log_id(1, 60)));
    node.recover().await.unwrap();
    assert!(is_expected(&node.handle.state(), 100));
    node.close();
}

// What sled may give after a power cut without a word: every record reads well.

fn lose_a_record(image: &sled::Db) {
    let (key, _) = last_record(image);
    image.remove(key).unwrap();
    image.flush().unwrap();
}

fn keep_an_old_record(image: &sled::Db) {
    let (key, value) = last_record(image);
    let (_, before) = image.get_lt(&key).unwrap().unwrap();
    assert_ne!(before, value);
    image.insert(key, before).unwrap();
    image.flush().unwrap();
}

fn invent_a_record(image: &sled::Db) {
    let (mut key, value) = last_record(image);
    let number = key.len() - 2;
    key[number] ^= 1;
    assert!(image.insert(key, value).unwrap().is_none());
    image.flush().unwrap();
}

fn last_record(image: &sled::Db) -> (Vec<u8>, sled::IVec) {
    let (key, value) = image.last().unwrap().unwrap();
    (key.to_vec(), value)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_image_and_snapshot_a_purged_log_asks_for_a_new_seed() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), options()).unwrap();
    for index in 0..=3_000 {
        node.write(vec![entry(1, index)]).await.unwrap();
    }
    node.handle.flush_image().await.unwrap();
    node.log.purge(log_id(1, 2_900)).await.unwrap();
    node.log.sync().await.unwrap();
    node.close();
    damage_image(dir.path());
    let error = Node::open(dir.path(), options()).err().unwrap();
    assert!(matches!(error, StoreError::Reseed { .. }), "{error}");
    assert!(error.to_string().contains("provision-standby --replace"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_travels_and_replaces_everything() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = Node::open(from.path(), options()).unwrap();
    for index in 0..=300 {
        leader.write(vec![entry(1, index)]).await.unwrap();
    }
    let snapshot = leader.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut follower = Node::open(to.path(), options()).unwrap();
    follower.write(vec![entry(1, 0)]).await.unwrap();
    let mut receiver = follower.handle.receive_snapshot().unwrap();
    let mut offset = 0;
    loop {
        let chunk = snapshot.snapshot.read_chunk(offset, 1_000).unwrap();
        if chunk.is_empty() {
            break;
        }
        offset += chunk.len() as u64;
        receiver.write(&chunk).unwrap();
    }
    let (meta, file) = receiver.finish().unwrap();
    assert_eq!(meta, snapshot.meta);
    follower.machine.install_snapshot(&meta, file).await.unwrap();
    follower.log.purge(log_id(1, 300)).await.unwrap();
    follower.write(vec![entry(1, 301)]).await.unwrap();
    assert!(is_expected(&follower.handle.state(), 301));
    follower.close();
    let mut follower = Node::open(to.path(), options()).unwrap();
    follower.recover().await.unwrap();
    assert!(is_expected(&follower.handle.state(), 301));
    assert_eq!(follower.machine.get_current_snapshot().await.unwrap().unwrap().meta, snapshot.meta);
    follower.close();
    leader.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused_on_arrival() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), options()).unwrap();
    for index in 0..=20 {
        node.write(vec![entry(1, index)]).await.unwrap();
    }
    let snapshot = node.machine.get_snapshot_builder().await.build_snapshot().await.unwrap().snapshot;
    let whole = snapshot.read_chunk(0, usize::MAX).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).step_by(7).map(|at| whole[..at].to_vec()).collect();
    for at in (0..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        damaged.push(bytes);
    }
    damaged.push([whole.clone(), vec![0]].concat());
    for bytes in damaged {
        let mut receiver = node.handle.receive_snapshot().unwrap();
        receiver.write(&bytes).unwrap();
        assert!(receiver.finish().is_err());
    }
    let left = std::fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert_eq!(left, 1, "refused files are removed");
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_have_equal_digests() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut digests = Vec::new();
    for dir in [&a, &b] {
        let mut node = Node::open(dir.path(), options()).unwrap();
        for index in 0..=20 {
            node.write(vec![entry(1, index)]).await.unwrap();
        }
        let mut mark = commands(21);
        mark[0].command = Command::DigestMark { nonce: 77 };
        node.write(vec![entry_with(1, 21, mark)]).await.unwrap();
        let mut watch = node.handle.digests();
        digests.push(*watch.wait_for(|digests| !digests.is_empty()).await.unwrap().back().unwrap());
        node.close();
    }
    assert_eq!((digests[0].index, digests[0].nonce), (21, 77));
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_leader_stops_a_data_node_but_changes_nothing() {
    struct Key;
    impl BatchAuth for Key {
        fn mac(&self, body: &[u8]) -> [u8; 32] {
            [body.iter().fold(1, |sum, byte| sum ^ byte); 32]
        }
        fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
            self.mac(body) == *mac
        }
    }
    let batch = |term| Batch {
        epoch: Epoch::default(),
        term,
        node_id: 1,
        seq: 1,
        stamp: licraft::license::Stamp::at(licraft::license::Millis(1_000)),
        requests: commands(0),
    };
    let sealed = Envelope::seal(&batch(1), &|body| Key.mac(body)).unwrap();
    let forged = Envelope::seal(&batch(2), &|_| [7; 32]).unwrap();
    for (envelope, why) in [(sealed, "sealed in term 1"), (forged, "MAC")] {
        let dir = tempfile::tempdir().unwrap();
        let auth: std::sync::Arc<dyn BatchAuth> = std::sync::Arc::new(Key);
        let mut node = Node::open(dir.path(), StoreOptions { auth: Some(auth), ..options() }).unwrap();
        let replayed = Entry { log_id: log_id(2, 0), payload: openraft::EntryPayload::Normal(envelope) };
        let error = node.write(vec![replayed]).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(matches!(node.handle.health(), StoreHealth::Failed { .. }));
        assert!(node.handle.failed().borrow().as_ref().unwrap().contains(why));
        assert!(!node.handle.state().is_initialized(), "nothing was applied");
        node.close();
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    paths
}

/// The end of what is not zero.
fn used(path: &Path) -> u64 {
    std::fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

fn current_image(dir: &Path) -> PathBuf {
    let image = dir.join("image");
    let current = std::fs::read_to_string(image.join("CURRENT")).unwrap();
    image.join(current.trim())
}

fn damage_image(dir: &Path) {
    let path = current_image(dir).join("db");
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(40) {
        *byte ^= 0x5a;
    }
    std::fs::write(&path, bytes).unwrap();
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
