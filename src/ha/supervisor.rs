//! The parent of a node's process: when that dies, the parent takes the virtual address off and tells the other voters,
//! so that a take-over waits for no time-out.
//!
//! The two share a socket, the child's standard input. By it the child says when it leads, and with which vote, before it
//! serves. If both die, nobody tells, and the time-out serves.

use super::address::driver;
use super::identity::NodeIdentity;
use super::leftover;
use crate::config::{Config, NodeRole};
use crate::pki::tls::NodeTls;
use crate::raft::{Obituary, Replica, Testament};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getppid, kill_process, pidfd_open, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tells a node's process that its supervisor is at its standard input, by the supervisor's process id.
const SUPERVISOR: &str = "LICRAFT_SUPERVISOR";
/// How often the child looks whether its testament has changed; a change of leadership is noticed at once.
const LOOK: Duration = Duration::from_millis(200);
/// For a word to the supervisor; one that takes longer is stuck, and leadership does not wait for it.
const WORD: Duration = Duration::from_secs(1);

/// How long the supervisor waits for words that the child had written before it died.
const LAST_WORD: Duration = Duration::from_millis(5);

/// What a node tells its supervisor: what to do when it dies. A line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Word {
    /// To be taken off.
    addresses: Vec<IpAddr>,
    /// To be told; none while the node does not lead.
    testament: Option<Testament>,
}

/// Runs this program again as the node itself, and stays until that has ended. The exit code is the child's, or 128 and
/// the signal that ended it.
///
/// # Errors
/// When the process cannot be started or watched.
pub async fn supervise(config: &Config, file: &Path) -> Result<ExitCode> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("making the supervisor's socket")?;
    ours.set_nonblocking(true).context("making the supervisor's socket")?;
    let mut child = start(file, theirs.into()).context("starting the node's process")?;
    let (word_tx, mut word) = watch::channel(Word::default());
    let mut listening = tokio::spawn(listen(UnixStream::from_std(ours)?, word_tx));
    let mut last = Last::default();
    let mut ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(terminate), Ok(interrupt), Ok(hangup)] = &mut ends else { anyhow::bail!("signals cannot be watched") };
    let status = loop {
        tokio::select! {
            Ok(()) = word.changed() => last.hear(config, &word.borrow_and_update()),
            status = child.wait() => break status.context("waiting for the node's process")?,
            _ = terminate.recv() => terminate_child(&child),
            _ = interrupt.recv() => terminate_child(&child),
            _ = hangup.recv() => terminate_child(&child),
        }
    };
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    // What it said last may still be on the way; without an end to it, what came is what there is.
    let _ = tokio::time::timeout(LAST_WORD, &mut listening).await;
    last.hear(config, &word.borrow_and_update());
    last.died(config, status).await;
    Ok(exit_code(status))
}

fn start(file: &Path, socket: OwnedFd) -> std::io::Result<Child> {
    // Also when the file of this program was replaced meanwhile.
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("licraft").args(["node", "--config"]).arg(file);
    command.env(SUPERVISOR, std::process::id().to_string());
    // The node's process feeds the watchdog, but systemd has named this one (sd_watchdog_enabled(3)).
    command.env_remove("WATCHDOG_PID");
    // In a group of its own, so that a Ctrl-C reaches it once, from here.
    command.stdin(socket).process_group(0);
    Command::from(command).spawn()
}

/// Reads the child's words until it has ended.
async fn listen(socket: UnixStream, word: watch::Sender<Word>) {
    let mut lines = BufReader::new(socket).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(said) => drop(word.send_replace(said)),
            Err(error) => tracing::error!(%error, "the supervisor does not understand the node's process"),
        }
    }
}

/// The node's last word, ready to be acted upon.
#[derive(Default)]
struct Last {
    word: Word,
    obituary: Option<Arc<Obituary>>,
}

impl Last {
    fn hear(&mut self, config: &Config, word: &Word) {
        if self.word.testament != word.testament {
            self.obituary = word.testament.clone().and_then(|testament| prepare(config, testament));
        }
        if self.word.addresses != word.addresses
            && let Err(error) = leftover::note(&config.data_dir, &word.addresses)
        {
            tracing::error!(%error, "nobody will know of the address if this process dies, too");
        }
        self.word = word.clone();
    }

    /// The process is gone: first nobody may find the address here, then somebody else may take it.
    async fn died(self, config: &Config, status: ExitStatus) {
        let at = Instant::now();
        tracing::error!(%status, "the node's process died");
        let addresses = self.word.addresses;
        if !addresses.is_empty() {
            match driver(config).and_then(|mut driver| Ok(driver.lower(&addresses)?)) {
                Ok(()) => tracing::info!(?addresses, "the virtual address is off"),
                Err(error) => {
                    // Then it goes by its lifetime, and the others learn of the death by their time-outs.
                    tracing::error!(%error, "the virtual address may still be on this host; telling nobody");
                    return;
                }
            }
        }
        if let Some(obituary) = self.obituary {
            let told = obituary.tell().await;
            tracing::info!(?told, after = ?at.elapsed(), "told the other nodes");
        }
    }
}

