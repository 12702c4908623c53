//! `licraft demo`: the whole system on this machine.

use super::error::CliError;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show the whole system on this machine: a cluster with a witness, the vendor's central and four products.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft demo
  licraft demo --dir /tmp/licraft-demo --port-base 20000
  licraft demo --non-interactive")]
pub struct Args {
    /// Folder for all data; by default a fresh temporary one. An old one is resumed.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Move all ports: the first one used.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1024..=65000))]
    port_base: Option<u16>,
    /// Go on alone: kill the active node, prove that nothing was lost, and end.
    #[arg(long)]
    non_interactive: bool,
}

pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let Args { dir, port_base, non_interactive } = args;
    crate::demo::run(crate::demo::DemoArgs { dir, port_base, non_interactive }).map_err(CliError::from)
}
