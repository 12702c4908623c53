//! What `licraft ha status` knows: one picture of the whole cluster, as any node sees it. Serialised it is exactly the
//! JSON that users rely on; fields that only the table needs are skipped there.

use crate::license::Millis;
use crate::telemetry::Resources;
use serde::{Serialize, Serializer};

/// The cluster as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    pub cluster: ClusterState,
    pub this_node: String,
    pub version: String,
    /// Counter of the epoch.
    pub epoch: u64,
    pub vip: VipStatus,
    /// Between the data nodes.
    pub heartbeat: Heartbeat,
    /// How many more nodes may fail before service is lost.
    pub failure_tolerance: u32,
    /// One line: what is so, what to do.
    pub verdict: String,
    /// Oldest first.
    pub failed_actions: Vec<FailedAction>,
    /// This node is among them, also stand-alone; empty before initialisation.
    pub nodes: Vec<NodeStatus>,

    /// State of this node's parts, in the order shown: `raft`, `vip`, `https`, `sync`.
    #[serde(skip)]
    pub daemons: Vec<Daemon>,
    /// Roles change: nobody has been active since then.
    #[serde(skip)]
    pub changing_since: Option<Millis>,
    /// Names of the nodes that were both promoted; empty unless two promotions met.
    #[serde(skip)]
    pub conflict: Vec<String>,
}

impl ClusterStatus {
    /// The entry of the node that was asked.
    #[must_use]
    pub fn this(&self) -> Option<&NodeStatus> {
        self.nodes.iter().find(|n| n.name == self.this_node)
    }
}

/// While roles change and in a conflict the cluster is `Degraded`; the verdict says what goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    Normal,
    Degraded,
    NoQuorum,
    Stopped,
    Standalone,
    Retired,
    Uninitialised,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VipStatus {
    /// Preferred first.
    pub addresses: Vec<String>,
    /// Name of the node that holds them now.
    pub holder: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heartbeat {
    Connected,
    Disconnected,
}

/// Something the cluster tried by itself and could not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedAction {
    #[serde(serialize_with = "as_rfc3339")]
    pub at: Millis,
    pub node: String,
    pub what: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    pub name: String,
    pub public_address: String,
    /// host:port of the Raft listener.
    pub cluster_address: String,
    pub role: NodeRole,
    pub replication: Replication,
    pub state: NodeState,
    /// Empty: not known.
    pub version: String,
    /// None: never, or not known here. 0 for the node itself.
    pub last_contact_ms: Option<u64>,
    /// Last applied entry.
    pub log_term: u64,
    pub log_index: u64,
    /// How far behind the active node: received, durable, applied. None: not known here.
    pub write_lag_ms: Option<u64>,
    pub flush_lag_ms: Option<u64>,
    pub replay_lag_ms: Option<u64>,
    /// Since when this node replicates to it without a break.
    #[serde(skip)]
    pub connected_since: Option<Millis>,
    /// Of its machine; none where not known.
    #[serde(skip)]
    pub resources: Option<Resources>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeRole {
    Active,
    Standby,
    Witness,
}

/// The database's view. A witness takes part in replication without being a database server: `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replication {
    Master,
    Slave,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    Online,
    Offline,
    Stopped,
    CatchingUp,
    Retired,
}

/// A part of this node: whether it works now, and whether it would when it is this node's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    pub name: String,
    pub active: bool,
    pub enabled: bool,
}

/// RFC 3339 in UTC, as in `2026-11-23T02:08:55.120Z`.
#[must_use]
pub fn rfc3339(at: Millis) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    // Beyond the year 9999 there is nothing to show but the number.
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{} ms", at.0), |t| t.to_string())
}

/// The day (UTC) of a moment, as in RFC 3339.
pub fn date(at: Millis) -> String {
    let text = rfc3339(at);
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}

fn as_rfc3339<S: Serializer>(at: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_documented_one() {
        let status = ClusterStatus {
            cluster: ClusterState::NoQuorum,
            this_node: "primary-node".into(),
            version: "0.1.0".into(),
            epoch: 1,
            vip: VipStatus { addresses: vec!["10.0.0.12".into()], holder: None },
            heartbeat: Heartbeat::Disconnected,
            failure_tolerance: 0,
            verdict: "No quorum.".into(),
            failed_actions: vec![FailedAction {
                at: Millis(1_000),
                node: "primary-node".into(),
                what: "raise VIP".into(),
                why: "link down".into(),
            }],
            nodes: vec![NodeStatus {
                name: "primary-node".into(),
                public_address: "10.0.0.5".into(),
                cluster_address: "10.0.0.5:7441".into(),
                role: NodeRole::Standby,
                replication: Replication::None,
                state: NodeState::CatchingUp,
                version: "0.1.0".into(),
                last_contact_ms: Some(0),
                log_term: 2,
                log_index: 1234,
                write_lag_ms: None,
                flush_lag_ms: None,
                replay_lag_ms: Some(0),
                connected_since: Some(Millis(5)),
                resources: None,
            }],
            daemons: vec![Daemon { name: "raft".into(), active: true, enabled: true }],
            changing_since: Some(Millis(7)),
            conflict: vec!["a".into()],
        };
        let expected = serde_json::json!({
            "cluster": "no-quorum", "this_node": "primary-node", "version": "0.1.0", "epoch": 1,
            "vip": {"addresses": ["10.0.0.12"], "holder": null},
            "heartbeat": "disconnected", "failure_tolerance": 0, "verdict": "No quorum.",
            "failed_actions": [
                {"at": "1970-01-01T00:00:01Z", "node": "primary-node", "what": "raise VIP", "why": "link down"}],
            "nodes": [{"name": "primary-node", "public_address": "10.0.0.5", "cluster_address": "10.0.0.5:7441",
                "role": "standby", "replication": "none", "state": "catching-up", "version": "0.1.0",
                "last_contact_ms": 0, "log_term": 2, "log_index": 1234,
                "write_lag_ms": null, "flush_lag_ms": null, "replay_lag_ms": 0}],
        });
        assert_eq!(serde_json::to_value(&status).unwrap(), expected);
    }
}
