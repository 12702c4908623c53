//! Lists of product instances: a directory that followed the state finds what a plain look at each instance finds, in
//! the same order.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.
#![allow(dead_code)] // The rig serves other tests too.

#[path = "support/auditor.rs"]
mod auditor;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/steps.rs"]
mod steps;

use licraft::license::*;
use licraft::listing::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rig::*;
use std::cell::Cell;
use std::sync::Arc;
use steps::steps;

/// What is searched for: nothing, host names, devices, types, and what nothing has.
const TEXTS: [&str; 7] = ["", "HOST-1", "sn1", "udi_pid:pi", "pi", "1\nudi", "nowhere"];
const COLUMNS: [InstanceColumn; 6] = [
    InstanceColumn::Registered,
    InstanceColumn::Name,
    InstanceColumn::ProductType,
    InstanceColumn::VirtualAccount,
    InstanceColumn::LastContact,
    InstanceColumn::Compliance,
];

fn covered(state: &State, instance: &Instance) -> bool {
    state.authorization(instance.id).unwrap().in_compliance()
}

/// The name as it is sorted and searched: the host's, then the device's.
fn text(instance: &Instance) -> String {
    let udi = format!("UDI_PID:{};UDI_SN:{};\n", instance.udi.pid, instance.udi.sn);
    instance.host_name.as_ref().map_or(udi.clone(), |host| format!("{host}\n{udi}")).to_lowercase()
}

/// The same search, instance by instance.
fn plainly(state: &State, wanted: &InstanceSearch<'_>, needle: &str) -> (Vec<InstanceId>, usize) {
    let needle = needle.trim().to_lowercase();
    let account = |i: &Instance| state.account(state.virtual_account(i.va).unwrap().account).unwrap();
    let va = |i: &Instance| state.virtual_account(i.va).unwrap().name.to_lowercase();
    let mut found: Vec<&Instance> = state.instances(None).collect();
    found.retain(|i| match wanted.within {
        Within::Server => true,
        Within::Account(id) => account(i).id == id,
        Within::VirtualAccounts(vas) => vas.contains(&i.va),
    });
    found.retain(|i| wanted.product_type.is_none_or(|wanted| *wanted == *i.product_type));
    found.retain(|i| wanted.in_compliance.is_none_or(|wanted| wanted == covered(state, i)));
    let beyond = |i: &Instance| match wanted.within {
        Within::Server => format!("{}\n{}", va(i), account(i).name.to_lowercase()),
        _ => String::new(),
    };
    found.retain(|i| {
        let texts = [text(i), i.product_type.to_lowercase(), beyond(i)];
        needle.is_empty() || texts.iter().any(|text| text.split('\n').any(|line| line.contains(&needle)))
    });
    let name = |i: &Instance| (text(i), i.id);
    match wanted.order.by {
        InstanceColumn::Registered => {}
        InstanceColumn::Name => found.sort_by_key(|i| name(i)),
        InstanceColumn::ProductType => found.sort_by_key(|i| (i.product_type.to_lowercase(), name(i))),
        InstanceColumn::VirtualAccount => found.sort_by_key(|i| (va(i), name(i))),
        InstanceColumn::LastContact => found.sort_by_key(|i| (i.last_contact, i.id)),
        InstanceColumn::Compliance => found.sort_by_key(|i| (covered(state, i), name(i))),
    }
    if wanted.order.descending {
        found.reverse();
    }
    let total = found.len();
    let after = found.into_iter().map(|i| i.id).filter(|id| wanted.after.is_none_or(|after| *id > after));
    (after.skip(wanted.window.offset).take(wanted.window.limit).collect(), total)
}

fn compare(directory: &Directory, seed: usize) -> Result<usize, String> {
    let state = &**directory.state();
    let instances: Vec<InstanceId> = state.instances(None).map(|i| i.id).collect();
    let vas: Vec<_> = state.accounts().flat_map(|a| state.virtual_accounts(a.id)).map(|va| va.id).collect();
    let accounts: Vec<_> = state.accounts().map(|a| a.id).collect();
    let mut most = 0;
    for (n, by) in COLUMNS.into_iter().cycle().take(24).enumerate() {
        let n = seed + n;
        let within = match (n % 3, accounts.get(n % accounts.len().max(1))) {
            (0, Some(account)) => Within::Account(*account),
            (1, _) => Within::VirtualAccounts(&vas[..vas.len().min(n % 4)]),
            _ => Within::Server,
        };
        let text = TEXTS[n / 2 % TEXTS.len()];
        let wanted = InstanceSearch {
            within,
            search: Needle::new(text),
            product_type: [None, Some("PI"), None, Some("none")][n / 3 % 4],
            in_compliance: [None, Some(true), Some(false)][n / 5 % 3],
            order: Order { by, descending: n.is_multiple_of(2) },
            after: if n.is_multiple_of(7) { instances.get(n % 5).copied() } else { None },
            window: Window { offset: n % 3, limit: [1, 3, usize::MAX][n / 7 % 3] },
        };
        let found = directory.find(&wanted);
        let expected = plainly(state, &wanted, text);
        let same = (&found.rows, found.total) == (&expected.0, expected.1);
        ensure(same, &format!("{wanted:?}: {found:?}, but plainly {expected:?}"))?;
        most = most.max(found.rows.len());
    }
    Ok(most)
}

#[test]
fn a_directory_that_follows_finds_what_a_plain_look_finds() {
    let config = Config { cases: 64, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let most = Cell::new(0);
    let result = TestRunner::new_with_rng(config, rng).run(&(steps(120), 1..20usize), |(steps, pace)| {
        let mut rig = lively();
        let mut directory = Directory::default();
        for (n, step) in steps.iter().enumerate() {
            rig.step(step).map_err(TestCaseError::fail)?;
            if n % pace == 0 {
                directory.follow(&Arc::new(rig.state.clone()));
                most.set(most.get().max(compare(&directory, n).map_err(TestCaseError::fail)?));
            }
        }
        Ok(())
    });
    result.unwrap();
    assert!(most.get() >= 5, "the lists were short: {}", most.get());
}

/// Enough come and go that the directory is made anew, and then another history takes the place of this one.
#[test]
fn a_directory_outlives_many_that_go_and_another_history() {
    let mut rig = Rig::initialized();
    let account = rig.active_account("one", catalog(5));
    let va = rig.state.account(account).unwrap().default_va;
    let token = rig.token(va, 0, true);
    let mut state = rig.state.clone();
    let run = |state: &mut State, command: Command| {
        let request = Request { id: 0, actor: "test".into(), command };
        let outcome = state.apply(Stamp::at(Millis(START)), &request, &mut Changes::new());
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    };
    let mut directory = Directory::of(&Arc::new(state.clone()));
    for device in 0..3_000 {
        let certificate = rig.certificate(1);
        run(&mut state, register(token, device, certificate));
    }
    directory.follow(&Arc::new(state.clone()));
    compare(&directory, 0).unwrap();
    let before = state.clone();
    let ids: Vec<InstanceId> = state.instances(None).map(|i| i.id).collect();
    for instance in ids.into_iter().filter(|id| id.0 % 3 != 0) {
        run(&mut state, Command::RemoveInstance { instance });
        if instance.0 % 50 == 0 {
            directory.follow(&Arc::new(state.clone()));
        }
    }
    directory.follow(&Arc::new(state));
    compare(&directory, 1).unwrap();
    directory.follow(&Arc::new(before));
    compare(&directory, 2).unwrap();
}
