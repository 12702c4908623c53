//! Replicas that talk gRPC over mutual TLS on loopback: replication, snapshots, and who is not let in.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

use hyper_util::rt::TokioIo;
use licraft::ha::pairing::node_certificate;
use licraft::license::{AlertKey, AlertKind, Command, Millis, Outcome, Role, User};
use licraft::pki::ca::{Authority, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::tls::{Identity, NodeTls, provider};
use licraft::proto::raft::StatusRequest;
use licraft::proto::raft::raft_client::RaftClient;
use licraft::raft::{KEEP_BEHIND_SNAPSHOT, Replica, ReplicaOptions, StoreParts, Timings, Transport};
use licraft::store::{BatchAuth, Epoch, NodeInfo, Store, StoreHandle, StoreOptions, state_digest};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

const CLUSTER: &str = "loopback";
const EPOCH: Epoch = Epoch { counter: 1, id: 1 };
const PATIENCE: Duration = Duration::from_secs(30);

struct Auth;

impl BatchAuth for Auth {
    fn mac(&self, body: &[u8]) -> [u8; 32] {
        licraft::pki::sha256(body)
    }
    fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
        self.mac(body) == *mac
    }
}

fn now() -> Millis {
    licraft::product::wall_clock()()
}

fn authority() -> Authority {
    Authority::self_signed("test", 1, now()).unwrap()
}

/// The TLS of node `id` of `cluster`, certified by `ca`.
fn tls(ca: &Authority, id: u64, cluster: &str) -> NodeTls {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let request = csr(&key, "node").unwrap();
    let cert = node_certificate(ca, &request, id, cluster, "node", vec!["127.0.0.1".into()], now()).unwrap();
    let identity = Identity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der().unwrap() };
    NodeTls::new(ca.cert_der(), &identity).unwrap()
}

