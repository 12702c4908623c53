//! Hands over to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    licraft::cli::run(std::env::args_os())
}
