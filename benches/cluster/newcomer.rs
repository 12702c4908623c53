//! A node that comes to a large cluster with nothing, at the level of Raft.

use super::proposer::{add, folder, register, spawn};
use super::report::{Row, Runs};
use anyhow::{Context, Result, bail};
use licraft::raft::Replica;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Few callers make small batches, so that the log is long enough for a snapshot to have taken its place.
const CALLERS: u64 = 3;

/// The leader: registers the instances, waits until node 4 runs, and adds it.
pub async fn child(replica: &Replica, instances: u64) -> Result<()> {
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let ledger = replica.ledger();
        callers.spawn(async move {
            for n in (caller..instances).step_by(usize::try_from(CALLERS)?) {
                register(&*ledger, n).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    replica.take_snapshot().await?;
    let applied = replica.status().last_applied;
    while replica.status().snapshot < applied {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("filled");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    let began = Instant::now();
    add(replica, 4).await?;
    println!("{}", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Time until an empty node is a voter that has everything.
pub fn measure(instances: u64, runs: usize) -> Result<Vec<Row>> {
    let mut times = Runs::default();
    for _ in 0..runs {
        let dir = folder()?;
        let part = format!("newcomer:{instances}");
        let node = |id, out| spawn(id, &part, dir.path(), out);
        let mut others = vec![node(2, Stdio::null())?, node(3, Stdio::null())?];
        let mut leader = node(1, Stdio::piped())?;
        let mut lines = BufReader::new(leader.stdout.take().context("no pipe")?).lines();
        if lines.next().transpose()?.as_deref() != Some("filled") {
            bail!("the leader did not fill its state");
        }
        others.push(node(4, Stdio::null())?);
        leader.stdin.take().context("no pipe")?.write_all(b"\n")?;
        times.0.push(lines.next().transpose()?.context("the newcomer did not catch up")?.parse()?);
        leader.wait()?;
        for other in &mut others {
            other.kill()?;
            other.wait()?;
        }
    }
    let what = format!("a new node, from nothing to voter, {instances} instances");
    Ok(vec![Row { what, unit: "ms", runs: times, target: Some("≤ 15,000") }])
}
