//! An admin service over an in-memory state, with a cluster and a central that only play their part.

use async_trait::async_trait;
use licraft::admin::*;
use licraft::backup::{Backup, Lag, Manifest};
use licraft::central::Asked;
use licraft::license::{self, *};
use licraft::pki::ca::Authority;
use licraft::pki::seal::Sealer;
use licraft::raft::{Ledger, ProposeError};
use licraft::store::{LeaderId, LogId};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub fn now() -> Millis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Millis(u64::try_from(elapsed.as_millis()).unwrap())
}

/// One replica without a log.
#[derive(Default)]
pub struct Memory {
    state: Mutex<Arc<State>>,
    /// How far the clock is ahead of state time, in milliseconds: in doubt above an hour.
    pub ahead: Mutex<u64>,
    /// Errors to give instead of an answer, after the command was carried out: the reply got lost.
    pub lost_replies: Mutex<u32>,
}

#[async_trait]
impl Ledger for Memory {
    async fn propose(&self, id: u128, actor: &str, command: Command) -> Result<Outcome, ProposeError> {
        let outcome = {
            let mut state = self.state.lock();
            let mut next = State::clone(&state);
            let request = Request { id, actor: actor.to_owned(), command };
            let stamp = Stamp { at: now(), wall: now().plus(*self.ahead.lock()) };
            let outcome = next.apply(stamp, &request, &mut Changes::new());
            *state = Arc::new(next);
            outcome
        };
        let mut lost = self.lost_replies.lock();
        if *lost > 0 {
            *lost -= 1;
            return Err(ProposeError::Unknown { why: "the reply was lost".into() });
        }
        Ok(outcome)
    }

    fn state(&self) -> Arc<State> {
        self.state.lock().clone()
    }
}

/// A cluster that says what it was told to.
pub struct Cluster {
    pub status: Mutex<ClusterStatus>,
    pub calls: Mutex<Vec<String>>,
    ledger: Arc<Memory>,
    sealer: Sealer,
    /// What the next backup lacks.
    pub lag: Mutex<Option<Lag>>,
}

fn node(name: &str, host: u8, role: NodeRole, replication: Replication) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        public_address: format!("192.168.1.{host}"),
        cluster_address: format!("192.168.1.{host}:7441"),
        role,
        replication,
        state: NodeState::Online,
        version: "0.1.0".into(),
        last_contact_ms: Some(0),
        log_term: 2,
        log_index: 0x53_CDB68,
        write_lag_ms: Some(0),
        flush_lag_ms: Some(0),
        replay_lag_ms: Some(0),
        connected_since: None,
        resources: None,
    }
}

pub fn normal() -> ClusterStatus {
    let daemon = |name: &str| Daemon { name: name.into(), active: true, enabled: true };
    ClusterStatus {
        cluster: ClusterState::Normal,
        this_node: "primary-node".into(),
        version: "0.1.0".into(),
        epoch: 1,
        vip: VipStatus { addresses: vec!["192.168.1.12".into()], holder: Some("primary-node".into()) },
        heartbeat: Heartbeat::Connected,
        failure_tolerance: 0,
        verdict: "Cluster is normal.".into(),
        failed_actions: Vec::new(),
        nodes: vec![
            node("primary-node", 5, NodeRole::Active, Replication::Master),
            node("secondary-node", 10, NodeRole::Standby, Replication::Slave),
        ],
        daemons: ["raft", "vip", "https", "sync"].map(daemon).into(),
        changing_since: None,
        conflict: Vec::new(),
    }
}

