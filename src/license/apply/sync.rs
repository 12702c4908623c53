//! Synchronization with central: exactly once, by sequence number.

use super::*;
use std::collections::BTreeMap;

/// Terms as they are kept: in order, equal ones added up, none empty.
pub fn normal(mut terms: Vec<Term>) -> Vec<Term> {
    terms.sort_by_key(|t| (t.start, t.end, t.billing));
    let mut kept: Vec<Term> = Vec::with_capacity(terms.len());
    for term in terms.into_iter().filter(|t| t.quantity > 0) {
        match kept.last_mut() {
            Some(last) if (last.start, last.end, last.billing) == (term.start, term.end, term.billing) => {
                last.quantity += term.quantity;
            }
            _ => kept.push(term),
        }
    }
    kept
}

impl Apply<'_> {
    /// Freezes what will be sent. While a request is outstanding it stays the same one.
    pub fn begin_sync(&mut self, id: AccountId) -> Done {
        let account = self.account(id)?;
        if !matches!(account.status, AccountStatus::Active | AccountStatus::Inactive) {
            let message = format!("Account \"{}\" is {}; it has nothing to synchronize.", account.name, account.status);
            return Err(refuse(Reason::AccountInactive, message));
        }
        if account.sync.closed {
            let message = format!("Central has closed account \"{}\"; delete it.", account.name);
            return Err(refuse(Reason::State, message));
        }
        match &account.sync.outstanding {
            Some(outstanding) => Ok(Outcome::SyncBegun { seq: outstanding.seq }),
            None => self.freeze(id, false),
        }
    }

    /// Freezes the last one. It stays the same one too, and nothing can be registered any more.
    pub fn close_account(&mut self, id: AccountId) -> Done {
        self.require_status(id, &[AccountStatus::Inactive], "closed")?;
        self.require_empty(id)?;
        let account = self.account(id)?;
        match &account.sync.outstanding {
            _ if account.sync.closed => Ok(Outcome::Done),
            Some(outstanding) if outstanding.closing => Ok(Outcome::SyncBegun { seq: outstanding.seq }),
            Some(outstanding) => {
                let (name, seq) = (&account.name, outstanding.seq);
                let message = format!("Synchronization {seq} of account \"{name}\" is outstanding; finish it first.");
                Err(refuse(Reason::State, message))
            }
            None => self.freeze(id, true),
        }
    }

    fn freeze(&mut self, id: AccountId, closing: bool) -> Done {
        let account = self.account(id)?;
        let seq = account.sync.seq + 1;
        let instances = account.instances;
        let mut usage = BTreeMap::new();
        for va in self.state.virtual_accounts(id) {
            for pool in self.state.pools(va.id).filter(|p| p.in_use > 0 || p.substitution != 0) {
                if let Some(license) = self.state.license(pool.license) {
                    let (in_use, substitution): &mut (u64, i64) = usage.entry(license.tag.clone()).or_default();
                    *in_use += pool.in_use;
                    *substitution += pool.substitution;
                }
            }
        }
        let usage = usage.into_iter().map(|(tag, (in_use, substitution))| (tag, in_use, substitution)).collect();
        let Meta { incarnation, incarnation_since, .. } = self.state.meta;
        let begun = self.now;
        let previous = account.sync.last_response;
        let wanted = self.state.server_certificate.wanted.as_ref().filter(|_| !closing);
        let server = wanted.map(|wanted| ServerRequest { names: wanted.names.clone(), csr: wanted.csr.clone() });
        let certify = self.account(id)?.sync.certify;
        let outstanding = SyncOutstanding {
            seq,
            begun,
            incarnation,
            incarnation_since,
            previous,
            usage,
            instances,
            server,
            closing,
            certify,
        };
        self.change_account(id, |account| {
            account.sync.seq = seq;
            account.sync.outstanding = Some(outstanding);
        });
        Ok(Outcome::SyncBegun { seq })
    }

    pub fn complete_sync(
        &mut self,
        id: AccountId,
        seq: u64,
        entitlements: &[Entitlement],
        response: &Digest32,
        signed: Option<&SignedCertificate>,
    ) -> Done {
        let outstanding = self.outstanding(id, seq)?;
        let (request, closing) = (outstanding.server.clone(), outstanding.closing);
        self.check_entitlements(id, entitlements)?;
        signed.iter().try_for_each(|signed| inputs::chain(&signed.chain))?;
        let now = self.now;
        self.change_account(id, |account| {
            let sync = &mut account.sync;
            sync.outstanding = None;
            sync.last_response = *response;
            sync.last_success = Some(now);
            sync.last_failure = None;
            sync.due = (!closing).then(|| now.plus(SYNC_DUE));
            (sync.overdue, sync.dropped) = (false, false);
            sync.closed = closing;
        });
        self.drop_account_alert(AlertKind::SynchronizationFailed, id);
        self.drop_account_alert(AlertKind::SynchronizationOverdue, id);
        self.set_entitlements(id, entitlements);
        if let (Some(request), Some(signed)) = (&request, signed) {
            self.take_server_certificate(request, signed);
        }
        self.inform(id, "synchronized", format!("Synchronization {seq} was successful."));
        if closing {
            self.inform(
                id,
                "account-closed",
                "Central has closed the account, and has freed its virtual account.".into(),
            );
        }
        Ok(Outcome::Done)
    }

    /// The same failure again moves its time only; it is one event.
    pub fn fail_sync(&mut self, id: AccountId, seq: u64, reason: &str) -> Done {
        self.outstanding(id, seq)?;
        inputs::text("reason", reason, MAX_TEXT)?;
        let now = self.now;
        let mut new = true;
        self.change_account(id, |account| {
            new = account.sync.last_failure.as_ref().is_none_or(|(_, r)| r != reason);
            account.sync.last_failure = Some((now, reason.to_owned()));
        });
        let message = format!("Synchronization failed: {reason}");
        let action = "Look at the reason, then synchronize again, over the network or by files.";
        self.alert_account(AlertKind::SynchronizationFailed, id, Severity::Major, message.clone(), action);
        if new {
            self.event(Severity::Major, Some(id), "synchronization-failed", message);
        }
        Ok(Outcome::Done)
    }

    pub fn set_sync_schedule(&mut self, id: AccountId, schedule: Schedule) -> Done {
        self.account(id)?;
        if !schedule.is_sound() {
            return Err(refuse(
                Reason::Invalid,
                "A schedule needs a weekday or a day from 1 to 28, and a time of the day.",
            ));
        }
        let now = self.now;
        self.change_account(id, |account| {
            account.sync.schedule = schedule;
            account.sync.scheduled_since = now;
        });
        self.inform(id, "sync-schedule", format!("The account synchronizes {schedule}."));
        Ok(Outcome::Done)
    }

    /// The next synchronization is to bring another certificate of the account CA.
    pub fn want_account_certificate(&mut self, id: AccountId) -> Done {
        self.certified(id)?;
        self.change_account(id, |account| account.sync.certify = true);
        Ok(Outcome::Done)
    }

    /// Takes new certificates of the account: of its signer, and perhaps of its CA. Their keys stay.
    pub fn certify_account(&mut self, id: AccountId, ca_chain: &[Vec<u8>], signer_cert: &[u8]) -> Done {
        inputs::chain(ca_chain)?;
        inputs::blob("signer certificate", signer_cert)?;
        if ca_chain.is_empty() {
            return Err(refuse(Reason::Invalid, "The chain of the account CA is empty."));
        }
        let another = self.certified(id)?.ca_chain != ca_chain;
        self.change_account(id, |account| {
            if let Some(keys) = &mut account.keys {
                keys.ca_chain = ca_chain.to_vec();
                keys.signer_cert = signer_cert.to_vec();
            }
            account.sync.certify &= !another;
        });
        let what = if another { "its CA and of what signs its answers" } else { "what signs its answers" };
        self.inform(id, "account-certified", format!("The account has new certificates of {what}."));
        Ok(Outcome::Done)
    }

    /// The keys of an account that central has certified.
    fn certified(&self, id: AccountId) -> Result<&AccountKeys, Refusal> {
        let account = self.account(id)?;
        let keys = account.keys.as_ref().filter(|keys| !keys.ca_chain.is_empty());
        keys.ok_or_else(|| {
            let message = format!("Account \"{}\" is {}; central has not certified it.", account.name, account.status);
            refuse(Reason::State, message)
        })
    }

    /// Accounts whose synchronization became overdue by now, some at a time.
    pub fn mark_overdue(&mut self) {
        for _ in 0..OVERDUE_PER_APPLY {
            let Some(&(due, id)) = self.state.index.syncs_due.get_min() else { break };
            if due > self.state.meta.expiry {
                break;
            }
            let mut again = false;
            self.change_account(id, |account| {
                again = account.sync.overdue;
                (account.sync.overdue, account.sync.dropped) = (true, again);
            });
            let (severity, days, action) = if again {
                let action = "Synchronize the account, over the network or by files. If central refuses, have the vendor \
                              look at this server: `licraft central server list`.";
                (Severity::Major, SYNC_DROPPED / Millis::DAY, action)
            } else {
                let action = "Synchronize the account, over the network or by files; after 90 days central drops it.";
                (Severity::Minor, SYNC_DUE / Millis::DAY, action)
            };
            let message = format!("The account has not synchronized with central for {days} days.");
            self.alert_account(AlertKind::SynchronizationOverdue, id, severity, message.clone(), action);
            self.event(severity, Some(id), "synchronization-overdue", message);
        }
    }

    /// The outstanding synchronization, if it is this one.
    fn outstanding(&self, id: AccountId, seq: u64) -> Result<&SyncOutstanding, Refusal> {
        let sync = &self.account(id)?.sync;
        let current = sync.seq;
        if seq > current {
            let message = format!("Synchronization {seq} was never begun; the newest is {current}.");
            return Err(refuse(Reason::Invalid, message));
        }
        let answered = || {
            let message = format!("Synchronization {seq} is not outstanding; the newest begun is {current}.");
            refuse(Reason::StaleRequest { current }, message)
        };
        sync.outstanding.as_ref().filter(|o| o.seq == seq).ok_or_else(answered)
    }

    pub fn check_entitlements(&self, id: AccountId, entitlements: &[Entitlement]) -> Result<(), Refusal> {
        inputs::entitlements(entitlements)?;
        let known = self.state.licenses(id).count();
        let new = entitlements.iter().filter(|e| self.state.license_by_tag(id, &e.tag).is_none()).count();
        if known + new > MAX_LICENSES_PER_ACCOUNT {
            let message =
                format!("The account would know {} licenses; at most {MAX_LICENSES_PER_ACCOUNT}.", known + new);
            return Err(refuse(Reason::Limit, message));
        }
        Ok(())
    }

    /// Makes the account have exactly these purchased terms. A license that is not named has none any more.
    pub fn set_entitlements(&mut self, id: AccountId, entitlements: &[Entitlement]) {
        for entitlement in entitlements {
            self.intern_license(id, entitlement);
        }
        let released = self.regroup(id);
        let terms: BTreeMap<&str, &Vec<Term>> = entitlements.iter().map(|e| (e.tag.as_str(), &e.terms)).collect();
        let licenses = self.state.licenses(id);
        let shares: Vec<(LicenseId, Vec<Term>)> = licenses
            .map(|l| (l.id, terms.get(l.tag.as_str()).map(|t| normal(t.to_vec())).unwrap_or_default()))
            .collect();
        for (license, terms) in shares {
            self.share_terms(id, license, terms);
        }
        self.substitute_anew(id, &released);
    }

    /// Connects the account's licenses by the rules they have now. Gives those that were connected before.
    fn regroup(&mut self, id: AccountId) -> Vec<LicenseId> {
        let licenses: Vec<&License> = self.state.licenses(id).collect();
        let groups = substitution::groups(licenses.iter().copied());
        let known = &self.state.index.groups;
        let before: Vec<LicenseId> = licenses.iter().map(|l| l.id).filter(|id| known.contains_key(id)).collect();
        for license in &before {
            self.state.index.groups.remove(license);
        }
        self.state.index.groups.extend(groups);
        before
    }

    /// Loans by the rules in force; those that were `released` from a rule may have none any more.
    fn substitute_anew(&mut self, id: AccountId, released: &[LicenseId]) {
        let groups = &self.state.index.groups;
        let mut sets: Vec<Arc<[LicenseId]>> =
            self.state.licenses(id).filter_map(|l| groups.get(&l.id).cloned()).collect();
        sets.extend(released.iter().filter(|id| !groups.contains_key(*id)).map(|id| Arc::from([*id])));
        sets.sort_unstable();
        sets.dedup();
        if sets.is_empty() {
            return;
        }
        let vas: Vec<VirtualAccountId> = self.state.virtual_accounts(id).map(|va| va.id).collect();
        for va in vas {
            sets.iter().for_each(|group| self.substitute(va, group));
        }
    }

    fn intern_license(&mut self, account: AccountId, entitlement: &Entitlement) {
        let Entitlement { tag, name, export_controlled, covered_by, .. } = entitlement;
        let known = self.state.license_by_tag(account, tag);
        let same =
            |l: &License| (&l.name, l.export_controlled, &l.covered_by) == (name, *export_controlled, covered_by);
        if known.is_some_and(same) {
            return;
        }
        let (id, labels) = known.map(|l| (Some(l.id), l.labels.clone())).unwrap_or_default();
        let id = id.unwrap_or_else(|| LicenseId(self.next_id()));
        let (tag, name, export_controlled) = (tag.clone(), name.clone(), *export_controlled);
        self.state.index.licenses.entry(account).or_default().insert(tag.clone(), id);
        let license = License { id, account, tag, name, export_controlled, covered_by: covered_by.clone(), labels };
        self.state.licenses.insert(id, Arc::new(license));
        self.changes.insert(RecordKey::License(id));
    }

    /// Gives the terms to the default virtual account, less what the others were given by transfers. A transferred
    /// quantity stays as long as central still has its term, with the same dates or, failing that, the same start
    /// (its end moved); the rest of it is gone.
    fn share_terms(&mut self, account: AccountId, license: LicenseId, mut terms: Vec<Term>) {
        let Some(default) = self.state.account(account).map(|a| a.default_va) else { return };
        let others = self.state.virtual_accounts(account).filter(|va| va.id != default);
        let mut held: Vec<(VirtualAccountId, Vec<Term>)> =
            others.filter_map(|va| Some((va.id, self.state.pool(va.id, license)?.terms.clone()))).collect();
        held.sort_by_key(|(va, _)| *va);
        let mut kept: Vec<Vec<Term>> = vec![Vec::new(); held.len()];
        for same_end in [true, false] {
            for ((_, held), kept) in held.iter_mut().zip(&mut kept) {
                for old in held {
                    let same = |t: &&mut Term| {
                        t.start == old.start && t.billing == old.billing && (!same_end || t.end == old.end)
                    };
                    let mut wanted = old.quantity;
                    for term in terms.iter_mut().filter(same) {
                        let take = wanted.min(term.quantity);
                        term.quantity -= take;
                        wanted -= take;
                        kept.push(Term { quantity: take, ..term.clone() });
                    }
                    old.quantity = wanted;
                }
            }
        }
        for ((va, _), kept) in held.into_iter().zip(kept) {
            self.set_terms(va, license, normal(kept));
        }
        self.set_terms(default, license, normal(terms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_terms_are_added_up_and_empty_ones_dropped() {
        let term = |quantity, start, end| Term { quantity, start: Millis(start), end, billing: Billing::Prepaid };
        let usage = Term { billing: Billing::Usage, ..term(1, 1, None) };
        let terms = vec![term(2, 5, None), usage.clone(), term(0, 1, None), term(3, 1, None), term(4, 5, None)];
        assert_eq!(normal(terms), [term(3, 1, None), usage, term(6, 5, None)]);
    }
}
