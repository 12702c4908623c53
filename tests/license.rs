//! The licensing state as a whole: random command sequences against an independent model, replicas, images and
//! snapshots, and the operator's story with its exact totals.

#[path = "support/auditor.rs"]
mod auditor;

use auditor::Auditor;
use licraft::license::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

const START: u64 = 1_750_000_000_000;
const TAGS: [&str; 5] = ["BASE", "LIFECYCLE", "ASSURANCE", "ENHANCED", "EXPORT"];

/// A state under test with everything that must agree with it.
struct Rig {
    state: State,
    replica: State,
    /// What an image holds that was only ever given the changed records.
    image: BTreeMap<RecordKey, Record>,
    auditor: Auditor,
    now: u64,
    steps: u64,
    counter: u64,
    /// What was asked, and when first.
    past: Vec<(u64, Request)>,
}

impl Rig {
    fn new() -> Self {
        Self {
            state: State::default(),
            replica: State::default(),
            image: State::default().records().collect(),
            auditor: Auditor::default(),
            now: START,
            steps: 0,
            counter: 0,
            past: Vec::new(),
        }
    }

    fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn digest(n: u64) -> Digest32 {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    fn certificate(&mut self, key: u64) -> IdCertificate {
        let serial = u128::from(self.fresh()).to_be_bytes();
        let from = self.now - CERTIFICATE_BACKDATE;
        let (not_before, not_after) = (Millis(from), Millis(from + CERTIFICATE_LIFE));
        IdCertificate { serial, key_hash: Self::digest(key), not_before, not_after }
    }

    /// Applies to both replicas and holds the result against everything there is.
    fn apply(&mut self, request: Request, at: u64) -> Result<Outcome, String> {
        let before = self.state.meta().now;
        let stamp = Stamp { at: Millis(at) };
        let mut changes = Changes::new();
        let outcome = self.state.apply(stamp, &request, &mut changes);
        let other = self.replica.apply(stamp, &request, &mut Changes::new());
        ensure(outcome == other && self.state == self.replica, "the replicas differ")?;
        if matches!(outcome, Outcome::Refused(_)) && self.state.meta().now == before {
            let own = |k: &RecordKey| match (k, &request.command) {
                (RecordKey::Meta | RecordKey::Request(_), _) => true,
                (RecordKey::Instance(id), Command::Numbered { instance, .. }) => id == instance,
                _ => false,
            };
            ensure(changes.iter().all(own), &format!("a refused command changed {changes:?}"))?;
        }
        for key in changes {
            match self.state.record(&key) {
                Some(record) => drop(self.image.insert(key, record)),
                None => drop(self.image.remove(&key)),
            }
        }
        let found = self.state.check();
        ensure(found.is_empty(), &format!("after {request:?}: {found:?}"))?;
        self.auditor.observe(stamp, &request, &outcome)?;
        self.auditor.compare(&self.state).map_err(|e| format!("after {request:?}: {e}"))?;
        self.steps += 1;
        if self.steps.is_multiple_of(5) {
            self.check_image()?;
        }
        self.past.push((self.state.meta().now.0, request));
        Ok(outcome)
    }

    fn check_image(&self) -> Result<(), String> {
        let records: Vec<_> = self.state.records().collect();
        ensure(records.is_sorted_by(|a, b| a.0 < b.0), "the records are out of order")?;
        ensure(records.iter().all(|(k, r)| *k == r.key()), "a record is under another's key")?;
        ensure(self.image.iter().eq(records.iter().map(|(k, r)| (k, r))), "the changed records are not the state")
    }

    /// The replica goes on from a snapshot of the state.
    fn restore(&mut self) -> Result<(), String> {
        let mut records: Vec<_> = self.state.records().collect();
        records.reverse();
        self.replica = State::from_records(records);
        ensure(self.replica == self.state, "a restored state differs")
    }

    /// Carries out what must succeed.
    fn run(&mut self, command: Command) -> Outcome {
        let id = u128::from(self.fresh());
        let at = self.now;
        let outcome = self.apply(Request { id, actor: "admin".into(), command }, at).unwrap();
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        outcome
    }

    fn refused(&mut self, command: Command) -> Reason {
        let at = self.now;
        match self.apply(Request { id: 0, actor: "admin".into(), command }, at).unwrap() {
            Outcome::Refused(refusal) => refusal.reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn created(&mut self, command: Command) -> u64 {
        match self.run(command) {
            Outcome::Created(id) => id,
            other => panic!("nothing was made: {other:?}"),
        }
    }

    fn initialized() -> Self {
        let mut rig = Self::new();
        rig.run(Command::Initialize { server_uid: "0123456789abcdef".into(), administrator: user("admin") });
        rig
    }

    fn active_account(&mut self, name: &str, entitlements: Vec<Entitlement>) -> AccountId {
        let (name, by) = (name.to_owned(), "admin".to_owned());
        let (smart_account, virtual_account) = ("Smart".into(), name.clone());
        let command = Command::RequestAccount { name, requested_by: by, smart_account, virtual_account };
        let account = AccountId(self.created(command));
        self.run(Command::ApproveAccount { account, keys: keys() });
        self.run(activate(account, entitlements));
        account
    }

    fn token(&mut self, va: VirtualAccountId, max_uses: u64, export_controlled: bool) -> Digest32 {
        let hash = Self::digest(self.fresh());
        self.created(create_token(va, hash, 30, max_uses, export_controlled));
        hash
    }

    fn register(&mut self, token_hash: Digest32, device: u64, key: u64) -> Outcome {
        let certificate = self.certificate(key);
        let command = register(token_hash, device, certificate);
        let at = self.now;
        self.apply(Request { id: 0, actor: "product".into(), command }, at).unwrap()
    }

    fn registered(&mut self, token_hash: Digest32, device: u64, key: u64) -> Registered {
        match self.register(token_hash, device, key) {
            Outcome::Registered(registered) => registered,
            other => panic!("not registered: {other:?}"),
        }
    }

    fn numbered(&mut self, instance: InstanceId, number: u64, action: InstanceAction) -> Outcome {
        let command = Command::Numbered { instance, number, digest: Self::digest(number), action };
        let at = self.now;
        self.apply(Request { id: 0, actor: format!("instance {instance}"), command }, at).unwrap()
    }

    fn authorize(&mut self, instance: InstanceId, number: u64, usage: &[(&str, u64)]) -> Authorization {
        match self.numbered(instance, number, authorize(usage)) {
            Outcome::Authorized(authorization) => authorization,
            other => panic!("not authorized: {other:?}"),
        }
    }
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn user(name: &str) -> User {
    let (name, password_hash) = (name.to_owned(), "$argon2id$x".to_owned());
    User { name, role: Role::SystemAdministrator, password_hash, must_change: true, created: Millis(0) }
}

fn keys() -> AccountKeys {
    AccountKeys {
        ca_csr: vec![1; 8],
        ca_key: Sealed(vec![2; 8]),
        signer_key: Sealed(vec![3; 8]),
        ca_chain: vec![],
        signer_cert: vec![],
    }
}

fn activate(account: AccountId, entitlements: Vec<Entitlement>) -> Command {
    let (ca_chain, signer_cert, response) = (vec![vec![4; 8]], vec![5; 8], [6; 32]);
    Command::ActivateAccount { account, ca_chain, signer_cert, entitlements, response }
}

fn complete(account: AccountId, seq: u64, entitlements: Vec<Entitlement>) -> Command {
    Command::CompleteSync { account, seq, entitlements, response: [7; 32] }
}

fn create_token(va: VirtualAccountId, hash: Digest32, expires_days: u64, max_uses: u64, export: bool) -> Command {
    let (sealed, description, export_controlled) = (Sealed(vec![9; 16]), String::new(), export);
    Command::CreateToken { va, hash, sealed, description, expires_days, max_uses, export_controlled }
}

fn register(token_hash: Digest32, device: u64, certificate: IdCertificate) -> Command {
    let udi = Udi { pid: "PI-SOFTWARE".into(), sn: format!("SN{device}") };
    let host_name = (device % 2 == 0).then(|| format!("host-{device}"));
    let (product_type, software_version) = ("PI".to_owned(), "3.10".to_owned());
    Command::Register { token_hash, udi, host_name, product_type, software_version, certificate }
}

fn authorize(usage: &[(&str, u64)]) -> InstanceAction {
    InstanceAction::Authorize { usage: usage.iter().map(|(tag, count)| ((*tag).to_owned(), *count)).collect() }
}

fn perpetual(quantity: u64) -> Term {
    Term { quantity, start: Millis(0), end: None, billing: Billing::Prepaid }
}

fn entitlement(tag: &str, terms: Vec<Term>) -> Entitlement {
    Entitlement { tag: tag.into(), name: format!("License {tag}"), export_controlled: tag == "EXPORT", terms }
}

fn catalog(quantity: u64) -> Vec<Entitlement> {
    TAGS.iter().map(|tag| entitlement(tag, if quantity == 0 { vec![] } else { vec![perpetual(quantity)] })).collect()
}

// ---- random sequences ----

/// Numbers from which a step is made with the state at hand; small, so that things meet.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    a: usize,
    b: usize,
    n: u64,
    time: u8,
    restore: bool,
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..100, 0usize..64, 0usize..64, 0u64..12, 0u8..100, prop::bool::weighted(0.1));
    let step = step.prop_map(|(kind, a, b, n, time, restore)| Step { kind, a, b, n, time, restore });
    prop::collection::vec(step, 1..length)
}

fn pick<T>(things: Vec<T>, n: usize) -> Option<T> {
    let len = things.len();
    things.into_iter().nth(n % len.max(1))
}

impl Rig {
    fn any_account(&self, n: usize) -> AccountId {
        pick(self.state.accounts().map(|a| a.id).collect(), n).unwrap_or(AccountId(999))
    }

    fn any_va(&self, n: usize) -> VirtualAccountId {
        let vas = self.state.accounts().flat_map(|a| self.state.virtual_accounts(a.id)).map(|v| v.id);
        pick(vas.collect(), n).unwrap_or(VirtualAccountId(999))
    }

    fn any_token(&self, n: usize) -> Option<(TokenId, Digest32)> {
        let vas = self.state.accounts().flat_map(|a| self.state.virtual_accounts(a.id));
        pick(vas.flat_map(|v| self.state.tokens(v.id)).map(|t| (t.id, t.hash)).collect(), n)
    }

    fn any_instance(&self, n: usize) -> InstanceId {
        pick(self.state.instances(None).map(|i| i.id).collect(), n).unwrap_or(InstanceId(999))
    }

    fn some_terms(&self, step: &Step) -> Vec<Entitlement> {
        let start = |k: u64| Millis((self.now - self.now % Millis::DAY) + k * 10 * Millis::DAY);
        let mut all = catalog(step.n % 4 * 3);
        for (k, e) in all.iter_mut().enumerate() {
            let k = k as u64;
            match (step.b as u64 + k) % 4 {
                0 => e.terms.push(Term {
                    quantity: 4,
                    start: start(k),
                    end: Some(start(k + 3)),
                    billing: Billing::Usage,
                }),
                1 => e.terms.push(Term {
                    quantity: 2,
                    start: Millis(0),
                    end: Some(start(k + 1)),
                    billing: Billing::Prepaid,
                }),
                2 => e.terms.clear(),
                _ => e.name = format!("Renamed {}", step.n),
            }
        }
        all.truncate(3 + step.a % 3);
        all
    }

    fn account_command(&mut self, step: &Step) -> Command {
        let account = self.any_account(step.a);
        let status = self.state.account(account).map(|a| a.status);
        match (step.b % 8, status) {
            (0, _) | (_, None) => {
                let name = ["one", "two", "three", "bad/name"][step.a % 4].to_owned();
                let virtual_account = format!("VA {}", step.n % 5);
                Command::RequestAccount { name, requested_by: "me".into(), smart_account: "S".into(), virtual_account }
            }
            (1, _) => Command::RejectAccount { account, reason: "no".into() },
            (2, _) => Command::DeleteAccount { account },
            (3, Some(AccountStatus::Active)) => Command::DeactivateAccount { account, reason: "moved".into() },
            (_, Some(AccountStatus::Requested)) => Command::ApproveAccount { account, keys: keys() },
            (_, Some(AccountStatus::Approved)) => activate(account, self.some_terms(step)),
            (_, Some(AccountStatus::Inactive)) => Command::ReactivateAccount { account },
            _ => Command::CreateVirtualAccount { account, name: format!("Lab {}", step.n % 4) },
        }
    }

    fn va_command(&mut self, step: &Step) -> Command {
        let (va, to) = (self.any_va(step.a), self.any_va(step.b));
        match step.n % 6 {
            0 => Command::RenameVirtualAccount { va, name: format!("Lab {}", step.b % 4) },
            1 => Command::DeleteVirtualAccount { va },
            2 => Command::TransferInstance { instance: self.any_instance(step.a), to },
            _ => {
                let pools: Vec<_> = self.state.pools(va).map(|p| p.license).collect();
                let license = pick(pools, step.b).unwrap_or(LicenseId(999));
                Command::TransferLicense { license, from: va, to, quantity: step.n % 5 }
            }
        }
    }

    fn sync_command(&mut self, step: &Step) -> Command {
        let account = self.any_account(step.a);
        let sync = self.state.account(account).map(|a| a.sync.clone()).unwrap_or_default();
        let seq = if step.n == 0 { sync.seq.saturating_sub(1) } else { sync.seq + u64::from(step.n == 11) };
        match step.b % 4 {
            0 => Command::BeginSync { account },
            1 => Command::FailSync { account, seq, reason: format!("reason {}", step.n % 2) },
            _ if sync.outstanding.is_none() && step.n > 2 => Command::BeginSync { account },
            _ => complete(account, seq, self.some_terms(step)),
        }
    }

    fn product_command(&mut self, step: &Step) -> Command {
        let instance = self.any_instance(step.a);
        let last = self.state.instance(instance).and_then(|i| i.last_request.as_ref()).map_or(0, |r| r.number);
        let number = match step.n {
            0 => last.saturating_sub(1),
            1 => last,
            n => last + 1 + n % 2,
        };
        let digest = Self::digest(self.fresh());
        let action = match step.b {
            0..2 => InstanceAction::Deregister,
            2..5 => InstanceAction::RenewCertificate { certificate: self.certificate(step.n + 100) },
            5..12 => InstanceAction::RenewAuthorization,
            b => {
                let tags = (0..TAGS.len()).filter(|k| (b >> k) & 1 == 1).map(|k| (TAGS[k], (step.n + k as u64) % 5));
                let unknown = (b == 63).then_some(("NOBODY", 1));
                authorize(&tags.chain(unknown).collect::<Vec<_>>())
            }
        };
        Command::Numbered { instance, number, digest, action }
    }

    fn other_command(&mut self, step: &Step) -> Command {
        let node_id = step.a as u64 % 4;
        let name = format!("node-{node_id}");
        let key = AlertKey { kind: AlertKind::WitnessLost, source: name.clone() };
        match step.n {
            0 => Command::Resume { node_id, term: step.b as u64, cause: "test".into() },
            1 => Command::DigestMark { nonce: 1 },
            2 => Command::RaiseIncarnation,
            3 => Command::RetireMember { node_id },
            4 | 5 => {
                let (severity, message, action) = (Severity::Minor, "gone".into(), "look".into());
                let (account, raised, due, acknowledged) = (None, Millis(0), None, false);
                let alert = Alert { key, severity, account, raised, due, message, action, acknowledged };
                Command::RaiseAlert { alert }
            }
            6 => Command::ClearAlert { key },
            7 => {
                let standing: Vec<_> = self.state.alerts().map(|a| a.key.clone()).collect();
                Command::AcknowledgeAlert { key: pick(standing, step.a).unwrap_or(key) }
            }
            8 => {
                let role = if step.a % 2 == 0 { Role::ReadOnly } else { Role::SystemAdministrator };
                Command::PutUser { user: User { role, ..user(["admin", "eve"][step.b % 2]) } }
            }
            9 => {
                let kind = "address-lost".to_owned();
                let event = NewEvent { severity: Severity::Minor, account: None, kind, message: "x".into() };
                Command::NoteEvent { event }
            }
            10 => Command::SetSettings { settings: Settings { central_url: name, ..Settings::default() } },
            _ => {
                let (public_address, cluster_address) = ("10.0.0.5".into(), "10.0.0.5:7441".into());
                let (witness, joined, retired) = (false, Millis(0), false);
                let member = Member { node_id, name, public_address, cluster_address, witness, joined, retired };
                Command::PutMember { member }
            }
        }
    }

    fn command(&mut self, step: &Step) -> Command {
        match step.kind {
            0..12 => self.account_command(step),
            12..22 => self.va_command(step),
            22..32 => self.sync_command(step),
            32..37 => {
                let hash = Self::digest(self.fresh());
                create_token(self.any_va(step.a), hash, step.n * 4, step.b as u64 % 3, step.b % 2 == 0)
            }
            37..39 => Command::RevokeToken { token: self.any_token(step.a).map_or(TokenId(999), |t| t.0) },
            39..54 => {
                let hash = self.any_token(step.a).map_or([0; 32], |t| t.1);
                let certificate = self.certificate(step.n % 3);
                register(hash, step.b as u64 % 9, certificate)
            }
            54..56 => Command::RemoveInstance { instance: self.any_instance(step.a) },
            56..92 => self.product_command(step),
            _ => self.other_command(step),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        if step.restore {
            self.restore()?;
        }
        self.now += match step.time {
            0..60 => 0,
            60..80 => 1 + step.n,
            80..90 => Millis::HOUR,
            90..96 => Millis::DAY * (1 + step.n),
            96..99 => Millis::DAY * 31,
            _ => Millis::DAY * 95,
        };
        // Now and then the same request comes again, or its stamp is from a clock that is behind.
        if step.kind == 99 && !self.past.is_empty() {
            let recent = &self.past[self.past.len().saturating_sub(6)..];
            let (asked, request) = recent[step.a % recent.len()].clone();
            let repeatable = request.id == 0 || self.now < asked + Millis::DAY;
            if repeatable {
                return self.apply(request, self.now).map(drop);
            }
        }
        let command = self.command(step);
        let product = matches!(command, Command::Numbered { .. } | Command::Register { .. });
        let id = if product || step.b % 3 == 0 { 0 } else { u128::from(self.fresh()) };
        let at = if step.time == 0 { self.now - Millis::DAY } else { self.now };
        self.apply(Request { id, actor: "test".into(), command }, at).map(drop)
    }
}

/// A rig with two accounts in the middle of their lives, so that few steps are wasted on making them.
fn lively() -> Rig {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let second = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let default = rig.state.account(account).unwrap().default_va;
    rig.active_account("two", catalog(1));
    for va in [default, second] {
        rig.token(va, 0, va == default);
    }
    let token = rig.token(default, 0, true);
    for device in 0..4 {
        let instance = rig.registered(token, device, 1).instance;
        rig.authorize(instance, 1, &[("BASE", device), ("LIFECYCLE", 2)]);
    }
    rig
}

#[test]
fn random_commands_agree_with_the_model_on_every_replica() {
    let config = Config { cases: 96, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&(steps(160), any::<bool>()), |(steps, warm)| {
        let mut rig = if warm { lively() } else { Rig::initialized() };
        for step in &steps {
            rig.step(step).map_err(TestCaseError::fail)?;
        }
        rig.check_image().map_err(TestCaseError::fail)?;
        rig.restore().map_err(TestCaseError::fail)
    });
    result.unwrap();
}

// ---- the story ----

fn names(rig: &Rig, va: VirtualAccountId) -> BTreeMap<String, i64> {
    let tag = |p: &Pool| rig.state.license(p.license).unwrap().tag.clone();
    rig.state.pools(va).map(|p| (tag(p), p.balance())).collect()
}

/// Story B: over-consumption is granted, reported, and counted exactly.
#[test]
fn four_products_have_the_totals_of_the_story() {
    let tags = ["ASSURANCE", "BASE", "LIFECYCLE", "BASIC", "ENHANCED", "ENHANCED-PLUS", "ESSENTIAL", "ROOM"];
    let mut rig = Rig::initialized();
    let account = rig.active_account("TEST", tags.iter().map(|t| entitlement(t, vec![])).collect());
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let usages: [&[(&str, u64)]; 4] = [
        &[("BASE", 1), ("LIFECYCLE", 34)],
        &[("ENHANCED", 3), ("ENHANCED-PLUS", 1), ("ROOM", 1)],
        &[("ASSURANCE", 2), ("BASE", 1), ("LIFECYCLE", 14)],
        &[("BASIC", 2), ("ENHANCED", 44), ("ESSENTIAL", 4)],
    ];
    for (device, usage) in (1..).zip(usages) {
        let instance = rig.registered(token, device, 1).instance;
        let answer = rig.authorize(instance, 1, usage);
        assert!(!answer.in_compliance());
        assert_eq!(answer.next_contact, answer.at.plus(12 * Millis::HOUR));
        assert_eq!(answer.expires, answer.at.plus(90 * Millis::DAY));
        assert_eq!(answer.enforce_from, Some(answer.at.plus(90 * Millis::DAY)));
    }
    let expected = [-2, -2, -48, -2, -47, -1, -4, -1];
    assert_eq!(names(&rig, va), tags.iter().map(|t| (*t).to_owned()).zip(expected).collect());
    assert_eq!(rig.state.alerts().filter(|a| a.key.kind == AlertKind::InsufficientLicenses).count(), 8);
    assert_eq!(rig.state.instance_count(), 4);
    let alert = rig.state.alerts().find(|a| a.key.source.ends_with("/LIFECYCLE")).unwrap();
    assert_eq!(alert.message, "Virtual account \"Default\" uses 48 more of \"License LIFECYCLE\" than it has.");
}

#[test]
fn a_lost_answer_is_given_again_whatever_happened_since() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(1));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let (a, b) = (rig.registered(token, 1, 1).instance, rig.registered(token, 2, 1).instance);
    let first = rig.authorize(a, 1, &[("BASE", 1)]);
    assert!(first.in_compliance() && first.enforce_from.is_none());
    rig.now += Millis::HOUR;
    rig.authorize(b, 1, &[("BASE", 1)]);
    assert!(!rig.state.authorization(a).unwrap().in_compliance(), "the other instance made the pool short");
    assert_eq!(rig.authorize(a, 1, &[("BASE", 1)]), first);
    let stale = rig.numbered(a, 0, InstanceAction::RenewAuthorization);
    assert!(matches!(stale, Outcome::Refused(Refusal { reason: Reason::StaleRequest { current: 1 }, .. })));
    let (digest, action) = ([9; 32], InstanceAction::RenewAuthorization);
    let command = Command::Numbered { instance: a, number: 1, digest, action };
    assert_eq!(rig.refused(command), Reason::RequestMismatch { current: 1 });
    // Refusals are remembered as well, and change nothing.
    let refused = rig.numbered(a, 2, authorize(&[("NOBODY", 1)]));
    assert!(
        matches!(&refused, Outcome::Refused(r) if r.reason == Reason::LicenseUnknown && r.message.contains("NOBODY"))
    );
    assert_eq!(rig.numbered(a, 2, authorize(&[("NOBODY", 1)])), refused);
    assert_eq!(rig.state.instance(a).unwrap().usage.len(), 1);
    assert_eq!(rig.numbered(a, 3, InstanceAction::Deregister), Outcome::Deregistered);
    assert_eq!(rig.numbered(a, 3, InstanceAction::Deregister), Outcome::Deregistered);
    assert!(rig.state.authorization(b).unwrap().in_compliance(), "deregistering frees at once");
}

#[test]
fn the_same_device_never_counts_twice() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 2, false);
    let first = rig.registered(token, 1, 1);
    let again = rig.registered(token, 1, 1);
    assert!(again.repeated && again.instance == first.instance && again.certificate == first.certificate);
    rig.authorize(first.instance, 1, &[("BASE", 3)]);
    let anew = rig.registered(token, 1, 2);
    assert!(!anew.repeated && anew.instance != first.instance);
    assert_eq!((rig.state.instance_count(), rig.state.pools(va).map(|p| p.in_use).sum::<u64>()), (1, 0));
    assert!(rig.state.events(0).any(|e| e.kind == "instance-replaced"));
    let refused = |o: Outcome| matches!(o, Outcome::Refused(r) if r.reason == Reason::TokenExhausted);
    assert!(refused(rig.register(token, 2, 1)), "two registrations were counted, the repeat was not");
    assert!(rig.registered(token, 1, 2).repeated, "an exhausted token does not hurt who is registered");
}

