//! Nodes that die, freeze, or are cut off: the other one takes over, licenses go on, and the address is never lost.

use super::cluster::{Cluster, PRIMARY, SECONDARY, VIP, WITNESS, until};
use super::lab::{Net, succeeded};
use super::observer::Observer;
use super::{disk, mount};
use std::sync::{Arc, Mutex};

#[test]
fn a_killed_node_is_replaced_and_comes_back_as_standby() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    // As the service manager does when all processes of a node are gone; never to one that lives.
    let cleared = cluster.clear_addresses(PRIMARY);
    let said = String::from_utf8_lossy(&cleared.stderr).into_owned();
    assert!(!cleared.status.success() && said.contains("the node is running"), "{said}");
    cluster.kill(PRIMARY);
    let cleared = succeeded("clearing", cluster.clear_addresses(PRIMARY));
    assert_eq!(cleared, format!("{VIP} is not on this host any more.\n"));
    cluster.request("router-1", 5);
    cluster.register("router-2");
    cluster.request("router-2", 1);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.start(PRIMARY);
    cluster.normal();
    for node in [PRIMARY, SECONDARY] {
        cluster.held_by(node, SECONDARY);
        assert_eq!(cluster.in_use(node), 6);
    }
}

#[test]
fn the_supervisor_of_a_dead_process_takes_the_address_off_and_tells_the_others() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    let observer = Observer::start(&cluster);
    for (dies, takes_over, count) in [(PRIMARY, SECONDARY, 2), (SECONDARY, PRIMARY, 3)] {
        assert_eq!(cluster.crash(dies), Some(128 + 9), "the supervisor's exit code");
        // By its lifetime alone the kernel would have it for up to a second more.
        assert!(!cluster.host(dies).has(VIP), "the supervisor left the address on");
        cluster.request("router-1", count);
        cluster.held_by(takes_over, takes_over);
        let log = cluster.log(dies);
        let told = log.lines().rev().find(|line| line.contains("told the other nodes")).unwrap_or_default();
        assert!(told.contains(takes_over) && told.contains(WITNESS), "not all were told: {log}");
        cluster.start(dies);
        cluster.normal();
        assert_eq!(cluster.in_use(dies), count);
    }
    observer.end().one_by_one(&[PRIMARY, SECONDARY, PRIMARY]);
}

#[test]
fn a_drill_hands_over_and_back() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    let report = cluster.json(PRIMARY, &["ha", "drill", "--yes"]);
    let report = report.get(0).unwrap_or(&report);
    assert_eq!((&report["other"], &report["equal_digests"]), (&SECONDARY.into(), &3.into()), "{report}");
    cluster.held_by(SECONDARY, PRIMARY);
    assert_eq!(cluster.in_use(SECONDARY), 2);
    assert!(cluster.refused(SECONDARY, &["ha", "drill", "--yes"]).contains("primary-node is"), "drilled a standby");
    cluster.kill(SECONDARY);
    cluster.status(PRIMARY, "the other gone", |s| s["heartbeat"] == "disconnected");
    let said = cluster.refused(PRIMARY, &["ha", "drill", "--yes"]);
    assert!(said.contains("cannot take over now"), "{said}");
    assert_eq!(cluster.ready(VIP), Some(200));
}

#[test]
fn a_terminated_node_leaves_in_order() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    assert_eq!(cluster.terminate(PRIMARY), Some(0));
    assert!(!cluster.host(PRIMARY).has(VIP));
    cluster.held_by(SECONDARY, SECONDARY);
    assert!(!cluster.log(PRIMARY).contains("process died"), "{}", cluster.log(PRIMARY));
    cluster.start(PRIMARY);
    cluster.normal();
}

