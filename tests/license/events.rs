//! Events: what they are about and who did it; and what people set for themselves, which is none.

use super::rig::*;
use licraft::license::*;

fn about(rig: &Rig, subject: Subject) -> Vec<&str> {
    rig.state.events(0).filter(|event| event.is_about(subject)).map(|event| event.kind.as_str()).collect()
}

#[test]
fn events_name_what_they_are_about() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let default = rig.state.account(account).unwrap().default_va;
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let license = |rig: &Rig, tag| rig.state.license_by_tag(account, tag).unwrap().id;
    let (base, lifecycle) = (license(&rig, "BASE"), license(&rig, "LIFECYCLE"));
    rig.run(Command::TransferLicense { license: base, from: default, to: lab, quantity: 2 });
    rig.run(Command::LabelLicense { license: base, add: vec!["voice".into()], remove: vec![] });
    rig.run(Command::LabelLicense { license: base, add: vec!["voice".into()], remove: vec![] });
    let token = rig.token(default, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 2), ("LIFECYCLE", 1)]);
    rig.authorize(instance, 2, &[("BASE", 2)]);
    rig.run(Command::TransferInstance { instance, to: lab });
    rig.run(Command::RemoveInstance { instance });
    assert_eq!(about(&rig, Subject::License(base)), ["license-transferred", "license-labelled", "usage-changed"]);
    assert_eq!(about(&rig, Subject::License(lifecycle)), ["usage-changed", "usage-changed"]);
    let life = ["instance-registered", "usage-changed", "usage-changed", "instance-transferred", "instance-removed"];
    assert_eq!(about(&rig, Subject::Instance(instance)), life);
    let in_lab = ["virtual-account-created", "license-transferred", "instance-transferred", "instance-removed"];
    assert_eq!(about(&rig, Subject::VirtualAccount(lab)), in_lab);
    let labelled = rig.state.events(0).find(|event| event.kind == "license-labelled").unwrap();
    assert_eq!(
        (labelled.message.as_str(), labelled.actor.as_str()),
        ("The labels of \"License BASE\" are voice.", "admin")
    );
}

#[test]
fn what_happens_by_itself_is_nobodys_doing() {
    let mut rig = Rig::initialized();
    let end = Some(Millis(START + 40 * Millis::DAY));
    let term = Term { quantity: 5, start: Millis(START), end, billing: Billing::Prepaid };
    let account = rig.active_account("one", vec![entitlement("BASE", vec![term])]);
    let va = rig.state.account(account).unwrap().default_va;
    rig.now += 20 * Millis::DAY;
    rig.run(Command::PassTime);
    rig.now += 20 * Millis::DAY;
    // Whoever comes next is not who did it.
    rig.token(va, 0, false);
    let changed = rig.state.events(0).find(|event| event.kind == "terms-changed").unwrap();
    let base = rig.state.license_by_tag(account, "BASE").unwrap().id;
    assert!(changed.is_about(Subject::License(base)) && changed.is_about(Subject::VirtualAccount(va)));
    assert_eq!(changed.actor, "time");
    assert_eq!(rig.state.events(0).last().unwrap().actor, "admin");
    let cleared: Vec<_> =
        rig.state.past_alerts(0).map(|past| (past.alert.key.kind.title(), past.cleared_by.as_str())).collect();
    assert_eq!(cleared, [("Account Pending", "admin"), ("Licenses Expiring", "time")]);
}

#[test]
fn preferences_are_the_persons_own_and_end_no_session() {
    let mut rig = Rig::initialized();
    rig.run(Command::CreateUser {
        user: User { preferences: Preferences { live: false, ..Preferences::INITIAL }, ..user("ann") },
    });
    assert_eq!(rig.state.user("ann").unwrap().preferences, Preferences::INITIAL, "only they set them");
    rig.run(Command::BeginSession { id: [1; 32], user: "ann".into(), source: "192.0.2.1".into() });
    let (events, entries) = (rig.state.meta().last_event, rig.state.meta().last_audit);
    let wanted =
        Preferences { rows: 250, start: StartPage::Administration, time_zone: "Europe/Berlin".into(), live: false };
    let set =
        |preferences: &Preferences| Command::SetPreferences { name: "ann".into(), preferences: preferences.clone() };
    rig.run(set(&wanted));
    assert_eq!(
        (rig.state.user("ann").unwrap().preferences.clone(), rig.state.sessions_of("ann", Millis(rig.now)).count()),
        (wanted.clone(), 1)
    );
    assert_eq!((rig.state.meta().last_event, rig.state.meta().last_audit), (events, entries));
    for wrong in [
        Preferences { rows: 51, ..wanted.clone() },
        Preferences { time_zone: "x".repeat(MAX_TIME_ZONE + 1), ..wanted.clone() },
        Preferences { time_zone: "a\nb".into(), ..wanted.clone() },
    ] {
        assert_eq!(rig.refused(set(&wrong)), Reason::Invalid);
    }
    assert_eq!(
        rig.refused(Command::SetPreferences { name: "nobody".into(), preferences: wanted.clone() }),
        Reason::NotFound
    );
    rig.run(Command::ChangeUser { name: "ann".into(), change: UserChange::Disabled(true) });
    assert_eq!(rig.state.user("ann").unwrap().preferences, wanted, "other changes leave them");
}
