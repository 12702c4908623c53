//! The licensing state as a whole: random command sequences against an independent model, replicas, images and
//! snapshots, and the operator's story with its exact totals.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[path = "license/alerts.rs"]
mod alerts;
#[path = "support/auditor.rs"]
mod auditor;
#[path = "license/events.rs"]
mod events;
#[path = "license/life.rs"]
mod life;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/steps.rs"]
mod steps;
#[path = "license/substitution.rs"]
mod substitution;
#[path = "license/time.rs"]
mod time;
#[path = "license/usage.rs"]
mod usage;

use licraft::license::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rig::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use steps::steps;

#[test]
fn random_commands_agree_with_the_model_on_every_replica() {
    let config = Config { cases: 192, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let seen = RefCell::new(BTreeMap::<String, u64>::new());
    let result = runner.run(&(steps(160), any::<bool>()), |(steps, warm)| {
        let mut rig = if warm { lively() } else { Rig::initialized() };
        for step in &steps {
            rig.step(step).map_err(TestCaseError::fail)?;
        }
        rig.check_image().map_err(TestCaseError::fail)?;
        rig.restore().map_err(TestCaseError::fail)?;
        for (kind, count) in rig.seen {
            *seen.borrow_mut().entry(kind).or_default() += count;
        }
        Ok(())
    });
    result.unwrap();
    let seen = seen.into_inner();
    // A net with holes is none: each of these must have been met.
    let met = |kind: &&str| seen.get(*kind).is_some_and(|count| *count >= 3);
    let missed: Vec<_> = MUST_MEET.iter().filter(|kind| !met(kind)).collect();
    assert!(missed.is_empty(), "never or hardly met: {missed:?}");
}

/// What the random sequences must have met at least three times.
const MUST_MEET: &[&str] = &[
    "AbandonAccount: Done",
    "AcceptClock: Done",
    "AcceptClock: invalid",
    "AcceptClock: state",
    "BeginResealing: Done",
    "BeginSession: Done",
    "BeginSync: SyncBegun",
    "CreateAdminIdentity: Done",
    "CreateAdminIdentity: exists",
    "CreateAdminIdentity: invalid",
    "ChangeUser: Done",
    "ChangeUser: state",
    "CloseAccount: SyncBegun",
    "Certificate Expiring",
    "Clock Skew",
    "Common Name Pending",
    "CertifyAccount: Done",
    "CompleteSync: Done",
    "CompleteSync: stale-request",
    "CreateToken: account-inactive",
    "CreateToken: invalid",
    "CreateUser: Done",
    "CreateUser: exists",
    "DeactivateAccount: Done",
    "DeleteAccount: Done",
    "DeleteAccount: state",
    "DeleteVirtualAccount: Done",
    "DeleteVirtualAccount: not-empty",
    "DeleteUser: Done",
    "EndResealing: Done",
    "FailSync: Done",
    "Licenses Expired",
    "Licenses Expiring",
    "IssueRevocationList: Done",
    "IssueRevocationList: invalid",
    "EndSessions: Done",
    "EnrolTotp: Done",
    "EnrolTotp: state",
    "FailSync: Done",
    "LabelLicense: Done",
    "LabelLicense: invalid",
    "Numbered: Authorized",
    "Numbered: CertificateRenewed",
    "Numbered: Deregistered",
    "Numbered: account-inactive",
    "Numbered: certificate-expired",
    "Numbered: export-controlled",
    "Numbered: instance-unknown",
    "Numbered: license-unknown",
    "Numbered: out of compliance",
    "Numbered: request-mismatch",
    "Numbered: stale-request",
    "Product Instance Failed to Connect",
    "Product Instance Failed to Renew",
    "Register: Registered",
    "Register: invalid",
    "Register: account-inactive",
    "Register: token-exhausted",
    "Register: token-expired",
    "Register: token-revoked",
    "Register: token-unknown",
    "RemoveInstance: Done",
    "RenameVirtualAccount: Done",
    "Reseal: Done",
    "RequestAccount: exists",
    "SetSettings: invalid",
    "ResetTotp: Done",
    "RevokeAdminIdentity: Done",
    "SetSyncSchedule: Done",
    "SetSyncSchedule: invalid",
    "SetBrowserCertificate: Done",
    "SetBrowserCertificate: invalid",
    "TouchSession: Done",
    "TransferInstance: Done",
    "TransferLicense: Done",
    "TransferLicense: limit",
    "UseTotp: Done",
    "UseTotp: not-found",
    "UseTotp: state",
    "WantServerCertificate: Done",
    "devices",
    "repeated",
    "revoked",
    "substitution",
    "usage of several days",
];

// ---- the story ----

fn names(rig: &Rig, va: VirtualAccountId) -> BTreeMap<String, i64> {
    let tag = |p: &Pool| rig.state.license(p.license).unwrap().tag.clone();
    rig.state.pools(va).map(|p| (tag(p), p.balance())).collect()
}

/// Spare licenses of a higher tier cover what lacks of a lower one, near ones first, and never what they use themselves.
#[test]
fn spare_higher_tiers_cover_lower_ones() {
    let mut rig = Rig::initialized();
    let covered = |tag: &str, quantity, by: &[&str]| Entitlement {
        covered_by: by.iter().map(|t| (*t).to_owned()).collect(),
        ..entitlement(tag, vec![perpetual(quantity)])
    };
    let tiers = |assurance: &[&str]| {
        vec![covered("BASE", 1, &["LIFECYCLE"]), covered("LIFECYCLE", 3, assurance), covered("ASSURANCE", 10, &[])]
    };
    let account = rig.active_account("TEST", tiers(&["ASSURANCE"]));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    let lent = |rig: &Rig| -> Vec<(String, i64, i64)> {
        let tag = |p: &Pool| rig.state.license(p.license).unwrap().tag.clone();
        rig.state.pools(va).map(|p| (tag(p), p.substitution, p.balance())).collect()
    };
    let is = |a: [(&str, i64, i64); 3]| a.map(|(tag, net, balance)| (tag.to_owned(), net, balance)).to_vec();

    // BASE lacks 4: 1 from the spare LIFECYCLE, which uses 2 itself; 3 from ASSURANCE behind it.
    let answer = rig.authorize(instance, 1, &[("BASE", 5), ("LIFECYCLE", 2)]);
    assert!(answer.in_compliance());
    assert_eq!(lent(&rig), is([("BASE", 4, 0), ("LIFECYCLE", -1, 0), ("ASSURANCE", -3, 7)]));
    let base = rig.state.license_by_tag(account, "BASE").unwrap().id;
    let loans: Vec<_> = rig
        .state
        .loans(va, base)
        .into_iter()
        .map(|l| (rig.state.license(l.from).unwrap().tag.clone(), l.count))
        .collect();
    assert_eq!(loans, [("LIFECYCLE".to_owned(), 1), ("ASSURANCE".to_owned(), 3)]);

    // What a lender needs itself comes first, and nothing covers the highest tier.
    let answer = rig.authorize(instance, 2, &[("ASSURANCE", 12), ("BASE", 2), ("LIFECYCLE", 4)]);
    assert!(!answer.in_compliance());
    assert_eq!(lent(&rig), is([("BASE", 0, -1), ("LIFECYCLE", 0, -1), ("ASSURANCE", 0, -2)]));
    let short = |rig: &Rig| rig.state.alerts().filter(|a| a.key.kind == AlertKind::InsufficientLicenses).count();
    assert_eq!(short(&rig), 3);

    // A rule that goes takes its loans with it.
    rig.authorize(instance, 3, &[("BASE", 5), ("LIFECYCLE", 2)]);
    assert_eq!(short(&rig), 0);
    rig.run(Command::BeginSync { account });
    let frozen = rig.state.account(account).unwrap().sync.outstanding.clone().unwrap().usage;
    let usage = [("ASSURANCE", 0, -3), ("BASE", 5, 4), ("LIFECYCLE", 2, -1)];
    assert_eq!(frozen, usage.map(|(tag, in_use, net)| (tag.to_owned(), in_use, net)));
    rig.run(complete(account, 1, tiers(&[])));
    assert_eq!(lent(&rig), is([("BASE", 1, -3), ("LIFECYCLE", -1, 0), ("ASSURANCE", 0, 10)]));
    assert_eq!(short(&rig), 1);
}

/// Story B: over-consumption is granted, reported, and counted exactly.
#[test]
fn four_products_have_the_totals_of_the_story() {
    let tags = ["ASSURANCE", "BASE", "LIFECYCLE", "BASIC", "ENHANCED", "ENHANCED-PLUS", "ESSENTIAL", "ROOM"];
    let mut rig = Rig::initialized();
    let account = rig.active_account("TEST", tags.iter().map(|t| entitlement(t, vec![])).collect());
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let usages: [&[(&str, u64)]; 4] = [
        &[("BASE", 1), ("LIFECYCLE", 34)],
        &[("ENHANCED", 3), ("ENHANCED-PLUS", 1), ("ROOM", 1)],
        &[("ASSURANCE", 2), ("BASE", 1), ("LIFECYCLE", 14)],
        &[("BASIC", 2), ("ENHANCED", 44), ("ESSENTIAL", 4)],
    ];
    for (device, usage) in (1..).zip(usages) {
        let instance = rig.registered(token, device, 1).instance;
        let answer = rig.authorize(instance, 1, usage);
        assert!(!answer.in_compliance());
        assert_eq!(answer.next_contact, answer.at.plus(12 * Millis::HOUR));
        assert_eq!(answer.expires, answer.at.plus(90 * Millis::DAY));
        assert_eq!(answer.enforce_from, Some(answer.at.plus(90 * Millis::DAY)));
    }
    let expected = [-2, -2, -48, -2, -47, -1, -4, -1];
    assert_eq!(names(&rig, va), tags.iter().map(|t| (*t).to_owned()).zip(expected).collect());
    assert_eq!(rig.state.alerts().filter(|a| a.key.kind == AlertKind::InsufficientLicenses).count(), 8);
    assert_eq!(rig.state.instance_count(), 4);
    let alert = rig.state.alerts().find(|a| a.key.source.ends_with("/LIFECYCLE")).unwrap();
    assert_eq!(alert.message, "Virtual account \"Default\" uses 48 more of \"License LIFECYCLE\" than it has.");
}

#[test]
fn a_lost_answer_is_given_again_whatever_happened_since() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(1));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let (a, b) = (rig.registered(token, 1, 1).instance, rig.registered(token, 2, 1).instance);
    let first = rig.authorize(a, 1, &[("BASE", 1)]);
    assert!(first.in_compliance() && first.enforce_from.is_none());
    rig.now += Millis::HOUR;
    rig.authorize(b, 1, &[("BASE", 1)]);
    assert!(!rig.state.authorization(a).unwrap().in_compliance(), "the other instance made the pool short");
    assert_eq!(rig.authorize(a, 1, &[("BASE", 1)]), first);
    let stale = rig.numbered(a, 0, InstanceAction::RenewAuthorization);
    assert!(matches!(stale, Outcome::Refused(Refusal { reason: Reason::StaleRequest { current: 1 }, .. })));
    let (digest, action) = ([9; 32], InstanceAction::RenewAuthorization);
    let command = Command::Numbered { instance: a, number: 1, digest, action };
    assert_eq!(rig.refused(command), Reason::RequestMismatch { current: 1 });
    // Refusals are remembered as well, and change nothing.
    let refused = rig.numbered(a, 2, authorize(&[("NOBODY", 1)]));
    assert!(
        matches!(&refused, Outcome::Refused(r) if r.reason == Reason::LicenseUnknown && r.message.contains("NOBODY"))
    );
    assert_eq!(rig.numbered(a, 2, authorize(&[("NOBODY", 1)])), refused);
    assert_eq!(rig.state.instance(a).unwrap().usage.len(), 1);
    assert_eq!(rig.numbered(a, 3, InstanceAction::Deregister), Outcome::Deregistered);
    assert_eq!(rig.numbered(a, 3, InstanceAction::Deregister), Outcome::Deregistered);
    assert!(rig.state.authorization(b).unwrap().in_compliance(), "deregistering frees at once");
}

