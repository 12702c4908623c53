//! Each case of the operator's table, word by word.

use super::*;
use crate::admin::{Daemon, FailedAction, Heartbeat, VipStatus};
use crate::license::Millis;
use snapbox::{assert_data_eq, str};

const SINCE: Millis = Millis(1_790_000_000_000);

fn node(name: &str, host: u8, role: NodeRole, replication: Replication) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        public_address: format!("192.168.1.{host}"),
        cluster_address: format!("10.0.0.{host}:7441"),
        role,
        replication,
        state: NodeState::Online,
        version: "0.1.0".into(),
        last_contact_ms: Some(12),
        log_term: 2,
        log_index: 0x053C_DB68,
        write_lag_ms: Some(0),
        flush_lag_ms: Some(0),
        replay_lag_ms: Some(3),
        connected_since: Some(SINCE),
        resources: None,
    }
}

/// All well, as the primary sees it.
fn normal() -> ClusterStatus {
    let daemon = |name: &str| Daemon { name: name.into(), active: true, enabled: true };
    ClusterStatus {
        cluster: ClusterState::Normal,
        this_node: "primary-node".into(),
        version: "0.1.0".into(),
        epoch: 1,
        vip: VipStatus { addresses: vec!["192.168.1.12".into()], holder: Some("primary-node".into()) },
        heartbeat: Heartbeat::Connected,
        failure_tolerance: 1,
        verdict: "Cluster is normal. 1 failure tolerated. secondary-node is in sync and safe to promote.".into(),
        failed_actions: Vec::new(),
        nodes: vec![
            node("primary-node", 5, NodeRole::Active, Replication::Master),
            node("secondary-node", 10, NodeRole::Standby, Replication::Slave),
            node("witness", 15, NodeRole::Witness, Replication::None),
        ],
        daemons: ["raft", "vip", "https", "sync"].map(daemon).into(),
        changing_since: None,
        conflict: Vec::new(),
    }
}

/// The same cluster as another of its nodes sees it.
fn seen_from(name: &str) -> ClusterStatus {
    let mut status = ClusterStatus { this_node: name.into(), ..normal() };
    for daemon in status.daemons.iter_mut().skip(1) {
        daemon.active = false;
    }
    status
}

fn degraded(change: impl FnOnce(&mut Vec<NodeStatus>), verdict: &str) -> ClusterStatus {
    let mut status =
        ClusterStatus { cluster: ClusterState::Degraded, failure_tolerance: 0, verdict: verdict.into(), ..normal() };
    change(&mut status.nodes);
    status
}

/// What lies between the two headings.
fn replication_part(status: &ClusterStatus) -> String {
    let text = render_status(status);
    let from = text.find("Database Replication Status:").unwrap();
    let to = text.find("Replication from master:").unwrap();
    text[from..to].to_owned()
}

