//! What an operator may get wrong while a cluster is set up: each is refused with what, why and what to do.

use super::cluster::{Cluster, PRIMARY, SECONDARY, VIP, text, until};

/// Lines of the node file that pairing and the address do not need.
const NO_INTERFACE: &str = "[vip]\ndriver = \"netlink\"\ninterface = \"eth9\"\n";

#[test]
fn pairing_refuses_what_is_wrong_and_changes_nothing() {
    let Some(mut cluster) = Cluster::alone() else { return };
    cluster.enter(SECONDARY, "");
    let refused = |node: &str, args: &[&str], says: &str| {
        let said = cluster.refused(node, args);
        assert!(said.contains(says) && said.contains("Try: "), "no {says:?} in\n{said}");
    };
    for verb in [
        &["start"][..],
        &["stop", "--yes"],
        &["switchover"],
        &["generate-keys"],
        &["promote", "--yes"],
        &["drill", "--yes"],
    ] {
        refused(SECONDARY, &[&["ha"], verb].concat(), "this node holds no data yet");
    }
    let made = cluster.json(PRIMARY, &["ha", "generate-keys"]);
    let (code, join) = (text(&made, "code"), text(&made, "join_address"));
    let join_with = |node: &str, join: &str, code: &str, says: &str| {
        refused(node, &["ha", "provision-standby", "--join", join, "--code", code, "--yes"], says);
    };
    join_with(SECONDARY, "10.77.0.99:7440", &code, "does not answer");
    join_with(SECONDARY, &join, "open-sesame", "that is not a pairing code");
    let other = code.replace(|c: char| c.is_ascii_digit(), "2");
    join_with(SECONDARY, &join, &other, "was not let in");
    refused(
        SECONDARY,
        &["ha", "provision-witness", "--join", &join, "--code", &code],
        "the node file says that this is a data node",
    );
    join_with(PRIMARY, &join, &code, "this node already holds the data of a server");
    let status = cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1, "{status}");

    // The right code works once.
    cluster.run(SECONDARY, &["ha", "provision-standby", "--join", &join, "--code", &code, "--yes"]);
    let again = ["ha", "provision-standby", "--join", &join, "--code", &code, "--replace", "--yes"];
    refused(SECONDARY, &again, "was not let in");
    // A name that is taken, by a machine that lost its data.
    cluster.kill(SECONDARY);
    std::fs::remove_dir_all(cluster.folder(SECONDARY).join("data")).unwrap();
    cluster.start(SECONDARY);
    let made = cluster.json(PRIMARY, &["ha", "generate-keys"]);
    let taken = cluster
        .refused(SECONDARY, &["ha", "provision-standby", "--join", &join, "--code", &text(&made, "code"), "--yes"]);
    assert!(taken.contains("the cluster already has a node called secondary-node"), "{taken}");
}

#[test]
fn a_node_without_the_capabilities_or_the_interface_is_no_home_for_the_address() {
    let Some(mut cluster) = Cluster::alone() else { return };
    let refused = |cluster: &Cluster, says: &str| {
        let said = cluster.refused(PRIMARY, &["ha", "deploy", "--vip", VIP]);
        assert!(said.contains(says) && said.contains("nothing was changed"), "no {says:?} in\n{said}");
    };
    cluster.terminate(PRIMARY);
    cluster.start_without(PRIMARY, "-net_admin,-net_raw");
    until("an answer", || cluster.run_any(PRIMARY, &["ha", "status"]).contains("serves alone"));
    refused(&cluster, "this process lacks CAP_NET_ADMIN and CAP_NET_RAW");
    cluster.terminate(PRIMARY);
    cluster.enter(PRIMARY, NO_INTERFACE);
    until("an answer", || cluster.run_any(PRIMARY, &["ha", "status"]).contains("serves alone"));
    refused(&cluster, "there is no interface eth9 here");
}
