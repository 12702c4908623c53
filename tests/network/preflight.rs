//! `ha deploy` refuses what cannot work, and says why; nothing is changed.

use super::cluster::{CLIENT, Cluster, PRIMARY, SECONDARY, VIP};
use super::lab::{Net, ip};

#[test]
fn an_address_that_cannot_be_had_is_refused_before_anything_changes() {
    let Some(cluster) = Cluster::joined() else { return };
    let client = cluster.host(CLIENT);
    ip(&["-n", &client.space, "addr", "add", "10.77.0.13/24", "dev", "eth0"]);
    ip(&["-n", &client.space, "addr", "add", "fd77::13/64", "dev", "eth0", "nodad"]);
    let taken = format!("is in use: {} answers for it on eth0", client.hardware());
    for (args, says) in [
        (vec!["--vip", "10.77.0.13"], format!("10.77.0.13 {taken}")),
        (vec!["--vip", "fd77::13"], format!("fd77::13 {taken}")),
        (vec!["--vip", "10.79.0.12"], "10.79.0.12 is in no network of eth0 (10.77.0.5/24)".into()),
        (vec!["--vip", "10.77.0.5"], "10.77.0.5 is an address of this host already".into()),
        (vec!["--vip", VIP, "--interface", "eth9"], "by this node's file 10.77.0.12 goes onto eth0".into()),
    ] {
        let said = cluster.refused(PRIMARY, &[&["ha", "deploy"][..], &args].concat());
        assert!(said.contains(&says), "no {says:?} in\n{said}");
        assert!(said.contains("nothing was changed"), "{said}");
    }
    let status = cluster.json(PRIMARY, &["ha", "status"]);
    assert_eq!(status["vip"]["addresses"], serde_json::json!([]), "{status}");
    // With a good one it works, after all that.
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP, "--interface", "eth0"]);
    cluster.normal();
    cluster.held_by(SECONDARY, PRIMARY);
}

#[test]
fn a_node_that_could_not_do_its_part_is_refused_before_anything_changes() {
    let Some(cluster) = Cluster::joined() else { return };
    let (primary, secondary) = (cluster.host(PRIMARY), cluster.host(SECONDARY));
    let refused = |vip: &str, what: &str, why: &str| {
        let said = cluster.refused(PRIMARY, &["ha", "deploy", "--vip", vip]);
        let line = said.lines().find(|line| line.contains(what) && line.contains(why));
        assert!(line.is_some() && said.contains("nothing was changed"), "no {what:?} with {why:?} in\n{said}");
    };
    // A network that the secondary is not in.
    ip(&["-n", &primary.space, "addr", "add", "10.79.0.5/24", "dev", "eth0"]);
    let network = "10.79.0.12 is in no network of eth0 (10.77.0.10/24)";
    refused("10.79.0.12", "secondary-node: virtual address", network);
    // A wall that lets nobody pass commands on from the secondary to the primary.
    secondary.nft("add table inet wall");
    secondary.nft("add chain inet wall out { type filter hook output priority 0; }");
    secondary.nft("add rule inet wall out ip daddr 10.77.0.5 tcp dport 7440 reject with tcp reset");
    refused(VIP, "secondary-node: reach the active node", "10.77.0.5:7440 does not answer");
    secondary.nft("delete table inet wall");
    // No way between the cluster addresses.
    cluster.lab.connect(&secondary, Net::Private, false);
    refused(VIP, "reach secondary-node", "10.78.0.10:7441");
    cluster.lab.connect(&secondary, Net::Private, true);
    let status = cluster.json(PRIMARY, &["ha", "status"]);
    assert_eq!(status["vip"]["addresses"], serde_json::json!([]), "{status}");
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
    cluster.normal();
}
