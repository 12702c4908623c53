//! Administration from elsewhere: mutual TLS, roles, and passing calls on to the active node.

use super::fake::{Node, authority_of, now};
use super::{licraft, stderr, stdout};
use licraft::admin::{Peer, Route, channel, serve, tls};
use licraft::license::{Command, Millis};
use licraft::pki::ca::{Authority, Leaf, Purpose, certificates_pem, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::{random, tls as pki_tls};
use licraft::raft::Ledger;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;

struct Site {
    node_tls: pki_tls::NodeTls,
}

impl Site {
    /// The cluster of `node`.
    fn of(node: &Node) -> Self {
        let ca = authority_of(&node.authority);
        let identity = issue(&ca, "primary-node", Purpose::Node);
        Self { node_tls: pki_tls::NodeTls::new(ca.cert_der(), &identity).unwrap() }
    }

    /// Opens the TLS door of `node` for its admin identities and, by their certificates' names, its members.
    fn open(&self, node: &Node, route: Route) -> SocketAddr {
        let config = self.node_tls.server();
        let (listener, address) = node.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            (listener, address)
        });
        let _inside = node.runtime.enter();
        let ledger = node.ledger.clone();
        let identify = move |der: &[u8]| match Peer::remote(der) {
            Some(peer) => peer.is_known(&ledger.state()).then_some(peer),
            None => members(&common_name(der)),
        };
        let incoming = tls(listener, Arc::new(move || config.clone()), Arc::new(identify), None);
        node.runtime.spawn(serve(node.parts(route), incoming, std::future::pending()));
        address
    }
}

fn issue(ca: &Authority, name: &str, purpose: Purpose) -> pki_tls::Identity {
    issue_with(ca, name, purpose, Vec::new())
}