#[test]
fn terms_start_and_end_with_state_time() {
    let mut rig = Rig::initialized();
    let day = |n: u64| Millis(START + n * Millis::DAY);
    let term = |quantity, from, to| Term { quantity, start: day(from), end: Some(day(to)), billing: Billing::Prepaid };
    let account = rig.active_account("one", vec![entitlement("BASE", vec![term(2, 0, 10), term(3, 5, 20)])]);
    let va = rig.state.account(account).unwrap().default_va;
    let license = rig.state.license_by_tag(account, "BASE").unwrap().id;
    let purchased = |rig: &mut Rig, at: Millis| {
        rig.now = at.0;
        rig.run(Command::DigestMark { nonce: 0 });
        rig.state.pool(va, license).unwrap().purchased
    };
    assert_eq!(purchased(&mut rig, day(4)), 2);
    assert_eq!(purchased(&mut rig, day(5)), 5);
    assert_eq!(purchased(&mut rig, Millis(day(10).0 - 1)), 5);
    assert_eq!(purchased(&mut rig, day(10)), 3);
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    assert!(rig.authorize(instance, 1, &[("BASE", 3)]).in_compliance());
    assert_eq!(purchased(&mut rig, day(30)), 0);
    let now = rig.state.authorization(instance).unwrap();
    assert_eq!(now.enforce_from, Some(day(30).plus(90 * Millis::DAY)));
    assert!(rig.state.events(0).any(|e| e.kind == "terms-changed"));
}

