//! The command line, driven as users drive it: the real binary against an admin service in this process.

// Helpers outside #[test] functions may fail a test by unwrapping too.
#![allow(clippy::unwrap_used)]

mod fake;
mod offline;
mod online;
mod remote;
#[path = "../support/site.rs"]
mod site;

use snapbox::cmd::{Command, OutputAssert};
use std::time::Duration;

/// The binary as built, without this machine's settings.
pub fn licraft() -> Command {
    Command::new(env!("CARGO_BIN_EXE_licraft"))
        .env_remove("LICRAFT_ENDPOINT")
        .env_remove("LICRAFT_IDENTITY")
        .env_remove("LICRAFT_CLUSTER_CA")
        .timeout(Duration::from_secs(60))
}

/// Standard output of a run.
pub fn stdout(run: &OutputAssert) -> String {
    String::from_utf8(run.get_output().stdout.clone()).expect("output is UTF-8")
}

/// Standard error of a run.
pub fn stderr(run: &OutputAssert) -> String {
    String::from_utf8(run.get_output().stderr.clone()).expect("output is UTF-8")
}
