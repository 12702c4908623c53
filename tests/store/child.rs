//! The store in a process of its own, which the tests kill, cut off from power, or fill the disk of.
//!
//! It says on standard output what it has been promised: `@open LAST TERM` after a start, `@ack INDEX` when an entry
//! is durable and applied, `@vote TERM` when a vote is saved; `@low` and `@fatal WHY` when it must stop.

use super::support::*;
use licraft::license::Command;
use licraft::store::*;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

pub const DIR: &str = "LICRAFT_STORE_CHILD";
pub const SEED: &str = "LICRAFT_STORE_SEED";
pub const GROUPS: &str = "LICRAFT_STORE_GROUPS";
const RESERVE: &str = "LICRAFT_STORE_RESERVE";

/// Exit statuses of the child.
pub const DONE: i32 = 0;
pub const CANNOT_OPEN: i32 = 70;
pub const FATAL: i32 = 71;
pub const WRONG: i32 = 72;
pub const LOW: i32 = 73;

/// A running child; killed when dropped.
pub struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What the store has promised so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    pub acknowledged: Option<u64>,
    pub vote: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Open { last: Option<u64>, vote: u64 },
    Acknowledged(u64),
    Voted(u64),
    Other(String),
}

impl Worker {
    pub fn start(dir: &Path, seed: u64, groups: u64, reserve: u64) -> Self {
        Self::run("child::child", dir, seed, groups, reserve)
    }

    /// The same for central's store.
    pub fn start_central(dir: &Path, seed: u64, commits: u64) -> Self {
        Self::run("central::child", dir, seed, commits, 0)
    }

    fn run(test: &str, dir: &Path, seed: u64, groups: u64, reserve: u64) -> Self {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]);
        command.env(DIR, dir).env(SEED, seed.to_string()).env(GROUPS, groups.to_string());
        command.env(RESERVE, reserve.to_string()).env_remove("RUST_BACKTRACE");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("LICRAFT_CRASH_STDERR").is_some() { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next thing said; none when it has ended.
    pub fn next(&mut self) -> Option<Said> {
        loop {
            let line = self.lines.next()?.ok()?;
            let Some((_, said)) = line.split_once('@') else { continue };
            let words: Vec<&str> = said.split(' ').collect();
            return Some(match words[..] {
                ["open", last, vote] => Said::Open { last: last.parse().ok(), vote: vote.parse().unwrap() },
                ["ack", index] => Said::Acknowledged(index.parse().unwrap()),
                ["vote", term] => Said::Voted(term.parse().unwrap()),
                _ => Said::Other(said.to_owned()),
            });
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// The exit status; none when it was killed.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Promises {
    /// Notes what was said; a store that opens with less than it promised is the failure all this looks for.
    pub fn hear(&mut self, said: &Said) -> Result<(), String> {
        match said {
            Said::Open { last, .. } if *last < self.acknowledged => {
                return Err(format!("entry {:?} was acknowledged, but only {last:?} is left", self.acknowledged));
            }
            Said::Open { vote, .. } if *vote < self.vote => {
                return Err(format!("a vote in term {} was promised, but {vote} is left", self.vote));
            }
            Said::Open { .. } | Said::Other(_) => {}
            Said::Acknowledged(index) => self.acknowledged = Some(*index),
            Said::Voted(term) => self.vote = *term,
        }
        Ok(())
    }
}

#[test]
#[ignore = "run by other tests in a process of its own"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let status = runtime().block_on(work(Path::new(&dir), number(SEED), number(GROUPS), number(RESERVE)));
    std::process::exit(status);
}

async fn work(dir: &Path, seed: u64, groups: u64, reserve: u64) -> i32 {
    let options = StoreOptions { disk_reserve_bytes: reserve, segment_bytes: 64 << 10, ..options() };
    let mut node = match Node::open(dir, options) {
        Ok(node) => node,
        Err(error) => {
            println!("@error {error}");
            return CANNOT_OPEN;
        }
    };
    let mut random = StdRng::seed_from_u64(seed);
    match run(&mut node, &mut random, groups).await {
        Ok(status) => {
            node.close();
            status
        }
        Err(error) => {
            println!("@fatal {error}");
            // A store must have said itself that it failed, or its owner would go on.
            let failed = matches!(node.handle.health(), StoreHealth::Failed { .. });
            if failed { FATAL } else { WRONG }
        }
    }
}

async fn run(node: &mut Node, random: &mut StdRng, groups: u64) -> std::io::Result<i32> {
    node.recover().await?;
    let Some(mut next) = catch_up(node).await? else { return Ok(WRONG) };
    let mut term = node.log.get_log_reader().await.read_vote().await?.map_or(0, |vote| vote.leader_id.term);
    println!("@open {} {term}", next.checked_sub(1).map_or("none".to_owned(), |last| last.to_string()));
    for group in 0..groups {
        if matches!(node.handle.health(), StoreHealth::DiskLow { .. }) {
            println!("@low");
            return Ok(LOW);
        }
        if random.random_bool(0.1) {
            // An entry of a leader that lost: never committed, truncated by the next one.
            let mut lost = commands(next);
            lost[0].command = Command::DigestMark { nonce: group };
            node.append(vec![entry_with(1, next, lost)]).await?;
            node.log.truncate_after(next.checked_sub(1).map(|last| log_id(1, last))).await?;
        }
        let entries: Vec<Entry> = (next..next + random.random_range(1..12)).map(|index| entry(1, index)).collect();
        next += entries.len() as u64;
        node.write(entries).await?;
        println!("@ack {}", next - 1);
        if random.random_bool(0.1) {
            term += 1;
            node.log.save_vote(&Vote::new(term, 1)).await?;
            println!("@vote {term}");
        }
        if random.random_bool(0.05) {
            let snapshot = node.machine.get_snapshot_builder().await.build_snapshot().await?;
            if random.random_bool(0.5) {
                node.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await?;
            }
            node.log.purge(log_id(1, next.saturating_sub(20))).await?;
        }
        if random.random_bool(0.1) {
            node.handle.flush_image().await?;
        }
    }
    Ok(DONE)
}

/// Applies all that the log has and nobody truncated, checks the state, and returns the next index; none if the state
/// is not what these entries make.
async fn catch_up(node: &mut Node) -> std::io::Result<Option<u64>> {
    let applied = node.handle.applied().borrow().map_or(0, |id| id.index + 1);
    let held = node.log.get_log_reader().await.try_get_log_entries(applied..).await?;
    let right: Vec<Entry> = held.iter().filter(|held| **held == entry(1, held.log_id.index)).cloned().collect();
    let next = applied + right.len() as u64;
    if right.len() < held.len() {
        node.log.truncate_after(next.checked_sub(1).map(|last| log_id(1, last))).await?;
    }
    if !right.is_empty() {
        node.apply(right).await?;
    }
    let state = node.handle.state();
    let is_right = next == 0 || is_expected(&state, next - 1);
    if !is_right || !state.check().is_empty() {
        println!("@wrong state after {next} entries: {:?}", state.check());
        return Ok(None);
    }
    Ok(Some(next))
}
