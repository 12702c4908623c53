//! The state and what can be asked of it.

use super::*;
use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys of the records that an apply touched (changed, added or removed).
pub type Changes = BTreeSet<RecordKey>;

/// Everything the cluster agrees on. Cloning is cheap (persistent maps), so readers and snapshots take a clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(super) meta: Meta,
    pub(super) settings: Arc<Settings>,
    pub(super) accounts: OrdMap<AccountId, Arc<Account>>,
    pub(super) virtual_accounts: OrdMap<VirtualAccountId, Arc<VirtualAccount>>,
    pub(super) licenses: OrdMap<LicenseId, Arc<License>>,
    pub(super) pools: OrdMap<(VirtualAccountId, LicenseId), Arc<Pool>>,
    pub(super) tokens: OrdMap<TokenId, Arc<Token>>,
    pub(super) instances: OrdMap<InstanceId, Arc<Instance>>,
    pub(super) events: OrdMap<u64, Arc<Event>>,
    pub(super) alerts: OrdMap<AlertKey, Arc<Alert>>,
    pub(super) users: OrdMap<String, Arc<User>>,
    pub(super) members: OrdMap<u64, Arc<Member>>,
    pub(super) role_changes: OrdMap<(Millis, u64), Arc<RoleChange>>,
    pub(super) requests: OrdMap<u128, Arc<RequestRecord>>,
    pub(super) sessions: OrdMap<Digest32, Arc<Session>>,
    pub(super) api_clients: OrdMap<String, Arc<ApiClient>>,
    pub(super) audit: OrdMap<u64, Arc<AuditEntry>>,
    pub(super) past_alerts: OrdMap<u64, Arc<PastAlert>>,
    /// Instances of the original whose products are others here ([`Record::Readmitted`]).
    pub(super) readmitted: OrdSet<InstanceId>,
    pub(super) server_certificate: Arc<ServerCertificate>,
    /// By the day in which they end, and the block.
    pub(super) revoked: OrdMap<(u64, u64), Arc<RevokedBlock>>,
    pub(super) revocation_list: RevocationList,
    pub(super) browser_certificate: Option<Arc<BrowserCertificate>>,
    pub(super) sealing: Option<Sealing>,
    pub(super) admin_identities: OrdMap<String, Arc<AdminIdentity>>,
    pub(super) usage: OrdMap<(VirtualAccountId, LicenseId), Arc<UsageHistory>>,
    pub(super) index: Index,
}

/// Ways to find records; all of it follows from the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub accounts: OrdMap<String, AccountId>,
    pub virtual_accounts: OrdMap<AccountId, OrdMap<String, VirtualAccountId>>,
    pub licenses: OrdMap<AccountId, OrdMap<String, LicenseId>>,
    pub tokens: OrdMap<Digest32, TokenId>,
    pub tokens_of: OrdSet<(VirtualAccountId, TokenId)>,
    pub udis: OrdMap<AccountId, OrdMap<Arc<Udi>, InstanceId>>,
    pub instances_of: OrdSet<(VirtualAccountId, InstanceId)>,
    /// Instances by the day on which they are released unless heard of: days, so that an entry moves once a day.
    pub lapses: OrdSet<(u64, InstanceId)>,
    /// Instances by the day on which their ID certificate ends.
    pub certificate_ends: OrdSet<(u64, InstanceId)>,
    /// Instances that are noted as failed to connect, and to renew, by the day on which they are lost.
    pub silent: OrdMap<VirtualAccountId, OrdSet<(u64, InstanceId)>>,
    pub unrenewed: OrdMap<VirtualAccountId, OrdSet<(u64, InstanceId)>>,
    /// Pools by the next moment at which something follows from their terms ([`Pool::next_boundary`]).
    pub boundaries: OrdSet<(Millis, VirtualAccountId, LicenseId)>,
    /// Accounts by the moment their synchronization becomes overdue; those already marked overdue are not here.
    pub syncs_due: OrdSet<(Millis, AccountId)>,
    pub requests: OrdSet<(Millis, u128)>,
    /// By license, those that substitution rules connect with it.
    pub groups: OrdMap<LicenseId, Arc<[LicenseId]>>,
    pub sessions_of: OrdSet<(String, Digest32)>,
    /// Sessions by the moment they end at the latest.
    pub session_ends: OrdSet<(Millis, Digest32)>,
}

