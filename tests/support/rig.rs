//! A licensing state under test, with everything that must agree with it after each command.

use super::auditor::Auditor;
use licraft::license::*;
use std::collections::{BTreeMap, BTreeSet};

/// State time at which the tests begin.
pub const START: u64 = 1_750_000_000_000;
pub const TAGS: [&str; 5] = ["BASE", "LIFECYCLE", "ASSURANCE", "ENHANCED", "EXPORT"];

/// A state under test with everything that must agree with it.
pub struct Rig {
    pub state: State,
    replica: State,
    /// What an image holds that was only ever given the changed records.
    image: BTreeMap<RecordKey, Record>,
    auditor: Auditor,
    pub now: u64,
    /// By how much the leader's wall clock is ahead.
    pub ahead: u64,
    steps: u64,
    counter: u64,
    term: u64,
    /// What was asked, and when first.
    pub past: Vec<(u64, Request)>,
    /// How often each kind of command came to each kind of outcome.
    pub seen: BTreeMap<String, u64>,
}

impl Rig {
    pub fn new() -> Self {
        Self {
            state: State::default(),
            replica: State::default(),
            image: State::default().records().collect(),
            auditor: Auditor::default(),
            now: START,
            ahead: 0,
            steps: 0,
            counter: 0,
            term: 0,
            past: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    pub fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn digest(n: u64) -> Digest32 {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    pub fn certificate(&mut self, key: u64) -> IdCertificate {
        let serial = u128::from(self.fresh()).to_be_bytes();
        let from = self.now - CERTIFICATE_BACKDATE;
        // Some live shortly, so that they run out before their instance lapses.
        let life = if serial[15] % 4 == 0 { 40 * Millis::DAY } else { CERTIFICATE_LIFE };
        let (not_before, not_after) = (Millis(from), Millis(from + life));
        IdCertificate { serial, key_hash: Self::digest(key), not_before, not_after }
    }

    /// Applies to both replicas and holds the result against everything there is.
    pub fn apply(&mut self, request: Request, at: u64) -> Result<Outcome, String> {
        let stamp = Stamp { at: Millis(at), wall: Millis(at + self.ahead) };
        let mut changes = Changes::new();
        let mut by_time = Changes::new();
        let mark = Request { id: 0, actor: String::new(), command: Command::DigestMark { nonce: 0 } };
        self.state.clone().apply(stamp, &mark, &mut by_time);
        let outcome = self.state.apply(stamp, &request, &mut changes);
        let other = self.replica.apply(stamp, &request, &mut Changes::new());
        ensure(outcome == other && self.state == self.replica, "the replicas differ")?;
        if matches!(outcome, Outcome::Refused(_)) {
            let own = |k: &RecordKey| match (k, &request.command) {
                (RecordKey::Meta | RecordKey::Request(_), _) => true,
                (RecordKey::Instance(id), Command::Numbered { instance, .. }) => id == instance,
                _ => false,
            };
            let traceless = changes.difference(&by_time).all(own);
            ensure(traceless, &format!("a refused command changed {changes:?}"))?;
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
        *self.seen.entry(kind(&request.command, &outcome)).or_default() += 1;
        let lends = self.state.accounts().flat_map(|a| self.state.virtual_accounts(a.id));
        if lends.flat_map(|va| self.state.pools(va.id)).any(|pool| pool.substitution < 0) {
            *self.seen.entry("substitution".into()).or_default() += 1;
        }
        let pools = self
            .state
            .accounts()
            .flat_map(|a| self.state.virtual_accounts(a.id))
            .flat_map(|va| self.state.pools(va.id));
        if pools.map(|pool| self.state.usage_days(pool.va, pool.license)).any(|days| days.len() > 2) {
            *self.seen.entry("usage of several days".into()).or_default() += 1;
        }
        if self.state.accounts().any(|account| self.state.revoked(account.id).next().is_some()) {
            *self.seen.entry("revoked".into()).or_default() += 1;
        }
        for kind in self.state.alerts().map(|alert| alert.key.kind.title()).collect::<BTreeSet<_>>() {
            *self.seen.entry(kind.to_owned()).or_default() += 1;
        }
        if self.ahead > 0 && self.state.meta().clock_ahead == 0 {
            // Accepted: what was ahead is the time now.
            (self.now, self.ahead) = (self.state.now().0.max(self.now), 0);
        }
        if self.state.instances(None).any(|i| !i.devices().is_empty()) {
            *self.seen.entry("devices".into()).or_default() += 1;
        }
        self.steps += 1;
        if self.steps.is_multiple_of(5) {
            self.check_image()?;
        }
        self.past.push((self.state.meta().now.0, request));
        Ok(outcome)
    }

    /// Another leader begins; its commands come from now on.
    pub fn new_leader(&mut self) {
        self.term += 1;
        let (batch, mut changes) = ((self.term, 1, 1), Changes::new());
        assert!(self.state.admit_batch(batch, &mut changes) && self.replica.admit_batch(batch, &mut Changes::new()));
        self.image.extend(changes.into_iter().filter_map(|key| Some((key.clone(), self.state.record(&key)?))));
        self.auditor.new_leader();
    }

    pub fn check_image(&self) -> Result<(), String> {
        let records: Vec<_> = self.state.records().collect();
        ensure(records.is_sorted_by(|a, b| a.0 < b.0), "the records are out of order")?;
        ensure(records.iter().all(|(k, r)| *k == r.key()), "a record is under another's key")?;
        ensure(self.image.iter().eq(records.iter().map(|(k, r)| (k, r))), "the changed records are not the state")
    }

    /// The replica goes on from a snapshot of the state.
    pub fn restore(&mut self) -> Result<(), String> {
        let mut records: Vec<_> = self.state.records().collect();
        records.reverse();
        self.replica = State::from_records(records);
        ensure(self.replica == self.state, "a restored state differs")
    }

    /// Carries out what must succeed.
    pub fn run(&mut self, command: Command) -> Outcome {
        let id = u128::from(self.fresh());
        let at = self.now;
        let outcome = self.apply(Request { id, actor: "admin".into(), command }, at).unwrap();
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        outcome
    }

    pub fn refused(&mut self, command: Command) -> Reason {
        let at = self.now;
        match self.apply(Request { id: 0, actor: "admin".into(), command }, at).unwrap() {
            Outcome::Refused(refusal) => refusal.reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn created(&mut self, command: Command) -> u64 {
        match self.run(command) {
            Outcome::Created(id) => id,
            other => panic!("nothing was made: {other:?}"),
        }
    }

    pub fn initialized() -> Self {
        let mut rig = Self::new();
        rig.run(Command::Initialize { server_uid: "0123456789abcdef".into(), administrator: user("admin") });
        rig
    }

    pub fn active_account(&mut self, name: &str, entitlements: Vec<Entitlement>) -> AccountId {
        let (name, by) = (name.to_owned(), "admin".to_owned());
        let (smart_account, virtual_account) = ("Smart".into(), name.clone());
        let command = Command::RequestAccount { name, requested_by: by, smart_account, virtual_account };
        let account = AccountId(self.created(command));
        self.run(Command::ApproveAccount { account, keys: keys() });
        self.run(activate(account, entitlements));
        account
    }

    pub fn token(&mut self, va: VirtualAccountId, max_uses: u64, export_controlled: bool) -> Digest32 {
        let hash = Self::digest(self.fresh());
        self.created(create_token(va, hash, 30, max_uses, export_controlled));
        hash
    }

    pub fn register(&mut self, token_hash: Digest32, device: u64, key: u64) -> Outcome {
        let certificate = self.certificate(key);
        let command = register(token_hash, device, certificate);
        let at = self.now;
        self.apply(Request { id: 0, actor: "product".into(), command }, at).unwrap()
    }

    pub fn registered(&mut self, token_hash: Digest32, device: u64, key: u64) -> Registered {
        match self.register(token_hash, device, key) {
            Outcome::Registered(registered) => registered,
            other => panic!("not registered: {other:?}"),
        }
    }

    pub fn numbered(&mut self, instance: InstanceId, number: u64, action: InstanceAction) -> Outcome {
        let command = Command::Numbered { instance, number, digest: Self::digest(number), action };
        let at = self.now;
        self.apply(Request { id: 0, actor: format!("instance {instance}"), command }, at).unwrap()
    }

    pub fn authorize(&mut self, instance: InstanceId, number: u64, usage: &[(&str, u64)]) -> Authorization {
        match self.numbered(instance, number, authorize(usage)) {
            Outcome::Authorized(authorization) => authorization,
            other => panic!("not authorized: {other:?}"),
        }
    }
}

pub fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// "Numbered: state", "Register: Registered", …
pub fn kind(command: &Command, outcome: &Outcome) -> String {
    let word = |text: String| text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    match outcome {
        Outcome::Refused(refusal) => format!("{}: {}", word(format!("{command:?}")), refusal.reason),
        Outcome::Authorized(a) if !a.in_compliance() => "Numbered: out of compliance".to_owned(),
        _ => format!("{}: {}", word(format!("{command:?}")), word(format!("{outcome:?}"))),
    }
}

pub fn user(name: &str) -> User {
    User::new(name.to_owned(), Role::SystemAdministrator, "$argon2id$x".to_owned(), true)
}

/// A secret under the first sealing key.
pub fn sealed(secret: u8) -> Sealed {
    Sealed([&[secret][..], &[0; 8]].concat())
}

pub fn keys() -> AccountKeys {
    AccountKeys { ca_csr: vec![1; 8], ca_key: sealed(2), signer_key: sealed(3), ca_chain: vec![], signer_cert: vec![] }
}

pub fn activate(account: AccountId, entitlements: Vec<Entitlement>) -> Command {
    let (ca_chain, signer_cert, response) = (vec![vec![4; 8]], vec![5; 8], [6; 32]);
    Command::ActivateAccount { account, ca_chain, signer_cert, entitlements, response }
}

pub fn complete(account: AccountId, seq: u64, entitlements: Vec<Entitlement>) -> Command {
    Command::CompleteSync { account, seq, entitlements, response: [7; 32], signed: None }
}

pub fn create_token(va: VirtualAccountId, hash: Digest32, expires_days: u64, max_uses: u64, export: bool) -> Command {
    let (sealed, description, export_controlled) = (sealed(9), String::new(), export);
    Command::CreateToken { va, hash, sealed, description, expires_days, max_uses, export_controlled }
}

pub fn register(token_hash: Digest32, device: u64, certificate: IdCertificate) -> Command {
    let udi = Udi { pid: "PI-SOFTWARE".into(), sn: format!("SN{device}") };
    let host_name = device.is_multiple_of(2).then(|| format!("host-{device}"));
    let (product_type, software_version) = ("PI".to_owned(), "3.10".to_owned());
    Command::Register { token_hash, udi, host_name, product_type, software_version, certificate, devices: vec![] }
}

/// As a further device of some product.
pub fn device(n: u64) -> Device {
    let udi = Udi { pid: "PI-SOFTWARE".into(), sn: format!("SN{n}") };
    Device { udi: udi.into(), host_name: n.is_multiple_of(3).then(|| format!("member-{n}").into()) }
}

pub fn authorize(usage: &[(&str, u64)]) -> InstanceAction {
    InstanceAction::Authorize { usage: usage.iter().map(|(tag, count)| ((*tag).to_owned(), *count)).collect() }
}

pub fn perpetual(quantity: u64) -> Term {
    Term { quantity, start: Millis(0), end: None, billing: Billing::Prepaid }
}

pub fn entitlement(tag: &str, terms: Vec<Term>) -> Entitlement {
    Entitlement {
        tag: tag.into(),
        name: format!("License {tag}"),
        export_controlled: tag == "EXPORT",
        terms,
        covered_by: vec![],
    }
}

pub fn catalog(quantity: u64) -> Vec<Entitlement> {
    TAGS.iter().map(|tag| entitlement(tag, if quantity == 0 { vec![] } else { vec![perpetual(quantity)] })).collect()
}

/// A rig with two accounts in the middle of their lives, so that few steps are wasted on making them.
pub fn lively() -> Rig {
    let mut rig = Rig::initialized();
    let mut entitlements = catalog(5);
    let end = Some(Millis(START + 20 * Millis::DAY));
    entitlements[0].terms = vec![Term { quantity: 4, start: Millis(START), end, billing: Billing::Usage }];
    let account = rig.active_account("one", entitlements.clone());
    let second = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let default = rig.state.account(account).unwrap().default_va;
    let license = rig.state.license_by_tag(account, TAGS[0]).unwrap().id;
    rig.run(Command::TransferLicense { license, from: default, to: second, quantity: 2 });
    let names = ServerNames { common_name: "a.example".into(), hosts: vec!["a.example".into()] };
    rig.run(Command::WantServerCertificate { names, csr: vec![1], key: sealed(1) });
    rig.run(Command::BeginSync { account });
    let mut first = complete(account, 1, entitlements);
    if let Command::CompleteSync { signed, .. } = &mut first {
        *signed = Some(SignedCertificate { chain: vec![vec![1]], not_after: Millis(START + 40 * Millis::DAY) });
    }
    rig.run(first);
    rig.active_account("two", catalog(1));
    rig.run(Command::CreateUser { user: User { role: Role::ReadOnly, ..user("carol") } });
    rig.run(Command::EnrolTotp { name: "carol".into(), seed: sealed(1) });
    let id = rig.state.user("carol").and_then(|u| u.totp.as_ref()).unwrap().id;
    rig.run(Command::UseTotp { name: "carol".into(), id, step: 1 });
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
