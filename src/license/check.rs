//! The recount: every kept total and index against the records it follows from.

use super::state::{Index, State};
use super::*;
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// Recounts every kept total and index and lists what differs; empty means sound.
    pub fn check(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.check_instances(&mut found);
        self.check_pools(&mut found);
        self.check_usage(&mut found);
        self.check_alerts(&mut found);
        self.check_accounts(&mut found);
        self.check_server_certificate(&mut found);
        self.check_revoked(&mut found);
        self.check_sealing(&mut found);
        self.check_rings(&mut found);
        if self.index != Index::of(self) {
            found.push("An index does not follow from the records.".into());
        }
        found
    }

    /// Instances against virtual accounts, accounts and devices.
    fn check_instances(&self, found: &mut Vec<String>) {
        let mut by_va: BTreeMap<VirtualAccountId, u64> = BTreeMap::new();
        let mut devices = BTreeMap::new();
        for instance in self.instances(None) {
            let id = instance.id;
            *by_va.entry(instance.va).or_default() += 1;
            let Some(va) = self.virtual_account(instance.va) else {
                found.push(format!("Instance {id} is in virtual account {}, which does not exist.", instance.va));
                continue;
            };
            for udi in instance.udis() {
                if let Some(other) = devices.insert((va.account, &**udi), id) {
                    found.push(format!("Instances {other} and {id} have the same device."));
                }
            }
            let sorted = instance.usage.windows(2).all(|w| w[0].0 < w[1].0);
            if !sorted || instance.usage.len() > MAX_LICENSES_PER_INSTANCE || instance.usage.iter().any(|u| u.1 == 0) {
                found.push(format!("The usage of instance {id} is not in order."));
            }
            for (license, _) in instance.usage.iter() {
                if self.license(*license).is_none_or(|l| l.account != va.account) {
                    found.push(format!("Instance {id} uses license {license}, which its account does not know."));
                }
            }
        }
        let mut by_account: BTreeMap<AccountId, u64> = BTreeMap::new();
        for va in self.virtual_accounts.values() {
            let counted = by_va.remove(&va.id).unwrap_or_default();
            *by_account.entry(va.account).or_default() += counted;
            differs(found, format_args!("virtual account {}: instances", va.id), va.instances, counted);
        }
        for account in self.accounts() {
            let counted = by_account.remove(&account.id).unwrap_or_default();
            differs(found, format_args!("account {}: instances", account.id), account.instances, counted);
        }
    }

    /// Pools against instances, terms and alerts.
    fn check_pools(&self, found: &mut Vec<String>) {
        let mut used: BTreeMap<(VirtualAccountId, LicenseId), u64> = BTreeMap::new();
        for instance in self.instances(None) {
            for (license, count) in instance.usage.iter() {
                *used.entry((instance.va, *license)).or_default() += count;
            }
        }
        let mut alerts = 0;
        for ((va, license), pool) in &self.pools {
            let what = |total| format!("pool of license {license} in virtual account {va}: {total}");
            let counted = used.remove(&(*va, *license)).unwrap_or_default();
            differs(found, what("in use"), pool.in_use, counted);
            differs(found, what("purchased"), pool.purchased, pool.purchased_at(pool.evaluated));
            let lent = self.index.groups.get(license).map(|group| substitution::net(&self.loans_among(*va, group)));
            let lent = lent.and_then(|net| net.get(license).copied()).unwrap_or_default();
            differs(found, what("substitution"), pool.substitution, lent);
            let short = pool.balance() < 0;
            differs(found, what("out of compliance"), pool.out_of_compliance_since.is_some(), short);
            let owner = self.virtual_account(*va).map(|v| v.account);
            if owner.is_none() || owner != self.license(*license).map(|l| l.account) || pool.is_empty() {
                found.push(what("it should not exist"));
            }
            let expiring = pool.expiring(self.settings.licenses_expiring()).is_some();
            for (kind, expected) in [
                (AlertKind::InsufficientLicenses, short),
                (AlertKind::LicensesExpiring, expiring),
                (AlertKind::LicensesExpired, pool.expired().is_some()),
            ] {
                let alert = self.pool_alert_key(kind, pool).and_then(|k| self.alert(&k));
                differs(found, what(kind.as_str()), alert.is_some(), expected);
                alerts += usize::from(expected);
            }
        }
        for ((va, license), count) in used {
            found.push(format!("{count} of license {license} are used in virtual account {va} without a pool."));
        }
        let about_pools = [AlertKind::InsufficientLicenses, AlertKind::LicensesExpiring, AlertKind::LicensesExpired];
        let kept = self.alerts().filter(|a| about_pools.contains(&a.key.kind)).count();
        differs(found, "alerts about licenses", kept, alerts);
    }

    /// The noted days of pools against their counts; the histories in order and of pools that there may be.
    fn check_usage(&self, found: &mut Vec<String>) {
        for pool in self.pools.values() {
            let noted = pool.last_day.unwrap_or_default();
            let what = format_args!("pool of license {} in virtual account {}: noted", pool.license, pool.va);
            let same = noted.counts() == UsageDay::of(pool, noted.day).counts();
            differs(found, what, same && noted.lowest <= noted.balance() && noted.peak >= noted.in_use, true);
        }
        for ((va, license), history) in &self.usage {
            let owner = self.virtual_account(*va).map(|va| va.account);
            let days: Vec<u64> = history.days().map(|day| day.day).collect();
            // One that is deleted and made again on a day has that day in both.
            let last = self.pool(*va, *license).and_then(|pool| pool.last_day).map_or(u64::MAX, |last| last.day);
            let sound = days.is_sorted_by(|a, b| a < b) && days.last().is_some_and(|day| *day <= last);
            let known = owner.is_some() && owner == self.license(*license).map(|l| l.account);
            if !sound || !known || days.len() > MAX_USAGE_DAYS {
                found.push(format!("The usage history of license {license} in virtual account {va} is not sound."));
            }
        }
    }

    /// Alerts about instances, of which the index tells; and about the clock.
    fn check_alerts(&self, found: &mut Vec<String>) {
        for kind in [AlertKind::FailedToConnect, AlertKind::FailedToRenew] {
            let failed = self.index.failed(kind);
            for va in failed.keys() {
                let alert = self.instances_alert_key(kind, *va).and_then(|k| self.alert(&k));
                differs(found, format_args!("virtual account {va}: {kind}"), alert.is_some(), true);
            }
            let kept = self.alerts().filter(|a| a.key.kind == kind).count();
            differs(found, format_args!("alerts {kind}"), kept, failed.len());
        }
        let doubted = self.alerts().any(|a| apply::is_about_clock(&a.key));
        differs(found, "alert about the clock", doubted, self.meta.clock_ahead > 0);
        for account in self.accounts() {
            let key = AlertKey { kind: AlertKind::SynchronizationOverdue, source: account.name.clone() };
            let severe = self.alert(&key).is_some_and(|alert| alert.severity == Severity::Major);
            differs(found, format_args!("account {}: dropped", account.id), severe, account.sync.dropped);
        }
        let (last, held) = (self.meta.last_past_alert, self.past_alerts.len() as u64);
        let newest = self.past_alerts.get_max().map_or(0, |(seq, _)| *seq);
        differs(found, "newest cleared alert", newest, last);
        differs(found, "cleared alerts", held, last.min(MAX_PAST_ALERTS));
    }

    /// The alerts about the certificates of the server.
    fn check_server_certificate(&self, found: &mut Vec<String>) {
        let certificate = self.server_certificate();
        let about = |source: &str, kind| self.alert(&AlertKey { kind, source: source.to_owned() }).is_some();
        let alert = |kind| about("server certificate", kind);
        let pending = certificate.pending().is_some();
        differs(found, "server certificate: alert pending", alert(AlertKind::CommonNamePending), pending);
        let expiring = certificate.expiring(self.meta.expiry);
        differs(found, "server certificate: alert expiring", alert(AlertKind::CertificateExpiring), expiring);
        let expiring = self.browser_certificate().is_some_and(|certificate| certificate.expiring(self.meta.expiry));
        let kept = about("browser certificate", AlertKind::CertificateExpiring);
        differs(found, "browser certificate: alert expiring", kept, expiring);
    }

    /// Every secret is sealed under a key that the nodes have.
    fn check_sealing(&self, found: &mut Vec<String>) {
        let Some(sealing) = self.sealing else { return };
        let lost = |sealed: &Sealed| {
            let key = sealed.key_id();
            key != Some(sealing.key) && (sealing.previous.is_none() || key != sealing.previous)
        };
        let lost = self.sealed().filter(|(_, sealed)| lost(sealed)).count();
        differs(found, "secrets under a forgotten sealing key", lost, 0);
    }

    /// Revoked certificates: each once, in full blocks, and of no instance.
    fn check_revoked(&self, found: &mut Vec<String>) {
        let mut serials = BTreeSet::new();
        for (key, block) in &self.revoked {
            let sound = *key == (block.day, block.block) && (1..=REVOKED_BLOCK).contains(&block.revoked.len());
            if !sound || block.revoked.iter().any(|revoked| !serials.insert(revoked.serial)) {
                found.push(format!("Block {} of day {} of the revoked certificates is not sound.", key.1, key.0));
            }
        }
        if self.revoked.len() > MAX_REVOKED / REVOKED_BLOCK {
            found.push("More certificates are revoked than there may be.".into());
        }
        for instance in self.instances(None).filter(|instance| serials.contains(&instance.certificate.serial)) {
            found.push(format!("The certificate of instance {} is revoked.", instance.id));
        }
    }

    /// Ownership, and that no id is above the counter.
    fn check_accounts(&self, found: &mut Vec<String>) {
        for account in self.accounts() {
            if self.virtual_account(account.default_va).is_none_or(|va| va.account != account.id) {
                found.push(format!("Account {} has no default virtual account.", account.id));
            }
            let pending = matches!(account.status, AccountStatus::Requested | AccountStatus::Approved);
            let key = |kind| AlertKey { kind, source: account.name.clone() };
            let alert = |kind| self.alert(&key(kind)).is_some();
            let what = |alert| format!("account {}: alert {alert}", account.id);
            differs(found, what("pending"), alert(AlertKind::AccountPending), pending);
            differs(found, what("overdue"), alert(AlertKind::SynchronizationOverdue), account.sync.overdue);
            let failed = account.sync.last_failure.is_some();
            differs(found, what("failed"), alert(AlertKind::SynchronizationFailed), failed);
            if account.sync.ends() && (account.status != AccountStatus::Inactive || account.instances > 0) {
                found.push(format!("Account {} ends, but is in use.", account.id));
            }
        }
        for va in self.virtual_accounts.values().filter(|va| self.account(va.account).is_none()) {
            found.push(format!("Virtual account {} belongs to no account.", va.id));
        }
        for license in self.licenses.values().filter(|l| !l.labels.windows(2).all(|w| w[0] < w[1])) {
            found.push(format!("The labels of license {} are not in order.", license.id));
        }
        for license in self.licenses.values().filter(|l| self.account(l.account).is_none()) {
            found.push(format!("License {} belongs to no account.", license.id));
        }
        for user in self.users() {
            let gone = user.accounts.iter().any(|id| self.account(*id).is_none())
                || user.virtual_accounts.iter().any(|id| self.virtual_account(*id).is_none());
            if gone {
                found.push(format!("User {} administers what does not exist.", user.name));
            }
        }
        for client in self.api_clients.values().filter(|c| c.account.is_some_and(|a| self.account(a).is_none())) {
            found.push(format!("API client {} belongs to no account.", client.id));
        }
        for session in self.sessions.values().filter(|s| self.user(&s.user).is_none_or(|u| u.disabled)) {
            found.push(format!("A session is \"{}\"'s, who may not sign in.", session.user));
        }
        for token in self.tokens.values().filter(|t| self.virtual_account(t.va).is_none()) {
            found.push(format!("Token {} belongs to no virtual account.", token.id));
        }
        let highest = [
            self.accounts.get_max().map(|(id, _)| id.0),
            self.virtual_accounts.get_max().map(|(id, _)| id.0),
            self.licenses.get_max().map(|(id, _)| id.0),
            self.tokens.get_max().map(|(id, _)| id.0),
            self.instances.get_max().map(|(id, _)| id.0),
        ];
        if highest.into_iter().flatten().any(|id| id > self.meta.last_id) {
            found.push(format!("An id is above the highest one given out, {}.", self.meta.last_id));
        }
    }

    /// Rings within their sizes and without holes.
    fn check_rings(&self, found: &mut Vec<String>) {
        let first = self.events.get_min().map_or(0, |(seq, _)| *seq);
        let last = self.events.get_max().map_or(0, |(seq, _)| *seq);
        differs(found, "oldest event", self.meta.first_event, first);
        differs(found, "newest event", self.meta.last_event, last);
        let held = if last == 0 { 0 } else { last - first + 1 };
        differs(found, "events", self.events.len() as u64, held);
        let first = self.audit.get_min().map_or(0, |(seq, _)| *seq);
        differs(found, "oldest audit entry", self.meta.first_audit, first);
        let newest = self.audit.get_max().map(|(seq, entry)| (*seq, entry.hash)).unwrap_or_default();
        if newest != (self.meta.last_audit, self.meta.audit_head) || self.audit.len() as u64 > MAX_AUDIT {
            found.push("The audit log does not end where it should, or is too long.".into());
        }
        let before = (self.meta.first_audit == 1).then_some((0, [0; 32]));
        if let Some((seq, why)) = AuditEntry::first_fault(self.audit(0), before) {
            found.push(format!("Audit entry {seq}: {why}."));
        }
        if held > MAX_EVENTS || self.role_changes.len() > MAX_ROLE_CHANGES || self.requests.len() > MAX_REQUESTS {
            found.push("A ring is longer than it may be.".into());
        }
    }
}

fn differs<T: PartialEq + std::fmt::Display>(
    found: &mut Vec<String>,
    what: impl std::fmt::Display,
    kept: T,
    counted: T,
) {
    if kept != counted {
        found.push(format!("{what}: {kept} is kept, {counted} counted."));
    }
}