#[async_trait]
impl ClusterControl for Cluster {
    async fn status(&self) -> ClusterStatus {
        self.status.lock().clone()
    }
    async fn initialize(&self, request: Initialize) -> Result<Initialized, AdminError> {
        let Initialize { administrator } = request;
        assert!(administrator.password_hash.starts_with("$argon2id$"));
        let command = Command::Initialize { server_uid: "00ff".into(), administrator };
        match self.ledger.propose(0, "test", command).await? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Ok(Initialized { server_uid: "00ff".into() }),
        }
    }
    async fn generate_keys(&self, progress: Progress) -> Result<PairingCode, AdminError> {
        progress.step("Making the cluster's keys...");
        Ok(PairingCode { code: "AB-CD".into(), expires: Millis(1_000), join_address: "192.168.1.5:7441".into() })
    }
    async fn provision(&self, request: Provision, progress: Progress) -> Result<(), AdminError> {
        self.calls.lock().push(format!("provision {} {}", request.join, request.witness));
        progress.step("Joining...");
        if request.code == "AB-CD" {
            return Ok(());
        }
        Err(AdminError::new(Kind::Denied, "the pairing code is wrong")
            .hint("make another with `licraft ha generate-keys`"))
    }
    async fn deploy(&self, request: Deploy, progress: Progress) -> Result<(), AdminError> {
        self.calls.lock().push(format!("deploy {:?} {:?} {}", request.vip, request.interface, request.dry_run));
        progress.check(Check { name: "clocks".into(), result: CheckResult::Passed, detail: "1 ms apart".into() });
        let detail = "no witness".into();
        progress.check(Check { name: "voters".into(), result: CheckResult::Warning, detail });
        Ok(())
    }
    async fn switchover(&self, request: Switchover, _: Progress) -> Result<Option<SwitchoverReport>, AdminError> {
        let to = request.to.unwrap_or_else(|| "secondary-node".into());
        if to == "nobody" {
            return Err(AdminError::new(Kind::ClusterState, "there is no data node `nobody`")
                .because("the data nodes are primary-node and secondary-node")
                .hint("`licraft ha status` shows the nodes"));
        }
        let report = SwitchoverReport { from: "primary-node".into(), to, gap_ms: 12 };
        Ok(Some(report).filter(|_| !request.dry_run))
    }
    async fn stop(&self, force: bool, progress: Progress) -> Result<(), AdminError> {
        if !force && self.status.lock().cluster == ClusterState::NoQuorum {
            return Err(AdminError::new(Kind::NoQuorum, "nobody can take over"));
        }
        progress.step("Stopping Cluster (vip)...");
        progress.step("Stopping Cluster (raft)...");
        Ok(())
    }
    async fn start(&self, progress: Progress) -> Result<(), AdminError> {
        progress.step("Starting Cluster (raft)...");
        progress.step("Starting Cluster (vip)...");
        Ok(())
    }
    async fn remove(&self, node: String, progress: Progress) -> Result<(), AdminError> {
        self.calls.lock().push(format!("remove {node}"));
        progress.step(format!("Retiring {node}..."));
        Ok(())
    }
    async fn stand_down_member(&self, _: String) -> Result<(), AdminError> {
        Err(AdminError::new(Kind::NotBuilt, "no member asks here"))
    }
    async fn teardown(&self, progress: Progress) -> Result<(), AdminError> {
        self.calls.lock().push("teardown".into());
        progress.step("Retiring secondary-node...");
        Ok(())
    }
    async fn drill(&self, progress: Progress) -> Result<DrillReport, AdminError> {
        progress.step("Handing over to secondary-node...");
        Ok(DrillReport { other: "secondary-node".into(), there_ms: 21, back_ms: 23, digests: 3 })
    }
    async fn drill_fence(&self, progress: Progress) -> Result<FenceDrillReport, AdminError> {
        progress.step("secondary-node is off; licenses are served without it. Waiting until it is back...");
        Ok(FenceDrillReport { fenced: "secondary-node".into(), off_ms: 640, back_ms: 81_000, digests: 2 })
    }
    async fn promote(&self, request: Promote, progress: Progress) -> Result<PromotionStakes, AdminError> {
        self.calls.lock().push(format!("promote {} {}", request.only_look, request.accept_data_loss));
        if !request.only_look {
            progress.step("Serving in epoch 2...");
        }
        let lacks = "licenses granted after 2023-11-14T22:13:20Z may be unknown here: this node had no vote";
        Ok(PromotionStakes { others: vec!["secondary-node".into()], lacks: Some(lacks.into()) })
    }
    async fn resolve(&self, keep: String, progress: Progress) -> Result<(), AdminError> {
        progress.step(format!("Asking {keep} to go on..."));
        Ok(())
    }
    async fn list_set_aside(&self) -> Result<Vec<SetAside>, AdminError> {
        let (name, node) = ("2023-11-14T22:13:20Z".into(), "primary-node".into());
        Ok(vec![SetAside {
            name,
            node,
            epoch: 1,
            bytes: 4096,
            why: "primary-node was promoted without a quorum".into(),
        }])
    }
    async fn restore_set_aside(&self, name: String, progress: Progress) -> Result<(), AdminError> {
        progress.step(format!("Putting {name} back..."));
        Ok(())
    }
    async fn delete_set_aside(&self, name: String) -> Result<(), AdminError> {
        match name.as_str() {
            "2023-11-14T22:13:20Z" => Ok(()),
            _ => Err(AdminError::new(Kind::NotFound, format!("nothing is set aside as {name} here"))),
        }
    }
    async fn preflight(&self, _: Preflight) -> Result<Vec<Check>, AdminError> {
        Ok(Vec::new())
    }
    async fn rotate_sealing_key(&self, actor: &str, progress: Progress) -> Result<(), AdminError> {
        progress.step(format!("Changing the key for {actor}..."));
        self.calls.lock().push("rotate-sealing-key".into());
        Ok(())
    }
    async fn take_sealing_key(&self, _: &[u8]) -> Result<(), AdminError> {
        Err(AdminError::new(Kind::NotBuilt, "no member asks here"))
    }
    async fn certify_node(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, AdminError> {
        Err(AdminError::new(Kind::NotBuilt, "no member asks here"))
    }
    async fn backup(&self) -> Result<Backup, AdminError> {
        let ca = Authority::self_signed("test CA", 1, now()).unwrap();
        let state = State::clone(&self.ledger.state());
        let applied = LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index: 7 };
        let lag = self.lag.lock().take();
        let manifest = Manifest::of(&state, applied, "primary-node".into(), now(), lag);
        Ok(Backup { manifest, sealer: self.sealer.clone(), ca, state })
    }
    async fn restore(&self, backup: Backup, replace: bool, progress: Progress) -> Result<(), AdminError> {
        if !replace {
            return Err(AdminError::new(Kind::State, "this node already holds the data of a server")
                .hint("repeat it with --replace"));
        }
        self.calls.lock().push(format!("restore {}", backup.manifest.instances));
        progress.step("Building the store...");
        Ok(())
    }
    async fn digests(&self) -> Result<Vec<NodeDigest>, AdminError> {
        let digest = |node: &str| NodeDigest { node: node.into(), digest: Some("aa".into()) };
        Ok(vec![digest("primary-node"), digest("secondary-node")])
    }
}

