//! openraft behind one object type, whatever state machine it drives, so that the rest of this room names no machine.

use super::peer::{Append, Appended, Ballot, BallotReply, PeerError, Refusal, SnapshotReader, Transfer, TransferReply};
use crate::store::{Callback, Envelope, LeaderId, LogId, NodeInfo, SnapshotMeta, TypeConfig, Vote};
use futures::{FutureExt, StreamExt};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::base::BoxStream;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::raft::{AppendEntriesResponse, ClientWriteResult, StreamAppendError};
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{ChangeMembers, Raft, RaftMetrics, Snapshot};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// openraft's account of a node.
pub type Metrics = RaftMetrics<TypeConfig>;
pub(super) type Written = ClientWriteResult<TypeConfig>;
pub(super) type Members = ChangeMembers<u64, NodeInfo>;

/// The newest metrics of a node, and their changes.
#[derive(Clone)]
pub struct MetricsWatch(WatchReceiverOf<TypeConfig, Metrics>);

impl MetricsWatch {
    /// The newest metrics; do not keep the guard for long, since it holds Raft up.
    pub fn borrow(&self) -> impl std::ops::Deref<Target = Metrics> + '_ {
        self.0.borrow_watched()
    }

    /// Waits for newer metrics.
    ///
    /// # Errors
    /// When the node is gone.
    pub async fn changed(&mut self) -> Result<(), String> {
        self.0.changed().await.map_err(|e| e.to_string())
    }

    /// Waits until `test` holds.
    ///
    /// # Errors
    /// When the node is gone before.
    pub async fn wait_for(&mut self, test: impl Fn(&Metrics) -> bool + Send) -> Result<Metrics, String> {
        loop {
            {
                let metrics = self.0.borrow_and_update();
                if test(&metrics) {
                    return Ok(metrics.clone());
                }
            }
            self.changed().await?;
        }
    }
}

/// How snapshots of one state machine become bytes and back.
#[async_trait::async_trait]
pub trait SnapshotBytes<S>: Send + Sync + 'static {
    /// # Errors
    /// When the snapshot cannot be read.
    async fn read(&self, snapshot: S) -> io::Result<SnapshotReader>;
    /// Takes all of `bytes`; an error from it means that they are incomplete or damaged and must not be used.
    ///
    /// # Errors
    /// When the bytes are not to be trusted, or cannot be kept.
    async fn receive(&self, meta: &SnapshotMeta, bytes: SnapshotReader) -> io::Result<S>;
}

/// The Raft node as the rest of this room sees it.
#[async_trait::async_trait]
pub(super) trait Core: Send + Sync + 'static {
    fn metrics(&self) -> MetricsWatch;
    fn last_log(&self) -> Option<LogId>;
    /// Hands a sealed batch over; it is appended only while `leader` leads. Never waits.
    fn write(&self, batch: Envelope, leader: LeaderId, done: Callback<Written>) -> Result<(), String>;
    async fn append(&self, request: Append) -> Result<Appended, PeerError>;
    fn append_stream(&self, requests: BoxStream<'static, Append>) -> BoxStream<'static, Result<Appended, PeerError>>;
    async fn vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError>;
    async fn pre_vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError>;
    async fn transfer(&self, transfer: Transfer) -> Result<TransferReply, PeerError>;
    async fn snapshot(&self, vote: Vote, meta: SnapshotMeta, data: SnapshotReader) -> Result<Vote, PeerError>;
    async fn initialize(&self, members: BTreeMap<u64, NodeInfo>) -> Result<(), String>;
    async fn change(&self, members: Members, retain: bool) -> Result<LogId, String>;
    /// Stands for election, or asks whether it could win when `pre_vote`.
    async fn elect(&self, pre_vote: bool) -> Result<(), String>;
    async fn transfer_to(&self, node_id: u64) -> Result<(), String>;
    async fn take_snapshot(&self) -> Result<(), String>;
    /// Whether the node stands when it misses a leader.
    fn enable_elections(&self, on: bool);
    async fn shutdown(&self) -> Result<(), String>;
}

