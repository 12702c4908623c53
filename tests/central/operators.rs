//! What the vendor's people do by the command line: accounts, orders, users, the audit log.

use super::*;

/// A central that is not served.
struct Offline {
    _dir: tempfile::TempDir,
    home: PathBuf,
}

impl Offline {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("central");
        let offline = Self { _dir: dir, home };
        offline.ok(&["init", "--name", "Example Vendor"]);
        offline.ok(&["account", "create", "Example", "--virtual-account", "Default", "--virtual-account", "Lab"]);
        offline
    }

    fn ok(&self, args: &[&str]) -> String {
        let (status, out, error) = central_cli(&self.home, args);
        assert_eq!(status, 0, "{args:?}: {error}");
        out
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat())).unwrap()
    }

    fn refused(&self, args: &[&str]) -> String {
        let (status, _, error) = central_cli(&self.home, args);
        assert_eq!(status, 1, "{args:?}: {error}");
        error
    }

    fn entitle(&self, virtual_account: &str, quantity: &str, extra: &[&str]) {
        let base = ["entitle", "--smart-account", "Example", "--virtual-account", virtual_account];
        let license = ["--license", "BASE", "--name", "Base License", "--quantity", quantity];
        self.ok(&[&base[..], &license, extra].concat());
    }
}

