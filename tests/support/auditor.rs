//! An independent model of what licensing must answer: plain maps, everything recounted, no code shared with the
//! state. Feed it every command in log order with its reply; it says what is wrong with the first bad one.
//!
//! Refusals are compared by reason, everything else exactly; a repeated request must get its very first answer.

#[path = "auditor_compare.rs"]
mod compare;
#[path = "auditor_people.rs"]
mod people;
#[path = "auditor_products.rs"]
mod products;
#[path = "auditor_usage.rs"]
mod usage;

use licraft::license::*;
use std::collections::{BTreeMap, BTreeSet};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

type Key = (u64, u64);
/// Quantities by (start, end, billing).
type Terms = BTreeMap<(u64, Option<u64>, Billing), u64>;

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Is(Outcome),
    Refused(Reason),
}
use Answer::{Is, Refused};

impl Answer {
    fn matches(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Refused(reason), Outcome::Refused(refusal)) => *reason == refusal.reason && !refusal.message.is_empty(),
            (Is(expected), outcome) => expected == outcome,
            _ => false,
        }
    }
}

/// What is used and what is borrowed (or, below zero, lent), by tag.
type Frozen = BTreeMap<String, (u64, i64)>;

struct AccountModel {
    name: String,
    binding: (String, String),
    status: AccountStatus,
    default_va: u64,
    seq: u64,
    /// What the outstanding synchronization says is used and borrowed, and by how many instances.
    outstanding: Option<(u64, Frozen, u64)>,
    /// The certificate request that is outstanding with it.
    sent: Option<Vec<u8>>,
    /// Whether that is the account's last one, and whether central has answered such a one.
    closing: bool,
    closed: bool,
    /// Whether central has certified it, and whether it is to do so again.
    certified: bool,
    certify: bool,
    due: Option<u64>,
    failed: bool,
    schedule: Schedule,
}

struct TokenModel {
    va: u64,
    hash: Digest32,
    expires: u64,
    max_uses: u64,
    uses: u64,
    export: bool,
    revoked: bool,
}

struct InstanceModel {
    va: u64,
    udi: Udi,
    devices: Vec<Device>,
    token: u64,
    export: bool,
    certificate: IdCertificate,
    usage: BTreeMap<u64, u64>,
    contact: u64,
    last: Option<(u64, Digest32, Outcome)>,
}

/// The model. Its fields follow replies; [`Auditor::compare`] holds them against a state.
#[derive(Default)]
pub struct Auditor {
    now: u64,
    /// Before the command that comes now.
    before: u64,
    /// By how much the leader's clock is ahead while that is in doubt, and since then the time at which ends stand still.
    ahead: u64,
    expiry: u64,
    last_id: u64,
    initialized: bool,
    resumed: u64,
    /// A new leader has not said yet that it serves.
    resuming: bool,
    /// Instances whose day of release, or of the end of their certificate, is not after these are noted as failed.
    silent_day: u64,
    lapsed_day: u64,
    certificate_day: u64,
    /// So long before it ends an ending term is told.
    lead: Option<u64>,
    incarnation: u64,
    accounts: BTreeMap<u64, AccountModel>,
    /// (account, name) by virtual account.
    vas: BTreeMap<u64, (u64, String)>,
    /// (account, tag, name, export-controlled) by license.
    licenses: BTreeMap<u64, (u64, String, String, bool)>,
    /// Tags that cover a license.
    covers: BTreeMap<u64, Vec<String>>,
    /// By license.
    labels: BTreeMap<u64, BTreeSet<String>>,
    terms: BTreeMap<Key, Terms>,
    tokens: BTreeMap<u64, TokenModel>,
    instances: BTreeMap<u64, InstanceModel>,
    /// Since when a pool is short.
    short_since: BTreeMap<Key, u64>,
    /// Every change of what a pool has and uses.
    seen: BTreeMap<Key, Vec<usage::Seen>>,
    requests: BTreeMap<u128, Outcome>,
    people: people::People,
    /// Retired or not, by node id.
    members: BTreeMap<u64, bool>,
    raised: BTreeMap<AlertKey, bool>,
    /// The products' certificate: common name and request wanted, common name and end in force.
    wanted: Option<(String, Vec<u8>)>,
    current: Option<(String, u64)>,
    /// Revoked certificates: account, when, why, and their end, by serial number.
    revoked: BTreeMap<[u8; 16], (u64, u64, RevocationReason, u64)>,
    /// Number and time of the revocation list, and the time of the one before.
    list: (u64, u64, u64),
    /// When the certificate for browsers ends.
    browser: Option<u64>,
    /// The sealing key in force and the one before, from the first change on.
    sealing: Option<(SealingKeyId, Option<SealingKeyId>)>,
    /// What is sealed under which key.
    sealed: BTreeMap<SealedPlace, Sealed>,
}

