//! What can go wrong for an agent, and whether it is the server's word or only the network's.

use crate::pki::PkiError;
use crate::product::problem::Problem;
use std::path::PathBuf;

/// Why an agent's call failed. Unless said otherwise the last authorization stays in force.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The server refused, and signed it: this is authoritative.
    #[error("refused by the license server: {title}: {detail} ({code})")]
    Refused { code: String, title: String, detail: String, number: Option<u64> },
    /// Something on the way answered without a signature, so it is a hint only.
    #[error("an answer without signature, which is only a hint: {0}")]
    Unsigned(Problem),
    /// No server answered within the time given.
    #[error("no license server answered within {seconds} s, {attempts} attempts; the last one: {last}")]
    Unreachable { seconds: u64, attempts: u32, last: String },
    /// An answer that is signed wrongly, by an untrusted key, or for another request.
    #[error("an answer that cannot be trusted: {0}")]
    Untrusted(String),
    /// The state folder cannot be read or written.
    #[error("the state in {}: {why}", path.display())]
    State { path: PathBuf, why: String },
    /// Another process has the state folder open.
    #[error("another agent is using {}; stop it first", path.display())]
    Locked { path: PathBuf },
    #[error("this product is not registered; register it with a token first (`licraft agent register`)")]
    NotRegistered,
    #[error("{what} is missing; give it on the first call, later ones remember it")]
    Incomplete { what: &'static str },
    #[error("the license {tag} is not held, so it cannot be released")]
    NotHeld { tag: String },
    #[error("{what}: {why}")]
    Invalid { what: String, why: String },
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl AgentError {
    pub(super) fn unexpected(request: &str) -> Self {
        Self::Untrusted(format!("it is signed, but not an answer to a {request} request"))
    }

    /// Whether the server is known to have refused, as opposed to not having been reached.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether the server refused with this code.
    #[must_use]
    pub fn refused_as(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}
