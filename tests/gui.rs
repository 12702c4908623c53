//! The browser pages over their router: who gets in, what every answer carries, what the pages say.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

#[path = "gui/backups.rs"]
mod backups;
#[path = "gui/clock.rs"]
mod clock;
#[path = "gui/licensing.rs"]
mod licensing;
#[path = "gui/live.rs"]
mod live;
#[path = "gui/security.rs"]
mod security;
#[path = "support/site.rs"]
mod site;
#[path = "gui/support.rs"]
mod support;
#[path = "gui/two_factor.rs"]
mod two_factor;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use licraft::admin::*;
use licraft::backup::{Backup, Manifest};
use licraft::central::Asked;
use licraft::gui::{GuiContext, router};
use licraft::license::*;
use licraft::listing::Lists;
use licraft::pki::ca::Authority;
use licraft::pki::seal::Sealer;
use licraft::pki::totp::Seed;
use licraft::product::listener::Peer;
use licraft::raft::{Ledger, ProposeError};
use licraft::store::{LeaderId, LogId};
use licraft::telemetry::{Host, Resources};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

const PASSWORD: &str = "four unrelated words";
const NOW: Millis = Millis(1_795_400_000_000);
/// What products and people can put into the fields that the pages show.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
const PAGES: [&str; 26] = [
    "/",
    "/high-availability",
    "/high-availability/log",
    "/licenses",
    "/product-instances",
    "/inventory",
    "/accounts",
    "/accounts/requests",
    "/accounts/log",
    "/alerts",
    "/alerts/history",
    "/event-log",
    "/activity",
    "/preferences",
    "/administration",
    "/synchronization",
    "/network",
    "/users",
    "/security",
    "/security/identities",
    "/backups",
    "/settings",
    "/api-toolkit",
    "/support",
    "/password",
    "/two-factor",
];

/// A ledger of one: applies at once.
struct Alone {
    state: Mutex<Arc<State>>,
    /// How far its clock is ahead, milliseconds.
    ahead: AtomicU64,
}

impl Alone {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), ahead: AtomicU64::new(0) })
    }

    fn carry_out(&self, id: u128, actor: &str, command: Command) -> Outcome {
        self.carry_out_at(NOW, id, actor, command)
    }

    fn carry_out_at(&self, at: Millis, id: u128, actor: &str, command: Command) -> Outcome {
        let mut state = self.state.lock().unwrap();
        let mut next = State::clone(&state);
        let request = licraft::license::Request { id, actor: actor.into(), command };
        let wall = at.plus(self.ahead.load(Ordering::Relaxed));
        let outcome = next.apply(Stamp { wall, at }, &request, &mut BTreeSet::new());
        *state = Arc::new(next);
        outcome
    }
}

#[async_trait::async_trait]
impl Ledger for Alone {
    async fn propose(&self, id: u128, actor: &str, command: Command) -> Result<Outcome, ProposeError> {
        Ok(self.carry_out(id, actor, command))
    }
    fn state(&self) -> Arc<State> {
        self.state.lock().unwrap().clone()
    }
}

/// A cluster that is what the test says, over a ledger.
struct Cluster(Mutex<ClusterStatus>, Arc<Alone>);

fn not_asked<T>() -> Result<T, AdminError> {
    Err(AdminError::new(Kind::NotBuilt, "the pages do not ask for this"))
}

