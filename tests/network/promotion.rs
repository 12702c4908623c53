//! Going on without a quorum: what an operator may confirm, what becomes of the others, and the end of a conflict.

use super::cluster::{Cluster, PRIMARY, SECONDARY, VIP, WITNESS, until};
use super::lab::Net;
use serde_json::{Value, json};
use std::path::PathBuf;

const PROMOTE: [&str; 3] = ["ha", "promote", "--yes"];
const ACCEPT: [&str; 4] = ["ha", "promote", "--yes", "--accept-data-loss"];

fn set_aside(cluster: &Cluster, node: &str) -> Vec<Value> {
    cluster.json(node, &["ha", "set-aside", "list"]).as_array().unwrap().clone()
}

/// The sealing key in what a node has set aside.
fn key(cluster: &Cluster, node: &str) -> PathBuf {
    let name = set_aside(cluster, node)[0]["name"].as_str().unwrap().to_owned();
    cluster.folder(node).join("data/set-aside").join(name).join("sealing.key")
}

/// All replicas are equal, by the program's own check.
fn equal(cluster: &Cluster, node: &str) {
    let checks = cluster.json(node, &["doctor"]);
    let failed = |row: &&Value| row["result"] == "failed";
    assert_eq!(checks.as_array().unwrap().iter().find(failed), None, "{checks}");
}

#[test]
fn the_survivor_of_two_goes_on_and_the_other_one_rejoins() {
    let Some(mut cluster) = Cluster::two_alone() else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    let said = cluster.refused(SECONDARY, &PROMOTE);
    assert!(said.contains("a quorum answers"), "{said}");
    cluster.kill(PRIMARY);
    let status = cluster.status(SECONDARY, "no quorum", |s| s["cluster"] == "no-quorum");
    assert!(status["verdict"].as_str().unwrap().contains("`licraft ha promote`"), "{status}");
    let said = cluster.refused(SECONDARY, &["ha", "promote"]);
    assert!(said.contains("only when primary-node cannot serve now") && !said.contains("data-loss"), "{said}");
    cluster.run(SECONDARY, &PROMOTE);
    let status = cluster.held_by(SECONDARY, SECONDARY);
    assert_eq!((&status["epoch"], &status["failure_tolerance"]), (&json!(2), &json!(0)), "{status}");
    cluster.request("router-1", 5);
    cluster.event(SECONDARY, "was promoted without a quorum");
    let history = cluster.json(SECONDARY, &["ha", "history"]);
    let newest = history.as_array().unwrap().last().unwrap();
    assert_eq!(newest["cause"], "secondary-node was promoted without a quorum", "{history}");

    cluster.start(PRIMARY);
    cluster.normal();
    let status = cluster.held_by(PRIMARY, SECONDARY);
    assert_eq!(status["epoch"], 2);
    assert_eq!(cluster.in_use(PRIMARY), 5);
    equal(&cluster, SECONDARY);
    for (node, why) in [(PRIMARY, "gave way to secondary-node"), (SECONDARY, "was promoted without a quorum")] {
        let [kept] = set_aside(&cluster, node).try_into().unwrap();
        assert!(kept["epoch"] == 1 && kept["why"].as_str().unwrap().contains(why), "{kept}");
    }
    // The same server for central, and each can take over from the other again.
    cluster.run(SECONDARY, &["sync", "now", "--account", "TEST-1"]);
    cluster.run(SECONDARY, &["ha", "switchover"]);
    cluster.held_by(SECONDARY, PRIMARY);
    cluster.request("router-1", 6);

    // Data of the old epoch does no harm when it is put back. The node has voted in the new one, so it must not rejoin
    // that without knowing for whom.
    let name = |kept: &Value| kept["name"].as_str().unwrap().to_owned();
    let old = name(&set_aside(&cluster, SECONDARY)[0]);
    cluster.run(SECONDARY, &["ha", "set-aside", "restore", &old, "--yes"]);
    cluster.status(SECONDARY, "why it cannot rejoin", |s| s["verdict"].as_str().unwrap().contains("cannot rejoin"));
    let [newer] = set_aside(&cluster, SECONDARY).try_into().unwrap();
    assert_eq!(newer["epoch"], 2, "{newer}");
    cluster.run(SECONDARY, &["ha", "set-aside", "restore", &name(&newer), "--yes"]);
    cluster.normal();
    cluster.request("router-1", 7);
    assert_eq!(cluster.in_use(SECONDARY), 7);
    for kept in set_aside(&cluster, SECONDARY) {
        cluster.run(SECONDARY, &["ha", "set-aside", "delete", &name(&kept), "--yes"]);
    }
    assert_eq!(set_aside(&cluster, SECONDARY).len(), 0);
}

