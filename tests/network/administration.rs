//! Administration from another host, by an admin identity.

use super::cluster::{CLIENT, Cluster, LICRAFT, PRIMARY, SECONDARY, VIP, WITNESS, path, until};
use std::process::Output;

/// A command on the clients' host, asked of `nodes`.
fn from_elsewhere(cluster: &Cluster, nodes: &[&str], args: &[&str]) -> Output {
    let endpoints: Vec<String> =
        nodes.iter().map(|node| format!("https://{}:7440", cluster.host(node).address())).collect();
    let (identity, ca) = (cluster.folder("ops.pem"), cluster.folder("ca.pem"));
    let mut command = cluster.host(CLIENT).command(LICRAFT);
    command.args(["--endpoint", &endpoints.join(","), "--identity"]).arg(identity).arg("--cluster-ca").arg(ca);
    command.args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn an_admin_identity_works_by_every_node_until_it_is_revoked() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    let (identity, ca) = (path(&cluster.folder("ops.pem")), path(&cluster.folder("ca.pem")));
    let role = ["--role", "system-administrator", "--out", &identity, "--ca-out", &ca];
    cluster.run(SECONDARY, &[&["admin-identity", "create", "ops"], &role[..]].concat());
    let set = |cluster: &Cluster, node: &str, bytes: &str| {
        from_elsewhere(cluster, &[node], &["settings", "set", "min-password-bytes", bytes])
    };
    for node in [PRIMARY, SECONDARY, WITNESS] {
        until("a node that knows the identity", || {
            from_elsewhere(&cluster, &[node], &["user", "list"]).status.success()
        });
    }
    for (node, bytes) in [(PRIMARY, "12"), (SECONDARY, "13")] {
        let done = set(&cluster, node, bytes);
        assert!(done.status.success(), "{node}: {}", said(&done));
        assert!(cluster.run(PRIMARY, &["settings", "get", "min-password-bytes"]).contains(bytes));
    }
    let refused = set(&cluster, WITNESS, "14");
    assert!(said(&refused).contains("a witness is trusted with no change"), "{}", said(&refused));

    // The node that is asked first is off: the next one answers, whoever is active.
    cluster.kill(PRIMARY);
    cluster.held_by(SECONDARY, SECONDARY);
    let done = from_elsewhere(&cluster, &[PRIMARY, SECONDARY], &["settings", "set", "min-password-bytes", "15"]);
    assert!(done.status.success(), "{}", said(&done));
    cluster.start(PRIMARY);
    cluster.normal();
    cluster.run(SECONDARY, &["admin-identity", "revoke", "ops", "--yes"]);
    for node in [SECONDARY, PRIMARY, WITNESS] {
        until("a node that refuses", || !from_elsewhere(&cluster, &[node], &["user", "list"]).status.success());
    }
    assert!(cluster.run(SECONDARY, &["audit", "export"]).contains("admin ops"));
}
