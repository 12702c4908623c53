//! Story B: products through failover and fallback.

use super::cluster::{Cluster, FQDN, PRIMARY, SECONDARY, Topology, VIP, text, until};
use super::observer::Observer;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the site has bought: nothing. Tag, name, purchased.
const NOTHING: [(&str, &str, u64); 8] = [
    ("ASSURANCE", "Assurance", 0),
    ("BASE", "Base", 0),
    ("LIFECYCLE", "Lifecycle", 0),
    ("BASIC", "Basic", 0),
    ("ENHANCED", "Enhanced", 0),
    ("ENHANCED_PLUS", "Enhanced Plus", 0),
    ("ESSENTIAL", "Essential", 0),
    ("TELEPRESENCE_ROOM", "Telepresence Room", 0),
];

#[test]
fn products_through_failover_and_fallback() {
    for topology in Topology::wanted() {
        story(*topology);
    }
}

fn story(topology: Topology) {
    let Some(mut cluster) = Cluster::of(topology) else { return };
    let observer = Observer::start(&cluster);
    cluster.licensed_for(&NOTHING);

    named(&cluster);

    // 2. Two products through the virtual address use what nobody bought: granted, and out of compliance.
    bring_in(&cluster, "infra-1", &[("BASE", 1), ("LIFECYCLE", 34)]);
    bring_in(&cluster, "calls-1", &[("ENHANCED", 3), ("ENHANCED_PLUS", 1), ("TELEPRESENCE_ROOM", 1)]);
    let first = [("Base", 1), ("Lifecycle", 34), ("Enhanced", 3), ("Enhanced Plus", 1), ("Telepresence Room", 1)];
    totals(&cluster, PRIMARY, &first);
    let before = instances(&cluster, PRIMARY);

    // 3. The primary is stopped; two more register during the outage.
    cluster.run(PRIMARY, &["ha", "stop", "--yes"]);
    bring_in(&cluster, "infra-2", &[("ASSURANCE", 2), ("BASE", 1), ("LIFECYCLE", 14)]);
    bring_in(&cluster, "calls-2", &[("BASIC", 2), ("ENHANCED", 44), ("ESSENTIAL", 4)]);

    // 4. Four products; the older two keep their last contact; the totals are exact.
    let all = [
        ("Assurance", 2),
        ("Base", 2),
        ("Lifecycle", 48),
        ("Basic", 2),
        ("Enhanced", 47),
        ("Enhanced Plus", 1),
        ("Essential", 4),
        ("Telepresence Room", 1),
    ];
    totals(&cluster, SECONDARY, &all);
    let during = instances(&cluster, SECONDARY);
    assert_eq!(during.len(), 4);
    assert!(before.iter().all(|(name, row)| during[name] == *row), "{before:#?}\n{during:#?}");

    // 5. The primary is back, then fallback: the same four, the same totals.
    cluster.run(PRIMARY, &["ha", "start"]);
    cluster.normal();
    cluster.run(SECONDARY, &["ha", "stop", "--yes"]);
    cluster.held_by(PRIMARY, PRIMARY);
    totals(&cluster, PRIMARY, &all);
    assert_eq!(instances(&cluster, PRIMARY), during);
    // Nobody has to do anything to go on.
    cluster.agent("infra-1", "renew", &["--timeout", "30"]);
    cluster.run(SECONDARY, &["ha", "start"]);
    cluster.normal();
    totals(&cluster, PRIMARY, &all);
    observer.end().one_by_one(&[PRIMARY, SECONDARY, PRIMARY]);
}

/// 1. The host common name is the virtual address, then a name: in the certificate once central has signed that.
fn named(cluster: &Cluster) {
    let certificate = || cluster.json(PRIMARY, &["cert", "show"]);
    assert_eq!(
        (text(&certificate(), "signed_by"), text(&certificate(), "common_name")),
        ("cluster CA".into(), VIP.into())
    );
    cluster.run(PRIMARY, &["sync", "now"]);
    assert_eq!(
        (text(&certificate(), "signed_by"), text(&certificate(), "common_name")),
        ("central".into(), VIP.into())
    );

    cluster.lab.name(FQDN, VIP);
    let said = cluster.run(PRIMARY, &["cert", "set-common-name", FQDN]);
    assert!(said.contains("after the next synchronization"), "{said}");
    until("the alert that the name is pending", || {
        cluster.run(PRIMARY, &["alert", "list"]).contains("common-name-pending")
    });
    assert_eq!(text(&certificate(), "common_name"), VIP);
    assert_eq!(text(&certificate(), "pending_common_name"), FQDN);
    let said = cluster.register_refused("too-early", FQDN);
    assert!(said.contains(FQDN) && said.contains(VIP), "both names should be in: {said}");

    cluster.run(PRIMARY, &["sync", "now"]);
    assert_eq!(
        (text(&certificate(), "signed_by"), text(&certificate(), "common_name")),
        ("central".into(), FQDN.into())
    );
    assert!(!cluster.run(PRIMARY, &["alert", "list"]).contains("common-name-pending"));
    // Served as soon as the listeners have it.
    until("an answer under the new name", || cluster.ready(FQDN) == Some(200));
}

/// A product registers and asks for its licenses; it learns how they stand.
fn bring_in(cluster: &Cluster, product: &str, licenses: &[(&str, u64)]) {
    cluster.register(product);
    cluster.request_all(product, licenses);
    let status = cluster.agent(product, "status", &[]);
    for (what, says) in
        [("Registration", "Registered"), ("Authorization", "Out of Compliance"), ("Smart Account", "TEST-1")]
    {
        assert!(status.lines().any(|line| line.contains(what) && line.contains(says)), "no {what} {says} in\n{status}");
    }
}

/// The licenses in use are exactly these, none is covered, and each has its alert.
fn totals(cluster: &Cluster, node: &str, expected: &[(&str, u64)]) {
    let rows = cluster.json(node, &["license", "list"]);
    let used = rows.as_array().unwrap().iter().filter(|row| row["in_use"] != 0);
    let used: BTreeMap<String, (i64, i64)> =
        used.map(|row| (text(row, "license"), (number(row, "in_use"), number(row, "balance")))).collect();
    let wanted = expected.iter().map(|(name, count)| ((*name).to_owned(), (*count as i64, -(*count as i64)))).collect();
    assert_eq!(used, wanted, "{rows:#}");
    let alerts = cluster.run(node, &["alert", "list"]);
    assert_eq!(alerts.matches("insufficient-licenses").count(), expected.len(), "{alerts}");
}

fn number(row: &Value, member: &str) -> i64 {
    row[member].as_i64().unwrap_or_else(|| panic!("no {member} in {row}"))
}

/// The product instances, by name.
fn instances(cluster: &Cluster, node: &str) -> BTreeMap<String, Value> {
    let rows = cluster.json(node, &["instance", "list"]);
    rows.as_array().unwrap().iter().map(|row| (text(row, "name"), row.clone())).collect()
}
