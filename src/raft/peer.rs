//! What one node can ask of another, independent of how the bytes travel: gRPC in service, a simulated network in tests.

use super::config::Timings;
use crate::license::Millis;
use crate::store::codec::Epoch;
use crate::store::{LogId, NodeInfo, SnapshotMeta, TypeConfig, Vote};
use crate::telemetry::Resources;
use openraft::base::BoxStream;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse};
use openraft::raft::{VoteRequest, VoteResponse};
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::AsyncRead;

pub type Append = AppendEntriesRequest<TypeConfig>;
pub type Appended = StreamAppendResult<TypeConfig>;
pub type Ballot = VoteRequest<TypeConfig>;
pub type BallotReply = VoteResponse<TypeConfig>;
pub type Transfer = TransferLeaderRequest<TypeConfig>;
pub type TransferReply = TransferLeaderResponse<TypeConfig>;
/// The bytes of a snapshot on their way.
pub type SnapshotReader = Pin<Box<dyn AsyncRead + Send>>;

/// What every call says about itself; see `proto/raft.proto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub from: u64,
    pub to: u64,
    pub cluster: Arc<str>,
    pub epoch: Epoch,
    /// Shows that the epoch is one of this cluster; a witness has none.
    pub seal: Option<[u8; 32]>,
    pub timings: Timings,
}

/// Why a call had no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The called node says no; asking again does not help until something changes.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The connection broke, or the answer made no sense.
    #[error("broken off: {0}")]
    Broken(String),
    #[error("no answer in time")]
    Timeout,
}

/// Why a node does not listen to another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the caller is of cluster {theirs}, this node of cluster {ours}")]
    Cluster { theirs: String, ours: String },
    #[error("the call is for node {to}, this is node {me}; check the cluster addresses")]
    NotMe { to: u64, me: u64 },
    #[error("the certificate is of node {certified}, the call says node {named}")]
    Impostor { certified: u64, named: u64 },
    #[error("node {node} is not a member of this cluster any more; provision it afresh")]
    NotMember { node: u64 },
    #[error("the caller is in epoch {} of the cluster, this node in epoch {}", theirs.counter, ours.counter)]
    Epoch { theirs: Epoch, ours: Epoch },
    #[error("the caller has Raft timing {theirs}, this node {ours}; all nodes need the same")]
    Timing { theirs: Timings, ours: Timings },
    #[error("node {node} speaks for node {claimed}")]
    NotYours { node: u64, claimed: u64 },
    /// For one lease after its start a node takes part in no election.
    #[error("this node has just started and takes part in no election for a moment")]
    JustStarted,
    #[error("malformed call: {0}")]
    Malformed(String),
    #[error("this node has stopped: {0}")]
    Stopped(String),
    /// A refusal as told by the other node.
    #[error("{0}")]
    Remote(String),
}

/// How a node stands by its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    pub node_id: u64,
    pub version: String,
    /// Its wall clock.
    pub wall: Millis,
    /// Its wall clock has run evenly.
    pub steady: bool,
    /// Free bytes on its disk, if these are few.
    pub disk_low: Option<u64>,
    /// Of its machine; none when it does not tell.
    pub resources: Option<Resources>,
    pub term: u64,
    pub leader: Option<u64>,
    pub last_log: Option<LogId>,
    pub last_applied: Option<LogId>,
    pub voter: bool,
    pub serving: bool,
    /// What is wrong with it; none when healthy.
    pub trouble: Option<String>,
    /// State digests it took, by log index.
    pub digests: Vec<(u64, [u8; 32])>,
}

/// Another node.
#[async_trait::async_trait]
pub trait Peer: Send + Sync + 'static {
    async fn append(&self, request: Append) -> Result<Appended, PeerError>;
    /// Acknowledgements in the order of the requests; ends when the requests end or after a refusal.
    async fn append_stream(
        &self,
        requests: BoxStream<'static, Append>,
    ) -> Result<BoxStream<'static, Result<Appended, PeerError>>, PeerError>;
    async fn vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError>;
    async fn pre_vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError>;
    /// Ok is no proof that the leader changes.
    async fn transfer(&self, transfer: Transfer) -> Result<TransferReply, PeerError>;
    /// The receiver's vote afterwards.
    async fn snapshot(&self, vote: Vote, meta: SnapshotMeta, data: SnapshotReader) -> Result<Vote, PeerError>;
    async fn report(&self) -> Result<NodeReport, PeerError>;
}

/// What a connection is used for: snapshots get one of their own, so that heartbeats never wait behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Main,
    Snapshot,
}

/// Makes peers. Calls never block: a peer that is not there shows in its answers.
pub trait Connect: Send + Sync + 'static {
    fn peer(&self, id: u64, node: &NodeInfo, lane: Lane) -> Arc<dyn Peer>;
}
