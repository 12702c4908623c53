//! `licraft central`: reserved.

use super::error::CliError;
use std::process::ExitCode;

/// The vendor's authority.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    later: super::later::Later,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    Err(args.later.refuse("central", "the commands that `licraft --help` lists"))
}
