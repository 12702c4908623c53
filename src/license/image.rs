//! The state as records: how images and snapshots see it, and how it is rebuilt with its indexes.

use super::apply::Faults;
use super::state::{Index, State};
use super::*;
use imbl::{OrdMap, OrdSet};
use std::ops::Range;
use std::sync::Arc;

impl State {
    /// The record under `key`, if it exists.
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        Some(match key {
            RecordKey::Meta => Record::Meta(self.meta.clone()),
            RecordKey::Settings => Record::Settings((*self.settings).clone()),
            RecordKey::Account(id) => Record::Account(self.account(*id)?.clone()),
            RecordKey::VirtualAccount(id) => Record::VirtualAccount(self.virtual_account(*id)?.clone()),
            RecordKey::License(id) => Record::License(self.license(*id)?.clone()),
            RecordKey::Pool(va, license) => Record::Pool(self.pool(*va, *license)?.clone()),
            RecordKey::Token(id) => Record::Token(self.token(*id)?.clone()),
            RecordKey::Instance(id) => Record::Instance(self.instance(*id)?.clone()),
            RecordKey::Events(block) => self.event_block(*block)?,
            RecordKey::Alert(key) => Record::Alert(self.alert(key)?.clone()),
            RecordKey::User(name) => Record::User(self.user(name)?.clone()),
            RecordKey::Member(id) => Record::Member(self.member(*id)?.clone()),
            RecordKey::RoleChange(at, term) => Record::RoleChange((**self.role_changes.get(&(*at, *term))?).clone()),
            RecordKey::Request(id) => Record::Request((**self.requests.get(id)?).clone()),
            RecordKey::Session(id) => Record::Session((**self.sessions.get(id)?).clone()),
            RecordKey::ApiClient(id) => Record::ApiClient(self.api_client(id)?.clone()),
            RecordKey::Audit(block) => self.audit_block(*block)?,
            RecordKey::Readmitted(id) => Record::Readmitted(*self.readmitted.get(id)?),
            RecordKey::ServerCertificate => self.server_certificate_record()?,
            RecordKey::PastAlert(place) => Record::PastAlert(self.past_alert_at(*place)?.clone()),
            RecordKey::Revoked(day, block) => Record::Revoked((**self.revoked.get(&(*day, *block))?).clone()),
            RecordKey::RevocationList => self.revocation_list_record()?,
            RecordKey::Sealing => Record::Sealing(self.sealing?),
            RecordKey::BrowserCertificate => Record::BrowserCertificate(self.browser_certificate()?.clone()),
            RecordKey::AdminIdentity(name) => Record::AdminIdentity(self.admin_identity(name)?.clone()),
            RecordKey::Usage(va, license) => Record::Usage((**self.usage.get(&(*va, *license))?).clone()),
        })
    }

    /// The cleared alert in this place of the ring.
    fn past_alert_at(&self, place: u64) -> Option<&PastAlert> {
        let last = self.meta.last_past_alert;
        let turn = last / MAX_PAST_ALERTS * MAX_PAST_ALERTS + place;
        let seq = if turn <= last { turn } else { turn.checked_sub(MAX_PAST_ALERTS)? };
        self.past_alerts.get(&seq).map(|alert| &**alert)
    }

    /// The events in one block of the ring, of this turn of the ring and of the one before, oldest first.
    fn event_block(&self, block: u64) -> Option<Record> {
        let places = block_places(self.meta.last_event, block, MAX_EVENTS, EVENT_BLOCK);
        let events = places.flat_map(|places| self.events.range(places));
        let events: Vec<Event> = events.map(|(_, event)| (**event).clone()).collect();
        (!events.is_empty()).then_some(Record::Events(events))
    }

    /// As [`Self::event_block`], of the audit entries.
    fn audit_block(&self, block: u64) -> Option<Record> {
        let places = block_places(self.meta.last_audit, block, MAX_AUDIT, AUDIT_BLOCK);
        let entries = places.flat_map(|places| self.audit.range(places));
        let entries: Vec<AuditEntry> = entries.map(|(_, entry)| (**entry).clone()).collect();
        (!entries.is_empty()).then_some(Record::Audit(entries))
    }

    /// There is one from the first request on.
    fn server_certificate_record(&self) -> Option<Record> {
        let certificate = &*self.server_certificate;
        (*certificate != ServerCertificate::default()).then(|| Record::ServerCertificate(certificate.clone()))
    }

    /// There is one from the first list on.
    fn revocation_list_record(&self) -> Option<Record> {
        (self.revocation_list.number > 0).then_some(Record::RevocationList(self.revocation_list))
    }

    /// All records in key order.
    pub fn records(&self) -> impl Iterator<Item = (RecordKey, Record)> + Send + '_ {
        let head = [Record::Meta(self.meta.clone()), Record::Settings((*self.settings).clone())];
        head.into_iter()
            .chain(self.accounts.values().map(|r| Record::Account((**r).clone())))
            .chain(self.virtual_accounts.values().map(|r| Record::VirtualAccount((**r).clone())))
            .chain(self.licenses.values().map(|r| Record::License((**r).clone())))
            .chain(self.pools.values().map(|r| Record::Pool((**r).clone())))
            .chain(self.tokens.values().map(|r| Record::Token((**r).clone())))
            .chain(self.instances.values().map(|r| Record::Instance((**r).clone())))
            .chain((0..MAX_EVENTS / EVENT_BLOCK).filter_map(|block| self.event_block(block)))
            .chain(self.alerts.values().map(|r| Record::Alert((**r).clone())))
            .chain(self.users.values().map(|r| Record::User((**r).clone())))
            .chain(self.members.values().map(|r| Record::Member((**r).clone())))
            .chain(self.role_changes.values().map(|r| Record::RoleChange((**r).clone())))
            .chain(self.requests.values().map(|r| Record::Request((**r).clone())))
            .chain(self.sessions.values().map(|r| Record::Session((**r).clone())))
            .chain(self.api_clients.values().map(|r| Record::ApiClient((**r).clone())))
            .chain((0..MAX_AUDIT / AUDIT_BLOCK).filter_map(|block| self.audit_block(block)))
            .chain(self.readmitted.iter().map(|id| Record::Readmitted(*id)))
            .chain(self.server_certificate_record())
            .chain((0..MAX_PAST_ALERTS).filter_map(|place| Some(Record::PastAlert(self.past_alert_at(place)?.clone()))))
            .chain(self.revoked.values().map(|r| Record::Revoked((**r).clone())))
            .chain(self.revocation_list_record())
            .chain(self.browser_certificate().map(|r| Record::BrowserCertificate(r.clone())))
            .chain(self.sealing.map(Record::Sealing))
            .chain(self.admin_identities.values().map(|r| Record::AdminIdentity((**r).clone())))
            .chain(self.usage.values().map(|r| Record::Usage((**r).clone())))
            .map(|r| (r.key(), r))
    }

    /// Rebuilds a state, indexes included, from records in any order.
    pub fn from_records(records: impl IntoIterator<Item = (RecordKey, Record)>) -> Self {
        let mut state = Self::default();
        let mut last: Option<Arc<Instance>> = None;
        for (_, record) in records {
            match record {
                Record::Meta(r) => state.meta = r,
                Record::Settings(r) => state.settings = Arc::new(r),
                Record::Account(r) => drop(state.accounts.insert(r.id, Arc::new(r))),
                Record::VirtualAccount(r) => drop(state.virtual_accounts.insert(r.id, Arc::new(r))),
                Record::License(r) => drop(state.licenses.insert(r.id, Arc::new(r))),
                Record::Pool(r) => drop(state.pools.insert((r.va, r.license), Arc::new(r))),
                Record::Token(r) => drop(state.tokens.insert(r.id, Arc::new(r))),
                Record::Instance(mut r) => {
                    if let Some(last) = &last {
                        r.share_texts(last);
                    }
                    let r = Arc::new(r);
                    last = Some(r.clone());
                    state.instances.insert(r.id, r);
                }
                Record::Events(r) => state.events.extend(r.into_iter().map(|event| (event.seq.0, Arc::new(event)))),
                Record::Alert(r) => drop(state.alerts.insert(r.key.clone(), Arc::new(r))),
                Record::User(r) => drop(state.users.insert(r.name.clone(), Arc::new(r))),
                Record::Member(r) => drop(state.members.insert(r.node_id, Arc::new(r))),
                Record::RoleChange(r) => drop(state.role_changes.insert((r.at, r.term), Arc::new(r))),
                Record::Request(r) => drop(state.requests.insert(r.id, Arc::new(r))),
                Record::Session(r) => drop(state.sessions.insert(r.id, Arc::new(r))),
                Record::ApiClient(r) => drop(state.api_clients.insert(r.id.clone(), Arc::new(r))),
                Record::Audit(r) => state.audit.extend(r.into_iter().map(|entry| (entry.seq, Arc::new(entry)))),
                Record::Readmitted(id) => drop(state.readmitted.insert(id)),
                Record::ServerCertificate(r) => state.server_certificate = Arc::new(r),
                Record::PastAlert(r) => drop(state.past_alerts.insert(r.seq, Arc::new(r))),
                Record::Revoked(r) => drop(state.revoked.insert((r.day, r.block), Arc::new(r))),
                Record::RevocationList(r) => state.revocation_list = r,
                Record::Sealing(r) => state.sealing = Some(r),
                Record::BrowserCertificate(r) => state.browser_certificate = Some(Arc::new(r)),
                Record::AdminIdentity(r) => drop(state.admin_identities.insert(r.name.clone(), Arc::new(r))),
                Record::Usage(r) => drop(state.usage.insert((r.va, r.license), Arc::new(r))),
            }
        }
        state.index = Index::of(&state);
        state
    }
}

