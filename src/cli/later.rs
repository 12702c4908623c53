//! Commands that have their name reserved but are not part of this version yet.

use super::error::CliError;
use std::ffi::OsString;

/// Takes any arguments, so that the answer is not a usage error.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

impl Later {
    /// Says that `command` is to come and what can be used instead.
    pub fn refuse(&self, command: &str, instead: &str) -> CliError {
        let _ = &self.rest;
        CliError::failed(format!("`licraft {command}` is not built yet"))
            .because("this version has its name reserved but not its function")
            .hint(instead)
    }
}