/// A Raft node with its machine.
pub(super) struct Engine<M: RaftStateMachine<TypeConfig>> {
    pub raft: Raft<TypeConfig, M>,
    pub snapshots: Arc<dyn SnapshotBytes<M::SnapshotData>>,
}

fn stopped(error: &Fatal<TypeConfig>) -> PeerError {
    Refusal::Stopped(error.to_string()).into()
}

fn fatal(error: RaftError<TypeConfig>) -> PeerError {
    Refusal::Stopped(error.to_string()).into()
}

#[async_trait::async_trait]
impl<M: RaftStateMachine<TypeConfig>> Core for Engine<M> {
    fn metrics(&self) -> MetricsWatch {
        MetricsWatch(self.raft.metrics())
    }

    fn last_log(&self) -> Option<LogId> {
        self.raft.data_metrics().borrow_watched().last_log
    }

    fn write(&self, batch: Envelope, leader: LeaderId, done: Callback<Written>) -> Result<(), String> {
        let write = self.raft.write(batch).responder(done).with_leader(leader);
        // The channel takes 65,536 messages and the proposer keeps a handful in flight, so this is ready at once.
        match write.into_future().now_or_never() {
            Some(sent) => sent.map_err(|e| e.to_string()),
            None => Err("the Raft node takes no more messages".to_owned()),
        }
    }

    async fn append(&self, request: Append) -> Result<Appended, PeerError> {
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|e| e.log_id).or(previous);
        match self.raft.append_entries(request).await.map_err(fatal)? {
            AppendEntriesResponse::Success => Ok(Ok(last)),
            AppendEntriesResponse::PartialSuccess(matched) => Ok(Ok(matched)),
            AppendEntriesResponse::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote))),
            AppendEntriesResponse::Conflict => match previous {
                Some(previous) => Ok(Err(StreamAppendError::Conflict(previous))),
                None => Err(PeerError::Broken("conflict before the first entry".to_owned())),
            },
        }
    }

    fn append_stream(&self, requests: BoxStream<'static, Append>) -> BoxStream<'static, Result<Appended, PeerError>> {
        Box::pin(self.raft.stream_append(requests).map(|result| result.map_err(|e| stopped(&e))))
    }

    async fn vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError> {
        self.raft.vote(ballot).await.map_err(fatal)
    }

    async fn pre_vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError> {
        self.raft.pre_vote(ballot).await.map_err(fatal)
    }

    async fn transfer(&self, transfer: Transfer) -> Result<TransferReply, PeerError> {
        self.raft.handle_transfer_leader(transfer).await.map_err(|e| stopped(&e))
    }

    async fn snapshot(&self, vote: Vote, meta: SnapshotMeta, data: SnapshotReader) -> Result<Vote, PeerError> {
        let snapshot =
            self.snapshots.receive(&meta, data).await.map_err(|e| PeerError::Broken(format!("snapshot: {e}")))?;
        let reply =
            self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await.map_err(|e| stopped(&e))?;
        Ok(reply.vote)
    }

    async fn initialize(&self, members: BTreeMap<u64, NodeInfo>) -> Result<(), String> {
        self.raft.initialize(members).await.map_err(|e| e.to_string())
    }

    async fn change(&self, members: Members, retain: bool) -> Result<LogId, String> {
        let written: Result<_, RaftError<TypeConfig, ClientWriteError<TypeConfig>>> =
            self.raft.change_membership(members, retain).await;
        written.map(|w| w.log_id).map_err(|e| e.to_string())
    }

    async fn elect(&self, pre_vote: bool) -> Result<(), String> {
        self.raft.trigger().elect(pre_vote).await.map_err(|e| e.to_string())
    }

    async fn transfer_to(&self, node_id: u64) -> Result<(), String> {
        self.raft.trigger().transfer_leader(node_id).await.map_err(|e| e.to_string())
    }

    async fn take_snapshot(&self) -> Result<(), String> {
        self.raft.trigger().snapshot().await.map_err(|e| e.to_string())
    }

    fn enable_elections(&self, on: bool) {
        self.raft.runtime_config().elect(on);
    }

    async fn shutdown(&self) -> Result<(), String> {
        self.raft.shutdown().await.map_err(|e| e.to_string())
    }
}
