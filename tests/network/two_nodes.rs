//! Two nodes without a witness: planned work never ends service, a crash does and says so.

use super::cluster::{Cluster, PRIMARY, SECONDARY, VIP};

#[test]
fn a_planned_stop_of_either_leaves_the_other_serving() {
    let Some(mut cluster) = Cluster::two_alone() else { return };
    cluster.licensed();
    cluster.register("router-1");
    let mut count = 0;
    // The standby, the active node, and each again by the signal that systemd sends.
    for (node, other) in [(SECONDARY, PRIMARY), (PRIMARY, SECONDARY)] {
        for signal in [false, true] {
            if signal {
                assert_eq!(cluster.terminate(node), Some(0));
            } else {
                cluster.run(node, &["ha", "stop", "--yes"]);
            }
            let status = cluster.held_by(other, other);
            assert_eq!(status["failure_tolerance"], 0, "{status}");
            count += 1;
            cluster.request("router-1", count);
            // The last one is not let go by accident.
            let said = cluster.refused(other, &["ha", "stop", "--yes"]);
            assert!(said.contains("nobody can take over"), "{said}");
            if signal {
                cluster.start(node);
            } else {
                cluster.run(node, &["ha", "start"]);
            }
            cluster.normal();
            assert_eq!(cluster.in_use(node), count);
            if !signal && node == PRIMARY {
                cluster.run(SECONDARY, &["ha", "switchover"]);
                cluster.held_by(PRIMARY, PRIMARY);
            }
        }
    }
}

#[test]
fn after_a_crash_of_one_the_other_waits_and_says_why() {
    let Some(mut cluster) = Cluster::two_alone() else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);
    for (dies, waits) in [(SECONDARY, PRIMARY), (PRIMARY, SECONDARY)] {
        cluster.kill(dies);
        let status = cluster.status(waits, "no quorum", |s| s["cluster"] == "no-quorum");
        let verdict = status["verdict"].as_str().unwrap();
        assert!(verdict.contains("no licenses are served") && verdict.contains(dies), "{verdict}");
        assert!(!cluster.host(waits).has(VIP));
        let own = if waits == PRIMARY { "10.77.0.5" } else { "10.77.0.10" };
        assert_eq!(cluster.ready(own), Some(503));
        cluster.start(dies);
        cluster.normal();
        assert_eq!(cluster.in_use(waits), 2);
    }
}
