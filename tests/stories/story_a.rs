//! Story A by clicks: accounts and synchronization through failover and fallback.

use super::cluster::{Cluster, PRIMARY, VIP, until};
use super::person::{Person, at};
use super::scene::Scene;
use serde_json::Value;

#[test]
fn accounts_and_synchronization_through_failover_and_fallback() {
    let Some(scene) = Scene::new("story-a", &[("BASE", "Base", 1)]) else { return };
    let cluster = &scene.cluster;
    let person = Person::new(&scene);
    person.begins(VIP, &cluster.first_password);
    person.station("01-overview");

    // 1. Primary Active, secondary Standby, positions equal.
    person.sees_cluster(&[
        "Normal The status of the high availability cluster is normal.",
        "Heartbeat Connection status: Connected VIP 10.77.0.12 held by primary-node",
        "Active Server Active primary-node public address (10.77.0.5)",
        "Standby Server Standby secondary-node public address (10.77.0.10)",
    ]);
    equal_positions(&person);
    person.station("02-normal");

    // 2. A synchronization succeeds; both dates move.
    let before = person.synchronizes("TEST-1");
    let first = person.synchronizes("TEST-1");
    later(&before, &first);
    person.until_says("Synchronization Successful");
    person.station("03-synchronized");

    // 3. The active node is stopped while pages are open, and a form is half filled.
    let clerk = Person::new(&scene);
    clerk.signs_in(VIP);
    clerk.goes_to(&["Administration", "Accounts", "Account Requests"]);
    clerk.enter("Account", "TEST");
    clerk.enter("Smart account at central", "Corp");
    clerk.watches();
    let (session, place) = (clerk.cookie().unwrap().value().to_owned(), clerk.path());
    person.goes_to(&["Administration", "High Availability"]);
    person.follows("Stop the cluster here");
    person.until_says("The node that is active now hands over and takes no part any more");
    person.station("04-asked-to-confirm");
    person.press("Stop the cluster here");
    // It shows the page of whoever is active, without being opened again.
    person.until_says("Active Server Active secondary-node");
    person.station_after_outage("05-stopped");
    scene.out_of_reach(|| {
        clerk.until_reconnecting();
        clerk.station_after_outage("06-reconnecting");
    });
    clerk.until_going_on();
    clerk.station_after_outage("07-going-on");
    assert_eq!((clerk.cookie().unwrap().value(), clerk.path()), (session.as_str(), place));
    assert_eq!([clerk.holds("Account"), clerk.holds("Smart account at central")], ["TEST", "Corp"]);
    person.sees_cluster(&[
        "Degraded The cluster is degraded One of the cluster nodes is offline",
        "Connection status: Disconnected",
        "Active Server Active secondary-node",
        "Standby Server Degraded primary-node",
        "took over from primary-node",
    ]);
    person.station_after_outage("08-degraded");
    let stranger = scene.driver.browser();
    stranger.open(&at("10.77.0.5", "/"));
    stranger.until_says("refused to connect");

    // 4. The secondary synchronizes, as the same server.
    let second = person.synchronizes("TEST-1");
    later(&first, &second);
    one_server(cluster, &["TEST-1"]);
    person.station("09-synchronized-by-secondary");

    // 5. The primary is back, as Standby: nothing falls back.
    cluster.run(PRIMARY, &["ha", "start"]);
    person.sees_cluster(&[
        "Normal The status of the high availability cluster is normal.",
        "Connection status: Connected",
        "Active Server Active secondary-node",
        "Standby Server Standby primary-node",
    ]);
    equal_positions(&person);
    person.station("10-normal-again");

    // 6. The half-filled form is sent; the account is approved and active while the secondary leads.
    clerk.enter("Virtual account at central", "TEST");
    clerk.press("Request account");
    clerk.until_says("The account is requested.");
    assert_eq!(clerk.table(["Account", "Account Status"])["TEST"]["Account Status"], "Requested");
    clerk.station("11-requested");
    clerk.follows("Approve");
    clerk.press("Approve");
    clerk.until_says("The account is approved.");
    clerk.goes_to(&["Accounts"]);
    until("the account active", || {
        let accounts = clerk.table(["Account", "Account Status"]);
        ["TEST", "TEST-1"].iter().all(|name| accounts[*name]["Account Status"] == "Active")
    });
    clerk.until_says("Showing All 2 Records");
    clerk.station("12-two-accounts");
    let tested = clerk.synchronizes("TEST");
    one_server(cluster, &["TEST", "TEST-1"]);

    // 7. Fallback by the page: the account is there with its dates.
    person.goes_to(&["High Availability"]);
    person.follows("Switch over");
    person.until_says("Nobody registers again, and your session goes on.");
    person.press("Switch over");
    person.until_says("Active Server Active primary-node");
    person.until_says("Normal The status of the high availability cluster is normal.");
    person.station_after_outage("13-fallback");
    person.goes_to(&["Synchronization"]);
    assert_eq!([person.synchronization("TEST"), person.synchronization("TEST-1")], [tested.clone(), second]);

    // 8. Positions are equal; TEST synchronizes with a later time.
    person.sees_cluster(&["Standby Server Standby secondary-node"]);
    equal_positions(&person);
    later(&tested, &person.synchronizes("TEST"));
    person.station("14-synchronized-again");
}

/// The page shows the same position of both data nodes.
fn equal_positions(person: &Person) {
    until("equal positions", || {
        let positions = person.facts("Last applied");
        positions.len() >= 2 && positions[0].contains('/') && positions[0] == positions[1]
    });
}

/// Both dates of a synchronization have moved.
fn later(before: &[String; 2], after: &[String; 2]) {
    assert!(before.iter().zip(after).all(|(before, after)| before < after), "{after:?} is not after {before:?}");
}

/// Central knows one server with these accounts, whichever node has synchronized.
fn one_server(cluster: &Cluster, accounts: &[&str]) {
    let list: Vec<Value> =
        serde_json::from_str(&cluster.central(&["central", "server", "list", "-o", "json"])).unwrap();
    assert!(list.iter().map(|row| row["account"].as_str().unwrap()).eq(accounts.iter().copied()), "{list:#?}");
    assert!(
        list.iter().all(|row| row["server"] == list[0]["server"] && row["status"] == list[0]["status"]),
        "{list:#?}"
    );
}