#[async_trait::async_trait]
impl ClusterControl for Cluster {
    async fn status(&self) -> ClusterStatus {
        self.0.lock().unwrap().clone()
    }
    async fn initialize(&self, _: Initialize) -> Result<Initialized, AdminError> {
        not_asked()
    }
    async fn generate_keys(&self, _: Progress) -> Result<PairingCode, AdminError> {
        not_asked()
    }
    async fn provision(&self, _: Provision, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn deploy(&self, _: Deploy, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn switchover(&self, _: Switchover, _: Progress) -> Result<Option<SwitchoverReport>, AdminError> {
        not_asked()
    }
    async fn stop(&self, _: bool, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn start(&self, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn remove(&self, _: String, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn stand_down_member(&self, _: String) -> Result<(), AdminError> {
        not_asked()
    }
    async fn teardown(&self, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn drill(&self, _: Progress) -> Result<DrillReport, AdminError> {
        not_asked()
    }
    async fn drill_fence(&self, _: Progress) -> Result<FenceDrillReport, AdminError> {
        not_asked()
    }
    async fn promote(&self, _: Promote, _: Progress) -> Result<PromotionStakes, AdminError> {
        not_asked()
    }
    async fn resolve(&self, _: String, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn list_set_aside(&self) -> Result<Vec<SetAside>, AdminError> {
        not_asked()
    }
    async fn restore_set_aside(&self, _: String, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn delete_set_aside(&self, _: String) -> Result<(), AdminError> {
        not_asked()
    }
    async fn preflight(&self, _: Preflight) -> Result<Vec<Check>, AdminError> {
        not_asked()
    }
    async fn rotate_sealing_key(&self, _: &str, progress: Progress) -> Result<(), AdminError> {
        let other = self.status().await.nodes[1].clone();
        progress.step(format!("Handing the new key to {}...", other.name));
        let refused =
            AdminError::new(Kind::Unreachable, "secondary-node did not take the new key, so the old one stays");
        match other.state {
            NodeState::Online => Ok(()),
            _ => Err(refused.because("it does not vote yet").hint("bring that node back")),
        }
    }
    async fn take_sealing_key(&self, _: &[u8]) -> Result<(), AdminError> {
        not_asked()
    }
    async fn certify_node(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, AdminError> {
        not_asked()
    }
    async fn backup(&self) -> Result<Backup, AdminError> {
        let state = State::clone(&self.1.state());
        let applied = LogId { leader_id: LeaderId { term: 2, node_id: 1 }, index: 7 };
        let manifest = Manifest::of(&state, applied, "primary-node".into(), NOW, None);
        let ca = Authority::self_signed("test CA", 10, NOW).unwrap();
        Ok(Backup { manifest, sealer: sealer(), ca, state })
    }
    async fn restore(&self, _: Backup, _: bool, _: Progress) -> Result<(), AdminError> {
        not_asked()
    }
    async fn digests(&self) -> Result<Vec<NodeDigest>, AdminError> {
        not_asked()
    }
}

/// Central plays no part here.
struct NoCentral;

#[async_trait::async_trait]
impl SyncControl for NoCentral {
    async fn sync_now(&self, _: AccountId) -> Result<(), AdminError> {
        Err(AdminError::new(Kind::Unreachable, "central does not answer").because("the line is dead").hint("wait"))
    }
    async fn approve(&self, _: AccountId, _: &str) -> Result<(), AdminError> {
        not_asked()
    }
    async fn close(&self, _: AccountId, _: &str) -> Result<(), AdminError> {
        not_asked()
    }
    async fn export_request(&self, _: AccountId, _: &str) -> Result<Asked, AdminError> {
        Ok(Asked { seq: Some(7), document: b"a request".to_vec() })
    }
    async fn import_response(&self, _: &[u8], _: bool, _: &str) -> Result<Imported, AdminError> {
        not_asked()
    }
}

struct Here;

impl Forwarder for Here {
    fn route(&self) -> Route {
        Route::Here
    }
}

fn node(name: &str, address: &str, role: NodeRole) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        public_address: address.into(),
        cluster_address: format!("{address}:7441"),
        role,
        replication: Replication::None,
        state: NodeState::Online,
        version: "0.1.0".into(),
        last_contact_ms: Some(12),
        log_term: 2,
        log_index: 0x53_CDB6,
        write_lag_ms: Some(1),
        flush_lag_ms: Some(2),
        replay_lag_ms: Some(3),
        connected_since: None,
        resources: Some(Resources {
            memory_used: 2_000_000_000,
            memory_total: 8_000_000_000,
            disk_used: 30_000_000_000,
            disk_total: 100_000_000_000,
        }),
    }
}

fn normal() -> ClusterStatus {
    ClusterStatus {
        cluster: ClusterState::Normal,
        this_node: "primary-node".into(),
        version: "0.1.0".into(),
        epoch: 1,
        vip: VipStatus { addresses: vec!["10.0.0.12".into()], holder: Some("primary-node".into()) },
        heartbeat: Heartbeat::Connected,
        failure_tolerance: 1,
        verdict: "Cluster is normal. 1 failure tolerated. secondary-node is in sync and safe to promote.".into(),
        failed_actions: vec![],
        nodes: vec![
            node("primary-node", "10.0.0.5", NodeRole::Active),
            node("secondary-node", "10.0.0.10", NodeRole::Standby),
            node("witness", "10.0.0.15", NodeRole::Witness),
        ],
        daemons: vec![],
        changing_since: None,
        conflict: vec![],
    }
}

/// What makes one case of the cluster of another.
type Change<'a> = &'a dyn Fn(&mut ClusterStatus);

/// The pages of one node.
struct Gui {
    router: Router,
    ledger: Arc<Alone>,
    cluster: Arc<Cluster>,
    serving: Arc<AtomicBool>,
    /// Milliseconds since [`NOW`].
    later: Arc<AtomicU64>,
}

/// The server's sealing key, the same on each of its nodes.
fn sealer() -> Sealer {
    Sealer::from_key([3; 32].into())
}

/// Cheap to check: the pages take the parameters from the hash.
fn weak_hash(password: &str) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(password.as_bytes(), &[7; 16]).unwrap().to_string()
}

fn user(name: &str, must_change: bool) -> User {
    User::new(name.into(), Role::SystemAdministrator, weak_hash(PASSWORD), must_change)
}

impl Gui {
    fn new() -> Self {
        Self::on(false)
    }

    /// On a node that serves, or on a retired one.
    fn on(retired: bool) -> Self {
        let gui = Self::over(Alone::new(), retired);
        gui.done(Command::Initialize { server_uid: "5eed".into(), administrator: user("admin", false) });
        let settings = Settings { vip: vec!["10.0.0.12".into()], ..Settings::default() };
        gui.done(Command::SetSettings { settings });
        gui
    }

    /// On a node with this ledger.
    fn over(ledger: Arc<Alone>, retired: bool) -> Self {
        let cluster = Arc::new(Cluster(Mutex::new(normal()), ledger.clone()));
        let serving = Arc::new(AtomicBool::new(!retired));
        let (asked, later) = (serving.clone(), Arc::<AtomicU64>::default());
        let clock = later.clone();
        let authority = Authority::self_signed("test CA", 10, NOW).unwrap();
        let own = (!retired).then(sealer);
        let key = own.clone();
        let parts = Parts {
            ledger: ledger.clone(),
            cluster: cluster.clone(),
            sync: Arc::new(NoCentral),
            forwarder: Arc::new(Here),
            sealer: Arc::new(move || key.clone()),
            authority: Arc::new(move || {
                Authority::from_parts(authority.cert_der().to_vec(), authority.key_pkcs8().to_vec().into()).ok()
            }),
            clock: Arc::new(|| NOW),
        };
        let router = router(GuiContext {
            ledger: ledger.clone(),
            cluster: cluster.clone(),
            service: Service::new(parts),
            host: Arc::new(Host::new("/".into())),
            lists: Lists::new(ledger.clone()),
            serving: Arc::new(move || asked.load(Ordering::Relaxed)),
            retired,
            clock: Arc::new(move || NOW.plus(clock.load(Ordering::Relaxed))),
            vip_url: Arc::new(|| Some("https://10.0.0.12:8443".into())),
            sealer: Arc::new(move || own.clone()),
        });
        Self { router, ledger, cluster, serving, later }
    }

    fn done(&self, command: Command) -> u64 {
        match self.ledger.carry_out(0, "test", command) {
            Outcome::Refused(refusal) => panic!("{}", refusal.message),
            Outcome::Created(id) => id,
            Outcome::Registered(registered) => registered.instance.0,
            _ => 0,
        }
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let peer = Peer("192.0.2.7:50000".parse().unwrap());
        let request = request.header(HOST, "10.0.0.12:8443").extension(peer).body(Body::from(body.to_owned())).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer(Response::from_parts(head, body))
    }

    /// The beginning of an answer that goes on.
    async fn get_head(&self, path: &str, cookie: &str) -> Response<Body> {
        let peer = Peer("192.0.2.7:50000".parse().unwrap());
        let request = Request::get(path).header(COOKIE, cookie).header(HOST, "10.0.0.12:8443").extension(peer);
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send(Request::get(path).header(COOKIE, cookie), "").await
    }

    async fn post(&self, path: &str, cookie: &str, body: &str) -> Answer {
        self.send(Request::post(path).header(COOKIE, cookie).header(ORIGIN, "https://10.0.0.12:8443"), body).await
    }

    async fn try_sign_in(&self, name: &str, password: &str) -> Answer {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("name", name).append_pair("password", password);
        self.post("/sign-in", "", &form.finish()).await
    }

    /// Signs in and returns the cookie to send.
    async fn sign_in(&self, name: &str, password: &str) -> String {
        self.try_sign_in(name, password).await.cookie()
    }

    /// An account with a license, an instance that uses too much, and `text` wherever something is free to be named.
    fn fill(&self, text: &str) {
        let named = text.replace('/', "|");
        let account = AccountId(self.done(Command::RequestAccount {
            name: named.clone(),
            requested_by: text.into(),
            smart_account: named.clone(),
            virtual_account: named.clone(),
        }));
        let keys = AccountKeys {
            ca_csr: vec![1],
            ca_key: Sealed(vec![1]),
            signer_key: Sealed(vec![1]),
            ca_chain: vec![],
            signer_cert: vec![],
        };
        self.done(Command::ApproveAccount { account, keys });
        let entitlement = Entitlement {
            tag: "regid.base".into(),
            name: text.into(),
            export_controlled: false,
            terms: vec![],
            covered_by: vec![],
        };
        self.done(Command::ActivateAccount {
            account,
            ca_chain: vec![vec![1]],
            signer_cert: vec![1],
            entitlements: vec![entitlement],
            response: [1; 32],
        });
        let va = VirtualAccountId(self.done(Command::CreateVirtualAccount { account, name: format!("{named}2") }));
        self.done(Command::CreateToken {
            va,
            hash: [text.len() as u8; 32],
            sealed: Sealed(vec![1]),
            description: text.into(),
            expires_days: 30,
            max_uses: 0,
            export_controlled: false,
        });
        for host in [Some(text.to_owned()), None] {
            let number = host.is_some() as u8;
            let instance = self.done(Command::Register {
                token_hash: [text.len() as u8; 32],
                udi: Udi { pid: text.into(), sn: format!("{text}{number}") },
                host_name: host,
                product_type: text.into(),
                software_version: text.into(),
                certificate: IdCertificate {
                    serial: [number; 16],
                    key_hash: [number; 32],
                    not_before: NOW,
                    not_after: NOW.plus(365 * Millis::DAY),
                },
                devices: vec![],
            });
            self.done(Command::Numbered {
                instance: InstanceId(instance),
                number: 1,
                digest: [1; 32],
                action: InstanceAction::Authorize { usage: vec![("regid.base".into(), 17)] },
            });
        }
        self.done(Command::BeginSync { account });
        self.done(Command::FailSync { account, seq: 1, reason: text.into() });
        self.done(Command::PutMember {
            member: Member {
                node_id: 1,
                name: named.clone(),
                public_address: text.into(),
                cluster_address: text.into(),
                witness: false,
                joined: NOW,
                retired: false,
            },
        });
        self.done(Command::Resume { node_id: 1, term: 1, cause: text.into() });
    }
}

struct Answer(Response<String>);

impl Answer {
    fn status(&self) -> StatusCode {
        self.0.status()
    }
    fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.0.headers().get(name).map_or("", |v| v.to_str().unwrap())
    }
    /// Without markup, runs of white space as one space.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut inside = false;
        for c in self.0.body().chars() {
            match c {
                '<' => inside = true,
                '>' => {
                    inside = false;
                    text.push(' ');
                }
                _ if !inside => text.push(c),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
    fn cookie(&self) -> String {
        assert_eq!(self.status(), StatusCode::SEE_OTHER, "{}", self.text());
        self.header(SET_COOKIE).split(';').next().unwrap().to_owned()
    }
    #[track_caller]
    fn says(&self, expected: &str) {
        assert!(self.text().contains(expected), "{expected:?} is not in: {}", self.text());
    }
}

#[tokio::test]
async fn nothing_is_shown_without_a_session() {
    let gui = Gui::new();
    for cookie in ["", "__Host-licraft=", "__Host-licraft=AAAA", "licraft=x"] {
        for path in PAGES.iter().chain(&["/unknown", "/licenses?q=a%20b&page=2"]) {
            let answer = gui.get(path, cookie).await;
            assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
            assert!(answer.header(LOCATION).starts_with("/sign-in"), "{path}");
            assert_eq!(answer.0.body(), "");
        }
        assert_eq!(gui.post("/password", cookie, "new=x").await.header(LOCATION), "/sign-in");
    }
    let answer = gui.get("/licenses?q=a%20b&page=2", "").await;
    assert_eq!(answer.header(LOCATION), "/sign-in?next=%2Flicenses%3Fq%3Da%2520b%26page%3D2");
    let form = gui.get(answer.header(LOCATION), "").await;
    assert!(form.0.body().contains(r#"name="next" value="/licenses?q=a%20b&#38;page=2""#), "{}", form.0.body());
}

#[tokio::test]
async fn signing_in_gives_a_guarded_cookie_and_signing_out_ends_it() {
    let gui = Gui::new();
    let answer = gui.post("/sign-in", "", "name=admin&password=four+unrelated+words&next=%2Flicenses").await;
    assert_eq!((answer.status(), answer.header(LOCATION)), (StatusCode::SEE_OTHER, "/licenses"));
    let cookie = answer.header(SET_COOKIE);
    let (token, flags) = cookie.split_once("; ").unwrap();
    assert_eq!(flags, "Path=/; Secure; HttpOnly; SameSite=Strict");
    assert_eq!(token.len(), "__Host-licraft=".len() + 43);
    let cookie = answer.cookie();
    for path in PAGES {
        assert_eq!(gui.get(path, &cookie).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(gui.get("/unknown", &cookie).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(gui.get("/sign-in", &cookie).await.header(LOCATION), "/");

    let elsewhere = gui.post("/sign-in", "", "name=admin&password=four+unrelated+words&next=%2F%2Fevil.example").await;
    assert_eq!(elsewhere.header(LOCATION), "/");
    assert_ne!(elsewhere.cookie(), cookie, "every sign-in has a fresh session");

    let out = gui.post("/sign-out", &cookie, "").await;
    assert!(out.header(SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(gui.get("/", &cookie).await.header(LOCATION), "/sign-in");
    assert_eq!(gui.get("/", &elsewhere.cookie()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let gui = Gui::new();
    let mut bodies = Vec::new();
    for name in ["admin", "nobody"] {
        let answer = gui.try_sign_in(name, "wrong").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header(SET_COOKIE), "");
        answer.says("The user name or the password is wrong.");
        bodies.push(answer.0.into_body().replace(&format!("\"{name}\""), "NAME"));
    }
    assert_eq!(bodies[0], bodies[1]);
    let long = "x".repeat(300);
    assert_eq!(gui.try_sign_in(&long, &long).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(gui.post("/sign-in", "", &"x".repeat(100_000)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn guessing_is_slowed_down_even_for_the_right_guess() {
    let gui = Gui::new();
    let mut answers = 0;
    let refused = loop {
        let answer = gui.try_sign_in("admin", "wrong").await;
        if answer.status() != StatusCode::UNAUTHORIZED {
            break answer;
        }
        answers += 1;
        assert!(answers < 20, "guessing was never slowed down");
    };
    // The first wait is one second: slow machines may get some more guesses in, never fewer.
    assert!(answers >= 5);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header(RETRY_AFTER).parse::<u64>().unwrap() >= 1);
    refused.says("Try again in");
    let right = gui.try_sign_in("admin", PASSWORD).await;
    assert_eq!(right.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(gui.try_sign_in("other", "wrong").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn posts_from_other_origins_are_refused() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    for origin in ["https://evil.example", "http://10.0.0.12:8443", "https://10.0.0.12:8444", "null"] {
        for path in ["/sign-in", "/sign-out", "/password"] {
            let request = Request::post(path).header(COOKIE, &cookie).header(ORIGIN, origin);
            assert_eq!(gui.send(request, "").await.status(), StatusCode::FORBIDDEN, "{origin} {path}");
        }
    }
    let without = gui.send(Request::post("/sign-out").header(COOKIE, &cookie), "").await;
    assert_eq!(without.status(), StatusCode::FORBIDDEN);
    assert_eq!(gui.get("/", &cookie).await.status(), StatusCode::OK, "the session stands");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_nothing_inline() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let mut assets = BTreeSet::new();
    for path in PAGES.iter().chain(&["/sign-in", "/unknown", "/healthz", "/readyz", "/assets/x"]) {
        for cookie in [cookie.as_str(), ""] {
            let answer = gui.get(path, cookie).await;
            let policy = answer.header(CONTENT_SECURITY_POLICY);
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
            assert!(!policy.contains("unsafe"));
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("referrer-policy"), "same-origin");
            assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            let html = answer.0.body();
            for inline in ["<style", " style=", "<script>", " onclick", " onload", "javascript:"] {
                assert!(!html.contains(inline), "{path} has {inline}");
            }
            let paths = html.split('"').filter(|s| s.starts_with("/assets/"));
            assets.extend(paths.map(str::to_owned));
        }
    }
    assert_eq!(assets.len(), 3, "{assets:?}");
    for path in assets {
        let answer = gui.get(&path, "").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.header("cache-control").contains("immutable"));
        assert!(answer.0.body().len() < 30_000);
    }
}

#[tokio::test]
async fn hostile_texts_are_shown_as_texts_on_every_page() {
    let gui = Gui::new();
    gui.fill(HOSTILE);
    {
        let mut status = gui.cluster.0.lock().unwrap();
        status.cluster = ClusterState::Degraded;
        status.verdict = HOSTILE.into();
        status.vip.addresses = vec![HOSTILE.into()];
        status.failed_actions =
            vec![FailedAction { at: NOW, node: HOSTILE.into(), what: HOSTILE.into(), why: HOSTILE.into() }];
        for node in &mut status.nodes {
            node.name = HOSTILE.into();
            node.public_address = HOSTILE.into();
            node.version = HOSTILE.into();
        }
    }
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let search: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let mut pages = PAGES.map(str::to_owned).to_vec();
    pages.extend(["/licenses", "/product-instances", "/alerts", "/event-log"].map(|p| format!("{p}?q={search}")));
    pages.push("/accounts?q=%27%3E%3Cimg".into());
    let escaped = "&#60;img src=x onerror=alert(2)&#62;";
    for path in &pages {
        let answer = gui.get(path, &cookie).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let html = answer.0.body();
        assert!(!html.contains("<script>") && !html.contains("<img"), "{path}");
        let plain = ["/password", "/two-factor", "/preferences"];
        assert_eq!(html.contains(escaped), !plain.contains(&path.as_str()), "{path}");
        assert!(html.len() < 100_000, "{path}: {} bytes", html.len());
    }
    let form = gui.try_sign_in(HOSTILE, "wrong").await;
    assert!(form.0.body().contains("&#60;img") && !form.0.body().contains("<img"));
    gui.serving.store(false, Ordering::Relaxed);
    let standby = gui.get("/", "").await;
    assert!(standby.0.body().contains(escaped) && !standby.0.body().contains("<img"));
}

#[tokio::test]
async fn licenses_and_instances_show_the_known_columns_and_totals() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let licenses = gui.get("/licenses", &cookie).await;
    licenses.says("Billing Purchased In Use Substitution Balance Usage Alerts");
    licenses.says("TEST regid.base TEST / TEST2 – 0 34 0 -34 TEST2: 34 in use of 0, balance -34 Insufficient Licenses");
    licenses.says("Showing Page 1 of 1 (1 Record)");
    gui.get("/licenses?q=nothing", &cookie).await.says("Showing Page 1 of 1 (0 Records)");

    let instances = gui.get("/product-instances", &cookie).await;
    instances.says("Name Product Type Virtual Account Registered Last Contact Alerts");
    instances.says("UDI_PID:TEST;UDI_SN:TEST0;");
    instances.says("Out of Compliance");
    instances.says("Showing Page 1 of 1 (2 Records)");
    gui.get("/product-instances?q=test0", &cookie).await.says("Showing Page 1 of 1 (1 Record)");
    gui.get("/product-instances?compliant=no&sort=-lastContact", &cookie).await.says("(2 Records)");
    let covered = gui.get("/product-instances?compliant=yes", &cookie).await;
    covered.says("No product instance matches.");
    assert!(covered.0.body().contains(r#"<option value="yes" selected>In Compliance</option>"#));

    let accounts = gui.get("/accounts", &cookie).await;
    accounts.says("Account Requested By Smart Account Virtual Account Account Status");
    accounts.says("Synchronization Failed TEST Deactivate Delete Showing All 1 Record");
    gui.get("/event-log", &cookie).await.says("Account &#34;TEST&#34; is active.");

    let overview = gui.get("/", &cookie).await;
    overview.says("Compliance Out of Compliance 1 license is in use beyond what is purchased.");
    overview.says("Synchronization Failed");
    overview.says("TEST/TEST2/regid.base · raised");
    let time = r#"<time datetime="2026-11-23T02:13:20Z">2026-11-23 02:13 UTC</time>"#;
    assert!(overview.0.body().contains(time), "{}", overview.0.body());
}

/// The random name of the next change, as the page at `path` has it.
impl Gui {
    async fn once(&self, path: &str, cookie: &str) -> String {
        let page = self.get(path, cookie).await;
        let html = page.0.body();
        let at = html.find(r#"name="once" value=""#).unwrap_or_else(|| panic!("{path} has no form: {}", page.text()));
        html[at + 19..at + 51].to_owned()
    }

    /// Sends the form of a page.
    async fn submit(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.post(path, cookie, &form.finish()).await
    }
}

#[tokio::test]
async fn an_account_goes_from_request_to_deletion_by_forms() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let once = gui.once("/accounts/requests", &cookie).await;
    let fields = [("once", once.as_str()), ("name", "TEST"), ("smart-account", "Corp"), ("virtual-account", "Site")];
    for _ in 0..2 {
        // A form that is sent twice is one request.
        let answer = gui.submit("/accounts/requests", &cookie, &fields).await;
        assert_eq!(answer.header(LOCATION), "/accounts/requests?done=account-requested", "{}", answer.text());
    }
    let page = gui.get("/accounts/requests?done=account-requested", &cookie).await;
    page.says("The account is requested.");
    page.says("Account Requests 1 waiting");
    let again = [("once", "ab"), ("name", "TEST"), ("smart-account", "Corp"), ("virtual-account", "Other")];
    let again = gui.submit("/accounts/requests", &cookie, &again).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    again.says("There already is an account");
    assert!(again.0.body().contains(r#"value="Other""#), "what was typed is still there");

    let id = gui.ledger.state().account_by_name("TEST").unwrap().id;
    let reject = format!("/accounts/{id}/reject");
    gui.get(&reject, &cookie).await.says("Account TEST will not be made.");
    let answer = gui.submit(&reject, &cookie, &[("reason", "no budget")]).await;
    assert_eq!(answer.header(LOCATION), format!("/accounts/{id}?done=account-rejected"));
    gui.get(&format!("/accounts/{id}"), &cookie).await.says("TEST Rejected no budget");
    let answer = gui.submit(&format!("/accounts/{id}/delete"), &cookie, &[]).await;
    assert_eq!(answer.header(LOCATION), "/accounts?done=account-deleted");
    assert!(gui.ledger.state().account_by_name("TEST").is_none());
    assert_eq!(gui.get(&format!("/accounts/{id}"), &cookie).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tokens_are_made_shown_and_revoked() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let answer = gui.submit("/inventory", &cookie, &[("account", "TEST"), ("name", "Lab")]).await;
    assert_eq!(answer.header(LOCATION), "/inventory?done=va-created", "{}", answer.text());
    let state = gui.ledger.state();
    let va = state.virtual_account_by_name(state.account_by_name("TEST").unwrap().id, "Lab").unwrap().id;
    let page = format!("/inventory/{va}");
    let made = gui.submit(&format!("{page}/tokens"), &cookie, &[("description", "lab"), ("uses", "3")]).await;
    assert_eq!(made.status(), StatusCode::OK);
    let html = made.0.body();
    let token = html.split(r#"id="token">"#).nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(token.len(), 43, "{token}");
    let state = gui.ledger.state();
    let kept = state.tokens(va).last().unwrap().clone();
    assert_eq!((kept.description.as_str(), kept.max_uses, kept.created_by.as_str()), ("lab", 3, "admin"));
    assert!(!gui.get(&page, &cookie).await.0.body().contains(&token), "it is shown only when asked for");
    let shown = gui.submit(&format!("{page}/tokens/{}/show", kept.id), &cookie, &[]).await;
    assert!(shown.0.body().contains(&token));

    let wrong = gui.submit(&format!("{page}/tokens"), &cookie, &[("description", "x"), ("days", "soon")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    wrong.says("the number of days is no whole number");
    let revoke = format!("{page}/tokens/{}/revoke", kept.id);
    gui.get(&revoke, &cookie).await.says("Products that have registered with it stay registered.");
    assert_eq!(gui.submit(&revoke, &cookie, &[]).await.header(LOCATION), format!("{page}?done=token-revoked"));
    assert!(gui.ledger.state().token(kept.id).unwrap().revoked);
}

#[tokio::test]
async fn usage_over_time_is_a_chart_and_a_table() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let state = gui.ledger.state();
    let account = state.account_by_name("TEST").unwrap();
    let license = state.licenses(account.id).next().unwrap().id;
    let path = format!("/licenses/{license}");
    let bars = |page: &Answer| page.0.body().matches("<g><title>").count();

    let first = gui.get(&path, &cookie).await;
    first.says("2026-11-23: at most 34 in use, 0 purchased, lowest balance -34, out of compliance");
    first.says("Day (UTC) Purchased Most In Use Lowest Balance Compliance 2026-11-23 0 34 -34 Out of Compliance");
    assert_eq!(bars(&first), 1);
    assert!(first.0.body().contains(r##"<rect fill="url(#stripes)" x="291""##), "{}", first.0.body());

    // Whoever sees another virtual account only sees that nothing was used there.
    let virtual_accounts = vec![account.default_va];
    let role = Role::VirtualAccountAdministrator;
    let user = User { virtual_accounts, ..User::new("virtual".into(), role, weak_hash(PASSWORD), false) };
    gui.done(Command::CreateUser { user });
    let other = gui.sign_in("virtual", PASSWORD).await;
    let theirs = gui.get(&path, &other).await;
    theirs.says("Usage over time Nothing was purchased or used so far.");
    assert!(!theirs.text().contains("TEST2"), "{}", theirs.text());

    // What is purchased changes every day for more than a year.
    let id = account.id;
    for day in 1..=400_u64 {
        let at = NOW.plus(day * Millis::DAY);
        let term = Term { quantity: 30 + day % 9, start: NOW, end: None, billing: Billing::Prepaid };
        let entitlement = Entitlement {
            tag: "regid.base".into(),
            name: "TEST".into(),
            export_controlled: false,
            terms: vec![term],
            covered_by: vec![],
        };
        let (entitlements, response) = (vec![entitlement], [1; 32]);
        let complete = Command::CompleteSync { account: id, seq: day, entitlements, response, signed: None };
        for command in [complete, Command::BeginSync { account: id }] {
            let outcome = gui.ledger.carry_out_at(at, 0, "test", command);
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        }
    }
    gui.later.store(400 * Millis::DAY, Ordering::Relaxed);
    let cookie = gui.sign_in("admin", PASSWORD).await;
    for (days, expected, says) in [
        ("30", 30, "2027-12-28: at most 0 in use, 34 purchased"),
        ("90", 90, "2027-12-28: at most 0 in use, 34 purchased"),
        ("365", 53, "Week from 2027-12-22: at most 0 in use, 34 purchased"),
    ] {
        let page = gui.get(&format!("{path}?days={days}"), &cookie).await;
        assert_eq!((bars(&page), page.status()), (expected, StatusCode::OK));
        page.says(says);
        let chosen = format!(r##"?days={days}#usage" aria-current="page">"##);
        assert!(page.0.body().contains(&chosen), "{}", page.0.body());
        assert!(page.0.body().len() < 60_000, "{} bytes for {days} days", page.0.body().len());
    }
    assert_eq!(bars(&gui.get(&format!("{path}?days=7"), &cookie).await), 30);
    assert_eq!(gui.get("/licenses/999999", &cookie).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_overview_shows_the_compliance_of_each_account() {
    let gui = Gui::new();
    gui.fill("TEST");
    gui.fill("OTHER");
    for n in 0..12 {
        let name = format!("empty {n:02}");
        let (requested_by, smart_account) = ("admin".to_owned(), "Smart".to_owned());
        let virtual_account = name.clone();
        gui.done(Command::RequestAccount { name, requested_by, smart_account, virtual_account });
    }
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let overview = gui.get("/", &cookie).await;
    overview.says("Compliance by account OTHER 1 license short TEST 1 license short empty 00 No license is purchased");
    overview.says("2 more accounts");
    let account = gui.ledger.state().account_by_name("TEST").unwrap().id;
    let href = format!("/licenses?va={account}");
    assert!(overview.0.body().contains(&format!(r#"<a href="{href}">TEST</a>"#)), "{}", overview.0.body());
    let narrowed = gui.get(&href, &cookie).await;
    narrowed.says("TEST / TEST2");
    narrowed.says("Showing Page 1 of 1 (1 Record)");
    assert!(narrowed.0.body().contains(&format!(r#"<option value="{account}" selected>TEST (all)"#)));
    gui.get("/licenses", &cookie).await.says("Showing Page 1 of 1 (2 Records)");
    gui.get(&format!("/product-instances?va={account}"), &cookie).await.says("(2 Records)");
}

#[tokio::test]
async fn licenses_and_instances_have_pages_of_their_own() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let state = gui.ledger.state();
    let account = state.account_by_name("TEST").unwrap();
    let license = state.licenses(account.id).next().unwrap().id;
    let page = gui.get(&format!("/licenses/{license}"), &cookie).await;
    page.says("TEST2: 34 in use of 0");
    page.says("Who uses it Product Instance Virtual Account Count");
    let sorted = gui.get("/licenses?sort=-balance", &cookie).await;
    assert!(sorted.0.body().contains(r#"aria-sort="descending""#));
    let csv = gui.get("/licenses.csv", &cookie).await;
    assert!(
        csv.0.body().contains("TEST,regid.base,TEST,TEST2,,0,34,0,-34,Insufficient Licenses,\r\n"),
        "{}",
        csv.0.body()
    );

    let instance = state.instances(None).next().unwrap().clone();
    let page = format!("/product-instances/{}", instance.id);
    gui.get(&page, &cookie).await.says("ID certificate Valid Serial number");
    let moved = gui.submit(&format!("{page}/transfer"), &cookie, &[("to", "Default")]).await;
    let default = state.virtual_account(account.default_va).unwrap().name.clone();
    if default != "Default" {
        assert_eq!(moved.status(), StatusCode::NOT_FOUND);
        moved.says("there is no virtual account");
        let moved = gui.submit(&format!("{page}/transfer"), &cookie, &[("to", &default)]).await;
        assert_eq!(moved.header(LOCATION), format!("{page}?done=instance-transferred"), "{}", moved.text());
    }
    let ids: Vec<_> = state.instances(None).map(|i| i.id).collect();
    let ticked = ids.iter().map(|id| format!("id={id}")).collect::<Vec<_>>().join("&");
    gui.get(&format!("/product-instances/remove?{ticked}"), &cookie).await.says("These are removed");
    let removed = gui.post("/product-instances/remove", &cookie, &ticked).await;
    assert_eq!(removed.header(LOCATION), "/product-instances?done=instances-removed", "{}", removed.text());
    assert_eq!(gui.ledger.state().instance_count(), 0);
}

#[tokio::test]
async fn people_programs_and_alerts_are_managed_by_forms() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let made = gui
        .submit("/users", &cookie, &[("name", "ann"), ("role", "local-account-administrator"), ("place", "TEST")])
        .await;
    made.says("ann must change this password at the first sign-in.");
    let account = gui.ledger.state().account_by_name("TEST").unwrap().id;
    assert_eq!(gui.ledger.state().user("ann").unwrap().accounts, [account]);
    let role = gui.submit("/users/ann", &cookie, &[("role", "read-only")]).await;
    assert_eq!(role.header(LOCATION), "/users?done=user-changed", "{}", role.text());
    let refused = gui.submit("/users/admin/disable", &cookie, &[]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT, "the last administrator stays");
    gui.submit("/users/ann/delete", &cookie, &[]).await;
    assert!(gui.ledger.state().user("ann").is_none());

    let made = gui.submit("/api-toolkit", &cookie, &[("account", "TEST"), ("description", "monitoring")]).await;
    made.says("The secret is shown this once.");
    let client = gui.ledger.state().api_clients(Some(account)).next().unwrap().id.clone();
    let revoked = gui.submit(&format!("/api-toolkit/{client}/revoke"), &cookie, &[]).await;
    assert_eq!(revoked.header(LOCATION), "/api-toolkit?done=client-revoked");
    assert!(gui.ledger.state().api_client(&client).is_none());

    let source = "TEST/TEST2/regid.base";
    let answer = gui.submit("/alerts", &cookie, &[("kind", "insufficient-licenses"), ("source", source)]).await;
    assert_eq!(answer.header(LOCATION), "/alerts?done=alert-acknowledged");
    assert!(gui.ledger.state().alerts().any(|a| a.key.source == source && a.acknowledged.is_some()));

    let wrong = gui.submit("/settings", &cookie, &[("key", "central-url"), ("value", "http://a")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    wrong.says("it must be an https URL");
    let set = gui.submit("/settings", &cookie, &[("key", "central-url"), ("value", "https://central.example")]).await;
    assert_eq!(set.header(LOCATION), "/settings?done=setting-set");
    let long = gui.submit("/settings", &cookie, &[("key", "message-of-the-day"), ("value", &"x".repeat(501))]).await;
    assert_eq!(long.status(), StatusCode::UNPROCESSABLE_ENTITY);
    long.says("The message of the day has 501 characters;");
    let message = [("key", "message-of-the-day"), ("value", "Staff <b>only</b>.\r\nNobody else.")];
    gui.submit("/settings", &cookie, &message).await;
    let escaped = ">Staff &#60;b&#62;only&#60;/b&#62;.\nNobody else.</";
    let wrong = gui.try_sign_in("ann", "wrong").await;
    for page in [gui.get("/sign-in", "").await, wrong, gui.get("/", &cookie).await, gui.get("/settings", &cookie).await]
    {
        assert!(page.0.body().contains(escaped), "{}", page.0.body());
    }
    gui.submit("/settings", &cookie, &[("key", "message-of-the-day"), ("value", " ")]).await;
    assert!(!gui.get("/sign-in", "").await.text().contains("Staff"));
    let failed = gui.submit(&format!("/synchronization/{account}/now"), &cookie, &[]).await;
    failed.says("central does not answer. Why: the line is dead.");
    let file = gui.submit(&format!("/synchronization/{account}/request.json"), &cookie, &[]).await;
    assert_eq!((file.0.body().as_str(), file.header("content-type")), ("a request", "application/json"));
    gui.done(Command::BeginSync { account });
    gui.get("/synchronization", &cookie).await.says("waits for central’s answer");
    let scheduled = [("every", "weekly"), ("at", "03:30"), ("day", "1")];
    gui.submit(&format!("/synchronization/{account}/schedule"), &cookie, &scheduled).await;
    let state = gui.ledger.state();
    assert_eq!(state.account(account).unwrap().sync.schedule, Schedule::Weekly { weekday: 0, minute: 210 });
    gui.get("/security", &cookie).await.says("The entries hold");
}

/// Roles of the whole server that only look, and roles for places, see and change what is theirs.
#[tokio::test]
async fn each_role_sees_and_changes_what_is_its_own() {
    let gui = Gui::new();
    gui.fill("TEST");
    gui.fill("OTHER");
    let state = gui.ledger.state();
    let account = state.account_by_name("TEST").unwrap().id;
    let va = state.virtual_account_by_name(account, "TEST2").unwrap().id;
    let other = state.account_by_name("OTHER").unwrap().id;
    let other_va = state.virtual_account_by_name(other, "OTHER2").unwrap().id;
    let people = [
        ("reader", Role::ReadOnly, vec![], vec![]),
        ("account", Role::LocalAccountAdministrator, vec![account], vec![]),
        ("virtual", Role::VirtualAccountAdministrator, vec![], vec![va]),
    ];
    for (name, role, accounts, virtual_accounts) in people {
        let user = User { accounts, virtual_accounts, ..User::new(name.into(), role, weak_hash(PASSWORD), false) };
        gui.done(Command::CreateUser { user });
    }
    let reader = gui.sign_in("reader", PASSWORD).await;
    gui.get("/licenses", &reader).await.says("OTHER");
    for path in ["/users", "/backups", "/settings", "/api-toolkit"] {
        assert_eq!(gui.get(path, &reader).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert!(!gui.get("/security", &reader).await.text().contains("Audit log"));
    let before = gui.ledger.state().meta().clone();
    for (path, fields) in [
        ("/accounts/requests".to_owned(), vec![("name", "X"), ("smart-account", "S"), ("virtual-account", "V")]),
        (format!("/accounts/{account}/deactivate"), vec![("reason", "x")]),
        (format!("/inventory/{va}/tokens"), vec![]),
        ("/inventory".into(), vec![("account", "TEST"), ("name", "X")]),
        ("/security".into(), vec![("name", "licenses.example.com")]),
        ("/high-availability/stop".into(), vec![]),
        ("/alerts".into(), vec![("kind", "insufficient-licenses"), ("source", "TEST/TEST2/regid.base")]),
    ] {
        assert_eq!(gui.submit(&path, &reader, &fields).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(*gui.ledger.state().meta(), before, "nothing was changed");

    let ann = gui.sign_in("account", PASSWORD).await;
    let licenses = gui.get("/licenses", &ann).await;
    assert!(licenses.text().contains("TEST2") && !licenses.text().contains("OTHER"), "{}", licenses.text());
    assert!(!gui.get("/", &ann).await.text().contains("OTHER"));
    assert!(!gui.get("/event-log", &ann).await.text().contains("OTHER"));
    assert_eq!(gui.get(&format!("/accounts/{other}"), &ann).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(gui.get("/administration", &ann).await.status(), StatusCode::FORBIDDEN);
    gui.get("/synchronization", &ann).await.says("TEST");

    let bob = gui.sign_in("virtual", PASSWORD).await;
    assert_eq!(gui.get(&format!("/inventory/{other_va}"), &bob).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(gui.submit(&format!("/inventory/{other_va}/tokens"), &bob, &[]).await.status(), StatusCode::NOT_FOUND);
    gui.submit(&format!("/inventory/{va}/tokens"), &bob, &[]).await.says("Registration token");
    assert_eq!(gui.get("/accounts", &bob).await.status(), StatusCode::FORBIDDEN);
    let state = gui.ledger.state();
    let foreign = state.instances_of(other_va, None).next().unwrap().id;
    let remove = format!("/product-instances/{foreign}/remove");
    assert_eq!(gui.submit(&remove, &bob, &[]).await.status(), StatusCode::NOT_FOUND);
    assert!(gui.ledger.state().instance(foreign).is_some());
}

#[tokio::test]
async fn high_availability_says_what_operators_match_on() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let page = async |change: Change<'_>| {
        let mut status = normal();
        change(&mut status);
        *gui.cluster.0.lock().unwrap() = status;
        gui.get("/high-availability", &cookie).await
    };
    let all_well = page(&|_| {}).await;
    all_well.says("Normal The status of the high availability cluster is normal.");
    all_well.says("Heartbeat Connection status: Connected VIP 10.0.0.12 held by primary-node");
    all_well.says("Active Server Active primary-node public address (10.0.0.5) Cluster address 10.0.0.5:7441");
    all_well.says("Standby Server Standby secondary-node public address (10.0.0.10)");
    all_well.says("Physical Memory 25 % of 8.0 GB Disk Space 30 % of 100.0 GB Current Version 0.1.0");
    all_well.says("Last applied 2/53CDB6 Replication in sync; lag: write 1 ms, flush 2 ms, replay 3 ms");
    all_well.says("secondary-node is in sync and safe to promote.");

    let peer_off = page(&|s| {
        s.cluster = ClusterState::Degraded;
        s.heartbeat = Heartbeat::Disconnected;
        s.nodes[1].state = NodeState::Offline;
    })
    .await;
    peer_off.says("Degraded The cluster is degraded One of the cluster nodes is offline");
    peer_off.says("Connection status: Disconnected");
    peer_off.says("Planned changes Nobody can take over now.");
    peer_off.says("Standby Server Degraded secondary-node");

    let catching_up = page(&|s| {
        s.cluster = ClusterState::Degraded;
        s.nodes[1].state = NodeState::CatchingUp;
        s.nodes[1].log_index -= 4_000;
    })
    .await;
    catching_up.says("Degraded secondary-node is catching up: 4000 entries behind.");
    catching_up.says("Standby Server Catching up secondary-node");
    assert!(!catching_up.text().contains("is offline"));

    let witness_off = page(&|s| {
        s.cluster = ClusterState::Degraded;
        s.nodes[2].state = NodeState::Offline;
    })
    .await;
    witness_off.says("Degraded The witness witness is offline.");
    witness_off.says("Standby Server Standby secondary-node");
    assert!(!witness_off.text().contains("One of the cluster nodes"));

    let conflict = page(&|s| s.conflict = vec!["primary-node".into(), "secondary-node".into()]).await;
    conflict.says("Conflict primary-node and secondary-node were both promoted. End it with ha resolve.");
}

#[tokio::test]
async fn a_standalone_server_has_no_cluster_page_but_an_invitation() {
    let gui = Gui::new();
    gui.done(Command::SetSettings { settings: Settings::default() });
    gui.cluster.0.lock().unwrap().cluster = ClusterState::Standalone;
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let overview = gui.get("/", &cookie).await;
    assert!(!overview.0.body().contains("/high-availability"));
    overview.says("This server runs alone");
}

#[tokio::test]
async fn a_retired_node_shows_what_it_has_and_says_on_each_page_that_it_is_retired() {
    let gui = Gui::on(true);
    gui.fill("router-1");
    gui.done(Command::CreateUser { user: user("ann", true) });
    gui.cluster.0.lock().unwrap().cluster = ClusterState::Retired;
    let cookie = gui.sign_in("admin", PASSWORD).await;
    for path in PAGES {
        let page = gui.get(path, &cookie).await;
        let gone = ["/network", "/backups", "/support", "/preferences"];
        if path.starts_with("/high-availability") || gone.contains(&path) {
            assert_eq!((page.status(), page.header(LOCATION)), (StatusCode::SEE_OTHER, "/"), "there is no such page");
            continue;
        }
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        page.says("This node is retired and read-only.");
        assert!(!page.0.body().contains("href=\"/high-availability\""), "{path} has a widget");
    }
    gui.get("/product-instances", &cookie).await.says("router-1");
    // Nobody can be made to change a password where none can be changed.
    let cookie = gui.sign_in("ann", PASSWORD).await;
    assert_eq!(gui.get("/", &cookie).await.status(), StatusCode::OK);
    assert_eq!(gui.get("/readyz", "").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_session_outlives_the_active_node_and_ends_when_idle_or_disabled() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("ann", false) });
    let cookie = gui.sign_in("ann", PASSWORD).await;
    // The next active node knows it from the ledger alone.
    let other = Gui::over(gui.ledger.clone(), false);
    assert_eq!(other.get("/", &cookie).await.status(), StatusCode::OK);
    other.later.store(SESSION_IDLE - 1, Ordering::Relaxed);
    assert_eq!(other.get("/", &cookie).await.status(), StatusCode::OK);
    other.later.store(SESSION_LIFE, Ordering::Relaxed);
    assert_eq!(other.get("/", &cookie).await.header(LOCATION), "/sign-in");

    let cookie = gui.sign_in("ann", PASSWORD).await;
    gui.done(Command::ChangeUser { name: "ann".into(), change: UserChange::Disabled(true) });
    assert_eq!(gui.get("/", &cookie).await.header(LOCATION), "/sign-in");
    let answer = gui.try_sign_in("ann", PASSWORD).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    answer.says("This user is disabled; ask an administrator.");
    gui.try_sign_in("ann", "wrong password").await.says("The user name or the password is wrong.");
}

#[tokio::test]
async fn a_node_that_does_not_serve_says_so_and_who_does() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.serving.store(false, Ordering::Relaxed);
    {
        let mut status = gui.cluster.0.lock().unwrap();
        status.this_node = "secondary-node".into();
    }
    for path in PAGES.iter().chain(&["/sign-in", "/unknown"]) {
        let answer = gui.get(path, &cookie).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        answer.says("secondary-node is Standby primary-node is Active");
        assert!(answer.0.body().contains(r#"href="https://10.0.0.12:8443""#));
        assert!(!answer.0.body().contains("<form"));
    }
    assert_eq!(gui.try_sign_in("admin", PASSWORD).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(gui.get("/healthz", "").await.status(), StatusCode::OK);
    assert_eq!(gui.get("/readyz", "").await.status(), StatusCode::SERVICE_UNAVAILABLE);

    let cases: [(Change<'_>, &str); 4] = [
        (&|s| s.cluster = ClusterState::NoQuorum, "secondary-node does not serve now No quorum"),
        (&|s| s.cluster = ClusterState::Stopped, "The cluster is stopped on secondary-node Stopped"),
        (&|s| s.cluster = ClusterState::Retired, "This node is retired Retired"),
        (&|s| s.changing_since = Some(NOW), "Changing over No node has been active since 2026-11-23T02:13:20Z."),
    ];
    for (change, expected) in cases {
        let mut status = normal();
        status.this_node = "secondary-node".into();
        status.nodes[0].role = NodeRole::Standby;
        change(&mut status);
        *gui.cluster.0.lock().unwrap() = status;
        gui.get("/", "").await.says(expected);
    }
    gui.serving.store(true, Ordering::Relaxed);
    assert_eq!(gui.get("/readyz", "").await.status(), StatusCode::OK);
    assert_eq!(gui.get("/", &cookie).await.status(), StatusCode::OK, "the session is still there");
}

#[tokio::test]
async fn a_first_password_must_be_changed_before_anything_else() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("new", true) });
    let cookie = gui.sign_in("new", PASSWORD).await;
    let other = gui.sign_in("new", PASSWORD).await;
    for path in PAGES.iter().filter(|p| **p != "/password") {
        assert_eq!(gui.get(path, &cookie).await.header(LOCATION), "/password", "{path}");
    }
    let form = gui.get("/password", &cookie).await;
    form.says("Choose one of your own to go on.");
    assert!(!form.0.body().contains("/licenses"), "nothing else is offered");

    let wrong = gui.post("/password", &cookie, "current=guess&new=my+own+secret&repeated=my+own+secret").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let current = "current=four+unrelated+words";
    for (new, why) in [("new=my+own+secret&repeated=other", "differ"), ("new=short&repeated=short", "8 to 256")] {
        let answer = gui.post("/password", &cookie, &format!("{current}&{new}")).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
        answer.says(why);
    }
    let changed = gui.post("/password", &cookie, &format!("{current}&new=my+own+secret&repeated=my+own+secret")).await;
    assert_eq!(changed.header(LOCATION), "/");
    let state = gui.ledger.state();
    let stored = state.user("new").unwrap();
    assert!(!stored.must_change && stored.role == Role::SystemAdministrator);
    assert!(stored.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.password_hash);
    assert_eq!(gui.get("/", &changed.cookie()).await.status(), StatusCode::OK);
    for old in [cookie, other] {
        assert_eq!(gui.get("/", &old).await.header(LOCATION), "/sign-in", "old sessions end");
    }
    assert_eq!(gui.try_sign_in("new", PASSWORD).await.status(), StatusCode::UNAUTHORIZED);
    gui.sign_in("new", "my own secret").await;
}

// ---- codes beside the password ----

/// Gives `name` a second factor and confirms it with the code of an old time step.
fn enrol(gui: &Gui, name: &str) -> Seed {
    let seed = Seed::generate();
    gui.done(Command::EnrolTotp { name: name.into(), seed: seed.seal(&sealer()) });
    let id = gui.ledger.state().user(name).unwrap().totp.clone().unwrap().id;
    gui.done(Command::UseTotp { name: name.into(), id, step: step(gui) - 10 });
    seed
}

/// The time step of the pages' clock.
fn step(gui: &Gui) -> u64 {
    NOW.plus(gui.later.load(Ordering::Relaxed)).0 / 30_000
}

impl Gui {
    /// The ticket on the page that asks for the code.
    async fn ticket(&self, name: &str) -> String {
        let answer = self.try_sign_in(name, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text());
        answer.says("Code of your authenticator");
        assert!(answer.0.headers().get(SET_COOKIE).is_none(), "no session yet");
        let (_, rest) = answer.0.body().split_once(r#"name="ticket" value=""#).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    async fn try_code(&self, ticket: &str, code: &str) -> Answer {
        self.post("/sign-in", "", &format!("ticket={ticket}&code={code}&next=%2Flicenses")).await
    }
}

#[tokio::test]
async fn a_code_is_asked_for_after_the_password_and_counts_once() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("ann", false) });
    let early = gui.sign_in("ann", PASSWORD).await;
    let seed = enrol(&gui, "ann");
    assert_eq!(gui.get("/", &early).await.header(LOCATION), "/sign-in", "begun without a code");
    assert_eq!(gui.try_sign_in("ann", "wrong").await.status(), StatusCode::UNAUTHORIZED);

    let ticket = gui.ticket("ann").await;
    let wrong = gui.try_code(&ticket, if seed.code(step(&gui)) == "000000" { "111111" } else { "000000" }).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    wrong.says("The code is wrong.");
    let code = seed.code(step(&gui));
    let signed_in = gui.try_code(&ticket, &code).await;
    assert_eq!(signed_in.header(LOCATION), "/licenses");
    assert_eq!(gui.get("/", &signed_in.cookie()).await.status(), StatusCode::OK);

    // Neither the ticket nor the code serves again, on this node or the next one.
    let again = gui.try_code(&ticket, &seed.code(step(&gui) + 1)).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    again.says("Begin again.");
    let other = Gui::over(gui.ledger.clone(), false);
    let ticket = other.ticket("ann").await;
    let replayed = other.try_code(&ticket, &code).await;
    assert_eq!(replayed.status(), StatusCode::UNPROCESSABLE_ENTITY);
    replayed.says("was used already");
    assert_eq!(other.try_code(&ticket, &seed.code(step(&gui) + 1)).await.status(), StatusCode::SEE_OTHER);
    // A ticket is known where it was given.
    let ticket = gui.ticket("ann").await;
    other.try_code(&ticket, "000000").await.says("Begin again.");
}

#[tokio::test]
async fn a_ticket_ends_with_the_password_and_a_lost_device_is_reset() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("ann", false) });
    let seed = enrol(&gui, "ann");
    let ticket = gui.ticket("ann").await;
    let change = UserChange::Password { hash: weak_hash("another password"), must_change: false };
    gui.done(Command::ChangeUser { name: "ann".into(), change });
    gui.try_code(&ticket, &seed.code(step(&gui))).await.says("Begin again.");
    let change = UserChange::Password { hash: weak_hash(PASSWORD), must_change: false };
    gui.done(Command::ChangeUser { name: "ann".into(), change });

    let ticket = gui.ticket("ann").await;
    gui.done(Command::ResetTotp { name: "ann".into() });
    gui.try_code(&ticket, &seed.code(step(&gui))).await.says("Begin again.");
    gui.sign_in("ann", PASSWORD).await;
    // One that is not confirmed is not asked for.
    gui.done(Command::EnrolTotp { name: "ann".into(), seed: seed.seal(&sealer()) });
    gui.sign_in("ann", PASSWORD).await;
}

#[tokio::test]
async fn guessing_codes_is_slowed_down_for_everybody_who_has_the_password() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("ann", false) });
    let seed = enrol(&gui, "ann");
    let ticket = gui.ticket("ann").await;
    let mut tried = 0;
    let refused = loop {
        let answer = gui.try_code(&ticket, "12345x").await;
        if answer.status() != StatusCode::UNAUTHORIZED {
            break answer;
        }
        tried += 1;
        assert!(tried < 20, "guessing was never slowed down");
    };
    assert!(tried >= 5);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let right = gui.try_code(&ticket, &seed.code(step(&gui))).await;
    assert_eq!(right.status(), StatusCode::TOO_MANY_REQUESTS, "even the right one");
    // The others go on.
    gui.sign_in("admin", PASSWORD).await;
}

#[tokio::test]
async fn a_retired_node_lets_nobody_in_without_the_code_that_it_cannot_check() {
    let gui = Gui::new();
    let seed = enrol(&gui, "admin");
    let retired = Gui::over(gui.ledger.clone(), true);
    let ticket = retired.ticket("admin").await;
    let answer = retired.try_code(&ticket, &seed.code(step(&gui))).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    answer.says("can check no code");
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_sessions_of_that_user_alone() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("ann", false) });
    let (one, two) = (gui.sign_in("ann", PASSWORD).await, gui.sign_in("ann", PASSWORD).await);
    let admin = gui.sign_in("admin", PASSWORD).await;
    gui.get("/password", &one).await.says("Sign out everywhere");
    let out = gui.post("/sign-out-everywhere", &one, "").await;
    assert_eq!((out.status(), out.header(LOCATION)), (StatusCode::SEE_OTHER, "/sign-in"));
    for cookie in [&one, &two] {
        assert_eq!(gui.get("/", cookie).await.header(LOCATION), "/sign-in");
    }
    assert_eq!(gui.get("/", &admin).await.status(), StatusCode::OK);
    // Of a retired node, which keeps its own.
    let retired = Gui::on(true);
    let (one, two) = (retired.sign_in("admin", PASSWORD).await, retired.sign_in("admin", PASSWORD).await);
    retired.post("/sign-out-everywhere", &one, "").await;
    assert_eq!(retired.get("/", &two).await.header(LOCATION), "/sign-in");
}
