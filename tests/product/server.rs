//! A license server in memory: one state, faults on demand, real TLS on loopback.

use licraft::license::{
    AccountId, AccountKeys, Changes, Command, Entitlement, Member, Millis, Outcome, Record, RecordKey, Request, Role,
    Stamp, State, User, VirtualAccountId,
};
use licraft::pki::ca::{Authority, Leaf, Purpose, certificates_pem, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::random;
use licraft::pki::seal::Sealer;
use licraft::pki::tls::{Identity, ServerTls};
use licraft::product::listener::{Limits, serve_tls};
use licraft::product::{Clock, ProductContext, Routers, Serving, ServingGuard, router, routers, token_hash};
use licraft::raft::{Ledger, ProposeError};
use licraft::telemetry::Metrics;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const TOKEN: &str = "a-good-registration-token";
pub const BASE: &str = "PRIME_BASE";
pub const LIFECYCLE: &str = "PRIME_LIFECYCLE";
pub const SECRET: &str = "SECRET_CRYPTO";

/// What the next proposal meets instead of success.
#[derive(Clone, Debug)]
pub enum Fault {
    Busy,
    NotActive,
    Stopped,
    /// Neither carried out nor known not to be.
    UnknownBefore,
    /// Carried out, but nobody was told.
    UnknownAfter,
}

/// The ledger: `State::apply` behind a lock.
pub struct Memory {
    inner: Mutex<(Arc<State>, VecDeque<Option<Fault>>)>,
    clock: Clock,
}

impl Memory {
    pub fn apply(&self, command: Command) -> Outcome {
        let mut inner = self.inner.lock().unwrap();
        let mut state = State::clone(&inner.0);
        let request = Request { id: 0, actor: "test".into(), command };
        let outcome = state.apply(Stamp::at((self.clock)()), &request, &mut Changes::new());
        assert_eq!(state.check(), Vec::<String>::new());
        inner.0 = Arc::new(state);
        outcome
    }

    /// The server is restored from `backup`, a state that it had before.
    pub fn restore(&self, backup: &State) {
        let member = Member {
            node_id: 1,
            name: "restored".into(),
            public_address: "127.0.0.1".into(),
            cluster_address: "127.0.0.1:7441".into(),
            witness: false,
            joined: Millis(0),
            retired: false,
        };
        let restored = backup.clone().restored((self.clock)(), 1, member);
        assert_eq!(restored.check(), Vec::<String>::new());
        self.inner.lock().unwrap().0 = Arc::new(restored);
    }

    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner.lock().unwrap().1.extend(faults.into_iter().map(Some));
    }

    /// After so many proposals that go well.
    pub fn fail_after(&self, good: usize, fault: Fault) {
        let faults = std::iter::repeat_n(None, good).chain([Some(fault)]);
        self.inner.lock().unwrap().1.extend(faults);
    }
}

#[async_trait::async_trait]
impl Ledger for Memory {
    async fn propose(&self, request_id: u128, _actor: &str, command: Command) -> Result<Outcome, ProposeError> {
        assert_eq!(request_id, 0);
        let fault = self.inner.lock().unwrap().1.pop_front().flatten();
        match fault {
            None => Ok(self.apply(command)),
            Some(Fault::Busy) => Err(ProposeError::Busy { retry_after_ms: 20 }),
            Some(Fault::NotActive) => Err(ProposeError::NotActive { active: Some("secondary-node".into()) }),
            Some(Fault::Stopped) => Err(ProposeError::Stopped { why: "the disk failed".into() }),
            Some(Fault::UnknownBefore) => Err(ProposeError::Unknown { why: "quorum lost".into() }),
            Some(Fault::UnknownAfter) => {
                self.apply(command);
                Err(ProposeError::Unknown { why: "leadership lost".into() })
            }
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.inner.lock().unwrap().0)
    }
}

pub struct Guard(Mutex<Serving>);

impl ServingGuard for Guard {
    fn serving(&self) -> Serving {
        self.0.lock().unwrap().clone()
    }
}

