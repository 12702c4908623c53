//! Commands against a serving node over its Unix socket, in table, JSON and plain form.

use super::fake::{Node, normal};
use super::{licraft, stderr, stdout};
use licraft::admin::{AdminError, ClusterState, Kind, Route};
use licraft::backup::Lag;
use licraft::pki::totp::Seed;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

fn json(node: &Node, args: &[&str]) -> Value {
    let text = stdout(&node.run(&[args, &["-o", "json"]].concat()).success());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
}

fn plain(node: &Node, args: &[&str]) -> String {
    stdout(&node.run(&[args, &["-o", "plain"]].concat()).success())
}

fn table(node: &Node, args: &[&str]) -> String {
    stdout(&node.run(args).success())
}

#[test]
fn init_makes_or_takes_a_password() {
    let node = Node::active();
    let made = json(&node, &["init"]);
    assert_eq!(made["server_uid"], "00ff");
    assert!(made["password"].as_str().unwrap().len() >= 40);
    let again = node.run(&["init"]).code(1);
    assert!(stderr(&again).contains("already initialised"), "{}", stderr(&again));

    let node = Node::active();
    let file = node.dir.path().join("password");
    std::fs::write(&file, "short\n").unwrap();
    let run = node.run(&["init", "--password-file", file.to_str().unwrap()]).code(1);
    assert!(stderr(&run).contains("must have 8 to 256 bytes"), "{}", stderr(&run));
    std::fs::write(&file, "secret words\n").unwrap();
    let run = node.run(&["init", "--administrator", "ops", "--password-file", file.to_str().unwrap()]).success();
    assert!(stdout(&run).contains("Administrator: ops\n") && !stdout(&run).contains("secret words"));
    assert!(node.ledger_state().user("ops").is_some_and(|u| !u.must_change));
}

impl Node {
    fn ledger_state(&self) -> std::sync::Arc<licraft::license::State> {
        licraft::raft::Ledger::state(&*self.ledger)
    }
}

#[test]
fn accounts_from_request_to_deletion() {
    let node = Node::active();
    node.run(&["init"]).success();
    assert_eq!(table(&node, &["account", "list"]), "No accounts.\n");
    assert_eq!(json(&node, &["account", "list"]), serde_json::json!([]));
    let request = ["account", "request", "TEST", "--smart-account", "S A", "--virtual-account", "V"];
    assert!(table(&node, &request).contains("Account TEST is requested"));
    let run = node.run(&request).code(1);
    assert!(stderr(&run).starts_with("Error: There already is an account"), "{}", stderr(&run));

    let list = json(&node, &["account", "list"]);
    assert_eq!(list[0]["account"], "TEST");
    assert_eq!(list[0]["account_status"], "requested");
    assert!(list[0]["requested_by"].as_str().unwrap().starts_with("uid "));
    node.run(&["account", "approve", "TEST"]).success();
    let fields: Vec<String> = plain(&node, &["account", "list"]).trim_end().split('\t').map(Into::into).collect();
    assert_eq!(fields[1..], ["TEST", &fields[2], "S A", "V", "active"]);
    let heading = table(&node, &["account", "list"]);
    assert!(
        heading.starts_with("ID  ACCOUNT  REQUESTED BY  SMART ACCOUNT  VIRTUAL ACCOUNT  ACCOUNT STATUS"),
        "{heading}"
    );
    assert!(table(&node, &["account", "show", "TEST"]).contains("Smart Account:            S A\n"));

    let run = node.run(&["account", "deactivate", "TEST", "--reason", "over"]).code(2);
    assert!(stderr(&run).contains("Try: repeat it with --yes"), "{}", stderr(&run));
    node.run(&["account", "deactivate", "TEST", "--reason", "over", "--yes"]).success();
    assert_eq!(json(&node, &["account", "show", "TEST"])["status_reason"], "over");
    node.run(&["account", "activate", "TEST"]).success();
    let run = node.run(&["account", "show", "NONE"]).code(1);
    let expected = "Error: there is no account `NONE`\nTry: `licraft account list` shows them\n";
    assert_eq!(stderr(&run), expected);

    node.run(&["token", "create"]).success();
    let run = node.run(&["account", "delete", "TEST"]).code(2);
    let asked = "- it is in service: it is deactivated\n\
                 - 1 registration token could still be used: no product can register with them any more\n\
                 - central has not heard that it ends: a last request is made for it: licraft sync export-request FILE \
                 --account \"TEST\", then licraft sync import-response with the answer\nDelete account TEST?";
    assert!(stderr(&run).contains(asked), "{}", stderr(&run));
    assert_eq!(table(&node, &["account", "delete", "TEST", "--yes"]), "Account TEST is deleted.\n");
    assert_eq!(json(&node, &["account", "list"]), serde_json::json!([]));
}

#[test]
fn an_account_with_products_is_not_deleted_and_what_is_in_the_way_is_said() {
    let node = Node::with_account();
    let token = json(&node, &["token", "create"])["token"].as_str().unwrap().to_owned();
    node.register(&token, "SN1", None, 3);
    let before = table(&node, &["account", "list"]);
    let run = node.run(&["account", "delete", "TEST", "--yes"]).code(1);
    let error = stderr(&run);
    assert!(error.starts_with("Error: account \"TEST\" cannot be deleted yet\nWhy: 1 product instance"), "{error}");
    assert!(error.contains("Try: licraft instance list --account \"TEST\""), "{error}");
    assert!(stdout(&run).contains("\n- it is in service: it is deactivated\n"), "{}", stdout(&run));
    assert_eq!(table(&node, &["account", "list"]), before, "nothing has changed");
    node.run(&["account", "delete", "TEST", "--without-central", "--yes"]).code(1);
}