impl Auditor {
    /// Checks the reply to a command applied at `stamp` and follows it. Commands must come in log order, each once.
    /// A request id must not be used again later than a day after its first use.
    pub fn observe(&mut self, stamp: Stamp, request: &Request, outcome: &Outcome) -> Result<(), String> {
        self.take_time(stamp);
        self.recount();
        let expected = match self.requests.get(&request.id) {
            Some(first) => Is(first.clone()),
            None => self.carry_out(&request.command),
        };
        if !expected.matches(outcome) {
            return Err(format!("at {} {request:?}\n  expected {expected:?}\n  but got  {outcome:?}", self.now));
        }
        if request.id != 0 {
            self.requests.insert(request.id, outcome.clone());
        }
        self.keep_answer(&request.command, outcome);
        self.recount();
        self.note_failed();
        self.lapse();
        self.recount();
        Ok(())
    }

    /// Another leader's commands come from now on.
    pub fn new_leader(&mut self) {
        self.resuming = true;
    }

    fn take_time(&mut self, stamp: Stamp) {
        self.before = self.now;
        self.now = self.now.max(stamp.at.0);
        let doubted = self.ahead > 0;
        self.ahead = stamp.wall.0.saturating_sub(self.now);
        if self.ahead > HOUR {
            return;
        }
        (self.ahead, self.expiry) = (0, self.now);
        if doubted && self.now - self.before > HOUR {
            self.resumed = self.now;
        }
    }

    /// Whether nothing lapses now.
    fn spared(&self) -> bool {
        self.ahead > 0 || self.resuming || self.now < self.resumed + DAY
    }

    /// Remembers the answer to a new number; repeats, stale and mismatched numbers leave the first one.
    fn keep_answer(&mut self, command: &Command, outcome: &Outcome) {
        let Command::Numbered { instance, number, digest, .. } = command else { return };
        let Some(instance) = self.instances.get_mut(&instance.0) else { return };
        if instance.last.as_ref().is_none_or(|(last, ..)| number > last) {
            instance.last = Some((*number, *digest, outcome.clone()));
        }
    }

    // ---- counting ----

    fn in_use(&self, key: Key) -> u64 {
        let here = self.instances.values().filter(|i| i.va == key.0);
        here.map(|i| i.usage.get(&key.1).copied().unwrap_or(0)).sum()
    }

    fn purchased(&self, key: Key) -> u64 {
        let terms = self.terms.get(&key).into_iter().flatten();
        terms
            .filter(|((start, end, _), _)| *start <= self.expiry && end.is_none_or(|e| self.expiry < e))
            .map(|(_, q)| q)
            .sum()
    }

    /// What the terms come to at another time.
    fn purchased_at(&self, key: Key, at: u64) -> u64 {
        let mut total = 0;
        for ((start, end, _), count) in self.terms.get(&key).into_iter().flatten() {
            if *start <= at && end.unwrap_or(u64::MAX) > at {
                total += count;
            }
        }
        total
    }

    /// Whether fewer are left by an end that comes within the lead, and by one of the last 90 days.
    fn ending(&self, key: Key) -> (bool, bool) {
        let terms = self.terms.get(&key).into_iter().flatten();
        let ends: Vec<u64> = terms.filter_map(|((_, end, _), _)| *end).collect();
        let lead = self.lead.unwrap_or(30) * DAY;
        let soon = |e: &&u64| **e > self.expiry && **e <= self.expiry + lead;
        let expiring = ends.iter().filter(soon).any(|e| self.purchased_at(key, e - 1) > self.purchased_at(key, *e));
        let past = |e: &&u64| **e <= self.expiry && self.expiry < **e + 90 * DAY;
        let expired = ends.iter().filter(past).any(|e| self.purchased_at(key, e - 1) > self.purchased(key));
        (expiring, expired)
    }

    fn pools(&self) -> Vec<Key> {
        let pairs = self.vas.keys().flat_map(|va| self.licenses.keys().map(|l| (*va, *l)));
        pairs.filter(|k| self.in_use(*k) > 0 || self.terms.get(k).is_some_and(|t| !t.is_empty())).collect()
    }

    /// Purchased and borrowed less used and lent.
    fn balance(&self, key: Key) -> i64 {
        self.purchased(key) as i64 - self.in_use(key) as i64 + self.borrowed(key)
    }

