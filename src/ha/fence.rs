//! The fence command: with two nodes and no witness it makes sure that the other one is off, and so stands for the operator
//! who would promote this one.
//!
//! It promotes only where a promotion can lose nothing. Of two that lost each other the one that led goes first; the other
//! one's turn comes when the first one's command has ended in any case, and they never come together after that.

use super::control::Control;
use super::finding::{Finding, Teller};
use super::promote::Standing;
use super::running::Running;
use crate::admin::Progress;
use crate::config::Fence;
use crate::raft::Replica;
use anyhow::{Context, Result, ensure};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How often the loss of the other node is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long one command may take; then it is killed and counts as failed.
const LIMIT: Duration = Duration::from_secs(10);
/// When the node that did not lead has its turn.
const SECOND: Duration = Duration::from_secs(15);
/// From one turn of a node to its next one.
const AGAIN: Duration = Duration::from_secs(30);
/// Of what a failed command says so much goes into the log.
const MOST_OUTPUT: u64 = 2_000;

/// Runs the command whenever the other node is lost, and tells when that is off.
pub(super) async fn watch(fence: Fence, replica: Arc<Replica>, teller: Teller, stop: CancellationToken) {
    let mut turn = None;
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let Some(peer) = lost(&replica) else {
            turn = None;
            continue;
        };
        let me = replica.options().node_id;
        let first = || if replica.roles().borrow().leader == Some(me) { Duration::ZERO } else { SECOND };
        let due = *turn.get_or_insert_with(|| Instant::now() + first());
        if Instant::now() < due {
            continue;
        }
        turn = Some(Instant::now() + AGAIN);
        tracing::warn!(node = peer.name, command = fence.command.join(" "), "the other node is lost; fencing it");
        let done = tokio::select! {
            done = run(&fence, &peer) => done,
            () = stop.cancelled() => return,
        };
        match done {
            // It may have come back meanwhile.
            Ok(()) if lost(&replica).is_some() => teller.tell(Finding::Fenced(peer.name)),
            Ok(()) => {}
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the fence command did not make sure that the other node is off; this node waits"
            ),
        }
    }
}

/// The other node.
struct Peer {
    name: String,
    public_address: String,
    cluster_address: String,
}

/// The only other node, when it is lost and this one can go on without losing anything.
fn lost(replica: &Replica) -> Option<Peer> {
    let stakes = Standing::of(replica).stakes().ok()?;
    if stakes.lacks.is_some() || replica.guard().barred() {
        return None;
    }
    let peer = replica.status().peers.into_iter().next()?.info;
    Some(Peer { name: peer.name, public_address: peer.public_address, cluster_address: peer.cluster_address })
}

/// Runs the command to its end. Exit code 0 means that the other node is off.
async fn run(fence: &Fence, peer: &Peer) -> Result<()> {
    let (program, arguments) = fence.command.split_first().context("the fence command has no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("LICRAFT_PEER_NAME", &peer.name)
        .env("LICRAFT_PEER_ADDRESS", &peer.public_address)
        .env("LICRAFT_PEER_CLUSTER_ADDRESS", &peer.cluster_address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let errors = child.stderr.take();
    let ended = async {
        let mut said = String::new();
        if let Some(errors) = errors {
            errors.take(MOST_OUTPUT).read_to_string(&mut said).await?;
        }
        let status = child.wait().await?;
        ensure!(status.success(), "{program} ended with {status}: {}", said.trim());
        Ok(())
    };
    tokio::time::timeout(LIMIT, ended).await.with_context(|| format!("{program} did not end within {LIMIT:?}"))?
}

impl Control {
    /// Promotes this node: the other one, `peer`, was fenced.
    pub(super) async fn alone_after_fencing(&self, running: Arc<Running>, peer: &str) {
        let (progress, _) = Progress::channel();
        let why = format!("{} fenced {peer} and went on without a quorum", running.identity.file.name);
        match self.promote_here(running, false, why, &progress).await {
            Ok(_) => tracing::warn!(node = peer, "the other node was fenced; this node serves alone"),
            Err(error) => tracing::error!(%error, "the other node was fenced, but this one cannot go on alone"),
        }
    }
}
