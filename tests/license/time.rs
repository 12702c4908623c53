//! The clock that jumps, and outages: nothing of ours costs a product its license.

use super::rig::*;
use licraft::license::*;

const DAY: u64 = Millis::DAY;
const HOUR: u64 = Millis::HOUR;

fn alert(rig: &Rig, kind: AlertKind) -> Option<Alert> {
    rig.state.alerts().find(|alert| alert.key.kind == kind).cloned()
}

/// One account with a term of 10 licenses that ends after 20 days, and one instance that uses them all.
fn scene() -> (Rig, AccountId, InstanceId) {
    let mut rig = Rig::initialized();
    let end = Some(Millis(START + 20 * DAY));
    let term = Term { quantity: 10, start: Millis(START), end, billing: Billing::Prepaid };
    let account = rig.active_account("one", vec![entitlement("BASE", vec![term])]);
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    assert!(rig.authorize(instance, 1, &[("BASE", 10)]).in_compliance());
    (rig, account, instance)
}

#[test]
fn while_the_clock_is_in_doubt_nothing_ends_and_dates_stay_true() {
    let (mut rig, account, instance) = scene();
    let (resumed, expires) = (rig.state.meta().resumed_at, rig.state.authorization(instance).unwrap().expires);
    rig.ahead = 3 * 365 * DAY;
    rig.now += HOUR;
    rig.run(Command::PassTime);
    let doubt = alert(&rig, AlertKind::ClockSkew).unwrap();
    assert_eq!((doubt.severity, doubt.key.kind.title()), (Severity::Major, "Clock Skew"));
    assert_eq!(doubt.message.matches("1095 d 0 h ahead").count(), 1, "{}", doubt.message);
    assert_eq!(rig.state.now(), Millis(rig.now), "state time goes on evenly");
    assert_eq!(rig.state.time(Millis(rig.now + rig.ahead)), Millis(rig.now), "and so do dates made from the clock");

    // The doubt lasts longer than the term, the time to synchronize, and the whole grace of an instance.
    for _ in 0..100 {
        rig.now += 2 * DAY;
        rig.run(Command::PassTime);
    }
    let state = &rig.state;
    let told: Vec<_> = state.alerts().map(|alert| alert.key.kind.title()).collect();
    assert_eq!(
        (state.instance_count(), told),
        (1, vec!["Licenses Expiring", "Clock Skew"]),
        "the term was told before"
    );
    assert!(state.authorization(instance).unwrap().in_compliance(), "the term has not ended");
    assert_eq!(state.authorization(instance).unwrap().expires, expires);
    assert!(!state.account(account).unwrap().sync.overdue);
    let answer = rig.authorize(instance, 2, &[("BASE", 9)]);
    assert_eq!((answer.at, answer.in_compliance()), (Millis(rig.now), true));

    // Set right: what the even time has brought follows now, and nothing was skipped.
    rig.ahead = 0;
    rig.run(Command::PassTime);
    assert_eq!(alert(&rig, AlertKind::ClockSkew), None);
    assert_eq!((rig.state.now(), rig.state.meta().resumed_at), (Millis(rig.now), resumed));
    assert!(!rig.state.authorization(instance).unwrap().in_compliance(), "the term ended long ago");
    assert!(rig.state.account(account).unwrap().sync.overdue);
    let kinds: Vec<_> = rig.state.events(0).map(|e| e.kind.as_str()).filter(|k| k.starts_with("clock")).collect();
    assert_eq!(kinds, ["clock-doubted", "clock-settled"]);
}

#[test]
fn a_jump_of_an_hour_is_none() {
    let (mut rig, ..) = scene();
    rig.ahead = CLOCK_JUMP;
    rig.run(Command::PassTime);
    assert_eq!(alert(&rig, AlertKind::ClockSkew), None);
    rig.ahead = CLOCK_JUMP + 1;
    rig.run(Command::PassTime);
    assert!(alert(&rig, AlertKind::ClockSkew).is_some());
}

#[test]
fn an_accepted_jump_counts_as_an_outage_of_ours() {
    let (mut rig, _, instance) = scene();
    rig.ahead = 200 * DAY;
    rig.run(Command::PassTime);
    let wall = rig.now + rig.ahead;
    assert_eq!(rig.refused(Command::AcceptClock { time: Millis(wall + 2 * HOUR) }), Reason::Invalid);
    assert_eq!(rig.state.now(), Millis(rig.now), "nothing has changed");
    rig.run(Command::AcceptClock { time: Millis(wall + HOUR / 2) });
    assert_eq!((rig.state.now(), alert(&rig, AlertKind::ClockSkew)), (Millis(wall), None));
    assert_eq!(rig.state.audit(0).last().unwrap().action, "clock-accept");
    assert_eq!(rig.refused(Command::AcceptClock { time: Millis(wall) }), Reason::State);
    rig.now += 23 * HOUR;
    rig.run(Command::PassTime);
    let shown = rig.state.authorization(instance).unwrap();
    assert_eq!(shown.expires, Millis(wall + DAY), "in force for a day");
    rig.now += HOUR;
    rig.run(Command::PassTime);
    assert_eq!(rig.state.instance_count(), 0);
}