#[test]
fn a_planned_change_under_load_loses_no_request() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    let load = cluster.simulate(&["--instances", "8", "--connections", "4", "--duration", "6"]);
    until("the load", || cluster.in_use(PRIMARY) == 8);
    cluster.run(PRIMARY, &["ha", "switchover"]);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.run(SECONDARY, &["ha", "stop", "--yes"]);
    cluster.held_by(PRIMARY, PRIMARY);
    let said = succeeded("the load", load.wait_with_output().unwrap());
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    // What was under way is repeated under its number, which heals it; nothing is refused or stays unanswered.
    let errors = report["errors"].as_object().unwrap();
    assert!(!errors.keys().any(|error| error.contains("unanswered") || error.starts_with("refused:")), "{report}");
    assert!(report["requests"].as_u64().unwrap() > 0);
    assert_eq!(report["requests"], report["verified"], "{report}");
    cluster.run(SECONDARY, &["ha", "start"]);
    cluster.normal();
    for node in [PRIMARY, SECONDARY] {
        assert_eq!(cluster.in_use(node), 8);
    }
}

#[test]
fn a_frozen_node_loses_the_address_and_serves_nothing_stale_when_it_goes_on() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.freeze(PRIMARY, true);
    cluster.request("router-1", 4);
    cluster.held_by(SECONDARY, SECONDARY);
    // Nobody renews it there, so the kernel takes it off by itself.
    let primary = cluster.host(PRIMARY);
    until("the address gone from the frozen node", || !primary.has(VIP));
    let observer = Observer::start(&cluster);
    cluster.freeze(PRIMARY, false);
    cluster.normal();
    cluster.held_by(PRIMARY, SECONDARY);
    assert_eq!(cluster.ready("10.77.0.5"), Some(503));
    assert_eq!(cluster.in_use(PRIMARY), 4);
    observer.end().one_by_one(&[SECONDARY]);
}

#[test]
fn a_node_cut_off_from_the_others_gives_the_address_up() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    let observer = Observer::start(&cluster);
    let primary = cluster.host(PRIMARY);
    // Products still reach it, but no other node does.
    cluster.lab.connect(&primary, Net::Private, false);
    cluster.request("router-1", 4);
    cluster.held_by(SECONDARY, SECONDARY);
    assert!(!primary.has(VIP));
    assert_eq!(cluster.ready("10.77.0.5"), Some(503), "a node without a quorum serves");
    cluster.lab.connect(&primary, Net::Private, true);
    cluster.normal();
    cluster.held_by(PRIMARY, SECONDARY);
    assert_eq!(cluster.in_use(PRIMARY), 4);
    observer.end().one_by_one(&[PRIMARY, SECONDARY]);
}

#[test]
fn a_node_that_hears_but_is_not_heard_gives_the_address_up() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    let observer = Observer::start(&cluster);
    let primary = cluster.host(PRIMARY);
    primary.mute();
    cluster.request("router-1", 4);
    cluster.held_by(SECONDARY, SECONDARY);
    assert!(!primary.has(VIP));
    assert_eq!(cluster.ready("10.77.0.5"), Some(503), "a node that nobody hears serves");
    primary.unmute();
    cluster.normal();
    cluster.held_by(PRIMARY, SECONDARY);
    assert_eq!(cluster.in_use(PRIMARY), 4);
    observer.end().one_by_one(&[PRIMARY, SECONDARY]);
}

#[test]
fn a_standby_that_one_way_is_cut_off_from_the_active_node_changes_nothing() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    let observer = Observer::start(&cluster);
    let (primary, secondary) = (cluster.host(PRIMARY), cluster.host(SECONDARY));
    for (count, from, to) in [(2, &primary, &secondary), (3, &secondary, &primary)] {
        from.mute_to(to);
        cluster.status(PRIMARY, "the other not heard", |s| s["heartbeat"] == "disconnected");
        // The witness hears both: it makes the quorum, and keeps the standby from taking over.
        cluster.request("router-1", count);
        cluster.held_by(PRIMARY, PRIMARY);
        from.unmute();
        cluster.normal();
        cluster.held_by(SECONDARY, PRIMARY);
        assert_eq!(cluster.in_use(SECONDARY), count);
    }
    let history = cluster.json(PRIMARY, &["ha", "history"]);
    assert_eq!(history.as_array().map(Vec::len), Some(1), "the active node changed: {history}");
    observer.end().one_by_one(&[PRIMARY]);
}