    /// What substitution gives (or, below zero, takes): every short license, the one with the fewest to ask first, asks
    /// those that cover it.
    fn borrowed(&self, key: Key) -> i64 {
        let (va, account) = (key.0, self.account_of(key.0));
        let own: Vec<u64> = self.licenses.iter().filter(|(_, l)| l.0 == account).map(|(id, _)| *id).collect();
        let mut left: BTreeMap<u64, i64> =
            own.iter().map(|id| (*id, self.purchased((va, *id)) as i64 - self.in_use((va, *id)) as i64)).collect();
        let mut short: Vec<(usize, u64)> =
            own.iter().filter(|id| left[id] < 0).map(|id| (self.coverers(*id).len(), *id)).collect();
        short.sort_unstable();
        let mut net = 0;
        for (_, borrower) in short {
            for lender in self.coverers(borrower) {
                let some = left[&lender].min(-left[&borrower]).max(0);
                *left.get_mut(&borrower).unwrap() += some;
                *left.get_mut(&lender).unwrap() -= some;
                net += some * (i64::from(borrower == key.1) - i64::from(lender == key.1));
            }
        }
        net
    }

    /// Ring by ring: those that cover it, those that cover these, and so on.
    fn coverers(&self, license: u64) -> Vec<u64> {
        let account = self.licenses[&license].0;
        let find = |tag: &String| self.licenses.iter().find(|(_, l)| l.0 == account && l.1 == *tag).map(|(id, _)| *id);
        let mut found: Vec<u64> = Vec::new();
        let mut ring = vec![license];
        while !ring.is_empty() {
            let mut next = Vec::new();
            for tag in ring.iter().filter_map(|id| self.covers.get(id)).flatten() {
                if let Some(id) = find(tag).filter(|id| *id != license && !found.contains(id)) {
                    found.push(id);
                    next.push(id);
                }
            }
            ring = next;
        }
        found
    }

    fn recount(&mut self) {
        let pools = self.pools();
        self.short_since.retain(|k, _| pools.contains(k));
        for key in pools {
            if self.balance(key) < 0 {
                self.short_since.entry(key).or_insert(self.now);
            } else {
                self.short_since.remove(&key);
            }
        }
        self.see_usage();
    }

    /// 35 days without a contact, 90 days, and 30 days before a certificate ends.
    fn note_failed(&mut self) {
        if self.spared() {
            return;
        }
        let today = self.expiry / DAY;
        self.silent_day = self.silent_day.max(today + 145);
        self.lapsed_day = self.lapsed_day.max(today + 90);
        self.certificate_day = self.certificate_day.max(today + 30);
    }

    /// Whether an instance failed to connect, and to renew.
    fn failed(&self, instance: &InstanceModel) -> (bool, bool) {
        let (release, end) = (release_day(instance), instance.certificate.not_after.0 / DAY);
        (release <= self.silent_day, release <= self.lapsed_day || end <= self.certificate_day)
    }