#[test]
fn the_same_device_never_counts_twice() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 2, false);
    let first = rig.registered(token, 1, 1);
    let again = rig.registered(token, 1, 1);
    assert!(again.repeated && again.instance == first.instance && again.certificate == first.certificate);
    rig.authorize(first.instance, 1, &[("BASE", 3)]);
    let anew = rig.registered(token, 1, 2);
    assert!(!anew.repeated && anew.instance != first.instance);
    assert_eq!((rig.state.instance_count(), rig.state.pools(va).map(|p| p.in_use).sum::<u64>()), (1, 0));
    assert!(rig.state.events(0).any(|e| e.kind == "instance-replaced"));
    let refused = |o: Outcome| matches!(o, Outcome::Refused(r) if r.reason == Reason::TokenExhausted);
    assert!(refused(rig.register(token, 2, 1)), "two registrations were counted, the repeat was not");
    assert!(rig.registered(token, 1, 2).repeated, "an exhausted token does not hurt who is registered");
}

#[test]
fn terms_start_and_end_with_state_time() {
    let mut rig = Rig::initialized();
    let day = |n: u64| Millis(START + n * Millis::DAY);
    let term = |quantity, from, to| Term { quantity, start: day(from), end: Some(day(to)), billing: Billing::Prepaid };
    let account = rig.active_account("one", vec![entitlement("BASE", vec![term(2, 0, 10), term(3, 5, 20)])]);
    let va = rig.state.account(account).unwrap().default_va;
    let license = rig.state.license_by_tag(account, "BASE").unwrap().id;
    let purchased = |rig: &mut Rig, at: Millis| {
        rig.now = at.0;
        rig.run(Command::DigestMark { nonce: 0 });
        rig.state.pool(va, license).unwrap().purchased
    };
    assert_eq!(purchased(&mut rig, day(4)), 2);
    assert_eq!(purchased(&mut rig, day(5)), 5);
    assert_eq!(purchased(&mut rig, Millis(day(10).0 - 1)), 5);
    assert_eq!(purchased(&mut rig, day(10)), 3);
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    assert!(rig.authorize(instance, 1, &[("BASE", 3)]).in_compliance());
    assert_eq!(purchased(&mut rig, day(30)), 0);
    let now = rig.state.authorization(instance).unwrap();
    assert_eq!(now.enforce_from, Some(day(30).plus(90 * Millis::DAY)));
    assert!(rig.state.events(0).any(|e| e.kind == "terms-changed"));
}

