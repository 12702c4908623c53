//! The main job, end to end, with real processes: `licraft demo --non-interactive` kills the active node, proves the
//! take-over and checks that nothing was lost. It exits 0 only when all of that holds.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

use std::process::Command;

#[test]
fn the_demo_survives_the_death_of_its_active_node() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_licraft"))
        .args(["demo", "--non-interactive", "--port-base", "21000", "--dir"])
        .arg(dir.path().join("demo"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    for expected in ["took over", "registered during the outage", "switched back", "totals are exact"] {
        assert!(said.contains(expected), "the demo does not say {expected:?}:\n{said}");
    }
    let left = Command::new("pgrep").arg("-f").arg(dir.path()).output().unwrap();
    assert!(left.stdout.is_empty(), "processes outlived the demo: {}", String::from_utf8_lossy(&left.stdout));
}

#[test]
fn busy_ports_are_named_before_anything_starts() {
    let _taken = std::net::TcpListener::bind("127.0.0.12:21101").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_licraft"))
        .args(["demo", "--non-interactive", "--port-base", "21100", "--dir"])
        .arg(&folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("127.0.0.12:21101") && errors.contains("--port-base"), "{errors}");
    assert!(!folder.exists(), "something was started");
}
