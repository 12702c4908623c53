//! The state machine: applies committed batches to the state in memory and publishes it once per group.

use super::codec::{BatchAuth, CodecError};
use super::health::Health;
use super::image::Position;
use super::imager::{Order, Pending};
use super::metrics::StoreMetrics;
use super::snapshot::{SnapshotFile, Snapshots, state_digest};
use super::types::{Entry, LogId, Outcomes, SnapshotMeta, StoredMembership, TypeConfig};
use crate::license::{Changes, Command, State};
use arc_swap::ArcSwap;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};

/// Entries applied before the state is published and their callers are answered, even if more are at hand.
const GROUP_ENTRIES: usize = 256;

/// A write of the image takes milliseconds; one that has not returned for this long never will.
const IMAGE_STALL: Duration = Duration::from_secs(30);

/// Digests kept for comparison with the peers'.
const DIGESTS: usize = 8;

/// The digest of the state right after a `DigestMark` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateDigest {
    /// Log index of the entry with the mark.
    pub index: u64,
    pub nonce: u64,
    pub digest: [u8; 32],
}

/// What the machine shares with readers, the image thread and snapshot builders.
pub(super) struct Shared {
    pub published: ArcSwap<State>,
    pub applied: watch::Sender<Option<LogId>>,
    pub pending: Arc<Mutex<Pending>>,
    pub orders: Sender<Order>,
    pub snapshots: Snapshots,
    pub digests: watch::Sender<VecDeque<StateDigest>>,
    pub health: Arc<Health>,
    pub metrics: Arc<StoreMetrics>,
    /// Commands and changed records after which the image is written early.
    pub image_limits: (usize, usize),
}

/// openraft's state machine. There is one; readers use [`super::StoreHandle`].
pub struct Machine {
    state: State,
    position: Position,
    changes: Changes,
    commands: usize,
    auth: Option<Arc<dyn BatchAuth>>,
    shared: Arc<Shared>,
}

type Answer = (ApplyResponder<TypeConfig>, Outcomes);

impl Machine {
    pub(super) fn new(state: State, position: Position, auth: Option<Arc<dyn BatchAuth>>, shared: Arc<Shared>) -> Self {
        Self { state, position, changes: Changes::new(), commands: 0, auth, shared }
    }

