//! Central and the on-prem client against each other: a real service on loopback TLS with its own store, and the real
//! licensing state behind a ledger in memory.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[path = "central/closing.rs"]
mod closing;
#[path = "support/proxy.rs"]
mod forward;
#[path = "central/limits.rs"]
mod limits;
#[path = "central/once.rs"]
mod once;
#[path = "central/operators.rs"]
mod operators;
#[path = "central/pages.rs"]
mod pages;
#[path = "central/proxy.rs"]
mod proxy;
#[path = "central/rest.rs"]
mod rest;
#[path = "central/rollover.rs"]
mod rollover;
#[path = "central/silence.rs"]
mod silence;
#[path = "central/substitution.rs"]
mod substitution;

use licraft::central::admin::{AdminReply, AdminRequest, Caller, Entitle, ServerRow};
use licraft::central::document::{self, BillingKind, SyncRequest, SyncResponse, Unverified};
use licraft::central::serve::{self, Running};
use licraft::central::{
    CentralError, Clock, LinkError, RefusalReason, Service, SyncService, Upstream, UpstreamError, VendorRoot, schedule,
    system_clock,
};
use licraft::license::*;
use licraft::pki::jws::{Header, SigningKey};
use licraft::pki::seal::Sealer;
use licraft::pki::{ca, chain};
use licraft::raft::{Ledger, ProposeError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SERVER: &str = "00112233445566778899aabbccddeeff";
const DEADLINE: Duration = Duration::from_secs(20);

/// A cluster's agreement without a cluster: one state, and a point at which the node dies.
struct Memory {
    state: parking_lot::RwLock<Arc<State>>,
    /// Proposals until the node dies; below 0: never.
    fuse: AtomicI64,
    /// Whether it dies after the command was carried out (its answer is lost) or before.
    after: bool,
    /// How far its clock is ahead, in milliseconds.
    ahead: Arc<AtomicU64>,
    /// How far state time is behind its clock, which is in doubt then.
    behind: AtomicU64,
    /// What each synchronization that was begun has frozen.
    begun: Arc<parking_lot::Mutex<Vec<(AccountId, SyncOutstanding)>>>,
}

impl Memory {
    fn new() -> Arc<Self> {
        Self::with(State::default())
    }

    fn with(state: State) -> Arc<Self> {
        let (fuse, ahead, begun) = (AtomicI64::new(-1), Arc::default(), Arc::default());
        let (state, behind) = (parking_lot::RwLock::new(Arc::new(state)), AtomicU64::new(0));
        Arc::new(Self { state, fuse, after: false, ahead, behind, begun })
    }

    fn clock(&self) -> Clock {
        let ahead = self.ahead.clone();
        Arc::new(move || system_clock()().plus(ahead.load(Ordering::SeqCst)))
    }

    /// The same cluster seen by a node that dies at its `nth` proposal.
    fn dying(&self, nth: i64, after: bool) -> Arc<Self> {
        let state = self.state.read().clone();
        let (fuse, ahead, begun) = (AtomicI64::new(nth), self.ahead.clone(), self.begun.clone());
        let (state, behind) = (parking_lot::RwLock::new(state), AtomicU64::new(0));
        Arc::new(Self { state, fuse, after, ahead, behind, begun })
    }

    fn apply(&self, request_id: u128, actor: &str, command: Command) -> Outcome {
        let mut state = self.state.write();
        let mut next = State::clone(&state);
        let wall = (self.clock())();
        let stamp = Stamp { at: Millis(wall.0 - self.behind.load(Ordering::SeqCst)), wall };
        let request = Request { id: request_id, actor: actor.to_owned(), command };
        let outcome = next.apply(stamp, &request, &mut Changes::new());
        if let (Command::BeginSync { account }, Outcome::SyncBegun { .. }) = (&request.command, &outcome) {
            let frozen = next.account(*account).and_then(|a| a.sync.outstanding.clone());
            self.begun.lock().extend(frozen.map(|frozen| (*account, frozen)));
        }
        *state = Arc::new(next);
        outcome
    }

    fn must(&self, command: Command) -> Outcome {
        match self.apply(0, "test", command) {
            Outcome::Refused(refusal) => panic!("refused: {}", refusal.message),
            outcome => outcome,
        }
    }
}

#[async_trait::async_trait]
impl Ledger for Memory {
    async fn propose(&self, request_id: u128, actor: &str, command: Command) -> Result<Outcome, ProposeError> {
        let left = self.fuse.fetch_sub(1, Ordering::SeqCst);
        if left == 0 {
            if self.after {
                self.apply(request_id, actor, command);
            }
            self.fuse.store(0, Ordering::SeqCst);
            return Err(ProposeError::Stopped { why: "it was killed".into() });
        }
        if left < 0 {
            self.fuse.store(-1, Ordering::SeqCst);
        }
        Ok(self.apply(request_id, actor, command))
    }

    fn state(&self) -> Arc<State> {
        self.state.read().clone()
    }
}

/// A central in this process.
struct Central {
    dir: tempfile::TempDir,
    running: Option<Running>,
}

impl Central {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("central");
        let service = Service::create(&home, "Test", None, &operator(), system_clock()).unwrap();
        stock(&service);
        drop(service);
        let mut central = Self { dir, running: None };
        central.serve().await;
        central
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("central")
    }

    async fn serve(&mut self) {
        let service = reopen(&self.home()).await;
        let listen = "127.0.0.1:0".parse().unwrap();
        let hosts = ["127.0.0.1".to_owned(), proxy::HOST.to_owned()];
        self.running = Some(serve::start(service, &self.home(), listen, &hosts, system_clock()).await.unwrap());
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    fn url(&self) -> String {
        format!("https://{}", self.running.as_ref().unwrap().address)
    }

    fn root(&self) -> VendorRoot {
        VendorRoot::from_file(&self.home().join("vendor-root.pem")).unwrap()
    }

    async fn ask(&self, request: AdminRequest) -> AdminReply {
        serve::ask(&self.home(), &request).await.unwrap()
    }

    async fn servers(&self) -> Vec<ServerRow> {
        match self.ask(AdminRequest::ListServers { closed: false }).await {
            AdminReply::Servers(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    async fn event_kinds(&self) -> Vec<String> {
        match self.ask(AdminRequest::Events).await {
            AdminReply::Events(events) => events.into_iter().map(|e| e.kind).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Posts a document and gives the response's bytes, or the status.
    async fn post(&self, document: &[u8]) -> Result<Vec<u8>, u16> {
        post(&self.url(), &self.root(), document).await
    }
}

async fn post(url: &str, root: &VendorRoot, document: &[u8]) -> Result<Vec<u8>, u16> {
    let tls = licraft::pki::tls::client_config([root.der()], None).unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let response = http.post(format!("{url}/v1/documents")).body(document.to_vec()).send().await.unwrap();
    match response.status() {
        status if status.is_success() => Ok(response.bytes().await.unwrap().to_vec()),
        status => Err(status.as_u16()),
    }
}

/// The old process' lock goes with its last descriptor, which may be a moment later.
async fn reopen(home: &Path) -> Service {
    let end = Instant::now() + DEADLINE;
    loop {
        match Service::open(home, system_clock()) {
            Ok(service) => return service,
            Err(error) if Instant::now() > end => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

fn operator() -> Caller {
    Caller::operator("tester")
}

fn stock(service: &Service) {
    let virtual_accounts = vec!["Default".into(), "Lab".into()];
    service
        .admin(&operator(), AdminRequest::CreateAccount { smart_account: "Example".into(), virtual_accounts })
        .unwrap();
    entitle(service, "BASE", 10);
    entitle(service, "LAB", 0);
}

fn entitlement(tag: &str, quantity: u64) -> AdminRequest {
    AdminRequest::Entitle(Entitle {
        smart_account: "Example".into(),
        virtual_account: "Default".into(),
        tag: tag.into(),
        name: format!("{tag} License"),
        quantity,
        term_start: None,
        term_end: None,
        billing: BillingKind::Prepaid,
        export_controlled: false,
        covered_by: None,
    })
}

fn entitle(service: &Service, tag: &str, quantity: u64) {
    service.admin(&operator(), entitlement(tag, quantity)).unwrap();
}

/// A fresh on-prem server that knows where central is.
fn server(uid: &str, url: &str) -> Arc<Memory> {
    let ledger = Memory::new();
    begin(&ledger, uid, url);
    ledger
}

fn begin(ledger: &Memory, uid: &str, url: &str) {
    let administrator = User::new(
        "admin".into(),
        Role::SystemAdministrator,
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".into(),
        false,
    );
    ledger.must(Command::Initialize { server_uid: uid.into(), administrator });
    point_at(ledger, url);
}

fn point_at(ledger: &Memory, url: &str) {
    let settings = Settings { central_url: url.into(), ..ledger.state().settings().clone() };
    ledger.must(Command::SetSettings { settings });
}

fn request_account(ledger: &Memory, name: &str, virtual_account: &str) -> AccountId {
    let command = Command::RequestAccount {
        name: name.into(),
        requested_by: "admin".into(),
        smart_account: "Example".into(),
        virtual_account: virtual_account.into(),
    };
    match ledger.must(command) {
        Outcome::Created(id) => AccountId(id),
        other => panic!("{other:?}"),
    }
}

/// A node of the server: its client over the shared ledger.
fn node(ledger: &Arc<Memory>, sealer: &Sealer, root: VendorRoot) -> Upstream {
    Upstream::new(ledger.clone(), sealer.clone(), root, ledger.clock()).unwrap()
}

/// Central, a server with one active account, and its node.
struct Scene {
    central: Central,
    ledger: Arc<Memory>,
    sealer: Sealer,
    node: Upstream,
    account: AccountId,
}

impl Scene {
    async fn new() -> Self {
        let central = Central::start().await;
        let ledger = server(SERVER, &central.url());
        let sealer = Sealer::generate();
        let node = node(&ledger, &sealer, central.root());
        let account = request_account(&ledger, "TEST", "Default");
        node.approve_account(account, "admin").await.unwrap();
        Self { central, ledger, sealer, node, account }
    }

    fn account(&self) -> Account {
        self.ledger.state().account(self.account).unwrap().clone()
    }

    /// A copy of the server as a virtual machine's snapshot makes it.
    fn copy(&self) -> (Arc<Memory>, Upstream) {
        let ledger = Memory::with(State::clone(&self.ledger.state()));
        let node = node(&ledger, &self.sealer, self.central.root());
        (ledger, node)
    }

    /// Signs any synchronization request as the account would.
    fn forge(&self, request: &SyncRequest) -> Vec<u8> {
        let keys = self.account().keys.unwrap();
        let key = self.sealer.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key).unwrap();
        let key = SigningKey::from_pkcs8_der(&key).unwrap();
        document::sign::<SyncRequest>(&document::payload(request), &key, Header::default()).unwrap()
    }
}

fn refusal(error: &UpstreamError) -> RefusalReason {
    match error {
        UpstreamError::Link(LinkError::Refused { reason, .. }) => *reason,
        other => panic!("not refused by central: {other}"),
    }
}

fn purchased(ledger: &Memory, account: AccountId, tag: &str) -> u64 {
    let state = ledger.state();
    let default_va = state.account(account).unwrap().default_va;
    let license = state.license_by_tag(account, tag).unwrap().id;
    state.pool(default_va, license).map_or(0, |p| p.purchased)
}

/// Registers a product in a virtual account.
fn product(ledger: &Memory, va: VirtualAccountId, n: u8) -> InstanceId {
    let at = (ledger.clock())();
    let token_hash = [n; 32];
    ledger.must(Command::CreateToken {
        va,
        hash: token_hash,
        sealed: Sealed(vec![1]),
        description: String::new(),
        expires_days: 1,
        max_uses: 0,
        export_controlled: false,
    });
    let (key_hash, not_after) = ([n; 32], at.plus(CERTIFICATE_LIFE));
    let registered = ledger.must(Command::Register {
        token_hash,
        udi: Udi { pid: "ROUTER".into(), sn: n.to_string() },
        host_name: None,
        product_type: "Router".into(),
        software_version: "1".into(),
        certificate: IdCertificate { serial: [n; 16], key_hash, not_before: at, not_after },
        devices: Vec::new(),
    });
    let Outcome::Registered(registered) = registered else { panic!("{registered:?}") };
    registered.instance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_registered_and_synchronized() {
    let scene = Scene::new().await;
    let account = scene.account();
    assert_eq!(account.status, AccountStatus::Active);
    let keys = account.keys.unwrap();
    assert_eq!(keys.ca_chain.len(), 3);
    assert_eq!(keys.ca_chain[2], scene.central.root().der());
    assert_eq!(purchased(&scene.ledger, scene.account, "BASE"), 10);
    assert_eq!(purchased(&scene.ledger, scene.account, "LAB"), 0);

    scene.central.ask(entitlement("BASE", 25)).await;
    scene.central.ask(entitlement("NEW", 3)).await;
    for seq in 1..=3 {
        let done = scene.node.synchronize(scene.account, "admin").await.unwrap();
        assert_eq!(done.seq, seq);
        assert_eq!(scene.account().sync.last_success, Some(done.at));
    }
    assert_eq!(purchased(&scene.ledger, scene.account, "BASE"), 25);
    assert_eq!(purchased(&scene.ledger, scene.account, "NEW"), 3);
    let rows = scene.central.servers().await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].seq, rows[0].account.as_deref(), rows[0].status.as_str()), (3, Some("TEST"), "active"));
    assert!(scene.ledger.state().check().is_empty());
}

/// Central's time confirms a clock that agrees with it, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn central_confirms_a_clock_that_is_in_doubt_and_right() {
    let central = Central::start().await;
    for (ahead, right) in [(0, true), (3 * Millis::HOUR, false)] {
        let ledger = Memory::new();
        ledger.ahead.store(ahead, Ordering::SeqCst);
        ledger.behind.store(3 * Millis::HOUR, Ordering::SeqCst);
        begin(&ledger, &format!("{ahead:032x}"), &central.url());
        let account = request_account(&ledger, "TEST", if right { "Default" } else { "Lab" });
        assert!(ledger.state().meta().clock_ahead > 0);
        node(&ledger, &Sealer::generate(), central.root()).approve_account(account, "admin").await.unwrap();
        let state = ledger.state();
        assert_eq!(state.meta().clock_ahead == 0, right, "ahead by {ahead} ms");
        let settled = state.events(0).find(|event| event.kind == "clock-settled");
        assert_eq!(settled.map(|event| event.actor.as_str()), right.then_some("central"));
        assert_eq!(state.account(account).unwrap().status, AccountStatus::Active);
    }
}

/// The vendor's rule arrives, and both sides have the same numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spare_licenses_cover_by_the_rules_of_central() {
    let scene = Scene::new().await;
    let covered = |by: &[&str]| {
        let AdminRequest::Entitle(base) = entitlement("LAB", 1) else { unreachable!() };
        AdminRequest::Entitle(Entitle { covered_by: Some(by.iter().map(|t| (*t).into()).collect()), ..base })
    };
    scene.central.ask(covered(&["BASE"])).await;
    scene.node.synchronize(scene.account, "admin").await.unwrap();

    let va = scene.account().default_va;
    let instance = product(&scene.ledger, va, 7);
    let action = InstanceAction::Authorize { usage: vec![("LAB".into(), 4)] };
    let authorized = scene.ledger.must(Command::Numbered { instance, number: 1, digest: [1; 32], action });
    assert!(matches!(authorized, Outcome::Authorized(a) if a.in_compliance()));
    scene.node.synchronize(scene.account, "admin").await.unwrap();

    let AdminReply::Accounts(accounts) = scene.central.ask(AdminRequest::ListAccounts).await else { panic!() };
    let account = accounts.iter().find(|a| a.virtual_account.as_deref() == Some("Default")).unwrap();
    let state = scene.ledger.state();
    for (tag, expected) in [("BASE", (0, -3)), ("LAB", (4, 3))] {
        let license = state.license_by_tag(scene.account, tag).unwrap().id;
        let pool = state.pool(va, license).unwrap();
        let usage = account.usage.iter().find(|u| u.tag == tag).unwrap();
        assert_eq!((pool.in_use, pool.substitution), expected, "{tag}");
        assert_eq!((usage.in_use, usage.substitution), expected, "{tag} at central");
    }
    drop(state);

    scene.central.ask(covered(&[])).await;
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    assert!(scene.ledger.state().alerts().any(|a| a.key.kind == AlertKind::InsufficientLicenses));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_response_is_given_again_byte_for_byte() {
    let mut scene = Scene::new().await;
    for round in 0..3 {
        // The response is lost: central has answered, the server has not seen it.
        let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
        let response = scene.central.post(&request).await.unwrap();
        if round == 1 {
            scene.central.stop().await;
            scene.central.serve().await;
            point_at(&scene.ledger, &scene.central.url());
        }
        // Central's catalog changes meanwhile; the response to this request does not.
        scene.central.ask(entitlement("BASE", 100 + round)).await;
        assert_eq!(scene.node.begin_sync(scene.account, "admin").await.unwrap(), request);
        assert_eq!(scene.central.post(&request).await.unwrap(), response);
        // Another node with the same sealing key makes the very same bytes.
        let other = node(&scene.ledger, &scene.sealer, scene.central.root());
        assert_eq!(other.begin_sync(scene.account, "admin").await.unwrap(), request);
        assert_eq!(other.synchronize(scene.account, "admin").await.unwrap().seq, round + 1);
    }
    assert_eq!(scene.central.servers().await[0].seq, 3);
    assert!(!scene.central.event_kinds().await.contains(&"fork-refused".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_at_any_step_is_followed_by_another() {
    let central = Central::start().await;
    // Approve, activate, begin, complete: it dies before or after each of them was carried out.
    for (round, (nth, after)) in (0..4).flat_map(|nth| [(nth, false), (nth, true)]).enumerate() {
        let virtual_account = format!("va {round}");
        let ledger = server(&format!("{round:032x}"), &central.url());
        let account = request_account(&ledger, "TEST", &virtual_account);
        let sealer = Sealer::generate();
        let dying = ledger.dying(nth, after);
        let first = node(&dying, &sealer, central.root());
        let approved = first.approve_account(account, "admin").await;
        assert_eq!(approved.is_ok(), nth >= 2, "round {round}: {approved:?}");
        if nth >= 2 {
            first.synchronize(account, "admin").await.unwrap_err();
        }
        // What was committed is what the next node sees.
        let ledger = Memory::with(State::clone(&dying.state()));
        let second = node(&ledger, &sealer, central.root());
        second.approve_account(account, "admin").await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        let done = second.synchronize(account, "admin").await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        let expected = if (nth, after) == (3, true) { 2 } else { 1 };
        assert_eq!(done.seq, expected, "round {round}");
    }
    let rows = central.servers().await;
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().all(|r| r.status == "active"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_finishes_what_was_begun_once_its_node_is_active() {
    let mut scene = Scene::new().await;
    scene.node.begin_sync(scene.account, "admin").await.unwrap();
    scene.central.stop().await;
    let second = request_account(&scene.ledger, "SECOND", "Lab");
    scene.node.approve_account(second, "admin").await.unwrap_err();
    assert_eq!(scene.ledger.state().account(second).unwrap().status, AccountStatus::Approved);

    let (activate, active) = tokio::sync::watch::channel(false);
    let other = Arc::new(node(&scene.ledger, &scene.sealer, scene.central.root()));
    let service = tokio::spawn(SyncService::new(other, active).run());
    scene.central.serve().await;
    point_at(&scene.ledger, &scene.central.url());
    activate.send(true).unwrap();
    let end = Instant::now() + DEADLINE;
    loop {
        let state = scene.ledger.state();
        let first = &state.account(scene.account).unwrap().sync;
        if first.outstanding.is_none() && state.account(second).unwrap().status == AccountStatus::Active {
            assert_eq!(first.seq, 1);
            break;
        }
        assert!(Instant::now() < end, "not finished: {first:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(activate);
    service.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_active_node_synchronizes_when_the_time_has_come() {
    let scene = Scene::new().await;
    let now = || (scene.ledger.clock())();
    let minute = u16::try_from(now().0 / Millis::MINUTE % 1440).unwrap();
    let schedule = Schedule::Daily { minute: (minute + 120) % 1440 };
    scene.ledger.must(Command::SetSyncSchedule { account: scene.account, schedule });
    let next = || schedule::next(&scene.ledger.state(), &scene.account()).unwrap();
    let first = next();
    assert!(first.0 > now().0 + 118 * Millis::MINUTE && first.0 < now().0 + 152 * Millis::MINUTE, "jitter");
    let services = [(); 2].map(|()| {
        let (activate, active) = tokio::sync::watch::channel(false);
        let node = Arc::new(node(&scene.ledger, &scene.sealer, scene.central.root()));
        (activate, tokio::spawn(SyncService::new(node, active).run()))
    });
    let synchronized = async |seq: u64| {
        let end = Instant::now() + DEADLINE;
        while scene.account().sync.seq < seq || scene.account().sync.outstanding.is_some() {
            assert!(Instant::now() < end, "not synchronized: {:?}", scene.account().sync);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(scene.account().sync.seq, seq);
        assert!(next() > now(), "it would begin the next one at once");
    };
    // Its time passes while no node is active: the first that is catches up.
    scene.ledger.ahead.store(first.0 - now().0 + 1_000, Ordering::SeqCst);
    assert!(next() <= now());
    services[0].0.send(true).unwrap();
    synchronized(1).await;
    // The day after, another node is active.
    services[0].0.send(false).unwrap();
    scene.ledger.ahead.fetch_add(Millis::DAY + 31 * Millis::MINUTE, Ordering::SeqCst);
    services[1].0.send(true).unwrap();
    synchronized(2).await;
    for (activate, service) in services {
        drop(activate);
        service.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_recorded_with_its_reason_and_heals() {
    let mut scene = Scene::new().await;
    scene.central.stop().await;
    let error = scene.node.synchronize(scene.account, "admin").await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    let sync = scene.account().sync;
    assert!(sync.last_failure.unwrap().1.contains("does not answer"));
    assert_eq!(sync.outstanding.unwrap().seq, 1);
    scene.central.serve().await;
    point_at(&scene.ledger, &scene.central.url());
    assert_eq!(scene.node.synchronize(scene.account, "admin").await.unwrap().seq, 1);
    assert_eq!(scene.account().sync.last_failure, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_refused_and_recorded_and_can_be_readopted() {
    let scene = Scene::new().await;
    let (copy_ledger, copy) = scene.copy();
    // A moment later, so that the two requests differ.
    let end = Instant::now() + DEADLINE;
    let before = system_clock()();
    while system_clock()() == before {
        assert!(Instant::now() < end);
    }
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    let error = copy.synchronize(scene.account, "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::Fork);
    assert!(error.to_string().contains("licraft central server readopt"), "{error}");
    let recorded = copy_ledger.state().account(scene.account).unwrap().sync.last_failure.clone();
    assert!(recorded.is_some());
    copy.synchronize(scene.account, "admin").await.unwrap_err();
    assert_eq!(scene.central.event_kinds().await.iter().filter(|k| *k == "fork-refused").count(), 1);
    assert_eq!(scene.central.servers().await[0].status, "contested");
    // The first one is not disturbed by it.
    assert_eq!(scene.node.synchronize(scene.account, "admin").await.unwrap().seq, 2);

    // The copy was the right one after all: it goes on, and the first one is refused.
    scene.central.ask(AdminRequest::Readopt { server: SERVER.into() }).await;
    assert_eq!(copy.synchronize(scene.account, "admin").await.unwrap().seq, 1);
    assert_eq!(copy.synchronize(scene.account, "admin").await.unwrap().seq, 2);
    let error = scene.node.synchronize(scene.account, "admin").await.unwrap_err();
    assert!(matches!(refusal(&error), RefusalReason::Fork | RefusalReason::StaleSequence), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_twins_the_first_claimant_goes_on_until_readopted() {
    let scene = Scene::new().await;
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    let (twin_ledger, twin) = scene.copy();
    scene.ledger.must(Command::RaiseIncarnation);
    let end = Instant::now() + DEADLINE;
    let before = scene.ledger.state().meta().incarnation_since;
    while system_clock()() <= before {
        assert!(Instant::now() < end);
    }
    twin_ledger.must(Command::RaiseIncarnation);
    assert_eq!(scene.ledger.state().meta().incarnation, twin_ledger.state().meta().incarnation);

    scene.node.synchronize(scene.account, "admin").await.unwrap();
    assert_eq!(refusal(&twin.synchronize(scene.account, "admin").await.unwrap_err()), RefusalReason::Twin);
    let reason = twin_ledger.state().account(scene.account).unwrap().sync.last_failure.clone().unwrap().1;
    assert!(reason.ends_with(&format!("`licraft central server readopt {SERVER}`")), "cut off: {reason}");
    // Not with another account either, nor in a new one.
    let second = request_account(&twin_ledger, "SECOND", "Lab");
    assert_eq!(refusal(&twin.approve_account(second, "admin").await.unwrap_err()), RefusalReason::Twin);
    twin.synchronize(scene.account, "admin").await.unwrap_err();

    scene.central.ask(AdminRequest::Readopt { server: SERVER.into() }).await;
    twin.synchronize(scene.account, "admin").await.unwrap();
    twin.register(second, "admin").await.unwrap();
    assert_eq!(refusal(&scene.node.synchronize(scene.account, "admin").await.unwrap_err()), RefusalReason::Twin);
    assert!(scene.central.event_kinds().await.contains(&"server-readopted".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_promoted_supersedes_the_old_one() {
    let scene = Scene::new().await;
    let (backup_ledger, backup) = scene.copy();
    for _ in 0..3 {
        scene.node.synchronize(scene.account, "admin").await.unwrap();
    }
    scene.node.begin_sync(scene.account, "admin").await.unwrap();
    backup_ledger.must(Command::RaiseIncarnation);
    assert_eq!(backup.synchronize(scene.account, "admin").await.unwrap().seq, 1);
    assert_eq!(backup.synchronize(scene.account, "admin").await.unwrap().seq, 2);
    assert_eq!(refusal(&scene.node.synchronize(scene.account, "admin").await.unwrap_err()), RefusalReason::Twin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_server_waits_for_the_vendor_and_then_the_original_cannot_go_on() {
    let scene = Scene::new().await;
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    let restore = |mark| {
        let (ledger, node) = scene.copy();
        let member = Member {
            node_id: 1,
            name: "restored".into(),
            public_address: "10.0.0.9".into(),
            cluster_address: "10.0.0.9:7441".into(),
            witness: false,
            joined: Millis(0),
            retired: false,
        };
        let state = State::clone(&ledger.state()).restored(system_clock()(), mark, member);
        *ledger.state.write() = Arc::new(state);
        (ledger, node)
    };
    // Nothing has happened since the backup: only the mark tells them apart.
    let ((ledger, restored), (other_ledger, other)) = (restore(7), restore(8));
    scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let refused = |error: UpstreamError| assert_eq!(refusal(&error), RefusalReason::Twin);
    for _ in 0..2 {
        refused(restored.synchronize(scene.account, "admin").await.unwrap_err());
        // However often it is promoted meanwhile.
        ledger.must(Command::RaiseIncarnation);
    }
    let reason = ledger.state().account(scene.account).unwrap().sync.last_failure.clone().unwrap().1;
    assert!(reason.ends_with(&format!("`licraft central server readopt {SERVER}`")), "cut off: {reason}");
    scene.node.synchronize(scene.account, "admin").await.unwrap();

    refused(restored.synchronize(scene.account, "admin").await.unwrap_err());
    scene.central.ask(AdminRequest::Readopt { server: SERVER.into() }).await;
    restored.synchronize(scene.account, "admin").await.unwrap();
    for (ledger, node) in [(&scene.ledger, &scene.node), (&other_ledger, &other)] {
        refused(node.synchronize(scene.account, "admin").await.unwrap_err());
        ledger.must(Command::RaiseIncarnation);
        ledger.must(Command::RaiseIncarnation);
        refused(node.synchronize(scene.account, "admin").await.unwrap_err());
    }
    // It lives on by itself: a promotion of its own is no restore.
    ledger.must(Command::RaiseIncarnation);
    restored.synchronize(scene.account, "admin").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_incarnation_never_leaves_a_request_that_can_not_be_answered() {
    let scene = Scene::new().await;
    // One request answered but its response lost, one account approved but its registration's response lost.
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    scene.central.post(&request).await.unwrap();
    let second = request_account(&scene.ledger, "SECOND", "Lab");
    point_at(&scene.ledger, "https://127.0.0.1:1");
    scene.node.approve_account(second, "admin").await.unwrap_err();
    point_at(&scene.ledger, &scene.central.url());
    scene.central.post(&scene.node.registration_request(second).unwrap()).await.unwrap();

    scene.ledger.must(Command::RaiseIncarnation);
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    scene.node.register(second, "admin").await.unwrap();
    scene.node.synchronize(second, "admin").await.unwrap();
    scene.node.synchronize(scene.account, "admin").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequence_numbers_neither_go_back_nor_skip() {
    let scene = Scene::new().await;
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let next: SyncRequest = Unverified::parse(&request).unwrap().claims().unwrap();
    assert_eq!(next.seq, 3);
    for seq in [0, 1, 2, 4, u64::MAX] {
        let forged = scene.forge(&SyncRequest { seq, ..next.clone() });
        let status = scene.central.post(&forged).await.unwrap_err();
        assert_eq!(status, if seq == 0 { 400 } else { 409 }, "seq {seq}");
    }
    let forged = scene.forge(&SyncRequest { previous: document::Digest([7; 32]), ..next });
    assert_eq!(scene.central.post(&forged).await, Err(409));
    assert_eq!(scene.node.synchronize(scene.account, "admin").await.unwrap().seq, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_server_is_refused_in_everything() {
    let scene = Scene::new().await;
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    scene.central.post(&request).await.unwrap();
    scene.central.ask(AdminRequest::Revoke { server: SERVER.into() }).await;
    let error = scene.node.synchronize(scene.account, "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::ServerRevoked);
    let second = request_account(&scene.ledger, "SECOND", "Lab");
    let error = scene.node.approve_account(second, "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::ServerRevoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_virtual_account_is_bound_once() {
    let scene = Scene::new().await;
    let other = server("ffffffffffffffffffffffffffffffff", &scene.central.url());
    let other_node = node(&other, &Sealer::generate(), scene.central.root());
    let rival = request_account(&other, "RIVAL", "Default");
    let error = other_node.approve_account(rival, "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::VirtualAccountBound);
    // Missing virtual accounts are made, missing smart accounts are not.
    let made = request_account(&other, "MADE", "made on the way");
    other_node.approve_account(made, "admin").await.unwrap();
    let command = Command::RequestAccount {
        name: "NOWHERE".into(),
        requested_by: "admin".into(),
        smart_account: "Exampel".into(),
        virtual_account: "Default".into(),
    };
    let Outcome::Created(nowhere) = other.must(command) else { panic!() };
    let error = other_node.approve_account(AccountId(nowhere), "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::SmartAccountUnknown);

    // Released by the vendor, it can be bound by the other one; the old binding's requests are refused.
    scene.central.ask(AdminRequest::Release { server: SERVER.into(), account: "TEST".into() }).await;
    other_node.register(rival, "admin").await.unwrap();
    let error = scene.node.synchronize(scene.account, "admin").await.unwrap_err();
    assert_eq!(refusal(&error), RefusalReason::AccountUnknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_cannot_pass_for_central_nor_another_vendor_for_ours() {
    let scene = Scene::new().await;
    let other = Central::start().await;
    // Another vendor's central is not even spoken to.
    point_at(&scene.ledger, &other.url());
    let error = scene.node.synchronize(scene.account, "admin").await.unwrap_err();
    assert!(matches!(error, UpstreamError::Link(LinkError::Unreachable { .. })), "{error}");
    point_at(&scene.ledger, &scene.central.url());

    // A response signed by the account's own signer, which also leads to the vendor root.
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let genuine = scene.central.post(&request).await.unwrap();
    let mut body: SyncResponse = Unverified::parse(&genuine).unwrap().claims().unwrap();
    body.entitlements[0].terms[0].quantity = 1_000_000;
    let keys = scene.account().keys.unwrap();
    let key = scene.sealer.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key).unwrap();
    let key = SigningKey::from_pkcs8_der(&key).unwrap();
    let chains = [
        vec![keys.signer_cert.clone(), keys.ca_chain[0].clone()],
        vec![keys.signer_cert.clone(), keys.ca_chain[1].clone()],
        vec![keys.signer_cert.clone(), keys.ca_chain[0].clone(), keys.ca_chain[1].clone()],
        vec![keys.ca_chain[0].clone(), keys.ca_chain[1].clone()],
    ];
    for chain in &chains {
        let header = Header::default().with_chain(chain.iter().map(Vec::as_slice));
        let forged = document::sign::<SyncResponse>(&document::payload(&body), &key, header).unwrap();
        let error = scene.node.import(&forged, false, "admin").await.unwrap_err();
        assert!(matches!(error, UpstreamError::Response(_)), "{error}");
    }
    assert_eq!(purchased(&scene.ledger, scene.account, "BASE"), 10);
    scene.node.import(&genuine, false, "admin").await.unwrap();
    // The response to an older request is refused by its digest.
    scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let error = scene.node.import(&genuine, false, "admin").await.unwrap_err();
    assert!(error.to_string().contains("another request"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_signed_by_another_key_changes_nothing() {
    let scene = Scene::new().await;
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let body: SyncRequest = Unverified::parse(&request).unwrap().claims().unwrap();
    let stranger = SigningKey::generate(licraft::pki::jws::Algorithm::EdDsa).unwrap();
    let forged = document::sign::<SyncRequest>(&document::payload(&body), &stranger, Header::default()).unwrap();
    assert_eq!(scene.central.post(&forged).await, Err(403));
    assert_eq!(scene.central.post(b"not a document").await, Err(400));
    assert_eq!(scene.central.post(&vec![b' '; document::MAX_DOCUMENT_BYTES + 1]).await, Err(413));
    assert_eq!(scene.central.servers().await[0].seq, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_carry_the_same_bytes() {
    let mut scene = Scene::new().await;
    let by_file = request_account(&scene.ledger, "BY FILE", "Lab");
    point_at(&scene.ledger, "");
    let error = scene.node.approve_account(by_file, "admin").await.unwrap_err();
    assert!(matches!(error, UpstreamError::NoCentral), "{error}");
    let request = scene.node.registration_request(by_file).unwrap();
    let online = scene.central.post(&request).await.unwrap();

    // With central's service stopped the same command works on the store itself.
    let work = scene.central.dir.path().to_owned();
    let (request_file, response_file) = (work.join("request.json"), work.join("response.json"));
    std::fs::write(&request_file, &request).unwrap();
    scene.central.stop().await;
    drop(reopen(&scene.central.home()).await);
    let args = ["answer", request_file.to_str().unwrap(), response_file.to_str().unwrap()];
    let (status, _, error) = central_cli(&scene.central.home(), &args);
    assert_eq!(status, 0, "{error}");
    assert_eq!(std::fs::read(&response_file).unwrap(), online);
    scene.node.import(&online, false, "admin").await.unwrap();
    assert_eq!(scene.ledger.state().account(by_file).unwrap().status, AccountStatus::Active);

    let (status, _, error) = central_cli(&scene.central.home(), &args);
    assert_eq!(status, 1);
    assert!(error.contains("cannot write") && error.contains("the response will be the same"), "{error}");
}

/// Runs `licraft central ARGS --dir HOME` and gives its exit code, standard output and standard error.
fn central_cli(home: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Process::new(env!("CARGO_BIN_EXE_licraft"));
    let output = command.arg("central").args(args).arg("--dir").arg(home).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A central in a process of its own, killed when dropped.
struct CentralProcess {
    child: Child,
    url: String,
}

impl CentralProcess {
    fn start(home: &Path) -> Self {
        let mut command = Process::new(env!("CARGO_BIN_EXE_licraft"));
        command.args(["central", "serve", "--listen", "127.0.0.1:0", "--dir"]).arg(home);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("Serving ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, url }
    }
}

impl Drop for CentralProcess {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_central_killed_after_it_acknowledged_has_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("central");
    stock(&Service::create(&home, "Test", None, &operator(), system_clock()).unwrap());
    let root = VendorRoot::from_file(&home.join("vendor-root.pem")).unwrap();
    let ledger = server(SERVER, "");
    let upstream = node(&ledger, &Sealer::generate(), root.clone());
    let account = request_account(&ledger, "TEST", "Default");
    let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
    for seq in 1..=5 {
        let central = CentralProcess::start(&home);
        point_at(&ledger, &central.url);
        if seq == 1 {
            upstream.approve_account(account, "admin").await.unwrap();
        }
        if let Some((request, response)) = &last {
            assert_eq!(post(&central.url, &root, request).await.unwrap(), *response, "before {seq}");
            upstream.import(response, false, "admin").await.unwrap();
        }
        let request = upstream.begin_sync(account, "admin").await.unwrap();
        let response = post(&central.url, &root, &request).await.unwrap();
        // SIGKILL, the moment the response is here.
        drop(central);
        last = Some((request, response));
    }
    let AdminReply::Servers(rows) =
        reopen(&home).await.admin(&operator(), AdminRequest::ListServers { closed: false }).unwrap()
    else {
        panic!()
    };
    assert_eq!(rows[0].seq, 5);
}

#[test]
fn the_commands_say_what_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("central");
    let ok = |args: &[&str]| {
        let (status, out, error) = central_cli(&home, args);
        assert_eq!(status, 0, "{args:?}: {error}");
        out
    };
    let (status, _, error) = central_cli(&home, &["account", "list"]);
    assert_eq!(status, 1);
    assert!(error.contains("run `licraft central init --dir"), "{error}");

    let out = ok(&["init", "--name", "Example Vendor"]);
    let root = VendorRoot::from_file(&home.join("vendor-root.pem")).unwrap();
    assert!(out.contains(&format!("Fingerprint:  {}", root.fingerprint())), "{out}");
    for key in ["root-key.pem", "issuing-ca-1.key", "signer-1.key"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(home.join(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    assert_eq!(central_cli(&home, &["init"]).0, 1, "never over an old one");
    assert_eq!(ok(&["account", "list"]), "No smart accounts.\n");
    assert_eq!(
        ok(&["account", "create", "Example", "--virtual-account", "Default"]),
        "Created smart account Example, virtual account Example/Default.\n"
    );
    let entitle = |extra: &[&str]| {
        let base = ["entitle", "--smart-account", "Example", "--virtual-account", "Default", "--license", "BASE"];
        central_cli(&home, &[&base[..], &["--name", "Base License"], extra].concat())
    };
    assert_eq!(entitle(&["--quantity", "7"]).1, "Example/Default has 7 of BASE (Base License).\n");
    assert_eq!(entitle(&["--quantity", "5", "--term-end", "2999-12-31", "--billing", "usage"]).0, 0);
    let (status, _, error) = entitle(&["--quantity", "1", "--covered-by", "BASE"]);
    assert_eq!((status, error.contains("BASE would cover itself")), (1, true), "{error}");
    let (status, _, error) = entitle(&["--quantity", "1", "--covered-by", "PREMIUM"]);
    assert_eq!((status, error.contains("has no license PREMIUM that could cover BASE")), (1, true), "{error}");
    assert_eq!(entitle(&["--quantity", "5", "--term-end", "1999-12-31"]).0, 1, "over before it starts");
    assert_eq!(entitle(&["--quantity", "5", "--term-end", "tomorrow"]).0, 2, "not a date");

    // The same commands while `serve` holds the store.
    let serving = CentralProcess::start(&home);
    assert_eq!(ok(&["account", "list", "-o", "plain"]), "Example\tDefault\t\tBASE\tBase License\t12\t0\t0\n");
    let json: serde_json::Value = serde_json::from_str(&ok(&["account", "list", "-o", "json"])).unwrap();
    assert_eq!(json[0]["terms"][1]["billing"], "usage");
    assert_eq!(ok(&["server", "list"]), "No servers.\n");
    let (status, _, error) = central_cli(&home, &["server", "revoke", "abc"]);
    assert_eq!((status, error.contains("repeat it with --yes")), (2, true), "{error}");
    let (status, _, error) = central_cli(&home, &["server", "revoke", "abc", "--yes"]);
    assert_eq!((status, error.contains("there is no server \"abc\"")), (1, true), "{error}");
    drop(serving);
}

#[test]
fn a_store_that_is_served_cannot_be_opened_beside() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("central");
    let service = Service::create(&home, "Test", None, &operator(), system_clock()).unwrap();
    let error = Service::open(&home, system_clock()).unwrap_err();
    assert!(matches!(&error, CentralError::Store(e) if e.to_string().contains("in use")), "{error}");
    drop(service);
    Service::open(&home, system_clock()).unwrap();
}

/// Years pass: the account goes on with other certificates for the keys that it has.
#[tokio::test]
async fn the_certificates_of_an_account_are_renewed_before_they_end() {
    let ledger = server(SERVER, "https://nobody.invalid");
    let (dir, sealer) = (tempfile::tempdir().unwrap(), Sealer::generate());
    let home = dir.path().join("central");
    let service = Service::create(&home, "Test", None, &operator(), ledger.clock()).unwrap();
    stock(&service);
    let root = VendorRoot::from_file(&home.join("vendor-root.pem")).unwrap();
    let node = node(&ledger, &sealer, root.clone());
    let id = request_account(&ledger, "TEST", "Default");
    node.approve_account(id, "admin").await.unwrap_err();
    let exchange = async || {
        let asked = node.request(id, "admin").await.unwrap();
        let response = service.answer(&asked.document).unwrap();
        node.import(&response, true, "admin").await.unwrap();
        node.import(&response, false, "admin").await.unwrap();
        asked.document
    };
    exchange().await;
    let account = || ledger.state().account(id).unwrap().clone();
    let before = account().keys.unwrap();
    let end = |certificate: &[u8]| ca::not_after(certificate).unwrap();

    node.renew_certificates("test").await.unwrap();
    exchange().await;
    assert_eq!(account().keys.unwrap(), before, "nothing is due in the first years");

    let years = 8 * 365 + 1;
    // Central drops a server that is silent for 90 days.
    for day in (0..years).step_by(80).chain([years]) {
        ledger.ahead.store(day * Millis::DAY, Ordering::SeqCst);
        exchange().await;
    }
    node.renew_certificates("test").await.unwrap();
    assert!(account().sync.certify);
    // Begun while it is wanted, and asked for again by the next leader in the same bytes.
    let asked = node.request(id, "admin").await.unwrap();
    assert_eq!(exchange().await, asked.document);
    let after = account();
    assert!(!after.sync.certify);
    let after = after.keys.unwrap();
    assert_eq!((&after.ca_key, &after.signer_key), (&before.ca_key, &before.signer_key));
    for (new, old) in [(&after.ca_chain[0], &before.ca_chain[0]), (&after.signer_cert, &before.signer_cert)] {
        assert_eq!(ca::certificate_key(new).unwrap(), ca::certificate_key(old).unwrap());
        assert!(end(new) >= end(old).plus(8 * 365 * Millis::DAY), "{:?} and {:?}", end(new), end(old));
    }
    // What the old one has issued still leads to the root, by the new one.
    let now = (ledger.clock())();
    let roots = [root.der().to_vec()];
    chain::verify(&before.signer_cert, &after.ca_chain, &roots, now, chain::Use::DocumentSigner).unwrap();
    node.renew_certificates("test").await.unwrap();
    assert!(!account().sync.certify);
    exchange().await;
    assert!(ledger.state().check().is_empty());

    // Central certifies no other key under the account's name.
    let mut forged: SyncRequest = Unverified::parse(&asked.document).unwrap().claims().unwrap();
    let other = SigningKey::generate(licraft::pki::jws::Algorithm::EdDsa).unwrap();
    forged.ca_csr = Some(document::Der(ca::csr(&other, "x").unwrap()));
    forged.seq = account().sync.seq + 1;
    forged.previous = document::Digest(account().sync.last_response);
    let key = sealer.open(AccountKeys::SIGNER_KEY_CONTEXT, &after.signer_key).unwrap();
    let key = SigningKey::from_pkcs8_der(&key).unwrap();
    let signed = document::sign::<SyncRequest>(&document::payload(&forged), &key, Header::default()).unwrap();
    let said = service.answer(&signed).unwrap_err().to_string();
    assert!(said.contains("for another key"), "{said}");
}
