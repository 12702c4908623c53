//! What systemd is told of a node, by sd_notify(3). Where no service manager asks for it, nothing happens.

use crate::admin::ClusterControl;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the sentence in `systemctl status` is brought up to date.
const TELL: Duration = Duration::from_secs(5);

/// The node answers on its admin socket.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The node has begun to end, which takes as long as leaving in order does.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog and says how things stand, until `stop`. A node that cannot even tell its status is stuck, and is
/// left to the watchdog.
pub async fn keep_told(cluster: Arc<dyn ClusterControl>, stop: CancellationToken) {
    // Three times within the watchdog's limit, so that one late turn does no harm.
    let pace = sd_notify::watchdog_enabled().map_or(TELL, |limit| TELL.min(limit / 3));
    while !stop.is_cancelled() {
        let verdict = cluster.status().await.verdict;
        tell(&[NotifyState::Watchdog, NotifyState::Status(&verdict)]);
        tokio::select! {
            () = tokio::time::sleep(pace) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
