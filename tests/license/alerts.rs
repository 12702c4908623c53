//! Alerts that follow from the records: raised, updated, cleared, and kept in the history.

use super::rig::*;
use licraft::license::*;

const DAY: u64 = Millis::DAY;

fn alert(rig: &Rig, kind: AlertKind) -> Option<Alert> {
    rig.state.alerts().find(|alert| alert.key.kind == kind).cloned()
}

fn on_day(rig: &mut Rig, day: u64) {
    rig.now = START + day * DAY;
    rig.run(Command::PassTime);
}

fn past(rig: &Rig) -> Vec<&'static str> {
    rig.state.past_alerts(0).map(|past| past.alert.key.kind.title()).collect()
}

fn term(quantity: u64, from: u64, to: u64) -> Term {
    let (start, end) = (Millis(START + from * DAY), Some(Millis(START + to * DAY)));
    Term { quantity, start, end, billing: Billing::Prepaid }
}

fn set(rig: &mut Rig, licenses_expiring_days: u64) {
    rig.run(Command::SetSettings { settings: Settings { licenses_expiring_days, ..Settings::default() } });
}

#[test]
fn terms_that_end_are_told_before_and_after_unless_renewed() {
    let mut rig = Rig::initialized();
    // BASE is renewed for fewer, LIFECYCLE for as many.
    let renewed = |tag, left| entitlement(tag, vec![term(5, 0, 100), term(left, 100, 300)]);
    let account = rig.active_account("one", vec![renewed("BASE", 3), renewed("LIFECYCLE", 5)]);
    on_day(&mut rig, 69);
    assert_eq!(rig.state.alerts().count(), 1, "the synchronization is overdue, nothing else");
    on_day(&mut rig, 70);
    let told = alert(&rig, AlertKind::LicensesExpiring).unwrap();
    assert_eq!((told.key.source.as_str(), told.severity), ("one/Default/BASE", Severity::Minor));
    assert_eq!((told.due, told.account), (Some(Millis(START + 100 * DAY)), Some(account)));
    assert_eq!(told.message, "Virtual account \"Default\" will have 2 fewer of \"License BASE\": their term ends.");
    on_day(&mut rig, 100);
    assert_eq!(alert(&rig, AlertKind::LicensesExpiring), None);
    let told = alert(&rig, AlertKind::LicensesExpired).unwrap();
    assert_eq!((told.key.source.as_str(), told.severity), ("one/Default/BASE", Severity::Major));
    assert_eq!(told.message, "Virtual account \"Default\" has 2 fewer of \"License BASE\" since their term ended.");
    on_day(&mut rig, 189);
    assert!(alert(&rig, AlertKind::LicensesExpired).is_some());
    on_day(&mut rig, 190);
    assert_eq!(alert(&rig, AlertKind::LicensesExpired), None, "news to nobody");
    assert_eq!(past(&rig), ["Account Pending", "Licenses Expiring", "Licenses Expired"]);
}

#[test]
fn a_purchase_clears_what_was_told_of_terms() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", vec![entitlement("BASE", vec![term(5, 0, 10)])]);
    assert!(alert(&rig, AlertKind::LicensesExpiring).is_some(), "at once");
    on_day(&mut rig, 11);
    let key = alert(&rig, AlertKind::LicensesExpired).unwrap().key;
    rig.run(Command::AcknowledgeAlert { key: key.clone() });
    let seen = Acknowledgement { at: Millis(rig.now), by: "admin".into() };
    assert_eq!(rig.state.alert(&key).unwrap().acknowledged.as_ref(), Some(&seen), "acknowledged, and still listed");
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 1, vec![entitlement("BASE", vec![term(5, 0, 10), term(6, 11, 400)])]));
    assert_eq!(rig.state.alerts().count(), 0);
    let last = rig.state.past_alerts(0).last().unwrap();
    assert_eq!((&last.alert.key, last.cleared, &last.alert.acknowledged), (&key, Millis(rig.now), &Some(seen)));
    assert_eq!(last.cleared_by, "admin", "the synchronization was theirs");
}

#[test]
fn how_early_terms_are_told_is_a_setting() {
    let mut rig = Rig::initialized();
    rig.active_account("one", vec![entitlement("BASE", vec![term(5, 0, 100)])]);
    set(&mut rig, 100);
    assert!(alert(&rig, AlertKind::LicensesExpiring).is_some());
    set(&mut rig, 7);
    assert_eq!(alert(&rig, AlertKind::LicensesExpiring), None);
    on_day(&mut rig, 92);
    assert_eq!(alert(&rig, AlertKind::LicensesExpiring), None);
    on_day(&mut rig, 93);
    assert!(alert(&rig, AlertKind::LicensesExpiring).is_some());
    for bad in [0, 366] {
        let settings = Settings { licenses_expiring_days: bad, ..Settings::default() };
        assert_eq!(rig.refused(Command::SetSettings { settings }), Reason::Invalid);
    }
}