#[test]
fn a_node_without_its_public_link_hands_over() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    let primary = cluster.host(PRIMARY);
    cluster.lab.cable(&primary, Net::Public, false);
    cluster.request("router-1", 4);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.event(SECONDARY, "primary-node cannot serve (virtual address: interface eth0 is down)");
    // Both nodes name what is wrong, and with which.
    for node in [PRIMARY, SECONDARY] {
        let what = "a failed action";
        let status = cluster.status(node, what, |s| s["failed_actions"].as_array().is_some_and(|a| !a.is_empty()));
        let action = &status["failed_actions"][0];
        assert_eq!((&action["node"], &action["what"]), (&PRIMARY.into(), &"serving".into()), "{action}");
        assert!(action["why"].as_str().unwrap().contains("interface eth0 is down"), "{action}");
        assert!(cluster.run(node, &["ha", "status"]).starts_with("Failed Actions:"));
    }
    // It is not given back what it cannot hold.
    let said = cluster.refused(SECONDARY, &["ha", "switchover"]);
    assert!(said.contains("interface eth0 is down"), "{said}");
    cluster.lab.cable(&primary, Net::Public, true);
    for node in [PRIMARY, SECONDARY] {
        cluster.status(node, "no failed action", |s| s["failed_actions"].as_array().is_some_and(Vec::is_empty));
    }
    cluster.run(SECONDARY, &["ha", "switchover"]);
    cluster.held_by(PRIMARY, PRIMARY);
    until("an answer", || cluster.ready(VIP) == Some(200));
}

#[test]
fn a_flapping_link_leaves_one_holder() {
    let Some(cluster) = Cluster::deployed(VIP) else { return };
    let observer = Observer::start(&cluster);
    let primary = cluster.host(PRIMARY);
    for _ in 0..6 {
        cluster.lab.cable(&primary, Net::Public, false);
        until("noticed", || !primary.has(VIP));
        cluster.lab.cable(&primary, Net::Public, true);
    }
    cluster.normal();
    let holder = cluster.active();
    until("an answer", || cluster.ready(VIP) == Some(200));
    for node in [PRIMARY, SECONDARY] {
        assert_eq!(cluster.host(node).has(VIP), node == holder, "{node}, while {holder} holds it");
    }
    assert!(observer.end().longest_double.is_zero(), "two live holders");
}

#[test]
fn a_node_whose_disk_hangs_hands_over_and_comes_back_when_that_is_over() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(disk::Disk::default())));
    let Some(_mounted) = mount::mount(&disk, dir.path()) else { return };
    let Some(mut cluster) = Cluster::alone() else { return };
    std::fs::create_dir_all(cluster.folder(SECONDARY)).unwrap();
    std::os::unix::fs::symlink(dir.path(), cluster.folder(SECONDARY).join("data")).unwrap();
    cluster.add(SECONDARY);
    cluster.add(WITNESS);
    cluster.licensed();
    cluster.register("router-1");
    cluster.run(PRIMARY, &["ha", "switchover"]);
    cluster.held_by(SECONDARY, SECONDARY);
    let observer = Observer::start(&cluster);
    // Each operation on it waits from here on.
    let hung = disk.lock().unwrap();
    cluster.request("router-1", 3);
    let shown = |s: &serde_json::Value| {
        let action = &s["failed_actions"][0];
        action["node"] == SECONDARY && action["why"].as_str().unwrap_or_default().contains("passed no barrier")
    };
    cluster.status(PRIMARY, "what failed", |s| s["vip"]["holder"] == PRIMARY && shown(s));
    drop(hung);
    cluster.normal();
    cluster.held_by(SECONDARY, PRIMARY);
    assert_eq!(cluster.in_use(PRIMARY), 3);
    observer.end().one_by_one(&[SECONDARY, PRIMARY]);
}

#[test]
fn a_node_whose_own_ports_do_not_answer_hands_over() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    cluster.register("router-1");
    // What it asks itself goes over the loopback.
    let primary = cluster.host(PRIMARY);
    primary.nft("add table inet wall");
    primary.nft("add chain inet wall in { type filter hook input priority 0; }");
    primary.nft("add rule inet wall in iifname lo tcp dport 443 drop");
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.event(
        SECONDARY,
        "primary-node cannot serve (its own port 443 does not answer); handing over to secondary-node",
    );
    cluster.request("router-1", 2);
    primary.nft("delete table inet wall");
    cluster.normal();
    cluster.held_by(PRIMARY, SECONDARY);
}
