//! Substitution: spare licenses of a higher tier cover what a lower one lacks, by the vendor's rules.
//!
//! A rule says that one license is covered by others, the preferred ones first; what covers the coverer covers too, after
//! all that is nearer. Each virtual account is for itself. A license lends only what it does not use itself. Who has the
//! fewest to borrow from borrows first, then the older license; so the outcome depends on the counts alone, and nobody is
//! short while one of those who cover it has any to spare. Whether a lender is export-controlled is of no matter: what the
//! product uses is the license it asked for.

use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many of a license stand in for another one in a virtual account: the lesser of what one lacked and the other had to
/// spare, after the loans before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    pub from: LicenseId,
    pub to: LicenseId,
    pub count: u64,
    pub lacked: u64,
    pub spare: u64,
}

/// The licenses that rules connect with each, itself among them, oldest first; only groups of two and more.
pub(super) type Groups = BTreeMap<LicenseId, Arc<[LicenseId]>>;

/// The groups in which the rules of one account's licenses connect them.
pub(super) fn groups<'a>(licenses: impl Iterator<Item = &'a License> + Clone) -> Groups {
    let by_tag: BTreeMap<&str, LicenseId> = licenses.clone().map(|l| (l.tag.as_str(), l.id)).collect();
    let mut neighbours: BTreeMap<LicenseId, Vec<LicenseId>> = BTreeMap::new();
    for license in licenses {
        for coverer in license.covered_by.iter().filter_map(|tag| by_tag.get(tag.as_str())) {
            neighbours.entry(license.id).or_default().push(*coverer);
            neighbours.entry(*coverer).or_default().push(license.id);
        }
    }
    let mut groups = Groups::new();
    for start in neighbours.keys() {
        if groups.contains_key(start) {
            continue;
        }
        let mut group = vec![*start];
        let mut next = 0;
        while let Some(id) = group.get(next) {
            let new: Vec<_> = neighbours[id].iter().filter(|n| !group.contains(n)).copied().collect();
            group.extend(new.iter().enumerate().filter(|(n, id)| !new[..*n].contains(id)).map(|(_, id)| *id));
            next += 1;
        }
        group.sort_unstable();
        let group: Arc<[LicenseId]> = group.into();
        groups.extend(group.iter().map(|id| (*id, group.clone())));
    }
    groups
}

impl State {
    /// Who lends how much to whom in a virtual account, among the licenses that rules connect with `license`.
    #[must_use]
    pub fn loans(&self, va: VirtualAccountId, license: LicenseId) -> Vec<Loan> {
        self.index.groups.get(&license).map(|group| self.loans_among(va, group)).unwrap_or_default()
    }

    pub(super) fn loans_among(&self, va: VirtualAccountId, group: &[LicenseId]) -> Vec<Loan> {
        // Counts are limited to MAX_COUNT (2^40), so these casts are exact.
        let own = |id: &LicenseId| self.pool(va, *id).map_or(0, |p| p.purchased as i64 - p.in_use as i64);
        let mut spare: BTreeMap<LicenseId, i64> = group.iter().map(|id| (*id, own(id))).collect();
        let short = group.iter().filter(|id| spare[id] < 0);
        let mut borrowers: Vec<_> = short.map(|id| (*id, self.lenders(*id))).collect();
        borrowers.sort_by_key(|(id, lenders)| (lenders.len(), *id));
        let mut loans = Vec::new();
        for (to, lenders) in borrowers {
            for from in lenders {
                let (left, lacked) = (spare[&from], -spare[&to]);
                let count = left.min(lacked);
                if count > 0 {
                    spare.insert(from, left - count);
                    spare.insert(to, count - lacked);
                    let [count, lacked, spare] = [count, lacked, left].map(i64::unsigned_abs);
                    loans.push(Loan { from, to, count, lacked, spare });
                }
            }
        }
        loans
    }

    /// The licenses that rules connect with one, itself among them, oldest first; empty where there is no rule.
    #[must_use]
    pub fn connected(&self, license: LicenseId) -> &[LicenseId] {
        self.index.groups.get(&license).map(|group| &**group).unwrap_or_default()
    }

    /// The rules by which a loan may be: the licenses from `to` up to `from`, of which each covers the one before. Empty
    /// when there are none.
    #[must_use]
    pub fn rules_between(&self, to: LicenseId, from: LicenseId) -> Vec<LicenseId> {
        let found = self.coverers(to);
        let Some(mut place) = found.iter().position(|(id, _)| *id == from) else { return Vec::new() };
        let mut rules = vec![from];
        while place > 0 {
            place = found[place].1;
            rules.push(found[place].0);
        }
        rules.reverse();
        rules
    }

    /// The licenses that cover one, nearest first, then in the order of the rules.
    fn lenders(&self, license: LicenseId) -> Vec<LicenseId> {
        self.coverers(license).into_iter().skip(1).map(|(id, _)| id).collect()
    }

    /// The license and its lenders, each with the place of the one that it covers.
    fn coverers(&self, license: LicenseId) -> Vec<(LicenseId, usize)> {
        let mut found = vec![(license, 0)];
        let mut next = 0;
        while let Some(license) = found.get(next).and_then(|(id, _)| self.license(*id)) {
            for tag in &license.covered_by {
                if let Some(coverer) = self.license_by_tag(license.account, tag)
                    && !found.iter().any(|(id, _)| *id == coverer.id)
                {
                    found.push((coverer.id, next));
                }
            }
            next += 1;
        }
        found
    }
}

/// What each license borrowed (positive) or lent (negative).
pub(super) fn net(loans: &[Loan]) -> BTreeMap<LicenseId, i64> {
    let mut net = BTreeMap::new();
    for loan in loans {
        *net.entry(loan.to).or_default() += loan.count as i64;
        *net.entry(loan.from).or_default() -= loan.count as i64;
    }
    net
}
