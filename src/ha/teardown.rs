//! The end of a node's part in its cluster: it stands down for a while, ends the cluster, or is retired.

use super::control::{Control, not_active};
use super::leave;
use super::running::{Running, active_name, member_channel};
use super::switchover;
use crate::admin::{self, AdminError, Kind, Progress, Switchover};
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::{RemoveRequest, StandDownRequest};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// How long the end of the process may be held up by leaving in order.
const LEAVE: Duration = Duration::from_secs(5);

impl Control {
    /// To the admin service of the active node, if another one is active.
    #[must_use]
    pub fn active_node(&self, running: &Running) -> Option<Channel> {
        self.admin_of(running, &active_name(&running.replica)?)
    }

    /// To the admin service of the member called `name`.
    pub(super) fn admin_of(&self, running: &Running, name: &str) -> Option<Channel> {
        member_channel(&self.shared.config, &running.replica, &running.node_tls, name)
    }

    /// Leaves for a while: hands over when this node is active, and gives up its vote where the other could not go on
    /// otherwise.
    pub(super) async fn stand_down(&self, running: &Arc<Running>, progress: &Progress) -> Result<(), AdminError> {
        if running.replica.guard().serving_until().is_some() {
            let request = Switchover { to: None, dry_run: false };
            switchover::switchover(&self.shared, running, &request, progress).await?;
        }
        if !leave::one_of_two(&running.replica) {
            return Ok(());
        }
        // Without an active node nothing is served, so nothing is lost by leaving.
        let Some(channel) = self.active_node(running) else { return Ok(()) };
        let request = StandDownRequest { node: running.identity.file.name.clone() };
        let asked = ClusterClient::new(channel).stand_down(admin::on_behalf(request, "stop")).await;
        asked.map(drop).map_err(|status| {
            AdminError::new(Kind::ClusterState, "the other node cannot go on without this one")
                .because(status.message())
        })
    }

    /// As [`Self::stand_down`], before the process ends; whatever happens, it ends soon.
    pub(super) async fn stand_down_at_end(&self) {
        let Some(running) = self.current() else { return };
        let (progress, _) = Progress::channel();
        match tokio::time::timeout(LEAVE, self.stand_down(&running, &progress)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "leaving without a hand-over"),
            Err(_) => tracing::warn!("leaving without a hand-over, which took too long"),
        }
    }

    pub(super) async fn tear_down(&self, running: &Arc<Running>, progress: &Progress) -> Result<(), AdminError> {
        if running.replica.guard().serving_until().is_some() {
            return leave::end_cluster(running, progress).await;
        }
        let channel = self.active_node(running).ok_or_else(|| {
            not_active(running).hint(
                "bring the other nodes back first; if they are gone for good, run `licraft ha promote` and then \
                 `licraft ha teardown`",
            )
        })?;
        let request = RemoveRequest { node: running.identity.file.name.clone() };
        let refused = |status: tonic::Status| {
            AdminError::new(Kind::ClusterState, "the active node did not let this one go").because(status.message())
        };
        let asked = ClusterClient::new(channel).remove(admin::on_behalf(request, "teardown")).await;
        let mut steps = asked.map_err(refused)?.into_inner();
        while let Some(step) = steps.message().await.map_err(refused)? {
            progress.step(step.text);
        }
        Ok(())
    }
}
