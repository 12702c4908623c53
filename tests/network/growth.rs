//! A server that becomes a cluster, changes its shape and becomes a server again, while products go on.

use super::cluster::{Cluster, PRIMARY, SECONDARY, THIRD, Topology, VIP, WITNESS, text, until};
use serde_json::Value;

#[test]
fn one_two_with_a_witness_three_and_back_without_registering_anything_again() {
    let Some(mut cluster) = Cluster::alone() else { return };
    cluster.licensed();
    // At the address of the server itself, which the primary keeps.
    cluster.register_at("router-1", "10.77.0.5");
    cluster.request("router-1", 1);
    cluster.add(SECONDARY);
    cluster.register("router-2");
    let mut count = 1;
    let mut both = |cluster: &Cluster| {
        count += 1;
        cluster.request("router-1", count);
        cluster.request("router-2", count);
        assert_eq!(cluster.in_use(PRIMARY), 2 * count);
    };
    both(&cluster);
    let tolerated = |cluster: &Cluster, failures: u64| {
        let is = |s: &Value| s["cluster"] == "normal" && s["failure_tolerance"] == failures;
        cluster.status(PRIMARY, &format!("{failures} failures tolerated"), is);
    };
    tolerated(&cluster, 0);
    cluster.add(WITNESS);
    tolerated(&cluster, 1);
    both(&cluster);
    cluster.add(THIRD);
    cluster.run(PRIMARY, &["ha", "remove", WITNESS, "--yes"]);
    tolerated(&cluster, 1);
    both(&cluster);
    // The service goes round and comes back.
    cluster.run(PRIMARY, &["ha", "switchover", "--to", THIRD]);
    cluster.held_by(THIRD, THIRD);
    cluster.request("router-2", 9);
    cluster.run(THIRD, &["ha", "switchover", "--to", PRIMARY]);
    cluster.held_by(PRIMARY, PRIMARY);
    for node in [THIRD, SECONDARY] {
        cluster.run(PRIMARY, &["ha", "remove", node, "--yes"]);
        tolerated(&cluster, 0);
        both(&cluster);
    }
    cluster.run(PRIMARY, &["ha", "teardown", "--yes"]);
    cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    until("the address gone", || !cluster.host(PRIMARY).has(VIP));
    cluster.request("router-1", 9);
}

#[test]
fn of_three_any_one_may_die_and_a_stop_needs_no_name() {
    let Some(mut cluster) = Cluster::of(Topology::Three) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.kill(PRIMARY);
    let other = |s: &Value, than: &str| s["vip"]["holder"].as_str().is_some_and(|holder| holder != than);
    let active = text(&cluster.status(SECONDARY, "another active node", |s| other(s, PRIMARY))["vip"], "holder");
    cluster.request("router-1", 2);
    cluster.start(PRIMARY);
    cluster.normal();
    // Planned: whoever is fittest takes over, without a third one's vote in danger.
    cluster.run(&active, &["ha", "stop", "--yes"]);
    let next = text(&cluster.status(PRIMARY, "another active node", |s| other(s, &active))["vip"], "holder");
    cluster.request("router-1", 3);
    cluster.run(&active, &["ha", "start"]);
    cluster.normal();
    let report = cluster.json(&next, &["ha", "drill", "--yes"]);
    assert_eq!(report["equal_digests"], 3, "{report}");
    assert_eq!(cluster.in_use(PRIMARY), 3);
}
