//! Hands over to the command line.

use std::process::ExitCode;

/// Most time is spent in small allocations of many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Err(error) = licraft::demo::end_with_parent() {
        eprintln!("Error: {error:#}");
        return ExitCode::FAILURE;
    }
    licraft::cli::run(std::env::args_os())
}
