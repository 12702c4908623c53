//! The store as this room needs it, and the real store in that shape.

use super::core::SnapshotBytes;
use super::lease::StoreCheck;
use super::peer::SnapshotReader;
use super::proposer::StateSource;
use crate::license::State;
use crate::store::{LogStore, Machine, SnapshotFile, SnapshotMeta, StoreHandle, StoreHealth};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

/// Bytes of a snapshot read from disk at once.
const READ_BYTES: usize = 256 << 10;

/// Everything a replica asks of its store beside log and machine.
pub trait StoreView: StoreCheck + StateSource {
    /// The newest digests of the state: (log index, digest).
    fn digests(&self) -> Vec<(u64, [u8; 32])>;
    /// Free bytes on the disk, if these are few: somebody should make room before new work is refused.
    fn disk_low(&self) -> Option<u64>;
}

/// A store, ready to be driven by Raft.
pub struct StoreParts<L, M: openraft::storage::RaftStateMachine<crate::store::TypeConfig>> {
    pub log: L,
    pub machine: M,
    pub view: Arc<dyn StoreView>,
    pub snapshots: Arc<dyn SnapshotBytes<M::SnapshotData>>,
}

impl StoreParts<LogStore, Machine> {
    /// What `Store::open` returned.
    #[must_use]
    pub fn new(log: LogStore, machine: Machine, handle: StoreHandle) -> Self {
        let snapshots = Arc::new(Files(handle.clone()));
        Self { log, machine, view: Arc::new(handle), snapshots }
    }
}

impl StoreCheck for StoreHandle {
    fn failed(&self) -> Option<String> {
        StoreHandle::failed(self).borrow().as_ref().map(ToString::to_string)
    }

    fn refuses(&self) -> Option<String> {
        match self.health() {
            StoreHealth::Ok => None,
            StoreHealth::DiskLow { free, reserve } => {
                Some(format!("only {free} bytes are free on the data disk, {reserve} are kept in reserve; make room"))
            }
            StoreHealth::Failed { why } => Some(why.to_string()),
        }
    }

    fn stalled_for(&self) -> Duration {
        self.metrics().stalled_for()
    }
}

impl StateSource for StoreHandle {
    fn state(&self) -> Arc<State> {
        StoreHandle::state(self)
    }
}

impl StoreView for StoreHandle {
    fn digests(&self) -> Vec<(u64, [u8; 32])> {
        StoreHandle::digests(self).borrow().iter().map(|d| (d.index, d.digest)).collect()
    }

    fn disk_low(&self) -> Option<u64> {
        StoreHandle::disk_low(self)
    }
}

/// Snapshot files as bytes.
struct Files(StoreHandle);

#[async_trait::async_trait]
impl SnapshotBytes<SnapshotFile> for Files {
    async fn read(&self, snapshot: SnapshotFile) -> io::Result<SnapshotReader> {
        let chunks = futures::stream::try_unfold((snapshot, 0u64), |(snapshot, offset)| async move {
            let read = tokio::task::spawn_blocking(move || (snapshot.read_chunk(offset, READ_BYTES), snapshot)).await;
            let (chunk, snapshot) = read.map_err(io::Error::other)?;
            let chunk = chunk?;
            let next = offset + chunk.len() as u64;
            Ok::<_, io::Error>((!chunk.is_empty()).then(|| (Bytes::from(chunk), (snapshot, next))))
        });
        Ok(Box::pin(StreamReader::new(Box::pin(chunks))))
    }

    async fn receive(&self, meta: &SnapshotMeta, mut bytes: SnapshotReader) -> io::Result<SnapshotFile> {
        let mut receiver = self.0.receive_snapshot()?;
        let mut chunk = Vec::with_capacity(READ_BYTES);
        loop {
            chunk.clear();
            if (&mut bytes).take(READ_BYTES as u64).read_to_end(&mut chunk).await? == 0 {
                break;
            }
            let written = tokio::task::spawn_blocking(move || (receiver.write(&chunk), receiver, chunk)).await;
            let (result, same, buffer) = written.map_err(io::Error::other)?;
            result?;
            (receiver, chunk) = (same, buffer);
        }
        let (found, file) =
            tokio::task::spawn_blocking(move || receiver.finish()).await.map_err(io::Error::other)??;
        if found != *meta {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is not the one announced"));
        }
        Ok(file)
    }
}