/// Central says yes to everything.
struct Central(Arc<Memory>, Sealer);

impl Central {
    async fn commit(&self, actor: &str, command: Command) -> Result<u64, AdminError> {
        match self.0.propose(0, actor, command).await? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            Outcome::SyncBegun { seq } => Ok(seq),
            _ => Ok(0),
        }
    }
}

#[async_trait]
impl SyncControl for Central {
    async fn sync_now(&self, account: AccountId) -> Result<(), AdminError> {
        self.commit("sync", Command::BeginSync { account }).await?;
        let seq = self.0.state().account(account).unwrap().sync.seq;
        let reason = "central does not answer".into();
        self.commit("sync", Command::FailSync { account, seq, reason }).await?;
        Err(AdminError::new(Kind::Unreachable, "central does not answer").hint("look at `licraft settings get`"))
    }
    async fn close(&self, account: AccountId, actor: &str) -> Result<(), AdminError> {
        self.commit(actor, Command::CloseAccount { account }).await?;
        let seq = self.0.state().account(account).unwrap().sync.seq;
        let (entitlements, response, signed) = (Vec::new(), [0; 32], None);
        self.commit(actor, Command::CompleteSync { account, seq, entitlements, response, signed }).await.map(|_| ())
    }
    async fn export_request(&self, account: AccountId, actor: &str) -> Result<Asked, AdminError> {
        self.commit(actor, Command::BeginSync { account }).await?;
        let seq = self.0.state().account(account).map(|account| account.sync.seq);
        Ok(Asked { seq, document: b"a request".to_vec() })
    }
    async fn import_response(&self, document: &[u8], _: bool, _: &str) -> Result<Imported, AdminError> {
        if document != b"a response" {
            return Err(AdminError::new(Kind::Invalid, "the response was not taken").because("not a licraft document"));
        }
        let account = self.0.state().accounts().next().unwrap().id;
        let (tag, name) = ("ENH".to_owned(), "UC Manager Enhanced".to_owned());
        let change = EntitlementChange { tag, name, new: false, purchased: 10, purchased_after: 12, in_use: 14 };
        Ok(Imported { account, changes: vec![change] })
    }
    async fn approve(&self, account: AccountId, actor: &str) -> Result<(), AdminError> {
        let keys = AccountKeys {
            ca_csr: vec![1],
            ca_key: self.1.seal(AccountKeys::CA_KEY_CONTEXT, &[2]),
            signer_key: self.1.seal(AccountKeys::SIGNER_KEY_CONTEXT, &[3]),
            ca_chain: Vec::new(),
            signer_cert: Vec::new(),
        };
        self.commit(actor, Command::ApproveAccount { account, keys }).await?;
        let term = Term { quantity: 10, start: Millis(0), end: None, billing: Billing::Prepaid };
        let entitlements = [("ENH", "UC Manager Enhanced", vec![term]), ("ESS", "UC Manager Essential", Vec::new())];
        let entitlements = entitlements.map(|(tag, name, terms)| license::Entitlement {
            tag: tag.into(),
            name: name.into(),
            export_controlled: false,
            terms,
            covered_by: if tag == "ESS" { vec!["ENH".into()] } else { Vec::new() },
        });
        let command = Command::ActivateAccount {
            account,
            ca_chain: vec![vec![4]],
            signer_cert: vec![5],
            entitlements: entitlements.into(),
            response: [0; 32],
        };
        self.commit(actor, command).await.map(|_| ())
    }
}

