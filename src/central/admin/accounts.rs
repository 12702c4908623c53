//! Smart accounts and their virtual accounts.

use super::{AccountRow, AdminReply, Caller};
use crate::central::change::Change;
use crate::central::records::*;
use crate::central::refusal::{CentralError, RefusalReason, Result, check_name, refused};
use crate::central::service::Service;

impl Service {
    pub(super) fn create_account(
        &self,
        smart_account: &str,
        virtual_accounts: &[String],
        change: &mut Change,
    ) -> Result<AdminReply> {
        check_name("smart account", smart_account)?;
        let mut made = Vec::new();
        if self.store.get::<SmartAccount>(&SmartAccount::key(smart_account))?.is_none() {
            change.meta.last_id += 1;
            let (id, name) = (change.meta.last_id, smart_account.to_owned());
            change.batch.put(&SmartAccount::key(smart_account), &SmartAccount { id, name, created: change.now });
            made.push(format!("smart account {smart_account}"));
        }
        for name in virtual_accounts {
            let key = VirtualAccount::key(smart_account, name);
            if self.store.get::<VirtualAccount>(&key)?.is_none() {
                let account = self.new_virtual_account(change, smart_account, name)?;
                change.batch.put(&key, &account);
                made.push(format!("virtual account {smart_account}/{name}"));
            }
        }
        if made.is_empty() {
            return Err(refused(
                RefusalReason::Exists,
                format!("smart account {smart_account} exists; nothing to create"),
            ));
        }
        Ok(AdminReply::Done(format!("Created {}.", made.join(", "))))
    }

    /// With all that is in it. An on-prem server knows the names, so none may draw on it.
    pub(super) fn rename_account(&self, old: &str, name: &str, change: &mut Change) -> Result<AdminReply> {
        let account = self.smart_account(old)?;
        check_name("smart account", name)?;
        if self.store.get::<SmartAccount>(&SmartAccount::key(name))?.is_some() {
            return Err(refused(RefusalReason::Exists, format!("there already is a smart account {name}")));
        }
        let parts = self.store.scan::<VirtualAccount>(&["virtual-account", old])?;
        parts.iter().try_for_each(refuse_bound)?;
        for part in parts {
            self.move_virtual_account(part, name, None, change)?;
        }
        for user in self.users_of(old)? {
            let smart_account = Some(name.to_owned());
            change.batch.put(&UserRecord::key(&user.name), &UserRecord { smart_account, ..user });
        }
        for token in self.tokens_of(old)? {
            let smart_account = Some(name.to_owned());
            change.batch.put(&TokenRecord::key(&token.id), &TokenRecord { smart_account, ..token });
        }
        change.batch.remove(&SmartAccount::key(old));
        change.batch.put(&SmartAccount::key(name), &SmartAccount { name: name.to_owned(), ..account });
        Ok(AdminReply::Done(format!("Smart account {old} is {name} now.")))
    }

    pub(super) fn delete_account(&self, name: &str, change: &mut Change) -> Result<AdminReply> {
        self.smart_account(name)?;
        let parts = self.store.scan::<VirtualAccount>(&["virtual-account", name])?;
        if let Some(part) = parts.first() {
            let message = format!(
                "smart account {name} still has {} virtual accounts, {} among them; delete them first",
                parts.len(),
                part.name
            );
            return Err(refused(RefusalReason::InUse, message));
        }
        let users = self.users_of(name)?.into_iter().map(|user| format!("user {}", user.name));
        let viewers: Vec<String> =
            users.chain(self.tokens_of(name)?.into_iter().map(|token| format!("token {}", token.id))).collect();
        if !viewers.is_empty() {
            let message = format!("smart account {name} is all that {} can see; delete them first", viewers.join(", "));
            return Err(refused(RefusalReason::InUse, message));
        }
        change.batch.remove(&SmartAccount::key(name));
        Ok(AdminReply::Done(format!("Smart account {name} is deleted.")))
    }

    pub(super) fn rename_virtual_account(
        &self,
        (smart, old): (&str, &str),
        name: &str,
        change: &mut Change,
    ) -> Result<AdminReply> {
        let account = self.virtual_account(smart, old)?;
        check_name("virtual account", name)?;
        if self.store.get::<VirtualAccount>(&VirtualAccount::key(smart, name))?.is_some() {
            return Err(refused(RefusalReason::Exists, format!("there already is a virtual account {smart}/{name}")));
        }
        refuse_bound(&account)?;
        self.move_virtual_account(account, smart, Some(name), change)?;
        Ok(AdminReply::Done(format!("Virtual account {smart}/{old} is {smart}/{name} now.")))
    }

