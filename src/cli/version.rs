//! `licraft version`.

use super::error::CliError;
use super::output::{Format, Row, cell, print_one};
use std::process::ExitCode;

/// Show the version.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft version
  licraft version -o json")]
pub struct Args {}

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn run(format: Format) -> Result<ExitCode, CliError> {
    match format {
        Format::Table => println!("licraft {VERSION}"),
        _ => print_one(format, &Row::new().with("version", cell(VERSION))),
    }
    Ok(ExitCode::SUCCESS)
}