#[test]
fn transferred_licenses_stay_when_central_answers() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", vec![entitlement("BASE", vec![perpetual(10)])]);
    let default = rig.state.account(account).unwrap().default_va;
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let license = rig.state.license_by_tag(account, "BASE").unwrap().id;
    rig.run(Command::TransferLicense { license, from: default, to: lab, quantity: 4 });
    let too_many = Command::TransferLicense { license, from: default, to: lab, quantity: 7 };
    assert_eq!(rig.refused(too_many), Reason::Limit);
    let held = |rig: &Rig| [default, lab].map(|va| rig.state.pool(va, license).map_or(0, |p| p.purchased));
    assert_eq!(held(&rig), [6, 4]);
    assert_eq!(rig.refused(Command::DeleteVirtualAccount { va: lab }), Reason::NotEmpty);
    assert_eq!(rig.run(Command::BeginSync { account }), Outcome::SyncBegun { seq: 1 });
    assert_eq!(rig.run(Command::BeginSync { account }), Outcome::SyncBegun { seq: 1 });
    rig.run(complete(account, 1, vec![entitlement("BASE", vec![perpetual(12)])]));
    assert_eq!(held(&rig), [8, 4]);
    assert_eq!(rig.refused(complete(account, 1, vec![])), Reason::StaleRequest { current: 1 });
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 2, vec![entitlement("BASE", vec![perpetual(3)])]));
    assert_eq!(held(&rig), [0, 3]);
}

