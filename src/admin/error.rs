//! What an administrator is told when a call fails: what, why, what to do next, and the exit code of the command line.

use crate::license::{Reason, Refusal};
use crate::raft::ProposeError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Metadata keys of a failed call.
pub const KIND_KEY: &str = "licraft-kind";
pub const EXIT_KEY: &str = "licraft-exit";
pub const WHY_KEY: &str = "licraft-why-bin";
pub const HINT_KEY: &str = "licraft-hint-bin";

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    pub kind: Kind,
    /// What went wrong: one sentence.
    pub message: String,
    /// The cause, where it is known; may be empty.
    pub why: String,
    /// What to do next; may be empty.
    pub hint: String,
}

/// Stable kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value is malformed or out of range.
    Invalid,
    NotFound,
    Exists,
    /// The thing is not in a state that allows this.
    State,
    NotEmpty,
    Limit,
    /// The caller may not do this.
    Denied,
    /// Not part of this version.
    NotBuilt,
    /// This node was active a moment ago; repeat the call.
    NotActive,
    NoActiveNode,
    NoQuorum,
    /// The cluster part of this node is stopped.
    NotRunning,
    /// The node has no data yet.
    Uninitialised,
    /// Something forbids it in the present state of the cluster.
    ClusterState,
    Busy,
    /// It may or may not have been carried out; repeat it under the same request id.
    Unknown,
    /// Another machine did not answer or answered wrongly.
    Unreachable,
    Internal,
}

impl Kind {
    const ALL: [(Self, &'static str, Code, u8); 18] = [
        (Self::Invalid, "invalid", Code::InvalidArgument, 1),
        (Self::NotFound, "not-found", Code::NotFound, 1),
        (Self::Exists, "exists", Code::AlreadyExists, 1),
        (Self::State, "state", Code::FailedPrecondition, 1),
        (Self::NotEmpty, "not-empty", Code::FailedPrecondition, 1),
        (Self::Limit, "limit", Code::ResourceExhausted, 1),
        (Self::Denied, "denied", Code::PermissionDenied, 1),
        (Self::NotBuilt, "not-built", Code::Unimplemented, 1),
        (Self::NotActive, "not-active", Code::Unavailable, 3),
        (Self::NoActiveNode, "no-active-node", Code::Unavailable, 3),
        (Self::NoQuorum, "no-quorum", Code::Unavailable, 3),
        (Self::NotRunning, "not-running", Code::FailedPrecondition, 3),
        (Self::Uninitialised, "uninitialised", Code::FailedPrecondition, 3),
        (Self::ClusterState, "cluster-state", Code::FailedPrecondition, 3),
        (Self::Busy, "busy", Code::ResourceExhausted, 1),
        (Self::Unknown, "unknown-outcome", Code::Aborted, 1),
        (Self::Unreachable, "unreachable", Code::Unavailable, 1),
        (Self::Internal, "internal", Code::Internal, 1),
    ];

    fn row(self) -> &'static (Self, &'static str, Code, u8) {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).expect("every kind has a row: a test counts them")
    }

    /// The stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Exit code of a command that ends with it: 1 failed, 3 the state of the cluster forbids it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self.row().3
    }
}

impl AdminError {
    /// A failure without cause or hint; add them with [`Self::because`] and [`Self::hint`].
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), why: String::new(), hint: String::new() }
    }

    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

impl From<AdminError> for Status {
    fn from(error: AdminError) -> Self {
        let (_, kind, code, exit) = *error.kind.row();
        let mut metadata = MetadataMap::new();
        metadata.insert(KIND_KEY, MetadataValue::from_static(kind));
        metadata.insert(EXIT_KEY, MetadataValue::from(u16::from(exit)));
        for (key, text) in [(WHY_KEY, &error.why), (HINT_KEY, &error.hint)] {
            if !text.is_empty() {
                metadata.insert_bin(key, MetadataValue::from_bytes(text.as_bytes()));
            }
        }
        Self::with_metadata(code, error.message, metadata)
    }
}

impl From<Status> for AdminError {
    /// The failure that a status was made of; one of another making is an internal one.
    fn from(status: Status) -> Self {
        let kind = status.metadata().get(KIND_KEY).and_then(|v| v.to_str().ok());
        let kind =
            Kind::ALL.iter().find(|(_, word, ..)| Some(*word) == kind).map_or(Kind::Internal, |(kind, ..)| *kind);
        let text = |key| {
            let bytes = status.metadata().get_bin(key).and_then(|v| v.to_bytes().ok());
            bytes.map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
        };
        Self { kind, message: status.message().to_owned(), why: text(WHY_KEY), hint: text(HINT_KEY) }
    }
}

impl From<ProposeError> for AdminError {
    fn from(error: ProposeError) -> Self {
        let message = error.to_string();
        match error {
            ProposeError::NotActive { .. } => Self::new(Kind::NotActive, message)
                .hint("repeat the command; if it goes on, look at `licraft ha status`"),
            ProposeError::Busy { .. } => Self::new(Kind::Busy, message).hint("repeat the command in a moment"),
            ProposeError::Unknown { .. } => {
                Self::new(Kind::Unknown, message).hint("look whether the change is there before you repeat the command")
            }
            ProposeError::Stopped { .. } => {
                Self::new(Kind::NotRunning, message).hint("look at `licraft ha status` and the node's log")
            }
        }
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.reason {
            Reason::Invalid => Kind::Invalid,
            Reason::NotFound | Reason::LicenseUnknown | Reason::InstanceUnknown | Reason::TokenUnknown => {
                Kind::NotFound
            }
            Reason::Exists => Kind::Exists,
            Reason::NotEmpty => Kind::NotEmpty,
            Reason::Limit => Kind::Limit,
            Reason::NotInitialized => Kind::Uninitialised,
            _ => Kind::State,
        };
        Self::new(kind, refusal.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_row_and_its_own_word() {
        let mut words: Vec<_> = Kind::ALL.iter().map(|(kind, word, ..)| (kind.as_str(), *word)).collect();
        assert!(words.iter().all(|(a, b)| a == b));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Kind::Internal as usize + 1);
    }

    #[test]
    fn a_status_carries_cause_hint_and_exit_code() {
        let error = AdminError::new(Kind::NoQuorum, "no").because("größer").hint("wait");
        let status = Status::from(error.clone());
        assert_eq!(AdminError::from(status.clone()), error);
        assert_eq!(status.metadata().get(KIND_KEY).unwrap(), "no-quorum");
        assert_eq!(status.metadata().get(EXIT_KEY).unwrap(), "3");
        assert_eq!(status.metadata().get_bin(WHY_KEY).unwrap().to_bytes().unwrap(), "größer".as_bytes());
    }
}
