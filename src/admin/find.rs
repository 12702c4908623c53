//! Finds what an administrator names: by name, by `#ID`, or by leaving it out where there is only one.

use super::error::{AdminError, Kind};
use crate::license::*;
use crate::proto::admin::VirtualAccountRef;

/// The account `name`; an empty name is the only account there is.
pub fn account<'a>(state: &'a State, name: &str) -> Result<&'a Account, AdminError> {
    if name.is_empty() {
        let mut accounts = state.accounts();
        return match (accounts.next(), accounts.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                Err(AdminError::new(Kind::NotFound, "there is no account yet")
                    .hint("`licraft account request` makes one"))
            }
            _ => Err(AdminError::new(Kind::Invalid, "there are several accounts")
                .hint("name one with --account; `licraft account list` shows them")),
        };
    }
    let found = state.account_by_name(name).or_else(|| state.account(AccountId(id(name)?)));
    found.ok_or_else(|| missing("account", name, "`licraft account list` shows them"))
}

/// The virtual account named; left out, the account's default.
pub fn virtual_account<'a>(state: &'a State, named: &VirtualAccountRef) -> Result<&'a VirtualAccount, AdminError> {
    let account = account(state, &named.account)?;
    virtual_account_of(state, account, &named.virtual_account)
}

pub fn virtual_account_of<'a>(
    state: &'a State,
    account: &Account,
    name: &str,
) -> Result<&'a VirtualAccount, AdminError> {
    let found = if name.is_empty() {
        state.virtual_account(account.default_va)
    } else {
        let by_id = || state.virtual_account(VirtualAccountId(id(name)?)).filter(|va| va.account == account.id);
        state.virtual_account_by_name(account.id, name).or_else(by_id)
    };
    let hint = format!("`licraft virtual-account list --account '{}'` shows them", account.name);
    found.ok_or_else(|| missing("virtual account", name, &hint))
}

/// The virtual accounts that `named` covers: empty fields mean all.
pub fn virtual_accounts<'a>(
    state: &'a State,
    named: Option<&VirtualAccountRef>,
) -> Result<Vec<(&'a Account, &'a VirtualAccount)>, AdminError> {
    let (account_name, va_name) = named.map_or(("", ""), |n| (n.account.as_str(), n.virtual_account.as_str()));
    if !va_name.is_empty() {
        let account = account(state, account_name)?;
        return Ok(vec![(account, virtual_account_of(state, account, va_name)?)]);
    }
    let accounts = match account_name {
        "" => state.accounts().collect(),
        name => vec![account(state, name)?],
    };
    Ok(accounts.into_iter().flat_map(|a| state.virtual_accounts(a.id).map(move |va| (a, va))).collect())
}

/// A license by tag, `#ID`, or name where only one has it.
pub fn license<'a>(state: &'a State, account: &Account, name: &str) -> Result<&'a License, AdminError> {
    let by_id = || state.license(LicenseId(id(name)?)).filter(|l| l.account == account.id);
    if let Some(license) = state.license_by_tag(account.id, name).or_else(by_id) {
        return Ok(license);
    }
    let mut named = state.licenses(account.id).filter(|l| l.name == name);
    match (named.next(), named.next()) {
        (Some(license), None) => Ok(license),
        (None, _) => Err(missing("license", name, "`licraft license list` shows them")),
        _ => Err(AdminError::new(Kind::Invalid, format!("several licenses are named `{name}`"))
            .hint("name it by its entitlement tag; `licraft license list -o json` shows them")),
    }
}

/// An instance by ID (with or without `#`), display name, host name or `PID:SN`.
pub fn instance<'a>(state: &'a State, account_name: &str, name: &str) -> Result<&'a Instance, AdminError> {
    let only = if account_name.is_empty() { None } else { Some(account(state, account_name)?.id) };
    let of_account = |i: &&Instance| only.is_none() || only == account_of(state, i).map(|a| a.id);
    let number = name.strip_prefix('#').unwrap_or(name).parse();
    if let Some(found) = number.ok().and_then(|n| state.instance(InstanceId(n))).filter(of_account) {
        return Ok(found);
    }
    let matches = |i: &&Instance| {
        i.host_name.as_deref() == Some(name)
            || name.split_once(':').is_some_and(|(pid, sn)| i.udis().any(|udi| udi.pid == pid && udi.sn == sn))
            || display_name(i) == name
    };
    let mut found = state.instances(None).filter(matches).filter(of_account);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(missing("product instance", name, "`licraft instance list` shows them")),
        _ => Err(AdminError::new(Kind::Invalid, format!("several product instances are named `{name}`"))
            .hint("name it by its ID; `licraft instance list` shows them")),
    }
}

/// What people call an instance: its host name, or its device identity.
pub fn display_name(instance: &Instance) -> String {
    match &instance.host_name {
        Some(name) => name.to_string(),
        None => format!("UDI_PID:{};UDI_SN:{}", instance.udi.pid, instance.udi.sn),
    }
}

/// The account an instance belongs to.
pub fn account_of<'a>(state: &'a State, instance: &Instance) -> Option<&'a Account> {
    state.account(state.virtual_account(instance.va)?.account)
}

/// Name of an account by id; empty for none.
pub fn account_name(state: &State, id: Option<AccountId>) -> String {
    id.and_then(|id| state.account(id)).map(|a| a.name.clone()).unwrap_or_default()
}

fn id(name: &str) -> Option<u64> {
    name.strip_prefix('#')?.parse().ok()
}

fn missing(what: &str, name: &str, hint: &str) -> AdminError {
    AdminError::new(Kind::NotFound, format!("there is no {what} `{name}`")).hint(hint)
}
