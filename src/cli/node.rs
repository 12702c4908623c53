//! `licraft node`: runs a node.

use super::error::CliError;
use std::path::PathBuf;
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
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if args.check {
        return check(&args.config);
    }
    crate::node::run(&args.config, false).map_err(CliError::from)
}

/// Lists every problem, not only the first.
fn check(path: &std::path::Path) -> Result<ExitCode, CliError> {
    match crate::config::Config::load(path) {
        Ok(config) => {
            println!("{} is a usable node file for {}.", path.display(), config.name);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(CliError::failed(format!("{} is not a usable node file", path.display()))
            .because(error.problems().join("\n     "))
            .hint("correct the file and check it again with `licraft node --config FILE --check`")),
    }
}
