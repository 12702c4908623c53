//! Story C: back to stand-alone, and members that are removed and replaced.

use super::cluster::{Cluster, PRIMARY, SECONDARY, Topology, VIP, WITNESS, until};
use serde_json::{Value, json};

const DESTROYED: &str = "HA cluster has been destroyed. SSM is now in stand-alone mode.";

/// It holds the data, but no key of the cluster, and stays so.
fn retired(cluster: &mut Cluster, node: &str) {
    let status = cluster.status(node, "a retired node", |s| s["cluster"] == "retired");
    assert_eq!(status["nodes"], json!([]));
    let said = cluster.run_any(node, &["ha", "status"]);
    assert!(said.contains("Error: cluster is not currently running on this node"), "{said}");
    assert!(said.contains("this node was retired from the cluster"), "{said}");
    for key in ["sealing.key", "cluster-ca.key", "node.key"] {
        assert!(!cluster.folder(node).join("data").join(key).exists(), "{node} still has {key}");
    }
    assert!(cluster.refused(node, &["ha", "start"]).contains("this node is retired"));
    if node != WITNESS {
        shown(cluster, node);
    }
    cluster.terminate(node);
    cluster.start(node);
    cluster.status(node, "a retired node after a restart", |s| s["cluster"] == "retired");
    if node != WITNESS {
        shown(cluster, node);
    }
}

/// Its pages are on its own address, and products are told that it issues nothing.
fn shown(cluster: &Cluster, node: &str) {
    let address = cluster.host(node).address().to_string();
    let page = |url: &str| cluster.page(&format!("https://{address}{url}"));
    until("its pages", || page(":8443/sign-in").contains("Sign in"));
    assert_eq!(cluster.ready(&address), Some(503));
    assert!(page("/SmartTransport").contains("this node is retired and issues no licenses; the virtual address was"));
    assert_eq!(cluster.in_use(node), 3, "it does not know what it knew");
    let said = cluster.refused(node, &["account", "deactivate", "TEST-1", "--reason", "test", "--yes"]);
    assert!(said.contains("this node is retired"), "{said}");
}

#[test]
fn the_active_node_ends_the_cluster_and_serves_on_alone() {
    for topology in Topology::wanted() {
        end_of_the_cluster(*topology);
    }
}

fn end_of_the_cluster(topology: Topology) {
    let Some(mut cluster) = Cluster::of(topology) else { return };
    let others = &topology.nodes()[1..];
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 3);
    let said = cluster.run_any(PRIMARY, &["ha", "teardown", "--yes"]);
    let will = format!("{} will be retired", others.join(" and "));
    for line in [
        "WARNING: You are about to destroy the HA cluster configuration and convert this service node into stand-alone \
         mode without a cluster.",
        &will,
        "Giving up the virtual address...",
        DESTROYED,
    ] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    for node in others {
        assert!(said.contains(&format!("Retiring {node}...")), "{said}");
        retired(&mut cluster, node);
    }
    let status = cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    assert_eq!(status["vip"]["addresses"], json!([]), "{status}");
    assert!(cluster.run_any(PRIMARY, &["ha", "status"]).contains("HA is not enabled."));
    until("the address gone", || !cluster.host(PRIMARY).has(VIP));
    until("an answer at the node's own address", || cluster.ready("10.77.0.5") == Some(200));
    assert_eq!(cluster.in_use(PRIMARY), 3);
    assert!(cluster.refused(PRIMARY, &["ha", "teardown", "--yes"]).contains("HA is not enabled."));
    // It goes on alone through a restart, and can be made a cluster again with the same machines.
    cluster.terminate(PRIMARY);
    cluster.start(PRIMARY);
    cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    for node in others {
        cluster.join(node, &["--replace"]);
        assert!(cluster.folder(node).join("data").join("set-aside").exists());
    }
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
    cluster.normal();
    cluster.request("router-1", 4);
    for node in cluster.data_nodes() {
        assert_eq!(cluster.in_use(node), 4);
    }
}

#[test]
fn a_standby_that_is_torn_down_retires_and_the_active_node_goes_on() {
    for topology in Topology::wanted() {
        end_of_a_standby(*topology);
    }
}

fn end_of_a_standby(topology: Topology) {
    let Some(mut cluster) = Cluster::of(topology) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 3);
    let said = cluster.run_any(SECONDARY, &["ha", "teardown", "--yes"]);
    for line in ["This node will be retired", "primary-node goes on with the virtual address.", DESTROYED] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    retired(&mut cluster, SECONDARY);
    cluster.request("router-1", 2);
    let status = cluster.status(PRIMARY, "a cluster without it", |s| s["cluster"] == "normal");
    assert_eq!(status["nodes"].as_array().unwrap().len(), topology.nodes().len() - 1, "{status}");
    assert_eq!(status["vip"]["holder"], PRIMARY);
    // Its own teardown comes last, and gives the address up.
    cluster.run(PRIMARY, &["ha", "teardown", "--yes"]);
    cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    until("the address gone", || !cluster.host(PRIMARY).has(VIP));
    assert_eq!(cluster.in_use(PRIMARY), 2);
}

#[test]
fn a_dead_node_is_removed_and_replaced_under_its_name() {
    for topology in Topology::wanted() {
        replacement(*topology);
    }
}

fn replacement(topology: Topology) {
    let Some(mut cluster) = Cluster::of(topology) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    assert!(cluster.refused(PRIMARY, &["ha", "remove", PRIMARY, "--yes"]).contains("is the active node"));
    assert!(cluster.refused(PRIMARY, &["ha", "remove", "nobody", "--yes"]).contains("no member called nobody"));
    cluster.kill(SECONDARY);
    if topology == Topology::TwoAlone {
        cluster.status(PRIMARY, "no quorum", |s| s["cluster"] == "no-quorum");
        cluster.run(PRIMARY, &["ha", "promote", "--yes"]);
    }
    let said = cluster.run_any(PRIMARY, &["ha", "remove", SECONDARY, "--yes"]);
    assert!(said.contains("secondary-node does not answer") && said.contains("is no member any more"), "{said}");
    // The same machine, started again by mistake, takes part in nothing.
    cluster.start(SECONDARY);
    let without = |s: &Value| s["nodes"].as_array().unwrap().iter().all(|node| node["name"] != SECONDARY);
    cluster.status(PRIMARY, "a cluster without it", |s| s["cluster"] == "normal" && without(s));
    cluster.request("router-1", 3);
    cluster.join(SECONDARY, &["--replace"]);
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
    cluster.normal();
    assert_eq!(cluster.in_use(SECONDARY), 3);
    cluster.run(PRIMARY, &["ha", "switchover", "--to", SECONDARY]);
    cluster.held_by(SECONDARY, SECONDARY);
}
