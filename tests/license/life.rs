//! A product's whole life by the timers of the rules, as the stamped clock brings them.

use super::rig::*;
use licraft::license::*;

fn days(n: u64) -> u64 {
    n * Millis::DAY
}

/// A rig with one account that has `quantity` of each license, its default virtual account, and a token of that.
fn scene(quantity: u64) -> (Rig, AccountId, VirtualAccountId, Digest32) {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(quantity));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    (rig, account, va, token)
}

fn in_use(rig: &Rig, va: VirtualAccountId) -> u64 {
    rig.state.pools(va).map(|p| p.in_use).sum()
}

fn pass(rig: &mut Rig, ms: u64) {
    rig.now += ms;
    rig.run(Command::DigestMark { nonce: 0 });
}

fn lapsed(rig: &Rig) -> usize {
    rig.state.events(0).filter(|e| e.kind == "instance-lapsed").count()
}

#[test]
fn an_authorization_renews_by_compliance_and_lapses_after_its_grace() {
    let (mut rig, _, va, token) = scene(2);
    let instance = rig.registered(token, 1, 1).instance;
    let covered = rig.authorize(instance, 1, &[("BASE", 2)]);
    let at = Millis(rig.now);
    assert_eq!((covered.next_contact, covered.expires), (at.plus(days(30)), at.plus(days(90))));
    let short = rig.authorize(instance, 2, &[("BASE", 3)]);
    assert_eq!(short.next_contact, at.plus(12 * Millis::HOUR));

    // It comes back on the last day but one of its grace, and so has all of it again.
    pass(&mut rig, days(179));
    rig.numbered(instance, 3, InstanceAction::RenewAuthorization);
    pass(&mut rig, days(180));
    assert_eq!((rig.state.instance_count(), in_use(&rig, va)), (1, 3), "90 days and 90 of grace");
    pass(&mut rig, days(1));
    assert_eq!((rig.state.instance_count(), in_use(&rig, va), lapsed(&rig)), (0, 0, 1));
    let gone = rig.numbered(instance, 4, InstanceAction::RenewAuthorization);
    assert!(matches!(gone, Outcome::Refused(r) if r.reason == Reason::InstanceUnknown));
    // Forgotten, it comes as a new one.
    let token = rig.token(va, 0, false);
    let again = rig.registered(token, 1, 1);
    assert!(again.instance != instance && !again.repeated);
    assert_eq!(rig.state.instance_count(), 1);
}

#[test]
fn a_certificate_runs_out_unless_renewed_but_not_by_our_outage() {
    let (mut rig, _, _, token) = scene(2);
    let life = |rig: &Rig, key: u64, serial: u8| IdCertificate {
        serial: [serial; 16],
        key_hash: Rig::digest(key),
        not_before: Millis(rig.now - CERTIFICATE_BACKDATE),
        not_after: Millis(rig.now - CERTIFICATE_BACKDATE + CERTIFICATE_LIFE),
    };
    let come = |rig: &mut Rig, device: u64| {
        let certificate = life(rig, device, device as u8);
        let (at, command) = (rig.now, register(token, device, certificate));
        match rig.apply(Request { id: 0, actor: "product".into(), command }, at).unwrap() {
            Outcome::Registered(registered) => registered.instance,
            other => panic!("{other:?}"),
        }
    };
    let (keen, late) = (come(&mut rig, 1), come(&mut rig, 2));
    let renew = |rig: &mut Rig, instance, number| rig.numbered(instance, number, InstanceAction::RenewAuthorization);
    for number in 1..=6 {
        pass(&mut rig, days(30));
        renew(&mut rig, keen, number);
        renew(&mut rig, late, number);
    }
    // From day 180 on.
    let certificate = life(&rig, 1, 3);
    rig.numbered(keen, 7, InstanceAction::RenewCertificate { certificate });
    for number in 8..=13 {
        pass(&mut rig, days(30));
        renew(&mut rig, keen, number);
        renew(&mut rig, late, number);
    }
    // Day 360; the server is away until day 370.
    rig.now += days(10);
    rig.run(Command::Resume { node_id: 1, term: 2, cause: "power returned".into() });
    assert!(matches!(renew(&mut rig, keen, 14), Outcome::Authorized(_)));
    assert!(matches!(renew(&mut rig, late, 14), Outcome::Authorized(_)), "a day to renew after our outage");
    pass(&mut rig, days(1));
    assert!(matches!(renew(&mut rig, late, 15), Outcome::Refused(r) if r.reason == Reason::CertificateExpired));
    assert!(matches!(renew(&mut rig, keen, 15), Outcome::Authorized(_)));
}