/// The numbers in one block of a ring, of this turn of it and of the one before.
fn block_places(last: u64, block: u64, ring: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let turn = last / ring * ring;
    let starts = turn.checked_sub(ring).into_iter().chain([turn]).map(move |turn| turn + block * size);
    starts.map(move |start| start..start + size)
}

impl Instance {
    /// Uses the other instance's copy of equal texts: a fleet of one product holds its name once.
    pub(super) fn share_texts(&mut self, other: &Self) {
        if self.product_type == other.product_type {
            self.product_type = other.product_type.clone();
        }
        if self.software_version == other.software_version {
            self.software_version = other.software_version.clone();
        }
    }
}

impl Index {
    /// The indexes of the records in `state`.
    pub fn of(state: &State) -> Self {
        let mut index = Self::default();
        for account in state.accounts() {
            index.add_account(account);
        }
        for va in state.virtual_accounts.values() {
            index.add_virtual_account(va);
        }
        for license in state.licenses.values() {
            index.licenses.entry(license.account).or_default().insert(license.tag.clone(), license.id);
        }
        for account in state.accounts.keys() {
            let ids = index.licenses.get(account).into_iter().flat_map(|tags| tags.values());
            let licenses = ids.filter_map(|id| state.license(*id)).collect::<Vec<_>>();
            index.groups.extend(substitution::groups(licenses.into_iter()));
        }
        for pool in state.pools.values() {
            let boundary = pool.next_boundary(state.settings.licenses_expiring());
            index.move_boundary(pool.va, pool.license, None, boundary);
        }
        for token in state.tokens.values() {
            index.add_token(token);
        }
        for instance in state.instances.values() {
            // A record without its virtual account is damage: check() reports it.
            if let Some(va) = state.virtual_account(instance.va) {
                index.add_instance(va.account, instance);
                index.note_faults(instance, state.meta.marks.faults(instance));
            }
        }
        for request in state.requests.values() {
            index.requests.insert((request.at, request.id));
        }
        for session in state.sessions.values() {
            index.add_session(session);
        }
        index
    }

