//! Local accounts: requested, approved, active, inactive, deleted; or rejected.

use super::*;

/// The virtual account made with each account.
const DEFAULT_VIRTUAL_ACCOUNT: &str = "Default";

impl Apply<'_> {
    pub fn request_account(&mut self, name: &str, by: &str, smart_account: &str, virtual_account: &str) -> Done {
        inputs::name("account name", name)?;
        inputs::text("requester", by, MAX_NAME)?;
        inputs::name("smart account", smart_account)?;
        inputs::name("virtual account", virtual_account)?;
        if self.state.account_by_name(name).is_some() {
            return Err(refuse(Reason::Exists, format!("There already is an account \"{name}\".")));
        }
        let bound = |a: &&Account| {
            a.status != AccountStatus::Rejected
                && a.smart_account == smart_account
                && a.virtual_account == virtual_account
        };
        if let Some(other) = self.state.accounts().find(bound) {
            let message = format!(
                "Virtual account \"{virtual_account}\" of \"{smart_account}\" is already bound to account \"{}\".",
                other.name
            );
            return Err(refuse(Reason::Exists, message));
        }
        if self.state.accounts.len() >= MAX_ACCOUNTS {
            return Err(refuse(Reason::Limit, format!("There are {MAX_ACCOUNTS} accounts, the most there can be.")));
        }
        let id = AccountId(self.next_id());
        let default_va = VirtualAccountId(self.next_id());
        let account = Account {
            id,
            name: name.to_owned(),
            requested_by: by.to_owned(),
            smart_account: smart_account.to_owned(),
            virtual_account: virtual_account.to_owned(),
            status: AccountStatus::Requested,
            status_reason: String::new(),
            requested_at: self.now,
            changed_at: self.now,
            default_va,
            keys: None,
            sync: SyncState::default(),
            instances: 0,
        };
        self.state.index.add_account(&account);
        self.state.accounts.insert(id, Arc::new(account));
        self.changes.insert(RecordKey::Account(id));
        self.add_virtual_account(default_va, id, DEFAULT_VIRTUAL_ACCOUNT);
        let message = format!("Account \"{name}\" waits for approval.");
        let action = "Approve or reject the account.";
        self.alert_account(AlertKind::AccountPending, id, Severity::Informational, message, action);
        self.inform(id, "account-requested", format!("Account \"{name}\" was requested by \"{by}\"."));
        Ok(Outcome::Created(id.0))
    }

    pub fn approve_account(&mut self, id: AccountId, keys: &AccountKeys) -> Done {
        self.require_status(id, &[AccountStatus::Requested], "approved")?;
        inputs::blob("certificate request", &keys.ca_csr)?;
        self.check_sealed("account key", &keys.ca_key)?;
        self.check_sealed("signer key", &keys.signer_key)?;
        if !keys.ca_chain.is_empty() || !keys.signer_cert.is_empty() {
            return Err(refuse(Reason::Invalid, "Certificates come with the activation, not with the approval."));
        }
        let name = self.set_status(id, AccountStatus::Approved, "", |a| a.keys = Some(keys.clone()));
        let message = format!("Account \"{name}\" waits for its registration with central.");
        let action = "Register the account with central, over the network or by files.";
        self.alert_account(AlertKind::AccountPending, id, Severity::Informational, message, action);
        self.inform(id, "account-approved", format!("Account \"{name}\" was approved."));
        Ok(Outcome::Done)
    }

    pub fn reject_account(&mut self, id: AccountId, reason: &str) -> Done {
        self.require_status(id, &[AccountStatus::Requested, AccountStatus::Approved], "rejected")?;
        inputs::text("reason", reason, MAX_TEXT)?;
        let name = self.set_status(id, AccountStatus::Rejected, reason, |a| a.keys = None);
        self.drop_account_alert(AlertKind::AccountPending, id);
        self.inform(id, "account-rejected", format!("Account \"{name}\" was rejected: {reason}."));
        Ok(Outcome::Done)
    }

    pub fn activate_account(
        &mut self,
        id: AccountId,
        ca_chain: &[Vec<u8>],
        signer_cert: &[u8],
        entitlements: &[Entitlement],
        response: &Digest32,
    ) -> Done {
        self.require_status(id, &[AccountStatus::Approved], "activated")?;
        inputs::chain(ca_chain)?;
        inputs::blob("signer certificate", signer_cert)?;
        self.check_entitlements(id, entitlements)?;
        let now = self.now;
        let name = self.set_status(id, AccountStatus::Active, "", |account| {
            if let Some(keys) = &mut account.keys {
                keys.ca_chain = ca_chain.to_vec();
                keys.signer_cert = signer_cert.to_vec();
            }
            account.sync.last_response = *response;
            account.sync.last_success = Some(now);
            account.sync.due = Some(now.plus(SYNC_DUE));
        });
        self.set_entitlements(id, entitlements);
        self.drop_account_alert(AlertKind::AccountPending, id);
        self.inform(id, "account-activated", format!("Account \"{name}\" is active."));
        Ok(Outcome::Done)
    }

    pub fn deactivate_account(&mut self, id: AccountId, reason: &str) -> Done {
        self.require_status(id, &[AccountStatus::Active], "deactivated")?;
        inputs::text("reason", reason, MAX_TEXT)?;
        let name = self.set_status(id, AccountStatus::Inactive, reason, |_| {});
        self.inform(id, "account-deactivated", format!("Account \"{name}\" was deactivated: {reason}."));
        Ok(Outcome::Done)
    }

    pub fn reactivate_account(&mut self, id: AccountId) -> Done {
        self.require_status(id, &[AccountStatus::Inactive], "reactivated")?;
        let account = self.account(id)?;
        if account.sync.ends() {
            let message = format!("Central was told that account \"{}\" ends; delete it.", account.name);
            return Err(refuse(Reason::State, message));
        }
        let name = self.set_status(id, AccountStatus::Active, "", |_| {});
        self.inform(id, "account-reactivated", format!("Account \"{name}\" is active again."));
        Ok(Outcome::Done)
    }

    /// Removes an account. Nothing may be registered, and central must have closed it if it ever knew it.
    pub fn delete_account(&mut self, id: AccountId) -> Done {
        let deletable = [AccountStatus::Requested, AccountStatus::Inactive, AccountStatus::Rejected];
        self.require_status(id, &deletable, "deleted")?;
        self.require_empty(id)?;
        let account = self.account(id)?;
        if account.status == AccountStatus::Inactive && !account.sync.closed {
            let message = format!("Central has not heard that account \"{}\" ends; close it first.", account.name);
            return Err(refuse(Reason::State, message));
        }
        let message = format!("Account \"{}\" was deleted.", account.name);
        self.drop_account(id);
        self.event(Severity::Informational, None, "account-deleted", message);
        Ok(Outcome::Done)
    }

    /// Removes an account of which central goes on to believe that it is there.
    pub fn abandon_account(&mut self, id: AccountId) -> Done {
        self.require_status(id, &[AccountStatus::Inactive], "deleted without central")?;
        self.require_empty(id)?;
        let message = format!("Account \"{}\" was deleted without central.", self.account(id)?.name);
        self.drop_account(id);
        self.event(Severity::Minor, None, "account-abandoned", message);
        Ok(Outcome::Done)
    }

    fn drop_account(&mut self, id: AccountId) {
        let Some(account) = self.state.account(id).cloned() else { return };
        for kind in [AlertKind::AccountPending, AlertKind::SynchronizationFailed, AlertKind::SynchronizationOverdue] {
            self.drop_account_alert(kind, id);
        }
        let vas: Vec<_> = self.state.virtual_accounts(id).map(|va| va.id).collect();
        self.drop_access(id);
        for va in vas {
            self.drop_virtual_account(va);
        }
        let licenses: Vec<_> = self.state.licenses(id).map(|l| l.id).collect();
        for license in licenses {
            self.state.licenses.remove(&license);
            self.state.index.groups.remove(&license);
            self.changes.insert(RecordKey::License(license));
        }
        self.state.index.remove_account(&account);
        self.state.accounts.remove(&id);
        self.changes.insert(RecordKey::Account(id));
    }

    pub fn require_empty(&self, id: AccountId) -> Result<(), Refusal> {
        let account = self.account(id)?;
        if account.instances == 0 {
            return Ok(());
        }
        let (name, instances) = (&account.name, account.instances);
        let message = format!("Account \"{name}\" still has {instances} product instances; remove them.");
        Err(refuse(Reason::NotEmpty, message))
    }

    pub fn require_status(&self, id: AccountId, allowed: &[AccountStatus], verb: &str) -> Result<(), Refusal> {
        let account = self.account(id)?;
        if allowed.contains(&account.status) {
            return Ok(());
        }
        let message = format!("Account \"{}\" is {} and cannot be {verb}.", account.name, account.status);
        Err(refuse(Reason::State, message))
    }

    /// Moves the account on and returns its name.
    fn set_status(
        &mut self,
        id: AccountId,
        status: AccountStatus,
        reason: &str,
        change: impl FnOnce(&mut Account),
    ) -> String {
        let now = self.now;
        let mut name = String::new();
        self.change_account(id, |account| {
            account.status = status;
            account.status_reason = reason.to_owned();
            account.changed_at = now;
            change(account);
            name.clone_from(&account.name);
        });
        name
    }
}
