//! Usage over time: which days are kept of a pool, and what they say.

use super::rig::*;
use licraft::license::*;

const DAY: u64 = Millis::DAY;
/// The day on which the tests begin, in the afternoon.
const FIRST: u64 = START / DAY;

/// One account with 10 of BASE and an instance that uses 4.
fn scene() -> (Rig, AccountId, VirtualAccountId, InstanceId) {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", vec![entitlement("BASE", vec![perpetual(10)])]);
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 4)]);
    (rig, account, va, instance)
}

fn base(rig: &Rig, account: AccountId) -> LicenseId {
    rig.state.license_by_tag(account, "BASE").unwrap().id
}

/// (day since the first one, purchased, in use, substitution, peak, lowest)
type Line = (u64, u64, u64, i64, u64, i64);

fn days(rig: &Rig, va: VirtualAccountId, license: LicenseId) -> Vec<Line> {
    let line = |d: UsageDay| (d.day - FIRST, d.purchased, d.in_use, d.substitution, d.peak, d.lowest);
    rig.state.usage_days(va, license).into_iter().map(line).collect()
}

#[test]
fn a_day_keeps_its_peak_and_its_lowest_balance() {
    let (mut rig, account, va, instance) = scene();
    let base = base(&rig, account);
    rig.authorize(instance, 2, &[("BASE", 12)]);
    rig.authorize(instance, 3, &[("BASE", 3)]);
    assert_eq!(days(&rig, va, base), [(0, 10, 3, 0, 12, -2)]);

    // Nothing changes for two days; on the third the day begins as the first one ended.
    for number in 4..6 {
        rig.now += DAY;
        rig.authorize(instance, number, &[("BASE", 3)]);
    }
    rig.now += DAY;
    rig.authorize(instance, 6, &[("BASE", 2)]);
    assert_eq!(days(&rig, va, base), [(0, 10, 3, 0, 12, -2), (3, 10, 2, 0, 3, 7)]);

    let over_time = |from, to| rig.state.usage([(va, base)], from..=to);
    let shown: Vec<_> =
        over_time(FIRST - 5, FIRST + 4).iter().map(|t| (t.day - FIRST, t.peak, t.lowest, t.short)).collect();
    assert_eq!(shown, [(0, 12, -2, 1), (1, 3, 7, 0), (2, 3, 7, 0), (3, 3, 7, 0), (4, 2, 8, 0)]);
    // What came before the days that are asked for counts too.
    let later: Vec<_> = over_time(FIRST + 2, FIRST + 3).iter().map(|t| (t.day - FIRST, t.purchased, t.peak)).collect();
    assert_eq!(later, [(2, 10, 3), (3, 10, 3)]);
    assert!(over_time(FIRST - 5, FIRST - 1).is_empty() && rig.state.usage([], FIRST..=FIRST).is_empty());
}

#[test]
fn the_history_outlives_its_pool_and_goes_with_its_virtual_account() {
    let (mut rig, account, _, _) = scene();
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let base = base(&rig, account);
    let token = rig.token(lab, 0, false);
    let instance = rig.registered(token, 2, 2).instance;
    rig.authorize(instance, 1, &[("BASE", 5)]);
    rig.now += DAY;
    rig.run(Command::RemoveInstance { instance });
    assert!(rig.state.pool(lab, base).is_none());
    let kept = [(0, 0, 5, 0, 5, -5), (1, 0, 0, 0, 5, -5)];
    assert_eq!(days(&rig, lab, base), kept);

    // The same day it is used again, and then days later, of which those between had nothing.
    let again = rig.registered(token, 3, 3).instance;
    rig.authorize(again, 1, &[("BASE", 7)]);
    assert_eq!(days(&rig, lab, base), [kept[0], (1, 0, 7, 0, 7, -7)]);
    rig.run(Command::RemoveInstance { instance: again });
    rig.now += 3 * DAY;
    let third = rig.registered(token, 4, 4).instance;
    rig.authorize(third, 1, &[("BASE", 1)]);
    assert_eq!(days(&rig, lab, base), [kept[0], (1, 0, 0, 0, 7, -7), (4, 0, 1, 0, 1, -1)]);
    let pools: Vec<_> = rig.state.usage([(lab, base)], FIRST..=FIRST + 4).iter().map(|t| t.pools).collect();
    assert_eq!(pools, [1, 1, 0, 0, 1]);

    rig.run(Command::RemoveInstance { instance: third });
    rig.restore().unwrap();
    rig.run(Command::DeleteVirtualAccount { va: lab });
    assert!(days(&rig, lab, base).is_empty() && rig.state.licenses_with_usage(lab).is_empty());
}

#[test]
fn transfers_terms_and_loans_are_noted_and_a_synchronization_without_news_is_not() {
    let mut rig = Rig::initialized();
    let ends = Millis((FIRST + 3) * DAY);
    let term = Term { quantity: 6, start: Millis(0), end: Some(ends), billing: Billing::Prepaid };
    let covered = Entitlement { covered_by: vec!["LIFECYCLE".into()], ..entitlement("BASE", vec![perpetual(4), term]) };
    let entitlements = vec![covered, entitlement("LIFECYCLE", vec![perpetual(3)])];
    let account = rig.active_account("one", entitlements.clone());
    let va = rig.state.account(account).unwrap().default_va;
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let (base, lifecycle) = (base(&rig, account), rig.state.license_by_tag(account, "LIFECYCLE").unwrap().id);
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 5)]);
    for (seq, day) in (1..).zip([1, 2]) {
        rig.now = START + day * DAY;
        rig.run(Command::BeginSync { account });
        rig.run(complete(account, seq, entitlements.clone()));
    }
    assert_eq!(days(&rig, va, base), [(0, 10, 5, 0, 5, 5)]);

    rig.run(Command::TransferLicense { license: base, from: va, to: lab, quantity: 2 });
    assert_eq!(days(&rig, va, base), [(0, 10, 5, 0, 5, 5), (2, 8, 5, 0, 5, 3)]);
    assert_eq!(days(&rig, lab, base), [(2, 2, 0, 0, 0, 2)]);
    // The term ends: of the 4 that stay 2 are in Lab, and LIFECYCLE covers what lacks here.
    rig.now = ends.0 + 1;
    rig.run(Command::PassTime);
    let (here, there) = (rig.state.pool(va, base).unwrap().purchased, rig.state.pool(lab, base).unwrap().purchased);
    assert_eq!(here + there, 4);
    let lent = 5_i64 - here as i64;
    assert_eq!(days(&rig, va, base).last(), Some(&(3, here, 5, lent.min(3), 5, (3 - lent).min(0))));
    assert_eq!(days(&rig, va, lifecycle), [(0, 3, 0, 0, 0, 3), (3, 3, 0, -lent.min(3), 0, 3 - lent.min(3))]);
}

#[test]
fn more_than_a_year_is_kept_and_no_more() {
    let (mut rig, account, va, _) = scene();
    let base = base(&rig, account);
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let last = MAX_USAGE_DAYS as u64 + 20;
    for day in 1..=last {
        rig.now = START + day * DAY;
        let (from, to) = if day % 2 == 1 { (va, lab) } else { (lab, va) };
        rig.run(Command::TransferLicense { license: base, from, to, quantity: 1 });
    }
    let days = days(&rig, va, base);
    // Those that are over, and today.
    assert_eq!(days.len(), MAX_USAGE_DAYS + 1);
    assert_eq!((days[0].0, days[MAX_USAGE_DAYS].0), (20, last));
    rig.check_image().unwrap();
    rig.restore().unwrap();
}
