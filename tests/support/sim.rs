//! A cluster in one process on a network that loses, delays and cuts.

use licraft::license::{Command, Millis, Outcome, User};
use licraft::raft::*;
use licraft::store::{
    BatchAuth, Entry, Epoch, LogStore, NodeInfo, SnapshotMeta, Store, StoreHandle, StoreOptions, Vote,
};
use openraft::base::BoxStream;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const EPOCH: Epoch = Epoch { counter: 1, id: 7 };
pub const CLUSTER: &str = "c0ffee";

/// A MAC good enough to tell who has the key.
pub struct TestAuth(pub u8);

impl BatchAuth for TestAuth {
    fn mac(&self, body: &[u8]) -> [u8; 32] {
        let mut mac = [self.0; 32];
        for (i, byte) in body.iter().enumerate() {
            mac[i % 32] = mac[i % 32].rotate_left(3) ^ byte;
        }
        mac
    }

    fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
        self.mac(body) == *mac
    }
}

/// The network: who reaches whom, and how badly.
pub struct Net {
    nodes: Mutex<HashMap<u64, Arc<Inbound>>>,
    /// Directions that are cut: (from, to).
    cut: Mutex<BTreeSet<(u64, u64)>>,
    rng: Mutex<StdRng>,
    loss_percent: AtomicU64,
    delay_ms: AtomicU64,
    healed: tokio::sync::Notify,
}

impl Net {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            nodes: Mutex::default(),
            cut: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            loss_percent: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            healed: tokio::sync::Notify::new(),
        })
    }

    pub fn cut(&self, from: u64, to: u64) {
        self.cut.lock().unwrap().insert((from, to));
    }

    pub fn isolate(&self, node: u64, others: &[u64]) {
        for other in others.iter().filter(|o| **o != node) {
            self.cut(node, *other);
            self.cut(*other, node);
        }
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
        self.healed.notify_waiters();
    }

    pub fn weather(&self, loss_percent: u64, delay_ms: u64) {
        self.loss_percent.store(loss_percent, Ordering::Relaxed);
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    pub fn inbound(&self, node: u64) -> Option<Arc<Inbound>> {
        self.nodes.lock().unwrap().get(&node).cloned()
    }

    fn open(&self, from: u64, to: u64) -> bool {
        !self.cut.lock().unwrap().contains(&(from, to))
    }

    /// One message on its way; an error when it is lost.
    async fn hop(&self, from: u64, to: u64) -> Result<(), PeerError> {
        let (lost, delay) = {
            let mut rng = self.rng.lock().unwrap();
            let lost = rng.random_range(0..100) < self.loss_percent.load(Ordering::Relaxed);
            (lost, rng.random_range(0..=self.delay_ms.load(Ordering::Relaxed)))
        };
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if lost || !self.open(from, to) { Err(PeerError::Unreachable("lost".into())) } else { Ok(()) }
    }
}

pub struct Wire {
    pub net: Arc<Net>,
    pub me: u64,
    pub timings: Timings,
}

impl Connect for Wire {
    fn peer(&self, id: u64, _: &NodeInfo, _: Lane) -> Arc<dyn Peer> {
        let (from, to) = (self.me, id);
        let header = Header { from, to, cluster: CLUSTER.into(), epoch: EPOCH, seal: None, timings: self.timings };
        Arc::new(SimPeer { net: self.net.clone(), header })
    }
}

struct SimPeer {
    net: Arc<Net>,
    header: Header,
}

impl SimPeer {
    async fn there(&self) -> Result<(u64, Arc<Inbound>), PeerError> {
        self.net.hop(self.header.from, self.header.to).await?;
        let inbound = self.net.inbound(self.header.to).ok_or(PeerError::Unreachable("down".into()))?;
        inbound.check(&self.header)?;
        Ok((self.header.from, inbound))
    }

    async fn back<T>(&self, answer: Result<T, PeerError>) -> Result<T, PeerError> {
        self.net.hop(self.header.to, self.header.from).await?;
        answer
    }
}

#[async_trait::async_trait]
impl Peer for SimPeer {
    async fn append(&self, request: Append) -> Result<Appended, PeerError> {
        let (from, inbound) = self.there().await?;
        self.back(inbound.append(from, request).await).await
    }

