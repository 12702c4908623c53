//! Story C by clicks: back to stand-alone.

use super::cluster::{PRIMARY, SECONDARY, VIP, until};
use super::person::{Person, at};
use super::scene::Scene;

const OWN: &str = "10.77.0.5";
const RETIRED: &str = "This node is retired and read-only. Provision it as a new node to use it again.";

#[test]
fn the_pages_after_teardown_of_the_standby_and_then_of_the_active_node() {
    let Some(scene) = Scene::new("story-c", &[("BASE", "Base", 1)]) else { return };
    let cluster = &scene.cluster;
    cluster.register("router-1");
    cluster.request("router-1", 3);
    let person = Person::new(&scene);
    person.begins(VIP, &cluster.first_password);
    person.sees_cluster(&["Normal The status", "Standby Server Standby secondary-node"]);

    // The standby leaves: the active node goes on with the virtual address.
    let said = cluster.run_any(SECONDARY, &["ha", "teardown", "--yes"]);
    assert!(said.contains("HA cluster has been destroyed. SSM is now in stand-alone mode."), "{said}");
    person.sees_cluster(&["Normal The status", "held by primary-node", "Active Server Active primary-node"]);
    until("a cluster without the standby", || !person.text().contains("Standby Server"));
    person.until_says("Connection status: No standby");
    person.station("01-active-alone");

    // The retired node shows what it knew, and changes nothing.
    let visitor = Person::new(&scene);
    until("the retired node's pages", || {
        visitor.open(&at("10.77.0.10", "/"));
        visitor.text().contains("Sign in")
    });
    let _ = visitor.log();
    visitor.signs_in("10.77.0.10");
    visitor.until_says(RETIRED);
    visitor.station("02-retired");
    visitor.goes_to(&["Administration"]);
    visitor.until_says(RETIRED);
    no_cluster(&visitor);
    assert!(!visitor.text().contains("Add a standby"), "{}", visitor.text());
    visitor.station("03-retired-administration");
    has_all(&visitor);
    visitor.station("04-retired-products");

    // The active node ends the cluster, and serves on its own address.
    let said = cluster.run_any(PRIMARY, &["ha", "teardown", "--yes"]);
    assert!(said.contains("Giving up the virtual address..."), "{said}");
    until("the address gone", || !cluster.host(PRIMARY).has(VIP));
    until("an answer at the node's own address", || cluster.ready(OWN) == Some(200));
    person.signs_in(OWN);
    person.station_after_outage("05-stand-alone");
    person.goes_to(&["Administration"]);
    person.until_says("Add a standby");
    no_cluster(&person);
    person.station("06-stand-alone-administration");
    has_all(&person);

    // Host common name = own address, a synchronization, and the product changes its URL.
    person.goes_to(&["Administration", "Security"]);
    person.enter("New host common name", OWN);
    person.press("Set");
    person.until_says("With 10.77.0.5 the certificate has 10.77.0.12 no more.");
    person.until_says("registered are 1: router-1.");
    person.station("07-name-warning");
    person.press("Set it all the same");
    person.until_says("The setting is set.");
    person.synchronizes("TEST-1");
    person.goes_to(&["Security"]);
    assert_eq!(person.facts("Host common name"), [OWN]);
    person.station("08-own-name");
    let url = format!("https://{OWN}/SmartTransport");
    cluster.agent("router-1", "request", &["--url", &url, "--license", "BASE=2"]);
    person.goes_to(&["Licensing", "Inventory", "Licenses"]);
    until("the licenses in use", || person.table(["License", "Balance"])["Base"]["In Use"] == "2");
    person.station("09-product-moved");
}

/// Neither a card nor a link for the cluster.
fn no_cluster(person: &Person) {
    assert!(!person.text().contains("High Availability"), "{}", person.text());
}

fn has_all(person: &Person) {
    person.goes_to(&["Licensing", "Inventory", "Product Instances"]);
    person.until_says("(1 Record)");
    assert!(person.table(["Name", "Last Contact"]).contains_key("router-1"));
    person.goes_to(&["Licenses"]);
    assert_eq!(person.table(["License", "Balance"])["Base"]["In Use"], "3");
}
