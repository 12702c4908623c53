//! The command line: one file a command, over the admin protocol only.

mod agent;
mod central;
mod completion;
mod demo;
mod error;
mod later;
mod node;
mod output;
mod version;

use clap::{Parser, Subcommand};
use error::CliError;
use later::Later;
use output::Format;
use std::ffi::OsString;
use std::process::ExitCode;

/// An on-premises license manager that stays up.
#[derive(Parser, Debug)]
#[command(name = "licraft", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(clap::Args, Debug)]
struct Global {
    /// How to print data.
    #[arg(short, long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    output: Format,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::Args),
    Node(node::Args),
    Agent(agent::Args),
    Central(central::Args),
    #[command(alias = "completions")]
    Completion(completion::Args),
    Version(version::Args),
    #[command(hide = true)]
    Man(completion::ManArgs),
    #[command(hide = true)]
    Cert(Later),
}

/// Runs the command line `args` (the program's name first) and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with 0, errors to standard error with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::USAGE));
        }
    };
    dispatch(cli).unwrap_or_else(|error| error.report())
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Node(args) => node::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Central(args) => central::run(args, cli.global.output),
        Command::Completion(args) => Ok(completion::run(&args)),
        Command::Version(_) => version::run(cli.global.output),
        Command::Man(args) => completion::write_man(&args),
        Command::Cert(later) => Err(later.refuse("cert", "`licraft settings`")),
    }
}
