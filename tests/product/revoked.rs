//! The list of revoked ID certificates, as another program reads it.

use super::client::{Client, http_client, numbered, register};
use super::server::{Node, Site};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licraft::license::{Command, InstanceId, Millis, Outcome, Settings};
use licraft::pki::ca::{certificates_pem, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::product::listener::{Limits, serve_plain};
use licraft::product::{Serving, crl_path};
use licraft::raft::Ledger;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command as Process;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn openssl(dir: &Path, args: &[&str]) -> (bool, String) {
    let output = Process::new("openssl").args(args).current_dir(dir).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Registers the device `sn`; gives its instance and its certificate.
async fn join(client: &Client, key: &SigningKey, sn: &str) -> (String, Vec<u8>) {
    let answer = client.request(key, None, &register(key, sn)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let certificate = STANDARD.decode(answer.value["certificate"].as_str().unwrap()).unwrap();
    (answer.value["instance"].as_str().unwrap().into(), certificate)
}

fn set_common_name(site: &Site, name: &str) {
    let settings = Settings { host_common_name: name.into(), ..site.ledger.state().settings().clone() };
    assert_eq!(site.ledger.apply(Command::SetSettings { settings }), Outcome::Done);
}

/// The next list, a millisecond or more after what was revoked.
fn issue(site: &Site) -> u64 {
    site.clock.forward(2);
    let number = site.ledger.state().revocation_list().number + 1;
    assert_eq!(site.ledger.apply(Command::IssueRevocationList { number }), Outcome::Done);
    number
}

async fn fetch(site: &Site, node: &Node) -> Vec<u8> {
    let client = Client::new(node);
    let response = client.http.get(format!("{}{}", client.base, crl_path(site.account))).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/pkix-crl".parse().unwrap())
    );
    response.bytes().await.unwrap().to_vec()
}

/// Whether openssl takes the certificate, with the list checked.
fn taken(dir: &Path, certificate: &[u8]) -> Result<(), String> {
    std::fs::write(dir.join("leaf.pem"), certificates_pem([certificate])).unwrap();
    let args =
        ["verify", "-crl_check", "-CAfile", "root.pem", "-untrusted", "above.pem", "-CRLfile", "crl.pem", "leaf.pem"];
    let (taken, text) = openssl(dir, &args);
    if taken { Ok(()) } else { Err(text) }
}

#[tokio::test]
async fn openssl_reads_the_list_and_refuses_what_is_on_it() {
    let site = Site::new();
    set_common_name(&site, "lm.example");
    let node = site.serve().await;
    let client = Client::new(&node);
    let key = || SigningKey::generate(Algorithm::EdDsa).unwrap();
    let (stays, leaves, moves, renews, goes) = (key(), key(), key(), key(), key());
    let (_, good) = join(&client, &stays, "stays").await;
    let (left, leaving) = join(&client, &leaves, "leaves").await;
    let (removed, going) = join(&client, &goes, "goes").await;
    let (_, old) = join(&client, &moves, "moves").await;
    let (renewed, before) = join(&client, &renews, "renews").await;

    assert_eq!(client.request(&leaves, Some(&left), &numbered("deregister", 1, json!({}))).await.status, 200);
    let (_, again) = join(&client, &key(), "moves").await;
    let next = key();
    let request = json!({ "csr": STANDARD.encode(csr(&next, "x").unwrap()) });
    let answer = client.request(&renews, Some(&renewed), &numbered("renew-id", 1, request)).await;
    let after = STANDARD.decode(answer.value["certificate"].as_str().unwrap()).unwrap();
    let instance = InstanceId(removed.parse().unwrap());
    assert_eq!(site.ledger.apply(Command::RemoveInstance { instance }), Outcome::Done);
    let number = issue(&site);

    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = fetch(&site, &node).await;
    std::fs::write(dir.join("crl.der"), &list).unwrap();
    let account = site.ledger.state().account(site.account).unwrap().clone();
    let chain = account.keys.unwrap().ca_chain;
    std::fs::write(dir.join("root.pem"), certificates_pem([site.root_der.as_slice()])).unwrap();
    std::fs::write(dir.join("above.pem"), certificates_pem(chain.iter().map(Vec::as_slice))).unwrap();
    // The lists of those above are the vendor's: only the account CA's is checked here.
    let args = ["crl", "-inform", "DER", "-in", "crl.der", "-out", "crl.pem", "-text", "-CAfile", "above.pem"];
    let (read, text) = openssl(dir, &args);
    assert!(read && text.contains("verify OK"), "{text}");
    let text = String::from_utf8(std::fs::read(dir.join("crl.pem")).unwrap()).unwrap();
    assert!(text.contains("X509v3 CRL Number: \n                "), "{text}");
    assert!(text.lines().any(|line| line.trim() == number.to_string()), "{text}");
    let entries = |reason: &str| text.matches(reason).count();
    assert_eq!(text.matches("Serial Number:").count(), 4, "{text}");
    assert_eq!((entries("Superseded"), entries("Cessation Of Operation"), entries("Privilege Withdrawn")), (2, 1, 1));
    for certificate in [&good, &again, &after] {
        taken(dir, certificate).unwrap();
    }
    for certificate in [&leaving, &going, &old, &before] {
        let why = taken(dir, certificate).unwrap_err();
        assert!(why.contains("certificate revoked"), "{why}");
    }
    let (_, text) = openssl(dir, &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    assert!(text.contains(&format!("URI:http://lm.example{}", crl_path(site.account))), "{text}");
    node.stop().await;
}

#[tokio::test]
async fn the_list_is_the_same_bytes_after_a_failover_and_changes_with_its_number_alone() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let (_, certificate) = join(&client, &key, "early").await;
    let (no_name, dir) = (!String::from_utf8_lossy(&certificate).contains("crl"), tempfile::tempdir().unwrap());
    assert!(no_name, "nobody could follow a URL without a host");
    let missing = client.send(http::Method::GET, &crl_path(site.account), Vec::new()).await;
    assert_eq!((missing.status, missing.code()), (503, "unavailable"));
    let number = issue(&site);
    let first = fetch(&site, &node).await;
    join(&client, &SigningKey::generate(Algorithm::Es256).unwrap(), "early").await;
    // Another node, later, with another certificate revoked meanwhile.
    site.clock.forward(Millis::HOUR);
    let other = site.serve().await;
    assert_eq!(fetch(&site, &other).await, first);
    let list = site.ledger.state().revocation_list();
    assert!(!list.due(list.issued.plus(Millis::DAY - 1)) && list.due(list.issued.plus(Millis::DAY)));
    assert_eq!(issue(&site), number + 1);
    let next = fetch(&site, &other).await;
    assert_ne!(next, first);
    assert_eq!(fetch(&site, &node).await, next);
    std::fs::write(dir.path().join("crl"), &next).unwrap();
    let args = ["crl", "-inform", "DER", "-in", "crl", "-noout", "-text", "-lastupdate", "-nextupdate"];
    let (_, text) = openssl(dir.path(), &args);
    assert_eq!(text.matches("Serial Number:").count(), 1, "{text}");

    other.become_(Serving::Standby { active: None });
    let standby = Client::new(&other).send(http::Method::GET, &crl_path(site.account), Vec::new()).await;
    assert_eq!((standby.status, standby.code()), (503, "standby"));
    for (path, code) in [("/crl/999.crl", "not-found"), ("/crl/x.crl", "not-found"), ("/crl/1", "not-found")] {
        let answer = client.send(http::Method::GET, path, Vec::new()).await;
        assert_eq!((answer.status, answer.code()), (404, code), "{path}");
    }
    other.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn the_port_in_the_clear_has_lists_and_nothing_else() {
    let site = Site::new();
    issue(&site);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve_plain(listener, site.routers().crl, Limits::default(), shutdown.clone()));
    let http = http_client(&site.ca_pem());
    let get = async |path: &str| {
        let answer = http.get(format!("{base}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let (status, list) = get(&crl_path(site.account)).await;
    assert_eq!((status, list[0]), (200, 0x30), "a DER sequence");
    for path in ["/", "/SmartTransport", "/readyz", "/crl/"] {
        let (status, body) = get(path).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &problem["code"]), (404, &json!("wrong-path")), "{path}");
    }
    shutdown.cancel();
    serving.await.unwrap();
}
