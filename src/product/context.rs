//! What the handlers need from the node around them.

use crate::license::Millis;
use crate::pki::seal::Sealer;
use crate::raft::{Clock as _, Ledger, SystemClock};
use crate::telemetry::Metrics;
use std::sync::Arc;

/// Whether this node may answer products now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Active under a valid lease.
    Active,
    /// Another node is active, or none is known.
    Standby { active: Option<String> },
    /// This node is neither: uninitialised, stopped, retired, in conflict; `why` is a clause that follows "because".
    Unavailable { why: String },
}

/// Answers [`Serving`] from memory; asked once a request.
pub trait ServingGuard: Send + Sync + 'static {
    fn serving(&self) -> Serving;
}

/// The node's wall clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The operating system's clock.
#[must_use]
pub fn wall_clock() -> Clock {
    Arc::new(|| SystemClock.now())
}

/// Everything the router needs.
#[derive(Clone)]
pub struct ProductContext {
    pub ledger: Arc<dyn Ledger>,
    pub serving: Arc<dyn ServingGuard>,
    pub sealer: Sealer,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

impl std::fmt::Debug for ProductContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProductContext")
    }
}