    async fn append_stream(
        &self,
        requests: BoxStream<'static, Append>,
    ) -> Result<BoxStream<'static, Result<Appended, PeerError>>, PeerError> {
        use futures::StreamExt;
        let (from, inbound) = self.there().await?;
        let (net, header) = (self.net.clone(), self.header.clone());
        let requests = requests.then(move |request| {
            let (net, header) = (net.clone(), header.clone());
            async move { net.hop(header.from, header.to).await.map(|()| request) }
        });
        let replies = inbound.append_stream(from, Box::pin(requests));
        let (net, header) = (self.net.clone(), self.header.clone());
        Ok(Box::pin(replies.then(move |reply| {
            let (net, header) = (net.clone(), header.clone());
            async move {
                net.hop(header.to, header.from).await?;
                reply
            }
        })))
    }

    async fn vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError> {
        let (from, inbound) = self.there().await?;
        self.back(inbound.vote(from, ballot).await).await
    }

    async fn pre_vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError> {
        let (from, inbound) = self.there().await?;
        self.back(inbound.pre_vote(from, ballot).await).await
    }

    async fn transfer(&self, transfer: Transfer) -> Result<TransferReply, PeerError> {
        let (from, inbound) = self.there().await?;
        self.back(inbound.transfer(from, transfer).await).await
    }

    async fn snapshot(&self, vote: Vote, meta: SnapshotMeta, data: SnapshotReader) -> Result<Vote, PeerError> {
        let (from, inbound) = self.there().await?;
        self.back(inbound.snapshot(from, vote, meta, data).await).await
    }

    async fn report(&self) -> Result<NodeReport, PeerError> {
        let (_, inbound) = self.there().await?;
        self.back(Ok(inbound.report())).await
    }
}

/// The machine's clock, moved by some milliseconds.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn shift(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(SystemClock.now().0.saturating_add_signed(self.0.load(Ordering::Relaxed)))
    }
}

pub struct Node {
    pub replica: Arc<Replica>,
    pub store: StoreHandle,
    log: LogStore,
}

impl Node {
    /// The whole log.
    pub fn entries(&self) -> Vec<Entry> {
        let mut reader = futures::executor::block_on(self.log.clone().get_log_reader());
        futures::executor::block_on(reader.try_get_log_entries(0..u64::MAX)).unwrap_or_default()
    }

    /// Which leaders wrote which stretch of the log.
    fn stretches(&self) -> String {
        let entries = self.entries();
        let mut stretches: Vec<(licraft::store::LeaderId, u64, u64)> = Vec::new();
        for id in entries.iter().map(|e| e.log_id) {
            match stretches.last_mut() {
                Some((leader, _, last)) if *leader == id.leader_id => *last = id.index,
                _ => stretches.push((id.leader_id, id.index, id.index)),
            }
        }
        stretches.iter().map(|(leader, first, last)| format!(" {leader}:{first}-{last}")).collect()
    }
}

/// A cluster of nodes 1..=n; those in `witnesses` are witnesses.
pub struct Sim {
    pub net: Arc<Net>,
    pub dir: tempfile::TempDir,
    pub nodes: BTreeMap<u64, Node>,
    pub witnesses: BTreeSet<u64>,
    pub timings: Timings,
    /// The wall clock of each node, over restarts.
    pub clocks: BTreeMap<u64, Arc<TestClock>>,
    /// Guards of all nodes that run, for the watcher.
    guards: Arc<Mutex<BTreeMap<u64, LeaseGuard>>>,
    pub two_serving: Arc<AtomicBool>,
    watcher: Option<std::thread::JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

pub fn info(id: u64, witness: bool) -> NodeInfo {
    NodeInfo {
        name: format!("node-{id}"),
        public_address: format!("10.0.0.{id}"),
        cluster_address: format!("10.0.0.{id}:7441"),
        witness,
    }
}

impl Sim {
    pub async fn form(seed: u64, count: u64, witnesses: &[u64]) -> Self {
        Self::form_at(seed, count, witnesses, 0).await
    }