    pub fn add_account(&mut self, account: &Account) {
        self.accounts.insert(account.name.clone(), account.id);
        self.syncs_due.extend(account.sync.watched().map(|due| (due, account.id)));
    }
    pub fn remove_account(&mut self, account: &Account) {
        self.accounts.remove(&account.name);
        self.virtual_accounts.remove(&account.id);
        self.licenses.remove(&account.id);
        self.udis.remove(&account.id);
        self.move_sync(account.id, account.sync.watched(), None);
    }
    /// The moment an account's synchronization becomes overdue has changed.
    pub fn move_sync(&mut self, account: AccountId, old: Option<Millis>, new: Option<Millis>) {
        if old != new {
            old.map(|due| self.syncs_due.remove(&(due, account)));
            self.syncs_due.extend(new.map(|due| (due, account)));
        }
    }

    pub fn add_virtual_account(&mut self, va: &VirtualAccount) {
        self.virtual_accounts.entry(va.account).or_default().insert(va.name.clone(), va.id);
    }
    pub fn remove_virtual_account(&mut self, va: &VirtualAccount) {
        if let Some(names) = self.virtual_accounts.get_mut(&va.account) {
            names.remove(&va.name);
        }
    }

    /// The next moment at which a pool's terms change has moved.
    pub fn move_boundary(
        &mut self,
        va: VirtualAccountId,
        license: LicenseId,
        old: Option<Millis>,
        new: Option<Millis>,
    ) {
        if old != new {
            old.map(|at| self.boundaries.remove(&(at, va, license)));
            self.boundaries.extend(new.map(|at| (at, va, license)));
        }
    }