#[test]
fn a_product_may_enforce_90_days_after_it_first_lacked_and_compliance_clears_it() {
    let (mut rig, account, _, token) = scene(1);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 2)]);
    let enforce = Some(Millis(rig.now + days(90)));
    let renewed = |rig: &mut Rig, number| match rig.numbered(instance, number, InstanceAction::RenewAuthorization) {
        Outcome::Authorized(a) => (a.in_compliance(), a.enforce_from),
        other => panic!("{other:?}"),
    };
    for number in 2..8 {
        pass(&mut rig, days(12));
        assert_eq!(renewed(&mut rig, number), (false, enforce), "the date stays");
    }
    pass(&mut rig, days(30));
    assert_eq!(renewed(&mut rig, 8), (false, enforce), "also when it has passed");
    // Two are bought: covered at once. One ends later: a new date.
    rig.run(Command::BeginSync { account });
    let end = Some(Millis(rig.now + days(20)));
    let mut more = catalog(1);
    more[0].terms.push(Term { quantity: 1, start: Millis(0), end, billing: Billing::Prepaid });
    rig.run(complete(account, 1, more));
    assert_eq!(rig.state.authorization(instance).unwrap().enforce_from, None);
    assert_eq!(renewed(&mut rig, 9), (true, None));
    pass(&mut rig, days(25));
    assert_eq!(renewed(&mut rig, 10), (false, Some(Millis(rig.now).plus(days(90)))), "from when that was noticed");
}

#[test]
fn all_of_a_long_outage_of_ours_costs_no_product_its_license() {
    let (mut rig, _, va, token) = scene(5);
    let instances: Vec<_> = (1..=3).map(|device| rig.registered(token, device, device).instance).collect();
    for instance in &instances {
        rig.authorize(*instance, 1, &[("BASE", 1)]);
    }
    // All nodes are off for 200 days.
    rig.now += days(200);
    rig.run(Command::Resume { node_id: 1, term: 9, cause: "start".into() });
    for (hour, instance) in (1..).zip(&instances[..2]) {
        pass(&mut rig, hour * Millis::HOUR);
        assert!(matches!(rig.numbered(*instance, 2, InstanceAction::RenewAuthorization), Outcome::Authorized(_)));
    }
    // Another change of roles begins the day anew.
    pass(&mut rig, 20 * Millis::HOUR);
    rig.run(Command::Resume { node_id: 2, term: 10, cause: "took over".into() });
    pass(&mut rig, 23 * Millis::HOUR);
    assert_eq!((rig.state.instance_count(), in_use(&rig, va), lapsed(&rig)), (3, 3, 0));
    pass(&mut rig, Millis::HOUR);
    assert_eq!((rig.state.instance_count(), in_use(&rig, va), lapsed(&rig)), (2, 2, 1), "the one that never came");
}

#[test]
fn registering_with_the_token_of_another_virtual_account_moves_there() {
    let (mut rig, account, va, token) = scene(5);
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let other = rig.token(lab, 0, false);
    let first = rig.registered(token, 1, 1).instance;
    rig.authorize(first, 1, &[("BASE", 2)]);
    let moved = rig.registered(other, 1, 1);
    assert!(moved.instance != first && moved.va == lab);
    assert_eq!((rig.state.instance_count(), in_use(&rig, va), in_use(&rig, lab)), (1, 0, 0));
    rig.authorize(moved.instance, 1, &[("BASE", 2)]);
    assert_eq!((in_use(&rig, va), in_use(&rig, lab)), (0, 2));
    assert!(rig.state.events(0).any(|e| e.kind == "instance-replaced"));
    // And back, with a fresh key: once more the same device alone.
    let back = rig.registered(token, 1, 2);
    assert_eq!((rig.state.instance_count(), back.va, in_use(&rig, lab)), (1, va, 0));
    let old = rig.numbered(moved.instance, 2, InstanceAction::RenewAuthorization);
    assert!(matches!(old, Outcome::Refused(r) if r.reason == Reason::InstanceUnknown));
}

// ---- products that are clusters themselves ----

/// Registers `device` with `key` for the further `others`.
fn for_all(rig: &mut Rig, token: Digest32, device: u64, key: u64, others: &[u64]) -> Outcome {
    let certificate = rig.certificate(key);
    let mut command = register(token, device, certificate);
    let Command::Register { devices, .. } = &mut command else { unreachable!() };
    devices.extend(others.iter().map(|n| super::rig::device(*n)));
    let at = rig.now;
    rig.apply(Request { id: 0, actor: "product".into(), command }, at).unwrap()
}

