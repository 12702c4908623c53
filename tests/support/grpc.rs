//! A cluster of replicas over gRPC and mutual TLS on the loopback, and a caller that may claim to be anybody.

use http::Uri;
use hyper_util::rt::TokioIo;
use licraft::ha::pairing::{node_certificate, node_life};
use licraft::license::{Command, Millis, Outcome, User};
use licraft::pki::ca::{Authority, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::seal::Sealer;
use licraft::pki::tls::{Identity, NodeTls};
use licraft::proto::raft as pb;
use licraft::proto::raft::raft_client::RaftClient;
use licraft::raft::*;
use licraft::store::{BatchAuth, Epoch, LogStore, NodeInfo, Store, StoreHandle, StoreOptions, state_digest};
use rustls::ClientConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub const EPOCH: Epoch = Epoch { counter: 1, id: 7 };
pub const CLUSTER: &str = "c0ffee";
/// Nothing here takes nearly as long.
const DEADLINE: Duration = Duration::from_secs(30);

struct Auth(Sealer);

impl BatchAuth for Auth {
    fn mac(&self, body: &[u8]) -> [u8; 32] {
        self.0.mac(body)
    }

    fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
        self.0.verify_mac(body, mac)
    }
}

pub fn now() -> Millis {
    licraft::product::wall_clock()()
}

/// What `future` gives, or a failed test.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A certificate of `authority` for node `id` of `cluster`.
pub fn identity(authority: &Authority, id: u64, cluster: &str) -> Identity {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let name = format!("node-{id}");
    let request = csr(&key, &name).unwrap();
    let hosts = vec!["127.0.0.1".to_owned()];
    let certificate =
        node_certificate(authority, &request, id, cluster, &name, hosts, node_life(now(), now())).unwrap();
    Identity { chain: vec![certificate], key_pkcs8: key.to_pkcs8_der().unwrap() }
}

/// A command that succeeds once for each name.
pub fn request_account(name: &str) -> Command {
    Command::RequestAccount {
        name: name.into(),
        requested_by: "tester".into(),
        smart_account: "Smart".into(),
        virtual_account: name.into(),
    }
}

pub struct Node {
    pub replica: Arc<Replica>,
    pub store: StoreHandle,
    pub log: LogStore,
}

pub struct Cluster {
    pub ca: Authority,
    auth: Arc<dyn BatchAuth>,
    dir: tempfile::TempDir,
    /// Where each node listens, kept over its restarts.
    addresses: BTreeMap<u64, String>,
    pub nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    /// Nodes 1..=`count`, all voters.
    pub async fn form(count: u64) -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
        let mut cluster = Self {
            ca: Authority::self_signed("cluster", 1, now()).unwrap(),
            auth: Arc::new(Auth(Sealer::generate())),
            dir: tempfile::tempdir().unwrap(),
            addresses: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        cluster.start(1, EPOCH).await;
        cluster.nodes[&1].replica.membership().initialize(cluster.info(1)).await.unwrap();
        for id in 2..=count {
            cluster.start(id, EPOCH).await;
            cluster.join(id).await;
        }
        let administrator = User::new("admin".into(), licraft::license::Role::SystemAdministrator, "-".into(), true);
        let initialize = Command::Initialize { server_uid: "ab".repeat(16), administrator };
        assert_eq!(cluster.propose(initialize).await, Outcome::Done);
        cluster
    }

    fn info(&self, id: u64) -> NodeInfo {
        NodeInfo {
            name: format!("node-{id}"),
            public_address: "127.0.0.1".into(),
            cluster_address: self.addresses[&id].clone(),
            witness: false,
        }
    }

    pub fn tls(&self, id: u64) -> NodeTls {
        NodeTls::new(self.ca.cert_der(), &identity(&self.ca, id, CLUSTER)).unwrap()
    }

