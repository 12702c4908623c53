//! A page stays open while the active node dies, is stopped, or has too few others: it says so, and goes on where it was.

use super::driver::{Browser, Driver};
use super::lab::{Lab, PASSWORD, PRIMARY, SECONDARY, WITNESS, until};
use super::pages::{Page, faults};
use rustix::process::Signal;

/// Notes each time that the notice shows or hides, so that none is missed, and marks this very page.
const WATCH: &str = "
    const notice = document.getElementById('reconnecting');
    window.licraftNotices = [];
    new MutationObserver(() => {
      if (notice.hidden === (window.licraftNotices.length % 2 === 1)) window.licraftNotices.push(notice.hidden);
    }).observe(notice, { attributes: true });";
const RECONNECTING: &str = "return !document.getElementById('reconnecting').hidden";
/// Only on the page that was marked: one that was loaded anew has forgotten.
const WENT_ON: &str = "return window.licraftNotices?.length > 1 && document.getElementById('reconnecting').hidden";

fn signed_in(driver: &Driver, lab: &Lab, path: &str) -> Browser {
    let browser = driver.browser();
    browser.open(&lab.vip("/sign-in"));
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
    browser.open(&lab.vip(path));
    assert_eq!(browser.path(), path);
    browser
}

#[test]
fn open_pages_go_on_after_the_active_node_was_killed() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let driver = Driver::new(&lab);
    let cluster = signed_in(&driver, &lab, "/high-availability");
    let search = signed_in(&driver, &lab, "/licenses?q=user");
    let form = signed_in(&driver, &lab, "/password");
    cluster.says("Active Server Active primary-node");
    search.fill("#q", " typed");
    form.fill("#current", PASSWORD);
    form.fill("#new", "five words nobody knows yet");
    for browser in [&cluster, &search] {
        browser.run(WATCH);
    }
    let cookie = cluster.cookie().unwrap().value().to_owned();

    // The other node cannot take over yet: the pages have the time to notice.
    lab.signal(SECONDARY, Signal::STOP);
    lab.signal(PRIMARY, Signal::KILL);
    cluster.until("Reconnecting…", RECONNECTING);
    cluster.says("Reconnecting…");
    cluster.says("Active Server Active primary-node");
    search.until("Reconnecting…", RECONNECTING);
    lab.signal(SECONDARY, Signal::CONT);

    cluster.until_says("Active Server Active secondary-node");
    // A node passes for offline after a second and a half.
    cluster.until_says("Degraded The cluster is degraded One of the cluster nodes is offline");
    cluster.until("going on", WENT_ON);
    search.until("going on", WENT_ON);
    assert_eq!(cluster.cookie().unwrap().value(), cookie, "the session is the same");
    assert_eq!((search.path(), search.value("#q")), ("/licenses?q=user".into(), "user typed".into()));
    search.says("Showing Page 1 of 1 (4 Records)");

    // The form is sent to the node that has taken over.
    assert_eq!(form.value("#new"), "five words nobody knows yet");
    form.fill("#repeated", "five words nobody knows yet");
    form.click("main button");
    form.until_at("/");
    // Which ends the other sessions.
    cluster.until_at("/sign-in?next=%2Fhigh-availability");

    lab.until_restarted(PRIMARY);
    form.open(&lab.vip("/high-availability"));
    form.until_says("Normal The status of the high availability cluster is normal.");
    form.says("Standby Server Standby primary-node");
}

#[test]
fn the_high_availability_page_follows_the_cluster() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let driver = Driver::new(&lab);
    let page = signed_in(&driver, &lab, "/high-availability");
    page.run(WATCH);
    let own = driver.browser();
    page.says("Normal The status of the high availability cluster is normal.");
    page.says("Heartbeat Connection status: Connected VIP 127.0.0.12 held by primary-node");
    page.says("Standby Server Standby secondary-node");

    own.open(&lab.own(SECONDARY, "/licenses"));
    own.says("secondary-node is Standby primary-node is Active");
    own.click("a.button");
    own.until_at("/sign-in");

    // The standby stops and comes back.
    lab.run(SECONDARY, &["ha", "stop"]);
    page.until_says("Degraded The cluster is degraded One of the cluster nodes is offline");
    page.until_says("Connection status: Disconnected");
    page.until_says("Standby Server Degraded secondary-node");
    own.open(&lab.own(SECONDARY, "/"));
    own.says("refused to connect");
    lab.run(SECONDARY, &["ha", "start"]);
    page.until_says("Normal The status of the high availability cluster is normal.");
    page.until_says("Connection status: Connected");
    page.until_says("Standby Server Standby secondary-node");

    // The witness goes and comes back; with the standby gone too, there is no quorum.
    lab.signal(WITNESS, Signal::STOP);
    page.until_says("Degraded The witness witness is offline.");
    page.says("Standby Server Standby secondary-node");
    assert!(!page.text().contains("One of the cluster nodes"), "{}", page.text());
    assert_eq!(page.run("return window.licraftNotices").as_array().unwrap().len(), 0, "it was always reachable");
    lab.signal(SECONDARY, Signal::STOP);
    page.until("Reconnecting…", RECONNECTING);
    own.open(&lab.own(PRIMARY, "/"));
    own.until_says("No quorum Too few nodes answer each other, so no licenses are served.");
    own.says("primary-node does not serve now");
    lab.signal(SECONDARY, Signal::CONT);
    lab.signal(WITNESS, Signal::CONT);
    page.until("going on", WENT_ON);
    page.until_says("Normal The status of the high availability cluster is normal.");
}

#[test]
fn after_the_teardown_one_node_is_stand_alone_and_the_other_retired() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let driver = Driver::new(&lab);
    lab.run(PRIMARY, &["ha", "teardown", "--yes"]);
    let browser = driver.browser();
    let standalone = lab.own(PRIMARY, "");
    until("the pages of the stand-alone server", || {
        browser.open(&format!("{standalone}/"));
        browser.text().contains("Sign in")
    });
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
    browser.says("This server runs alone");
    assert!(!browser.text().contains("High Availability Normal"));
    assert_eq!(browser.run("return document.querySelector('a[href=\"/high-availability\"]')"), serde_json::Value::Null);
    browser.open(&format!("{standalone}/product-instances"));
    browser.says("Showing Page 1 of 1 (4 Records)");

    let retired = lab.own(SECONDARY, "");
    until("the pages of the retired node", || {
        browser.open(&format!("{retired}/"));
        browser.text().contains("Sign in")
    });
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
    browser.says("This node is retired and read-only. Provision it as a new node to use it again.");
    let page = |name, path| Page { name, path, status: 200, changes: false };
    let mut found = faults(&browser, &standalone, &page("stand-alone", "/"));
    found.extend(faults(&browser, &retired, &page("retired", "/")));
    found.extend(faults(&browser, &retired, &page("retired-licenses", "/licenses")));
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}
