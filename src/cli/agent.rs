//! `licraft agent`: reserved.

use super::error::CliError;
use std::process::ExitCode;

/// A product: register, request licenses, renew.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    later: super::later::Later,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    Err(args.later.refuse("agent", "the commands that `licraft --help` lists"))
}
