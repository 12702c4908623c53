//! Synchronization by files: a site without a way to central, through a change of the active node.

use super::cluster::{Cluster, LICRAFT, PRIMARY, SECONDARY, VIP, path};
use super::lab::succeeded;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The vendor, far away.
struct Vendor(PathBuf);

impl Vendor {
    fn run(&self, args: &[&str]) -> String {
        let output = Command::new(LICRAFT).args(args).args(["--dir", &path(&self.0)]).output().unwrap();
        succeeded(&args.join(" "), output)
    }

    fn answer(&self, request: &Path, response: &Path) {
        self.run(&["central", "answer", &path(request), &path(response)]);
    }
}

#[test]
fn accounts_live_by_files_alone_and_the_active_node_may_change_in_between() {
    let Some(cluster) = Cluster::deployed(VIP) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let vendor = Vendor(file("vendor"));
    vendor.run(&["central", "init", "--name", "Vendor"]);
    vendor.run(&["central", "account", "create", "Corp", "--virtual-account", "TEST-1"]);
    let entitle = |quantity: &str| {
        let what = ["central", "entitle", "--license", "BASE", "--name", "Base", "--quantity", quantity];
        vendor.run(&[&what[..], &["--smart-account", "Corp", "--virtual-account", "TEST-1"]].concat())
    };
    entitle("5");
    let root = format!("@{}", path(&vendor.0.join("vendor-root.pem")));
    cluster.run(PRIMARY, &["settings", "set", "vendor-root", &root]);
    let bound = ["--smart-account", "Corp", "--virtual-account", "TEST-1", "--requested-by", "admin"];
    cluster.run(PRIMARY, &[&["account", "request", "TEST-1"][..], &bound].concat());
    let said = cluster.run(PRIMARY, &["account", "approve", "TEST-1"]);
    assert!(said.contains("is approved") && said.contains("sync export-request"), "{said}");

    // The account is registered by files.
    let export = |node: &str, name: &str| cluster.run(node, &["sync", "export-request", &path(&file(name))]);
    let said = export(PRIMARY, "registration");
    assert!(said.contains("for the registration of account TEST-1"), "{said}");
    let again = cluster.refused(PRIMARY, &["sync", "export-request", &path(&file("registration"))]);
    assert!(again.contains("cannot be written") && again.contains("choose another name"), "{again}");
    vendor.answer(&file("registration"), &file("registered"));
    let import = |node: &str, name: &str| cluster.run(node, &["sync", "import-response", &path(&file(name))]);
    let preview =
        |node: &str, name: &str| cluster.json(node, &["sync", "import-response", &path(&file(name)), "--dry-run"]);
    let changes = preview(PRIMARY, "registered");
    assert_eq!((&changes[0]["license"], &changes[0]["purchased_after"]), (&json!("Base"), &json!(5)), "{changes}");
    assert_eq!(cluster.json(PRIMARY, &["account", "list"])[0]["account_status"], "approved", "a preview changed it");
    import(PRIMARY, "registered");
    assert_eq!(cluster.json(PRIMARY, &["account", "list"])[0]["account_status"], "active");

    // A synchronization begins with its export, outlives a change of the active node, and ends there.
    export(PRIMARY, "first");
    cluster.run(PRIMARY, &["ha", "switchover"]);
    cluster.held_by(SECONDARY, SECONDARY);
    export(SECONDARY, "same");
    assert_eq!(std::fs::read(file("first")).unwrap(), std::fs::read(file("same")).unwrap(), "another request");
    entitle("7");
    vendor.answer(&file("first"), &file("answer"));
    let changes = preview(SECONDARY, "answer");
    assert_eq!((&changes[0]["purchased"], &changes[0]["purchased_after"]), (&json!(5), &json!(7)), "{changes}");
    let said = import(SECONDARY, "answer");
    assert!(said.contains("Account TEST-1 is synchronized"), "{said}");
    assert_eq!(cluster.json(SECONDARY, &["license", "list"])[0]["purchased"], 7);

    // What is not the answer to what is outstanding is refused, and changes nothing.
    let refused = |name: &str, says: &str| {
        let said = cluster.refused(SECONDARY, &["sync", "import-response", &path(&file(name))]);
        assert!(said.contains("nothing has changed") && said.contains(says), "no {says:?} in\n{said}");
    };
    refused("answer", "no synchronization of it is outstanding");
    export(SECONDARY, "second");
    refused("answer", "another request");
    refused("second", "expected \"licraft-sync-response\"");
    std::fs::write(file("noise"), "what is this").unwrap();
    refused("noise", "not a licraft document");
    let mut forged = std::fs::read_to_string(file("answer")).unwrap();
    forged = forged.replace("\"payload\":\"", "\"payload\":\"A");
    std::fs::write(file("forged"), forged).unwrap();
    refused("forged", "");
    assert_eq!(cluster.json(SECONDARY, &["license", "list"])[0]["purchased"], 7);
    vendor.answer(&file("second"), &file("third"));
    import(SECONDARY, "third");
}