#[test]
fn an_instance_lapses_after_authorization_and_grace_but_not_after_our_outage() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 1)]);
    rig.now += 179 * Millis::DAY;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!(rig.state.instance_count(), 1);
    rig.now += 10 * Millis::DAY;
    rig.run(Command::Resume { node_id: 1, term: 2, cause: "power returned".into() });
    rig.now += 23 * Millis::HOUR;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!(rig.state.instance_count(), 1, "a day to be heard of after service resumed");
    rig.now += Millis::HOUR;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!((rig.state.instance_count(), rig.state.pools(va).map(|p| p.in_use).sum::<u64>()), (0, 0));
    assert!(rig.state.events(0).any(|e| e.kind == "instance-lapsed"));
}

#[test]
fn an_account_lives_from_request_to_deletion() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(1));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 2)]);
    rig.run(Command::BeginSync { account });
    let (seq, usage) = (1, vec![("BASE".to_owned(), 2)]);
    rig.authorize(instance, 2, &[("BASE", 3)]);
    let frozen = rig.state.account(account).unwrap().sync.outstanding.clone().unwrap();
    assert_eq!((frozen.seq, frozen.usage, frozen.instances), (seq, usage, 1), "what was begun stays as it was");
    rig.run(Command::FailSync { account, seq, reason: "no route".into() });
    assert!(rig.state.alerts().any(|a| a.key.kind == AlertKind::SynchronizationFailed));
    rig.run(complete(account, seq, catalog(1)));
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::State);
    rig.run(Command::DeactivateAccount { account, reason: "moved".into() });
    let refused = rig.numbered(instance, 3, InstanceAction::RenewAuthorization);
    assert!(matches!(refused, Outcome::Refused(r) if r.reason == Reason::AccountInactive));
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::NotEmpty);
    rig.run(Command::RemoveInstance { instance });
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::State, "central has not heard yet");
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 2, vec![]));
    rig.run(Command::DeleteAccount { account });
    assert_eq!((rig.state.accounts().count(), rig.state.alerts().count()), (0, 0));
    rig.active_account("one", catalog(1));
}

