//! The certificate for browsers, the sealing key and admin identities, by forms.

use super::backups::Field;
use super::site::site_certificate;
use super::*;
use http::header::CONTENT_DISPOSITION;
use licraft::pki::ca::{certificate_key, certificates_from_pem, key_from_pem};
use licraft::pki::jws::SigningKey;
use std::io::Write;
use std::process::Command as Process;
use std::time::{Duration, Instant};

const IMPORT: &str = "/security/browser-certificate";
const IDENTITIES: &str = "/security/identities";

/// A PKCS#12 file of what is in a PEM file.
fn pkcs12(pem: &str, password: &str) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let args = ["pkcs12", "-export", "-passout", &format!("pass:{password}"), "-in"];
    let made = Process::new("openssl").args(args).arg(file.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

/// The file of a form.
fn file(content: &[u8]) -> Field<'_> {
    ("file", Some("a.pem"), content)
}

/// The password of a form.
fn password(password: &str) -> Field<'_> {
    ("password", None, password.as_bytes())
}

#[tokio::test]
async fn a_certificate_for_browsers_is_imported_and_given_up() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.get("/security", &cookie).await.says("The cluster CA issues it, and each node renews its own.");
    let [pem, _] = site_certificate("lm.example");
    let (chain, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").unwrap());
    let sealed = pkcs12(&pem, "a secret");
    let before = gui.ledger.state().meta().clone();
    for (fields, why) in [
        (vec![("file", Some(""), &b""[..])], "no file was chosen"),
        (vec![file(b"some text")], "the file is neither PEM text with certificates nor PKCS#12"),
        (vec![file(chain.as_bytes())], "there is no private key; put it into the file, or give its own file."),
        (vec![file(&sealed), password("a guess")], "the PKCS#12 file does not open with this password"),
        (
            vec![file(pem.as_bytes())],
            "does not cover 10.0.0.12, by which browsers reach this server; it covers lm.example",
        ),
    ] {
        let refused = gui.upload(IMPORT, &cookie, &fields).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{why}");
        refused.says(why);
        assert!(!refused.0.body().contains("PRIVATE KEY") && !refused.0.body().contains("a guess"));
    }
    let large = gui.upload(IMPORT, &cookie, &[file(&vec![b'x'; 200_000])]).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(*gui.ledger.state().meta(), before, "nothing was changed");

    let settings = Settings { host_common_name: "lm.example".into(), ..gui.ledger.state().settings().clone() };
    gui.done(Command::SetSettings { settings });
    for fields in [
        vec![file(pem.as_bytes())],
        vec![file(chain.as_bytes()), ("key", Some("a.key"), key.as_bytes())],
        vec![file(&sealed), password("a secret")],
    ] {
        let taken = gui.upload(IMPORT, &cookie, &fields).await;
        assert_eq!(taken.header(LOCATION), "/security?done=certificate-imported", "{}", taken.text());
        let page = gui.get(taken.header(LOCATION), &cookie).await;
        page.says("Browsers see the imported certificate from their next connection on.");
        page.says("Certificate that browsers see Common name lm.example All names lm.example");
        let reset = format!("{IMPORT}/reset");
        gui.get(&reset, &cookie).await.says("and warn where that is not trusted");
        let given_up = gui.submit(&reset, &cookie, &[]).await;
        assert_eq!(given_up.header(LOCATION), "/security?done=certificate-reset", "{}", given_up.text());
        assert!(gui.ledger.state().browser_certificate().is_none());
    }
    let state = gui.ledger.state();
    let audit: Vec<_> = state.audit(0).map(|entry| (entry.actor.as_str(), entry.action.as_str())).collect();
    assert!(audit.contains(&("admin", "browser-certificate-import")), "{audit:?}");
    assert!(audit.contains(&("admin", "browser-certificate-reset")), "{audit:?}");
    assert!(state.audit(0).all(|entry| !entry.detail.contains("PRIVATE KEY")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_of_the_sealing_key_tells_its_steps_and_why_it_was_refused() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.get("/security/sealing-key", &cookie).await.says("If one cannot take the key, the old one stays.");
    let until = async |expected: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let page = gui.get("/security", &cookie).await;
            if page.text().contains(expected) {
                return page;
            }
            assert!(Instant::now() < deadline, "{expected:?} never came: {}", page.text());
        }
    };
    let begin = async || gui.submit("/security/sealing-key", &cookie, &[]).await;
    assert_eq!(begin().await.header(LOCATION), "/security?done=work-begun");
    until("The new sealing key is in force.").await.says("Handing the new key to secondary-node...");
    gui.cluster.0.lock().unwrap().nodes[1].state = NodeState::Offline;
    begin().await;
    let refused = until("secondary-node did not take the new key, so the old one stays").await;
    refused.says("Why: it does not vote yet. bring that node back");
    assert!(!refused.text().contains("The new sealing key is in force."));
}

