//! What stands between an account and its deletion.

use super::*;

/// One thing that an administrator should know before an account is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Hindrance,
    /// Whether somebody must see to it first; else deleting the account does.
    pub in_the_way: bool,
    /// A clause for people.
    pub what: String,
    /// The command to run, or what deleting the account does about it.
    pub next: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It is on its way to central.
    Approved,
    Instances,
    Active,
    /// Products could register with these.
    Tokens,
    /// Purchased licenses lie in other virtual accounts than the default one.
    LicensesMoved,
    /// A request to central has no answer yet.
    Outstanding,
    /// Central has not heard that the account ends.
    NotClosed,
}

impl State {
    /// All that stands between the account and its deletion, in the order in which it is to be seen to.
    #[must_use]
    pub fn before_deletion(&self, id: AccountId) -> Vec<Finding> {
        let Some(account) = self.account(id) else { return Vec::new() };
        let (name, sync) = (&account.name, &account.sync);
        let by_network = !self.settings().central_url.is_empty();
        let mut found = Vec::new();
        let mut add = |kind, in_the_way, what, next| found.push(Finding { kind, in_the_way, what, next });
        if account.status == AccountStatus::Approved {
            let what = "it waits for its registration with central".into();
            add(Hindrance::Approved, true, what, format!("licraft account reject {name:?} --reason WHY"));
        }
        if account.instances > 0 {
            let what = format!("{} are registered", counted(account.instances, "product instance"));
            let next = format!("licraft instance list --account {name:?}, then licraft instance remove ID for each");
            add(Hindrance::Instances, true, what, next);
        }
        if account.status == AccountStatus::Active {
            add(Hindrance::Active, false, "it is in service".into(), "it is deactivated".into());
        }
        let tokens = self.virtual_accounts(id).flat_map(|va| self.tokens(va.id));
        let tokens = tokens.filter(|token| token.refusal(self.now()).is_none()).count();
        if tokens > 0 {
            let what = format!("{} could still be used", counted(tokens as u64, "registration token"));
            add(Hindrance::Tokens, false, what, "no product can register with them any more".into());
        }
        let others = self.virtual_accounts(id).filter(|va| va.id != account.default_va);
        let moved: u64 = others.flat_map(|va| self.pools(va.id)).map(|pool| pool.purchased).sum();
        if moved > 0 {
            let what = format!("{} were moved to other virtual accounts", counted(moved, "purchased license"));
            add(Hindrance::LicensesMoved, false, what, "all of them go back to central".into());
        }
        if let Some(outstanding) = sync.outstanding.as_ref().filter(|o| !o.closing) {
            let what = format!("central has not answered synchronization {}", outstanding.seq);
            let next = match by_network {
                true => "it is finished".into(),
                false => by_files(name),
            };
            add(Hindrance::Outstanding, !by_network, what, next);
        }
        if matches!(account.status, AccountStatus::Active | AccountStatus::Inactive) && !sync.closed {
            let next = match by_network {
                true => "a last synchronization tells it, and frees the virtual account there".into(),
                false => format!("a last request is made for it: {}", by_files(name)),
            };
            add(Hindrance::NotClosed, false, "central has not heard that it ends".into(), next);
        }
        found
    }
}

fn by_files(account: &str) -> String {
    format!("licraft sync export-request FILE --account {account:?}, then licraft sync import-response with the answer")
}

fn counted(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}
