//! Story B by clicks: products through failover and fallback.

use super::cluster::{Cluster, FQDN, PRIMARY, SECONDARY, VIP, until};
use super::person::{Person, Rows};
use super::scene::Scene;
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
/// What two products use, and what four do.
const FIRST: [(&str, u64); 5] =
    [("Base", 1), ("Lifecycle", 34), ("Enhanced", 3), ("Enhanced Plus", 1), ("Telepresence Room", 1)];
const ALL: [(&str, u64); 8] = [
    ("Assurance", 2),
    ("Base", 2),
    ("Lifecycle", 48),
    ("Basic", 2),
    ("Enhanced", 47),
    ("Enhanced Plus", 1),
    ("Essential", 4),
    ("Telepresence Room", 1),
];

#[test]
fn products_through_failover_and_fallback() {
    let Some(mut scene) = Scene::new("story-b", &NOTHING) else { return };
    let person = Person::new(&scene);
    person.begins(VIP, &scene.cluster.first_password);
    named(&person);
    scene.cluster.token = token(&person);
    let cluster = &scene.cluster;

    // 2. Two products through the virtual address use what nobody bought: granted, and out of compliance.
    bring_in(cluster, "infra-1", &[("BASE", 1), ("LIFECYCLE", 34)]);
    bring_in(cluster, "calls-1", &[("ENHANCED", 3), ("ENHANCED_PLUS", 1), ("TELEPRESENCE_ROOM", 1)]);
    totals(&person, &FIRST);
    person.station("04-two-products");
    let before = products(&person, &["calls-1", "infra-1"]);
    renamed_in_vain(&person);

    // 3. The primary is stopped; two more register during the outage.
    cluster.run(PRIMARY, &["ha", "stop", "--yes"]);
    bring_in(cluster, "infra-2", &[("ASSURANCE", 2), ("BASE", 1), ("LIFECYCLE", 14)]);
    bring_in(cluster, "calls-2", &[("BASIC", 2), ("ENHANCED", 44), ("ESSENTIAL", 4)]);

    // 4. Four products; the older two keep their last contact; the totals are exact.
    totals(&person, &ALL);
    person.until_says("Showing Page 1 of 1 (8 Records)");
    person.station_after_outage("06-failover-licenses");
    let during = products(&person, &["calls-1", "calls-2", "infra-1", "infra-2"]);
    person.station("07-failover-products");
    assert!(before.iter().all(|(name, row)| during[name] == *row), "{before:#?}\n{during:#?}");
    person.sees_cluster(&["Degraded The cluster is degraded One of the cluster nodes is offline"]);

    // 5. The primary is back, then fallback: the same four, the same totals.
    cluster.run(PRIMARY, &["ha", "start"]);
    cluster.normal();
    cluster.run(SECONDARY, &["ha", "stop", "--yes"]);
    cluster.held_by(PRIMARY, PRIMARY);
    totals(&person, &ALL);
    person.station_after_outage("08-fallback-licenses");
    assert_eq!(products(&person, &["calls-1", "calls-2", "infra-1", "infra-2"]), during);
    person.station("09-fallback-products");
}

/// 1. The host common name is set on the page for security, and is in force after the next synchronization.
fn named(person: &Person) {
    person.synchronizes("TEST-1");
    person.goes_to(&["Security"]);
    assert_eq!(
        [person.facts("Host common name"), person.facts("Signed by")],
        [[VIP.to_owned()], ["central".to_owned()]]
    );
    person.enter("New host common name", FQDN);
    person.press("Set");
    person.until_says("The setting is set.");
    person.until_says("takes effect with the next synchronization of an account");
    assert!(person.facts("Pending")[0].starts_with(FQDN), "{:?}", person.facts("Pending"));
    assert_eq!(person.facts("Host common name"), [VIP]);
    person.station("01-name-pending");
    person.goes_to(&["Licensing", "Alerts"]);
    person.until_says("Common Name Pending");
    person.synchronizes("TEST-1");
    person.goes_to(&["Security"]);
    assert_eq!(person.facts("Host common name"), [FQDN]);
    assert!(person.facts("Pending").is_empty());
    person.station("02-name-in-force");
}

/// A name that products do not use is warned of before it is saved.
fn renamed_in_vain(person: &Person) {
    person.goes_to(&["Administration", "Security"]);
    person.enter("New host common name", "other.lab.example");
    person.press("Set");
    person.until_says(&format!("With other.lab.example the certificate has {FQDN} no more."));
    person.until_says("registered are 2: ");
    person.station("05-name-warning");
    person.follows("Cancel");
    assert_eq!(person.facts("Host common name"), [FQDN]);
    assert!(person.facts("Pending").is_empty());
}

/// Makes a registration token on the page of a virtual account, and copies it.
fn token(person: &Person) -> String {
    person.goes_to(&["Licensing", "Inventory"]);
    person.follows("Default");
    person.enter("Description", "the story's products");
    person.press("Make token");
    person.until_says("Give it to the product: it registers with it.");
    person.station("03-token");
    let permissions = serde_json::json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    person.devtools("Browser.grantPermissions", permissions);
    person.press("Copy");
    person.until_says("Copied");
    let copied = "navigator.clipboard.readText().then(arguments[0])";
    let copied = person.run_async(copied, vec![]).as_str().unwrap().to_owned();
    person.until_says(&copied);
    copied
}

/// A product registers and asks for its licenses; it learns that it has them, and that nobody bought them.
fn bring_in(cluster: &Cluster, product: &str, licenses: &[(&str, u64)]) {
    cluster.register_at(product, FQDN);
    cluster.request_all(product, licenses);
    let status = cluster.agent(product, "status", &[]);
    assert!(status.contains("Registered") && status.contains("Out of Compliance"), "{status}");
}

/// The page for licenses shows exactly these in use, none of them covered by a purchase.
fn totals(person: &Person, expected: &[(&str, u64)]) {
    person.goes_to(&["Licensing", "Inventory", "Licenses"]);
    let wanted: Rows = expected.iter().map(|(name, count)| ((*name).to_owned(), license(*count))).collect();
    until("the licenses in use", || {
        let mut shown = person.table(["License", "Balance"]);
        shown.retain(|_, row| row["In Use"] != "0");
        shown.values_mut().for_each(|row| row.retain(|column, _| COLUMNS.contains(&column.as_str())));
        shown == wanted
    });
}

const COLUMNS: [&str; 4] = ["Purchased", "In Use", "Balance", "Alerts"];

fn license(in_use: u64) -> BTreeMap<String, String> {
    let cells = ["0".into(), in_use.to_string(), format!("-{in_use}"), "Insufficient Licenses".into()];
    COLUMNS.map(str::to_owned).into_iter().zip(cells).collect()
}

/// The page for product instances lists exactly these.
fn products(person: &Person, expected: &[&str]) -> Rows {
    person.goes_to(&["Licensing", "Inventory", "Product Instances"]);
    person.until_says(&format!("({} Records)", expected.len()));
    let rows = person.table(["Name", "Last Contact"]);
    assert!(rows.keys().eq(expected), "{rows:#?}");
    rows
}
