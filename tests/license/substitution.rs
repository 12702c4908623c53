//! Substitution in random hierarchies: the calculation that is shown explains every number.

use super::rig::*;
use licraft::license::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What is purchased and used of a license, and which of those above it cover it, by how far above.
type Tier = (u64, u64, Vec<usize>);

fn tag(n: usize) -> String {
    format!("TIER{n}")
}

/// A license is covered only by later ones: a hierarchy, in which paths may meet again.
fn entitlements(tiers: &[Tier]) -> Vec<Entitlement> {
    let entitlement = |(n, (quantity, _, above)): (usize, &Tier)| {
        let mut covers: Vec<usize> = above.iter().map(|up| n + 1 + up).filter(|cover| *cover < tiers.len()).collect();
        covers.dedup();
        let mut seen = Vec::new();
        covers.retain(|cover| {
            !seen.contains(cover) && {
                seen.push(*cover);
                true
            }
        });
        let terms = if *quantity > 0 { vec![perpetual(*quantity)] } else { vec![] };
        Entitlement { covered_by: covers.into_iter().map(tag).collect(), ..entitlement(&tag(n), terms) }
    };
    tiers.iter().enumerate().map(entitlement).collect()
}

fn explain(state: &State, va: VirtualAccountId, account: AccountId) -> Result<u64, String> {
    let own = |l: &License| state.pool(va, l.id).map_or(0, |p| p.purchased as i64 - p.in_use as i64);
    let before: BTreeMap<LicenseId, i64> = state.licenses(account).map(|l| (l.id, own(l))).collect();
    let mut all: Vec<Loan> = Vec::new();
    for license in state.licenses(account) {
        let loans = state.loans(va, license.id);
        ensure(
            all.is_empty()
                || loans.is_empty()
                || !loans.iter().any(|l| all.contains(l))
                || loans.iter().all(|l| all.contains(l)),
            "two groups share a loan",
        )?;
        if loans.first().is_some_and(|first| !all.contains(first)) {
            all.extend(loans);
        }
    }
    let mut balance = before;
    for loan in &all {
        let Loan { from, to, count, lacked, spare } = *loan;
        ensure(balance[&to] == -(lacked as i64) && balance[&from] == spare as i64, &format!("{loan:?}: {balance:?}"))?;
        ensure(count == lacked.min(spare) && count > 0, &format!("{loan:?} is not the lesser"))?;
        *balance.get_mut(&to).unwrap() += count as i64;
        *balance.get_mut(&from).unwrap() -= count as i64;
        let rules = state.rules_between(to, from);
        ensure(rules.len() > 1 && rules[0] == to && rules.last() == Some(&from), &format!("{rules:?}"))?;
        for pair in rules.windows(2) {
            let (lower, upper) = (state.license(pair[0]).unwrap(), state.license(pair[1]).unwrap());
            ensure(lower.covered_by.contains(&upper.tag), &format!("{} does not cover {}", upper.tag, lower.tag))?;
        }
    }
    let mut net = 0;
    for license in state.licenses(account) {
        let of = |id: fn(&Loan) -> LicenseId| {
            all.iter().filter(|l| id(l) == license.id).map(|l| l.count as i64).sum::<i64>()
        };
        let expected = of(|l| l.to) - of(|l| l.from);
        let kept = state.pool(va, license.id).map_or(0, |p| p.substitution);
        ensure(kept == expected, &format!("{}: {kept} is kept, its loans come to {expected}", license.tag))?;
        let short = balance[&license.id] < 0;
        let spare = |id: &LicenseId| balance[id] > 0 && !state.rules_between(license.id, *id).is_empty();
        ensure(!short || !balance.keys().any(spare), &format!("{} is short beside a spare coverer", license.tag))?;
        net += kept;
    }
    ensure(net == 0, "more is lent than borrowed")?;
    Ok(all.len() as u64)
}

#[test]
fn every_loan_of_a_random_hierarchy_is_explained_and_nothing_else_is_lent() {
    let tier = (0u64..12, 0u64..12, prop::collection::vec(0usize..4, 0..4));
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &[3; 32]);
    let loans = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let result = runner.run(&prop::collection::vec(tier, 2..8), |tiers| {
        let mut rig = Rig::initialized();
        let account = rig.active_account("TEST", entitlements(&tiers));
        let va = rig.state.account(account).unwrap().default_va;
        let token = rig.token(va, 0, false);
        let instance = rig.registered(token, 1, 1).instance;
        let usage: Vec<(String, u64)> = tiers.iter().enumerate().map(|(n, (_, used, _))| (tag(n), *used)).collect();
        let usage: Vec<(&str, u64)> = usage.iter().map(|(tag, used)| (tag.as_str(), *used)).collect();
        // Half of it first, then all, then the other way round: only the counts decide.
        for (number, part) in [&usage[..usage.len() / 2], &usage, &[], &usage].into_iter().enumerate() {
            rig.authorize(instance, number as u64 + 1, part);
            loans.set(loans.get() + explain(&rig.state, va, account).map_err(TestCaseError::fail)?);
        }
        Ok(())
    });
    result.unwrap();
    assert!(loans.get() > 200, "hardly anything was lent: {}", loans.get());
}