#[test]
fn transferred_licenses_stay_when_central_answers() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", vec![entitlement("BASE", vec![perpetual(10)])]);
    let default = rig.state.account(account).unwrap().default_va;
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let license = rig.state.license_by_tag(account, "BASE").unwrap().id;
    rig.run(Command::TransferLicense { license, from: default, to: lab, quantity: 4 });
    let too_many = Command::TransferLicense { license, from: default, to: lab, quantity: 7 };
    assert_eq!(rig.refused(too_many), Reason::Limit);
    let held = |rig: &Rig| [default, lab].map(|va| rig.state.pool(va, license).map_or(0, |p| p.purchased));
    assert_eq!(held(&rig), [6, 4]);
    assert_eq!(rig.refused(Command::DeleteVirtualAccount { va: lab }), Reason::NotEmpty);
    assert_eq!(rig.run(Command::BeginSync { account }), Outcome::SyncBegun { seq: 1 });
    assert_eq!(rig.run(Command::BeginSync { account }), Outcome::SyncBegun { seq: 1 });
    rig.run(complete(account, 1, vec![entitlement("BASE", vec![perpetual(12)])]));
    assert_eq!(held(&rig), [8, 4]);
    assert_eq!(rig.refused(complete(account, 1, vec![])), Reason::StaleRequest { current: 1 });
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 2, vec![entitlement("BASE", vec![perpetual(3)])]));
    assert_eq!(held(&rig), [0, 3]);
}

