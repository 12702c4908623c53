//! The Debian package, installed into a root file system on which licraft never was, with its unit's settings. Needs root.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Takes what the node tells systemd, until the other end of `end` is gone. The kernel holds ten messages for a reader.
fn listen(socket: UnixDatagram, end: Receiver<()>) -> JoinHandle<Vec<String>> {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    std::thread::spawn(move || {
        let (mut told, mut message) = (Vec::new(), [0; 4096]);
        loop {
            match socket.recv(&mut message) {
                Ok(length) => told.push(String::from_utf8(message[..length].to_vec()).unwrap()),
                Err(_) if end.try_recv() == Err(TryRecvError::Disconnected) => return told,
                Err(_) => {}
            }
        }
    })
}

#[test]
fn the_package_installs_runs_and_leaves_the_data() {
    if std::env::var_os("LICRAFT_TEST_NO_ROOT").is_some() {
        assert!(std::env::var_os("CI").is_none(), "a root file system of its own needs root, so nothing was tested");
        eprintln!("NOT TESTED: a root file system of its own needs root");
        return;
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = tempfile::tempdir().unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = UnixDatagram::bind(shared.path().join("notify")).unwrap();
    std::fs::set_permissions(shared.path().join("notify"), std::fs::Permissions::from_mode(0o666)).unwrap();

    let (going_on, end) = std::sync::mpsc::channel();
    let told = listen(socket, end);

    let packed = Command::new(home.join("deploy/package")).args(["--test", env!("CARGO_BIN_EXE_licraft")]).output();
    let packed = packed.unwrap();
    assert!(packed.status.success(), "deploy/package: {}", String::from_utf8_lossy(&packed.stderr));

    let mut installing = Command::new("timeout");
    installing.args(["--kill-after=5", "180", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]);
    installing.arg(home.join("tests/package/clean_root")).arg(home.join("target/debian/licraft.deb"));
    let done = installing.arg(shared.path()).output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.contains("== done"), "{said}");
    assert!(said.contains("systemctl enable --now licraft"), "{said}");

    drop(going_on);
    let told = told.join().unwrap();
    let at = |what: &str| told.iter().position(|message| message.contains(what));
    assert_eq!(told.iter().filter(|m| m.contains("READY=1")).count(), 1, "{told:#?}");
    assert!(at("READY=1") < at("WATCHDOG=1") && at("WATCHDOG=1") < at("STOPPING=1"), "{told:#?}");
    assert!(told.iter().any(|message| message.contains("STATUS=")), "{told:#?}");
}
