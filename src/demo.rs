//! The whole system on this machine, as real processes on loopback.

mod plan;
mod processes;

pub use processes::end_with_parent;

use std::path::PathBuf;
use std::process::ExitCode;

/// What `licraft demo` was asked for.
#[derive(Clone, Debug)]
pub struct DemoArgs {
    /// None: a fresh temporary folder.
    pub dir: Option<PathBuf>,
    /// Moves all ports; None: the documented ones.
    pub port_base: Option<u16>,
    /// Goes on alone, proves the failover and ends.
    pub non_interactive: bool,
}

/// Starts everything and stays until Ctrl-C, or until all is proven.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let _ = args;
    anyhow::bail!("the demo is not built yet")
}
