//! Another issuing CA takes over: nobody who knows the vendor root notices.

use super::*;
use licraft::pki::ca::{self, certificates_pem, fingerprint};
use licraft::pki::jws::Algorithm;
use licraft::pki::tls::{Identity, ServerTls};
use licraft::product::agent::{Agent, Product, RootPin, Settings as AgentSettings};
use licraft::product::listener::{Limits, serve_tls};
use licraft::product::message::LicenseCount;
use licraft::product::{ProductContext, Serving, ServingGuard, router, token_hash};
use licraft::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "a-good-registration-token";

struct Active;

impl ServingGuard for Active {
    fn serving(&self) -> Serving {
        Serving::Active
    }
}

/// The products' port of the scene's server, under the certificate that central signed.
struct Port {
    url: url::Url,
    tls: ServerTls,
    stop: CancellationToken,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Scene {
    fn rollover(&self, args: &[&str]) -> (i32, String, String) {
        central_cli(&self.central.home(), &[&["issuing-ca", "rollover"], args].concat())
    }

    /// Has central sign a certificate for the products' port, and gives what is shown there.
    async fn identity(&self) -> Identity {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let pkcs8 = key.to_pkcs8_der().unwrap();
        let names = ServerNames { common_name: "127.0.0.1".into(), hosts: vec!["127.0.0.1".into()] };
        let csr = ca::csr(&key, "127.0.0.1").unwrap();
        let sealed = self.sealer.seal(ServerCertificate::KEY_CONTEXT, &pkcs8);
        self.ledger.must(Command::WantServerCertificate { names, csr, key: sealed });
        self.node.synchronize(self.account, "admin").await.unwrap();
        let chain = self.ledger.state().server_certificate().current.as_ref().unwrap().chain.clone();
        Identity { chain, key_pkcs8: pkcs8 }
    }

    async fn port(&self) -> Port {
        let tls = ServerTls::new(&self.identity().await, &[b"http/1.1"]).unwrap();
        let context = ProductContext {
            ledger: self.ledger.clone(),
            serving: Arc::new(Active),
            sealer: self.sealer.clone(),
            metrics: Arc::new(Metrics::default()),
            clock: self.ledger.clock(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/SmartTransport", listener.local_addr().unwrap()).parse().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve_tls(listener, tls.clone(), router(context), Limits::default(), stop.clone()));
        Port { url, tls, stop }
    }

    fn token(&self, account: AccountId, token: &str) {
        let command = Command::CreateToken {
            va: self.ledger.state().account(account).unwrap().default_va,
            hash: token_hash(token),
            sealed: self.sealer.seal("token", token.as_bytes()),
            description: String::new(),
            expires_days: 1,
            max_uses: 0,
            export_controlled: false,
        };
        self.ledger.must(command);
    }

    /// A product that knows the vendor root alone, for the port and for the answers.
    async fn product(&self, dir: &Path, port: &Port, sn: &str, token: &str) -> Agent {
        let root = self.central.root();
        let settings = AgentSettings {
            urls: vec![port.url.clone()],
            tls_ca_pem: Some(certificates_pem([root.der()])),
            root: Some(RootPin::Certificate(root.der().to_vec())),
            ..AgentSettings::default()
        };
        let product = Product {
            pid: "ROUTER".into(),
            sn: sn.into(),
            product_type: "Router".into(),
            software_version: "1".into(),
            host_name: None,
            devices: Vec::new(),
        };
        let agent = Agent::open(&dir.join(sn), settings, Some(product)).unwrap();
        let mut agent = agent.with_patience(Duration::from_secs(5));
        agent.register(token).await.unwrap();
        agent
    }
}

/// All that a product does: counts, its authorization, its certificate.
async fn works(agent: &mut Agent, what: &str) {
    agent.request(vec![LicenseCount { tag: "BASE".into(), count: 1 }]).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    agent.renew().await.unwrap_or_else(|e| panic!("{what}: {e}"));
    agent.renew_id(true).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(agent.status().authorization.starts_with("Authorized"), "{what}: {}", agent.status().authorization);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_products_go_on_across_a_rollover() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let home = scene.central.home();
    // The root key is elsewhere; central has not needed it since.
    let safe = dir.path().join("safe.pem");
    std::fs::rename(home.join("root-key.pem"), &safe).unwrap();
    let port = scene.port().await;
    scene.token(scene.account, TOKEN);
    let mut before = scene.product(dir.path(), &port, "BEFORE", TOKEN).await;
    works(&mut before, "before").await;
    let old_chain = scene.account().keys.unwrap().ca_chain;
    // A synchronization that the old one answered, and whose response is lost.
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let response = scene.central.post(&request).await.unwrap();

    let (status, said, error) = scene.rollover(&["--root-key", safe.to_str().unwrap(), "--yes"]);
    assert_eq!(status, 0, "{error}");
    assert!(said.starts_with("Issuing CA 2 signs from now on."), "{said}");
    assert!(!home.join("issuing-ca-1.key").exists() && !home.join("signer-1.key").exists());
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(home.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("issuing-ca-2.key"), mode("signer-2.key")), (0o600, 0o600));

    // The response of the old one is given again and taken; the new one's too.
    assert_eq!(scene.central.post(&request).await.unwrap(), response);
    assert_eq!(scene.node.synchronize(scene.account, "admin").await.unwrap().seq, 2);
    assert_eq!(scene.node.synchronize(scene.account, "admin").await.unwrap().seq, 3);
    works(&mut before, "under the old certificates").await;
    let mut after = scene.product(dir.path(), &port, "AFTER", TOKEN).await;
    works(&mut after, "registered after").await;

    // An account that the new one certified, and a certificate of the port by it.
    let second = request_account(&scene.ledger, "SECOND", "Lab");
    scene.node.approve_account(second, "admin").await.unwrap();
    let new_chain = scene.ledger.state().account(second).unwrap().keys.clone().unwrap().ca_chain;
    assert_eq!(old_chain[2], new_chain[2], "the same vendor root");
    assert_ne!(old_chain[1], new_chain[1]);
    scene.central.ask(entitlement("BASE", 10)).await;
    let identity = scene.identity().await;
    assert_eq!(identity.chain[1], new_chain[1]);
    port.tls.renew(&identity, &[b"http/1.1"]).unwrap();
    for (agent, what) in [(&mut before, "before"), (&mut after, "after")] {
        works(agent, what).await;
    }
    scene.token(second, "another-registration-token");
    let mut newest = scene.product(dir.path(), &port, "NEWEST", "another-registration-token").await;
    newest.renew_id(true).await.unwrap();

    // It goes on with them after a restart, and the next one follows.
    let mut scene = scene;
    scene.central.stop().await;
    scene.central.serve().await;
    point_at(&scene.ledger, &scene.central.url());
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    let (status, said, error) = scene.rollover(&["--root-key", safe.to_str().unwrap(), "--yes"]);
    assert_eq!(status, 0, "{error}");
    assert!(said.starts_with("Issuing CA 3 signs from now on."), "{said}");
    scene.node.synchronize(scene.account, "admin").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollover_without_the_root_key_changes_nothing() {
    let scene = Scene::new().await;
    let home = scene.central.home();
    let other = tempfile::tempdir().unwrap();
    let apart = other.path().join("apart.pem");
    let made = Service::create(&other.path().join("central"), "Other", Some(&apart), &operator(), system_clock());
    assert!(made.unwrap().keys().fingerprint() != fingerprint(scene.central.root().der()));
    assert!(!other.path().join("central/root-key.pem").exists());
    std::fs::write(other.path().join("text.pem"), "no key").unwrap();
    for (file, why) in [
        (apart, "it is not the vendor root's"),
        (other.path().join("text.pem"), "expected a PRIVATE KEY in PEM"),
        (other.path().join("nothing.pem"), "No such file"),
    ] {
        let (status, _, error) = scene.rollover(&["--root-key", file.to_str().unwrap(), "--yes"]);
        assert_eq!((status, error.contains(why)), (1, true), "{error}");
    }
    // Files of an attempt that broke off are replaced by the next one.
    std::fs::write(home.join("issuing-ca-2.key"), "half").unwrap();
    let refused = serve::ask(&home, &AdminRequest::UseIssuing { number: 2 }).await.unwrap_err();
    assert!(refused.to_string().contains("the new keys: "), "{refused}");
    let refused = serve::ask(&home, &AdminRequest::UseIssuing { number: 3 }).await.unwrap_err();
    assert!(refused.to_string().contains("the next one is 2, not 3"), "{refused}");
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    let key = home.join("root-key.pem");
    let (status, _, error) = scene.rollover(&["--root-key", key.to_str().unwrap(), "--yes"]);
    assert_eq!(status, 0, "{error}");
    scene.node.synchronize(scene.account, "admin").await.unwrap();
}