    fn lapse(&mut self) {
        if self.spared() {
            return;
        }
        let mut due: Vec<_> = self.instances.iter().map(|(id, i)| (release_day(i), *id)).collect();
        due.retain(|(day, _)| day * DAY <= self.expiry);
        due.sort();
        for (_, id) in due.into_iter().take(4) {
            self.remove(id, RevocationReason::CessationOfOperation);
        }
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn account_of(&self, va: u64) -> u64 {
        self.vas[&va].0
    }

    // ---- commands ----

    fn carry_out(&mut self, command: &Command) -> Answer {
        let free = matches!(
            command,
            Command::Initialize { .. } | Command::Resume { .. } | Command::DigestMark { .. } | Command::PassTime
        );
        if !self.initialized && !free {
            return Refused(Reason::NotInitialized);
        }
        match self.try_command(command) {
            Ok(outcome) => Is(outcome),
            Err(reason) => Refused(reason),
        }
    }

    fn try_command(&mut self, command: &Command) -> Result<Outcome, Reason> {
        match command {
            Command::Initialize { administrator, .. } => {
                ensure(!self.initialized, Reason::State)?;
                ensure(administrator.role == Role::SystemAdministrator, Reason::Invalid)?;
                self.initialized = true;
                self.incarnation = 1;
                self.people.administrator(&administrator.name);
            }
            Command::Resume { .. } => (self.resumed, self.resuming) = (self.now, false),
            Command::RaiseIncarnation => {
                self.incarnation += 1;
                self.accounts.values_mut().for_each(|a| (a.outstanding, a.closing) = (None, false));
            }
            Command::DigestMark { .. } | Command::PassTime | Command::NoteEvent { .. } => {}
            Command::SetSettings { settings } => {
                ensure((1..=365).contains(&settings.licenses_expiring_days), Reason::Invalid)?;
                ensure(settings.message_of_the_day.chars().count() <= 500, Reason::Invalid)?;
                ensure(!settings.message_of_the_day.contains('\t'), Reason::Invalid)?;
                settings.proxy_login.iter().try_for_each(|login| self.openable(login))?;
                self.lead = Some(settings.licenses_expiring_days);
                self.sealed.remove(&SealedPlace::ProxyLogin);
                self.sealed.extend(settings.proxy_login.iter().map(|login| (SealedPlace::ProxyLogin, login.clone())));
            }
            Command::AcceptClock { time } => {
                ensure(self.ahead > 0, Reason::State)?;
                let wall = self.now + self.ahead;
                ensure(wall.abs_diff(time.0) <= HOUR, Reason::Invalid)?;
                (self.now, self.expiry, self.resumed, self.ahead) = (wall, wall, wall, 0);
            }
            Command::PutMember { member } => {
                ensure(self.members.get(&member.node_id) != Some(&true), Reason::State)?;
                self.members.insert(member.node_id, false);
            }
            Command::RetireMember { node_id } => *self.members.get_mut(node_id).ok_or(Reason::NotFound)? = true,
            Command::RaiseAlert { alert } => {
                ensure(from_outside(&alert.key), Reason::Invalid)?;
                self.raised.entry(alert.key.clone()).or_insert(false);
            }
            Command::ClearAlert { key } => {
                ensure(from_outside(key), Reason::Invalid)?;
                self.raised.remove(key);
            }
            Command::AcknowledgeAlert { key } => match self.raised.get_mut(key) {
                Some(acknowledged) => *acknowledged = true,
                None => ensure(self.own_alerts().contains(key), Reason::NotFound)?,
            },
            Command::CreateUser { user } => self.create_user(user)?,
            Command::ChangeUser { name, change } => self.change_user(name, change)?,
            Command::DeleteUser { name } => self.delete_user(name)?,
            Command::BeginSession { id, user, .. } => self.begin_session(id, user)?,
            Command::TouchSession { id } => self.touch_session(id)?,
            Command::EndSession { id } => self.end_session(id),
            Command::CreateApiClient { id, account, role, .. } => self.create_client(id, *account, *role)?,
            Command::RevokeApiClient { id } => self.revoke_client(id)?,
            Command::EnrolTotp { name, seed } => self.enrol_totp(name, seed)?,
            Command::UseTotp { name, id, step } => self.use_totp(name, *id, *step)?,
            Command::ResetTotp { name } => self.reset_totp(name)?,
            Command::EndSessions { name } => self.sign_out(name)?,
            Command::SetPreferences { name, preferences } => self.set_preferences(name, preferences)?,
            Command::CreateAdminIdentity { name, role, key_hash, expires } => {
                self.create_identity(name, *role, *key_hash, expires.0)?;
            }
            Command::RevokeAdminIdentity { name } => self.revoke_identity(name)?,
            Command::LabelLicense { license, add, remove } => {
                ensure(self.licenses.contains_key(&license.0), Reason::NotFound)?;
                ensure(add.iter().all(|l| !l.is_empty() && !l.contains(',')), Reason::Invalid)?;
                let labels = self.labels.entry(license.0).or_default();
                labels.extend(add.iter().cloned());
                labels.retain(|l| !remove.contains(l));
            }
            Command::RequestAccount { name, smart_account, virtual_account, .. } => {
                return self.request_account(name, smart_account, virtual_account);
            }
            Command::ApproveAccount { account, keys } => {
                self.may_step(account.0, &[AccountStatus::Requested])?;
                self.openable(&keys.ca_key)?;
                self.openable(&keys.signer_key)?;
                self.step(account.0, &[AccountStatus::Requested], AccountStatus::Approved)?;
                self.sealed.insert(SealedPlace::AccountCa(*account), keys.ca_key.clone());
                self.sealed.insert(SealedPlace::AccountSigner(*account), keys.signer_key.clone());
            }
            Command::RejectAccount { account, .. } => {
                let from = [AccountStatus::Requested, AccountStatus::Approved];
                self.step(account.0, &from, AccountStatus::Rejected)?;
                self.unseal_account(*account);
            }
            Command::ActivateAccount { account, entitlements, .. } => {
                self.step(account.0, &[AccountStatus::Approved], AccountStatus::Active)?;
                self.accounts.get_mut(&account.0).unwrap().certified = true;
                self.entitle(account.0, entitlements);
            }
            Command::DeactivateAccount { account, .. } => {
                self.step(account.0, &[AccountStatus::Active], AccountStatus::Inactive)?;
            }
            Command::ReactivateAccount { account } => {
                let ends = self.accounts.get(&account.0).is_some_and(|a| a.closing || a.closed);
                ensure(!ends, Reason::State)?;
                self.step(account.0, &[AccountStatus::Inactive], AccountStatus::Active)?;
            }
            Command::DeleteAccount { account } => self.delete_account(account.0, false)?,
            Command::AbandonAccount { account } => self.delete_account(account.0, true)?,
            Command::CloseAccount { account } => return self.close_account(account.0),
            Command::CreateVirtualAccount { account, name } => {
                self.active(account.0)?;
                self.free_va_name(account.0, name)?;
                let id = self.id();
                self.vas.insert(id, (account.0, name.clone()));
                return Ok(Outcome::Created(id));
            }
            Command::RenameVirtualAccount { va, name } => {
                let (account, old) = self.vas.get(&va.0).cloned().ok_or(Reason::NotFound)?;
                if old != *name {
                    self.free_va_name(account, name)?;
                    self.vas.insert(va.0, (account, name.clone()));
                }
            }
            Command::DeleteVirtualAccount { va } => self.delete_va(va.0)?,
            Command::TransferLicense { license, from, to, quantity } => {
                self.transfer(license.0, from.0, to.0, *quantity)?;
            }
            Command::CreateToken { va, hash, sealed, expires_days, max_uses, export_controlled, .. } => {
                let account = self.vas.get(&va.0).ok_or(Reason::NotFound)?.0;
                self.active(account)?;
                self.openable(sealed)?;
                ensure((1..=365).contains(expires_days), Reason::Invalid)?;
                ensure(self.tokens.values().all(|t| t.hash != *hash), Reason::Exists)?;
                let expires = self.now + expires_days * DAY;
                let (max_uses, export) = (*max_uses, *export_controlled);
                let token = TokenModel { va: va.0, hash: *hash, expires, max_uses, uses: 0, export, revoked: false };
                let id = self.id();
                self.tokens.insert(id, token);
                self.sealed.insert(SealedPlace::Token(TokenId(id)), sealed.clone());
                return Ok(Outcome::Created(id));
            }
            Command::RevokeToken { token } => self.tokens.get_mut(&token.0).ok_or(Reason::NotFound)?.revoked = true,
            Command::BeginSync { account } => return self.begin_sync(account.0),
            Command::CompleteSync { account, seq, entitlements, signed, .. } => {
                self.outstanding(account.0, *seq)?;
                self.signed(account.0, signed.as_ref());
                self.entitle(account.0, entitlements);
                let account = self.accounts.get_mut(&account.0).unwrap();
                account.outstanding = None;
                account.failed = false;
                if account.closing {
                    account.due = None;
                }
                (account.closed, account.closing) = (account.closing, false);
            }
            Command::FailSync { account, seq, .. } => {
                self.outstanding(account.0, *seq)?;
                self.accounts.get_mut(&account.0).unwrap().failed = true;
            }
            Command::Register { .. } => return self.register(command),
            Command::WantServerCertificate { names, csr, key } => {
                self.openable(key)?;
                self.sealed.insert(SealedPlace::WantedCertificate, key.clone());
                self.wanted = Some((names.common_name.clone(), csr.clone()));
            }
            Command::SetBrowserCertificate { certificate } => {
                ensure(certificate.as_ref().is_none_or(|c| !c.key.0.is_empty()), Reason::Invalid)?;
                certificate.iter().try_for_each(|c| self.openable(&c.key))?;
                self.browser = certificate.as_ref().map(|c| c.not_after.0);
                self.sealed.remove(&SealedPlace::BrowserCertificate);
                self.sealed.extend(certificate.iter().map(|c| (SealedPlace::BrowserCertificate, c.key.clone())));
            }
            Command::WantAccountCertificate { account } => {
                let account = self.accounts.get_mut(&account.0).ok_or(Reason::NotFound)?;
                ensure(account.certified, Reason::State)?;
                account.certify = true;
            }
            // The random steps bring another chain each time.
            Command::CertifyAccount { account, ca_chain, .. } => {
                ensure(!ca_chain.is_empty(), Reason::Invalid)?;
                let account = self.accounts.get_mut(&account.0).ok_or(Reason::NotFound)?;
                ensure(account.certified, Reason::State)?;
                account.certify = false;
            }
            Command::BeginResealing { .. } | Command::Reseal { .. } | Command::EndResealing { .. } => {
                self.change_sealing(command)?;
            }
            Command::IssueRevocationList { number } => {
                ensure(*number <= self.list.0 + 1, Reason::Invalid)?;
                if *number == self.list.0 + 1 {
                    self.list = (*number, self.now, self.list.1);
                }
            }
            // Of a server that was not restored; see `restore.rs` for one that was.
            Command::Readmit { account, .. } => {
                self.active(account.0)?;
                return Err(Reason::InstanceUnknown);
            }
            Command::Numbered { instance, number, digest, action } => {
                return self.numbered(instance.0, *number, digest, action);
            }
            Command::RemoveInstance { instance } => {
                ensure(self.instances.contains_key(&instance.0), Reason::InstanceUnknown)?;
                self.remove(instance.0, RevocationReason::PrivilegeWithdrawn);
            }
            Command::TransferInstance { instance, to } => {
                let from = self.instances.get(&instance.0).ok_or(Reason::InstanceUnknown)?.va;
                let target = self.vas.get(&to.0).ok_or(Reason::NotFound)?.0;
                ensure(self.account_of(from) == target, Reason::Invalid)?;
                self.instances.get_mut(&instance.0).unwrap().va = to.0;
            }
            Command::SetSyncSchedule { account, schedule } => {
                let (day_exists, minute) = match *schedule {
                    Schedule::Off => (true, 0),
                    Schedule::Daily { minute } => (true, minute),
                    Schedule::Weekly { weekday, minute } => ((0..=6).contains(&weekday), minute),
                    Schedule::Monthly { day, minute } => ((1..=28).contains(&day), minute),
                };
                let account = self.accounts.get_mut(&account.0).ok_or(Reason::NotFound)?;
                ensure(day_exists && minute < 24 * 60, Reason::Invalid)?;
                account.schedule = *schedule;
            }
        }
        Ok(Outcome::Done)
    }

    fn request_account(&mut self, name: &str, smart: &str, virt: &str) -> Result<Outcome, Reason> {
        ensure(!name.is_empty() && !name.contains('/') && name.len() <= 128, Reason::Invalid)?;
        ensure(self.accounts.values().all(|a| a.name != name), Reason::Exists)?;
        let binding = (smart.to_owned(), virt.to_owned());
        let taken = |a: &AccountModel| a.status != AccountStatus::Rejected && a.binding == binding;
        ensure(!self.accounts.values().any(taken), Reason::Exists)?;
        let (id, default_va) = (self.id(), self.id());
        self.vas.insert(default_va, (id, "Default".into()));
        let account = AccountModel {
            name: name.to_owned(),
            binding,
            status: AccountStatus::Requested,
            default_va,
            seq: 0,
            sent: None,
            certified: false,
            certify: false,
            outstanding: None,
            closing: false,
            closed: false,
            due: None,
            failed: false,
            schedule: Schedule::default(),
        };
        self.accounts.insert(id, account);
        Ok(Outcome::Created(id))
    }

    fn may_step(&self, account: u64, from: &[AccountStatus]) -> Result<(), Reason> {
        let account = self.accounts.get(&account).ok_or(Reason::NotFound)?;
        ensure(from.contains(&account.status), Reason::State)
    }

    fn step(&mut self, account: u64, from: &[AccountStatus], to: AccountStatus) -> Result<(), Reason> {
        let account = self.accounts.get_mut(&account).ok_or(Reason::NotFound)?;
        ensure(from.contains(&account.status), Reason::State)?;
        account.status = to;
        Ok(())
    }

    fn active(&self, account: u64) -> Result<(), Reason> {
        let account = self.accounts.get(&account).ok_or(Reason::NotFound)?;
        ensure(account.status == AccountStatus::Active, Reason::AccountInactive)
    }

    fn free_va_name(&self, account: u64, name: &str) -> Result<(), Reason> {
        ensure(!name.is_empty() && !name.contains('/') && name.len() <= 128, Reason::Invalid)?;
        ensure(!self.vas.values().any(|(a, n)| *a == account && n == name), Reason::Exists)
    }

    fn delete_account(&mut self, id: u64, without_central: bool) -> Result<(), Reason> {
        let account = self.accounts.get(&id).ok_or(Reason::NotFound)?;
        let status = account.status;
        ensure(!matches!(status, AccountStatus::Active | AccountStatus::Approved), Reason::State)?;
        ensure(!without_central || status == AccountStatus::Inactive, Reason::State)?;
        ensure(self.instances.values().all(|i| self.account_of(i.va) != id), Reason::NotEmpty)?;
        ensure(without_central || status != AccountStatus::Inactive || account.closed, Reason::State)?;
        let vas: Vec<u64> = self.vas.iter().filter(|(_, v)| v.0 == id).map(|(va, _)| *va).collect();
        vas.into_iter().for_each(|va| self.forget_va(va));
        self.licenses.retain(|_, l| l.0 != id);
        self.covers.retain(|l, _| self.licenses.contains_key(l));
        self.people.account_gone(id);
        self.unseal_account(AccountId(id));
        self.accounts.remove(&id);
        Ok(())
    }

    fn delete_va(&mut self, va: u64) -> Result<(), Reason> {
        let account = self.vas.get(&va).ok_or(Reason::NotFound)?.0;
        ensure(self.accounts[&account].default_va != va, Reason::State)?;
        ensure(self.instances.values().all(|i| i.va != va), Reason::NotEmpty)?;
        let mut terms = self.terms.iter().filter(|(k, _)| k.0 == va).flat_map(|(_, t)| t.keys());
        ensure(terms.all(|(_, end, _)| end.is_some_and(|e| e <= self.expiry)), Reason::NotEmpty)?;
        self.forget_va(va);
        Ok(())
    }

    fn forget_va(&mut self, va: u64) {
        self.vas.remove(&va);
        self.terms.retain(|k, _| k.0 != va);
        self.seen.retain(|k, _| k.0 != va);
        let gone = self.tokens.iter().filter(|(_, t)| t.va == va).map(|(id, _)| SealedPlace::Token(TokenId(*id)));
        gone.for_each(|place| drop(self.sealed.remove(&place)));
        self.tokens.retain(|_, t| t.va != va);
        self.people.va_gone(va);
    }

    fn transfer(&mut self, license: u64, from: u64, to: u64, quantity: u64) -> Result<(), Reason> {
        let account = self.licenses.get(&license).ok_or(Reason::NotFound)?.0;
        let source = self.vas.get(&from).ok_or(Reason::NotFound)?.0;
        let target = self.vas.get(&to).ok_or(Reason::NotFound)?.0;
        ensure(source == account && target == account && from != to && quantity > 0, Reason::Invalid)?;
        ensure(self.purchased((from, license)) >= quantity, Reason::Limit)?;
        let mut left = quantity;
        let held = self.terms.get(&(from, license)).cloned().unwrap_or_default();
        for (key, count) in held {
            if key.0 <= self.expiry && key.1.is_none_or(|end| self.expiry < end) {
                let take = left.min(count);
                left -= take;
                *self.terms.get_mut(&(from, license)).unwrap().get_mut(&key).unwrap() -= take;
                *self.terms.entry((to, license)).or_default().entry(key).or_default() += take;
            }
        }
        self.terms.values_mut().for_each(|t| t.retain(|_, count| *count > 0));
        Ok(())
    }

    // ---- sealed secrets ----

    /// A secret under a key that is forgotten could not be opened.
    pub(super) fn openable(&self, secret: &Sealed) -> Result<(), Reason> {
        let Some((key, previous)) = self.sealing else { return Ok(()) };
        let id: SealingKeyId = secret.0[secret.0.len() - 8..].try_into().unwrap();
        ensure(id == key || Some(id) == previous, Reason::State)
    }

    /// The second factor is gone, and its seed with it.
    pub(super) fn unseal_totp(&mut self, totp: Option<(u64, bool, u64)>) {
        totp.map(|(id, ..)| self.sealed.remove(&SealedPlace::Totp(id)));
    }

    pub(super) fn seal_totp(&mut self, id: u64, seed: &Sealed) {
        self.sealed.insert(SealedPlace::Totp(id), seed.clone());
    }

    fn unseal_account(&mut self, account: AccountId) {
        self.sealed.remove(&SealedPlace::AccountCa(account));
        self.sealed.remove(&SealedPlace::AccountSigner(account));
    }

    fn change_sealing(&mut self, command: &Command) -> Result<(), Reason> {
        match command {
            Command::BeginResealing { key, previous } => match self.sealing {
                Some((current, _)) if current == *key => return Ok(()),
                Some((current, before)) if before.is_some() || current != *previous => return Err(Reason::State),
                _ => {
                    ensure(key != previous, Reason::Invalid)?;
                    self.sealing = Some((*key, Some(*previous)));
                }
            },
            Command::Reseal { secrets } => {
                secrets.iter().try_for_each(|secret| self.openable(&secret.new))?;
                for Resealed { place, old, new } in secrets {
                    if let Some(kept) = self.sealed.get_mut(place).filter(|kept| *kept == old) {
                        kept.clone_from(new);
                    }
                }
            }
            Command::EndResealing { key } => {
                let (current, _) = self.sealing.filter(|(current, _)| current == key).ok_or(Reason::State)?;
                let under = |secret: &Sealed| secret.0.ends_with(&current);
                ensure(self.sealing == Some((*key, None)) || self.sealed.values().all(under), Reason::State)?;
                self.sealing = Some((*key, None));
            }
            _ => unreachable!(),
        }
        Ok(())
    }

    // ---- synchronization ----

    fn begin_sync(&mut self, id: u64) -> Result<Outcome, Reason> {
        let status = self.accounts.get(&id).ok_or(Reason::NotFound)?.status;
        ensure(matches!(status, AccountStatus::Active | AccountStatus::Inactive), Reason::AccountInactive)?;
        ensure(!self.accounts[&id].closed, Reason::State)?;
        let instances = self.instances.values().filter(|i| self.account_of(i.va) == id).count() as u64;
        let mut usage: Frozen = BTreeMap::new();
        for key in self.pools().into_iter().filter(|k| self.account_of(k.0) == id) {
            let (in_use, borrowed) = (self.in_use(key), self.borrowed(key));
            if in_use > 0 || borrowed != 0 {
                let total = usage.entry(self.licenses[&key.1].1.clone()).or_default();
                *total = (total.0 + in_use, total.1 + borrowed);
            }
        }
        let account = self.accounts.get_mut(&id).unwrap();
        if account.outstanding.is_none() {
            account.seq += 1;
            account.outstanding = Some((account.seq, usage, instances));
            account.sent = self.wanted.as_ref().map(|(_, csr)| csr.clone());
        }
        Ok(Outcome::SyncBegun { seq: account.seq })
    }

    fn close_account(&mut self, id: u64) -> Result<Outcome, Reason> {
        let account = self.accounts.get(&id).ok_or(Reason::NotFound)?;
        ensure(account.status == AccountStatus::Inactive, Reason::State)?;
        ensure(self.instances.values().all(|i| self.account_of(i.va) != id), Reason::NotEmpty)?;
        if account.closed {
            return Ok(Outcome::Done);
        }
        ensure(account.outstanding.is_none() || account.closing, Reason::State)?;
        let begun = self.begin_sync(id)?;
        let account = self.accounts.get_mut(&id).unwrap();
        (account.closing, account.sent) = (true, None);
        Ok(begun)
    }

    /// Central has signed the request that was sent; another one may be wanted by now.
    fn signed(&mut self, account: u64, signed: Option<&SignedCertificate>) {
        let (Some(sent), Some(signed)) = (self.accounts[&account].sent.clone(), signed) else { return };
        if let Some((name, _)) = self.wanted.take_if(|(_, csr)| *csr == sent) {
            let key = self.sealed.remove(&SealedPlace::WantedCertificate).unwrap();
            self.sealed.insert(SealedPlace::ServerCertificate, key);
            self.current = Some((name, signed.not_after.0));
        }
    }

    /// How many instances the outstanding synchronization tells of, if it is `seq`.
    fn outstanding(&self, id: u64, seq: u64) -> Result<u64, Reason> {
        let account = self.accounts.get(&id).ok_or(Reason::NotFound)?;
        ensure(seq <= account.seq, Reason::Invalid)?;
        match &account.outstanding {
            Some((outstanding, _, instances)) if *outstanding == seq => Ok(*instances),
            _ => Err(Reason::StaleRequest { current: account.seq }),
        }
    }

    fn entitle(&mut self, account: u64, entitlements: &[Entitlement]) {
        for e in entitlements {
            let known = self.licenses.iter().find(|(_, l)| l.0 == account && l.1 == e.tag).map(|(id, _)| *id);
            let id = known.unwrap_or_else(|| self.id());
            self.licenses.insert(id, (account, e.tag.clone(), e.name.clone(), e.export_controlled));
            self.covers.insert(id, e.covered_by.clone());
        }
        let default = self.accounts[&account].default_va;
        let licenses: Vec<_> =
            self.licenses.iter().filter(|(_, l)| l.0 == account).map(|(id, l)| (*id, l.1.clone())).collect();
        for (license, tag) in licenses {
            let mut rest = Terms::new();
            for term in entitlements.iter().filter(|e| e.tag == tag).flat_map(|e| &e.terms) {
                *rest.entry((term.start.0, term.end.map(|e| e.0), term.billing)).or_default() += term.quantity;
            }
            let others: Vec<u64> =
                self.vas.iter().filter(|(va, v)| v.0 == account && **va != default).map(|(va, _)| *va).collect();
            let mut held: Vec<Terms> =
                others.iter().map(|va| self.terms.remove(&(*va, license)).unwrap_or_default()).collect();
            for exact in [true, false] {
                for (va, held) in others.iter().zip(&mut held) {
                    for (old, wanted) in held.iter_mut() {
                        for (new, available) in rest.iter_mut() {
                            if new.0 == old.0 && new.2 == old.2 && (!exact || new.1 == old.1) {
                                let take = (*wanted).min(*available);
                                *wanted -= take;
                                *available -= take;
                                *self.terms.entry((*va, license)).or_default().entry(*new).or_default() += take;
                            }
                        }
                    }
                }
            }
            self.terms.insert((default, license), rest);
        }
        self.terms.values_mut().for_each(|t| t.retain(|_, count| *count > 0));
        self.accounts.get_mut(&account).unwrap().due = Some(self.now + 30 * DAY);
    }
}

fn from_outside(key: &AlertKey) -> bool {
    match key.kind {
        AlertKind::ClusterDegraded | AlertKind::WitnessLost | AlertKind::DiskSpace => true,
        AlertKind::ClockSkew => key.source != "server clock",
        _ => false,
    }
}

fn release_day(instance: &InstanceModel) -> u64 {
    (instance.contact + 180 * DAY) / DAY + 1
}

fn ensure(holds: bool, otherwise: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(otherwise) }
}