#[test]
fn users_have_roles_and_one_administrator_is_always_left() {
    let node = Node::with_account();
    let made = table(&node, &["user", "create", "ann", "--role", "system-operator"]);
    assert!(made.starts_with("User ann may sign in as system-operator.\nPassword: "), "{made}");
    assert!(node.ledger_state().user("ann").unwrap().must_change);
    let password = node.dir.path().join("password");
    std::fs::write(&password, "secret words\n").unwrap();
    let file = ["--password-file", password.to_str().unwrap()];
    let place = ["user", "create", "bob", "--role", "local-account-administrator", "--account", "TEST"];
    table(&node, &[&place[..], &file].concat());
    let va = ["user", "create", "eve", "--role", "virtual-account-administrator", "--va", "TEST/Default"];
    table(&node, &[&va[..], &file].concat());
    let listed = json(&node, &["user", "list"]);
    let row = |name: &str| listed.as_array().unwrap().iter().find(|u| u["user"] == name).unwrap().clone();
    assert_eq!((&row("bob")["places"], &row("eve")["places"]), (&"TEST".into(), &"TEST/Default".into()));
    assert_eq!((&row("bob")["must_change_password"], &row("ann")["status"]), (&false.into(), &"enabled".into()));

    for (args, says) in [
        (&["user", "create", "ann"][..], "Error: There already is a user \"ann\".\n"),
        (&["user", "create", "x y"], "Error: the user's name is empty, too long or has spaces\n"),
        (
            &["user", "create", "zoe", "--role", "root"],
            "Error: there is no role `root`\nTry: use system-administrator, ",
        ),
        (
            &["user", "create", "zoe", "--account", "TEST"],
            "Error: A local account administrator needs 1 to 100 accounts",
        ),
        (&["user", "role", "admin", "read-only"], "Error: \"admin\" is the only system administrator"),
        (&["user", "disable", "admin", "--yes"], "Error: \"admin\" is the only system administrator"),
        (&["user", "delete", "admin", "--yes"], "Error: \"admin\" is the only system administrator"),
        (&["user", "passwd", "nobody"], "Error: There is no user \"nobody\".\n"),
    ] {
        let said = stderr(&node.run(args).code(1));
        assert!(said.starts_with(says), "{args:?}: {said}");
    }
    std::fs::write(&password, "short\n").unwrap();
    let said = stderr(&node.run(&[&["user", "passwd", "ann"][..], &file].concat()).code(1));
    assert_eq!(said, "Error: the password must have 8 to 256 bytes\n");
    node.run(&["settings", "set", "min-password-bytes", "12"]).success();
    std::fs::write(&password, "elevenbytes\n").unwrap();
    let said = stderr(&node.run(&[&["user", "passwd", "ann"][..], &file].concat()).code(1));
    assert_eq!(said, "Error: the password must have 12 to 256 bytes\n");

    node.run(&["user", "role", "ann", "system-administrator"]).success();
    node.run(&["user", "disable", "admin", "--yes"]).success();
    assert!(node.ledger_state().user("admin").unwrap().disabled);
    node.run(&["user", "enable", "admin"]).success();
    node.run(&["user", "delete", "eve", "--yes"]).success();
    assert!(node.ledger_state().user("eve").is_none());
}

