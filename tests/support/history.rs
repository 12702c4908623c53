//! What the nodes and the callers of a storm saw, checked against each other.

use super::sim::*;
use licraft::license::*;
use licraft::raft::Replica;
use licraft::store::{Entry, LogId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Uses of the one token: fewer than the products that want it.
const TOKEN_USES: u64 = 8;
const TOKEN: Digest32 = [7; 32];

/// Every applied entry that was sampled, by index: whatever node it was on, it must be the same one.
#[derive(Default)]
pub struct Applied(BTreeMap<u64, LogId>);

impl Applied {
    pub fn sample(&mut self, replicas: &[Arc<Replica>]) {
        for replica in replicas {
            let Some(id) = replica.raft_metrics().borrow().last_applied else { continue };
            let first = *self.0.entry(id.index).or_insert(id);
            assert_eq!(first, id, "two entries were applied at one index");
        }
    }

    /// Log matching (Raft paper, 5.3): the logs are equal wherever they overlap, and hold what was ever seen applied.
    /// Election safety (5.2), for leaders known by term and node: along a log no earlier leader writes after a later one.
    pub fn check(&self, sim: &Sim) {
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        for (node, log) in sim.nodes.iter().map(|(id, n)| (id, n.entries())) {
            let leaders: Vec<_> = log.iter().map(|e| (e.log_id.leader_id.term, e.log_id.leader_id.node_id)).collect();
            assert!(leaders.is_sorted(), "node {node}: an earlier leader wrote after a later one: {leaders:?}");
            let ids: BTreeMap<_, _> = log.iter().map(|e| (e.log_id.index, e.log_id)).collect();
            let begin = ids.keys().next().copied().unwrap_or(u64::MAX);
            for (index, id) in self.0.range(begin..) {
                assert_eq!(ids.get(index), Some(id), "node {node} lost or changed what was applied");
            }
            for entry in log {
                let id = entry.log_id;
                let known = entries.entry(id.index).or_insert_with(|| entry.clone());
                assert!(*known == entry, "node {node} has another entry at {id}");
            }
        }
        assert!(!self.0.is_empty(), "nothing was sampled");
    }
}

/// What products were told.
#[derive(Default)]
pub struct Products {
    registered: BTreeMap<String, InstanceId>,
    refused: BTreeSet<String>,
    /// The last number answered to an instance, and the count it asked for.
    answered: BTreeMap<InstanceId, (u64, u64)>,
}

/// One account with one license and a token for [`TOKEN_USES`] registrations.
pub async fn sell(sim: &Sim) {
    let now = licraft::product::wall_clock()();
    let active = sim.active().await;
    let ledger = sim.nodes[&active].replica.ledger();
    let done = async |command| ledger.propose(0, "tester", command).await.unwrap();
    let Outcome::Created(id) = done(request_account("products")).await else { panic!("no account") };
    let account = AccountId(id);
    let keys = AccountKeys {
        ca_csr: vec![1],
        ca_key: Sealed(vec![1]),
        signer_key: Sealed(vec![1]),
        ca_chain: Vec::new(),
        signer_cert: Vec::new(),
    };
    assert!(!matches!(done(Command::ApproveAccount { account, keys }).await, Outcome::Refused(_)));
    let term = Term { quantity: 1_000_000, start: Millis(1), end: None, billing: Billing::Prepaid };
    let hot = Entitlement { tag: "HOT".into(), name: "Hot".into(), export_controlled: false, terms: vec![term] };
    let (ca_chain, signer_cert, response) = (vec![vec![1]], vec![1], [1; 32]);
    let activate = Command::ActivateAccount { account, ca_chain, signer_cert, entitlements: vec![hot], response };
    assert!(!matches!(done(activate).await, Outcome::Refused(_)));
    let token = Command::CreateToken {
        va: ledger.state().account(account).unwrap().default_va,
        hash: TOKEN,
        sealed: Sealed(vec![1]),
        description: format!("from {}", now.0),
        expires_days: 30,
        max_uses: TOKEN_USES,
        export_controlled: false,
    };
    assert!(matches!(done(token).await, Outcome::Created(_)));
}

fn register(sn: &str, key: u64) -> Command {
    let mut key_hash = [0; 32];
    key_hash[..8].copy_from_slice(&key.to_le_bytes());
    let now = licraft::product::wall_clock()();
    let not_before = Millis(now.0 - 5 * Millis::MINUTE);
    let not_after = now.plus(365 * Millis::DAY);
    Command::Register {
        token_hash: TOKEN,
        udi: Udi { pid: "STORM".into(), sn: sn.into() },
        host_name: None,
        product_type: "Storm".into(),
        software_version: "1".into(),
        certificate: IdCertificate { serial: [1; 16], key_hash, not_before, not_after },
    }
}

/// Registers one product after the other and lets the newest change its count, until `deadline`; what was asked by
/// then is repeated under its id and number until the outcome is known.
pub async fn product(
    caller: u64,
    replicas: Arc<Mutex<Vec<Arc<Replica>>>>,
    told: Arc<Mutex<Products>>,
    deadline: Instant,
) {
    let mut newest = None;
    for n in 1..u64::MAX {
        if Instant::now() > deadline {
            return;
        }
        let id = u128::from(caller + 1) << 96 | u128::from(n) << 1;
        let (sn, key) = (format!("{caller}-{n}"), (caller + 1) << 32 | n);
        match known(&replicas, id, register(&sn, key), deadline).await {
            Outcome::Registered(r) => {
                assert_eq!(told.lock().unwrap().registered.insert(sn, r.instance), None);
                newest = Some(r.instance);
            }
            Outcome::Refused(_) => assert!(told.lock().unwrap().refused.insert(sn)),
            other => panic!("{other:?}"),
        }
        if let Some(instance) = newest {
            let (count, mut digest) = (1 + n % 3, [0; 32]);
            digest[..8].copy_from_slice(&n.to_le_bytes());
            let action = InstanceAction::Authorize { usage: vec![("HOT".to_owned(), count)] };
            let command = Command::Numbered { instance, number: n, digest, action };
            let Outcome::Authorized(answer) = known(&replicas, id + 1, command, deadline).await else {
                panic!("{instance:?}, number {n}: not authorized")
            };
            assert_eq!(answer.licenses.first().map(|l| l.count), Some(count));
            told.lock().unwrap().answered.insert(instance, (n, count));
        }
    }
}

/// The outcome, long after the storm if need be. A node may have been replaced by its restarted self in between.
async fn known(replicas: &Mutex<Vec<Arc<Replica>>>, id: u128, command: Command, deadline: Instant) -> Outcome {
    let patience = deadline + Duration::from_secs(30);
    while Instant::now() < patience {
        let now = replicas.lock().unwrap().clone();
        let turn = Instant::now() + Duration::from_millis(500);
        if let Some(outcome) = surely(&now, id, command.clone(), turn).await {
            return outcome;
        }
    }
    panic!("no outcome long after the storm: {command:?}")
}

impl Products {
    /// Each took effect once, and as told.
    pub fn check(&self, sim: &Sim) {
        for (node, state) in sim.nodes.iter().map(|(id, n)| (id, n.store.state())) {
            let found: BTreeMap<_, _> = state.instances(None).map(|i| (i.udi.sn.clone(), i.id)).collect();
            assert_eq!(found, self.registered, "node {node}: other instances than the products were told");
            let uses = state.token_by_hash(&TOKEN).unwrap().uses;
            assert_eq!(uses, found.len() as u64, "node {node}: uses of the token");
            assert!(uses == TOKEN_USES || uses < TOKEN_USES && self.refused.is_empty(), "node {node}: {uses} uses");
            for (id, told) in &self.answered {
                let instance = state.instance(*id).unwrap();
                let number = instance.last_request.as_ref().unwrap().number;
                let count = instance.usage.first().map_or(0, |(_, count)| *count);
                assert_eq!((number, count), *told, "node {node}, {id:?}: another count than told");
            }
        }
        assert!(!self.answered.is_empty(), "no product was answered");
    }
}
