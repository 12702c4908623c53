//! A site that is lost whole and comes back from a backup, on other machines.

use super::cluster::{Cluster, PRIMARY, SECONDARY, THIRD, VIP, path, text};
use std::path::PathBuf;

/// Saves a backup on a node, and gives its file.
fn save(cluster: &Cluster, node: &str, secret: &str) -> String {
    let file = path(&cluster.folder(node).join("saved"));
    cluster.run(node, &["backup", "save", &file, "--passphrase-file", secret]);
    file
}

#[test]
fn a_lost_site_goes_on_from_a_backup_and_the_original_cannot() {
    let Some(mut cluster) = Cluster::two_alone() else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    let secret = path(&cluster.folder(PRIMARY).join("secret"));
    std::fs::write(&secret, "correct horse battery staple").unwrap();
    let file = save(&cluster, PRIMARY, &secret);
    let manifest = cluster.json(PRIMARY, &["backup", "verify", &file, "--passphrase-file", &secret]);
    assert_eq!((manifest["instances"].as_u64(), manifest["in_use"].as_u64()), (Some(1), Some(2)), "{manifest}");
    // Of a standby, too, with what it had then.
    let standby = save(&cluster, SECONDARY, &secret);
    let manifest = cluster.json(SECONDARY, &["backup", "verify", &standby, "--passphrase-file", &secret]);
    assert_eq!((manifest["node"].as_str(), manifest["instances"].as_u64()), (Some(SECONDARY), Some(1)), "{manifest}");

    // After it: more use, another product, and a synchronization.
    cluster.request("router-1", 3);
    cluster.register("router-2");
    cluster.request("router-2", 1);
    cluster.run(PRIMARY, &["sync", "now", "--account", "TEST-1"]);
    cluster.kill(PRIMARY);
    cluster.kill(SECONDARY);

    // A fresh machine is the server, at its own address; a machine of the old cluster joins it, and the address is up.
    cluster.enter(THIRD, "");
    let said = cluster.run(THIRD, &["backup", "restore", &file, "--passphrase-file", &secret]);
    assert!(said.contains("This node serves alone, with server") && said.contains("1 product instance"), "{said}");
    let again = cluster.refused(THIRD, &["backup", "restore", &file, "--passphrase-file", &secret]);
    assert!(again.contains("already holds the data") && again.contains("--replace"), "{again}");
    cluster.status(THIRD, "a server alone", |s| {
        s["cluster"] == "standalone" && s["vip"]["addresses"] == serde_json::json!([])
    });
    assert_eq!(cluster.in_use(THIRD), 2);
    cluster.event(THIRD, "This server was restored from a backup, on third-node");
    let audit = cluster.run(THIRD, &["audit", "verify"]);
    assert!(audit.contains("hold"), "{audit}");
    cluster.start(SECONDARY);
    let code = cluster.json(THIRD, &["ha", "generate-keys"]);
    let (code, join) = (text(&code, "code"), text(&code, "join_address"));
    cluster.run(SECONDARY, &["ha", "provision-standby", "--replace", "--yes", "--join", &join, "--code", &code]);
    cluster.run(THIRD, &["ha", "deploy", "--vip", VIP]);
    cluster.held_by(SECONDARY, THIRD);

    // The product goes on with its certificate and its numbers, through a failover, too; the one that is not in the
    // backup comes back by its certificate and has what it had.
    cluster.request("router-1", 4);
    cluster.agent("router-2", "renew", &["--timeout", "30"]);
    assert_eq!(cluster.in_use(THIRD), 5);
    cluster.event(THIRD, "router-2, which had registered after the backup");
    cluster.run(THIRD, &["ha", "switchover"]);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.request("router-1", 5);
    assert_eq!(cluster.in_use(SECONDARY), 6);
    cluster.run(SECONDARY, &["ha", "switchover"]);
    cluster.held_by(THIRD, THIRD);

    // Central knows the original; the vendor says which of the two goes on.
    let refused = cluster.refused(THIRD, &["sync", "now", "--account", "TEST-1"]);
    let uid = text(&manifest, "server_uid");
    assert!(refused.contains(&format!("licraft central server readopt {uid}")), "{refused}");
    cluster.central(&["central", "server", "readopt", &uid, "--yes"]);
    cluster.run(THIRD, &["sync", "now", "--account", "TEST-1"]);

    // The original, back from where it was, serves nobody at this address and is refused.
    cluster.start(PRIMARY);
    cluster.run(PRIMARY, &["ha", "promote", "--yes", "--accept-data-loss"]);
    let refused = cluster.refused(PRIMARY, &["sync", "now", "--account", "TEST-1"]);
    assert!(refused.contains("readopt"), "{refused}");
    cluster.run(THIRD, &["sync", "now", "--account", "TEST-1"]);
}

#[test]
fn a_backup_takes_the_place_of_what_a_node_has_which_is_kept() {
    let Some(mut cluster) = Cluster::alone() else { return };
    let secret = path(&cluster.folder(PRIMARY).join("secret"));
    std::fs::write(&secret, "correct horse battery staple").unwrap();
    let file = save(&cluster, PRIMARY, &secret);
    cluster.run(PRIMARY, &["user", "create", "late", "--role", "read-only"]);
    let restore = ["backup", "restore", &file, "--replace", "--yes", "--passphrase-file", &secret];
    cluster.run(PRIMARY, &restore);
    let users = cluster.run(PRIMARY, &["user", "list"]);
    assert!(users.contains("admin") && !users.contains("late"), "{users}");
    let kept = cluster.json(PRIMARY, &["ha", "set-aside", "list"]);
    assert_eq!(kept.as_array().unwrap().len(), 1, "{kept}");

    // What a crash left half built goes with the next one.
    let left: PathBuf = cluster.folder(PRIMARY).join("data/set-aside/backup.copying");
    std::fs::create_dir_all(left.join("raft")).unwrap();
    std::fs::write(left.join("node.json"), "half").unwrap();
    cluster.run(PRIMARY, &restore);
    // And the node is the restored one after a restart.
    cluster.kill(PRIMARY);
    cluster.start(PRIMARY);
    cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    cluster.run(PRIMARY, &["user", "create", "late", "--role", "read-only"]);
    assert!(!left.exists());
}