#[test]
fn the_survivor_of_three_is_promoted_only_by_one_who_accepts_the_loss() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    for (node, why) in [(PRIMARY, "a quorum answers"), (WITNESS, "a witness cannot be promoted")] {
        let said = cluster.refused(node, &ACCEPT);
        assert!(said.contains(why), "{said}");
    }
    // Through a witness one may look, but change nothing.
    cluster.run(WITNESS, &["license", "list"]);
    let said = cluster.refused(WITNESS, &["token", "create", "--account", "TEST-1"]);
    assert!(said.contains("run this on a data node"), "{said}");
    cluster.kill(SECONDARY);
    cluster.kill(WITNESS);
    cluster.status(PRIMARY, "no quorum", |s| s["cluster"] == "no-quorum");
    let said = cluster.refused(PRIMARY, &PROMOTE);
    assert!(said.contains("granted after") && said.contains("--accept-data-loss"), "{said}");
    assert_eq!(cluster.status(PRIMARY, "no quorum", |s| s["cluster"] == "no-quorum")["epoch"], 1);
    cluster.run(PRIMARY, &ACCEPT);
    cluster.held_by(PRIMARY, PRIMARY);
    cluster.request("router-1", 3);
    for node in [SECONDARY, WITNESS] {
        cluster.start(node);
    }
    cluster.normal();
    let status = cluster.status(SECONDARY, "one failure tolerated", |s| s["failure_tolerance"] == 1);
    assert_eq!(status["epoch"], 2);
    equal(&cluster, PRIMARY);
    // What was set aside has the cluster's keys only as long as the node is a member.
    assert!(key(&cluster, SECONDARY).exists());
    // The witness votes again: with it the standby takes over.
    cluster.kill(PRIMARY);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.request("router-1", 4);
    cluster.start(PRIMARY);
    cluster.normal();
    cluster.run(PRIMARY, &["ha", "teardown", "--yes"]);
    cluster.status(PRIMARY, "a retired node", |s| s["cluster"] == "retired");
    assert!(!key(&cluster, PRIMARY).exists(), "a retired node still has the keys of the cluster");
}

#[test]
fn a_node_that_cannot_know_is_promoted_only_by_one_who_accepts_the_loss() {
    let Some(mut cluster) = Cluster::two_alone() else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    // It left in order, and so has no vote and not what was granted since.
    cluster.run(SECONDARY, &["ha", "stop", "--yes"]);
    cluster.held_by(PRIMARY, PRIMARY);
    cluster.request("router-1", 7);
    cluster.kill(PRIMARY);
    cluster.run(SECONDARY, &["ha", "start"]);
    cluster.status(SECONDARY, "no quorum", |s| s["cluster"] == "no-quorum");
    let said = cluster.refused(SECONDARY, &PROMOTE);
    assert!(said.contains("granted after") && said.contains("this node had no vote"), "{said}");
    cluster.run(SECONDARY, &ACCEPT);
    cluster.held_by(SECONDARY, SECONDARY);
    assert_eq!(cluster.in_use(SECONDARY), 2, "it knows of what it did not get");
    cluster.start(PRIMARY);
    cluster.normal();
    assert_eq!(cluster.in_use(PRIMARY), 2);
    let [kept] = set_aside(&cluster, PRIMARY).try_into().unwrap();
    assert_eq!(kept["why"], "gave way to secondary-node, which was promoted to epoch 2");

    // Both have a vote, but one that has just started cannot know whether the other was promoted meanwhile.
    for node in [PRIMARY, SECONDARY] {
        cluster.kill(node);
    }
    cluster.start(PRIMARY);
    cluster.status(PRIMARY, "no quorum", |s| s["cluster"] == "no-quorum");
    let said = cluster.refused(PRIMARY, &PROMOTE);
    assert!(said.contains("has not seen secondary-node since it started"), "{said}");
}