/// Real time plus an offset that a test moves.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub fn forward(&self, ms: u64) {
        self.0.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
    }

    pub fn back(&self, ms: u64) {
        self.0.fetch_sub(i64::try_from(ms).unwrap(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let (offset, real) = (Arc::clone(&self.0), licraft::product::wall_clock());
        Arc::new(move || Millis(real().0.checked_add_signed(offset.load(Ordering::SeqCst)).unwrap()))
    }
}

/// One ledger with the keys around it; any number of nodes serve it.
pub struct Site {
    pub ledger: Arc<Memory>,
    pub clock: TestClock,
    pub account: AccountId,
    pub va: VirtualAccountId,
    pub root_der: Vec<u8>,
    sealer: Sealer,
    tls_ca: Authority,
}

fn ca_below(above: &Authority, algorithm: Algorithm, name: &str, path_len: u8, now: Millis) -> Authority {
    let key = SigningKey::generate(algorithm).unwrap();
    let cert = above.issue_ca(&csr(&key, name).unwrap(), name, now, 3_650, path_len).unwrap();
    Authority::from_parts(cert, key.to_pkcs8_der().unwrap()).unwrap()
}

impl Site {
    /// An active account TEST with licenses of which 2 BASE are purchased, and a token.
    pub fn new() -> Self {
        let clock = TestClock::default();
        let now = (clock.clock())();
        let inner = Mutex::new((Arc::new(State::default()), VecDeque::new()));
        let ledger = Arc::new(Memory { inner, clock: clock.clock() });
        let administrator = User::new("admin".into(), Role::SystemAdministrator, "x".into(), false);
        assert_eq!(ledger.apply(Command::Initialize { server_uid: "00".repeat(16), administrator }), Outcome::Done);
        let sealer = Sealer::generate();
        let tls_ca = Authority::self_signed("Cluster CA", 3_650, now).unwrap();
        let root = Authority::self_signed("Vendor Root", 7_300, now).unwrap();
        let root_der = root.cert_der().to_vec();
        let mut site = Self { ledger, clock, account: AccountId(0), va: VirtualAccountId(0), root_der, sealer, tls_ca };
        site.account = site.add_account(&root, "TEST", true);
        site.va = site.ledger.state().account(site.account).unwrap().default_va;
        site.add_token(site.va, TOKEN, 0, 30, false);
        site
    }

    pub fn add_account(&self, root: &Authority, name: &str, activate: bool) -> AccountId {
        let now = (self.clock.clock())();
        let issuing = ca_below(root, Algorithm::Es256, "Issuing CA", 1, now);
        let ca = ca_below(&issuing, Algorithm::EdDsa, "Account CA", 0, now);
        let signer = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let request = Command::RequestAccount {
            name: name.into(),
            requested_by: "admin".into(),
            smart_account: format!("{name} Smart Account"),
            virtual_account: "Site".into(),
        };
        let Outcome::Created(account) = self.ledger.apply(request) else { panic!("account") };
        let account = AccountId(account);
        let keys = AccountKeys {
            ca_csr: vec![1],
            ca_key: self.sealer.seal(AccountKeys::CA_KEY_CONTEXT, ca.key_pkcs8()),
            signer_key: self.sealer.seal(AccountKeys::SIGNER_KEY_CONTEXT, &signer.to_pkcs8_der().unwrap()),
            ca_chain: Vec::new(),
            signer_cert: Vec::new(),
        };
        assert_eq!(self.ledger.apply(Command::ApproveAccount { account, keys }), Outcome::Done);
        if activate {
            let leaf = Leaf {
                common_name: "Answer signer".into(),
                purpose: Purpose::DocumentSigner,
                hosts: Vec::new(),
                uris: Vec::new(),
                crl: None,
                serial: random::bytes(),
                not_before: Millis(now.0 - Millis::HOUR),
                not_after: now.plus(3_650 * Millis::DAY),
            };
            let signer_cert = ca.issue_leaf(&csr(&signer, "signer").unwrap(), &leaf).unwrap();
            let chain = [&ca, &issuing, root].map(|a| a.cert_der().to_vec());
            let command = Command::ActivateAccount {
                account,
                ca_chain: chain.to_vec(),
                signer_cert,
                entitlements: entitlements(now),
                response: [0; 32],
            };
            assert_eq!(self.ledger.apply(command), Outcome::Done);
        }
        account
    }

    pub fn add_token(
        &self,
        va: VirtualAccountId,
        token: &str,
        max_uses: u64,
        expires_days: u64,
        export_controlled: bool,
    ) {
        let command = Command::CreateToken {
            va,
            hash: token_hash(token),
            sealed: self.sealer.seal("token", token.as_bytes()),
            description: String::new(),
            expires_days,
            max_uses,
            export_controlled,
        };
        assert!(matches!(self.ledger.apply(command), Outcome::Created(_)));
    }

    /// A node that serves the ledger now.
    pub async fn serve(&self) -> Node {
        self.serve_with(Limits::default()).await
    }

    pub async fn serve_with(&self, limits: Limits) -> Node {
        let tls = ServerTls::new(&self.identity("127.0.0.1"), &[b"http/1.1"]).unwrap();
        let guard = Arc::new(Guard(Mutex::new(Serving::Active)));
        let context = self.context(guard.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve_tls(listener, tls.clone(), router(context), limits, shutdown.clone()));
        Node { port, tls, guard, shutdown, task, ca_pem: self.ca_pem() }
    }

    fn context(&self, serving: Arc<Guard>) -> ProductContext {
        ProductContext {
            ledger: self.ledger.clone(),
            serving,
            sealer: self.sealer.clone(),
            metrics: Arc::new(Metrics::default()),
            clock: self.clock.clock(),
        }
    }

    /// Of a node that serves.
    pub fn routers(&self) -> Routers {
        routers(self.context(Arc::new(Guard(Mutex::new(Serving::Active)))))
    }

    pub fn ca_pem(&self) -> String {
        certificates_pem([self.tls_ca.cert_der()])
    }

    /// A TLS certificate for `host`.
    pub fn identity(&self, host: &str) -> Identity {
        let now = (self.clock.clock())();
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let leaf = Leaf {
            common_name: "server".into(),
            purpose: Purpose::Server,
            hosts: vec![host.into()],
            uris: Vec::new(),
            crl: None,
            serial: random::bytes(),
            not_before: Millis(now.0 - Millis::HOUR),
            not_after: now.plus(90 * Millis::DAY),
        };
        let cert = self.tls_ca.issue_leaf(&csr(&key, "server").unwrap(), &leaf).unwrap();
        Identity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der().unwrap() }
    }

    /// Everything but state time: what a refused request must leave alone.
    pub fn records(&self) -> Vec<(RecordKey, Record)> {
        self.ledger.state().records().filter(|(key, _)| *key != RecordKey::Meta).collect()
    }

    /// In use in the account's default virtual account.
    pub fn in_use(&self, tag: &str) -> u64 {
        let state = self.ledger.state();
        let license = state.license_by_tag(self.account, tag).unwrap().id;
        state.pool(self.va, license).map_or(0, |pool| pool.in_use)
    }

    pub fn instances(&self) -> u64 {
        self.ledger.state().instance_count()
    }
}

