//! The fence command: with two nodes and no witness it makes sure that the other one is off, and so stands for the operator
//! who would promote this one.
//!
//! It promotes only where a promotion can lose nothing. Of two that lost each other the one that led goes first; the other
//! one's turn comes when the first one's command has ended in any case, and they never come together after that.

use super::control::Control;
use super::failed::{Failed, Unrecorded};
use super::finding::{Finding, Teller};
use super::promote::Standing;
use super::running::Running;
use crate::admin::{FailedAction, Progress, rfc3339};
use crate::config::Fence;
use crate::product::Clock;
use crate::raft::Replica;
use crate::store::NodeInfo;
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

/// Runs the command whenever the other node is lost.
pub(super) struct Watch {
    pub fence: Fence,
    pub replica: Arc<Replica>,
    pub failed: Arc<Failed>,
    pub teller: Teller,
    pub clock: Clock,
}

impl Watch {
    /// Tells when the other node is off.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut turn = None;
        let mut unrecorded = Unrecorded::default();
        while !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
            let Some(peer) = lost(&self.replica) else {
                turn = None;
                self.failed.set("fence", Vec::new());
                unrecorded.record(&self.replica, "failed-action").await;
                continue;
            };
            let me = self.replica.options().node_id;
            let leads = self.replica.roles().borrow().leader == Some(me);
            let due = *turn.get_or_insert_with(|| Instant::now() + if leads { Duration::ZERO } else { SECOND });
            if Instant::now() < due {
                continue;
            }
            turn = Some(Instant::now() + AGAIN);
            tracing::warn!(
                node = peer.name,
                command = self.fence.command.join(" "),
                "the other node is lost; fencing it"
            );
            let done = tokio::select! {
                done = run(&self.fence, &peer) => done,
                () = stop.cancelled() => return,
            };
            match done {
                // It may have come back meanwhile.
                Ok(()) if lost(&self.replica).is_some() => self.teller.tell(Finding::Fenced(peer.name)),
                Ok(()) => {}
                Err(error) => unrecorded.put(self.failed_to(&peer.name, &format!("{error:#}"))),
            }
        }
    }

    /// Shows it in the status; gives what the events will say when there is a quorum again.
    fn failed_to(&self, peer: &str, error: &str) -> String {
        let (name, at) = (&self.replica.options().info.name, (self.clock)());
        tracing::error!(error, "the fence command did not make sure that the other node is off; this node waits");
        let why = format!("{error}; whether it is off is not known, so this node waits");
        let what = format!("fencing {peer}");
        self.failed.set("fence", vec![FailedAction { at, node: name.clone(), what, why }]);
        format!("{name} could not fence {peer} at {}: {error}", rfc3339(at))
    }
}

/// The only other node, when it is lost and this one can go on without losing anything.
fn lost(replica: &Replica) -> Option<NodeInfo> {
    let stakes = Standing::of(replica).stakes().ok()?;
    if stakes.lacks.is_some() || replica.guard().barred() {
        return None;
    }
    replica.status().peers.into_iter().next().map(|peer| peer.info)
}

/// Runs the command to its end. Exit code 0 means that the other node is off.
pub(super) async fn run(fence: &Fence, peer: &NodeInfo) -> Result<()> {
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
