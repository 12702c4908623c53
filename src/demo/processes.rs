//! The demo's processes: started, watched, restarted and ended by the demo, which they never outlive.

use crate::ha::supervisor::supervised;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Names the demo's process to its children, which ask the kernel to end them with it.
const PARENT: &str = "LICRAFT_END_WITH_PARENT";

/// Called first thing in every process: one started by a demo ends when the demo does, however it ends.
///
/// # Errors
/// When the demo is gone already.
pub fn end_with_parent() -> Result<()> {
    let Ok(parent) = std::env::var(PARENT) else { return Ok(()) };
    if supervised() {
        // Its supervisor is the one that ends with the demo.
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("asking the kernel to end this process with the demo")?;
    let now = rustix::process::getppid().map(|p| p.as_raw_nonzero().to_string());
    if now.as_ref() != Some(&parent) {
        bail!("the demo that started this process is gone");
    }
    Ok(())
}

/// Runs this very program as other processes.
#[derive(Clone, Debug)]
pub struct Program {
    exe: PathBuf,
}

impl Program {
    /// # Errors
    /// When the path of this program cannot be found.
    pub fn this() -> Result<Self> {
        Ok(Self { exe: std::env::current_exe().context("finding this program's own file")? })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(args).stdin(Stdio::null()).env(PARENT, std::process::id().to_string()).kill_on_drop(true);
        command
    }

    /// Starts a process that keeps running, its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str], log: &Path) -> Result<Child> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("opening {}", log.display()))?;
        let errors = file.try_clone().context("sharing the log file")?;
        self.command(args).stdout(file).stderr(errors).spawn().with_context(|| format!("starting licraft {}", args[0]))
    }

    async fn output(&self, args: &[&str]) -> Result<(String, Option<String>)> {
        let output =
            self.command(args).output().await.with_context(|| format!("running licraft {}", args.join(" ")))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let failed = format!("`licraft {}` failed ({}):\n{said}{}", args.join(" "), output.status, errors.trim_end());
        Ok((said, (!output.status.success()).then_some(failed)))
    }

    /// Runs an operator's command to its end and gives what it printed.
    ///
    /// # Errors
    /// When it fails; with its own words.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        match self.output(args).await? {
            (said, None) => Ok(said),
            (_, Some(failed)) => bail!(failed),
        }
    }

    /// Runs a command with `-o json` and reads its answer. A status that ends with another code than 0 is one too.
    ///
    /// # Errors
    /// When it does not answer JSON.
    pub async fn json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let (said, failed) = self.output(&[args, &["-o", "json"]].concat()).await?;
        match (serde_json::from_str(&said), failed) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(failed)) => bail!(failed),
            (Err(error), None) => bail!("`licraft {}` did not print JSON ({error}): {said}", args.join(" ")),
        }
    }
}