/// Opens connections to those that would have to be told.
fn prepare(config: &Config, testament: Testament) -> Option<Arc<Obituary>> {
    let identity = NodeIdentity::load(&config.data_dir).map_err(anyhow::Error::from);
    let tls = identity.and_then(|identity| Ok(NodeTls::new(&identity.ca_cert, &identity.tls.load())?));
    let tls =
        tls.inspect_err(|error| tracing::error!(%error, "a death of this node's process could not be told")).ok()?;
    let obituary = Arc::new(Obituary::new(testament, tls, Some(config.raft.listen.ip())));
    let opening = obituary.clone();
    tokio::spawn(async move { opening.prepare().await });
    Some(obituary)
}

fn terminate_child(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
        tracing::error!(%error, "the node's process did not get the signal");
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The child's end of the socket, when a supervisor started this process; the process ends with its supervisor.
///
/// # Errors
/// When the supervisor is gone already, or did not leave the socket.
pub fn socket() -> Result<Option<UnixStream>> {
    let Ok(parent) = std::env::var(SUPERVISOR) else { return Ok(None) };
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("asking the kernel to end this process with its supervisor")?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    anyhow::ensure!(now.as_ref() == Some(&parent), "the supervisor that started this process is gone");
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("taking the supervisor's socket")?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true).context("taking the supervisor's socket")?;
    Ok(Some(UnixStream::from_std(socket).context("taking the supervisor's socket")?))
}

/// Keeps the supervisor informed until `stop`, and then says that there is nothing to do.
pub(super) async fn inform(
    supervisor: Arc<tokio::sync::Mutex<UnixStream>>,
    replica: Arc<Replica>,
    addresses: watch::Receiver<Vec<IpAddr>>,
    stop: CancellationToken,
) {
    let mut supervisor = supervisor.lock().await;
    let mut roles = replica.roles();
    let mut said = Word::default();
    loop {
        let stopping = stop.is_cancelled();
        let testament = if stopping { None } else { replica.testament() };
        let wanted = if stopping { Vec::new() } else { addresses.borrow().clone() };
        let word = Word { addresses: wanted, testament };
        if word != said {
            match say(&mut supervisor, &word).await {
                Ok(()) => said = word,
                Err(error) => tracing::warn!(%error, "the supervisor does not listen"),
            }
        }
        if stopping {
            return;
        }
        tokio::select! {
            _ = roles.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn say(supervisor: &mut UnixStream, word: &Word) -> Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    tokio::time::timeout(WORD, supervisor.write_all(&line)).await.context("it takes no word")??;
    Ok(())
}

/// Whether this process is to supervise the node rather than be it. Witnesses hold no address and never serve.
#[must_use]
pub fn wanted(config: &Config) -> bool {
    config.role == NodeRole::Data && std::env::var_os(SUPERVISOR).is_none()
}

/// Whether a supervisor started this process.
#[must_use]
pub fn supervised() -> bool {
    std::env::var_os(SUPERVISOR).is_some()
}

/// Whether a process is gone with all that it held, reaped or not.
#[must_use]
pub fn has_ended(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    // Its state in /proc tells of its first thread alone; this descriptor is readable when the last one is gone.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(error) => return error == Errno::SRCH,
    };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready == 1)
}

/// The process of the node that `supervisor` has started, if it lives.
#[must_use]
pub fn node_process(supervisor: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::process::Stdio;

    const FILE: &str = "LICRAFT_TEST_LOCKED";

    /// A process of the test below: many threads, and a file locked by all of them together.
    #[test]
    #[ignore = "run by another test"]
    fn hold_a_lock() {
        let Some(file) = std::env::var_os(FILE) else { return };
        let file = std::fs::File::open(file).unwrap();
        file.lock().unwrap();
        for _ in 0..500 {
            std::thread::spawn(std::thread::park);
        }
        println!("ready");
        std::thread::park();
    }

    #[test]
    fn a_process_has_ended_when_its_last_thread_has() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ha::supervisor::tests::hold_a_lock", "--ignored", "--nocapture"]);
        let mut child = command.env(FILE, file.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("ready")), "the process did not come up");
        assert!(!has_ended(child.id()));
        assert!(file.as_file().try_lock().is_err(), "the process holds no lock");
        child.kill().unwrap();
        while !has_ended(child.id()) {
            std::hint::spin_loop();
        }
        let free = file.as_file().try_lock();
        child.wait().unwrap();
        free.expect("all that the process held is free");
    }
}
