//! Alerts about nodes, which the active node raises and clears as it sees them; and the passing of time while nobody asks
//! for anything.

use crate::license::{Alert, AlertKey, AlertKind, Command, MAX_MESSAGE, Millis, Severity, State};
use crate::pki::random;
use crate::raft::{CLOCK_TOLERANCE_MS, PeerStatus, Replica};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What passes within this is no alert: a restart, a change of roles.
const PATIENCE: Duration = Duration::from_secs(3);
/// A node that was not heard of for so long does not answer.
const FRESH: Duration = Duration::from_millis(1_500);
/// After so long without a command time is made to pass, so that what has become due is told.
const QUIET: Duration = Duration::from_mins(10);
/// Free space is told in steps of so many MiB: not every byte is news.
const SPACE_STEP: u64 = 64;
const MIB: u64 = 1 << 20;
/// Kinds that are raised here, and here alone.
const KINDS: [AlertKind; 4] =
    [AlertKind::ClusterDegraded, AlertKind::WitnessLost, AlertKind::DiskSpace, AlertKind::ClockSkew];

/// What the active node has seen.
pub(super) struct Watch {
    name: String,
    replica: Arc<Replica>,
    /// Since when an alert is wanted.
    since: BTreeMap<AlertKey, Instant>,
    /// The state's time, and since when it is that.
    time: (Millis, Instant),
}

impl Watch {
    pub(super) fn new(name: String, replica: Arc<Replica>) -> Self {
        Self { name, replica, since: BTreeMap::new(), time: (Millis(0), Instant::now()) }
    }

    /// Looks until `stop`, while this node is active.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.replica.guard().serving_until().is_some() {
                self.look().await;
            } else {
                self.since.clear();
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn look(&mut self) {
        let state = self.replica.ledger().state();
        if state.now() != self.time.0 {
            self.time = (state.now(), Instant::now());
        }
        if !state.is_initialized() {
            return;
        }
        if self.replica.clock_news() || self.time.1.elapsed() >= QUIET {
            self.propose(Command::PassTime).await;
        }
        let wanted = self.wanted(&state);
        self.since.retain(|key, _| wanted.contains_key(key));
        for command in changes(&state, &wanted, |key| {
            self.since.entry(key.clone()).or_insert_with(Instant::now).elapsed() >= PATIENCE
        }) {
            self.propose(command).await;
        }
    }

    async fn propose(&self, command: Command) {
        if let Err(error) = self.replica.ledger().propose(random::u128(), "cluster", command).await {
            tracing::info!(%error, "an alert could not be recorded; it is tried again");
        }
    }

    fn wanted(&self, state: &State) -> BTreeMap<AlertKey, Alert> {
        let member = |peer: &&PeerStatus| state.member(peer.node_id).is_some_and(|member| !member.retired);
        let status = self.replica.status();
        let peers = status.peers.iter().filter(member).flat_map(of_peer);
        let here = self.replica.disk_low().map(|free| disk(&self.name, free));
        peers.chain(here).map(|alert| (alert.key.clone(), alert)).collect()
    }
}

/// What has to be done so that these alerts stand, and no other of their kinds; new ones when `lasting`.
fn changes(
    state: &State,
    wanted: &BTreeMap<AlertKey, Alert>,
    mut lasting: impl FnMut(&AlertKey) -> bool,
) -> Vec<Command> {
    let mut said = |alert: &&Alert| match state.alert(&alert.key) {
        Some(standing) => standing.message == alert.message,
        None => !lasting(&alert.key),
    };
    let raise: Vec<Command> = wanted
        .values()
        .filter(|alert| !said(alert))
        .map(|alert| Command::RaiseAlert { alert: alert.clone() })
        .collect();
    let gone = state.alerts().map(|alert| &alert.key);
    let gone = gone.filter(|key| KINDS.contains(&key.kind) && !wanted.contains_key(key) && !State::keeps_alert(key));
    raise.into_iter().chain(gone.map(|key| Command::ClearAlert { key: key.clone() })).collect()
}

/// The alerts about another node.
fn of_peer(peer: &PeerStatus) -> Vec<Alert> {
    let name = &peer.info.name;
    if peer.last_contact.is_none_or(|age| age >= FRESH) {
        return vec![if peer.info.witness { witness_lost(name) } else { degraded(name) }];
    }
    let skewed = peer.clock_offset_ms.is_some_and(|ms| ms.unsigned_abs() > CLOCK_TOLERANCE_MS);
    skewed.then(|| clock(name)).into_iter().chain(peer.disk_low.map(|free| disk(name, free))).collect()
}

