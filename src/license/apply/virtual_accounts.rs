//! Local virtual accounts, and licenses moved between them.

use super::*;

impl Apply<'_> {
    pub fn create_virtual_account(&mut self, account: AccountId, name: &str) -> Done {
        self.active_account(account)?;
        self.check_free_name(account, name)?;
        if self.state.virtual_accounts(account).count() >= MAX_VIRTUAL_ACCOUNTS {
            let message = format!("The account has {MAX_VIRTUAL_ACCOUNTS} virtual accounts, the most there can be.");
            return Err(refuse(Reason::Limit, message));
        }
        let va = VirtualAccountId(self.next_id());
        self.add_virtual_account(va, account, name);
        let message = format!("Virtual account \"{name}\" was created.");
        self.inform_about(account, "virtual-account-created", message, vec![Subject::VirtualAccount(va)]);
        Ok(Outcome::Created(va.0))
    }

    pub fn rename_virtual_account(&mut self, id: VirtualAccountId, name: &str) -> Done {
        let va = self.va(id)?.clone();
        if va.name == name {
            return Ok(Outcome::Done);
        }
        self.check_free_name(va.account, name)?;
        // Alerts are named after the virtual account.
        let before = self.alert_keys(id);
        self.state.index.remove_virtual_account(&va);
        self.change_va(id, |va| va.name = name.to_owned());
        self.state.index.add_virtual_account(&VirtualAccount { name: name.to_owned(), ..va.clone() });
        for (from, to) in before.iter().zip(self.alert_keys(id)) {
            self.move_alert(from, to);
        }
        for pool in self.state.pools(id).cloned().collect::<Vec<_>>() {
            self.alert_shortage(&pool);
            self.alert_terms(&pool);
        }
        self.alert_instances(id);
        let message = format!("Virtual account \"{}\" is now named \"{name}\".", va.name);
        self.inform_about(va.account, "virtual-account-renamed", message, vec![Subject::VirtualAccount(id)]);
        Ok(Outcome::Done)
    }

    /// All alerts that there may be about a virtual account, in an order of their own.
    fn alert_keys(&self, id: VirtualAccountId) -> Vec<AlertKey> {
        let of_pools = [AlertKind::InsufficientLicenses, AlertKind::LicensesExpiring, AlertKind::LicensesExpired];
        let pools = self.state.pools(id).flat_map(|p| of_pools.map(|kind| self.state.pool_alert_key(kind, p)));
        let instances = [AlertKind::FailedToConnect, AlertKind::FailedToRenew];
        let instances = instances.map(|kind| self.state.instances_alert_key(kind, id));
        pools.chain(instances).flatten().collect()
    }

    pub fn delete_virtual_account(&mut self, id: VirtualAccountId) -> Done {
        let va = self.va(id)?.clone();
        if self.account(va.account)?.default_va == id {
            return Err(refuse(Reason::State, "The default virtual account of an account cannot be deleted."));
        }
        if va.instances > 0 {
            let message =
                format!("\"{}\" still has {} product instances; transfer or remove them.", va.name, va.instances);
            return Err(refuse(Reason::NotEmpty, message));
        }
        let now = self.state.meta.expiry;
        let live = |p: &Pool| p.terms.iter().any(|t| t.end.is_none_or(|end| end > now));
        if self.state.pools(id).any(live) {
            let message = format!("\"{}\" still has purchased licenses; transfer them first.", va.name);
            return Err(refuse(Reason::NotEmpty, message));
        }
        self.drop_virtual_account(id);
        let message = format!("Virtual account \"{}\" was deleted.", va.name);
        self.inform_about(va.account, "virtual-account-deleted", message, vec![Subject::VirtualAccount(id)]);
        Ok(Outcome::Done)
    }

    /// Moves purchased quantity: from the terms in force, those that started first to begin with, with their dates.
    pub fn transfer_license(
        &mut self,
        license: LicenseId,
        from: VirtualAccountId,
        to: VirtualAccountId,
        quantity: u64,
    ) -> Done {
        let missing = || refuse(Reason::NotFound, format!("There is no license {license}."));
        let known = self.state.license(license).ok_or_else(missing)?;
        let (account, license_name) = (known.account, known.name.clone());
        let (source, target) = (self.va(from)?, self.va(to)?);
        if source.account != account || target.account != account || from == to || quantity == 0 {
            let message = "A transfer moves at least one license between two virtual accounts of its own account.";
            return Err(refuse(Reason::Invalid, message));
        }
        let (source, target) = (source.name.clone(), target.name.clone());
        let mut left = self.state.pool(from, license).map(|p| p.terms.clone()).unwrap_or_default();
        let in_force = left.iter().filter(|t| t.in_force(self.state.meta.expiry)).map(|t| t.quantity).sum::<u64>();
        if in_force < quantity {
            let message = format!("\"{source}\" has {in_force} of \"{license_name}\"; {quantity} cannot be moved.");
            return Err(refuse(Reason::Limit, message));
        }
        let mut moved = self.state.pool(to, license).map(|p| p.terms.clone()).unwrap_or_default();
        let mut remaining = quantity;
        for term in left.iter_mut().filter(|t| t.in_force(self.state.meta.expiry)) {
            let take = term.quantity.min(remaining);
            term.quantity -= take;
            remaining -= take;
            moved.push(Term { quantity: take, ..term.clone() });
        }
        self.set_terms(from, license, sync::normal(left));
        self.set_terms(to, license, sync::normal(moved));
        let message = format!("{quantity} of \"{license_name}\" moved from \"{source}\" to \"{target}\".");
        let concerns = vec![Subject::License(license), Subject::VirtualAccount(from), Subject::VirtualAccount(to)];
        self.inform_about(account, "license-transferred", message, concerns);
        Ok(Outcome::Done)
    }

    fn check_free_name(&self, account: AccountId, name: &str) -> Result<(), Refusal> {
        inputs::name("virtual account name", name)?;
        match self.state.virtual_account_by_name(account, name) {
            None => Ok(()),
            Some(_) => Err(refuse(Reason::Exists, format!("There already is a virtual account \"{name}\"."))),
        }
    }

    pub fn add_virtual_account(&mut self, id: VirtualAccountId, account: AccountId, name: &str) {
        let va = VirtualAccount { id, account, name: name.to_owned(), created: self.now, instances: 0 };
        self.state.index.add_virtual_account(&va);
        self.state.virtual_accounts.insert(id, Arc::new(va));
        self.changes.insert(RecordKey::VirtualAccount(id));
    }

    /// Removes a virtual account without instances, with its tokens, pools and their history.
    pub fn drop_virtual_account(&mut self, id: VirtualAccountId) {
        let pools: Vec<_> = self.state.pools(id).map(|p| p.license).collect();
        for license in pools {
            self.set_terms(id, license, Vec::new());
        }
        self.settle_pools();
        let tokens: Vec<_> = self.state.tokens(id).map(|t| t.id).collect();
        for token in tokens {
            self.drop_token(token);
        }
        for license in self.state.licenses_with_usage(id) {
            self.state.usage.remove(&(id, license));
            self.changes.insert(RecordKey::Usage(id, license));
        }
        self.drop_scope(&[], &[id]);
        if let Some(va) = self.state.virtual_accounts.remove(&id) {
            self.state.index.remove_virtual_account(&va);
            self.changes.insert(RecordKey::VirtualAccount(id));
        }
    }
}
