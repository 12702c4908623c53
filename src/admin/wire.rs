//! The cluster's status and its parts as messages, both ways, and records of the state as messages.

use super::cluster::{Check, CheckResult};
use super::status::*;
use crate::license::{self, Millis};
use crate::proto::admin as proto;

impl From<ClusterStatus> for proto::ClusterStatus {
    fn from(s: ClusterStatus) -> Self {
        Self {
            cluster: match s.cluster {
                ClusterState::Normal => proto::ClusterState::Normal,
                ClusterState::Degraded => proto::ClusterState::Degraded,
                ClusterState::NoQuorum => proto::ClusterState::NoQuorum,
                ClusterState::Stopped => proto::ClusterState::Stopped,
                ClusterState::Standalone => proto::ClusterState::Standalone,
                ClusterState::Retired => proto::ClusterState::Retired,
                ClusterState::Uninitialised => proto::ClusterState::Uninitialised,
            }
            .into(),
            this_node: s.this_node,
            version: s.version,
            epoch: s.epoch,
            vip_addresses: s.vip.addresses,
            vip_holder: s.vip.holder,
            heartbeat_connected: s.heartbeat == Heartbeat::Connected,
            failure_tolerance: s.failure_tolerance,
            verdict: s.verdict,
            failed_actions: s
                .failed_actions
                .into_iter()
                .map(|a| proto::FailedAction { at_ms: a.at.0, node: a.node, what: a.what, why: a.why })
                .collect(),
            nodes: s.nodes.into_iter().map(Into::into).collect(),
            daemons: s
                .daemons
                .into_iter()
                .map(|d| proto::Daemon { name: d.name, active: d.active, enabled: d.enabled })
                .collect(),
            changing_since_ms: some_ms(s.changing_since),
            conflict: s.conflict,
        }
    }
}

impl From<proto::ClusterStatus> for ClusterStatus {
    fn from(s: proto::ClusterStatus) -> Self {
        Self {
            cluster: match s.cluster() {
                proto::ClusterState::Normal => ClusterState::Normal,
                // A state that a newer node knows is at least not normal.
                proto::ClusterState::Degraded | proto::ClusterState::Unspecified => ClusterState::Degraded,
                proto::ClusterState::NoQuorum => ClusterState::NoQuorum,
                proto::ClusterState::Stopped => ClusterState::Stopped,
                proto::ClusterState::Standalone => ClusterState::Standalone,
                proto::ClusterState::Retired => ClusterState::Retired,
                proto::ClusterState::Uninitialised => ClusterState::Uninitialised,
            },
            this_node: s.this_node,
            version: s.version,
            epoch: s.epoch,
            vip: VipStatus { addresses: s.vip_addresses, holder: s.vip_holder },
            heartbeat: if s.heartbeat_connected { Heartbeat::Connected } else { Heartbeat::Disconnected },
            failure_tolerance: s.failure_tolerance,
            verdict: s.verdict,
            failed_actions: s
                .failed_actions
                .into_iter()
                .map(|a| FailedAction { at: Millis(a.at_ms), node: a.node, what: a.what, why: a.why })
                .collect(),
            nodes: s.nodes.into_iter().map(Into::into).collect(),
            daemons: s
                .daemons
                .into_iter()
                .map(|d| Daemon { name: d.name, active: d.active, enabled: d.enabled })
                .collect(),
            changing_since: ms_some(s.changing_since_ms),
            conflict: s.conflict,
        }
    }
}

impl From<NodeStatus> for proto::Node {
    fn from(n: NodeStatus) -> Self {
        Self {
            name: n.name,
            public_address: n.public_address,
            cluster_address: n.cluster_address,
            role: match n.role {
                NodeRole::Active => proto::NodeRole::Active,
                NodeRole::Standby => proto::NodeRole::Standby,
                NodeRole::Witness => proto::NodeRole::Witness,
            }
            .into(),
            replication: match n.replication {
                Replication::Master => proto::Replication::Master,
                Replication::Slave => proto::Replication::Slave,
                Replication::None => proto::Replication::None,
            }
            .into(),
            state: match n.state {
                NodeState::Online => proto::NodeState::Online,
                NodeState::Offline => proto::NodeState::Offline,
                NodeState::Stopped => proto::NodeState::Stopped,
                NodeState::CatchingUp => proto::NodeState::CatchingUp,
                NodeState::Retired => proto::NodeState::Retired,
            }
            .into(),
            version: n.version,
            last_contact_ms: n.last_contact_ms,
            log_term: n.log_term,
            log_index: n.log_index,
            write_lag_ms: n.write_lag_ms,
            flush_lag_ms: n.flush_lag_ms,
            replay_lag_ms: n.replay_lag_ms,
            connected_since_ms: some_ms(n.connected_since),
        }
    }
}