    /// The address of node `id`, any free one at first. A node that has just stopped may hold it for a moment.
    pub async fn listen(&mut self, id: u64) -> TcpListener {
        let address = self.addresses.get(&id).cloned().unwrap_or("127.0.0.1:0".to_owned());
        let bound = async {
            loop {
                match TcpListener::bind(&address).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let listener = within("the address is free", bound).await;
        self.addresses.insert(id, listener.local_addr().unwrap().to_string());
        listener
    }

    pub async fn start(&mut self, id: u64, epoch: Epoch) {
        let listener = self.listen(id).await;
        let auth = Some(self.auth.clone());
        let options = StoreOptions { auth: auth.clone(), disk_reserve_bytes: 0, ..StoreOptions::default() };
        let (log, machine, store) = Store::open(&self.dir.path().join(id.to_string()), options).unwrap();
        let mut options = ReplicaOptions::new(id, CLUSTER.into(), epoch, self.info(id));
        options.auth = auth;
        let parts = StoreParts::new(log.clone(), machine, store.clone());
        let transport = Transport::Grpc { listener, tls: self.tls(id), local: None };
        let replica = Replica::start_apart(options, parts, transport).await.unwrap();
        self.nodes.insert(id, Node { replica, store, log });
    }

    /// Makes a running node a voter.
    pub async fn join(&self, id: u64) {
        let active = self.active().await;
        let membership = self.nodes[&active].replica.membership();
        membership.add_voter(id, self.info(id), DEADLINE, |_, _| {}).await.unwrap();
    }

    pub async fn stop(&mut self, id: u64) {
        let Node { replica, store, log } = self.nodes.remove(&id).unwrap();
        replica.shutdown().await;
        drop((replica, log));
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    }

    pub async fn end(mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop(id).await;
        }
    }

    /// Waits until `test` holds.
    pub async fn until(&self, what: &str, test: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !test(self) {
            let status: Vec<_> = self.nodes.values().map(|n| n.replica.status()).collect();
            assert!(Instant::now() < deadline, "not in time: {what}\n{status:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn serving(&self) -> Option<u64> {
        self.nodes.iter().find(|(_, n)| n.replica.guard().serving_until().is_some()).map(|(id, _)| *id)
    }

    pub async fn active(&self) -> u64 {
        self.until("somebody serves", |c| c.serving().is_some()).await;
        loop {
            if let Some(id) = self.serving() {
                return id;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Proposes to whoever serves, under one request id until the outcome is known.
    pub async fn propose(&self, command: Command) -> Outcome {
        let id = u128::from_le_bytes(licraft::pki::random::bytes());
        let done = async {
            loop {
                let active = self.active().await;
                match self.nodes[&active].replica.ledger().propose(id, "tester", command.clone()).await {
                    Ok(outcome) => return outcome,
                    Err(_) => tokio::time::sleep(Duration::from_millis(3)).await,
                }
            }
        };
        within("the outcome", done).await
    }

    pub async fn create(&self, name: &str) {
        let outcome = self.propose(request_account(name)).await;
        assert!(matches!(outcome, Outcome::Created(_)), "{name}: {outcome:?}");
    }

    pub fn has(&self, id: u64, name: &str) -> bool {
        self.nodes[&id].store.state().account_by_name(name).is_some()
    }

    /// Waits until `ids` have applied the same, and compares their states.
    pub async fn equal(&self, ids: &[u64]) {
        self.until("the nodes have applied the same", |c| {
            let status: Vec<_> = ids.iter().map(|id| c.nodes[id].replica.status()).collect();
            let applied: BTreeSet<_> = status.iter().map(|s| s.last_applied).collect();
            applied.len() == 1 && status.iter().all(|s| s.last_log == s.last_applied.map(|a| a.index))
        })
        .await;
        let digests: BTreeSet<_> = ids.iter().map(|id| state_digest(&self.nodes[id].store.state()).unwrap()).collect();
        assert_eq!(digests.len(), 1, "states differ");
    }

    /// What no stranger may change: term, last entry, leader and state.
    pub fn standing(&self, id: u64) -> (u64, Option<u64>, Option<u64>, [u8; 32]) {
        let node = &self.nodes[&id];
        let metrics = node.replica.raft_metrics();
        let metrics = metrics.borrow();
        let digest = state_digest(&node.store.state()).unwrap();
        (metrics.current_term, metrics.last_log_index, metrics.current_leader, digest)
    }

    /// Makes every call there is to node `to`, claiming to be `claimed` of the cluster, elected in a far higher term.
    pub async fn call_all(&self, to: u64, tls: Arc<ClientConfig>, claimed: (u64, &str), term: u64) -> Vec<Answer> {
        let mut client = RaftClient::new(channel(&self.addresses[&to], tls));
        let elected = pb::Ballot { term: term + 100, node: claimed.0, committed: true };
        let last = Some(pb::LogId { term: term + 99, node: claimed.0, index: 1 << 40 });
        let ballot = pb::VoteRequest { vote: Some(pb::Ballot { committed: false, ..elected }), last, transfer: true };
        let append = pb::AppendRequest { vote: Some(elected), ..pb::AppendRequest::default() };
        let head = pb::SnapshotHead { vote: Some(elected), meta: Vec::new().into() };
        let snapshot = pb::SnapshotPart { part: Some(pb::snapshot_part::Part::Head(head)) };
        let transfer = pb::TransferRequest { from: Some(elected), to, last };
        let as_claimed = Claim { to, claimed };
        vec![
            ("status", client.status(as_claimed.made(pb::StatusRequest {})).await.map(drop)),
            ("pre-vote", client.pre_vote(as_claimed.made(ballot)).await.map(drop)),
            ("vote", client.vote(as_claimed.made(ballot)).await.map(drop)),
            ("append", client.append(as_claimed.made(append.clone())).await.map(drop)),
            ("append stream", client.append_stream(as_claimed.made(tokio_stream::once(append))).await.map(drop)),
            ("snapshot", client.install_snapshot(as_claimed.made(tokio_stream::once(snapshot))).await.map(drop)),
            ("transfer", client.transfer_leader(as_claimed.made(transfer)).await.map(drop)),
        ]
    }
}

/// A call and what came of it.
pub type Answer = (&'static str, Result<(), Status>);

struct Claim<'a> {
    to: u64,
    claimed: (u64, &'a str),
}

impl Claim<'_> {
    /// `message` with what a call says about itself.
    fn made<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let (from, cluster) = self.claimed;
        let metadata = request.metadata_mut();
        metadata.insert("licraft-from", from.into());
        metadata.insert("licraft-to", self.to.into());
        metadata.insert("licraft-cluster", cluster.parse().unwrap());
        metadata.insert("licraft-epoch", format!("{}.{:x}", EPOCH.counter, EPOCH.id).parse().unwrap());
        metadata.insert("licraft-timing", Timings::default().to_string().parse().unwrap());
        request
    }
}

/// A connection that believes any node of the CA.
fn channel(address: &str, tls: Arc<ClientConfig>) -> Channel {
    let address = address.to_owned();
    let connect = tower::service_fn(move |_: Uri| {
        let (address, tls) = (address.clone(), tls.clone());
        async move {
            let name = "127.0.0.1".try_into().map_err(std::io::Error::other)?;
            let stream = TlsConnector::from(tls).connect(name, TcpStream::connect(address).await?).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://licraft.node").connect_with_connector_lazy(connect)
}
