//! Which role this node plays, kept current for everything that acts on a change.

use super::core::{Core, Metrics};
use super::lease::LeaseGuard;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the lease is looked at without any news from Raft.
const LOOK: Duration = Duration::from_millis(10);

/// A node's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves: leads under a valid lease and has applied its own term's first entry.
    Active,
    /// Follows an active node, or learns from one.
    Standby,
    /// Votes, never serves.
    Witness,
    /// No node is known to be active: an election, a hand-over, or no quorum.
    Changing,
}

/// A role with its circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleState {
    pub role: Role,
    pub term: u64,
    /// The leader known here, be it this node.
    pub leader: Option<u64>,
    pub since: SystemTime,
}

impl RoleState {
    pub(super) fn initial() -> Self {
        Self { role: Role::Changing, term: 0, leader: None, since: SystemTime::now() }
    }
}

fn role_now(guard: &LeaseGuard, metrics: &Metrics, witness: bool, me: u64) -> (Role, u64, Option<u64>) {
    let leader = metrics.current_leader;
    let role = match leader {
        _ if witness => Role::Witness,
        _ if guard.serving_until().is_some() => Role::Active,
        Some(other) if other != me => Role::Standby,
        _ => Role::Changing,
    };
    (role, metrics.current_term, leader)
}

/// Keeps `roles` current until `stop`.
pub(super) async fn watch_role(
    core: Arc<dyn Core>,
    guard: LeaseGuard,
    roles: watch::Sender<RoleState>,
    witness: bool,
    me: u64,
    stop: CancellationToken,
) {
    let mut metrics = core.metrics();
    loop {
        let quiet = {
            let now = metrics.borrow().clone();
            let (role, term, leader) = role_now(&guard, &now, witness, me);
            let changed = roles.send_if_modified(|state| {
                let changed = (state.role, state.term, state.leader) != (role, term, leader);
                if changed {
                    let since = if state.role == role { state.since } else { SystemTime::now() };
                    *state = RoleState { role, term, leader, since };
                }
                changed
            });
            if changed {
                tracing::info!(?role, term, leader, "role");
            }
            // Under load Raft has news thousands of times a second; a settled role needs none of it but the lease.
            matches!(role, Role::Active) || leader.is_some_and(|l| l != me)
        };
        let look = tokio::time::sleep(LOOK);
        let ended = if quiet {
            tokio::select! { () = look => false, () = stop.cancelled() => true }
        } else {
            tokio::select! { () = look => false, news = metrics.changed() => news.is_err(), () = stop.cancelled() => true }
        };
        if ended {
            return;
        }
    }
}
