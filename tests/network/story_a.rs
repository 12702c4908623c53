//! Story A: accounts and synchronization through failover and fallback.

use super::cluster::{Cluster, PRIMARY, SECONDARY, Topology, VIP, until};
use super::observer::Observer;
use serde_json::Value;

#[test]
fn accounts_and_synchronization_through_failover_and_fallback() {
    for topology in Topology::wanted() {
        story(*topology);
    }
}

fn story(topology: Topology) {
    let Some(mut cluster) = Cluster::of(topology) else { return };
    let standbys = match topology {
        Topology::Three => "secondary-node and third-node are in sync and safe to promote.",
        _ => "secondary-node is in sync and safe to promote.",
    };
    let observer = Observer::start(&cluster);
    cluster.licensed();

    // 1. Primary Active, secondary Standby, positions equal.
    let status = cluster.run(PRIMARY, &["ha", "status"]);
    for line in [
        "primary-node: Online",
        "secondary-node: Online",
        "vip: active/enabled",
        "Database is currently the replication master - Replicating to secondary-node (10.77.0.10)",
        standbys,
    ] {
        assert!(status.contains(line), "no {line:?} in\n{status}");
    }
    let standby = cluster.run(SECONDARY, &["ha", "status"]);
    for line in [
        "vip: inactive/enabled",
        "Database is currently the replication slave - Replicating from primary-node (10.77.0.5)",
    ] {
        assert!(standby.contains(line), "no {line:?} in\n{standby}");
    }
    equal_positions(&cluster);
    assert_eq!(cluster.ready(VIP), Some(200));
    assert_eq!(cluster.ready("10.77.0.10"), Some(503), "a standby serves");
    cluster.register("router-1");
    cluster.request("router-1", 2);

    // 2. A synchronization succeeds.
    let first = synchronized(&cluster, PRIMARY, "TEST-1", None);

    // 3. `ha stop` on the primary: the address answers from the secondary.
    let said = cluster.run(PRIMARY, &["ha", "stop", "--yes"]);
    for line in ["Stopping Cluster (vip)...", "Stopping Cluster (raft)..."] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    cluster.held_by(SECONDARY, SECONDARY);
    // Of three, two data nodes still hear each other.
    let heartbeat = if topology == Topology::Three { "connected" } else { "disconnected" };
    cluster.status(SECONDARY, "the primary gone", |s| s["cluster"] == "degraded" && s["heartbeat"] == heartbeat);
    let stopped = cluster.run_any(PRIMARY, &["ha", "status"]);
    assert!(stopped.contains("Error: cluster is not currently running on this node"), "{stopped}");
    assert!(stopped.contains("DB service not currently running."), "{stopped}");
    assert_eq!(cluster.ready(VIP), Some(200));
    assert_eq!(cluster.ready("10.77.0.5"), None, "a stopped node's pages are gone");
    cluster.request("router-1", 3);

    // 4. The secondary synchronizes, as the same server.
    let second = synchronized(&cluster, SECONDARY, "TEST-1", Some(&first));

    // 5. `ha start` on the primary: it is Standby, nothing falls back.
    let said = cluster.run(PRIMARY, &["ha", "start"]);
    for line in ["Starting Cluster (raft)...", "Starting Cluster (vip)..."] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    cluster.normal();
    cluster.held_by(PRIMARY, SECONDARY);

    // 6. An account is requested, approved and active while the secondary leads.
    cluster.account("TEST");
    assert_eq!(cluster.json(SECONDARY, &["account", "list"]).as_array().unwrap().len(), 2);

    // 7. Fallback: the account is there with its dates.
    let tested = synchronized(&cluster, SECONDARY, "TEST", None);
    cluster.run(SECONDARY, &["ha", "stop", "--yes"]);
    cluster.held_by(PRIMARY, PRIMARY);
    assert_eq!(last_synchronization(&cluster, PRIMARY, "TEST"), tested);
    assert_eq!(last_synchronization(&cluster, PRIMARY, "TEST-1"), second);
    assert_eq!(cluster.in_use(PRIMARY), 3);

    // 8. The secondary starts again; TEST synchronizes with a later time.
    cluster.run(SECONDARY, &["ha", "start"]);
    cluster.normal();
    equal_positions(&cluster);
    synchronized(&cluster, PRIMARY, "TEST", Some(&tested));

    observer.end().one_by_one(&[PRIMARY, SECONDARY, PRIMARY]);
}

/// Both nodes have applied the same, and say so from either side.
fn equal_positions(cluster: &Cluster) {
    until("equal positions", || {
        let position = |node| {
            let said = cluster.run(node, &["ha", "status"]);
            let after = said.split("pg_last_xlog_replay_location").nth(1).unwrap().to_owned();
            after.lines().map(str::trim).find(|line| line.contains('/')).unwrap().to_owned()
        };
        position(PRIMARY) == position(SECONDARY)
    });
}

/// Synchronizes an account; its date must have moved.
fn synchronized(cluster: &Cluster, node: &str, account: &str, before: Option<&Value>) -> Value {
    cluster.run(node, &["sync", "now", "--account", account]);
    let last = last_synchronization(cluster, node, account);
    assert!(last.is_string(), "{account} was never synchronized: {last}");
    if let Some(before) = before {
        assert!(last.as_str() > before.as_str(), "{account}: {last} is not after {before}");
    }
    last
}

fn last_synchronization(cluster: &Cluster, node: &str, account: &str) -> Value {
    let list = cluster.json(node, &["sync", "status"]);
    let row = list.as_array().unwrap().iter().find(|row| row["name"] == account || row["account"] == account);
    row.unwrap_or_else(|| panic!("{account} is not in {list}"))["last_synchronization"].clone()
}