#[tokio::test]
async fn an_admin_identity_is_made_as_one_download_and_revoked() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.get(IDENTITIES, &cookie).await.says("Nobody administers this cluster from elsewhere.");
    let once = gui.once(IDENTITIES, &cookie).await;
    let fields = |name, days| [("once", once.as_str()), ("name", name), ("role", "system-operator"), ("days", days)];
    for (name, days, why) in [
        ("o p s", "90", "An identity's name has letters and digits of ASCII"),
        ("ops", "9000", "An admin identity is valid for 1 to 366 days."),
        ("ops", "soon", "the number of days is no whole number"),
    ] {
        let refused = gui.submit(IDENTITIES, &cookie, &[&fields(name, days)[1..]].concat()).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{why}");
        assert!(refused.text().replace("&#39;", "'").contains(why), "{}", refused.text());
        assert!(!refused.0.body().contains("PRIVATE KEY"));
    }
    assert_eq!(gui.ledger.state().admin_identities().count(), 0);

    let made = gui.submit(IDENTITIES, &cookie, &fields("ops", "90")).await;
    assert_eq!((made.status(), made.header(CONTENT_DISPOSITION)), (StatusCode::OK, "attachment; filename=\"ops.pem\""));
    let pem = made.0.body().as_bytes();
    let certificates = certificates_from_pem(pem).unwrap();
    let key = SigningKey::from_pkcs8_der(&key_from_pem(pem).unwrap()).unwrap();
    let certified = certificate_key(&certificates[0]).unwrap().hash();
    assert_eq!((certificates.len(), certified), (1, key.public_key().hash()));
    let kept = gui.ledger.state().admin_identity("ops").unwrap().clone();
    assert_eq!((kept.key_hash, kept.role, kept.created_by.as_str()), (certified, Role::SystemOperator, "admin"));
    assert_eq!(kept.expires, NOW.plus(90 * Millis::DAY));
    // Sent twice, a form makes no second key that nobody knows of.
    let again = gui.submit(IDENTITIES, &cookie, &fields("ops", "90")).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    again.says("the identity was made by this request before, for another key");

    let ca = gui.get("/security/cluster-ca.pem", &cookie).await;
    assert_eq!(certificates_from_pem(ca.0.body().as_bytes()).unwrap().len(), 1);
    let page = gui.get(IDENTITIES, &cookie).await;
    page.says("ops system-operator Valid");
    assert!(!page.0.body().contains("PRIVATE KEY"));
    gui.get("/security", &cookie).await.says("1 admin identity lets the command line administer");
    let revoke = format!("{IDENTITIES}/ops/revoke");
    gui.get(&revoke, &cookie).await.says("Whoever has the file of ops can do nothing with it");
    assert_eq!(gui.submit(&revoke, &cookie, &[]).await.header(LOCATION), "/security/identities?done=identity-revoked");
    assert_eq!(gui.ledger.state().admin_identities().count(), 0);
    assert_eq!(gui.submit(&revoke, &cookie, &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_may_not_change_security_sees_no_way_to_and_has_none() {
    let gui = Gui::new();
    gui.done(Command::CreateAdminIdentity {
        name: "ops".into(),
        role: Role::ReadOnly,
        key_hash: [7; 32],
        expires: NOW.plus(Millis::DAY),
    });
    for role in [Role::SystemOperator, Role::ReadOnly] {
        gui.done(Command::CreateUser { user: User::new(role.to_string(), role, weak_hash(PASSWORD), false) });
        let cookie = gui.sign_in(role.as_str(), PASSWORD).await;
        let before = gui.ledger.state().meta().clone();
        let security = gui.get("/security", &cookie).await;
        assert!(!security.0.body().contains(IMPORT) && !security.0.body().contains("/security/sealing-key"), "{role}");
        let identities = gui.get(IDENTITIES, &cookie).await;
        identities.says("ops read-only Valid");
        assert!(!identities.0.body().contains("/revoke") && !identities.0.body().contains("New admin identity"));
        for path in [IMPORT, &format!("{IMPORT}/reset"), "/security/sealing-key", &format!("{IDENTITIES}/ops/revoke")] {
            assert_eq!(gui.get(path, &cookie).await.status(), StatusCode::FORBIDDEN, "{role} {path}");
        }
        assert_eq!(gui.upload(IMPORT, &cookie, &[file(b"x")]).await.status(), StatusCode::FORBIDDEN);
        for (path, fields) in [
            (format!("{IMPORT}/reset"), vec![]),
            ("/security/sealing-key".into(), vec![]),
            (IDENTITIES.into(), vec![("name", "eve"), ("role", "system-administrator"), ("days", "1")]),
            (format!("{IDENTITIES}/ops/revoke"), vec![]),
        ] {
            assert_eq!(gui.submit(&path, &cookie, &fields).await.status(), StatusCode::FORBIDDEN, "{role} {path}");
        }
        assert_eq!(*gui.ledger.state().meta(), before, "{role}");
    }
}
