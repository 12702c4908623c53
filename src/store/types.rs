//! The types that openraft, the store and the network share.

use crate::license::Outcome;
use bytes::Bytes;
use openraft::type_config::alias;
use serde::{Deserialize, Serialize};
use std::fmt;

openraft::declare_raft_types!(
    /// licraft's choice of openraft's types.
    pub TypeConfig:
        D = Envelope,
        R = Outcomes,
        NodeId = u64,
        Node = NodeInfo,
);

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