    pub fn add_session(&mut self, session: &Session) {
        self.sessions_of.insert((session.user.clone(), session.id));
        self.session_ends.insert((session.ends(), session.id));
    }
    pub fn remove_session(&mut self, session: &Session) {
        self.sessions_of.remove(&(session.user.clone(), session.id));
        self.session_ends.remove(&(session.ends(), session.id));
    }

    pub fn add_token(&mut self, token: &Token) {
        self.tokens.insert(token.hash, token.id);
        self.tokens_of.insert((token.va, token.id));
    }
    pub fn remove_token(&mut self, token: &Token) {
        self.tokens.remove(&token.hash);
        self.tokens_of.remove(&(token.va, token.id));
    }

    pub fn add_instance(&mut self, account: AccountId, instance: &Instance) {
        let udis = self.udis.entry(account).or_default();
        udis.extend(instance.udis().map(|udi| (udi.clone(), instance.id)));
        self.instances_of.insert((instance.va, instance.id));
        self.lapses.insert((instance.lapse_day(), instance.id));
        self.certificate_ends.insert((instance.certificate_day(), instance.id));
    }
    /// An instance goes on in the same virtual account.
    pub fn move_instance(&mut self, old: &Instance, new: &Instance) {
        let lapse = (old.lapse_day(), new.lapse_day(), &mut self.lapses);
        let certificate = (old.certificate_day(), new.certificate_day(), &mut self.certificate_ends);
        for (before, after, days) in [lapse, certificate] {
            if before != after {
                days.remove(&(before, old.id));
                days.insert((after, new.id));
            }
        }
    }
    pub fn remove_instance(&mut self, account: AccountId, instance: &Instance) {
        if let Some(udis) = self.udis.get_mut(&account) {
            for udi in instance.udis() {
                udis.remove(&**udi);
            }
            if udis.is_empty() {
                self.udis.remove(&account);
            }
        }
        self.instances_of.remove(&(instance.va, instance.id));
        self.lapses.remove(&(instance.lapse_day(), instance.id));
        self.certificate_ends.remove(&(instance.certificate_day(), instance.id));
    }

    /// Notes what an instance has failed to do.
    pub fn note_faults(&mut self, instance: &Instance, faults: Faults) {
        if faults.connect {
            self.silent.entry(instance.va).or_default().insert((instance.lapse_day(), instance.id));
        }
        if faults.renew {
            self.unrenewed.entry(instance.va).or_default().insert((instance.lost_day(), instance.id));
        }
    }
    pub fn forget_faults(&mut self, instance: &Instance) {
        let (released, lost) = (instance.lapse_day(), instance.lost_day());
        for (sets, day) in [(&mut self.silent, released), (&mut self.unrenewed, lost)] {
            let Some(set) = sets.get_mut(&instance.va) else { continue };
            set.remove(&(day, instance.id));
            if set.is_empty() {
                sets.remove(&instance.va);
            }
        }
    }
    /// The instances noted as failed in this way, by virtual account.
    pub const fn failed(&self, kind: AlertKind) -> &OrdMap<VirtualAccountId, OrdSet<(u64, InstanceId)>> {
        match kind {
            AlertKind::FailedToConnect => &self.silent,
            _ => &self.unrenewed,
        }
    }
}
