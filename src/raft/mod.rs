//! Agreement: the only user of openraft beside `store`.

mod agreement;
mod clock;
mod config;
mod core;
mod epoch;
mod grpc;
mod handover;
mod inbound;
mod lease;
mod membership;
mod network;
mod obituary;
mod options;
mod parts;
mod peer;
mod peers;
mod proposer;
mod replica;
mod role;
mod server;
mod status;
mod thread;
mod transport;
mod wire;
mod witness;

pub use self::core::{Metrics, MetricsWatch, SnapshotBytes};
pub use agreement::{Agreement, Digest, Taken};
pub use clock::{CLOCK_TOLERANCE_MS, Clock, SystemClock};
pub use config::*;
pub use epoch::{EpochMet, seal_epoch};
pub use handover::{DRAIN_TIMEOUT, TransferError};
pub use inbound::Inbound;
pub use lease::{DISK_STALL, LeaseGuard, StoreCheck};
pub use membership::{Membership, MembershipError};
pub use obituary::{Obituary, Testament};
pub use options::{ReplicaError, ReplicaOptions, Transport};
pub use parts::{StoreParts, StoreView};
pub use peer::*;
pub use peers::{PeerView, Peers};
pub use proposer::{MAX_BATCH, MAX_IN_FLIGHT, MAX_WAITING, PROPOSE_TIMEOUT, Proposer, ProposerStats, StateSource};
pub use replica::Replica;
pub use role::{Role, RoleState};
pub use status::{LogPosition, PeerStatus, ReplicaStatus};

use crate::license::{Command, Outcome, State};
use std::sync::Arc;

/// Where commands go and where state is read: a replicated node, or a single in-memory state in tests.
#[async_trait::async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Stamps, batches and replicates `command`; returns once it is durable on a quorum and applied here.
    /// `request_id` 0 means that the command is idempotent by itself.
    async fn propose(&self, request_id: u128, actor: &str, command: Command) -> Result<Outcome, ProposeError>;

    /// The newest applied state: cheap, immutable.
    fn state(&self) -> Arc<State>;
}

/// Why a command was not, or not surely, carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// This node does not serve; nothing was proposed.
    #[error("this node is not active{}", active.as_ref().map(|a| format!("; {a} is")).unwrap_or_default())]
    NotActive {
        /// Name of the active node, where known.
        active: Option<String>,
    },
    /// Too much waits already; nothing was proposed.
    #[error("too many requests are waiting; try again in {retry_after_ms} ms")]
    Busy { retry_after_ms: u64 },
    /// The command may or may not have been carried out: repeat it under the same request id or number.
    #[error("the outcome is unknown: {why}; repeat the same request")]
    Unknown { why: String },
    /// The store failed, the clock is wrong or the node stops: nothing can be proposed here, and nothing was.
    #[error("this node accepts no changes: {why}")]
    Stopped { why: String },
}
