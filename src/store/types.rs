//! The types that openraft, the store and the network share.

use crate::license::Outcome;
use bytes::Bytes;
use openraft::type_config::alias;
use serde::{Deserialize, Serialize};
use std::fmt;

/// licraft's choice of openraft's types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

// By hand, because openraft's macro takes no responder of our own.
#[allow(deprecated)] // The new path of TokioRuntime is in a crate that openraft does not re-export.
impl openraft::RaftTypeConfig for TypeConfig {
    type D = Envelope;
    type R = Outcomes;
    type NodeId = u64;
    type Node = NodeInfo;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Envelope, u64, NodeInfo>;
    type Entry = openraft::Entry<Self::LeaderId, Self::Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Callback<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// Runs when a proposed entry was applied or given up. Called on the applying task, so it must be short; dropped
/// uncalled when the node stops.
pub struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    pub fn new(run: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(run))
    }
}

impl<T: openraft::OptionalSend + 'static> openraft::raft::responder::Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Term, node and index of a log entry.
pub type LogId = alias::LogIdOf<TypeConfig>;
/// Term and node of a leader.
pub type LeaderId = alias::LeaderIdOf<TypeConfig>;
/// A log entry.
pub type Entry = alias::EntryOf<TypeConfig>;
/// A vote, granted or committed.
pub type Vote = alias::VoteOf<TypeConfig>;
/// A membership with the log id that set it.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// Position and membership of a snapshot.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;

/// A sealed batch of commands as it travels in one log entry: format number, MAC and body (see `store::codec`).
/// The body is only decoded by `apply`, after its MAC is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope(pub Bytes);

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// The outcomes of one batch, in the order of its commands. Empty for blank and membership entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes(pub Vec<Outcome>);

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.0.len())
    }
}

/// A cluster member as recorded in the Raft membership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub name: String,
    /// Address of pages, products and administration.
    pub public_address: String,
    /// host:port of the Raft listener.
    pub cluster_address: String,
    /// A full voter that never serves and never takes the virtual address.
    pub witness: bool,
}
