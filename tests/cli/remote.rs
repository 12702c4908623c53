//! Administration from elsewhere: mutual TLS, roles, and passing calls on to the active node.

use super::fake::{Node, now};
use super::{licraft, stderr, stdout};
use licraft::admin::{Peer, Route, channel, serve, tls};
use licraft::license::{Millis, Role};
use licraft::pki::ca::{Authority, Leaf, Purpose, certificates_pem, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::{random, tls as pki_tls};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

struct Site {
    ca: Authority,
    node_tls: pki_tls::NodeTls,
}

impl Site {
    fn new() -> Self {
        let ca = Authority::self_signed("cluster", 30, now()).unwrap();
        let identity = issue(&ca, "primary-node", Purpose::Node);
        let node_tls = pki_tls::NodeTls::new(ca.cert_der(), &identity).unwrap();
        Self { ca, node_tls }
    }

    /// Opens the TLS door of `node`; who comes with the certificate named in `peers` is that peer.
    fn open(&self, node: &Node, route: Route, identify: fn(&str) -> Option<Peer>) -> SocketAddr {
        let config = self.node_tls.server();
        let (listener, address) = node.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            (listener, address)
        });
        let _inside = node.runtime.enter();
        let incoming =
            tls(listener, Arc::new(move || config.clone()), Arc::new(move |der| identify(&common_name(der))), None);
        node.runtime.spawn(serve(node.parts(route), incoming, std::future::pending()));
        address
    }

    /// Files for `--identity` and `--ca`.
    fn files(&self, node: &Node, name: &str) -> (PathBuf, PathBuf) {
        let identity = issue(&self.ca, name, Purpose::Client);
        let (id_file, ca_file) = (node.dir.path().join(format!("{name}.pem")), node.dir.path().join("ca.pem"));
        let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &*identity.key_pkcs8);
        let pem = certificates_pem(identity.chain.iter().map(Vec::as_slice));
        std::fs::write(&id_file, format!("{pem}-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"))
            .unwrap();
        std::fs::write(&ca_file, certificates_pem([self.ca.cert_der()])).unwrap();
        (id_file, ca_file)
    }
}

fn issue(ca: &Authority, name: &str, purpose: Purpose) -> pki_tls::Identity {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let leaf = Leaf {
        common_name: name.into(),
        purpose,
        hosts: vec!["127.0.0.1".into()],
        uris: Vec::new(),
        crl: None,
        serial: random::bytes(),
        not_before: Millis(now().0 - Millis::HOUR),
        not_after: now().plus(Millis::DAY),
    };
    let cert = ca.issue_leaf(&csr(&key, name).unwrap(), &leaf).unwrap();
    pki_tls::Identity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der().unwrap() }
}

fn common_name(der: &[u8]) -> String {
    let (_, cert) = x509_parser::parse_x509_certificate(der).unwrap();
    cert.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

fn administrators(name: &str) -> Option<Peer> {
    let role = match name {
        "ops" => Role::SystemOperator,
        "viewer" => Role::ReadOnly,
        _ => return None,
    };
    Some(Peer::Remote { name: name.into(), role })
}

#[test]
fn remote_administrators_do_what_their_role_allows() {
    let (node, site) = (Node::with_account(), Site::new());
    let address = site.open(&node, Route::Here, administrators);
    let run = |name: &str, args: &[&str]| {
        let (identity, ca) = site.files(&node, name);
        let endpoint = format!("https://{address}");
        licraft()
            .args(["--endpoint", &endpoint, "--identity"])
            .arg(identity)
            .arg("--cluster-ca")
            .arg(ca)
            .args(args)
            .assert()
    };
    assert!(stdout(&run("viewer", &["account", "list"]).success()).contains("TEST"));
    let denied = run("viewer", &["token", "create"]).code(1);
    let expected = "Error: admin viewer may not do this\nWhy: it needs the role system-administrator or system-operator, and the caller has read-only\n";
    assert!(stderr(&denied).starts_with(expected), "{}", stderr(&denied));
    run("viewer", &["token", "list", "--reveal"]).code(1);
    run("ops", &["token", "create"]).success();
    run("ops", &["ha", "stop"]).code(1);
    let events = stdout(&node.run(&["token", "list", "-o", "json"]).success());
    assert!(events.contains("\"created_by\": \"admin ops\""), "{events}");
    let stranger = run("stranger", &["account", "list"]);
    assert_ne!(stranger.get_output().status.code(), Some(0));
}

fn members(name: &str) -> Option<Peer> {
    (name == "primary-node").then(|| Peer::Node { name: name.into(), witness: false })
}

#[test]
fn any_node_passes_calls_on_to_the_active_one() {
    let (active, site) = (Node::with_account(), Site::new());
    let address = site.open(&active, Route::Here, members);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let standby = {
        let _inside = active.runtime.enter();
        Node::routing(Route::To(channel(address.to_string(), name, site.node_tls.client())))
    };
    assert!(stdout(&standby.run(&["account", "list"]).success()).contains("TEST"));
    standby.run(&["token", "create", "--description", "by way of the standby"]).success();
    let tokens = stdout(&active.run(&["token", "list", "-o", "json"]).success());
    assert!(tokens.contains("by way of the standby"), "{tokens}");
    assert!(tokens.contains(" via primary-node\""), "the actor says who passed it on: {tokens}");
    let events = stdout(&standby.run(&["event", "list"]).success());
    assert_eq!(events, stdout(&active.run(&["event", "list"]).success()));
}

#[test]
fn a_call_is_passed_on_only_once() {
    let (node, site) = (Node::active(), Site::new());
    let nowhere = {
        let _inside = node.runtime.enter();
        channel("127.0.0.1:1".into(), ServerName::try_from("127.0.0.1").unwrap(), site.node_tls.client())
    };
    // Two nodes that each take the other for the active one.
    let address = site.open(&node, Route::To(nowhere), members);
    let other = {
        let _inside = node.runtime.enter();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Node::routing(Route::To(channel(address.to_string(), name, site.node_tls.client())))
    };
    let run = other.run(&["account", "list"]).code(3);
    assert!(stderr(&run).contains("Error: the active node changes just now"), "{}", stderr(&run));
}
