//! `licraft node`: runs a node.

use super::error::CliError;
use crate::config::{Config, NodeRole};
use crate::ha::leftover;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run a node (data node or witness).
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft node --config /etc/licraft/node.toml
  licraft node --config /etc/licraft/node.toml --check")]
pub struct Args {
    /// The node file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only validate the file.
    #[arg(long)]
    check: bool,
    /// Take off the virtual address that a node of this file has left here; for service managers.
    #[arg(long, hide = true, conflicts_with = "check")]
    clear_addresses: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if args.check {
        return check(&args.config);
    }
    if args.clear_addresses {
        return clear_addresses(&args.config);
    }
    crate::node::run(&args.config, false).map_err(CliError::from)
}

fn clear_addresses(path: &Path) -> Result<ExitCode, CliError> {
    let config = Config::load(path).map_err(anyhow::Error::from)?;
    for address in leftover::clear(&config)? {
        println!("{address} is not on this host any more.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists every problem, not only the first.
fn check(path: &Path) -> Result<ExitCode, CliError> {
    match Config::load(path) {
        Ok(config) => {
            println!("{} is a usable node file for {}.", path.display(), config.name);
            if config.role == NodeRole::Data && config.https.crl.is_none() {
                println!("It has no `https.crl`: the lists of revoked certificates are on the product port alone.");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(CliError::failed(format!("{} is not a usable node file", path.display()))
            .because(error.problems().join("\n     "))
            .hint("correct the file and check it again with `licraft node --config FILE --check`")),
    }
}