/// A renewed term keeps its start: what was transferred of it stays with the new end.
#[test]
fn transferred_licenses_follow_a_renewal() {
    let mut rig = Rig::initialized();
    let until = |days: u64| {
        let end = Some(Millis(START + days * Millis::DAY));
        vec![entitlement("BASE", vec![Term { quantity: 10, start: Millis(START), end, billing: Billing::Usage }])]
    };
    let account = rig.active_account("one", until(30));
    let default = rig.state.account(account).unwrap().default_va;
    let lab = VirtualAccountId(rig.created(Command::CreateVirtualAccount { account, name: "Lab".into() }));
    let license = rig.state.license_by_tag(account, "BASE").unwrap().id;
    rig.run(Command::TransferLicense { license, from: default, to: lab, quantity: 4 });
    rig.run(Command::BeginSync { account });
    rig.run(complete(account, 1, until(395)));
    rig.now += 40 * Millis::DAY;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!([default, lab].map(|va| rig.state.pool(va, license).map_or(0, |p| p.purchased)), [6, 4]);
}

#[test]
fn an_instance_lapses_after_authorization_and_grace_but_not_after_our_outage() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 1)]);
    rig.now += 179 * Millis::DAY;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!(rig.state.instance_count(), 1);
    rig.now += 10 * Millis::DAY;
    rig.run(Command::Resume { node_id: 1, term: 2, cause: "power returned".into() });
    rig.now += 23 * Millis::HOUR;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!(rig.state.instance_count(), 1, "a day to be heard of after service resumed");
    rig.now += Millis::HOUR;
    rig.run(Command::DigestMark { nonce: 0 });
    assert_eq!((rig.state.instance_count(), rig.state.pools(va).map(|p| p.in_use).sum::<u64>()), (0, 0));
    assert!(rig.state.events(0).any(|e| e.kind == "instance-lapsed"));
}

