//! A rehearsal: hands over to the other node and back, and looks whether all is as before.

use super::control::{Control, not_active, wait_serving};
use super::running::Running;
use super::switchover;
use crate::admin::{self, AdminError, DrillReport, Kind, Progress, Switchover};
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::switchover_reply::Reply;
use crate::proto::admin::{SwitchoverReport, SwitchoverRequest};
use std::sync::Arc;

impl Control {
    /// Hands over to the only other data node and back. When the way back fails, the other node stays active.
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