fn entitlements(now: Millis) -> Vec<Entitlement> {
    use licraft::license::{Billing, Term};
    let entitlement = |tag: &str, name: &str, purchased: u64, export_controlled| {
        let term = Term { quantity: purchased, start: now, end: None, billing: Billing::Prepaid };
        let terms = if purchased > 0 { vec![term] } else { Vec::new() };
        Entitlement { tag: tag.into(), name: name.into(), export_controlled, terms, covered_by: vec![] }
    };
    vec![
        entitlement(BASE, "Prime Infrastructure 3.x BASE", 2, false),
        entitlement(LIFECYCLE, "Prime Infrastructure 3.x Lifecycle", 0, false),
        entitlement(SECRET, "Strong Cryptography", 5, true),
    ]
}

/// One serving node.
pub struct Node {
    pub port: u16,
    pub tls: ServerTls,
    pub ca_pem: String,
    guard: Arc<Guard>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    pub fn url(&self) -> url::Url {
        format!("https://127.0.0.1:{}/SmartTransport", self.port).parse().unwrap()
    }

    pub fn become_(&self, serving: Serving) {
        *self.guard.0.lock().unwrap() = serving;
    }

    /// Stops it in order; fails when that takes longer than its limits allow.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(std::time::Duration::from_secs(10), self.task).await.expect("it stops").unwrap();
    }
}