#[test]
fn a_second_factor_is_enrolled_confirmed_and_reset() {
    let node = Node::with_account();
    let made = json(&node, &["user", "totp", "enrol", "admin"]);
    let secret = made["secret"].as_str().unwrap();
    let uri = format!("otpauth://totp/licraft:admin?secret={secret}&issuer=licraft");
    assert_eq!(made["uri"], uri.as_str());
    let asked = |node: &Node| json(node, &["user", "list"])[0]["code"].clone();
    assert_eq!(asked(&node), "not asked for");
    let sealer = node.parts(licraft::admin::Route::Here).sealer.as_ref()().unwrap();
    let totp = |node: &Node| node.ledger_state().user("admin").unwrap().totp.clone().unwrap();
    let seed = Seed::open(&sealer, &totp(&node).seed).unwrap();
    assert_eq!(*seed.secret(), secret);
    assert!(!format!("{:?}", node.ledger_state().records().collect::<Vec<_>>()).contains(secret), "it is sealed");

    let wrong = stderr(&node.run(&["user", "totp", "confirm", "admin", "12345x"]).code(1));
    assert!(wrong.starts_with("Error: the code is wrong\nTry: "), "{wrong}");
    let step = super::fake::now().0 / 30_000;
    let confirm = ["user", "totp", "confirm", "admin", &seed.code(step)];
    let said = table(&node, &confirm);
    assert_eq!(said, "User admin is asked for a code from now on; open sessions have ended.\n");
    assert_eq!(asked(&node), "asked for");
    assert!(stderr(&node.run(&confirm).code(1)).contains("was used already"));
    let again = stderr(&node.run(&["user", "totp", "enrol", "admin"]).code(1));
    assert!(again.contains("has a second factor; reset it first"), "{again}");

    // The only administrator has lost the device: the socket always works.
    assert_eq!(
        table(&node, &["user", "totp", "reset", "admin", "-y"]),
        "User admin signs in with the password alone.\n"
    );
    assert_eq!(asked(&node), "not asked for");
    assert!(stderr(&node.run(&["user", "totp", "reset", "admin", "-y"]).code(1)).contains("has no second factor"));
    assert!(stderr(&node.run(&["user", "totp", "enrol", "nobody"]).code(1)).contains("no user \"nobody\""));
    let said = table(&node, &["user", "totp", "enrol", "admin"]);
    assert!(said.starts_with("Secret: ") && said.contains("\nURI:    otpauth://totp/"), "{said}");
    assert!(
        said.ends_with("Next: `licraft user totp confirm admin CODE` with a code of the authenticator.\n"),
        "{said}"
    );
    assert_eq!(table(&node, &["user", "sign-out", "admin"]), "User admin is signed out everywhere.\n");
    let audit = plain(&node, &["audit", "export"]);
    for action in ["user-totp-enrol", "user-totp-confirm", "user-totp-reset", "user-sign-out"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
}

#[test]
fn licenses_have_labels_and_are_found_by_them() {
    let node = Node::with_account();
    table(&node, &["license", "tag", "ENH", "--add", "voice", "--add", "cost center 7"]);
    table(&node, &["license", "tag", "UC Manager Essential", "--add", "voice"]);
    let labels = |args: &[&str]| -> Vec<String> {
        let rows = json(&node, &[&["license", "list"][..], args].concat());
        rows.as_array().unwrap().iter().map(|p| format!("{}: {}", p["tag"], p["labels"])).collect()
    };
    assert_eq!(labels(&["--label", "cost center 7"]), [r#""ENH": "cost center 7, voice""#]);
    assert_eq!(labels(&["--label", "nothing"]), [""; 0]);
    // What is known of a license but not here: it has no pool before it is bought or used.
    assert_eq!(labels(&["--label", "voice"]).len(), 1);
    table(&node, &["license", "tag", "ENH", "--remove", "cost center 7", "--remove", "never there"]);
    assert_eq!(labels(&[]), [r#""ENH": "voice""#]);
    for (args, says) in [
        (&["license", "tag", "ENH", "--add", "a,b"][..], "Error: A label has at most 64 bytes and no comma."),
        (&["license", "tag", "ENH", "--add", ""], "Error: The label must not be empty"),
        (&["license", "tag", "NONE", "--add", "x"], "Error: there is no license `NONE`"),
    ] {
        let said = stderr(&node.run(args).code(1));
        assert!(said.starts_with(says), "{args:?}: {said}");
    }
    node.run(&["license", "tag", "ENH"]).code(2);
    let many: Vec<String> = (0..17).map(|n| format!("label {n}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|l| ["--add", l]).collect();
    let said = stderr(&node.run(&[&["license", "tag", "ENH"], &many[..]].concat()).code(1));
    assert!(said.contains("would have 18 labels; at most 16"), "{said}");
    assert!(plain(&node, &["audit", "export"]).contains("ENH +voice +cost center 7"));
}

#[test]
fn a_cluster_of_devices_is_shown_and_found_by_each() {
    let node = Node::with_account();
    let token = json(&node, &["token", "create"])["token"].as_str().unwrap().to_owned();
    let device = |sn: &str, host: Option<&str>| {
        let udi = licraft::license::Udi { pid: "PI-SOFTWARE".into(), sn: sn.into() };
        licraft::license::Device { udi: udi.into(), host_name: host.map(Into::into) }
    };
    node.register_for(&token, "SN1", vec![device("SN2", Some("calls-2")), device("SN3", None)]);
    let shown = json(&node, &["instance", "show", "PI-SOFTWARE:SN3"]);
    let devices = serde_json::json!([
        { "pid": "PI-SOFTWARE", "sn": "SN2", "host_name": "calls-2" },
        { "pid": "PI-SOFTWARE", "sn": "SN3", "host_name": null },
    ]);
    assert_eq!((&shown["sn"], &shown["devices"]), (&"SN1".into(), &devices));
    let text = table(&node, &["instance", "show", "PI-SOFTWARE:SN1"]);
    assert!(text.contains("PI-SOFTWARE:SN2") && text.contains("calls-2"), "{text}");
}

#[test]
fn a_proxy_is_set_without_a_password() {
    let node = Node::with_account();
    for (value, says) in [
        ("http://ann:secret@proxy:3128", "it must not hold a name or a password"),
        ("ftp://proxy:21", "it must be an http URL"),
        ("proxy:3128/path", "it must be an http URL"),
        ("nonsense", "write it as http://proxy.example.com:3128"),
    ] {
        let said = stderr(&node.run(&["settings", "set", "proxy", value]).code(1));
        assert!(said.contains(says), "{value}: {said}");
    }
    node.run(&["settings", "set", "proxy", "http://proxy.example.com:3128"]).success();
    assert!(plain(&node, &["settings", "get", "proxy"]).contains("http://proxy.example.com:3128"));
    assert!(plain(&node, &["audit", "export"]).contains("proxy=http://proxy.example.com:3128"));
    node.run(&["settings", "set", "proxy", ""]).success();
    assert_eq!(node.ledger_state().settings().proxy, "");
}

#[test]
fn api_clients_are_made_for_an_account_and_shown_without_their_secret() {
    let node = Node::with_account();
    let made = json(&node, &["api-client", "create", "--account", "TEST", "--description", "monitoring"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let hash = licraft::pki::sha256(secret.as_bytes());
    assert_eq!(node.ledger_state().api_client(id).unwrap().secret_hash, hash);
    let listed = stdout(&node.run(&["api-client", "list", "-o", "json"]).success());
    assert!(listed.contains(id) && listed.contains("monitoring") && !listed.contains(secret), "{listed}");
    node.run(&["api-client", "revoke", id, "--yes"]).success();
    assert_eq!(json(&node, &["api-client", "list"]), serde_json::json!([]));
    let said = stderr(&node.run(&["api-client", "revoke", id, "--yes"]).code(1));
    assert_eq!(said, format!("Error: There is no API client \"{id}\".\n"));
}

#[test]
fn the_audit_log_names_every_change_and_shows_when_it_was_altered() {
    let node = Node::with_account();
    node.run(&["token", "create", "--description", "branch"]).success();
    node.run(&["settings", "set", "central-url", "https://central.example.com"]).success();
    node.run(&["account", "reject", "TEST", "--reason", "late", "--yes"]).code(1);
    let file = node.dir.path().join("audit.jsonl");
    let path = file.to_str().unwrap();
    assert_eq!(table(&node, &["audit", "export", path]), format!("6 entries are in {path}.\n"));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let did: Vec<(&str, &str)> =
        lines.iter().map(|l| (l["action"].as_str().unwrap(), l["detail"].as_str().unwrap())).collect();
    assert_eq!(
        did,
        [
            ("initialize", "administrator admin"),
            ("account-request", "TEST for S/V"),
            ("account-approve", "TEST"),
            ("account-activate", "TEST with 2 licenses"),
            ("token-create", "TEST/Default branch"),
            ("settings-set", "central-url=https://central.example.com"),
        ],
        "what is refused is no change"
    );
    assert!(lines[4]["actor"].as_str().unwrap().starts_with("uid "));
    let said = table(&node, &["audit", "verify"]);
    assert!(said.starts_with("Entries 1 to 6 hold."), "{said}");
    assert_eq!(table(&node, &["audit", "verify", "--file", path]), said);
    assert!(stderr(&node.run(&["audit", "export", path]).code(1)).contains("cannot be written"), "never over a file");

    std::fs::write(&file, text.replace("branch", "brunch")).unwrap();
    let said = stderr(&node.run(&["audit", "verify", "--file", path]).code(1));
    assert!(said.starts_with("Error: the audit log does not hold at entry 5\nWhy: it, or the one before it"), "{said}");
    std::fs::write(&file, "{}\n").unwrap();
    let said = stderr(&node.run(&["audit", "verify", "--file", path]).code(1));
    assert!(said.contains("is no exported audit log\nWhy: line 1: missing field `seq`"), "{said}");
    assert_eq!(table(&node, &["audit", "export", "--after", "5"]).lines().count(), 1);
}

#[test]
fn virtual_accounts_and_tokens() {
    let node = Node::with_account();
    let id = plain(&node, &["va", "create", "Lab"]);
    assert!(id.trim_end().parse::<u64>().is_ok(), "{id}");
    node.run(&["va", "rename", "Lab", "Laboratory", "--account", "TEST"]).success();
    let list = json(&node, &["virtual-account", "list"]);
    assert!(list.as_array().unwrap().iter().any(|va| va["virtual_account"] == "Laboratory" && va["default"] == false));

    let made = json(&node, &["token", "create", "--virtual-account", "Laboratory", "--max-uses", "1"]);
    let token = made["token"].as_str().unwrap().to_owned();
    let listed = &json(&node, &["token", "list"])[0];
    assert_eq!(listed["status"], "active");
    assert_eq!(listed["max_uses"], 1);
    assert!(listed.get("token").is_none(), "a token is shown only when asked for");
    assert_eq!(json(&node, &["token", "list", "--reveal"])[0]["token"], token.as_str());
    node.register(&token, "SN1", None, 3);
    assert_eq!(json(&node, &["token", "list"])[0]["status"], "exhausted");
    let bare = table(&node, &["token", "create"]);
    assert_eq!(bare.trim_end().len(), token.len(), "alone on its line: {bare}");
    let id = listed["id"].to_string();
    node.run(&["token", "revoke", &id, "-y"]).success();
    assert!(plain(&node, &["token", "list", "--va", "Laboratory"]).contains("\trevoked\t"));
    let run = node.run(&["va", "delete", "Laboratory", "--yes"]).code(1);
    assert!(stderr(&run).starts_with("Error: "), "{}", stderr(&run));
    node.run(&["va", "create", "Empty"]).success();
    node.run(&["va", "delete", "Empty", "--yes"]).success();
}

#[test]
fn a_lost_reply_makes_no_second_token() {
    let node = Node::with_account();
    *node.ledger.lost_replies.lock() = 2;
    let made = json(&node, &["token", "create"]);
    let tokens = json(&node, &["token", "list", "--reveal"]);
    assert_eq!(tokens.as_array().unwrap().len(), 1);
    assert_eq!(tokens[0]["token"], made["token"]);
    assert_eq!(*node.ledger.lost_replies.lock(), 0, "the replies were lost indeed");
}

#[test]
fn licenses_and_instances() {
    let node = Node::with_account();
    node.run(&["va", "create", "Lab"]).success();
    let token = json(&node, &["token", "create"])["token"].as_str().unwrap().to_owned();
    node.register(&token, "SN1", Some("router-7"), 12);
    node.register(&token, "SN2", None, 1);

    let pools = json(&node, &["license", "list"]);
    let pool = pools.as_array().unwrap().iter().find(|p| p["tag"] == "ENH").unwrap();
    assert_eq!((&pool["purchased"], &pool["in_use"], &pool["balance"]), (&10.into(), &13.into(), &(-3).into()));
    assert_eq!(pool["status"], "Insufficient Licenses");
    assert!(table(&node, &["license", "show", "UC Manager Enhanced"]).contains("Insufficient Licenses"));
    let default = pool["virtual_account"].as_str().unwrap();
    node.run(&["license", "transfer", "ENH", "--from", default, "--to", "Lab", "--quantity", "4"]).success();
    let shown = json(&node, &["license", "show", "ENH"]);
    let of =
        |va: &str| shown.as_array().unwrap().iter().find(|p| p["virtual_account"] == va).unwrap()["purchased"].clone();
    assert_eq!((of(default), of("Lab")), (6.into(), 4.into()));

    // Of today, and at midnight of tomorrow too.
    let day = |args: &[&str]| {
        json(&node, &[&["license", "usage"], args].concat()).as_array().unwrap().last().unwrap().clone()
    };
    let all = day(&[]);
    let counts =
        |day: &Value| ["purchased", "in_use", "peak_in_use", "lowest_balance"].map(|key| day[key].as_i64().unwrap());
    assert_eq!(counts(&all), [10, 13, 13, -7]);
    assert_eq!((&all["status"], &all["out_of_compliance"]), (&"Out Of Compliance".into(), &1.into()));
    assert!(all["date"].as_str().unwrap().starts_with("20") && all["date"].as_str().unwrap().len() == 10);
    assert_eq!(counts(&day(&["ENH", "--va", "Lab", "--days", "400"])), [4, 0, 0, 4]);
    let shown = table(&node, &["license", "usage", "UC Manager Enhanced"]);
    let head: Vec<_> =
        shown.lines().next().unwrap().split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    let expected = ["DATE", "PURCHASED", "IN USE", "PEAK IN USE", "SUBSTITUTION", "LOWEST BALANCE", "STATUS"];
    assert_eq!(head, expected, "{shown}");
    assert!(table(&node, &["license", "usage", "ESS"]).starts_with("No days on which"));
    assert!(stderr(&node.run(&["license", "usage", "NONE"]).code(1)).contains("there is no license `NONE`"));
    node.run(&["license", "usage", "--days", "401"]).code(2);

    let list = json(&node, &["instance", "list"]);
    assert_eq!(list[0]["name"], "router-7");
    assert_eq!(list[1]["name"], "UDI_PID:PI-SOFTWARE;UDI_SN:SN2");
    assert_eq!(list[0]["status"], "Out Of Compliance");
    assert_eq!(json(&node, &["instance", "list", "--limit", "1"]).as_array().unwrap().len(), 1);
    assert!(table(&node, &["instance", "show", "PI-SOFTWARE:SN2"]).contains("UC Manager Enhanced"));
    assert_eq!(json(&node, &["instance", "show", "router-7"])["licenses"][0]["count"], 12);
    node.run(&["instance", "transfer", "router-7", "--to", "Lab"]).success();
    assert!(plain(&node, &["instance", "list", "--va", "Lab"]).contains("router-7"));
    node.run(&["instance", "remove", "router-7", "--yes"]).success();
    assert_eq!(json(&node, &["instance", "list"]).as_array().unwrap().len(), 1);

    node.register_using(&token, "SN3", None, "ESS", 2);
    let shown = node.run(&["license", "show", "ESS"]).success();
    let said = String::from_utf8_lossy(&shown.get_output().stderr).into_owned();
    let said = said + &String::from_utf8_lossy(&shown.get_output().stdout);
    let loan =
        format!("In {default} 2 of UC Manager Enhanced cover UC Manager Essential, as the vendor's rule allows: ");
    let loan = loan + "UC Manager Essential lacked 2, UC Manager Enhanced had 5 to spare.";
    assert!(said.contains(&loan), "{said}");
    let lent = json(&node, &["license", "show", "ENH"]);
    let lent = lent.as_array().unwrap().iter().find(|p| p["virtual_account"] == default).unwrap();
    assert_eq!(
        (&lent["substitution"], &lent["balance"], &lent["loans"][0]["count"]),
        (&(-2).into(), &3.into(), &2.into())
    );
    let rules = ["UC Manager Essential", "UC Manager Enhanced"];
    assert_eq!((&lent["loans"][0]["rules"], &lent["loans"][0]["spare"]), (&rules.into(), &5.into()));
    let run = node.run(&["instance", "show", "router-7"]).code(1);
    assert!(stderr(&run).contains("there is no product instance `router-7`"));
}

#[test]
fn events_alerts_sync_settings_doctor() {
    let node = Node::with_account();
    let lines = stdout(&node.run(&["event", "list", "-o", "json"]).success());
    let events: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(events.iter().any(|e| e["kind"] == "account-approved" && e["account"] == "TEST"));
    assert!(events.windows(2).all(|w| w[0]["seq"].as_u64() < w[1]["seq"].as_u64()));
    assert_eq!(table(&node, &["event", "list", "--last", "1"]).lines().count(), 1);
    assert!(plain(&node, &["event", "list", "--account", "TEST"]).lines().all(|l| l.contains("\tTEST\t")));

    let run = node.run(&["sync", "now"]).code(1);
    assert!(stderr(&run).starts_with("Error: central does not answer\nTry: "), "{}", stderr(&run));
    let status = json(&node, &["sync", "status"]);
    assert_eq!(status[0]["alerts"], "Synchronization Failed");
    assert_eq!(status[0]["reason"], "central does not answer");
    let said = table(&node, &["sync", "schedule"]);
    assert!(said.contains("on Sundays at 02:00 UTC"), "{said}");
    let daily = json(&node, &["sync", "schedule", "--every", "daily", "--at", "03:30"]);
    assert_eq!(daily[0]["schedule"], "daily at 03:30 UTC");
    assert!(daily[0]["next_synchronization"].is_string(), "{daily}");
    let monthly = json(&node, &["sync", "schedule", "--account", "TEST", "--every", "monthly", "--on", "15"]);
    assert_eq!(monthly[0]["schedule"], "on day 15 of each month at 02:00 UTC");
    assert!(json(&node, &["sync", "schedule", "--every", "off"])[0]["next_synchronization"].is_null());
    for wrong in
        [&["--every", "weekly", "--on", "someday"][..], &["--every", "monthly", "--on", "31"], &["--at", "24:00"]]
    {
        node.run(&[&["sync", "schedule"], wrong].concat()).code(2);
    }

    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let said = table(&node, &["sync", "export-request", &file("request")]);
    assert!(said.starts_with("The request for the synchronization 1 of account TEST is in "), "{said}");
    assert_eq!(std::fs::read(file("request")).unwrap(), b"a request");
    node.run(&["sync", "export-request", &file("request")]).code(1);
    node.run(&["sync", "export-request", &file("other"), "--account", "nobody"]).code(1);
    assert!(!std::path::Path::new(&file("other")).exists(), "an empty file was left");
    std::fs::write(file("response"), "a response").unwrap();
    let said = table(&node, &["sync", "import-response", &file("response"), "--dry-run"]);
    assert!(said.contains("UC Manager Enhanced") && said.contains("Nothing is changed yet."), "{said}");
    assert_eq!(json(&node, &["sync", "import-response", &file("response")])[0]["balance_after"], -2);
    assert!(
        stderr(&node.run(&["sync", "import-response", &file("request")]).code(1)).contains("not a licraft document")
    );
    node.run(&["sync", "import-response", &file("nothing")]).code(1);

    let alert = json(&node, &["alert", "list"])[0].clone();
    assert_eq!(alert["kind"], "synchronization-failed");
    let source = alert["source"].as_str().unwrap();
    node.run(&["alert", "ack", "synchronization-failed", source]).success();
    assert_eq!(json(&node, &["alert", "list"])[0]["acknowledged"], true);
    node.run(&["alert", "ack", "witness-lost", "x"]).code(1);

    node.run(&["settings", "set", "central-url", "https://central.example.com:8444"]).success();
    let url = plain(&node, &["settings", "get", "central-url"]);
    assert_eq!(url.split('\t').nth(1), Some("https://central.example.com:8444"));
    let all = json(&node, &["settings", "get"]);
    for setting in ["host-common-name", "central-url", "vip", "heartbeat-ms", "election-min-ms", "election-max-ms"] {
        assert!(all.as_array().unwrap().iter().any(|s| s["setting"] == setting), "{setting}: {all}");
    }
    node.run(&["settings", "set", "message-of-the-day", "Staff only.\r\nMaintenance on Sunday."]).success();
    let message = json(&node, &["settings", "get", "message-of-the-day"]);
    assert_eq!(message[0]["value"], "Staff only.\nMaintenance on Sunday.");
    let said = stderr(&node.run(&["settings", "set", "message-of-the-day", &"x".repeat(501)]).code(1));
    assert!(said.contains("The message of the day has 501 characters"), "{said}");
    node.run(&["settings", "set", "message-of-the-day", ""]).success();
    let run = node.run(&["settings", "get", "central-ulr"]).code(1);
    assert!(stderr(&run).contains("Try: `central-url`?"), "{}", stderr(&run));
    for (key, value) in [("central-url", "http://a"), ("vip", "10.0.0.1"), ("heartbeat-ms", "soon")] {
        node.run(&["settings", "set", key, value]).code(1);
    }

    let dir = tempfile::tempdir().unwrap();
    let login = dir.path().join("login");
    std::fs::write(&login, "proxy user:secret word\n").unwrap();
    let login = format!("@{}", login.display());
    let said = table(&node, &["settings", "set", "proxy-login", &login]);
    assert_eq!(said, "proxy-login is set now.\n");
    assert_eq!(json(&node, &["settings", "get", "proxy-login"])[0]["value"], "set");
    assert!(!table(&node, &["settings", "get"]).contains("secret word"));
    let wrong = stderr(&node.run(&["settings", "set", "proxy-login", "secret word"]).code(1));
    assert!(wrong.contains("it must be NAME:PASSWORD") && !wrong.contains("secret word"), "{wrong}");
    assert_eq!(table(&node, &["settings", "set", "proxy-login", ""]), "proxy-login is empty now.\n");

    let report = table(&node, &["doctor"]);
    assert!(report.contains("passed   kept totals") && report.contains("2 of 2 replicas are equal"), "{report}");
    let file = dir.path().join("diagnostics.json");
    let bundle = ["doctor", "--bundle", file.to_str().unwrap()];
    assert_eq!(table(&node, &bundle), report);
    let read: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(read["checks"][0]["name"], "kept totals");
    // A file that is there is kept.
    let said = stderr(&node.run(&bundle).code(1));
    assert!(said.contains("cannot be written") && said.contains("name a new file"), "{said}");
}

#[test]
fn a_new_common_name_says_what_it_breaks() {
    let node = Node::with_account();
    node.run(&["settings", "set", "host-common-name", "10.0.0.12"]).success();
    let shown = json(&node, &["cert", "show"]);
    assert_eq!((&shown["common_name"], &shown["signed_by"]), (&"10.0.0.12".into(), &"cluster CA".into()));
    let token = json(&node, &["token", "create"])["token"].as_str().unwrap().to_owned();
    node.register(&token, "SN1", Some("router-7"), 1);

    let change = ["cert", "set-common-name", "licenses.example.com"];
    let refused = stderr(&node.run(&change).code(2));
    assert!(
        refused.contains("WARNING: With licenses.example.com the certificate has 10.0.0.12 no more.")
            && refused.contains("registered are router-7"),
        "{refused}"
    );
    assert_eq!(json(&node, &["cert", "show"])["common_name"], "10.0.0.12");
    let done = table(&node, &[&change[..], &["--yes"]].concat());
    assert!(done.contains("The common name is licenses.example.com."), "{done}");
    assert!(table(&node, &change).contains("is licenses.example.com already"));
    let wrong = stderr(&node.run(&["cert", "set-common-name", "no_such name", "-y"]).code(1));
    assert!(wrong.contains("is no host name and no address"), "{wrong}");
    assert_eq!(json(&node, &["cert", "show"])["common_name"], "licenses.example.com");
}

#[test]
fn a_clock_in_doubt_is_shown_and_accepted_and_its_alert_is_history() {
    let node = Node::with_account();
    let shown = json(&node, &["clock", "show"]);
    assert_eq!((&shown["in_doubt"], &shown["clock"]), (&false.into(), &shown["state_time"]));
    let said = table(&node, &["clock", "accept", "--yes"]);
    assert_eq!(said, "The active node's clock is in no doubt; there is nothing to accept.\n");

    *node.ledger.ahead.lock() = 49 * 3_600_000;
    node.run(&["settings", "set", "licenses-expiring-days", "20"]).success();
    assert_eq!(json(&node, &["clock", "show"])["in_doubt"], true);
    let alert = json(&node, &["alert", "list"])[0].clone();
    assert_eq!((&alert["kind"], &alert["source"]), (&"clock-skew".into(), &"server clock".into()));
    let report = stdout(&node.run(&["doctor"]).code(1));
    assert!(report.contains("the active node's clock is 49 h ahead") && report.contains("clock accept"), "{report}");
    // Nobody is there to ask.
    let run = node.run(&["clock", "accept"]).code(2);
    assert!(stderr(&run).contains("says 20") && stderr(&run).contains("2 days and 1 hours ahead"), "{}", stderr(&run));
    let run = node.run(&["clock", "accept", "--yes"]).success();
    assert!(stdout(&run).starts_with("The clock is accepted: it is 20"), "{}", stdout(&run));
    *node.ledger.ahead.lock() = 0;
    assert_eq!(json(&node, &["clock", "show"])["in_doubt"], false);

    assert_eq!(json(&node, &["alert", "list"]).as_array().unwrap().len(), 0);
    let past = json(&node, &["alert", "list", "--history"]);
    let kinds: Vec<&str> = past.as_array().unwrap().iter().map(|a| a["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["clock-skew", "account-pending"]);
    assert!(past[0]["cleared"].is_string() && past[0]["cleared_by"] == "uid 0", "{past}");
    let found =
        |args: &[&str]| json(&node, &[&["alert", "list", "--history"], args].concat()).as_array().unwrap().len();
    assert_eq!(
        (found(&["--severity", "major"]), found(&["--search", "CLOCK"]), found(&["--search", "x y"])),
        (1, 1, 0)
    );
    assert_eq!(json(&node, &["alert", "list", "--history", "--account", "TEST"]).as_array().unwrap().len(), 1);
    let audit = plain(&node, &["audit", "export"]);
    assert!(audit.contains("clock-accept"), "{audit}");
    node.run(&["settings", "set", "licenses-expiring-days", "0"]).code(1);
    node.run(&["settings", "set", "licenses-expiring-days", "soon"]).code(1);
}

#[test]
fn events_are_followed() {
    let node = Node::with_account();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_licraft"))
        .arg("--socket")
        .arg(node.socket())
        .args(["event", "list", "--follow", "-o", "json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok) {
            let _ = tx.send(line);
        }
    });
    let wait_for = |kind: &str| loop {
        let line = rx.recv_timeout(std::time::Duration::from_secs(30)).expect("an event in time");
        if serde_json::from_str::<Value>(&line).unwrap()["kind"] == kind {
            return;
        }
    };
    wait_for("account-activated");
    node.run(&["account", "request", "SECOND", "--smart-account", "S", "--virtual-account", "W"]).success();
    wait_for("account-requested");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

#[test]
fn the_clusters_verbs() {
    let node = Node::active();
    let run = table(&node, &["ha", "generate-keys"]);
    assert!(run.contains("licraft ha provision-standby --join 192.168.1.5:7441 --code AB-CD\n"), "{run}");
    assert_eq!(json(&node, &["ha", "generate-keys"])["code"], "AB-CD");
    node.run(&["ha", "provision-witness", "--join", "192.168.1.5:7441", "--code", "AB-CD"]).success();
    let run = node.run(&["ha", "provision-standby", "--join", "192.168.1.5:7441", "--code", "X"]).code(1);
    assert!(stderr(&run).contains("Error: the pairing code is wrong\nTry: make another"), "{}", stderr(&run));
    let run = node.run(&["ha", "provision-standby", "--join", "a:1", "--code", "X", "--replace"]).code(2);
    assert!(stderr(&run).contains("--yes"));
    let run = table(&node, &["ha", "deploy", "--vip", "192.168.1.12,2001:db8::12", "--interface", "ens192"]);
    assert!(run.starts_with("passed   clocks ") && run.contains("warning  voters"), "{run}");
    assert_eq!(json(&node, &["ha", "deploy", "--vip", "192.168.1.12", "--dry-run"])[1]["result"], "warning");
    let calls = node.cluster.calls.lock().clone();
    assert_eq!(calls[0], "provision 192.168.1.5:7441 true");
    assert!(calls.contains(&"deploy [192.168.1.12, 2001:db8::12] Some(\"ens192\") false".to_owned()), "{calls:?}");
    node.run(&["ha", "deploy", "--vip", "192.168.1.12,192.168.1.13"]).code(1);

    assert!(table(&node, &["ha", "switchover"]).contains("Measured gap: 12 ms."));
    assert_eq!(json(&node, &["ha", "switchover", "--to", "secondary-node"])["gap_ms"], 12);
    let run = node.run(&["ha", "switchover", "--to", "nobody"]).code(3);
    assert_eq!(stderr(&run).lines().count(), 3, "what, why, what to do: {}", stderr(&run));
    assert_eq!(table(&node, &["ha", "stop"]), "Stopping Cluster (vip)...\nStopping Cluster (raft)...\n");
    assert_eq!(table(&node, &["ha", "start"]), "Starting Cluster (raft)...\nStarting Cluster (vip)...\n");
    node.cluster.status.lock().cluster = ClusterState::NoQuorum;
    node.run(&["ha", "stop"]).code(3);
    node.run(&["ha", "stop", "--force", "--yes"]).success();
    let run = node.run(&["ha", "remove", "secondary-node"]).code(2);
    assert!(stderr(&run).contains("secondary-node will be retired") && stderr(&run).contains("--yes"));
    let run = table(&node, &["ha", "remove", "secondary-node", "--yes"]);
    assert_eq!(run, "Retiring secondary-node...\nsecondary-node is no member any more.\n");
    let run = node.run(&["ha", "teardown"]).code(2);
    assert!(stderr(&run).starts_with("WARNING: You are about to destroy the HA cluster configuration"));
    assert!(!node.cluster.calls.lock().contains(&"teardown".to_owned()), "torn down without a yes");
    let run = table(&node, &["ha", "teardown", "--yes"]);
    let ends = "HA cluster has been destroyed. SSM is now in stand-alone mode.\n";
    assert_eq!(run, format!("Retiring secondary-node...\n{ends}"));
    assert!(stderr(&node.run(&["ha", "drill"]).code(2)).contains("clients wait some milliseconds twice"));
    let run = table(&node, &["ha", "drill", "--yes"]);
    let says = "The drill passed: 21 ms to secondary-node, 23 ms back; 3 replicas have equal digests.\n";
    assert_eq!(run, format!("Handing over to secondary-node...\n{says}"));
    assert_eq!(json(&node, &["ha", "drill", "--yes"])["back_ms"], 23);
    assert!(stderr(&node.run(&["ha", "drill", "--fence"]).code(2)).contains("turns the other node off"));
    let run = table(&node, &["ha", "drill", "--fence", "--yes"]);
    let says = "The drill passed: secondary-node was off after 640 ms and back after 81000 ms; 2 replicas have equal digests.\n";
    assert!(run.ends_with(says), "{run}");
    assert_eq!(json(&node, &["ha", "drill", "--fence", "--yes"])["fenced"], "secondary-node");
    assert_eq!(table(&node, &["ha", "history"]), "No changes of the active node yet.\n");
}

#[test]
fn going_on_without_the_others() {
    let node = Node::active();
    let run = stderr(&node.run(&["ha", "promote"]).code(2));
    assert!(run.contains("safe only when secondary-node cannot serve now") && run.contains("--yes"), "{run}");
    assert!(run.contains("Without --accept-data-loss it will be refused: licenses granted after 2023"), "{run}");
    assert_eq!(*node.cluster.calls.lock(), ["promote true false"], "promoted without a yes");
    let run = table(&node, &["ha", "promote", "--accept-data-loss", "--yes"]);
    let ends = "This node is active. Whoever comes back from the old cluster gives way to it.\n";
    assert_eq!(run, format!("Serving in epoch 2...\n{ends}"));
    assert_eq!(node.cluster.calls.lock().last().unwrap(), "promote false true");
    assert!(stderr(&node.run(&["ha", "resolve"]).code(2)).contains("--keep"));
    node.run(&["ha", "resolve", "--keep", "primary-node"]).code(2);
    let run = table(&node, &["ha", "resolve", "--keep", "primary-node", "--yes"]);
    assert!(run.ends_with("primary-node goes on. The other node rejoins as its standby.\n"), "{run}");

    let run = table(&node, &["ha", "set-aside", "list"]);
    assert!(run.contains("2023-11-14T22:13:20Z") && run.contains("was promoted without a quorum"), "{run}");
    assert_eq!(json(&node, &["ha", "set-aside", "list"])[0]["bytes"], 4096);
    for verb in ["restore", "delete"] {
        node.run(&["ha", "set-aside", verb, "2023-11-14T22:13:20Z"]).code(2);
    }
    let run = table(&node, &["ha", "set-aside", "restore", "2023-11-14T22:13:20Z", "--yes"]);
    assert!(run.ends_with("This node goes on with the data of 2023-11-14T22:13:20Z.\n"), "{run}");
    let run = table(&node, &["ha", "set-aside", "delete", "2023-11-14T22:13:20Z", "--yes"]);
    assert_eq!(run, "2023-11-14T22:13:20Z is deleted.\n");
    let run = stderr(&node.run(&["ha", "set-aside", "delete", "nothing", "--yes"]).code(1));
    assert!(run.contains("nothing is set aside as nothing"), "{run}");
}

#[test]
fn status_in_all_forms() {
    let node = Node::active();
    let text = table(&node, &["ha", "status"]);
    assert!(text.starts_with("Node Status:\n  primary-node: Online\n"), "{text}");
    assert!(text.ends_with(" 2/53CDB68\n(1 row)\n\nCluster is normal.\n"), "{text}");
    assert_eq!(json(&node, &["ha", "status"]), serde_json::to_value(normal()).unwrap());
    let line = "secondary-node\tstandby\tslave\tonline\t192.168.1.10\t192.168.1.10:7441\t0.1.0\t2/53CDB68";
    assert_eq!(plain(&node, &["ha", "status"]).lines().nth(1), Some(line));
    for (state, code) in [
        (ClusterState::NoQuorum, 0),
        (ClusterState::Stopped, 3),
        (ClusterState::Standalone, 3),
        (ClusterState::Retired, 3),
        (ClusterState::Uninitialised, 3),
    ] {
        node.cluster.status.lock().cluster = state;
        node.run(&["ha", "status"]).code(code);
    }
    let link = node.dir.path().join("ha_status");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_licraft"), &link).unwrap();
    node.cluster.status.lock().cluster = ClusterState::Normal;
    let run = snapbox::cmd::Command::new(&link).arg("--socket").arg(node.socket()).assert().success();
    assert_eq!(stdout(&run), text);
}

#[test]
fn no_active_node_is_exit_code_3() {
    let error =
        AdminError::new(Kind::NoActiveNode, "there is no active node").because("no quorum").hint("start another");
    let node = Node::routing(Route::Nowhere(error));
    let run = node.run(&["account", "list"]).code(3);
    assert_eq!(stderr(&run), "Error: there is no active node\nWhy: no quorum\nTry: start another\n");
    node.run(&["ha", "status"]).success();
}

#[test]
fn the_socket_is_private() {
    let node = Node::active();
    let mode = std::fs::metadata(node.socket()).unwrap().permissions().mode() & 0o777;
    assert!(mode == 0o600 || mode == 0o660, "{mode:o}");
    let _inside = node.runtime.enter();
    let taken = licraft::admin::unix(&node.socket());
    assert!(taken.is_err_and(|e| e.to_string().contains("another process answers")));
}

#[test]
fn a_backup_is_saved_verified_and_restored() {
    let node = Node::with_account();
    let token = json(&node, &["token", "create"])["token"].as_str().unwrap().to_owned();
    node.register(&token, "SN1", None, 3);
    let path = |name: &str| node.dir.path().join(name).to_str().unwrap().to_owned();
    let (file, secret, short, wrong) = (path("saved"), path("secret"), path("short"), path("wrong"));
    std::fs::write(&secret, "correct horse battery staple\n").unwrap();
    std::fs::write(&short, "too short").unwrap();
    std::fs::write(&wrong, "another horse battery staple").unwrap();
    let fails = |args: &[&str], code: i32, says: &[&str]| {
        let text = stderr(&node.run(args).code(code));
        assert!(says.iter().all(|says| text.contains(says)), "{args:?}: {text}");
    };

    fails(&["backup", "save", &file, "--passphrase-file", &short], 2, &["it has 9 bytes, and 15 to 1024 are needed"]);
    fails(&["backup", "save", &file], 2, &["give --passphrase-file"]);
    fails(&["backup", "save", "/nowhere/file", "--passphrase-file", &secret], 1, &["cannot be written", "Try: "]);
    assert!(!std::path::Path::new(&file).exists());
    let said = stdout(&node.run(&["backup", "save", &file, "--passphrase-file", &secret]).success());
    assert!(said.contains("1 account, 1 product instance, 3 licenses in use, 1 user."), "{said}");
    assert!(said.contains("Keep it and its passphrase apart"), "{said}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let saved = std::fs::read(&file).unwrap();
    fails(&["backup", "save", &file, "--passphrase-file", &secret], 1, &["is there already", "name a new file"]);
    assert_eq!(std::fs::read(&file).unwrap(), saved);
    assert!(table(&node, &["event", "list"]).contains("saved a backup on primary-node"));

    // What a standby may lack is said.
    *node.cluster.lag.lock() = Some(Lag { entries: 4, silence_ms: Some(20) });
    let said = stdout(&node.run(&["backup", "save", &path("behind"), "--passphrase-file", &secret]).success());
    assert!(said.contains("It is of standby primary-node, which lacked 4 log entries"), "{said}");

    let said = stdout(&licraft().args(["backup", "verify", &file, "--passphrase-file", &secret]).assert().success());
    assert!(said.contains("is whole. It holds server 00ff as of 20"), "{said}");
    let manifest = json(&node, &["backup", "verify", &file, "--passphrase-file", &secret]);
    assert_eq!((&manifest["instances"], &manifest["in_use"]), (&1.into(), &3.into()), "{manifest}");
    let cut = path("cut");
    std::fs::write(&cut, &saved[..saved.len() - 1]).unwrap();
    for verb in ["verify", "restore"] {
        fails(
            &["backup", verb, &file, "--passphrase-file", &wrong],
            1,
            &["the passphrase is wrong", "it was saved with"],
        );
        fails(&["backup", verb, &cut, "--passphrase-file", &secret], 1, &["it is cut short"]);
        fails(&["backup", verb, &secret, "--passphrase-file", &secret], 1, &["it is no licraft backup"]);
        fails(&["backup", verb, "/nowhere", "--passphrase-file", &secret], 1, &["/nowhere cannot be read"]);
    }
    fails(&["backup", "restore", &file, "--passphrase-file", &secret], 1, &["already holds the data", "--replace"]);
    fails(&["backup", "restore", &file, "--replace", "--passphrase-file", &secret], 2, &["--yes"]);
    assert_eq!(*node.cluster.calls.lock(), Vec::<String>::new(), "nothing was restored");
    let restore = ["backup", "restore", &file, "--replace", "--yes", "--passphrase-file", &secret];
    let said = stdout(&node.run(&restore).success());
    assert_eq!(*node.cluster.calls.lock(), ["restore 1"]);
    for expected in
        ["Building the store...", "This node serves alone, with server 00ff", "licraft central server readopt 00ff"]
    {
        assert!(said.contains(expected), "no {expected:?} in\n{said}");
    }
}

#[test]
fn certificates_are_shown_brought_and_given_up() {
    let node = Node::with_account();
    let show = || json(&node, &["cert", "show"]);
    assert_eq!(show()["browsers_see"], "cluster CA");
    let file = |name: &str| node.dir.path().join(name).to_str().unwrap().to_owned();
    let [pem, _] = super::site::site_certificate("lm.example");
    let (chain, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").unwrap());
    std::fs::write(file("both.pem"), &pem).unwrap();
    std::fs::write(file("chain.pem"), chain).unwrap();
    std::fs::write(file("key.pem"), key).unwrap();
    std::fs::write(file("password"), "secret\n").unwrap();
    let said = stderr(&node.run(&["cert", "import-browser", &file("chain.pem")]).code(1));
    let expected = "Error: the certificate is not taken, and nothing has changed\nWhy: there is no private key; put it \
                    into the file, or give its own file\n";
    assert_eq!(said, expected);
    let password = ["--password-file", &file("password")];
    let said = stderr(&node.run(&[&["cert", "import-browser", &file("password")][..], &password].concat()).code(1));
    assert!(said.contains("neither PEM text with certificates nor PKCS#12"), "{said}");
    assert!(stderr(&node.run(&["cert", "import-browser", &file("none")]).code(1)).contains("cannot be read"));
    for args in [vec![file("both.pem")], vec![file("chain.pem"), "--key".into(), file("key.pem")]] {
        let args: Vec<&str> = ["cert", "import-browser"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let said = table(&node, &args);
        assert_eq!(said, "Browsers see the certificate of lm.example now, for lm.example.\n");
    }
    assert_eq!(
        (&show()["browsers_see"], &show()["browser_names"]),
        (&"imported, lm.example".into(), &"lm.example".into())
    );
    node.run(&["settings", "set", "host-common-name", "x.example"]).success();
    let shown = node.run(&["cert", "show"]).success();
    assert!(stderr(&shown).contains("does not cover x.example"), "{}", stderr(&shown));
    assert!(stderr(&node.run(&["cert", "reset-browser"]).code(2)).contains("--yes"));
    node.run(&["cert", "reset-browser", "--yes"]).success();
    assert_eq!(show()["browsers_see"], "cluster CA");
    let audit = stdout(&node.run(&["audit", "export"]).success());
    for action in ["browser-certificate-import", "browser-certificate-reset"] {
        assert!(audit.contains(action), "{audit}");
    }
    assert!(!audit.contains("PRIVATE KEY"));

    assert!(stderr(&node.run(&["cert", "rotate-sealing-key"]).code(2)).contains("--yes"));
    let said = table(&node, &["cert", "rotate-sealing-key", "--yes"]);
    assert!(
        said.starts_with("Changing the key for uid ") && said.ends_with("\nThe new sealing key is in force.\n"),
        "{said}"
    );
    assert_eq!(node.cluster.calls.lock().last().map(String::as_str), Some("rotate-sealing-key"));
}
