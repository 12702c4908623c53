//! Two nodes without a witness and with a fence command: they go on by themselves, one at a time.

use super::cluster::{Cluster, PRIMARY, SECONDARY, until};
use super::lab::Net;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// Notes whom it is asked to fence; kills the processes in `victims` and ends with the code in `code`.
const COMMAND: &str = "#!/bin/sh
cd \"$(dirname \"$0\")\"
echo \"$LICRAFT_PEER_NAME $LICRAFT_PEER_ADDRESS\" >> asked
kill -9 $(cat victims) 2> /dev/null
exit \"$(cat code)\"
";

/// The folder of [`COMMAND`].
struct Fence(tempfile::TempDir);

impl Fence {
    /// Two licensed nodes that fence each other, and a product.
    fn two() -> Option<(Self, Cluster)> {
        let dir = tempfile::tempdir().unwrap();
        let command = dir.path().join("fence");
        fs::write(&command, COMMAND).unwrap();
        fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
        let mut cluster = Cluster::two_with(&format!("[fence]\ncommand = [\"{}\"]\n", command.display()))?;
        cluster.licensed();
        cluster.register("router-1");
        Some((Self(dir), cluster))
    }

    fn say(&self, name: &str, what: &str) {
        fs::write(self.0.path().join(name), what).unwrap();
    }

    /// Whom the command was asked to fence, so far.
    fn asked(&self) -> Vec<String> {
        fs::read_to_string(self.0.path().join("asked")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_drill_turns_the_other_one_off_and_waits_until_it_is_back() {
    let Some((fence, mut cluster)) = Fence::two() else { return };
    let drill = ["ha", "drill", "--fence", "--yes"];
    assert!(cluster.refused(SECONDARY, &drill).contains("primary-node is"), "drilled from a standby");

    // A command that fails, and one that only says that it has done it.
    fence.say("victims", "");
    for (code, why) in [("3", "exit status: 3"), ("0", "ended with success, but secondary-node still answers")] {
        fence.say("code", code);
        let said = cluster.refused(PRIMARY, &drill);
        assert!(said.contains("secondary-node was not fenced") && said.contains(why), "{said}");
        cluster.request("router-1", 2);
        cluster.normal();
    }

    fence.say("victims", &cluster.processes(SECONDARY).map(|pid| pid.to_string()).join(" "));
    let running = cluster.command(PRIMARY, &drill).stdout(Stdio::piped()).spawn().unwrap();
    cluster.status(PRIMARY, "the loss", |s| s["nodes"][1]["state"] == "offline");
    cluster.request("router-1", 3);
    cluster.kill(SECONDARY);
    cluster.start(SECONDARY);
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2 replicas have equal digests"), "{said}");
    cluster.normal();
    assert_eq!(cluster.status(PRIMARY, "a status", |_| true)["epoch"], 1);
}

#[test]
fn the_one_that_led_fences_at_once_and_the_other_one_later() {
    let Some((fence, mut cluster)) = Fence::two() else { return };
    cluster.request("router-1", 2);

    // Whatever else than success means that the other one may live: then this one waits.
    fence.say("code", "1");
    fence.say("victims", "");
    cluster.kill(SECONDARY);
    until("the command", || fence.asked() == ["secondary-node 10.77.0.10"]);
    until("what came of it", || cluster.log(PRIMARY).contains("this node waits"));
    let status = cluster.status(PRIMARY, "no quorum", |s| s["cluster"] == "no-quorum");
    assert_eq!((&status["epoch"], &status["failed_actions"][0]["what"]), (&1.into(), &"fencing secondary-node".into()));
    cluster.start(SECONDARY);
    cluster.normal();
    cluster.event(PRIMARY, "primary-node could not fence secondary-node at ");
    assert!(cluster.status(PRIMARY, "a status", |_| true)["failed_actions"].as_array().unwrap().is_empty());

    // Both live and do not see each other: the one that led is quicker, and the other one never comes to it.
    fence.say("code", "0");
    fence.say("victims", &cluster.processes(SECONDARY).map(|pid| pid.to_string()).join(" "));
    let primary = cluster.host(PRIMARY);
    cluster.lab.connect(&primary, Net::Private, false);
    cluster.status(PRIMARY, "the address, in a new epoch", |s| s["vip"]["holder"] == PRIMARY && s["epoch"] == 2);
    cluster.kill(SECONDARY);
    cluster.request("router-1", 3);
    cluster.event(PRIMARY, "primary-node fenced secondary-node");
    cluster.lab.connect(&primary, Net::Private, true);
    cluster.start(SECONDARY);
    cluster.normal();
    assert_eq!(cluster.in_use(SECONDARY), 3);

    // The one that led is gone: the other one's turn comes.
    fence.say("victims", "");
    cluster.kill(PRIMARY);
    cluster.status(SECONDARY, "the address, in a new epoch", |s| s["vip"]["holder"] == SECONDARY && s["epoch"] == 3);
    cluster.request("router-1", 4);
    assert_eq!(fence.asked(), ["secondary-node 10.77.0.10", "secondary-node 10.77.0.10", "primary-node 10.77.0.5"]);
    cluster.start(PRIMARY);
    cluster.normal();
    assert_eq!(cluster.in_use(PRIMARY), 4);
}
