//! `licraft completion` and the hidden `licraft man`: generated from the same declaration as the help.

use super::error::CliError;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print a completion script for a shell.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft completion bash > /etc/bash_completion.d/licraft
  licraft completion zsh > ~/.zfunc/_licraft")]
pub struct Args {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(args: &Args) -> ExitCode {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "licraft", &mut std::io::stdout());
    ExitCode::SUCCESS
}

/// Write man pages, one a command, into a folder.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft man /usr/local/share/man/man1")]
pub struct ManArgs {
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub fn write_man(args: &ManArgs) -> Result<ExitCode, CliError> {
    let fail = |e: std::io::Error| {
        CliError::failed(format!("the man pages cannot be written to {}", args.dir.display()))
            .because(e.to_string())
            .hint("give a folder that you may write to")
    };
    std::fs::create_dir_all(&args.dir).map_err(fail)?;
    clap_mangen::generate_to(super::Cli::command(), &args.dir).map_err(fail)?;
    Ok(ExitCode::SUCCESS)
}