    /// Applies one entry. An error leaves the machine unusable, and must: an entry that cannot be understood is never
    /// skipped, or this replica would differ from the others.
    fn entry(&mut self, entry: Entry) -> Result<Outcomes, CodecError> {
        let mut outcomes = Vec::new();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.position.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(envelope) => {
                let batch = envelope.open(entry.log_id.leader_id, self.auth.as_deref())?;
                if !self.state.admit_batch((batch.term, batch.node_id, batch.seq), &mut self.changes) {
                    return Err(CodecError::Replayed { term: batch.term, seq: batch.seq });
                }
                outcomes.reserve_exact(batch.requests.len());
                self.commands += batch.requests.len();
                for request in &batch.requests {
                    outcomes.push(self.state.apply(batch.stamp, request, &mut self.changes));
                    if let Command::DigestMark { nonce } = request.command {
                        self.digest(entry.log_id.index, nonce);
                    }
                }
            }
        }
        self.position.applied = Some(entry.log_id);
        Ok(Outcomes(outcomes))
    }

    /// Computes the digest of the state as it is now, beside further applies.
    fn digest(&self, index: u64, nonce: u64) {
        let (state, shared) = (self.state.clone(), self.shared.clone());
        tokio::task::spawn_blocking(move || match state_digest(&state) {
            Ok(digest) => shared.digests.send_modify(|digests| {
                digests.push_back(StateDigest { index, nonce, digest });
                if digests.len() > DIGESTS {
                    digests.pop_front();
                }
            }),
            Err(error) => shared.health.fail(format!("cannot compute the digest of the state at {index}: {error}")),
        });
    }

    /// Makes everything applied visible, hands the changes to the image thread, and then answers the callers: who has
    /// an answer also reads its effect here.
    fn publish(&mut self, answers: &mut Vec<Answer>) {
        let state = Arc::new(self.state.clone());
        self.shared.published.store(state.clone());
        let mut pending = self.shared.pending.lock();
        pending.state = state;
        pending.changes.extend(std::mem::take(&mut self.changes));
        pending.position = self.position.clone();
        pending.commands += std::mem::take(&mut self.commands);
        let (most_commands, most_records) = self.shared.image_limits;
        let full = pending.commands >= most_commands || pending.changes.len() >= most_records;
        let wake = full && !std::mem::replace(&mut pending.woken, true);
        drop(pending);
        if wake {
            // If the image thread is gone, the store has failed and says so elsewhere.
            let _ = self.shared.orders.send(Order::Wake);
        }
        let stalled = self.shared.metrics.image_stalled_for();
        if stalled > IMAGE_STALL {
            self.shared.health.fail(format!("a write of the image of the state has not returned for {stalled:?}"));
        }
        self.shared.applied.send_replace(self.position.applied);
        for (responder, outcomes) in answers.drain(..) {
            responder.send(outcomes);
        }
    }

    fn stop(&self, what: &str, error: impl std::fmt::Display) -> io::Error {
        let why = format!("{what}: {error}");
        self.shared.health.fail(why.clone());
        io::Error::other(why)
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.position.applied, self.position.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        let mut count = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let id = entry.log_id;
            let outcomes =
                self.entry(entry).map_err(|error| self.stop(&format!("log entry {id} cannot be applied"), error))?;
            answers.extend(responder.map(|responder| (responder, outcomes)));
            count += 1;
            if count == GROUP_ENTRIES {
                self.publish(&mut answers);
                count = 0;
            }
        }
        self.publish(&mut answers);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let meta =
            SnapshotMeta { last_log_id: self.position.applied, last_membership: self.position.membership.clone() };
        SnapshotBuilder { state: Arc::new(self.state.clone()), meta, shared: self.shared.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> Result<(), io::Error> {
        let (shared, meta) = (self.shared.clone(), meta.clone());
        let position = Position { applied: meta.last_log_id, membership: meta.last_membership.clone() };
        let load = move || -> io::Result<State> {
            let (found, state) = snapshot.load()?;
            if found != meta {
                let why = format!("the snapshot sent as {meta} is one of {found}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            // Durable before the image: a crash in between installs it again at the next start.
            shared.snapshots.install(&meta, &snapshot)?;
            Ok(state)
        };
        let state = tokio::task::spawn_blocking(load).await.map_err(io::Error::other)?;
        let state = Arc::new(state.map_err(|error| self.stop("cannot install a snapshot", error))?);
        let (done, wait) = oneshot::channel();
        let order = Order::Replace { state: state.clone(), position: position.clone(), done };
        let sent = self.shared.orders.send(order).map_err(|_| "the image thread has ended".to_owned());
        let replaced = match sent {
            Ok(()) => tokio::select! {
                replaced = wait => replaced.unwrap_or_else(|_| Err("the image thread has ended".to_owned())),
                // The image thread may hang: sled waits for good for a write that failed.
                () = self.shared.health.until_failed() => Err("the store has failed".to_owned()),
            },
            Err(error) => Err(error),
        };
        replaced.map_err(|error| self.stop("cannot install a snapshot", error))?;
        self.state = (*state).clone();
        self.position = position;
        self.changes.clear();
        self.commands = 0;
        self.publish(&mut Vec::new());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<super::StoredSnapshot>, io::Error> {
        Ok(self.shared.snapshots.current().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes a snapshot of the state as it was when the builder was made.
pub struct SnapshotBuilder {
    state: Arc<State>,
    meta: SnapshotMeta,
    shared: Arc<Shared>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<super::StoredSnapshot, io::Error> {
        let (state, meta, shared) = (self.state.clone(), self.meta.clone(), self.shared.clone());
        let build = move || shared.snapshots.build(&state, &meta);
        let snapshot = tokio::task::spawn_blocking(build).await.map_err(io::Error::other)?;
        let snapshot = snapshot.inspect_err(|error| self.shared.health.fail(error.to_string()))?;
        let metrics = &self.shared.metrics;
        metrics.snapshot_bytes.store(snapshot.len(), Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.snapshot_made_unix.store(now.as_secs(), Relaxed);
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::*;
    use crate::store::codec::{Batch, Epoch};
    use crate::store::image::Image;
    use crate::store::{Envelope, LeaderId, Store, StoreOptions};
    use std::time::{Duration, Instant};

    fn large_state(instances: u64) -> State {
        let certificate =
            IdCertificate { serial: [1; 16], key_hash: [2; 32], not_before: Millis(0), not_after: Millis(1 << 40) };
        let instance = |id: u64| Instance {
            id: InstanceId(id),
            va: VirtualAccountId(2),
            udi: Udi { pid: "TEST-PID".into(), sn: format!("SN{id:08}") }.into(),
            host_name: Some(format!("router-{id}").into()),
            product_type: "router".into(),
            software_version: "17.9.4".into(),
            registered: Millis(1),
            last_contact: Millis(1),
            certificate: certificate.clone(),
            token: TokenId(3),
            export_controlled: false,
            usage: vec![(LicenseId(4), 1)].into(),
            authorized_until: Some(Millis(1 << 40)),
            last_request: None,
            devices: None,
        };
        let records = (10..10 + instances).map(|id| Record::Instance(instance(id)));
        State::from_records(records.map(|record| (record.key(), record)))
    }

    /// Prints how long applies pause while a snapshot is written, and how long a large store takes to open.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes long; run it in release for figures"]
    async fn applies_go_on_while_a_snapshot_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("image")).unwrap();
        let state = large_state(100_000);
        Image::create(&dir.path().join("image"), 8 << 20, &state, &Position::default()).unwrap().close();
        let started = Instant::now();
        let (_log, mut machine, handle) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        eprintln!("opened with 100,000 instances in {:?}", started.elapsed());
        let mut builder = machine.get_snapshot_builder().await;
        let snapshot = tokio::spawn(async move { builder.build_snapshot().await });
        let (mut worst, mut index) = (Duration::ZERO, 0);
        while !snapshot.is_finished() {
            let command = Command::NoteEvent {
                event: NewEvent {
                    severity: Severity::Informational,
                    account: None,
                    kind: "test".into(),
                    message: "text".into(),
                },
            };
            let batch = Batch {
                epoch: Epoch::default(),
                term: 1,
                node_id: 1,
                seq: index + 1,
                stamp: Stamp::at(Millis(index)),
                requests: vec![Request { id: 0, actor: "test".into(), command }],
            };
            let envelope = Envelope::seal(&batch, &|_| [0; 32]).unwrap();
            let log_id = LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index };
            let entry = Entry { log_id, payload: EntryPayload::Normal(envelope) };
            let started = Instant::now();
            machine.apply(futures::stream::iter([Ok((entry, None))])).await.unwrap();
            worst = worst.max(started.elapsed());
            index += 1;
        }
        let size = snapshot.await.unwrap().unwrap().snapshot.len();
        eprintln!("{index} applies beside a snapshot of {size} bytes, the longest took {worst:?}");
        assert!(index > 0);
        handle.close();
    }
}
