//! What changes a pool: use, terms and time. Substitution, compliance and its alert follow once all changes are made.

use super::*;

impl Apply<'_> {
    /// The use of a license in a virtual account goes from `old` to `new` for one instance.
    pub fn change_use(&mut self, va: VirtualAccountId, license: LicenseId, old: u64, new: u64) {
        self.change_pool(va, license, |pool| pool.in_use = pool.in_use - old + new);
    }

    /// Sets what is purchased of a license in a virtual account.
    pub fn set_terms(&mut self, va: VirtualAccountId, license: LicenseId, terms: Vec<Term>) {
        if terms.is_empty() && self.state.pool(va, license).is_none() {
            return;
        }
        let lead = self.state.settings.licenses_expiring();
        let boundary = |state: &State| state.pool(va, license).and_then(|pool| pool.next_boundary(lead));
        let old = boundary(self.state);
        let now = self.state.meta.expiry;
        self.change_pool(va, license, |pool| {
            pool.terms = terms;
            pool.evaluate(now);
        });
        let new = boundary(self.state);
        self.state.index.move_boundary(va, license, old, new);
        if let Some(pool) = self.state.pool(va, license).cloned() {
            self.alert_terms(&pool);
        }
    }

    /// The setting says anew how long before their end terms are watched: a walk over all pools, as rare as the setting
    /// changes.
    pub fn watch_terms_anew(&mut self) {
        let lead = self.state.settings.licenses_expiring();
        let boundaries = |pool: &Pool| pool.next_boundary(lead).map(|at| (at, pool.va, pool.license));
        self.state.index.boundaries = self.state.pools.values().filter_map(|pool| boundaries(pool)).collect();
        let dated = |pool: &&Arc<Pool>| pool.terms.iter().any(|term| term.end.is_some());
        for pool in self.state.pools.values().filter(dated).cloned().collect::<Vec<_>>() {
            self.alert_terms(&pool);
        }
        self.cross_term_boundaries();
    }

    /// Re-evaluates pools of which a term has started or ended by now, some at a time.
    pub fn cross_term_boundaries(&mut self) {
        for _ in 0..BOUNDARIES_PER_APPLY {
            let Some(&(at, va, license)) = self.state.index.boundaries.get_min() else { break };
            if at > self.state.meta.expiry {
                break;
            }
            let Some(pool) = self.state.pool(va, license) else { break };
            let (before, terms) = (pool.purchased, pool.terms.clone());
            self.set_terms(va, license, terms);
            let after = self.state.pool(va, license).map_or(0, |p| p.purchased);
            if before != after
                && let (Some(license), Some(va)) = (self.state.license(license), self.state.virtual_account(va))
            {
                let message = format!(
                    "Virtual account \"{}\" now has {after} of \"{}\", not {before}: a term started or ended.",
                    va.name, license.name
                );
                let concerns = vec![Subject::License(license.id), Subject::VirtualAccount(va.id)];
                self.inform_about(license.account, "terms-changed", message, concerns);
            }
        }
        self.settle_pools();
    }

    /// Changes a pool, made where there was none; [`Apply::settle_pools`] does what follows.
    fn change_pool(&mut self, va: VirtualAccountId, license: LicenseId, change: impl FnOnce(&mut Pool)) {
        let (key, now) = ((va, license), self.state.meta.expiry);
        let pool = self.state.pools.entry(key).or_insert_with(|| Arc::new(Pool::empty(va, license, now)));
        change(Arc::make_mut(pool));
        self.unsettled.push(key);
    }

    /// Has the licenses of a group lend one another what they can spare.
    pub fn substitute(&mut self, va: VirtualAccountId, group: &[LicenseId]) {
        let net = substitution::net(&self.state.loans_among(va, group));
        for license in group {
            let Some(pool) = self.state.pools.get_mut(&(va, *license)) else { continue };
            let substitution = net.get(license).copied().unwrap_or_default();
            if pool.substitution != substitution {
                Arc::make_mut(pool).substitution = substitution;
                self.unsettled.push((va, *license));
            }
        }
    }

    /// Does what follows from the changes of pools: loans, compliance, alerts. All changes come first, so that nothing
    /// counts as short that was only short between two of them.
    pub fn settle_pools(&mut self) {
        let mut groups: Vec<(VirtualAccountId, Arc<[LicenseId]>)> = Vec::new();
        for (va, license) in &self.unsettled {
            if let Some(group) = self.state.index.groups.get(license)
                && !groups.iter().any(|(known, members)| (known, &members[0]) == (va, &group[0]))
            {
                groups.push((*va, group.clone()));
            }
        }
        for (va, group) in groups {
            self.substitute(va, &group);
        }
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.sort_unstable();
        unsettled.dedup();
        for (va, license) in unsettled {
            self.settle(va, license);
        }
    }

    /// What follows from a pool's counts: compliance, its alert, the note of the day's usage, and the end of a pool that
    /// holds nothing.
    fn settle(&mut self, va: VirtualAccountId, license: LicenseId) {
        let key = (va, license);
        let Some(held) = self.state.pools.get_mut(&key) else { return };
        let pool = Arc::make_mut(held);
        let was_out = pool.out_of_compliance_since.is_some();
        let shortage = pool.balance().min(0).unsigned_abs();
        pool.out_of_compliance_since = match pool.out_of_compliance_since {
            _ if shortage == 0 => None,
            Some(since) => Some(since),
            None => Some(self.now),
        };
        let over = pool.note_usage(self.now.0 / Millis::DAY);
        let pool = held.clone();
        let mut last = None;
        if pool.is_empty() {
            self.state.pools.remove(&key);
            last = pool.last_day;
        }
        over.into_iter().chain(last).for_each(|day| self.keep_usage(key, day));
        self.changes.insert(RecordKey::Pool(va, license));
        if was_out || pool.out_of_compliance_since.is_some() {
            self.alert_shortage(&pool);
        }
    }

    /// A day of a pool is over, or the pool is.
    fn keep_usage(&mut self, (va, license): (VirtualAccountId, LicenseId), day: UsageDay) {
        let history = self.state.usage.entry((va, license));
        let history = history.or_insert_with(|| Arc::new(UsageHistory::new(va, license)));
        Arc::make_mut(history).add(day);
        self.changes.insert(RecordKey::Usage(va, license));
    }
}

impl Pool {
    fn empty(va: VirtualAccountId, license: LicenseId, now: Millis) -> Self {
        Self {
            va,
            license,
            terms: Vec::new(),
            purchased: 0,
            evaluated: now,
            in_use: 0,
            substitution: 0,
            out_of_compliance_since: None,
            last_day: None,
        }
    }

    /// Holds nothing worth a record.
    pub(in crate::license) fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.in_use == 0 && self.substitution == 0
    }

    fn evaluate(&mut self, now: Millis) {
        self.evaluated = now;
        self.purchased = self.purchased_at(now);
    }
}