/// Of whom central never hears again: it is deleted all the same, when it is empty.
#[test]
fn an_account_can_be_deleted_without_central() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(1));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    assert_eq!(rig.refused(Command::AbandonAccount { account }), Reason::State);
    rig.run(Command::DeactivateAccount { account, reason: "moved".into() });
    assert_eq!(rig.refused(Command::CloseAccount { account }), Reason::NotEmpty);
    assert_eq!(rig.refused(Command::AbandonAccount { account }), Reason::NotEmpty);
    rig.run(Command::RemoveInstance { instance });
    rig.run(Command::CloseAccount { account });
    rig.run(Command::AbandonAccount { account });
    assert_eq!((rig.state.accounts().count(), rig.state.alerts().count()), (0, 0));
}

#[test]
fn what_is_in_the_way_of_a_deletion_is_said_at_once() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let Outcome::Created(lab) = rig.run(Command::CreateVirtualAccount { account, name: "Lab".into() }) else {
        panic!()
    };
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    let license = rig.state.license_by_tag(account, "BASE").unwrap().id;
    rig.run(Command::TransferLicense { license, from: va, to: VirtualAccountId(lab), quantity: 2 });
    rig.run(Command::BeginSync { account });
    let said = |rig: &Rig| -> Vec<(Hindrance, bool)> {
        let findings = rig.state.before_deletion(account);
        assert!(findings.iter().all(|f| !f.what.is_empty() && !f.next.is_empty()), "{findings:?}");
        findings.into_iter().map(|f| (f.kind, f.in_the_way)).collect()
    };
    use Hindrance::*;
    let rest = [(Active, false), (Tokens, false), (LicensesMoved, false)];
    // Without a URL of central the outstanding request goes by files, which are people's affair.
    let by_file = [&[(Instances, true)][..], &rest, &[(Outstanding, true), (NotClosed, false)]].concat();
    assert_eq!(said(&rig), by_file);
    let settings = Settings { central_url: "https://central".into(), ..Settings::default() };
    rig.run(Command::SetSettings { settings });
    rig.run(Command::RemoveInstance { instance });
    assert_eq!(said(&rig), [&rest[..], &[(Outstanding, false), (NotClosed, false)]].concat());
    rig.run(complete(account, 1, catalog(5)));
    rig.run(Command::DeactivateAccount { account, reason: "moved".into() });
    rig.run(Command::CloseAccount { account });
    rig.run(complete(account, 2, vec![]));
    assert_eq!(said(&rig), [(Tokens, false)]);
}

