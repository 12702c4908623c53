//! The composition root of `licraft node`.

use crate::config::Config;
use std::path::Path;
use std::process::ExitCode;

/// Runs the node that the file describes until it is told to stop; `check` only validates the file.
pub fn run(path: &Path, check: bool) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    if check {
        println!("{} is a usable node file for {}.", path.display(), config.name);
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("running a node is not built yet")
}