    /// As [`Self::form`], with the first node's clock off by some milliseconds.
    pub async fn form_at(seed: u64, count: u64, witnesses: &[u64], first_ms: i64) -> Self {
        // With RUST_LOG set, what openraft does; a second cluster finds it set up.
        let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
        let guards: Arc<Mutex<BTreeMap<u64, LeaseGuard>>> = Arc::default();
        let (two_serving, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let watcher = {
            let (guards, two, ended) = (guards.clone(), two_serving.clone(), ended.clone());
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let serving =
                        guards.lock().unwrap().values().filter(|g| g.serving_until() > Some(Instant::now())).count();
                    if serving > 1 {
                        two.store(true, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            })
        };
        let mut sim = Self {
            net: Net::new(seed),
            dir: tempfile::tempdir().unwrap(),
            nodes: BTreeMap::new(),
            witnesses: witnesses.iter().copied().collect(),
            timings: Timings::default(),
            clocks: BTreeMap::new(),
            guards,
            two_serving,
            watcher: Some(watcher),
            ended,
        };
        sim.clock(1).shift(first_ms);
        for id in 1..=count {
            sim.start(id).await;
        }
        let first = sim.nodes[&1].replica.clone();
        first.membership().initialize(info(1, false)).await.unwrap();
        sim.active().await;
        for id in 2..=count {
            let info = info(id, sim.witnesses.contains(&id));
            first.membership().add_voter(id, info, Duration::from_secs(20), |_, _| {}).await.unwrap();
        }
        let done = first.ledger().propose(1 << 100, "init", initialize()).await;
        assert_eq!(done.unwrap(), Outcome::Done);
        sim
    }

    pub fn clock(&mut self, id: u64) -> Arc<TestClock> {
        self.clocks.entry(id).or_default().clone()
    }

    pub async fn start(&mut self, id: u64) {
        self.start_as(id, false).await;
    }

    /// Starts a node without its store, as a member that gave way to another epoch.
    pub async fn start_anew(&mut self, id: u64) {
        std::fs::remove_dir_all(self.dir.path().join(id.to_string())).unwrap();
        self.start_as(id, true).await;
    }

    async fn start_as(&mut self, id: u64, rejoining: bool) {
        let witness = self.witnesses.contains(&id);
        let auth: Option<Arc<dyn BatchAuth>> = (!witness).then(|| Arc::new(TestAuth(9)) as _);
        let options =
            StoreOptions { auth: auth.clone(), segment_bytes: 1 << 20, disk_reserve_bytes: 0, ..Default::default() };
        let (log, machine, store) = Store::open(&self.dir.path().join(id.to_string()), options).unwrap();
        let mut options = ReplicaOptions::new(id, CLUSTER.into(), EPOCH, info(id, witness));
        options.auth = auth;
        options.rejoining = rejoining;
        options.clock = self.clock(id);
        options.timings = self.timings;
        let connect = Arc::new(Wire { net: self.net.clone(), me: id, timings: self.timings });
        let transport = Transport::InProcess { connect };
        let replica =
            Replica::start(options, StoreParts::new(log.clone(), machine, store.clone()), transport).await.unwrap();
        self.net.nodes.lock().unwrap().insert(id, replica.inbound());
        self.guards.lock().unwrap().insert(id, replica.guard());
        self.nodes.insert(id, Node { replica, store, log });
    }

    pub async fn stop(&mut self, id: u64) {
        self.net.nodes.lock().unwrap().remove(&id);
        let node = self.nodes.remove(&id).unwrap();
        node.replica.shutdown().await;
        self.guards.lock().unwrap().remove(&id);
        tokio::task::spawn_blocking(move || node.store.close()).await.unwrap();
    }

    /// The node that serves, within ten seconds.
    pub async fn active(&self) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((id, _)) = self.nodes.iter().find(|(_, n)| n.replica.guard().serving_until().is_some()) {
                return *id;
            }
            assert!(Instant::now() < deadline, "nobody serves: {}", self.describe());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn describe(&self) -> String {
        let one = |(id, n): (&u64, &Node)| {
            let s = n.replica.status();
            let log = n.stretches();
            format!(
                "\n{id}:{log} {:?} log {:?} applied {:?} voters {:?} {:?}",
                s.role, s.last_log, s.last_applied, s.voters, s.trouble
            )
        };
        self.nodes.iter().map(one).collect()
    }

    /// Waits until `test` holds, or says where the cluster stands.
    pub async fn until(&self, what: &str, within: Duration, test: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + within;
        while !test(self) {
            assert!(Instant::now() < deadline, "not in time: {what}{}", self.describe());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// All data nodes have applied the same and hold the same state.
    pub async fn converge(&self) {
        self.until("all nodes equal", Duration::from_secs(20), |sim| {
            let status: Vec<_> = sim.nodes.values().map(|n| n.replica.status()).collect();
            let applied: BTreeSet<_> = status.iter().map(|s| s.last_applied).collect();
            applied.len() == 1 && status.iter().all(|s| s.last_log == s.last_applied.map(|a| a.index))
        })
        .await;
        let digests: BTreeSet<_> =
            self.nodes.values().map(|n| licraft::store::state_digest(&n.store.state()).unwrap()).collect();
        assert_eq!(digests.len(), 1, "states differ{}", self.describe());
    }

    pub async fn end(mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop(id).await;
        }
        self.ended.store(true, Ordering::Relaxed);
        self.watcher.take().unwrap().join().unwrap();
        assert!(!self.two_serving.load(Ordering::Relaxed), "two nodes served at once");
    }
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

fn initialize() -> Command {
    let administrator =
        User::new("admin".into(), licraft::license::Role::SystemAdministrator, "$argon2id$none".into(), true);
    Command::Initialize { server_uid: "00112233445566778899aabbccddeeff".into(), administrator }
}

/// Proposes under one request id until the outcome is known.
pub async fn surely(replicas: &[Arc<Replica>], id: u128, command: Command, until: Instant) -> Option<Outcome> {
    let mut turn = 0;
    while Instant::now() < until {
        let ledger = replicas[turn % replicas.len()].ledger();
        match ledger.propose(id, "tester", command.clone()).await {
            Ok(outcome) => return Some(outcome),
            Err(_) => turn += 1,
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    None
}
