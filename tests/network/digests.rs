//! Replicas whose data differs, because a program or a disk was at fault: that is noticed, and the minority goes.

use super::cluster::{Cluster, PRIMARY, SECONDARY, VIP, WITNESS, until};
use aws_lc_rs::digest;
use std::fs;

/// Of a key and a value in the image's sum, as `store::image` has it.
fn weight(key: &[u8], value: &[u8]) -> u64 {
    let whole = [&(key.len() as u64).to_le_bytes(), key, value].concat();
    u64::from_le_bytes(*digest::digest(&digest::SHA256, &whole).as_ref().first_chunk().unwrap())
}

/// Changes the description of a registration token in the image of a node that has ended, so that no sum shows it.
fn tamper(cluster: &Cluster, node: &str) {
    let images = cluster.folder(node).join("data/raft/image");
    let generation = fs::read_to_string(images.join("CURRENT")).unwrap();
    let image = sled::open(images.join(generation.trim_end())).unwrap();
    let place = |value: &[u8]| value.windows(3).position(|part| part == b"lab");
    let (key, before) = image.iter().map(Result::unwrap).find(|(_, value)| place(value).is_some()).unwrap();
    let mut after = before.to_vec();
    after[place(&before).unwrap()..][..3].copy_from_slice(b"LAB");
    let mut position = image.get([0]).unwrap().unwrap().to_vec();
    let sum = u64::from_le_bytes(*position[2..].first_chunk().unwrap());
    let sum = sum.wrapping_sub(weight(&key, &before)).wrapping_add(weight(&key, &after));
    position[2..10].copy_from_slice(&sum.to_le_bytes());
    image.insert(key, after).unwrap();
    image.insert([0], position).unwrap();
    image.flush().unwrap();
}

/// Ends a node, changes its data and starts it again.
fn falsify(cluster: &mut Cluster, nodes: &[&str]) {
    for node in nodes {
        assert_eq!(cluster.terminate(node), Some(0));
        tamper(cluster, node);
    }
    nodes.iter().for_each(|node| cluster.start(node));
}

fn halted(cluster: &Cluster, node: &str) {
    let says = "This node has stopped: its data differs from that of the other nodes after entry";
    let status = cluster.status(node, "why it has stopped", |s| s["verdict"].as_str().unwrap().starts_with(says));
    assert_eq!(status["cluster"], "stopped");
}

#[test]
fn a_standby_with_other_data_than_the_majority_stops_until_it_is_provisioned_afresh() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    falsify(&mut cluster, &[SECONDARY]);
    halted(&cluster, SECONDARY);
    cluster.event(PRIMARY, "the data of primary-node and secondary-node differs after entry");
    cluster.request("router-1", 3);

    // Neither a start nor a new process brings it back.
    assert!(cluster.refused(SECONDARY, &["ha", "start"]).contains("provision it afresh"));
    assert_eq!(cluster.terminate(SECONDARY), Some(0));
    cluster.start(SECONDARY);
    halted(&cluster, SECONDARY);

    cluster.run(PRIMARY, &["ha", "remove", SECONDARY, "--yes"]);
    cluster.join(SECONDARY, &["--replace"]);
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
    cluster.normal();
    assert_eq!(cluster.in_use(SECONDARY), 3);
    cluster.run(PRIMARY, &["ha", "switchover"]);
    cluster.held_by(SECONDARY, SECONDARY);
}

#[test]
fn an_active_node_that_is_outvoted_hands_over_first() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    falsify(&mut cluster, &[SECONDARY, WITNESS]);
    halted(&cluster, PRIMARY);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.request("router-1", 2);
    // Who took over has seen it before it was active.
    cluster.event(SECONDARY, "the data of secondary-node and primary-node differs after entry");
    assert!(cluster.log(PRIMARY).contains("handed over to=\"secondary-node\""), "it left without a hand-over");
}

#[test]
fn of_two_nodes_neither_stops_and_both_say_that_they_differ() {
    let Some(mut cluster) = Cluster::two_alone() else { return };
    cluster.licensed();
    cluster.register("router-1");
    falsify(&mut cluster, &[SECONDARY]);
    for (node, other) in [(PRIMARY, SECONDARY), (SECONDARY, PRIMARY)] {
        let status = cluster.status(node, "a difference", |s| !s["failed_actions"].as_array().unwrap().is_empty());
        assert_eq!((&status["cluster"], &status["failed_actions"][0]["node"]), (&"degraded".into(), &other.into()));
        assert!(status["verdict"].as_str().unwrap().contains("promote none"), "{status:#}");
    }
    cluster.event(PRIMARY, "the data of primary-node and secondary-node differs after entry");
    cluster.request("router-1", 2);
    assert!(cluster.refused(PRIMARY, &["ha", "switchover"]).contains("secondary-node has other data"));
    assert!(cluster.refused(PRIMARY, &["doctor"]).contains("differ"));

    // Once the one with the wrong data is provisioned afresh, all is well.
    cluster.run(PRIMARY, &["ha", "remove", SECONDARY, "--yes"]);
    cluster.join(SECONDARY, &["--replace"]);
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
    cluster.normal();
    until("no more failed actions", || {
        let status = cluster.status(PRIMARY, "a status", |_| true);
        status["failed_actions"].as_array().is_some_and(Vec::is_empty)
    });
}