struct Node {
    replica: Arc<Replica>,
    store: StoreHandle,
    info: NodeInfo,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn start(ca: &Authority, id: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let info = info(id, listener.local_addr().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let auth: Arc<dyn BatchAuth> = Arc::new(Auth);
        let store_options = StoreOptions { auth: Some(auth.clone()), ..StoreOptions::default() };
        let (log, machine, store) = Store::open(dir.path(), store_options).unwrap();
        let mut options = ReplicaOptions::new(id, CLUSTER.into(), EPOCH, info.clone());
        options.auth = Some(auth);
        let transport = Transport::Grpc { listener, tls: tls(ca, id, CLUSTER), local: None };
        let parts = StoreParts::new(log, machine, store.clone());
        let replica = Replica::start_apart(options, parts, transport).await.unwrap();
        Self { replica, store, info, _dir: dir }
    }

    async fn end(self) {
        self.replica.shutdown().await;
        self.store.close();
    }

    fn applied(&self) -> Option<u64> {
        self.replica.status().last_applied.map(|id| id.index)
    }
}

fn info(id: u64, address: SocketAddr) -> NodeInfo {
    NodeInfo {
        name: format!("node-{id}"),
        public_address: "127.0.0.1".into(),
        cluster_address: address.to_string(),
        witness: false,
    }
}

async fn until(what: &str, mut test: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A cluster of so many nodes; the first one leads and is initialised.
async fn cluster(ca: &Authority, count: u64) -> Vec<Node> {
    let first = Node::start(ca, 1).await;
    first.replica.membership().initialize(first.info.clone()).await.unwrap();
    until("the first node serves", || first.replica.guard().serving_until().is_some()).await;
    let administrator = User {
        name: "admin".into(),
        role: Role::SystemAdministrator,
        password_hash: "-".into(),
        must_change: true,
        created: now(),
    };
    let initialize = Command::Initialize { server_uid: "ab".repeat(16), administrator };
    first.replica.ledger().propose(0, "test", initialize).await.unwrap();
    let mut nodes = vec![first];
    for id in 2..=count {
        let node = Node::start(ca, id).await;
        add(&nodes[0], &node, id).await;
        nodes.push(node);
    }
    nodes
}

async fn add(leader: &Node, node: &Node, id: u64) {
    leader.replica.membership().add_voter(id, node.info.clone(), PATIENCE, |_, _| {}).await.unwrap();
}

async fn request_account(node: &Node, name: &str) -> Outcome {
    let text = |s: &str| s.to_owned();
    let command = Command::RequestAccount {
        name: text(name),
        requested_by: text("test"),
        smart_account: text("smart"),
        virtual_account: text(name),
    };
    node.replica.ledger().propose(0, "test", command).await.unwrap()
}

/// Has so many commands committed that change nothing.
async fn write(node: &Node, count: usize) {
    let ledger = node.replica.ledger();
    let nothing =
        || Command::AcknowledgeAlert { key: AlertKey { kind: AlertKind::ClusterDegraded, source: "nowhere".into() } };
    let outcomes = futures::future::join_all((0..count).map(|_| ledger.propose(0, "test", nothing()))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// All nodes come to have the same state.
async fn converge(nodes: &[Node]) {
    let digest = |node: &Node| state_digest(&node.store.state()).unwrap();
    until("equal states", || nodes.iter().all(|n| digest(n) == digest(&nodes[0]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_a_snapshot_of_what_the_log_no_longer_has() {
    let ca = authority();
    let mut nodes = cluster(&ca, 3).await;
    assert!(matches!(request_account(&nodes[0], "kept").await, Outcome::Created(_)));
    // openraft purges a thousand entries at a time, behind those that it keeps.
    while nodes[0].applied().unwrap_or(0) < KEEP_BEHIND_SNAPSHOT + 1_500 {
        write(&nodes[0], 64).await;
    }
    nodes[0].replica.take_snapshot().await.unwrap();
    let purged = || nodes[0].replica.raft_metrics().borrow().purged.map_or(0, |id| id.index);
    until("the leader purges its log", || purged() > 0).await;
    let newcomer = Node::start(&ca, 4).await;
    add(&nodes[0], &newcomer, 4).await;
    assert!(newcomer.replica.status().snapshot.is_some(), "it got no snapshot");
    nodes.push(newcomer);
    assert!(matches!(request_account(&nodes[0], "after").await, Outcome::Created(_)));
    converge(&nodes).await;
    assert!(nodes[3].store.state().account_by_name("kept").is_some());
    for node in nodes {
        node.end().await;
    }
}

/// A client of its own making, that dials `address` with `config` and claims what the metadata says.
async fn dial(address: SocketAddr, config: Arc<rustls::ClientConfig>) -> Result<RaftClient<Channel>, String> {
    let connect = tower::service_fn(move |_: Uri| {
        let config = config.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
        }
    });
    let endpoint = Endpoint::from_static("http://licraft.node").timeout(Duration::from_secs(5));
    endpoint.connect_with_connector(connect).await.map(RaftClient::new).map_err(|e| format!("{e:?}"))
}

/// Asks for the status as `from` of `cluster` in `epoch`; the words of the refusal.
async fn ask(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    (from, cluster, epoch): (u64, &str, Epoch),
) -> Result<(), String> {
    let mut client = dial(address, config).await?;
    let mut request = tonic::Request::new(StatusRequest {});
    let epoch = format!("{}.{:032x}", epoch.counter, epoch.id);
    let timings = Timings::default().to_string();
    let claims = [("from", from.to_string()), ("to", "1".into()), ("cluster", cluster.into())];
    for (key, value) in claims.into_iter().chain([("epoch", epoch), ("timing", timings)]) {
        let key: tonic::metadata::MetadataKey<_> = format!("licraft-{key}").parse().unwrap();
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    client.status(request).await.map(drop).map_err(|status| format!("{status:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impostors_are_refused_and_change_nothing() {
    let ca = authority();
    let nodes = cluster(&ca, 2).await;
    converge(&nodes).await;
    let address: SocketAddr = nodes[0].info.cluster_address.parse().unwrap();
    let facts = || {
        let digest = state_digest(&nodes[0].store.state()).unwrap();
        (nodes[0].replica.status().voters, nodes[0].replica.roles().borrow().term, digest)
    };
    let before = facts();
    let own = |id, cluster: &str| tls(&ca, id, cluster).client();
    let honest = (2, CLUSTER, EPOCH);

    assert_eq!(ask(address, own(2, CLUSTER), honest).await, Ok(()), "the control");

    let refused = ask(address, own(7, CLUSTER), honest).await.unwrap_err();
    assert!(refused.contains("the certificate is of node 7, the call says node 2"), "{refused}");
    let refused = ask(address, own(2, "elsewhere"), honest).await.unwrap_err();
    assert!(refused.contains("the caller is of cluster elsewhere"), "{refused}");
    let refused = ask(address, own(2, "elsewhere"), (2, "elsewhere", EPOCH)).await.unwrap_err();
    assert!(refused.contains("the caller is of cluster elsewhere"), "{refused}");

    // A certificate of another authority: both ends must hold one of ours, so it trusts our server by hand.
    let stranger = authority();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let request = csr(&key, "node").unwrap();
    let hosts = vec!["127.0.0.1".to_owned()];
    let cert = node_certificate(&stranger, &request, 2, CLUSTER, "node", hosts, now()).unwrap();
    let identity = Identity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der().unwrap() };
    let foreign = NodeTls::new(ca.cert_der(), &identity).unwrap().client();
    ask(address, foreign, honest).await.expect_err("a certificate of another authority was taken");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.cert_der().to_vec().into()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let mut nobody = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    nobody.alpn_protocols = vec![b"h2".to_vec()];
    ask(address, Arc::new(nobody), honest).await.expect_err("a caller without a certificate was let in");

    assert_eq!(*nodes[0].replica.epoch_met().borrow(), None);
    let other = Epoch { counter: 2, id: 2 };
    let refused = ask(address, own(2, CLUSTER), (2, CLUSTER, other)).await.unwrap_err();
    assert!(refused.contains("the caller is in epoch 2 of the cluster, this node in epoch 1"), "{refused}");
    assert_eq!(*nodes[0].replica.epoch_met().borrow(), Some((2, other)));

    assert_eq!(facts(), before);
    for node in nodes {
        node.end().await;
    }
}

/// A peer that takes connections and says nothing, as a stopped process or a half-dead machine does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_does_not_hold_the_others_up() {
    let ca = authority();
    let nodes = cluster(&ca, 3).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let membership = nodes[0].replica.membership();
    let adding = membership.add_voter(4, info(4, address), Duration::from_secs(2), |_, _| {});
    let term = nodes[0].replica.roles().borrow().term;
    let working = async {
        for _ in 0..200 {
            write(&nodes[0], 1).await;
        }
    };
    let (added, ()) = tokio::join!(adding, working);
    assert!(added.is_err(), "a silent node became a voter");
    assert_eq!(nodes[0].replica.roles().borrow().term, term, "there was an election");
    converge(&nodes).await;
    holding.abort();
    for node in nodes {
        node.end().await;
    }
}