    pub(super) fn delete_virtual_account(&self, smart: &str, name: &str, change: &mut Change) -> Result<AdminReply> {
        let account = self.virtual_account(smart, name)?;
        refuse_bound(&account)?;
        let records = self.store.scan::<EntitlementRecord>(&["entitlement", smart, name])?;
        if let Some(purchased) = records.iter().find(|record| !record.license.terms.is_empty()) {
            let tag = &purchased.license.tag;
            let message =
                format!("{smart}/{name} still has purchased licenses, {tag} among them; set their quantity to 0 first");
            return Err(refused(RefusalReason::InUse, message));
        }
        for record in records {
            change.batch.remove(&EntitlementRecord::key(smart, name, &record.license.tag));
            change.order(Some(&record), None);
        }
        change.batch.remove(&VirtualAccount::key(smart, name));
        Ok(AdminReply::Done(format!("Virtual account {smart}/{name} is deleted.")))
    }

    /// Puts the virtual account with its entitlements under another smart account's name, or another name.
    fn move_virtual_account(
        &self,
        account: VirtualAccount,
        smart: &str,
        name: Option<&str>,
        change: &mut Change,
    ) -> Result<()> {
        let (old_smart, old) = (account.smart_account.clone(), account.name.clone());
        let name = name.unwrap_or(&old).to_owned();
        for record in self.store.scan::<EntitlementRecord>(&["entitlement", &old_smart, &old])? {
            change.batch.remove(&EntitlementRecord::key(&old_smart, &old, &record.license.tag));
            let key = EntitlementRecord::key(smart, &name, &record.license.tag);
            let (smart_account, virtual_account) = (smart.to_owned(), name.clone());
            change.batch.put(&key, &EntitlementRecord { smart_account, virtual_account, ..record });
        }
        change.batch.remove(&VirtualAccount::key(&old_smart, &old));
        let key = VirtualAccount::key(smart, &name);
        change.batch.put(&key, &VirtualAccount { smart_account: smart.to_owned(), name, ..account });
        Ok(())
    }

    pub(super) fn list_accounts(&self, caller: &Caller) -> Result<AdminReply> {
        let mut rows = Vec::new();
        for smart in self.store.scan::<SmartAccount>(&["smart-account"])? {
            if !caller.sees(&smart.name) {
                continue;
            }
            let accounts = self.store.scan::<VirtualAccount>(&["virtual-account", &smart.name])?;
            if accounts.is_empty() {
                rows.push(AccountRow {
                    smart_account: smart.name,
                    virtual_account: None,
                    server: None,
                    account: None,
                    licenses: Vec::new(),
                    usage: Vec::new(),
                });
                continue;
            }
            for account in accounts {
                let licenses = self.entitlements(&account.smart_account, &account.name)?;
                let usage = match &account.bound {
                    Some(bound) => self.store.get(&AccountRecord::usage_blob(&bound.server, &bound.account))?,
                    None => None,
                };
                let (server, bound) = account.bound.map(|b| (b.server, b.account)).unzip();
                rows.push(AccountRow {
                    smart_account: account.smart_account,
                    virtual_account: Some(account.name),
                    server,
                    account: bound,
                    licenses,
                    usage: usage.unwrap_or_default(),
                });
            }
        }
        Ok(AdminReply::Accounts(rows))
    }

    pub(super) fn smart_account(&self, name: &str) -> Result<SmartAccount> {
        let unknown = || {
            let message = format!("there is no smart account {name:?}; see `licraft central account list`");
            refused(RefusalReason::NotFound, message)
        };
        self.store.get(&SmartAccount::key(name))?.ok_or_else(unknown)
    }

    pub(super) fn virtual_account(&self, smart: &str, name: &str) -> Result<VirtualAccount> {
        let unknown = || {
            let message =
                format!("there is no virtual account {smart}/{name}; make it with `licraft central account create`");
            refused(RefusalReason::NotFound, message)
        };
        self.store.get(&VirtualAccount::key(smart, name))?.ok_or_else(unknown)
    }
}

fn refuse_bound(account: &VirtualAccount) -> std::result::Result<(), CentralError> {
    match &account.bound {
        None => Ok(()),
        Some(bound) => Err(refused(
            RefusalReason::InUse,
            format!(
                "account {:?} of server {} draws on virtual account {}/{}; it must be deleted there, or released here, first",
                bound.account, bound.server, account.smart_account, account.name
            ),
        )),
    }
}
