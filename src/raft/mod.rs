//! Agreement: the only user of openraft beside `store`.

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
    /// The store failed or the node stops; nothing more can be proposed here.
    #[error("this node has stopped: {why}")]
    Stopped { why: String },
}