#[test]
fn two_that_were_both_promoted_keep_all_until_the_operator_decides() {
    for keep_the_one_that_yields in [false, true] {
        let Some(mut cluster) = Cluster::two_alone() else { return };
        cluster.licensed();
        cluster.register("router-1");
        cluster.request("router-1", 2);
        let primary = cluster.host(PRIMARY);
        cluster.lab.connect(&primary, Net::Private, false);
        for node in [PRIMARY, SECONDARY] {
            cluster.status(node, "no quorum", |s| s["cluster"] == "no-quorum");
        }
        for node in [PRIMARY, SECONDARY] {
            cluster.run(node, &PROMOTE);
            cluster.held_by(node, node);
            // Each on its own, a new account that the other does not know.
            cluster.run(node, &["account", "request", node, "--smart-account", "Corp", "--virtual-account", node]);
        }
        cluster.lab.connect(&primary, Net::Private, true);
        for node in [PRIMARY, SECONDARY] {
            let status = cluster.status(node, "the conflict", |s| {
                s["verdict"].as_str().is_some_and(|v| v.starts_with("Conflict: ") && v.contains("--keep NODE"))
            });
            assert_eq!(status["cluster"], "degraded");
            assert!(cluster.run_any(node, &["ha", "status"]).contains("Database replication is in conflict"));
            assert!(cluster.refused(node, &ACCEPT).contains("were both promoted"));
        }
        let serves = |node: &str| cluster.ready(if node == PRIMARY { "10.77.0.5" } else { "10.77.0.10" }) == Some(200);
        let [one, other] = if serves(PRIMARY) { [PRIMARY, SECONDARY] } else { [SECONDARY, PRIMARY] };
        assert!(serves(one) && !serves(other), "two serve, or none");
        until("one holder", || cluster.host(one).has(VIP) && !cluster.host(other).has(VIP));
        // Not even for a moment after a restart.
        cluster.terminate(other);
        let observer = super::observer::Observer::start(&cluster);
        cluster.start(other);
        cluster.status(other, "the conflict after a restart", |s| s["verdict"].as_str().unwrap().contains("Conflict"));
        for count in 3..6 {
            cluster.request("router-1", count);
        }
        observer.end().one_by_one(&[one]);
        assert!(cluster.refused(one, &["ha", "resolve", "--keep", "x", "--yes"]).contains("not one of the two"));

        let keep = if keep_the_one_that_yields { other } else { one };
        // Asked on the node that is not kept, which passes it on.
        let gives_way = if keep == PRIMARY { SECONDARY } else { PRIMARY };
        cluster.run(gives_way, &["ha", "resolve", "--keep", keep, "--yes"]);
        cluster.normal();
        let status = cluster.held_by(gives_way, keep);
        assert_eq!(status["epoch"], 3);
        let accounts = cluster.json(keep, &["account", "list"]);
        let has = |name: &str| accounts.as_array().unwrap().iter().any(|row| row["account"] == name);
        assert!(has(keep) && !has(gives_way), "{accounts}");
        equal(&cluster, keep);
        // Nothing is lost for good.
        let kept = set_aside(&cluster, gives_way);
        assert!(kept.iter().any(|k| k["epoch"] == 2 && k["why"].as_str().unwrap().contains("gave way")), "{kept:?}");
        assert!(cluster.refused(keep, &["ha", "resolve", "--keep", keep, "--yes"]).contains("no conflict"));
    }
}