#[test]
fn an_export_controlled_license_needs_a_token_that_allows_it() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let (plain, export) = (rig.token(va, 0, false), rig.token(va, 0, true));
    let (a, b) = (rig.registered(plain, 1, 1).instance, rig.registered(export, 2, 1).instance);
    let refused = rig.numbered(a, 1, authorize(&[("BASE", 1), ("EXPORT", 1)]));
    assert!(matches!(refused, Outcome::Refused(r) if r.reason == Reason::ExportControlled));
    assert!(rig.state.instance(a).unwrap().usage.is_empty());
    assert!(rig.authorize(b, 1, &[("EXPORT", 1)]).export_controlled);
}

// ---- bounds, time, purity ----

#[test]
fn state_time_never_runs_back_and_routine_renewals_are_no_events() {
    let mut rig = lively();
    let instance = rig.state.instances(None).next().unwrap().id;
    rig.now += Millis::HOUR;
    rig.numbered(instance, 5, InstanceAction::RenewAuthorization);
    let (events, now) = (rig.state.meta().last_event, rig.now);
    rig.now -= 2 * Millis::HOUR;
    let Outcome::Authorized(answer) = rig.numbered(instance, 6, InstanceAction::RenewAuthorization) else { panic!() };
    assert_eq!((answer.at.0, rig.state.meta().now.0, rig.state.meta().last_event), (now, now, events));
}