/// How an instance differs between two states.
#[derive(Debug)]
pub enum InstanceChange<'a> {
    Added(&'a Instance),
    Changed { old: &'a Instance, new: &'a Instance },
    Removed(&'a Instance),
}

impl State {
    pub fn meta(&self) -> &Meta {
        &self.meta
    }
    /// Takes note of the batch (term, node, number) whose commands come next. False, and nothing noted, for one that
    /// does not come after the last: it is a replay and must not be applied.
    pub fn admit_batch(&mut self, batch: (u64, u64, u64), changes: &mut Changes) -> bool {
        if batch <= self.meta.last_batch {
            return false;
        }
        if batch.0 > self.meta.last_batch.0 && !std::mem::replace(&mut self.meta.resuming, true) {
            self.meta.note_absence(self.meta.now);
        }
        self.meta.last_batch = batch;
        changes.insert(RecordKey::Meta);
        true
    }
    /// Whether a product with a valid ID certificate of this instance, which is not known here, may be one that
    /// registered after the backup.
    #[must_use]
    pub fn readmits(&self, former: InstanceId) -> bool {
        let lost = self.meta.lost_ids.iter().any(|(after, upto)| (after + 1..=*upto).contains(&former.0));
        lost && !self.readmitted.contains(&former) && self.instance(former).is_none()
    }
    /// The newest stamp applied: what is newer is not in this state.
    pub fn now(&self) -> Millis {
        self.meta.now
    }
    /// State time at a moment when the wall clocks of the nodes say `wall`: what they are doubted to be ahead is left out.
    #[must_use]
    pub fn time(&self, wall: Millis) -> Millis {
        Millis(wall.0.saturating_sub(self.meta.clock_ahead)).max(self.meta.now)
    }
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    pub fn is_initialized(&self) -> bool {
        !self.meta.server_uid.is_empty()
    }

    pub fn accounts(&self) -> impl Iterator<Item = &Account> + Send + '_ {
        self.accounts.values().map(|a| &**a)
    }
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id).map(|a| &**a)
    }
    pub fn account_by_name(&self, name: &str) -> Option<&Account> {
        self.account(*self.index.accounts.get(name)?)
    }

    /// The virtual accounts of an account, by name.
    pub fn virtual_accounts(&self, account: AccountId) -> impl Iterator<Item = &VirtualAccount> + Send + '_ {
        let names = self.index.virtual_accounts.get(&account);
        names.into_iter().flat_map(|n| n.values()).filter_map(|id| self.virtual_account(*id))
    }
    pub fn virtual_account(&self, id: VirtualAccountId) -> Option<&VirtualAccount> {
        self.virtual_accounts.get(&id).map(|v| &**v)
    }
    pub fn virtual_account_by_name(&self, account: AccountId, name: &str) -> Option<&VirtualAccount> {
        self.virtual_account(*self.index.virtual_accounts.get(&account)?.get(name)?)
    }

    /// The licenses known to an account, by tag.
    pub fn licenses(&self, account: AccountId) -> impl Iterator<Item = &License> + Send + '_ {
        let tags = self.index.licenses.get(&account);
        tags.into_iter().flat_map(|t| t.values()).filter_map(|id| self.license(*id))
    }
    pub fn license(&self, id: LicenseId) -> Option<&License> {
        self.licenses.get(&id).map(|l| &**l)
    }
    pub fn license_by_tag(&self, account: AccountId, tag: &str) -> Option<&License> {
        self.license(*self.index.licenses.get(&account)?.get(tag)?)
    }

    pub fn pool(&self, va: VirtualAccountId, license: LicenseId) -> Option<&Pool> {
        self.pools.get(&(va, license)).map(|p| &**p)
    }
    /// The pools of a virtual account that hold or use anything, by license id.
    pub fn pools(&self, va: VirtualAccountId) -> impl Iterator<Item = &Pool> + Send + '_ {
        self.pools.range((va, LicenseId(0))..=(va, LicenseId(u64::MAX))).map(|(_, p)| &**p)
    }

    /// The tokens of a virtual account, oldest first.
    pub fn tokens(&self, va: VirtualAccountId) -> impl Iterator<Item = &Token> + Send + '_ {
        let ids = self.index.tokens_of.range((va, TokenId(0))..=(va, TokenId(u64::MAX)));
        ids.filter_map(|(_, id)| self.token(*id))
    }
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(&id).map(|t| &**t)
    }
    pub fn token_by_hash(&self, hash: &Digest32) -> Option<&Token> {
        self.token(*self.index.tokens.get(hash)?)
    }

    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(&id).map(|i| &**i)
    }
    /// The instance that has this device, be it a further one.
    pub fn instance_by_udi(&self, account: AccountId, udi: &Udi) -> Option<&Instance> {
        self.instance(*self.index.udis.get(&account)?.get(udi)?)
    }
    pub fn instance_count(&self) -> u64 {
        self.instances.len() as u64
    }
    /// All instances in id order, from `after` exclusive.
    pub fn instances(&self, after: Option<InstanceId>) -> impl Iterator<Item = &Instance> + Send + '_ {
        let first = after.map_or(0, |a| a.0.saturating_add(1));
        self.instances.range(InstanceId(first)..).map(|(_, i)| &**i)
    }
    /// What became of the instances since `before`, in id order. It costs what differs, if one state came of the other.
    pub fn instance_changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = InstanceChange<'a>> {
        before.instances.diff(&self.instances).map(|item| match item {
            DiffItem::Add(_, new) => InstanceChange::Added(new),
            DiffItem::Update { old, new } => InstanceChange::Changed { old: old.1, new: new.1 },
            DiffItem::Remove(_, old) => InstanceChange::Removed(old),
        })
    }
    /// The instances of one virtual account in id order, from `after` exclusive.
    pub fn instances_of(
        &self,
        va: VirtualAccountId,
        after: Option<InstanceId>,
    ) -> impl Iterator<Item = &Instance> + Send + '_ {
        let first = after.map_or(0, |a| a.0.saturating_add(1));
        let ids = self.index.instances_of.range((va, InstanceId(first))..=(va, InstanceId(u64::MAX)));
        ids.filter_map(|(_, id)| self.instance(*id))
    }

    /// Until when the instance's authorization is in force; None before the first one. One that ended while no node
    /// served holds until a day after service resumed.
    #[must_use]
    pub fn in_force_until(&self, instance: &Instance) -> Option<Millis> {
        let until = instance.authorized_until?;
        let ended_meanwhile = until >= self.meta.left_at;
        Some(if ended_meanwhile { until.max(self.meta.resumed_at.plus(RESUME_GRACE)) } else { until })
    }

    /// What the instance's licenses stand at now (for pages and `instance show`); None for an unknown instance.
    ///
    /// `at` is when it was last granted, or the registration before the first authorization.
    pub fn authorization(&self, id: InstanceId) -> Option<Authorization> {
        let instance = self.instance(id)?;
        let at = match instance.authorized_until {
            Some(until) => Millis(until.0.saturating_sub(AUTHORIZATION_LIFE)),
            None => instance.registered,
        };
        let (uncovered, enforce_from) = self.compliance(instance);
        let granted = self.authorization_of(instance, at, uncovered, enforce_from);
        Some(Authorization { expires: self.in_force_until(instance).unwrap_or(granted.expires), ..granted })
    }

    /// Bit n set: the nth license of the instance is not covered; and from when the product may enforce.
    pub(super) fn compliance(&self, instance: &Instance) -> (u64, Option<Millis>) {
        let mut uncovered = 0;
        let mut since: Option<Millis> = None;
        for (n, (license, _)) in instance.usage.iter().enumerate() {
            if let Some(out) = self.pool(instance.va, *license).and_then(|p| p.out_of_compliance_since) {
                uncovered |= 1 << n;
                since = Some(since.map_or(out, |s| s.min(out)));
            }
        }
        (uncovered, since.map(|s| s.plus(ENFORCE_AFTER)))
    }

    /// The authorization that these compact facts stand for.
    pub(super) fn authorization_of(
        &self,
        instance: &Instance,
        at: Millis,
        uncovered: u64,
        enforce_from: Option<Millis>,
    ) -> Authorization {
        let licenses = instance.usage.iter().enumerate().filter_map(|(n, (id, count))| {
            let license = self.license(*id)?;
            let in_compliance = uncovered & (1 << n) == 0;
            Some(LicenseStatus { tag: license.tag.clone(), name: license.name.clone(), count: *count, in_compliance })
        });
        let renew = if uncovered == 0 { RENEW_IN_COMPLIANCE } else { RENEW_OUT_OF_COMPLIANCE };
        Authorization {
            instance: instance.id,
            at,
            licenses: licenses.collect(),
            next_contact: at.plus(renew),
            expires: at.plus(AUTHORIZATION_LIFE),
            enforce_from,
            export_controlled: instance.export_controlled,
        }
    }

    /// Events newer than `after`, oldest first.
    pub fn events(&self, after: u64) -> impl Iterator<Item = &Event> + Send + '_ {
        self.events.range(after.saturating_add(1)..).map(|(_, e)| &**e)
    }
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> + Send + '_ {
        self.alerts.values().map(|a| &**a)
    }
    pub fn alert(&self, key: &AlertKey) -> Option<&Alert> {
        self.alerts.get(key).map(|a| &**a)
    }
    /// Cleared alerts newer than `after`, oldest first.
    pub fn past_alerts(&self, after: u64) -> impl DoubleEndedIterator<Item = &PastAlert> + Send + '_ {
        self.past_alerts.range(after.saturating_add(1)..).map(|(_, a)| &**a)
    }
    pub fn users(&self) -> impl Iterator<Item = &User> + Send + '_ {
        self.users.values().map(|u| &**u)
    }
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|u| &**u)
    }
    /// The session with this id, if it has not ended by `now`.
    pub fn session(&self, id: &Digest32, now: Millis) -> Option<&Session> {
        self.sessions.get(id).map(|s| &**s).filter(|s| s.live(now))
    }
    /// The sessions of a user that have not ended by `now`.
    pub fn sessions_of(&self, user: &str, now: Millis) -> impl Iterator<Item = &Session> + Send + '_ {
        let first = (user.to_owned(), [0; 32]);
        let last = (user.to_owned(), [u8::MAX; 32]);
        self.index.sessions_of.range(first..=last).filter_map(move |(_, id)| self.session(id, now))
    }
    pub fn api_client(&self, id: &str) -> Option<&ApiClient> {
        self.api_clients.get(id).map(|c| &**c)
    }
    /// The clients of an account; None: those of the server.
    pub fn api_clients(&self, account: Option<AccountId>) -> impl Iterator<Item = &ApiClient> + Send + '_ {
        self.api_clients.values().map(|c| &**c).filter(move |c| c.account == account)
    }
    pub fn admin_identity(&self, name: &str) -> Option<&AdminIdentity> {
        self.admin_identities.get(name).map(|i| &**i)
    }
    pub fn admin_identities(&self) -> impl Iterator<Item = &AdminIdentity> + Send + '_ {
        self.admin_identities.values().map(|i| &**i)
    }
    /// Audit entries newer than `after`, oldest first.
    pub fn audit(&self, after: u64) -> impl Iterator<Item = &AuditEntry> + Send + '_ {
        self.audit.range(after.saturating_add(1)..).map(|(_, e)| &**e)
    }
    pub fn members(&self) -> impl Iterator<Item = &Member> + Send + '_ {
        self.members.values().map(|m| &**m)
    }
    pub fn member(&self, node_id: u64) -> Option<&Member> {
        self.members.get(&node_id).map(|m| &**m)
    }
    /// Changes of the active node, oldest first.
    pub fn role_changes(&self) -> impl Iterator<Item = &RoleChange> + Send + '_ {
        self.role_changes.values().map(|r| &**r)
    }
}
