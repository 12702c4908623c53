//! What needs no node: help, usage, completion, man pages, node files, links.

use super::{licraft, stderr, stdout};
use snapbox::str;
use std::os::unix::fs::symlink;

/// Every command that this version has.
const COMMANDS: &[&str] = &[
    "",
    "demo",
    "init",
    "node",
    "ha",
    "ha generate-keys",
    "ha provision-standby",
    "ha provision-witness",
    "ha deploy",
    "ha status",
    "ha stop",
    "ha start",
    "ha switchover",
    "ha remove",
    "ha teardown",
    "ha drill",
    "ha promote",
    "ha resolve",
    "ha set-aside",
    "ha set-aside list",
    "ha set-aside restore",
    "ha set-aside delete",
    "ha history",
    "account",
    "account list",
    "account show",
    "account request",
    "account approve",
    "account reject",
    "account deactivate",
    "account activate",
    "account delete",
    "virtual-account",
    "va list",
    "va create",
    "va rename",
    "va delete",
    "token",
    "token create",
    "token list",
    "token revoke",
    "license",
    "license list",
    "license show",
    "license usage",
    "license transfer",
    "license tag",
    "admin-identity",
    "admin-identity list",
    "admin-identity create",
    "admin-identity revoke",
    "user totp",
    "user totp enrol",
    "user totp confirm",
    "user totp reset",
    "user sign-out",
    "instance",
    "instance list",
    "instance show",
    "instance transfer",
    "instance remove",
    "sync",
    "sync now",
    "sync status",
    "event",
    "event list",
    "alert",
    "alert list",
    "alert ack",
    "settings",
    "settings get",
    "settings set",
    "user",
    "user list",
    "user create",
    "user passwd",
    "user role",
    "user disable",
    "user enable",
    "user delete",
    "api-client",
    "api-client list",
    "api-client create",
    "api-client revoke",
    "audit",
    "audit verify",
    "audit export",
    "clock",
    "clock show",
    "clock accept",
    "cert",
    "cert import-browser",
    "cert reset-browser",
    "cert rotate-sealing-key",
    "cert show",
    "cert set-common-name",
    "backup",
    "backup save",
    "backup verify",
    "backup restore",
    "doctor",
    "central",
    "central init",
    "central serve",
    "central account",
    "central account create",
    "central account list",
    "central account rename",
    "central account delete",
    "central entitle",
    "central order",
    "central order list",
    "central server",
    "central server list",
    "central server readopt",
    "central server revoke",
    "central server release",
    "central server events",
    "central answer",
    "central user",
    "central user create",
    "central user list",
    "central user passwd",
    "central user delete",
    "central token",
    "central token create",
    "central token list",
    "central token revoke",
    "central audit",
    "central audit verify",
    "central audit export",
    "central issuing-ca",
    "central issuing-ca show",
    "central issuing-ca rollover",
    "completion",
    "version",
];

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in COMMANDS {
        let help = stdout(&licraft().args(words(command)).arg("--help").assert().success());
        assert!(help.contains("Usage: licraft"), "{command}: {help}");
        assert!(help.contains("Examples:\n  licraft") || help.contains("Examples:\n  "), "{command}: {help}");
    }
}

#[test]
fn help_lists_only_what_there_is() {
    let help = stdout(&licraft().arg("--help").assert().success());
    assert!(!help.lines().any(|l| l.trim_start().starts_with("man ")), "{help}");
}

#[test]
fn usage_errors_end_with_2() {
    for command in [
        "acount list",
        "token create --expires-days 400",
        "token create --max-uses 0",
        "ha deploy",
        "ha deploy --vip nonsense",
        "ha provision-standby --join 10.0.0.5:7441",
        "license transfer X --from A --to B --quantity 0",
        "version -o yaml",
        "node",
        "--socket /a --endpoint unix:/b version",
        "--endpoint http://10.0.0.5 account list",
        "--endpoint https://10.0.0.5 account list",
    ] {
        let run = licraft().args(words(command)).assert().code(2);
        assert!(stdout(&run).is_empty(), "{command}");
        assert!(stderr(&run).to_lowercase().starts_with("error: "), "{command}: {}", stderr(&run));
    }
}

#[test]
fn a_slip_gets_a_suggestion() {
    let run = licraft().args(["acount", "list"]).assert().code(2);
    assert!(stderr(&run).contains("'account'"), "{}", stderr(&run));
}