fn issue_with(ca: &Authority, name: &str, purpose: Purpose, uris: Vec<String>) -> pki_tls::Identity {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let leaf = Leaf {
        common_name: name.into(),
        purpose,
        hosts: vec!["127.0.0.1".into()],
        uris,
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

/// Runs a command from elsewhere with the identity files of `name` in the folder of `node`.
fn from_elsewhere(node: &Node, address: SocketAddr, name: &str, args: &[&str]) -> snapbox::cmd::OutputAssert {
    let (identity, ca) = (node.dir.path().join(format!("{name}.pem")), node.dir.path().join("ca.pem"));
    let endpoint = format!("https://{address}");
    licraft()
        .args(["--endpoint", &endpoint, "--identity"])
        .arg(identity)
        .arg("--cluster-ca")
        .arg(ca)
        .args(args)
        .assert()
}

/// Makes the identity `name` with its files in the folder of `node`.
fn create(node: &Node, name: &str, more: &[&str]) -> snapbox::cmd::OutputAssert {
    let (identity, ca) = (node.dir.path().join(format!("{name}.pem")), node.dir.path().join("ca.pem"));
    let files = ["--out", identity.to_str().unwrap(), "--ca-out", ca.to_str().unwrap()];
    node.run(&[&["admin-identity", "create", name][..], &files, more].concat())
}

#[test]
fn remote_administrators_do_what_their_role_allows() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::with_account();
    let address = Site::of(&node).open(&node, Route::Here);
    let made = stdout(&create(&node, "ops", &["--role", "system-operator"]).success());
    assert!(made.starts_with("Admin identity ops is system-operator. Certificate and key: "), "{made}");
    create(&node, "viewer", &["--days", "3"]).success();
    let mode = std::fs::metadata(node.dir.path().join("ops.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let run = |name: &str, args: &[&str]| from_elsewhere(&node, address, name, args);
    assert!(stdout(&run("viewer", &["account", "list"]).success()).contains("TEST"));
    let denied = run("viewer", &["token", "create"]).code(1);
    let expected = "Error: admin viewer may not do this\nWhy: it needs the role system-administrator or system-operator, and the caller has read-only\n";
    assert!(stderr(&denied).starts_with(expected), "{}", stderr(&denied));
    run("viewer", &["token", "list", "--reveal"]).code(1);
    run("ops", &["token", "create"]).success();
    run("ops", &["ha", "stop"]).code(1);
    run("ops", &["admin-identity", "create", "eve", "--out", node.dir.path().join("eve.pem").to_str().unwrap()])
        .code(1);
    let tokens = stdout(&node.run(&["token", "list", "-o", "json"]).success());
    assert!(tokens.contains("\"created_by\": \"admin ops\""), "{tokens}");

    let list = stdout(&node.run(&["admin-identity", "list", "-o", "plain"]).success());
    assert!(list.contains("ops\tsystem-operator\tvalid\t") && list.contains("viewer\tread-only\tvalid\t"), "{list}");
    let audit = stdout(&node.run(&["audit", "export"]).success());
    assert!(audit.contains("admin-identity-create") && audit.contains("ops, system-operator"), "{audit}");
}

#[test]
fn a_revoked_identity_ends_at_once_also_on_an_open_connection() {
    let node = Node::with_account();
    let address = Site::of(&node).open(&node, Route::Here);
    create(&node, "ops", &[]).success();
    // Follows events on one connection, on which nothing more may be asked once the identity is revoked.
    let (identity, key) = identity_file(&node, "ops");
    let tls = pki_tls::client_config(
        [authority_of(&node.authority).cert_der()],
        Some(&pki_tls::Identity { chain: identity, key_pkcs8: key }),
    );
    let mut tls = tls.unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let open = {
        let _inside = node.runtime.enter();
        channel(address.to_string(), ServerName::try_from("127.0.0.1").unwrap(), Arc::new(tls))
    };
    let ask = || {
        let mut users = licraft::proto::admin::users_client::UsersClient::new(open.clone());
        node.runtime.block_on(users.list(licraft::proto::admin::ListUsersRequest {}))
    };
    ask().unwrap();
    let revoked = node.run(&["admin-identity", "revoke", "ops", "--yes"]).success();
    assert_eq!(stdout(&revoked), "Admin identity ops is revoked.\n");
    let refused = ask().unwrap_err();
    assert!(refused.message().contains("the admin identity \"ops\" is not valid"), "{refused}");
    let closed = stderr(&from_elsewhere(&node, address, "ops", &["account", "list"]).code(1));
    assert!(closed.contains("the identity may have been revoked or have expired"), "{closed}");

    // Another of the same name has another key, and the old one's files stay worthless.
    let (old, new) = (node.dir.path().join("ops.pem"), node.dir.path().join("old.pem"));
    assert!(stderr(&create(&node, "ops", &[]).code(1)).contains("exists"));
    std::fs::rename(&old, &new).unwrap();
    create(&node, "ops", &[]).success();
    from_elsewhere(&node, address, "ops", &["account", "list"]).success();
    from_elsewhere(&node, address, "old", &["account", "list"]).failure();
    assert!(stderr(&node.run(&["admin-identity", "revoke", "eve", "--yes"]).code(1)).contains("no admin identity"));
}

#[test]
fn only_certificates_of_the_cluster_for_known_identities_are_let_in() {
    let node = Node::with_account();
    let address = Site::of(&node).open(&node, Route::Here);
    create(&node, "ops", &[]).success();
    for (name, ca, uri) in [
        // Not by this cluster's CA, not for a known name, and for no name at all.
        ("foreign", Authority::self_signed("cluster", 30, now()).unwrap(), "licraft:admin:ops"),
        ("stranger", authority_of(&node.authority), "licraft:admin:eve"),
        ("nobody", authority_of(&node.authority), "licraft:instance:1"),
        // The cluster's own certificate for that name, but for another key than the record's.
        ("impostor", authority_of(&node.authority), "licraft:admin:ops"),
    ] {
        let identity = issue_with(&ca, name, Purpose::Client, vec![uri.into()]);
        let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &*identity.key_pkcs8);
        let pem = certificates_pem(identity.chain.iter().map(Vec::as_slice));
        let pem = format!("{pem}-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        std::fs::write(node.dir.path().join(format!("{name}.pem")), pem).unwrap();
        from_elsewhere(&node, address, name, &["account", "list"]).failure();
    }
    from_elsewhere(&node, address, "ops", &["account", "list"]).success();
    // A record that has expired is none, whatever its certificate says.
    let expires = Millis(now().0 + 1);
    let command = Command::CreateAdminIdentity {
        name: "short".into(),
        role: licraft::license::Role::ReadOnly,
        key_hash: [1; 32],
        expires,
    };
    node.runtime.block_on(node.ledger.propose(0, "test", command)).unwrap();
    while now() <= expires {
        std::thread::yield_now();
    }
    let list = stdout(&node.run(&["admin-identity", "list", "-o", "plain"]).success());
    assert!(list.contains("short\tread-only\texpired\t"), "{list}");
}

/// Chain and key of an identity's file.
fn identity_file(node: &Node, name: &str) -> (Vec<Vec<u8>>, zeroize::Zeroizing<Vec<u8>>) {
    use rustls_pki_types::pem::PemObject;
    let pem = std::fs::read(node.dir.path().join(format!("{name}.pem"))).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    (licraft::pki::ca::certificates_from_pem(&pem).unwrap(), key.secret_pkcs8_der().to_vec().into())
}

fn members(name: &str) -> Option<Peer> {
    (name == "primary-node").then(|| Peer::Node { name: name.into(), witness: false })
}

#[test]
fn any_node_passes_calls_on_to_the_active_one() {
    let active = Node::with_account();
    let site = Site::of(&active);
    let address = site.open(&active, Route::Here);
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
    let node = Node::active();
    let site = Site::of(&node);
    let nowhere = {
        let _inside = node.runtime.enter();
        channel("127.0.0.1:1".into(), ServerName::try_from("127.0.0.1").unwrap(), site.node_tls.client())
    };
    // Two nodes that each take the other for the active one.
    let address = site.open(&node, Route::To(nowhere));
    let other = {
        let _inside = node.runtime.enter();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Node::routing(Route::To(channel(address.to_string(), name, site.node_tls.client())))
    };
    let run = other.run(&["account", "list"]).code(3);
    assert!(stderr(&run).contains("Error: the active node changes just now"), "{}", stderr(&run));
}