#[test]
fn a_synchronization_that_is_overdue_gets_worse_at_90_days() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(1));
    on_day(&mut rig, 30);
    let told = alert(&rig, AlertKind::SynchronizationOverdue).unwrap();
    assert_eq!((told.severity, told.due), (Severity::Minor, Some(Millis(START + 30 * DAY))));
    rig.run(Command::AcknowledgeAlert { key: told.key.clone() });
    on_day(&mut rig, 89);
    assert!(rig.state.alert(&told.key).unwrap().acknowledged.is_some());
    on_day(&mut rig, 90);
    let worse = rig.state.alert(&told.key).unwrap();
    assert_eq!((worse.severity, &worse.acknowledged, worse.raised), (Severity::Major, &None, told.raised));
    assert_eq!(worse.message, "The account has not synchronized with central for 90 days.");
    assert_eq!(rig.state.events(0).filter(|e| e.kind == "synchronization-overdue").count(), 2);
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 1, catalog(1)));
    assert_eq!(rig.state.alerts().count(), 0);
    on_day(&mut rig, 120);
    assert_eq!(alert(&rig, AlertKind::SynchronizationOverdue).unwrap().severity, Severity::Minor);
}

/// Three products of a virtual account, the second of which goes on calling.
#[test]
fn products_that_do_not_call_are_one_alert_of_their_virtual_account() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(9));
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let token = rig.token(lab, 0, false);
    let ids = [1, 2, 3].map(|device| {
        let instance = rig.registered(token, device, 1).instance;
        let certificate = IdCertificate { not_after: Millis(rig.now + CERTIFICATE_LIFE), ..rig.certificate(1) };
        rig.numbered(instance, 1, InstanceAction::RenewCertificate { certificate });
        instance
    });
    on_day(&mut rig, 20);
    rig.authorize(ids[1], 2, &[]);
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 1, catalog(9)));
    on_day(&mut rig, 35);
    assert_eq!(rig.state.alerts().map(|alert| alert.key.kind.title()).collect::<Vec<_>>(), [""; 0]);
    on_day(&mut rig, 36);
    let told = alert(&rig, AlertKind::FailedToConnect).unwrap();
    assert_eq!((told.key.source.as_str(), told.severity), ("one/Lab", Severity::Minor));
    let first = "UDI_PID:PI-SOFTWARE;UDI_SN:SN1;";
    assert_eq!(
        told.message,
        format!("2 product instances of \"Lab\" did not connect for 35 days. The first one is {first}.")
    );
    let release = rig.state.instance(ids[0]).unwrap().lapses_at().0 / DAY + 1;
    assert_eq!(told.due, Some(Millis(release * DAY)));
    let failures = |rig: &Rig, id| rig.state.failures(rig.state.instance(id).unwrap()).collect::<Vec<_>>();
    assert_eq!(failures(&rig, ids[0]), [AlertKind::FailedToConnect]);
    assert_eq!(failures(&rig, ids[1]), []);

    // One calls, and the alert says so; it moves with the name.
    rig.authorize(ids[0], 2, &[]);
    rig.run(Command::RenameVirtualAccount { va: lab, name: "Field".into() });
    let told = alert(&rig, AlertKind::FailedToConnect).unwrap();
    assert_eq!(told.key.source, "one/Field");
    assert!(told.message.starts_with("1 product instance of \"Field\""), "{}", told.message);
    assert_eq!(rig.state.past_alerts(0).count(), 1, "a new name is no end");

    // After 90 days its authorization has lapsed, too.
    on_day(&mut rig, 91);
    assert_eq!(failures(&rig, ids[2]), [AlertKind::FailedToConnect, AlertKind::FailedToRenew]);
    assert_eq!(alert(&rig, AlertKind::FailedToRenew).unwrap().severity, Severity::Major);
    // In another virtual account it is that one's.
    let default = rig.state.account(account).unwrap().default_va;
    rig.run(Command::TransferInstance { instance: ids[2], to: default });
    let source = alert(&rig, AlertKind::FailedToRenew).unwrap().key.source;
    assert_eq!(source, "one/Default");
    rig.run(Command::RemoveInstance { instance: ids[2] });
    assert_eq!(alert(&rig, AlertKind::FailedToRenew), None);
}

#[test]
fn a_certificate_that_is_not_renewed_is_told_though_the_product_calls() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(9));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    // One of four certificates of the rig lives for 40 days.
    let ids = [1, 2, 3, 4].map(|device| rig.registered(token, device, 1).instance);
    let ends = |rig: &Rig, id| rig.state.instance(id).unwrap().certificate.not_after.0;
    let short = ids.into_iter().find(|id| ends(&rig, *id) < START + 50 * DAY).unwrap();
    let mut number = 0;
    let mut call = |rig: &mut Rig, day| {
        rig.now = START + day * DAY;
        number += 1;
        ids.iter().for_each(|id| drop(rig.authorize(*id, number, &[])));
    };
    call(&mut rig, 9);
    assert_eq!(alert(&rig, AlertKind::FailedToRenew), None);
    call(&mut rig, 11);
    let told = alert(&rig, AlertKind::FailedToRenew).unwrap();
    assert!(told.message.starts_with("1 product instance of"), "{}", told.message);
    assert_eq!(told.due, Some(Millis(ends(&rig, short) / DAY * DAY)));
    let certificate = IdCertificate { not_after: Millis(rig.now + CERTIFICATE_LIFE), ..rig.certificate(1) };
    rig.numbered(short, 9, InstanceAction::RenewCertificate { certificate });
    assert_eq!(alert(&rig, AlertKind::FailedToRenew), None);
}