#[test]
fn a_jump_that_peers_confirm_counts_as_an_outage_of_ours() {
    let (mut rig, ..) = scene();
    rig.ahead = 200 * DAY;
    rig.run(Command::PassTime);
    rig.now += std::mem::take(&mut rig.ahead);
    rig.run(Command::PassTime);
    assert_eq!((rig.state.meta().resumed_at, rig.state.instance_count()), (Millis(rig.now), 1));
}

/// All nodes are off for 200 days: longer than authorization and grace together, and than the certificate of one.
#[test]
fn an_outage_of_200_days_costs_nobody_a_license_who_comes_back_within_a_day() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(9));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let mut instances = Vec::new();
    for device in 0..4 {
        let instance = rig.registered(token, device, 1).instance;
        // That of the first one ends during the outage.
        let life = if device == 0 { 120 * DAY } else { CERTIFICATE_LIFE };
        let certificate = IdCertificate { not_after: Millis(rig.now + life), ..rig.certificate(1) };
        rig.numbered(instance, 1, InstanceAction::RenewCertificate { certificate });
        rig.authorize(instance, 2, &[("BASE", 1)]);
        instances.push(instance);
    }
    // One had lapsed before, and was in its grace.
    let gone = instances.remove(3);
    rig.now += 100 * DAY;
    for instance in &instances {
        rig.authorize(*instance, 3, &[("BASE", 1)]);
    }
    let before = rig.state.authorization(gone).unwrap().expires;
    assert!(before < Millis(rig.now));

    rig.now += 200 * DAY;
    let back = rig.now;
    rig.new_leader();
    // What comes before the new leader has recorded that it serves must release nobody.
    for _ in 0..3 {
        rig.run(Command::PassTime);
    }
    rig.run(Command::Resume { node_id: 1, term: 9, cause: "power returned".into() });
    rig.restore().unwrap();
    assert_eq!(rig.state.instance_count(), 4);
    for instance in &instances {
        assert_eq!(rig.state.authorization(*instance).unwrap().expires, Millis(back + DAY), "in force on the pages");
    }
    assert_eq!(rig.state.authorization(gone).unwrap().expires, before, "what lapsed before stays lapsed");
    let told = alert(&rig, AlertKind::FailedToConnect).unwrap().message;
    assert!(told.starts_with("1 product instance of"), "it was told before; of the others we know nothing: {told}");

    // Two come back at the last moment, one of them with a certificate that has run out; the third never does.
    rig.now = back + DAY - 1;
    let never = instances.remove(2);
    assert!(rig.state.instance(instances[0]).unwrap().certificate.not_after < Millis(back));
    for instance in &instances {
        assert!(rig.authorize(*instance, 4, &[("BASE", 1)]).in_compliance());
        let certificate = IdCertificate { not_after: Millis(rig.now + CERTIFICATE_LIFE), ..rig.certificate(7) };
        let renewed = rig.numbered(*instance, 5, InstanceAction::RenewCertificate { certificate });
        assert_eq!(renewed, Outcome::CertificateRenewed { instance: *instance });
    }
    rig.now = back + DAY;
    rig.run(Command::PassTime);
    let left: Vec<_> = rig.state.instances(None).map(|i| i.id).collect();
    assert_eq!(left, instances, "who did not come is released, nobody else");
    let lapsed = rig.state.events(0).filter(|e| e.kind == "instance-lapsed").count();
    assert_eq!((lapsed, left.contains(&gone), left.contains(&never)), (2, false, false));
    assert_eq!(rig.state.pools(va).map(|p| p.in_use).sum::<u64>(), 2);
    // A day later there is no grace left for anybody.
    rig.now += 200 * DAY;
    rig.run(Command::PassTime);
    assert_eq!(rig.state.instance_count(), 0);
}

#[test]
fn outages_that_follow_one_another_are_one() {
    let (mut rig, _, instance) = scene();
    rig.now += 100 * DAY;
    for term in 1..4 {
        rig.new_leader();
        rig.run(Command::Resume { node_id: 1, term, cause: "again".into() });
        rig.now += 20 * HOUR;
    }
    let shown = rig.state.authorization(instance).unwrap();
    assert_eq!(shown.expires, Millis(rig.now + 4 * HOUR), "it ended in the first one, and each brings a day");
    rig.now += 2 * DAY;
    rig.run(Command::PassTime);
    rig.new_leader();
    rig.run(Command::Resume { node_id: 1, term: 9, cause: "another one".into() });
    assert!(rig.state.authorization(instance).unwrap().expires < Millis(rig.now), "that day was over");
}
