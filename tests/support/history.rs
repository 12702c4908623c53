//! What the nodes and the callers of a storm saw, checked against each other.

use super::auditor::Auditor;
use super::sim::*;
use licraft::license::*;
use licraft::raft::Replica;
use licraft::store::{Entry, LogId};
use std::collections::BTreeMap;
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

/// What a caller was told of the command with request id `id`, and from when to when it asked.
pub struct Told {
    pub id: u128,
    pub outcome: Outcome,
    pub asked: Instant,
    pub answered: Instant,
}

/// Linearizability (Herlihy and Wing, 1990): the log, replayed, gives every caller what it was told, answered as an
/// independent model would and in an order that agrees with real time; and every node's state is what the model
/// has at its end.
pub fn check_linearizable(sim: &Sim, told: &[Told]) {
    let requests = requests(sim);
    let (mut state, mut auditor, mut first) = (State::default(), Auditor::default(), BTreeMap::new());
    let mut leader = 0;
    for (position, (term, stamp, request)) in requests.iter().enumerate() {
        if std::mem::replace(&mut leader, *term) != *term {
            auditor.new_leader();
        }
        let outcome = state.apply(*stamp, request, &mut Changes::new());
        auditor.observe(*stamp, request, &outcome).unwrap();
        if request.id != 0 {
            first.entry(request.id).or_insert((position, outcome));
        }
    }
    for (id, node) in &sim.nodes {
        auditor.compare(&node.store.state()).unwrap_or_else(|why| panic!("node {id}: {why}"));
    }
    let position = |call: &Told| {
        let (position, outcome) = first.get(&call.id).unwrap_or_else(|| panic!("{} was answered and lost", call.id));
        assert_eq!(*outcome, call.outcome, "request {} was told something else", call.id);
        *position
    };
    let mut answered: Vec<_> = told.iter().map(|call| (call.answered, position(call))).collect();
    answered.sort_unstable();
    let mut asked: Vec<_> = told.iter().map(|call| (call.asked, position(call))).collect();
    asked.sort_unstable();
    let (mut answered, mut newest) = (answered.into_iter().peekable(), None);
    for (at, position) in asked {
        while let Some((_, before)) = answered.next_if(|(done, _)| *done < at) {
            newest = newest.max(Some(before));
        }
        assert!(newest < Some(position), "a command took effect before one that was answered before it was asked");
    }
}

/// All commands in the order of the log, with the terms of their leaders and their stamps.
fn requests(sim: &Sim) -> Vec<(u64, Stamp, Request)> {
    let log = sim.nodes.values().next().unwrap().entries();
    assert_eq!(log.first().map(|e| e.log_id.index), Some(0), "the log does not reach back to its beginning");
    let open = |entry: Entry| match entry.payload {
        openraft::EntryPayload::Normal(envelope) => {
            Some(envelope.open(entry.log_id.leader_id, Some(&TestAuth(9))).unwrap())
        }
        _ => None,
    };
    log.into_iter().filter_map(open).flat_map(|b| b.requests.into_iter().map(move |r| (b.term, b.stamp, r))).collect()
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
    let hot = Entitlement {
        tag: "HOT".into(),
        name: "Hot".into(),
        export_controlled: false,
        terms: vec![term],
        covered_by: vec![],
    };
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
        certificate: IdCertificate { serial: licraft::pki::random::bytes(), key_hash, not_before, not_after },
        devices: vec![],
    }
}

/// Asks the nodes in turn, and keeps what it was told.
struct Caller {
    number: u64,
    asked: u64,
    replicas: Arc<Mutex<Vec<Arc<Replica>>>>,
    told: Arc<Mutex<Vec<Told>>>,
    deadline: Instant,
}

impl Caller {
    /// Repeats the command under one request id until the outcome is known.
    async fn ask(&mut self, command: Command) -> Outcome {
        self.asked += 1;
        let id = u128::from(self.number + 1) << 96 | u128::from(self.asked);
        let asked = Instant::now();
        let outcome = known(&self.replicas, id, command, self.deadline).await;
        let answered = Instant::now();
        self.told.lock().unwrap().push(Told { id, outcome: outcome.clone(), asked, answered });
        outcome
    }
}

/// Requests accounts by names that others want too, and deletes those it got, until `deadline`.
pub async fn accounts(
    number: u64,
    replicas: Arc<Mutex<Vec<Arc<Replica>>>>,
    told: Arc<Mutex<Vec<Told>>>,
    deadline: Instant,
) {
    let mut caller = Caller { number, asked: 0, replicas, told, deadline };
    while Instant::now() < deadline {
        let name = format!("account {}", caller.asked % 3);
        if let Outcome::Created(account) = caller.ask(request_account(&name)).await {
            caller.ask(Command::DeleteAccount { account: AccountId(account) }).await;
        }
    }
}

/// Registers one product after the other and lets the newest change its count, until `deadline`.
pub async fn product(
    number: u64,
    replicas: Arc<Mutex<Vec<Arc<Replica>>>>,
    told: Arc<Mutex<Vec<Told>>>,
    deadline: Instant,
) {
    let mut caller = Caller { number, asked: 0, replicas, told, deadline };
    let mut newest = None;
    for n in 1..u64::MAX {
        if Instant::now() > deadline {
            break;
        }
        let (sn, key) = (format!("{number}-{n}"), (number + 1) << 32 | n);
        if let Outcome::Registered(registered) = caller.ask(register(&sn, key)).await {
            newest = Some(registered.instance);
        }
        if let Some(instance) = newest {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            let action = InstanceAction::Authorize { usage: vec![("HOT".to_owned(), 1 + n % 3)] };
            let outcome = caller.ask(Command::Numbered { instance, number: n, digest, action }).await;
            assert!(matches!(outcome, Outcome::Authorized(_)), "{outcome:?}");
        }
    }
    assert!(newest.is_some(), "no product was registered");
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