/// Where licensing calls go.
pub struct Fixed(pub Route);

impl Forwarder for Fixed {
    fn route(&self) -> Route {
        self.0.clone()
    }
}

pub fn authority_of((cert, key): &(Vec<u8>, Vec<u8>)) -> Authority {
    Authority::from_parts(cert.clone(), key.clone().into()).unwrap()
}

/// A serving node. Ends with its value.
pub struct Node {
    pub runtime: Runtime,
    pub ledger: Arc<Memory>,
    pub cluster: Arc<Cluster>,
    pub dir: TempDir,
    sealer: Sealer,
    /// The cluster's CA: certificate and key.
    pub authority: (Vec<u8>, Vec<u8>),
    _socket: SocketFile,
}

impl Node {
    /// A node that is active itself.
    pub fn active() -> Self {
        Self::routing(Route::Here)
    }

    pub fn routing(route: Route) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Memory::default());
        let sealer = Sealer::generate();
        let cluster = Arc::new(Cluster {
            status: Mutex::new(normal()),
            calls: Mutex::default(),
            ledger: ledger.clone(),
            sealer: sealer.clone(),
            lag: Mutex::default(),
        });
        let (incoming, socket) = {
            let _inside = runtime.enter();
            unix(&dir.path().join("admin.sock")).unwrap()
        };
        let ca = Authority::self_signed("cluster", 30, now()).unwrap();
        let authority = (ca.cert_der().to_vec(), ca.key_pkcs8().to_vec());
        let node = Self { runtime, ledger, cluster, dir, sealer, authority, _socket: socket };
        node.runtime.spawn(serve(node.parts(route), incoming, std::future::pending()));
        node
    }

    /// An active node with an administrator and an active account TEST.
    pub fn with_account() -> Self {
        let node = Self::active();
        node.run(&["init"]).success();
        node.run(&["account", "request", "TEST", "--smart-account", "S", "--virtual-account", "V"]).success();
        node.run(&["account", "approve", "TEST"]).success();
        node
    }

    pub fn parts(&self, route: Route) -> Parts {
        let (sealer, authority) = (self.sealer.clone(), self.authority.clone());
        Parts {
            ledger: self.ledger.clone(),
            cluster: self.cluster.clone(),
            sync: Arc::new(Central(self.ledger.clone(), self.sealer.clone())),
            forwarder: Arc::new(Fixed(route)),
            sealer: Arc::new(move || Some(sealer.clone())),
            authority: Arc::new(move || Some(authority_of(&authority))),
            clock: Arc::new(now),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// Runs a command against this node.
    pub fn run(&self, args: &[&str]) -> snapbox::cmd::OutputAssert {
        super::licraft().arg("--socket").arg(self.socket()).args(args).assert()
    }

    /// Registers a product with `token`, using `count` of license ENH.
    pub fn register(&self, token: &str, sn: &str, host_name: Option<&str>, count: u64) {
        self.register_using(token, sn, host_name, "ENH", count);
    }

    pub fn register_using(&self, token: &str, sn: &str, host_name: Option<&str>, tag: &str, count: u64) {
        let instance = self.admit(token, sn, host_name, Vec::new());
        let action = InstanceAction::Authorize { usage: vec![(tag.into(), count)] };
        let numbered = Command::Numbered { instance, number: 1, digest: [1; 32], action };
        assert!(matches!(self.propose(numbered), Outcome::Authorized(_)));
    }

    /// Registers a product for further devices, too.
    pub fn register_for(&self, token: &str, sn: &str, devices: Vec<Device>) {
        self.admit(token, sn, None, devices);
    }

    fn propose(&self, command: Command) -> Outcome {
        self.runtime.block_on(self.ledger.propose(0, "product", command)).unwrap()
    }

    fn admit(&self, token: &str, sn: &str, host_name: Option<&str>, devices: Vec<Device>) -> InstanceId {
        let at = now();
        let certificate = IdCertificate {
            serial: licraft::pki::random::bytes(),
            key_hash: licraft::pki::sha256(sn.as_bytes()),
            not_before: at,
            not_after: at.plus(CERTIFICATE_LIFE),
        };
        let register = Command::Register {
            token_hash: licraft::pki::sha256(token.as_bytes()),
            udi: Udi { pid: "PI-SOFTWARE".into(), sn: sn.into() },
            host_name: host_name.map(Into::into),
            product_type: "Prime".into(),
            software_version: "3.1".into(),
            certificate,
            devices,
        };
        let Outcome::Registered(registered) = self.propose(register) else { panic!("not registered") };
        registered.instance
    }
}