#[test]
fn an_account_lives_from_request_to_deletion() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(1));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, false);
    let instance = rig.registered(token, 1, 1).instance;
    rig.authorize(instance, 1, &[("BASE", 2)]);
    rig.run(Command::BeginSync { account });
    let (seq, usage) = (1, vec![("BASE".to_owned(), 2, 0)]);
    rig.authorize(instance, 2, &[("BASE", 3)]);
    let frozen = rig.state.account(account).unwrap().sync.outstanding.clone().unwrap();
    assert_eq!((frozen.seq, frozen.usage, frozen.instances), (seq, usage, 1), "what was begun stays as it was");
    rig.run(Command::FailSync { account, seq, reason: "no route".into() });
    assert!(rig.state.alerts().any(|a| a.key.kind == AlertKind::SynchronizationFailed));
    rig.run(complete(account, seq, catalog(1)));
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::State);
    rig.run(Command::DeactivateAccount { account, reason: "moved".into() });
    let refused = rig.numbered(instance, 3, InstanceAction::RenewAuthorization);
    assert!(matches!(refused, Outcome::Refused(r) if r.reason == Reason::AccountInactive));
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::NotEmpty);
    rig.run(Command::RemoveInstance { instance });
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::State, "central has not heard yet");
    rig.run(Command::BeginSync { account });
    assert_eq!(rig.refused(Command::CloseAccount { account }), Reason::State, "another one is outstanding");
    rig.run(complete(account, 2, vec![]));
    assert_eq!(rig.refused(Command::DeleteAccount { account }), Reason::State, "that was not the last one");
    let begun = Outcome::SyncBegun { seq: 3 };
    assert_eq!(rig.run(Command::CloseAccount { account }), begun);
    assert_eq!(rig.run(Command::BeginSync { account }), begun, "it stays the same one");
    assert_eq!(rig.refused(Command::ReactivateAccount { account }), Reason::State, "central may have heard");
    rig.run(complete(account, 3, vec![]));
    assert_eq!(rig.refused(Command::BeginSync { account }), Reason::State);
    assert_eq!(rig.refused(Command::ReactivateAccount { account }), Reason::State);
    assert_eq!(rig.run(Command::CloseAccount { account }), Outcome::Done);
    rig.run(Command::DeleteAccount { account });
    assert_eq!((rig.state.accounts().count(), rig.state.alerts().count()), (0, 0));
    rig.active_account("one", catalog(1));
}

#[test]
fn an_export_controlled_license_needs_a_token_that_allows_it() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let (plain, export) = (rig.token(va, 0, false), rig.token(va, 0, true));
    let (a, b) = (rig.registered(plain, 1, 1).instance, rig.registered(export, 2, 1).instance);
    let refused = rig.numbered(a, 1, authorize(&[("BASE", 1), ("EXPORT", 1)]));
    assert!(matches!(refused, Outcome::Refused(r) if r.reason == Reason::ExportControlled));
    assert!(rig.state.instance(a).unwrap().usage.is_empty());
    assert!(rig.authorize(b, 1, &[("EXPORT", 1)]).export_controlled);
}

// ---- bounds, time, purity ----

#[test]
fn state_time_never_runs_back_and_routine_renewals_are_no_events() {
    let mut rig = lively();
    let instance = rig.state.instances(None).next().unwrap().id;
    rig.now += Millis::HOUR;
    rig.numbered(instance, 5, InstanceAction::RenewAuthorization);
    let (events, now) = (rig.state.meta().last_event, rig.now);
    rig.now -= 2 * Millis::HOUR;
    let Outcome::Authorized(answer) = rig.numbered(instance, 6, InstanceAction::RenewAuthorization) else { panic!() };
    assert_eq!((answer.at.0, rig.state.meta().now.0, rig.state.meta().last_event), (now, now, events));
}