fn new(outcome: Outcome) -> InstanceId {
    match outcome {
        Outcome::Registered(registered) if !registered.repeated => registered.instance,
        other => panic!("{other:?}"),
    }
}

fn serials(rig: &Rig, instance: InstanceId) -> Vec<String> {
    rig.state.instance(instance).unwrap().udis().map(|udi| udi.sn.clone()).collect()
}

#[test]
fn one_of_a_products_cluster_registers_for_all() {
    let (mut rig, account, va, token) = scene(9);
    let alone = rig.registered(token, 2, 2).instance;
    rig.authorize(alone, 1, &[("BASE", 4)]);
    let cluster = new(for_all(&mut rig, token, 1, 1, &[2, 3]));
    assert_eq!((rig.state.instance_count(), in_use(&rig, va)), (1, 0), "what one of them was is replaced");
    assert_eq!(serials(&rig, cluster), ["SN1", "SN2", "SN3"]);
    rig.authorize(cluster, 1, &[("BASE", 5)]);
    let found = rig.state.instance_by_udi(account, &Udi { pid: "PI-SOFTWARE".into(), sn: "SN3".into() });
    assert_eq!(found.map(|i| i.id), Some(cluster));

    // The same again is a repeat, with other devices the same instance with these.
    let repeated = |outcome| matches!(outcome, Outcome::Registered(r) if r.repeated && r.instance == cluster);
    assert!(repeated(for_all(&mut rig, token, 1, 1, &[2, 3])));
    assert!(repeated(for_all(&mut rig, token, 1, 1, &[3, 4])));
    assert_eq!(serials(&rig, cluster), ["SN1", "SN3", "SN4"]);

    // By a token that was revoked a repeat is one, and other devices are none.
    let id = rig.state.token_by_hash(&token).unwrap().id;
    rig.run(Command::RevokeToken { token: id });
    assert!(repeated(for_all(&mut rig, token, 1, 1, &[3, 4])));
    let other = for_all(&mut rig, token, 1, 1, &[3]);
    assert!(matches!(other, Outcome::Refused(r) if r.reason == Reason::TokenRevoked));
    assert_eq!(serials(&rig, cluster), ["SN1", "SN3", "SN4"]);
    let token = rig.token(va, 0, false);

    // One leaves to be an instance of its own; the others go on.
    let left = new(for_all(&mut rig, token, 3, 3, &[]));
    rig.authorize(left, 1, &[("BASE", 1)]);
    assert_eq!((serials(&rig, cluster), in_use(&rig, va)), (vec!["SN1".to_owned(), "SN4".into()], 6));

    // Another one speaks for all: nothing counts twice.
    let led = new(for_all(&mut rig, token, 4, 4, &[1, 3]));
    assert_eq!((rig.state.instance_count(), in_use(&rig, va)), (1, 0));
    assert_eq!(serials(&rig, led), ["SN4", "SN1", "SN3"]);
    rig.run(Command::RemoveInstance { instance: led });
    assert_eq!(rig.state.instance_count(), 0);
    new(for_all(&mut rig, token, 1, 1, &[]));
}

#[test]
fn a_device_is_named_once_and_not_too_many_are() {
    let (mut rig, _, _, token) = scene(1);
    let refused = |outcome: Outcome| match outcome {
        Outcome::Refused(refusal) => refusal.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(for_all(&mut rig, token, 1, 1, &[1])), Reason::Invalid);
    assert_eq!(refused(for_all(&mut rig, token, 1, 1, &[2, 3, 2])), Reason::Invalid);
    let many: Vec<u64> = (2..=34).collect();
    let (certificate, mut state) = (rig.certificate(1), rig.state.clone());
    let mut command = register(token, 1, certificate);
    let Command::Register { devices, .. } = &mut command else { unreachable!() };
    devices.extend(many.iter().map(|n| super::rig::device(*n)));
    let request = Request { id: 0, actor: "product".into(), command };
    let outcome = state.apply(Stamp::at(Millis(rig.now)), &request, &mut Changes::new());
    assert_eq!(refused(outcome), Reason::Limit);
    assert_eq!((state.instance_count(), rig.state.instance_count()), (0, 0));
    new(for_all(&mut rig, token, 1, 1, &many[..MAX_DEVICES]));
}
