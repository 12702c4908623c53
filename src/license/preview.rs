//! What would become of commands, before they are given: what a response of central changes, and what would be refused.

use super::*;
use std::collections::BTreeMap;

/// The purchased quantity of one license, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitlementChange {
    pub tag: String,
    pub name: String,
    /// Whether the account did not know the license before.
    pub new: bool,
    /// In force at the state's time, in all virtual accounts together.
    pub purchased: u64,
    pub purchased_after: u64,
    pub in_use: u64,
}

impl State {
    /// Tries commands out on a copy, one after the other; none for each that would be done, and why for each that would not.
    #[must_use]
    pub fn rehearse(&self, commands: impl IntoIterator<Item = Command>) -> Vec<Option<Refusal>> {
        let mut copy = self.clone();
        let mut try_out = |command| {
            let request = Request { id: 0, actor: String::new(), command };
            let stamp = Stamp { at: copy.now(), wall: copy.now().plus(copy.meta.clock_ahead) };
            match copy.apply(stamp, &request, &mut Changes::new()) {
                Outcome::Refused(refusal) => Some(refusal),
                _ => None,
            }
        };
        commands.into_iter().map(&mut try_out).collect()
    }

    /// What taking `entitlements` as all that is purchased would change for an account, by tag. A license that stays as
    /// it is, is left out; one that is not named has nothing any more.
    #[must_use]
    pub fn entitlement_changes(&self, account: AccountId, entitlements: &[Entitlement]) -> Vec<EntitlementChange> {
        let mut changes: BTreeMap<&str, EntitlementChange> = BTreeMap::new();
        for license in self.licenses(account) {
            let pools = || self.virtual_accounts(account).filter_map(|va| self.pool(va.id, license.id));
            let change = EntitlementChange {
                tag: license.tag.clone(),
                name: license.name.clone(),
                new: false,
                purchased: pools().map(|pool| pool.purchased_at(self.meta.expiry)).sum(),
                purchased_after: 0,
                in_use: pools().map(|pool| pool.in_use).sum(),
            };
            changes.insert(&license.tag, change);
        }
        for entitlement in entitlements {
            let change = changes.entry(&entitlement.tag).or_insert_with(|| EntitlementChange {
                tag: entitlement.tag.clone(),
                name: String::new(),
                new: true,
                purchased: 0,
                purchased_after: 0,
                in_use: 0,
            });
            change.name.clone_from(&entitlement.name);
            let in_force = entitlement.terms.iter().filter(|term| term.in_force(self.meta.expiry));
            change.purchased_after = in_force.map(|term| term.quantity).sum();
        }
        let changed = |change: &EntitlementChange| change.new || change.purchased != change.purchased_after;
        changes.into_values().filter(changed).collect()
    }
}