#[test]
fn rings_are_bounded_and_a_repeated_request_gets_its_first_outcome() {
    let mut state = Rig::initialized().state;
    let mut changes = Changes::new();
    let mut note = |state: &mut State, id: u64, at: u64| {
        let kind = "noted".to_owned();
        let event = NewEvent { severity: Severity::Minor, account: None, kind, message: String::new() };
        let request = Request { id: u128::from(id), actor: "a".into(), command: Command::NoteEvent { event } };
        changes.clear();
        state.apply(Stamp::at(Millis(at)), &request, &mut changes)
    };
    for id in 0..MAX_EVENTS + 500 {
        assert_eq!(note(&mut state, 1_000 + id, START), Outcome::Done);
    }
    let events = state.meta().last_event;
    assert_eq!(state.events(0).count() as u64, MAX_EVENTS);
    let requests = |s: &State| s.records().filter(|(k, _)| matches!(k, RecordKey::Request(_))).count();
    assert_eq!(requests(&state), MAX_REQUESTS);
    note(&mut state, 1_000 + MAX_EVENTS, START);
    assert_eq!(state.meta().last_event, events, "a repeat is not carried out again");
    for id in 0..3_000 {
        note(&mut state, 50_000 + id, START + 2 * Millis::DAY);
    }
    assert_eq!(requests(&state), 3_000, "after a day a request is forgotten");
    assert_eq!(state.check(), Vec::<String>::new());
}

#[test]
fn a_damaged_total_is_found() {
    let rig = lively();
    let sound = rig.state.records().collect::<Vec<_>>();
    let mut seen = 0;
    for n in 0..sound.len() {
        let mut records = sound.clone();
        match &mut records[n].1 {
            Record::Pool(pool) => pool.in_use += 1,
            Record::VirtualAccount(va) => va.instances += 1,
            Record::Account(account) => account.instances += 1,
            Record::Instance(instance) => instance.usage = Arc::from([]),
            Record::Alert(_) => drop(records.remove(n)),
            _ => continue,
        }
        let empty_before = matches!(&sound[n].1, Record::Instance(i) if i.usage.is_empty());
        assert!(empty_before || !State::from_records(records).check().is_empty(), "{:?}", sound[n]);
        seen += 1;
    }
    assert!(seen > 10);
}

/// Only the language, serialization and persistent maps: nothing that reads, waits, draws or hashes in random order.
#[test]
fn the_room_is_pure() {
    let allowed = ["std", "core", "serde", "imbl", "sha2", "super", "self", "crate::license"];
    let forbidden = [
        "std::fs",
        "std::io",
        "std::net",
        "std::time",
        "std::env",
        "std::thread",
        "std::process",
        "std::sync::atomic",
        "HashMap",
        "HashSet",
        "RandomState",
        "DefaultHasher",
        "async ",
        "unsafe",
        "SystemTime",
        "Instant::",
        "f32",
        "f64",
        "println!",
        "thread_local!",
        "static mut",
        "Mutex",
        "RwLock",
        "Cell<",
    ];
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/license")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            for line in code.clone().filter_map(|l| l.trim().trim_start_matches("pub ").strip_prefix("use ")) {
                let fits = |a: &&str| line.starts_with(&format!("{a}::")) || line.starts_with(&format!("{a};"));
                let own_module = line.starts_with(|c: char| c.is_lowercase()) && !line.starts_with("crate::");
                let known = allowed.iter().any(fits);
                let module = line.split("::").next().unwrap();
                let files = [format!("{module}.rs"), format!("{module}/mod.rs")];
                let local = own_module && files.iter().any(|file| path.with_file_name(file).exists());
                assert!(known || local || line.starts_with(char::is_uppercase), "{}: use {line}", path.display());
            }
            for word in forbidden {
                assert!(code.clone().all(|l| !l.contains(word)), "{} contains {word}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 15, "the room was not found");
}
