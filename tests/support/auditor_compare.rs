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
        for (va, license) in self.pools() {
            let (account, name) = &self.vas[&va];
            let source = format!("{}/{}/{}", self.accounts[account].name, name, self.licenses[&license].1);
            let (expiring, expired) = self.ending((va, license));
            let mut add = |kind| keys.push(AlertKey { kind, source: source.clone() });
            expiring.then(|| add(AlertKind::LicensesExpiring));
            expired.then(|| add(AlertKind::LicensesExpired));
        }
        for (va, (account, name)) in &self.vas {
            let failed: Vec<_> = self.instances.values().filter(|i| i.va == *va).map(|i| self.failed(i)).collect();
            let mut add =
                |kind| keys.push(AlertKey { kind, source: format!("{}/{name}", self.accounts[account].name) });
            failed.iter().any(|f| f.0).then(|| add(AlertKind::FailedToConnect));
            failed.iter().any(|f| f.1).then(|| add(AlertKind::FailedToRenew));
        }
        if self.ahead > 0 {
            keys.push(AlertKey { kind: AlertKind::ClockSkew, source: "server clock".into() });
        }
        for account in self.accounts.values() {
            let mut add = |kind| keys.push(AlertKey { kind, source: account.name.clone() });
            if matches!(account.status, AccountStatus::Requested | AccountStatus::Approved) {
                add(AlertKind::AccountPending);
            }
            if account.failed {
                add(AlertKind::SynchronizationFailed);
            }
            if account.due.is_some_and(|due| due <= self.expiry) {
                add(AlertKind::SynchronizationOverdue);
            }
        }
        let mut server = |kind| keys.push(AlertKey { kind, source: "server certificate".into() });
        if let Some((name, end)) = &self.current {
            if self.wanted.as_ref().is_some_and(|(wanted, _)| wanted != name) {
                server(AlertKind::CommonNamePending);
            }
            if self.expiry + 30 * DAY >= *end {
                server(AlertKind::CertificateExpiring);
            }
        }
        if self.browser.is_some_and(|end| self.expiry + 30 * DAY >= end) {
            keys.push(AlertKey { kind: AlertKind::CertificateExpiring, source: "browser certificate".into() });
        }
        keys
    }

    /// Holds all that the model believes against a state that applied the same commands.
    pub fn compare(&self, state: &State) -> Result<(), String> {
        same("state time", self.now, state.meta().now.0)?;
        same("doubt of the clock", self.ahead, state.meta().clock_ahead)?;
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
            same("certify", model.certify, account.sync.certify)?;
            let frozen = account.sync.outstanding.as_ref();
            let usage = |o: &SyncOutstanding| o.usage.iter().map(|(tag, n, net)| (tag.clone(), (*n, *net))).collect();
            let frozen = frozen.map(|o| (o.seq, usage(o), o.instances));
            same("frozen usage", model.outstanding.clone(), frozen)?;
            same("ends", model.closed || model.closing, account.sync.ends())?;
            same("closed", model.closed, account.sync.closed)?;
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
        self.compare_usage(state)?;
        self.compare_usage_over_time(state)?;
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
            let failures: Vec<AlertKind> = state.failures(instance).collect();
            let is = |kind| failures.contains(&kind);
            let noted = (is(AlertKind::FailedToConnect), is(AlertKind::FailedToRenew));
            same("failures", self.failed(model), noted)?;
            same("devices", &model.devices[..], instance.devices())?;
        }
        same("browser certificate", self.browser, state.browser_certificate().map(|c| c.not_after.0))?;
        same("sealing key", self.sealing, state.sealing().map(|s| (s.key, s.previous)))?;
        let sealed = state.sealed().map(|(place, secret)| (place, secret.clone())).collect();
        same("sealed secrets", self.sealed.clone(), sealed)?;
        self.compare_revoked(state)?;
        self.compare_people(state)?;
        let mut alerts = self.own_alerts();
        alerts.extend(self.raised.keys().cloned());
        same("alerts", sorted(alerts), state.alerts().map(|a| a.key.clone()).collect())
    }

    /// On the list is what was revoked before it and had not ended, by the day, when the list before was issued.
    fn compare_revoked(&self, state: &State) -> Result<(), String> {
        let (number, issued, before) = self.list;
        let list = state.revocation_list();
        same("revocation list", self.list, (list.number, list.issued.0, list.before.0))?;
        let listed = |(_, at, _, end): &(u64, u64, RevocationReason, u64)| {
            number > 0 && *at < issued && end / DAY * DAY + DAY > before
        };
        for account in self.accounts.keys() {
            let expected = self.revoked.iter().filter(|(_, revoked)| revoked.0 == *account && listed(revoked));
            let expected: Vec<_> = expected.map(|(serial, (_, at, reason, _))| (*serial, *at, *reason)).collect();
            let found = state.revoked(AccountId(*account)).map(|r| (r.serial, r.at.0, r.reason)).collect();
            same("revoked certificates", expected, sorted(found))?;
        }
        Ok(())
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