#[test]
fn the_root_key_goes_where_it_is_told_also_by_a_bare_name() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("central");
    let mut command = Process::new(env!("CARGO_BIN_EXE_licraft"));
    command.args(["central", "init", "--root-key", "safe.pem", "--dir"]).arg(&home).current_dir(dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("Root key:     safe.pem"), "{said}");
    let key = std::fs::read_to_string(dir.path().join("safe.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && !home.join("root-key.pem").exists());
    assert_eq!(central_cli(&home, &["account", "list"]).0, 0, "central opens without it");
    let (_, shown, _) = central_cli(&home, &["issuing-ca", "show", "-o", "plain"]);
    assert!(shown.starts_with("1\t"), "{shown}");
}

#[test]
fn each_order_is_kept_with_what_it_changed() {
    let central = Offline::new();
    assert_eq!(central.ok(&["order", "list"]), "No orders.\n");
    central.entitle("Default", "7", &[]);
    central.entitle("Default", "7", &[]);
    central.entitle("Default", "5", &["--term-end", "2999-12-31"]);
    central.entitle("Lab", "1", &[]);
    central.entitle("Default", "0", &[]);
    let orders = central.json(&["order", "list", "--virtual-account", "Default"]);
    let change = |order: &serde_json::Value| {
        let text = |key: &str| order[key].as_str().map(str::to_owned);
        (text("before"), text("after"))
    };
    let some = |text: &str| Some(text.to_owned());
    let changes: Vec<_> = orders.as_array().unwrap().iter().map(change).collect();
    let expected = [
        (some("7 perpetual, 5 until 2999-12-31"), some("nothing")),
        (some("7 perpetual"), some("7 perpetual, 5 until 2999-12-31")),
        (None, some("7 perpetual")),
    ];
    assert_eq!(changes, expected, "the newest first, and what changes nothing is no order");
    let me = format!("uid {}", rustix::process::getuid().as_raw());
    assert!(orders[0]["by"] == me.as_str() && orders[0]["license_before"]["terms"][1]["quantity"] == 5);
    assert_eq!(central.json(&["order", "list", "--limit", "1"]).as_array().unwrap().len(), 1);
    assert_eq!(central.json(&["order", "list", "--smart-account", "Else"]), serde_json::json!([]));
}

#[test]
fn accounts_are_renamed_and_deleted_when_empty() {
    let central = Offline::new();
    central.entitle("Lab", "7", &[]);
    assert_eq!(
        central.ok(&["account", "rename", "Example", "--virtual-account", "Lab", "Laboratory"]),
        "Virtual account Example/Lab is Example/Laboratory now.\n"
    );
    central.ok(&["user", "create", "eve", "--smart-account", "Example"]);
    assert_eq!(central.ok(&["account", "rename", "Example", "Sample"]), "Smart account Example is Sample now.\n");
    let list = central.ok(&["account", "list", "-o", "plain"]);
    assert_eq!(list, "Sample\tDefault\t\t\t\t0\t0\t0\nSample\tLaboratory\t\tBASE\tBase License\t7\t0\t0\n");
    assert_eq!(central.json(&["user", "list"])[0]["sees"], "Sample");

    for (args, why) in [
        (&["account", "rename", "Sample", "--virtual-account", "Laboratory", "Default"][..], "there already is"),
        (&["account", "rename", "Nobody", "Else"], "there is no smart account \"Nobody\""),
        (&["account", "rename", "Sample", "bad/name"], "must not contain"),
        (
            &["account", "delete", "Sample", "--virtual-account", "Laboratory", "--yes"],
            "still has purchased licenses, BASE",
        ),
        (&["account", "delete", "Sample", "--yes"], "still has 2 virtual accounts"),
    ] {
        let error = central.refused(args);
        assert!(error.contains(why), "{args:?}: {error}");
    }
    central.ok(&[
        "entitle",
        "--smart-account",
        "Sample",
        "--virtual-account",
        "Laboratory",
        "--license",
        "BASE",
        "--name",
        "B",
        "--quantity",
        "0",
    ]);
    central.ok(&["account", "delete", "Sample", "--virtual-account", "Laboratory", "--yes"]);
    central.ok(&["account", "delete", "Sample", "--virtual-account", "Default", "--yes"]);
    let error = central.refused(&["account", "delete", "Sample", "--yes"]);
    assert!(error.contains("is all that user eve can see"), "{error}");
    central.ok(&["user", "delete", "eve", "--yes"]);
    assert_eq!(central.ok(&["account", "delete", "Sample", "--yes"]), "Smart account Sample is deleted.\n");
    assert_eq!(central.ok(&["account", "list"]), "No smart accounts.\n");
    assert_eq!(central.json(&["order", "list"])[0]["after"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_draws_on_keeps_its_name() {
    let scene = Scene::new().await;
    let home = scene.central.home();
    for args in [
        &["account", "rename", "Example", "Sample"][..],
        &["account", "rename", "Example", "--virtual-account", "Default", "Other"],
        &["account", "delete", "Example", "--virtual-account", "Default", "--yes"],
    ] {
        let (status, _, error) = central_cli(&home, args);
        assert_eq!((status, error.contains("account \"TEST\" of server")), (1, true), "{args:?}: {error}");
    }
    scene.node.synchronize(scene.account, "admin").await.unwrap();
}

#[test]
fn users_and_tokens_are_made_shown_and_taken_back() {
    let central = Offline::new();
    let said = central.ok(&["user", "create", "ann"]);
    assert!(said.starts_with("User ann is an operator.\nPassword: "), "{said}");
    let error = central.refused(&["user", "create", "ann"]);
    assert!(error.contains("there already is a user \"ann\""), "{error}");
    let error = central.refused(&["user", "create", "bob", "--smart-account", "Nobody"]);
    assert!(error.contains("there is no smart account \"Nobody\""), "{error}");
    let file = central.home.join("../password");
    std::fs::write(&file, "short\n").unwrap();
    let file = file.to_str().unwrap();
    let error = central.refused(&["user", "passwd", "ann", "--password-file", file]);
    assert!(error.contains("must have 8 to 256 bytes"), "{error}");
    std::fs::write(file, "long enough\n").unwrap();
    assert_eq!(central.ok(&["user", "passwd", "ann", "--password-file", file]), "The password of user ann is set.\n");
    central.refused(&["user", "passwd", "nobody", "--password-file", file]);
    assert_eq!(central.json(&["user", "list"])[0]["must_change_password"], false);

    let made = central.json(&["token", "create", "--smart-account", "Example", "--description", "monitoring"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let listed = central.ok(&["token", "list", "-o", "plain"]);
    assert!(listed.contains(&format!("{id}\tmonitoring\tExample\t")) && !listed.contains(secret), "{listed}");
    let store = std::fs::read(central.home.join("store.redb")).unwrap();
    let holds = |text: &str| store.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("monitoring") && !holds(secret) && !holds("long enough"), "secrets are hashed at rest");
    central.ok(&["token", "revoke", id, "--yes"]);
    assert!(central.refused(&["token", "revoke", id, "--yes"]).contains("there is no token"));
    central.ok(&["user", "delete", "ann", "--yes"]);
    assert_eq!(central.ok(&["user", "list"]), "No users.\n");
}

#[test]
fn the_audit_log_names_every_change_and_shows_when_it_was_altered() {
    let central = Offline::new();
    central.entitle("Default", "7", &[]);
    central.ok(&["user", "create", "ann"]);
    central.refused(&["account", "rename", "Nobody", "Else"]);
    central.ok(&["account", "rename", "Example", "Sample"]);
    let file = central.home.join("../audit.jsonl");
    let path = file.to_str().unwrap();
    assert_eq!(central.ok(&["audit", "export", path]), format!("5 entries are in {path}.\n"));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let did = |line: &serde_json::Value| {
        format!("{}: {}", line["action"].as_str().unwrap(), line["detail"].as_str().unwrap())
    };
    let did: Vec<String> = lines.iter().map(did).collect();
    assert!(did[0].starts_with("init: Example Vendor, vendor root "), "{did:?}");
    let expected = [
        "account-create: Example, Example/Default, Example/Lab",
        "entitle: Example/Default: 7 of BASE",
        "user-create: ann, operator",
        "account-rename: Example to Sample",
    ];
    assert_eq!(did[1..], expected);
    let me = format!("uid {}", rustix::process::getuid().as_raw());
    assert!(lines.iter().all(|line| line["actor"] == me.as_str()));

    let said = central.ok(&["audit", "verify"]);
    assert!(said.starts_with("Entries 1 to 5 hold. The newest has the hash "), "{said}");
    assert_eq!(central.ok(&["audit", "verify", "--file", path]), said);
    std::fs::write(&file, text.replace("7 of BASE", "9 of BASE")).unwrap();
    let error = central.refused(&["audit", "verify", "--file", path]);
    assert!(error.starts_with("Error: the audit log does not hold at entry 3"), "{error}");
    assert_eq!(central.ok(&["audit", "export", "--after", "3"]).lines().count(), 2);
    // In the store itself, as somebody with a hold of the disk would.
    let store = licraft::central::Store::open(&central.home).unwrap();
    let key = "audit\x00000002";
    let mut entry: AuditEntry = store.get(key).unwrap().unwrap();
    entry.detail = "Nothing".into();
    let mut batch = licraft::central::Batch::default();
    batch.put(key, &entry);
    store.commit(batch).unwrap();
    drop(store);
    let error = central.refused(&["audit", "verify"]);
    assert!(error.starts_with("Error: the audit log does not hold at entry 2"), "{error}");
    // Cut off at its end, with what is left in order.
    let store = licraft::central::Store::open(&central.home).unwrap();
    let mut batch = licraft::central::Batch::default();
    batch.remove("audit\x00000005");
    entry.detail = "Example, Example/Default, Example/Lab".into();
    batch.put(key, &entry);
    store.commit(batch).unwrap();
    drop(store);
    let error = central.refused(&["audit", "verify"]);
    assert!(error.starts_with("Error: the audit log does not hold at entry 5"), "{error}");
}

/// Whoever is on the socket is named too, and an answer given again is no change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_central_names_who_is_on_its_socket() {
    let scene = Scene::new().await;
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let document = String::from_utf8(request).unwrap();
    for _ in 0..2 {
        scene.central.ask(AdminRequest::Answer { document: document.clone() }).await;
    }
    let AdminReply::Audit(entries) = scene.central.ask(AdminRequest::Audit { after: 0 }).await else { panic!() };
    let answers: Vec<_> = entries.iter().filter(|entry| entry.action == "answer").collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].actor, format!("uid {}", rustix::process::getuid().as_raw()));
    assert_eq!(answers[0].detail, format!("synchronization 1 of account TEST of server {SERVER}"));
    let none = entries.iter().all(|entry| !entry.actor.is_empty());
    assert!(none, "what servers do by themselves is no administrator's deed");
}
