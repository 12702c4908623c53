//! How a command fails: what, why, what to try, and the exit code.

use crate::admin::{AdminError, Kind};
use std::fmt;
use std::process::ExitCode;

/// Exit codes: 0 done, 1 failed, 2 usage, 3 the state of the cluster forbids it.
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const CLUSTER_FORBIDS: u8 = 3;

/// A failed command. Printed in three parts, the latter two only where there is something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    pub what: String,
    pub why: String,
    pub hint: String,
    pub exit: u8,
}

impl CliError {
    /// A failure with exit code 1.
    pub fn failed(what: impl Into<String>) -> Self {
        Self { what: what.into(), why: String::new(), hint: String::new(), exit: FAILED }
    }

    /// Wrong use: exit code 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: USAGE, ..Self::failed(what) }
    }

    /// The state of the cluster forbids it: exit code 3.
    pub fn cluster(what: impl Into<String>) -> Self {
        Self { exit: CLUSTER_FORBIDS, ..Self::failed(what) }
    }

    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Prints it and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // Without a standard error there is nobody to tell.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{self}\n").as_bytes());
        ExitCode::from(self.exit)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error: {}", self.what)?;
        if !self.why.is_empty() {
            write!(f, "\nWhy: {}", self.why)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\nTry: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

impl From<anyhow::Error> for CliError {
    /// The first message is what failed, the chain below it is why. A node file's error exits with 1 too.
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => {
                let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
                Self::failed(error.to_string()).because(causes.join(": "))
            }
        }
    }
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        let metadata = status.metadata();
        let text = |key| {
            let bytes = metadata.get_bin(key).and_then(|v| v.to_bytes().ok());
            bytes.map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
        };
        let exit = metadata.get(crate::admin::EXIT_KEY).and_then(|v| v.to_str().ok()?.parse().ok());
        let plain = match status.code() {
            // Not from our service: the connection broke.
            tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::Unknown if exit.is_none() => Self::from(
                AdminError::new(Kind::Unknown, "the node stopped answering")
                    .because(status.message())
                    .hint("look at `licraft ha status`; the change may have been made"),
            ),
            _ => Self::failed(status.message()),
        };
        match exit {
            Some(exit) => {
                Self { exit, ..plain }.because(text(crate::admin::WHY_KEY)).hint(text(crate::admin::HINT_KEY))
            }
            None => plain,
        }
    }
}

impl From<AdminError> for CliError {
    fn from(error: AdminError) -> Self {
        Self { exit: error.kind.exit_code(), what: error.message, why: error.why, hint: error.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts_travel_through_a_status() {
        let error = AdminError::new(Kind::NoQuorum, "no quorum").because("peer off").hint("start it");
        let shown = CliError::from(tonic::Status::from(error));
        assert_eq!(shown.to_string(), "Error: no quorum\nWhy: peer off\nTry: start it");
        assert_eq!(shown.exit, CLUSTER_FORBIDS);
    }
}
