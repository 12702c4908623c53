//! Alerts about nodes and clocks, with real processes: they come, say what to do, and go by themselves.

use super::cluster::{Cluster, PRIMARY, SECONDARY, VIP, WITNESS, text};

const HOUR_MS: i64 = 3_600_000;

#[test]
fn nodes_that_are_off_are_told_until_they_are_back() {
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.alerts(PRIMARY, &[]);
    cluster.kill(WITNESS);
    cluster.alerts(PRIMARY, &[("witness-lost", WITNESS)]);
    cluster.start(WITNESS);
    cluster.alerts(PRIMARY, &[]);
    cluster.normal();
    cluster.kill(PRIMARY);
    cluster.held_by(SECONDARY, SECONDARY);
    cluster.alerts(SECONDARY, &[("cluster-degraded", PRIMARY)]);
    cluster.start(PRIMARY);
    cluster.normal();
    cluster.alerts(PRIMARY, &[]);
    let past = cluster.run(PRIMARY, &["alert", "list", "--history"]);
    assert!(past.contains("witness-lost") && past.contains("cluster-degraded"), "{past}");

    // A standby whose clock is off is told; an active node whose clock is off hands over.
    cluster.set_clock(PRIMARY, HOUR_MS / 60);
    cluster.alerts(SECONDARY, &[("clock-skew", PRIMARY)]);
    cluster.set_clock(PRIMARY, 0);
    cluster.alerts(SECONDARY, &[]);
    cluster.set_clock(SECONDARY, HOUR_MS);
    cluster.held_by(PRIMARY, PRIMARY);
    cluster.alerts(PRIMARY, &[("clock-skew", SECONDARY)]);
    cluster.status(PRIMARY, "why it handed over", |s| {
        let actions = s["failed_actions"].as_array().unwrap();
        actions.iter().any(|a| a["node"] == SECONDARY && text(a, "why").contains("clock is more than 10 s away"))
    });
    cluster.set_clock(SECONDARY, 0);
    cluster.alerts(PRIMARY, &[]);
}

#[test]
fn a_node_alone_whose_clock_jumps_serves_on_until_it_is_set_right_or_accepted() {
    let Some(mut cluster) = Cluster::alone() else { return };
    cluster.licensed();
    cluster.register_at("router-1", "10.77.0.5");
    cluster.set_clock(PRIMARY, 365 * 24 * HOUR_MS);
    // Nobody asks for anything, and still it is told.
    cluster.alerts(PRIMARY, &[("clock-skew", "server clock")]);
    // The product's clock is right, and the certificate it gets is dated by that.
    cluster.request("router-1", 1);
    cluster.register_at("router-2", "10.77.0.5");
    cluster.request("router-2", 2);
    let shown = cluster.json(PRIMARY, &["clock", "show"]);
    assert!(shown["in_doubt"].as_bool().unwrap() && text(&shown, "clock")[..4] > text(&shown, "state_time")[..4]);
    let report = cluster.refused(PRIMARY, &["doctor"]);
    assert!(report.contains("licraft clock accept"), "{report}");
    // Central's time is another one: it confirms nothing.
    let _ = cluster.run_any(PRIMARY, &["sync", "now", "--account", "TEST-1"]);
    cluster.alerts(PRIMARY, &[("clock-skew", "server clock")]);
    cluster.set_clock(PRIMARY, 0);
    cluster.alerts(PRIMARY, &[]);
    cluster.request("router-1", 3);

    cluster.set_clock(PRIMARY, 3 * HOUR_MS);
    cluster.alerts(PRIMARY, &[("clock-skew", "server clock")]);
    let said = cluster.run(PRIMARY, &["clock", "accept", "--yes"]);
    assert!(said.contains("The clock is accepted"), "{said}");
    cluster.alerts(PRIMARY, &[]);
    assert_eq!(cluster.json(PRIMARY, &["clock", "show"])["in_doubt"], false);
}
