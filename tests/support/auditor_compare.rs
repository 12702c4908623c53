//! The model held against a state.

use super::*;

impl Auditor {
    /// Alerts that must stand because of what the model holds.
    pub(super) fn own_alerts(&self) -> Vec<AlertKey> {
        let mut keys = Vec::new();
        for (va, license) in self.short_since.keys() {
            let (account, name) = &self.vas[va];
            let source = format!("{}/{}/{}", self.accounts[account].name, name, self.licenses[license].1);
            keys.push(AlertKey { kind: AlertKind::InsufficientLicenses, source });
        }
        for account in self.accounts.values() {
            let mut add = |kind| keys.push(AlertKey { kind, source: account.name.clone() });
            if matches!(account.status, AccountStatus::Requested | AccountStatus::Approved) {
                add(AlertKind::AccountPending);
            }
            if account.failed {
                add(AlertKind::SynchronizationFailed);
            }
            if account.due.is_some_and(|due| due <= self.now) {
                add(AlertKind::SynchronizationOverdue);
            }
        }
        let mut server = |kind| keys.push(AlertKey { kind, source: "server certificate".into() });
        if let Some((name, end)) = &self.current {
            if self.wanted.as_ref().is_some_and(|(wanted, _)| wanted != name) {
                server(AlertKind::CommonNamePending);
            }
            if self.now + 30 * DAY >= *end {
                server(AlertKind::CertificateExpiring);
            }
        }
        keys
    }

    /// Holds all that the model believes against a state that applied the same commands.
    pub fn compare(&self, state: &State) -> Result<(), String> {
        same("state time", self.now, state.meta().now.0)?;
        same("highest id", self.last_id, state.meta().last_id)?;
        same("incarnation", self.incarnation, state.meta().incarnation)?;
        same("accounts", self.accounts.keys().copied().collect(), ids(state.accounts().map(|a| a.id.0)))?;
        for (id, model) in &self.accounts {
            let account = state.account(AccountId(*id)).unwrap();
            same("status", model.status, account.status)?;
            same("default virtual account", model.default_va, account.default_va.0)?;
            same("synchronization", model.seq, account.sync.seq)?;
            same("due", model.due, account.sync.due.map(|d| d.0))?;
            same("schedule", model.schedule, account.sync.schedule)?;
            let frozen = account.sync.outstanding.as_ref();
            let usage = |o: &SyncOutstanding| o.usage.iter().map(|(tag, n, net)| (tag.clone(), (*n, *net))).collect();
            let frozen = frozen.map(|o| (o.seq, usage(o), o.instances));
            same("frozen usage", model.outstanding.clone(), frozen)?;
            let vas = self.vas.iter().filter(|(_, v)| v.0 == *id).map(|(va, _)| *va).collect();
            same("virtual accounts", vas, ids(state.virtual_accounts(account.id).map(|v| v.id.0)))?;
            let tags: Vec<String> = self.licenses.values().filter(|l| l.0 == *id).map(|l| l.1.clone()).collect();
            same("licenses", sorted(tags), state.licenses(account.id).map(|l| l.tag.clone()).collect())?;
            for license in state.licenses(account.id) {
                let labels = self.labels.get(&license.id.0).into_iter().flatten().cloned().collect();
                same("labels", labels, license.labels.clone())?;
            }
        }
        for va in self.vas.keys() {
            let pools: Vec<Key> = self.pools().into_iter().filter(|k| k.0 == *va).collect();
            let id = VirtualAccountId(*va);
            same("pools", pools, state.pools(id).map(|p| (p.va.0, p.license.0)).collect())?;
            let count = self.instances.values().filter(|i| i.va == *va).count();
            same("instances of the virtual account", count, state.instances_of(id, None).count())?;
            same("tokens", self.tokens.values().filter(|t| t.va == *va).count(), state.tokens(id).count())?;
        }
        for key in self.pools() {
            let pool = state.pool(VirtualAccountId(key.0), LicenseId(key.1)).unwrap();
            same("in use", self.in_use(key), pool.in_use)?;
            same("purchased", self.purchased(key), pool.purchased)?;
            same("balance", self.balance(key), pool.balance())?;
            same("substitution", self.borrowed(key), pool.substitution)?;
            same("short since", self.short_since.get(&key).copied(), pool.out_of_compliance_since.map(|m| m.0))?;
        }
        for (id, token) in &self.tokens {
            same("token uses", token.uses, state.token(TokenId(*id)).unwrap().uses)?;
        }
        same("instances", self.instances.keys().copied().collect(), ids(state.instances(None).map(|i| i.id.0)))?;
        for (id, model) in &self.instances {
            let instance = state.instance(InstanceId(*id)).unwrap();
            same("usage", model.usage.clone(), instance.usage.iter().map(|(l, c)| (l.0, *c)).collect())?;
            same("last contact", model.contact, instance.last_contact.0)?;
            same("certificate", &model.certificate, &instance.certificate)?;
            same("virtual account", model.va, instance.va.0)?;
            same("devices", &model.devices[..], instance.devices())?;
        }
        self.compare_people(state)?;
        let mut alerts = self.own_alerts();
        alerts.extend(self.raised.keys().cloned());
        same("alerts", sorted(alerts), state.alerts().map(|a| a.key.clone()).collect())
    }
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, model: T, state: T) -> Result<(), String> {
    if model == state { Ok(()) } else { Err(format!("{what}: the model has {model:?}, the state {state:?}")) }
}

fn ids(ids: impl Iterator<Item = u64>) -> Vec<u64> {
    sorted(ids.collect())
}

fn sorted<T: Ord>(mut things: Vec<T>) -> Vec<T> {
    things.sort();
    things
}