#[test]
fn without_a_daemon() {
    let status = licraft().args(["--socket", "/nonexistent/admin.sock", "ha", "status"]).assert().code(3);
    status.stdout_eq(str![[r#"
Error: cluster is not currently running on this node

Database Replication Status:
============================
DB service not currently running.

The node's daemon does not answer: nothing listens on /nonexistent/admin.sock.
Try: start it (`systemctl start licraft`, or `licraft node --config FILE`), or name another with --socket

"#]]);
    let run = licraft().args(["--socket", "/nonexistent/admin.sock", "ha", "status", "-o", "json"]).assert().code(3);
    run.stdout_eq("").stderr_eq(str![[r#"
Error: no node answers on this machine
Why: nothing listens on /nonexistent/admin.sock
Try: start it (`systemctl start licraft`, or `licraft node --config FILE`), or name another with --socket

"#]]);
    let run = licraft().args(["--endpoint", "unix:/nonexistent/a,unix:/nonexistent/b", "account", "list"]).assert();
    let text = stderr(&run.code(3));
    assert!(text.contains("none of the nodes answers") && text.contains("/nonexistent/b"), "{text}");
}

#[test]
fn version_in_all_forms() {
    let version = env!("CARGO_PKG_VERSION");
    licraft().arg("version").assert().success().stdout_eq(format!("licraft {version}\n"));
    licraft().args(["version", "-o", "plain"]).assert().success().stdout_eq(format!("{version}\n"));
    let json = stdout(&licraft().args(["version", "-o", "json"]).assert().success());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["version"], version);
}

#[test]
fn completions_and_man_pages_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&licraft().args(["completion", shell]).assert().success());
        assert!(script.contains("switchover"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    licraft().arg("man").arg(dir.path()).assert().success();
    let page = std::fs::read_to_string(dir.path().join("licraft-ha-status.1")).unwrap();
    assert!(page.contains("Show the cluster as this node sees it"), "{page}");
}

#[test]
fn links_do_their_verb() {
    let dir = tempfile::tempdir().unwrap();
    for (name, missing) in [("ha_provision_standby", "--join <ADDR>"), ("ha_deploy", "--vip <ADDR[,ADDR6]>")] {
        let link = dir.path().join(name);
        symlink(env!("CARGO_BIN_EXE_licraft"), &link).unwrap();
        let run = snapbox::cmd::Command::new(&link).stdin("").assert().code(2);
        assert!(stderr(&run).contains(missing), "{name}: {}", stderr(&run));
    }
    for (name, verb) in [
        ("ha_status", "status"),
        ("ha_generatekeys", "generate-keys"),
        ("ha_cluster_start", "start"),
        ("ha_cluster_stop", "stop"),
        ("ha_teardown", "teardown"),
        ("ha_tear_down", "teardown"),
    ] {
        let link = dir.path().join(name);
        symlink(env!("CARGO_BIN_EXE_licraft"), &link).unwrap();
        let help = stdout(&snapbox::cmd::Command::new(&link).arg("--help").assert().success());
        assert!(help.contains(&format!("licraft ha {verb}")), "{name}: {help}");
    }
}

#[test]
fn node_files_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    let check = || licraft().args(["node", "--check", "--config"]).arg(&file).assert();
    let good = "name = \"primary-node\"\ndata_dir = \"/var/lib/licraft\"\nrole = \"data\"\naddress = \"10.0.0.5\"\n";
    std::fs::write(&file, good).unwrap();
    assert!(stdout(&check().success()).contains("is a usable node file for primary-node."));
    assert!(stdout(&check().success()).contains("no `https.crl`"), "it says what is not served");
    std::fs::write(&file, format!("{good}[https]\ncrl = \"[::]:80\"\n")).unwrap();
    assert!(!stdout(&check().success()).contains("crl"));
    std::fs::write(&file, format!("{good}[raft]\nlisten = \"10.0.0.5:7440\"\nlistn = 1\n")).unwrap();
    let text = stderr(&check().code(1));
    assert!(text.contains("Why: line 7: `listn` is not a known key; did you mean `listen`?\nTry: "), "{text}");
    std::fs::write(&file, format!("{good}[raft]\nlisten = \"10.0.0.5:7440\"\n").replace("/var", "var")).unwrap();
    let text = stderr(&check().code(1));
    assert!(text.contains("`data_dir` is `var/lib/licraft`") && text.contains("overlap"), "{text}");
    std::fs::remove_file(&file).unwrap();
    assert!(stderr(&check().code(1)).contains("cannot be read"));
}
