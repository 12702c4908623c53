//! How this replica and its peers stand, for status commands, pages and metrics.

use super::core::Metrics;
use super::peers::{PeerView, Peers};
use super::role::RoleState;
use crate::store::{LogId, NodeInfo};
use crate::telemetry::Resources;
use openraft::Instant as _;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Term and index of a log entry, shown as `TERM/INDEX` in hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    pub term: u64,
    pub index: u64,
}

impl From<LogId> for LogPosition {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.term, self.index)
    }
}

/// Another member as seen from here.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    pub node_id: u64,
    pub info: NodeInfo,
    pub voter: bool,
    /// The entry up to which it has the log, as acknowledged to this leader; none unless this node leads.
    pub matched: Option<LogPosition>,
    /// Since it last acknowledged anything: to this leader, or else since its last report.
    pub last_contact: Option<Duration>,
    /// Estimated time until an entry written here is written there (round trip), durable there, and applied there.
    pub write_lag: Option<Duration>,
    pub flush_lag: Option<Duration>,
    pub replay_lag: Option<Duration>,
    /// Entries it lacks, where known.
    pub behind: Option<u64>,
    /// Its version and position by its own account.
    pub version: Option<String>,
    pub last_log: Option<LogPosition>,
    pub last_applied: Option<LogPosition>,
    pub serving: bool,
    /// Its clock minus ours, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Free bytes on its disk, if these are few.
    pub disk_low: Option<u64>,
    /// Of its machine.
    pub resources: Option<Resources>,
    /// What is wrong: by its own account, or why it does not answer.
    pub trouble: Option<String>,
    /// What is wrong by its own account.
    pub own_trouble: Option<String>,
    pub digests: Vec<(u64, [u8; 32])>,
}

/// This replica.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    pub node_id: u64,
    pub role: RoleState,
    pub last_log: Option<u64>,
    pub last_applied: Option<LogPosition>,
    pub committed: Option<LogPosition>,
    pub snapshot: Option<LogPosition>,
    pub voter: bool,
    pub voters: Vec<u64>,
    /// Since a quorum last acknowledged this leader; none unless it leads others.
    pub quorum_ack_age: Option<Duration>,
    pub serving: bool,
    pub draining: bool,
    /// Why Raft or the store has stopped.
    pub trouble: Option<String>,
    pub peers: Vec<PeerStatus>,
}

pub(super) fn peer_statuses(metrics: &Metrics, peers: &Peers, me: u64) -> Vec<PeerStatus> {
    let views = peers.views();
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    let others = metrics.membership_config.nodes().filter(|(id, _)| **id != me);
    others.map(|(id, info)| peer_status(metrics, &views, *id, info, voters.contains(id))).collect()
}

fn peer_status(
    metrics: &Metrics,
    views: &BTreeMap<u64, PeerView>,
    node_id: u64,
    info: &NodeInfo,
    voter: bool,
) -> PeerStatus {
    let view = views.get(&node_id);
    let report = view.and_then(|v| v.report.as_ref());
    let matched = metrics.replication.as_ref().and_then(|r| r.get(&node_id).copied().flatten());
    let acked = metrics.heartbeat.as_ref().and_then(|h| h.get(&node_id).copied().flatten());
    let last_contact = acked.map(|at| at.elapsed()).or_else(|| report.map(|(_, at)| at.elapsed()));
    let behind = matched.and_then(|m| Some(metrics.last_log_index?.saturating_sub(m.index)));
    let half_trip = view.filter(|v| v.report.is_some()).map(|v| v.round_trip / 2);
    // Without anything missing a lag is the way there; with something missing it is at least the silence.
    let lag = |missing: bool| if missing { last_contact.max(half_trip) } else { half_trip };
    let applied_there = report.and_then(|(r, _)| r.last_applied).map(|id| id.index);
    let applied_here = metrics.last_applied.map(|id| id.index);
    // A report is up to half a second old; a moment's worth of entries is no lag.
    let replay_missing =
        report.is_some_and(|(_, at)| at.elapsed() > Duration::from_secs(2)) && applied_there < applied_here;
    let own_trouble = report.and_then(|(r, _)| r.trouble.clone());
    PeerStatus {
        node_id,
        info: info.clone(),
        voter,
        matched: matched.map(Into::into),
        last_contact,
        write_lag: half_trip,
        flush_lag: lag(behind.is_some_and(|b| b > 0)),
        replay_lag: lag(replay_missing),
        behind,
        version: report.map(|(r, _)| r.version.clone()),
        last_log: report.and_then(|(r, _)| r.last_log).map(Into::into),
        last_applied: report.and_then(|(r, _)| r.last_applied).map(Into::into),
        serving: report.is_some_and(|(r, _)| r.serving),
        clock_offset_ms: view.filter(|v| v.report.is_some()).map(|v| v.clock_offset_ms),
        disk_low: report.and_then(|(r, _)| r.disk_low),
        resources: report.and_then(|(r, _)| r.resources),
        trouble: view.and_then(|v| v.trouble.clone()).or_else(|| own_trouble.clone()),
        own_trouble,
        digests: report.map(|(r, _)| r.digests.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_like_the_incumbents() {
        assert_eq!(LogPosition { term: 2, index: 0x53C_DB68 }.to_string(), "2/53CDB68");
    }
}