#[test]
fn rings_are_bounded_and_a_repeated_request_gets_its_first_outcome() {
    let mut state = Rig::initialized().state;
    let mut changes = Changes::new();
    let mut note = |state: &mut State, id: u64, at: u64| {
        let kind = "noted".to_owned();
        let event = NewEvent { severity: Severity::Minor, account: None, kind, message: String::new() };
        let request = Request { id: u128::from(id), actor: "a".into(), command: Command::NoteEvent { event } };
        changes.clear();
        state.apply(Stamp { at: Millis(at) }, &request, &mut changes)
    };
    for id in 0..MAX_EVENTS + 500 {
        assert_eq!(note(&mut state, 1_000 + id, START), Outcome::Done);
    }
    let events = state.meta().last_event;
    assert_eq!(state.events(0).count() as u64, MAX_EVENTS);
    let requests = |s: &State| s.records().filter(|(k, _)| matches!(k, RecordKey::Request(_))).count();
    assert_eq!(requests(&state), MAX_REQUESTS);
    note(&mut state, 1_000 + MAX_EVENTS, START);
    assert_eq!(state.meta().last_event, events, "a repeat is not carried out again");
    for id in 0..3_000 {
        note(&mut state, 50_000 + id, START + 2 * Millis::DAY);
    }
    assert_eq!(requests(&state), 3_000, "after a day a request is forgotten");
    assert_eq!(state.check(), Vec::<String>::new());
}

