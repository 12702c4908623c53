//! Random hierarchies of the vendor's: the server's numbers and central's are the same.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const HIERARCHIES: usize = 12;
const TIERS: usize = 5;

fn tag(hierarchy: usize, tier: usize) -> String {
    format!("H{hierarchy}-{tier}")
}

/// What the server has in all virtual accounts together, by tag: in use, and borrowed or lent.
fn of_server(state: &State, account: AccountId) -> BTreeMap<String, (u64, i64)> {
    let mut totals: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for va in state.virtual_accounts(account) {
        for pool in state.pools(va.id).filter(|pool| pool.in_use > 0 || pool.substitution != 0) {
            let total = totals.entry(state.license(pool.license).unwrap().tag.clone()).or_default();
            (total.0, total.1) = (total.0 + pool.in_use, total.1 + pool.substitution);
        }
    }
    totals
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_and_central_have_the_same_numbers_for_random_hierarchies() {
    let scene = Scene::new().await;
    let mut rng = StdRng::seed_from_u64(11);
    for hierarchy in 0..HIERARCHIES {
        // From the highest tier down, since central wants what covers to be there.
        for tier in (0..TIERS).rev() {
            let AdminRequest::Entitle(base) = entitlement(&tag(hierarchy, tier), rng.random_range(0..9)) else {
                panic!()
            };
            let above =
                (tier + 1..TIERS).filter(|_| rng.random_range(0..2) == 0).map(|up| tag(hierarchy, up)).collect();
            scene.central.ask(AdminRequest::Entitle(Entitle { covered_by: Some(above), ..base })).await;
        }
    }
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    // Two virtual accounts, each with a share of what was purchased.
    let default = scene.account().default_va;
    let lab = Command::CreateVirtualAccount { account: scene.account, name: "Lab".into() };
    let Outcome::Created(lab) = scene.ledger.must(lab) else { panic!() };
    let lab = VirtualAccountId(lab);
    for hierarchy in 0..HIERARCHIES {
        let license = scene.ledger.state().license_by_tag(scene.account, &tag(hierarchy, TIERS - 1)).unwrap().id;
        let has = scene.ledger.state().pool(default, license).map_or(0, |pool| pool.purchased);
        if has > 0 {
            scene.ledger.must(Command::TransferLicense { license, from: default, to: lab, quantity: has.div_ceil(2) });
        }
    }
    let products = [default, lab].map(|va| product(&scene.ledger, va, va.0 as u8));
    let mut lent = 0;
    for round in 1..=3 {
        for instance in products {
            let mut usage = Vec::new();
            for hierarchy in 0..HIERARCHIES {
                usage.extend((0..TIERS).map(|tier| (tag(hierarchy, tier), rng.random_range(0..6))));
            }
            let action = InstanceAction::Authorize { usage };
            scene.ledger.must(Command::Numbered { instance, number: round, digest: [round as u8; 32], action });
        }
        scene.node.synchronize(scene.account, "admin").await.unwrap();
        let AdminReply::Accounts(accounts) = scene.central.ask(AdminRequest::ListAccounts).await else { panic!() };
        let row = accounts.iter().find(|a| a.account.as_deref() == Some("TEST")).unwrap();
        let of_central = row.usage.iter().map(|u| (u.tag.clone(), (u.in_use, u.substitution)));
        let of_server = of_server(&scene.ledger.state(), scene.account);
        assert_eq!(of_central.collect::<BTreeMap<_, _>>(), of_server, "round {round}");
        lent += of_server.values().filter(|(_, substitution)| *substitution < 0).count();
    }
    assert!(lent >= 10, "hardly anything was lent: {lent}");
    assert_eq!(scene.ledger.state().check(), Vec::<String>::new());
}
