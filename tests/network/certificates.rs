//! Certificates, keys and revocation lists through changes of the active node, a node that is replaced, and teardown.

use super::cluster::{CLIENT, Cluster, PRIMARY, SECONDARY, Topology, VIP, path, until};
use super::site::site_certificate;
use std::path::{Path, PathBuf};

/// What the client gets by curl, if it succeeds.
fn curl(cluster: &Cluster, args: &[&str]) -> Option<Vec<u8>> {
    let mut command = cluster.host(CLIENT).command("curl");
    let output = command.args(["-sf", "--max-time", "2"]).args(args).output().expect("curl is needed");
    output.status.success().then_some(output.stdout)
}

/// A certificate for browsers under an authority of the site's own: the file to import, and the authority's.
fn site_files(folder: &Path, host: &str) -> [PathBuf; 2] {
    let files = [folder.join(format!("{host}.pem")), folder.join("site-root.pem")];
    for (file, text) in files.iter().zip(site_certificate(host)) {
        std::fs::write(file, text).unwrap();
    }
    files
}

fn sealing_key(cluster: &Cluster, node: &str) -> Vec<u8> {
    std::fs::read(cluster.folder(node).join("data").join("sealing.key")).unwrap()
}

/// The address shows the site's certificate to browsers.
fn shows(cluster: &Cluster, root: &Path) {
    let url = format!("https://{VIP}:8443/sign-in");
    until("the site's certificate", || curl(cluster, &["--cacert", &path(root), &url]).is_some());
}

fn list(cluster: &Cluster, address: &str, account: &str) -> Vec<u8> {
    let url = format!("http://{address}/crl/{account}.crl");
    let mut list = None;
    until("the revocation list", || {
        list = curl(cluster, &[&url]);
        list.is_some()
    });
    list.unwrap()
}

#[test]
fn certificates_and_keys_outlive_failover_replacement_and_teardown() {
    let Some(mut cluster) = Cluster::of(Topology::WithWitness) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.run(PRIMARY, &["sync", "now", "--account", "TEST-1"]);
    until("central's certificate", || cluster.json(PRIMARY, &["cert", "show"])["signed_by"] == "central");
    let folder = cluster.folder(PRIMARY);
    let account = cluster.json(PRIMARY, &["account", "list"])[0]["id"].to_string();
    let first = list(&cluster, VIP, &account);
    assert_eq!(first[0], 0x30, "a DER sequence");
    assert!(curl(&cluster, &[&format!("http://{VIP}/readyz")]).is_none(), "that path alone");

    // A certificate for browsers: one that does not fit is refused.
    let [wrong, _] = site_files(&folder, "other.example");
    let said = cluster.refused(PRIMARY, &["cert", "import-browser", &path(&wrong)]);
    assert!(said.contains(&format!("does not cover {VIP}")), "{said}");
    let [file, root] = site_files(&folder, VIP);
    cluster.run(PRIMARY, &["cert", "import-browser", &path(&file)]);
    shows(&cluster, &root);

    // A new sealing key: not while a data node is away, and never to the witness.
    let (backup, passphrase) = (path(&folder.join("backup")), folder.join("passphrase"));
    std::fs::write(&passphrase, "a passphrase of some length").unwrap();
    let sealed = ["--passphrase-file", passphrase.to_str().unwrap()];
    cluster.run(PRIMARY, &[&["backup", "save", &backup][..], &sealed].concat());
    let old = sealing_key(&cluster, PRIMARY);
    cluster.terminate(SECONDARY);
    let said = cluster.refused(PRIMARY, &["cert", "rotate-sealing-key", "--yes"]);
    assert!(said.contains("secondary-node did not take the new key, so the old one stays"), "{said}");
    cluster.start(SECONDARY);
    cluster.normal();
    cluster.run(SECONDARY, &["cert", "rotate-sealing-key", "--yes"]);
    until("one key on both nodes", || {
        let [one, other] = [PRIMARY, SECONDARY].map(|node| sealing_key(&cluster, node));
        one == other && one.len() == 64 && one[..32] == old && one[32..] != old
    });
    cluster.event(PRIMARY, "the old one is forgotten");
    cluster.run(PRIMARY, &[&["backup", "verify", &backup][..], &sealed].concat());

    // The other node has all of it.
    cluster.kill(PRIMARY);
    cluster.held_by(SECONDARY, SECONDARY);
    shows(&cluster, &root);
    assert_eq!(list(&cluster, VIP, &account), first, "the same bytes");
    cluster.register("router-2");
    cluster.start(PRIMARY);
    cluster.normal();
    cluster.run(SECONDARY, &["ha", "switchover", "--to", PRIMARY]);
    cluster.held_by(PRIMARY, PRIMARY);

    // So has a node that comes in its place.
    cluster.run(PRIMARY, &["ha", "remove", SECONDARY, "--yes"]);
    cluster.status(SECONDARY, "a retired node", |s| s["cluster"] == "retired");
    cluster.join(SECONDARY, &["--replace"]);
    cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
    cluster.normal();
    assert_eq!(sealing_key(&cluster, SECONDARY), sealing_key(&cluster, PRIMARY));
    cluster.run(PRIMARY, &["ha", "switchover", "--to", SECONDARY]);
    cluster.held_by(SECONDARY, SECONDARY);
    shows(&cluster, &root);
    assert_eq!(list(&cluster, VIP, &account), first);
    cluster.register("router-3");
    cluster.run(SECONDARY, &["ha", "switchover", "--to", PRIMARY]);
    cluster.held_by(PRIMARY, PRIMARY);

    // And the server that is left after the cluster's end.
    let before = cluster.json(PRIMARY, &["cert", "show"]);
    cluster.run(PRIMARY, &["ha", "teardown", "--yes"]);
    cluster.status(PRIMARY, "a server alone", |s| s["cluster"] == "standalone");
    let own = "10.77.0.5";
    until("an answer at the node's own address", || cluster.ready(own) == Some(200));
    let after = cluster.json(PRIMARY, &["cert", "show"]);
    for member in ["signed_by", "browsers_see", "browser_expires", "expires"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(list(&cluster, own, &account), first);
    cluster.register_at("router-4", own);
    cluster.run(PRIMARY, &["cert", "rotate-sealing-key", "--yes"]);
    cluster.register_at("router-5", own);
}