#[test]
fn normal_on_the_master() {
    assert_data_eq!(
        render_status(&normal()),
        str![[r#"
Node Status:
  primary-node: Online
  secondary-node: Online
  witness: Online

Daemon Status:
  raft: active/enabled
  vip: active/enabled
  https: active/enabled
  sync: active/enabled

Database Replication Status:
============================
Database is currently the replication master - Replicating to secondary-node (192.168.1.10)

Replication to slave:
 client_addr |    backend_start     |   state   |  write_lag   |  flush_lag   |  replay_lag
-------------+----------------------+-----------+--------------+--------------+--------------
 10.0.0.10   | 2026-09-21T14:13:20Z | streaming | 00:00:00.000 | 00:00:00.000 | 00:00:00.003
(1 row)

Replication from master:
 pg_last_xlog_replay_location
------------------------------
 2/53CDB68
(1 row)

Cluster is normal. 1 failure tolerated. secondary-node is in sync and safe to promote.

"#]]
    );
}

#[test]
fn normal_on_the_slave() {
    assert_data_eq!(
        render_status(&seen_from("secondary-node")),
        str![[r#"
Node Status:
  primary-node: Online
  secondary-node: Online
  witness: Online

Daemon Status:
  raft: active/enabled
  vip: inactive/enabled
  https: inactive/enabled
  sync: inactive/enabled

Database Replication Status:
============================
Database is currently the replication slave - Replicating from primary-node (192.168.1.5)

Replication to slave:
 client_addr | backend_start | state | write_lag | flush_lag | replay_lag
-------------+---------------+-------+-----------+-----------+------------
(0 rows)

Replication from master:
 pg_last_xlog_replay_location
------------------------------
 2/53CDB68
(1 row)

Cluster is normal. 1 failure tolerated. secondary-node is in sync and safe to promote.

"#]]
    );
}

#[test]
fn normal_on_the_witness() {
    let part = replication_part(&seen_from("witness"));
    assert!(
        part.contains("Database is not served by a witness - Log replicating from primary-node (192.168.1.5)"),
        "{part}"
    );
    assert!(part.contains("(0 rows)"), "{part}");
}

#[test]
fn several_peers_are_all_named() {
    let mut status = normal();
    status.nodes.push(node("third-node", 20, NodeRole::Standby, Replication::Slave));
    let part = replication_part(&status);
    assert!(part.contains("Replicating to secondary-node (192.168.1.10), third-node (192.168.1.20)\n"), "{part}");
    assert!(part.contains("(2 rows)"), "{part}");
}

#[test]
fn degraded_peer_off() {
    let status = degraded(
        |nodes| {
            let peer = &mut nodes[1];
            peer.state = NodeState::Offline;
            peer.replication = Replication::None;
            peer.connected_since = None;
            (peer.write_lag_ms, peer.flush_lag_ms, peer.replay_lag_ms) = (None, None, None);
        },
        "Cluster is degraded. 0 failures tolerated. secondary-node is offline: bring it back.",
    );
    assert_data_eq!(
        replication_part(&status),
        str![[r#"
Database Replication Status:
============================
Database is currently the replication master - Not replicating: secondary-node (192.168.1.10) is Offline

Replication to slave:
 client_addr | backend_start | state | write_lag | flush_lag | replay_lag
-------------+---------------+-------+-----------+-----------+------------
 10.0.0.10   |               | lost  |           |           |
(1 row)


"#]]
    );
    assert!(render_status(&status).contains("  secondary-node: Offline\n"));
}

#[test]
fn peer_catching_up() {
    let status = degraded(
        |nodes| {
            nodes[1].state = NodeState::CatchingUp;
            nodes[1].replay_lag_ms = Some(3_723_004);
        },
        "Cluster is degraded. secondary-node is catching up: 120,000 entries behind.",
    );
    let text = render_status(&status);
    assert!(text.contains("  secondary-node: Catching up\n"), "{text}");
    assert!(text.contains("Replicating to secondary-node (192.168.1.10)\n"), "{text}");
    assert!(text.contains("| catchup | 00:00:00.000 | 00:00:00.000 | 01:02:03.004\n(1 row)"), "{text}");
    assert!(text.ends_with("secondary-node is catching up: 120,000 entries behind.\n"), "{text}");
}

#[test]
fn witness_off() {
    let status = degraded(
        |nodes| nodes[2].state = NodeState::Offline,
        "Cluster is degraded. witness is offline: no failure of a data node is tolerated until it is back.",
    );
    let text = render_status(&status);
    assert!(text.contains("  witness: Offline\n"), "{text}");
    assert_eq!(replication_part(&status), replication_part(&normal()));
}

#[test]
fn no_quorum() {
    let mut status = seen_from("secondary-node");
    status.cluster = ClusterState::NoQuorum;
    status.heartbeat = Heartbeat::Disconnected;
    status.verdict = "No quorum since primary-node and witness are offline: bring one of them back.".into();
    for node in &mut status.nodes {
        node.replication = Replication::None;
        if node.name != "secondary-node" {
            node.state = NodeState::Offline;
        }
    }
    let part = replication_part(&status);
    assert!(part.contains("Database is currently without a replication master - no quorum"), "{part}");
    assert!(part.contains("(0 rows)"), "{part}");
    assert!(render_status(&status).ends_with("bring one of them back.\n"));
}

#[test]
fn changing_over() {
    let mut status = seen_from("secondary-node");
    status.cluster = ClusterState::Degraded;
    status.changing_since = Some(SINCE);
    for node in &mut status.nodes {
        node.replication = if node.role == NodeRole::Witness { Replication::None } else { Replication::Slave };
    }
    let part = replication_part(&status);
    let sentence = "Database roles are changing since 2026-09-21T14:13:20Z - no node is master at this moment";
    assert!(part.contains(sentence), "{part}");
    assert!(!part.contains("slave -"), "never two slaves and no word why: {part}");
}

#[test]
fn conflict() {
    let mut status = normal();
    status.cluster = ClusterState::Degraded;
    status.conflict = vec!["primary-node".into(), "secondary-node".into()];
    let part = replication_part(&status);
    assert!(
        part.contains(
            "in conflict - primary-node and secondary-node were both promoted; `licraft ha resolve --keep NODE` ends it"
        ),
        "{part}"
    );
}

#[test]
fn failed_actions_come_first() {
    let mut status = normal();
    status.failed_actions = vec![FailedAction {
        at: SINCE,
        node: "secondary-node".into(),
        what: "raising the VIP".into(),
        why: "ens192 is down".into(),
    }];
    let text = render_status(&status);
    let expected = "Failed Actions:\n  2026-09-21T14:13:20Z secondary-node: raising the VIP failed: ens192 is down\n\nNode Status:\n";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn stopped() {
    let mut status = normal();
    status.cluster = ClusterState::Stopped;
    status.verdict = "The cluster part of this node is stopped. Bring it back with `licraft ha start`.".into();
    assert_data_eq!(
        render_status(&status),
        str![[r#"
Error: cluster is not currently running on this node

Database Replication Status:
============================
DB service not currently running.

The cluster part of this node is stopped. Bring it back with `licraft ha start`.

"#]]
    );
}

#[test]
fn standalone() {
    let mut status = normal();
    status.cluster = ClusterState::Standalone;
    status.verdict = "This node serves stand-alone.".into();
    assert_data_eq!(
        render_status(&status),
        str![[r#"
Error: cluster is not currently running on this node

Database Replication Status:
============================
HA is not enabled.

This node serves stand-alone.

"#]]
    );
}

#[test]
fn retired_and_uninitialised() {
    let mut status = normal();
    status.cluster = ClusterState::Retired;
    assert!(render_status(&status).contains("Database is read-only: this node was retired from the cluster.\n"));
    status.cluster = ClusterState::Uninitialised;
    status.verdict = "This node has no data. Run `licraft init`, or `licraft ha provision-standby` to join.".into();
    let text = render_status(&status);
    assert!(text.starts_with("Error: cluster is not currently running on this node\n"), "{text}");
    assert!(text.contains("DB service not currently running.\n\nThis node has no data."), "{text}");
}

#[test]
fn without_a_daemon() {
    let error = CliError::cluster("no node answers").because("nothing listens on /a").hint("start it");
    assert_data_eq!(
        render_unreachable(&error),
        str![[r#"
Error: cluster is not currently running on this node

Database Replication Status:
============================
DB service not currently running.

The node's daemon does not answer: nothing listens on /a.
Try: start it

"#]]
    );
}

#[test]
fn the_status_survives_the_wire() {
    let mut status = normal();
    status.nodes[1].state = NodeState::CatchingUp;
    status.changing_since = Some(SINCE);
    status.conflict = vec!["a".into()];
    let message = crate::proto::admin::ClusterStatus::from(status.clone());
    assert_eq!(ClusterStatus::from(message), status);
}