fn degraded(name: &str) -> Alert {
    let message = format!("The cluster is degraded: {name} is offline.");
    alert(
        AlertKind::ClusterDegraded,
        name,
        Severity::Major,
        message,
        "Start it, or mend the way to it; it catches up by itself.",
    )
}

fn witness_lost(name: &str) -> Alert {
    let message = format!("The witness {name} is offline. Licenses are served, but no failure is covered.");
    alert(AlertKind::WitnessLost, name, Severity::Minor, message, "Start it, or mend the way to it.")
}

fn disk(name: &str, free: u64) -> Alert {
    let left = free / MIB / SPACE_STEP * SPACE_STEP;
    let message = format!("Less than {} MiB are free on the data disk of {name}.", left + SPACE_STEP);
    let action = "Make room. With still less free the node refuses new work, and hands over if it is active.";
    alert(AlertKind::DiskSpace, name, Severity::Major, message, action)
}

fn clock(name: &str) -> Alert {
    let seconds = CLOCK_TOLERANCE_MS / 1_000;
    let message = format!("The clock of {name} is more than {seconds} s away from that of the active node.");
    let action = "Set the clocks (NTP): a node whose clock is off cannot take over.";
    alert(AlertKind::ClockSkew, name, Severity::Minor, message, action)
}

fn alert(kind: AlertKind, name: &str, severity: Severity, message: String, action: &str) -> Alert {
    debug_assert!(message.len() <= MAX_MESSAGE);
    Alert {
        key: AlertKey { kind, source: name.to_owned() },
        severity,
        account: None,
        raised: Millis(0),
        due: None,
        message,
        action: action.to_owned(),
        acknowledged: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Changes, Outcome, Request, Role, Stamp, User};

    fn apply(state: &mut State, command: Command) {
        let request = Request { id: 0, actor: "test".into(), command };
        assert_eq!(state.apply(Stamp::at(Millis(1)), &request, &mut Changes::new()), Outcome::Done);
    }

    #[test]
    fn alerts_follow_what_is_seen_and_new_ones_only_when_it_lasts() {
        let mut state = State::default();
        let administrator = User::new("admin".into(), Role::SystemAdministrator, String::new(), true);
        apply(&mut state, Command::Initialize { server_uid: "00ff".into(), administrator });
        let wanted = |alerts: Vec<Alert>| alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect();
        let off = wanted(vec![degraded("b"), witness_lost("w"), disk("b", 200 * MIB)]);
        assert_eq!(changes(&state, &off, |_| false), [], "a restart is no alert");
        let raised = changes(&state, &off, |_| true);
        assert_eq!(raised.len(), 3);
        raised.into_iter().for_each(|command| apply(&mut state, command));
        assert_eq!(changes(&state, &off, |_| true), [], "they stand");

        // A little less room is no news; much less is, at once.
        let less = |mib| wanted(vec![degraded("b"), disk("b", mib * MIB)]);
        let gone = Command::ClearAlert { key: witness_lost("w").key };
        assert_eq!(changes(&state, &less(193), |_| false), std::slice::from_ref(&gone));
        let alert = disk("b", 100 * MIB);
        assert_eq!(alert.message, "Less than 128 MiB are free on the data disk of b.");
        assert_eq!(changes(&state, &less(100), |_| false), [Command::RaiseAlert { alert }, gone]);
        for command in changes(&state, &BTreeMap::new(), |_| true) {
            apply(&mut state, command);
        }
        assert_eq!((state.alerts().count(), state.past_alerts(0).count()), (0, 3));
    }

    #[test]
    fn what_the_state_tells_itself_is_left_alone() {
        let mut state = State::default();
        let administrator = User::new("admin".into(), Role::SystemAdministrator, String::new(), true);
        apply(&mut state, Command::Initialize { server_uid: "00ff".into(), administrator });
        let request = Request { id: 0, actor: "test".into(), command: Command::PassTime };
        let stamp = Stamp { at: Millis(1), wall: Millis(Millis::DAY) };
        state.apply(stamp, &request, &mut Changes::new());
        assert_eq!(state.alerts().count(), 1);
        assert_eq!(changes(&state, &BTreeMap::new(), |_| true), []);
    }
}
