//! Rehearsals: of a failover, by handing over to the other node and back, and of fencing. Both look whether all is as
//! before.

use super::control::{Control, not_active, wait_serving};
use super::facts::whole_ms;
use super::leave::{self, fresh};
use super::running::Running;
use super::{fence, switchover};
use crate::admin::{self, AdminError, DrillReport, FenceDrillReport, Kind, Progress, Switchover};
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::switchover_reply::Reply;
use crate::proto::admin::{SwitchoverReport, SwitchoverRequest};
use crate::raft::{CAUGHT_UP_WITHIN, PeerStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A node that is off is missed within one report; a power switch that is told to cut may take some seconds.
const OFF: Duration = Duration::from_secs(10);
/// How long a machine may take to start again.
const BACK: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_millis(50);

impl Control {
    /// Hands over to the fittest other data node and back. When the way back fails, the other node stays active.
    pub(super) async fn rehearse(
        &self,
        running: &Arc<Running>,
        progress: &Progress,
    ) -> Result<DrillReport, AdminError> {
        if running.replica.guard().serving_until().is_none() {
            return Err(not_active(running));
        }
        let request = Switchover { to: None, dry_run: false };
        let there = switchover::switchover(&self.shared, running, &request, progress).await?;
        let there = there.ok_or_else(|| AdminError::new(Kind::Internal, "the hand-over gave no report"))?;
        progress.step(format!("{} is active; clients waited {} ms.", there.to, there.gap_ms));
        let back = self.back(running, progress).await.map_err(|error| {
            let what = format!("{} took over, but did not hand back", there.to);
            AdminError::new(Kind::ClusterState, what)
                .because(error.to_string())
                .hint("licenses are served; look at `licraft ha status`, then use `licraft ha switchover`")
        })?;
        wait_serving(running).await?;
        progress.step(format!("{} is active again; clients waited {} ms.", back.to, back.gap_ms));
        let digests = self.equal_digests().await?;
        Ok(DrillReport { other: there.to, there_ms: there.gap_ms, back_ms: back.gap_ms, digests })
    }

    async fn back(&self, running: &Arc<Running>, progress: &Progress) -> Result<SwitchoverReport, AdminError> {
        let refused = |status: tonic::Status| AdminError::new(Kind::ClusterState, status.message().to_owned());
        let channel = self.active_node(running).ok_or_else(|| not_active(running))?;
        let request = SwitchoverRequest { to: running.identity.file.name.clone(), dry_run: false };
        let asked = ClusterClient::new(channel).switchover(admin::on_behalf(request, "drill")).await;
        let mut replies = asked.map_err(refused)?.into_inner();
        let mut report = None;
        while let Some(reply) = replies.message().await.map_err(refused)? {
            match reply.reply {
                Some(Reply::Step(step)) => progress.step(step.text),
                Some(Reply::Report(done)) => report = Some(done),
                Some(Reply::Check(_)) | None => {}
            }
        }
        report.ok_or_else(|| AdminError::new(Kind::Internal, "the hand-over gave no report"))
    }

    /// Gives the other node's vote up, has the fence command turn that off, looks whether it is off, and waits until it
    /// is back. This node serves all the while.
    pub(super) async fn rehearse_fencing(&self, progress: &Progress) -> Result<FenceDrillReport, AdminError> {
        let (other, began) = {
            // Not held while it is waited for the other node: that may take minutes.
            let _verb = self.verb.lock().await;
            self.fence_other(progress).await?
        };
        let off = began.elapsed();
        progress.step(format!("{other} is off; licenses are served without it. Waiting until it is back..."));
        let is_back =
            |peer: &PeerStatus| peer.voter && fresh(peer) && peer.behind.is_some_and(|n| n <= CAUGHT_UP_WITHIN);
        if !self.until(BACK, is_back).await {
            let what = format!("{other} was fenced, but is not back after {} minutes", BACK.as_secs() / 60);
            return Err(
                AdminError::new(Kind::ClusterState, what).hint("start it; it gets its vote back by itself then")
            );
        }
        let back = began.elapsed();
        progress.step(format!("{other} is back and votes again."));
        let digests = self.equal_digests().await?;
        Ok(FenceDrillReport { fenced: other, off_ms: whole_ms(off), back_ms: whole_ms(back), digests })
    }

    async fn fence_other(&self, progress: &Progress) -> Result<(String, Instant), AdminError> {
        let running = self.need_running()?;
        let Some(fence) = &self.shared.config.fence else {
            return Err(AdminError::new(Kind::State, "this node has no fence command")
                .hint("name one in the node file, as [fence] command = [\"/path/of/program\"], and restart the node"));
        };
        if running.replica.guard().serving_until().is_none() {
            return Err(not_active(&running));
        }
        if !leave::one_of_two(&running.replica) {
            return Err(AdminError::new(Kind::ClusterState, "only two data nodes that both vote are fenced")
                .because("a third voter decides by itself who goes on")
                .hint("`licraft ha drill` without --fence rehearses a hand-over"));
        }
        let PeerStatus { node_id, info: other, .. } = switchover::settled(&running, None).await?;
        progress.step(format!("Taking the vote of {}, so that service goes on without it...", other.name));
        leave::stand_down(&running, &other.name).await?;
        progress.step(format!("Running {}...", fence.command.join(" ")));
        let began = Instant::now();
        let fenced = async {
            fence::run(fence, &other).await.map_err(|e| format!("{e:#}"))?;
            match self.until(OFF, |peer| !fresh(peer)).await {
                true => Ok(()),
                false => Err(format!("the command ended with success, but {} still answers", other.name)),
            }
        };
        fenced.await.map_err(|why: String| {
            running.stood_down.stays(node_id);
            AdminError::new(Kind::ClusterState, format!("{} was not fenced", other.name))
                .because(why)
                .hint("licenses are served, and its vote comes back by itself; mend the command, then repeat the drill")
        })?;
        Ok((other.name, began))
    }

    /// Waits until the other data node is so; false when it never is.
    async fn until(&self, patience: Duration, is: impl Fn(&PeerStatus) -> bool) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let Some(running) = self.current() else { return false };
            if running.replica.status().peers.iter().any(&is) {
                return true;
            }
            drop(running);
            tokio::time::sleep(LOOK).await;
        }
        false
    }

    /// How many replicas have the same digest of the state.
    ///
    /// # Errors
    /// When one has another.
    async fn equal_digests(&self) -> Result<usize, AdminError> {
        let all: Vec<String> = self.collect_all_digests().await?.into_iter().filter_map(|d| d.digest).collect();
        if all.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(AdminError::new(Kind::Internal, "the replicas differ")
                .hint("run `licraft doctor`, and do not switch over until it is mended"));
        }
        Ok(all.len())
    }
}