#[test]
fn a_damaged_total_is_found() {
    let rig = lively();
    let sound = rig.state.records().collect::<Vec<_>>();
    let mut seen = 0;
    for n in 0..sound.len() {
        let mut records = sound.clone();
        match &mut records[n].1 {
            Record::Pool(pool) => pool.in_use += 1,
            Record::VirtualAccount(va) => va.instances += 1,
            Record::Account(account) => account.instances += 1,
            Record::Instance(instance) => instance.usage = Arc::from([]),
            Record::Alert(_) => drop(records.remove(n)),
            _ => continue,
        }
        let empty_before = matches!(&sound[n].1, Record::Instance(i) if i.usage.is_empty());
        assert!(empty_before || !State::from_records(records).check().is_empty(), "{:?}", sound[n]);
        seen += 1;
    }
    assert!(seen > 10);
}

/// Only the language, serialization and persistent maps: nothing that reads, waits, draws or hashes in random order.
#[test]
fn the_room_is_pure() {
    let allowed = ["std", "serde", "imbl", "super", "self", "crate::license"];
    let forbidden = [
        "std::fs",
        "std::io",
        "std::net",
        "std::time",
        "std::env",
        "std::thread",
        "std::process",
        "std::sync::atomic",
        "HashMap",
        "HashSet",
        "RandomState",
        "DefaultHasher",
        "async ",
        "unsafe",
        "SystemTime",
        "Instant::",
        "f32",
        "f64",
        "println!",
        "thread_local!",
        "static mut",
        "Mutex",
        "RwLock",
        "Cell<",
    ];
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/license")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            for line in code.clone().filter_map(|l| l.trim().trim_start_matches("pub ").strip_prefix("use ")) {
                let fits = |a: &&str| line.starts_with(&format!("{a}::")) || line.starts_with(&format!("{a};"));
                let own_module = line.starts_with(|c: char| c.is_lowercase()) && !line.starts_with("crate::");
                let known = allowed.iter().any(|a| fits(&a));
                let local =
                    own_module && path.with_file_name(format!("{}.rs", line.split("::").next().unwrap())).exists();
                assert!(known || local || line.starts_with(char::is_uppercase), "{}: use {line}", path.display());
            }
            for word in forbidden {
                assert!(code.clone().all(|l| !l.contains(word)), "{} contains {word}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 15, "the room was not found");
}