impl From<proto::Node> for NodeStatus {
    fn from(n: proto::Node) -> Self {
        Self {
            role: match n.role() {
                proto::NodeRole::Active => NodeRole::Active,
                proto::NodeRole::Standby | proto::NodeRole::Unspecified => NodeRole::Standby,
                proto::NodeRole::Witness => NodeRole::Witness,
            },
            replication: match n.replication() {
                proto::Replication::Master => Replication::Master,
                proto::Replication::Slave => Replication::Slave,
                proto::Replication::None => Replication::None,
            },
            state: match n.state() {
                proto::NodeState::Online => NodeState::Online,
                proto::NodeState::Offline | proto::NodeState::Unspecified => NodeState::Offline,
                proto::NodeState::Stopped => NodeState::Stopped,
                proto::NodeState::CatchingUp => NodeState::CatchingUp,
                proto::NodeState::Retired => NodeState::Retired,
            },
            name: n.name,
            public_address: n.public_address,
            cluster_address: n.cluster_address,
            version: n.version,
            last_contact_ms: n.last_contact_ms,
            log_term: n.log_term,
            log_index: n.log_index,
            write_lag_ms: n.write_lag_ms,
            flush_lag_ms: n.flush_lag_ms,
            replay_lag_ms: n.replay_lag_ms,
            connected_since: ms_some(n.connected_since_ms),
            // The pages alone show them, and these are on the node that knows.
            resources: None,
        }
    }
}

impl From<Check> for proto::Check {
    fn from(c: Check) -> Self {
        let result = match c.result {
            CheckResult::Passed => proto::CheckResult::Passed,
            CheckResult::Warning => proto::CheckResult::Warning,
            CheckResult::Failed => proto::CheckResult::Failed,
        };
        Self { name: c.name, result: result.into(), detail: c.detail }
    }
}

impl From<proto::Check> for Check {
    fn from(c: proto::Check) -> Self {
        let result = match c.result() {
            proto::CheckResult::Passed => CheckResult::Passed,
            proto::CheckResult::Warning => CheckResult::Warning,
            proto::CheckResult::Failed | proto::CheckResult::Unspecified => CheckResult::Failed,
        };
        Self { name: c.name, result, detail: c.detail }
    }
}

pub fn severity(severity: license::Severity) -> proto::Severity {
    match severity {
        license::Severity::Informational => proto::Severity::Informational,
        license::Severity::Minor => proto::Severity::Minor,
        license::Severity::Major => proto::Severity::Major,
    }
}

/// None where nothing is said.
pub fn some_severity(severity: proto::Severity) -> Option<license::Severity> {
    match severity {
        proto::Severity::Unspecified => None,
        proto::Severity::Informational => Some(license::Severity::Informational),
        proto::Severity::Minor => Some(license::Severity::Minor),
        proto::Severity::Major => Some(license::Severity::Major),
    }
}

pub fn account_status(status: license::AccountStatus) -> proto::AccountStatus {
    match status {
        license::AccountStatus::Requested => proto::AccountStatus::Requested,
        license::AccountStatus::Approved => proto::AccountStatus::Approved,
        license::AccountStatus::Active => proto::AccountStatus::Active,
        license::AccountStatus::Inactive => proto::AccountStatus::Inactive,
        license::AccountStatus::Rejected => proto::AccountStatus::Rejected,
    }
}

/// 0 stands for no time.
pub fn some_ms(at: Option<Millis>) -> u64 {
    at.map_or(0, |at| at.0)
}

fn ms_some(ms: u64) -> Option<Millis> {
    (ms > 0).then_some(Millis(ms))
}