/// A site goes dark: what one command has to do is bounded, and there is one alert.
#[test]
fn a_site_that_goes_dark_is_noted_in_bounded_steps() {
    let mut state = Rig::initialized().state;
    let mut changes = Changes::new();
    let mut run = |state: &mut State, at: u64, command: Command| {
        changes.clear();
        let request = Request { id: 0, actor: "test".into(), command };
        let outcome = state.apply(Stamp::at(Millis(at)), &request, &mut changes);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        changes.len()
    };
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(9));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    state.clone_from(&rig.state);
    let count = 300;
    for device in 0..count {
        let certificate = IdCertificate { not_after: Millis(START + CERTIFICATE_LIFE), ..rig.certificate(device) };
        run(&mut state, START, register(token, device, certificate));
    }
    let day = START + 36 * DAY;
    let told = |state: &State| {
        let alerts: Vec<_> = state.alerts().filter(|a| a.key.kind == AlertKind::FailedToConnect).collect();
        assert!(alerts.len() <= 1);
        alerts.first().map_or(0, |a| a.message.split(' ').next().unwrap().parse::<u64>().unwrap())
    };
    for step in 1..=5 {
        let changed = run(&mut state, day, Command::PassTime);
        assert_eq!(told(&state), (step * MARKS_PER_APPLY as u64).min(count));
        assert!(changed < 10, "{changed} records for one step");
    }
    assert_eq!(state.check(), [""; 0]);
    let restored = State::from_records(state.records());
    assert_eq!(restored, state);
}

#[test]
fn the_history_of_alerts_is_a_ring() {
    let mut state = Rig::initialized().state;
    let key = |n: u64| AlertKey { kind: AlertKind::DiskSpace, source: format!("node-{n}") };
    let mut image: std::collections::BTreeMap<_, _> = state.records().collect();
    let mut run = |state: &mut State, command: Command| {
        let mut changes = Changes::new();
        let request = Request { id: 0, actor: "test".into(), command };
        assert_eq!(state.apply(Stamp::at(Millis(START)), &request, &mut changes), Outcome::Done);
        for key in changes {
            match state.record(&key) {
                Some(record) => drop(image.insert(key, record)),
                None => drop(image.remove(&key)),
            }
        }
        image.len()
    };
    let mut records = 0;
    for n in 0..MAX_PAST_ALERTS + 20 {
        let (severity, message, action) = (Severity::Major, "full".into(), "make room".into());
        let (account, raised, due, acknowledged) = (None, Millis(0), None, None);
        let alert = Alert { key: key(n), severity, account, raised, due, message, action, acknowledged };
        run(&mut state, Command::RaiseAlert { alert });
        records = run(&mut state, Command::ClearAlert { key: key(n) });
    }
    let past: Vec<_> = state.past_alerts(0).map(|past| (past.seq, past.alert.key.clone())).collect();
    assert_eq!(past.len() as u64, MAX_PAST_ALERTS);
    assert_eq!((past[0].clone(), past.last().unwrap().0), ((21, key(20)), MAX_PAST_ALERTS + 20));
    assert_eq!(state.past_alerts(MAX_PAST_ALERTS + 18).count(), 2);
    assert_eq!((state.check(), records), (vec![], state.records().count()));
    assert_eq!(State::from_records(image), state, "the changed records are the state");
}

#[test]
fn nobody_else_raises_or_clears_what_follows_from_the_records() {
    let mut rig = Rig::initialized();
    let own = ["server clock", "one/Default"].map(str::to_owned);
    for (kind, source) in [
        (AlertKind::ClockSkew, own[0].clone()),
        (AlertKind::FailedToConnect, own[1].clone()),
        (AlertKind::FailedToRenew, own[1].clone()),
        (AlertKind::LicensesExpiring, own[1].clone()),
        (AlertKind::LicensesExpired, own[1].clone()),
    ] {
        let key = AlertKey { kind, source };
        assert!(State::keeps_alert(&key));
        assert_eq!(rig.refused(Command::ClearAlert { key }), Reason::Invalid);
    }
    let key = AlertKey { kind: AlertKind::ClockSkew, source: "secondary-node".into() };
    assert!(!State::keeps_alert(&key), "of a node that is not active");
    rig.run(Command::ClearAlert { key });
}
