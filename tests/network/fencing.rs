//! Two nodes without a witness and with a fence command: they go on by themselves, one at a time.

use super::cluster::{Cluster, PRIMARY, SECONDARY, until};
use super::lab::Net;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Notes whom it is asked to fence; kills the processes in `victims` and ends with the code in `code`.
const COMMAND: &str = "#!/bin/sh
cd \"$(dirname \"$0\")\"
echo \"$LICRAFT_PEER_NAME $LICRAFT_PEER_ADDRESS\" >> asked
kill -9 $(cat victims) 2> /dev/null
exit \"$(cat code)\"
";

fn asked(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join("asked")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn the_one_that_led_fences_at_once_and_the_other_one_later() {
    let dir = tempfile::tempdir().unwrap();
    let say = |name: &str, what: &str| fs::write(dir.path().join(name), what).unwrap();
    let command = dir.path().join("fence");
    fs::write(&command, COMMAND).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = format!("[fence]\ncommand = [\"{}\"]\n", command.display());
    let Some(mut cluster) = Cluster::two_with(&lines) else { return };
    cluster.licensed();
    cluster.register("router-1");
    cluster.request("router-1", 2);

    // Whatever else than success means that the other one may live: then this one waits.
    say("code", "1");
    say("victims", "");
    cluster.kill(SECONDARY);
    until("the command", || asked(dir.path()) == ["secondary-node 10.77.0.10"]);
    until("what came of it", || cluster.log(PRIMARY).contains("this node waits"));
    assert_eq!(cluster.status(PRIMARY, "no quorum", |s| s["cluster"] == "no-quorum")["epoch"], 1);
    cluster.start(SECONDARY);
    cluster.normal();

    // Both live and do not see each other: the one that led is quicker, and the other one never comes to it.
    say("code", "0");
    say("victims", &cluster.processes(SECONDARY).map(|pid| pid.to_string()).join(" "));
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
    say("victims", "");
    cluster.kill(PRIMARY);
    cluster.status(SECONDARY, "the address, in a new epoch", |s| s["vip"]["holder"] == SECONDARY && s["epoch"] == 3);
    cluster.request("router-1", 4);
    assert_eq!(asked(dir.path()), ["secondary-node 10.77.0.10", "secondary-node 10.77.0.10", "primary-node 10.77.0.5"]);
    cluster.start(PRIMARY);
    cluster.normal();
    assert_eq!(cluster.in_use(PRIMARY), 4);
}
