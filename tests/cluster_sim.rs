//! Whole clusters in one process on a bad network: election safety, no acknowledged command lost, equal states.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[path = "support/auditor.rs"]
mod auditor;
#[path = "cluster_sim/clock.rs"]
mod clock;
#[path = "support/history.rs"]
mod history;
#[path = "support/sim.rs"]
mod sim;

use history::*;
use licraft::license::{Outcome, Request, Stamp};
use licraft::raft::*;
use licraft::store::{Batch, BatchAuth, Entry, Envelope, LeaderId, LogId, Vote};
use openraft::EntryPayload;
use openraft::raft::VoteRequest;
use sim::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("LICRAFT_SIM_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(2);
    let first = std::env::var("LICRAFT_SIM_FIRST").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    first..first + count
}

async fn create(sim: &Sim, name: &str) -> Result<Outcome, ProposeError> {
    let active = sim.active().await;
    sim.nodes[&active].replica.ledger().propose(0, "tester", request_account(name)).await
}

fn check_told(sim: &Sim, told: &BTreeMap<String, u64>) {
    for (id, node) in &sim.nodes {
        let state = node.store.state();
        for (name, account) in told {
            let found = state.account_by_name(name).map(|a| a.id.0);
            assert_eq!(found, Some(*account), "node {id} lost or changed the acknowledged account {name}");
        }
        assert!(state.check().is_empty(), "node {id}: {:?}", state.check());
    }
}

/// One seed: callers create and delete accounts under the same few names, and products register and change their counts, while the network misbehaves and
/// nodes restart.
async fn storm(seed: u64, witnesses: &[u64]) {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let mut sim = Sim::form(seed, 3, witnesses).await;
    let told: Arc<Mutex<Vec<Told>>> = Arc::default();
    sell(&sim).await;
    let mut applied = Applied::default();
    let deadline = Instant::now() + Duration::from_secs(6);
    let replicas: Arc<Mutex<Vec<Arc<Replica>>>> =
        Arc::new(Mutex::new(sim.nodes.values().map(|n| n.replica.clone()).collect()));
    let callers: Vec<_> =
        (0..6).map(|caller| tokio::spawn(accounts(caller, replicas.clone(), told.clone(), deadline))).collect();
    let buyers: Vec<_> =
        (6..8).map(|caller| tokio::spawn(product(caller, replicas.clone(), told.clone(), deadline))).collect();
    while Instant::now() < deadline {
        match rng.random_range(0..5) {
            0 => sim.net.isolate(rng.random_range(1..=3), &[1, 2, 3]),
            1 => sim.net.cut(rng.random_range(1..=3), rng.random_range(1..=3)),
            2 => sim.net.weather(rng.random_range(0..10), rng.random_range(0..8)),
            3 => {
                let id = rng.random_range(1..=3);
                sim.stop(id).await;
                sim.start(id).await;
                *replicas.lock().unwrap() = sim.nodes.values().map(|n| n.replica.clone()).collect();
            }
            _ => {
                sim.net.heal();
                sim.net.weather(0, 0);
            }
        }
        let next = Instant::now() + Duration::from_millis(rng.random_range(50..600));
        while Instant::now() < next {
            applied.sample(&replicas.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    sim.net.heal();
    sim.net.weather(0, 0);
    for caller in callers.into_iter().chain(buyers) {
        caller.await.unwrap();
    }
    sim.active().await;
    create(&sim, "the last one").await.unwrap();
    sim.converge().await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.len() > 50, "seed {seed}: only {} commands went through", told.len());
    check_linearizable(&sim, &told);
    applied.check(&sim);
    for (id, node) in &sim.nodes {
        assert!(node.store.state().check().is_empty(), "node {id}: {:?}", node.store.state().check());
    }
    println!("seed {seed}: {} commands", told.len());
    sim.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_a_storm() {
    for seed in seeds() {
        storm(seed, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_a_witness() {
    for seed in seeds() {
        storm(seed, &[3]).await;
    }
}

/// The witness has the longest log, and the node that wrote it is gone: only the witness can win, and must hand over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_with_the_longest_log_hands_over_at_once() {
    let mut sim = Sim::form(1, 3, &[3]).await;
    create(&sim, "before").await.unwrap();
    sim.converge().await;
    assert_eq!(sim.active().await, 1);
    // Node 2 misses what 1 and 3 agree on.
    sim.net.isolate(2, &[1, 2, 3]);
    let mut told = BTreeMap::new();
    for n in 0..20 {
        let name = format!("missed {n}");
        let Outcome::Created(id) = create(&sim, &name).await.unwrap() else { panic!("not created") };
        told.insert(name, id);
    }
    let killed = Instant::now();
    sim.net.heal();
    sim.net.isolate(1, &[1, 2, 3]);
    sim.stop(1).await;
    sim.until("node 2 serves", Duration::from_secs(3), |s| s.nodes[&2].replica.guard().serving_until().is_some()).await;
    let gap = killed.elapsed();
    println!("took over after {gap:?}");
    assert!(gap < Duration::from_millis(1_500), "{gap:?}");
    assert_eq!(sim.nodes[&3].replica.guard().serving_until(), None, "a witness serves");
    assert!(matches!(
        sim.nodes[&3].replica.ledger().propose(0, "tester", request_account("x")).await,
        Err(ProposeError::NotActive { .. })
    ));
    create(&sim, "after").await.unwrap();
    check_told(&sim, &told);
    sim.end().await;
}

/// A voter that restarts has forgotten whose lease it granted, and must not help to elect another within it. It hears
/// nothing from its leader, so that nothing but the hold can make it refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_voter_takes_part_in_no_election_for_one_lease() {
    let mut sim = Sim::form(1, 3, &[]).await;
    let active = sim.active().await;
    create(&sim, "one").await.unwrap();
    sim.converge().await;
    let voter = (1..=3).find(|id| *id != active).unwrap();
    let rival = (1..=3).find(|id| *id != active && *id != voter).unwrap();
    sim.net.isolate(voter, &[1, 2, 3]);
    let (term, last) = {
        let metrics = sim.nodes[&active].replica.raft_metrics();
        let m = metrics.borrow();
        (m.current_term + 5, m.last_applied)
    };
    let mut ballot = VoteRequest::new(Vote::new(term, rival), last);
    // On a busy machine the answers may come after the hold; then they prove nothing.
    let within_the_lease = 'tried: {
        for _ in 0..20 {
            sim.stop(voter).await;
            let started = Instant::now();
            sim.start(voter).await;
            let inbound = sim.net.inbound(voter).unwrap();
            let answers = [inbound.pre_vote(rival, ballot.clone()).await, inbound.vote(rival, ballot.clone()).await];
            if started.elapsed() < sim.timings.lease() {
                break 'tried Some(answers);
            }
            ballot.vote.leader_id.term += 1;
        }
        None
    };
    for answer in within_the_lease.expect("no restart was quick enough") {
        assert!(matches!(answer, Err(PeerError::Refused(Refusal::JustStarted))), "{answer:?}");
    }
    let inbound = sim.net.inbound(voter).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !inbound.vote(rival, ballot.clone()).await.is_ok_and(|reply| reply.vote_granted) {
        assert!(Instant::now() < deadline, "the hold does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sim.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_finds_the_vote_of_its_last_leadership_does_not_serve_by_it() {
    let mut sim = Sim::form(3, 1, &[]).await;
    for n in 0..50 {
        create(&sim, &format!("a{n}")).await.unwrap();
    }
    let term = sim.nodes[&1].replica.roles().borrow().term;
    sim.stop(1).await;
    sim.start(1).await;
    let replica = sim.nodes[&1].replica.clone();
    let (guard, metrics) = (replica.guard(), replica.raft_metrics());
    loop {
        let serving = guard.serving_until().is_some();
        let now = metrics.borrow().current_term;
        assert!(!serving || now > term, "it serves in the term of a leadership that ended with the process");
        if serving {
            break;
        }
        tokio::task::yield_now().await;
    }
    sim.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_store_was_taken_away_stands_only_with_the_newest_membership() {
    // By most of the log node 1 is the only voter.
    let mut sim = Sim::form(4, 1, &[]).await;
    for n in 0..400 {
        create(&sim, &format!("a{n}")).await.unwrap();
    }
    sim.start(2).await;
    let joined = sim.nodes[&1].replica.membership().add_voter(2, info(2, false), Duration::from_secs(5), |_, _| {});
    joined.await.unwrap();
    sim.until("node 1 has heard of node 2", Duration::from_secs(5), |s| {
        s.nodes[&1].replica.status().peers.iter().all(|peer| peer.trouble.is_none())
    })
    .await;
    sim.nodes[&1].replica.transfer_to(2, async {}).await.unwrap();
    sim.until("node 2 serves", Duration::from_secs(5), |s| s.nodes[&2].replica.guard().serving_until().is_some()).await;
    sim.nodes[&2].replica.membership().demote(1).await.unwrap();
    for round in 0..5 {
        sim.net.weather(0, 0);
        sim.stop(1).await;
        sim.stop(2).await;
        // A leader that knows nothing of what node 1 had, as one in a new epoch.
        sim.start(2).await;
        sim.active().await;
        let term = sim.nodes[&2].replica.raft_metrics().borrow().current_term;
        // Slow, so that it has only a part of the log for a while.
        sim.net.weather(0, 40);
        sim.start_anew(1).await;
        create(&sim, &format!("b{round}")).await.unwrap();
        sim.until("node 1 has learnt it", Duration::from_secs(5), |s| {
            let last = s.nodes[&2].replica.status().last_applied;
            s.nodes[&1].replica.status().last_applied == last
        })
        .await;
        assert!(sim.nodes[&1].replica.learning());
        for (id, node) in &sim.nodes {
            let now = node.replica.raft_metrics().borrow().current_term;
            assert_eq!(now, term, "round {round}: node {id} saw another election");
        }
    }
    sim.net.weather(0, 0);
    // With its vote back it is a member like any other.
    sim.nodes[&2].replica.membership().promote(1, Duration::from_secs(5)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), sim.nodes[&1].replica.until_votes()).await.unwrap().unwrap();
    assert!(!sim.nodes[&1].replica.learning());
    sim.until("node 2 has heard of node 1", Duration::from_secs(5), |s| {
        s.nodes[&2].replica.status().peers.iter().all(|peer| peer.trouble.is_none())
    })
    .await;
    sim.nodes[&2].replica.transfer_to(1, async {}).await.unwrap();
    sim.until("node 1 serves", Duration::from_secs(5), |s| s.nodes[&1].replica.guard().serving_until().is_some()).await;
    sim.converge().await;
    sim.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_hand_over_is_quick_and_loses_nothing() {
    let sim = Sim::form(1, 3, &[3]).await;
    let told = create(&sim, "kept").await.unwrap();
    let Outcome::Created(id) = told else { panic!("{told:?}") };
    sim.converge().await;
    let first = sim.nodes[&1].replica.clone();
    assert!(first.transfer_to(3, async {}).await.is_err(), "handed over to a witness");
    let gap = first.transfer_to(2, async {}).await.unwrap();
    println!("handed over in {gap:?}");
    sim.until("node 2 serves", Duration::from_secs(2), |s| s.nodes[&2].replica.guard().serving_until().is_some()).await;
    assert!(matches!(
        first.ledger().propose(0, "tester", request_account("x")).await,
        Err(ProposeError::NotActive { active: Some(name) }) if name == "node-2"
    ));
    check_told(&sim, &BTreeMap::from([("kept".to_owned(), id)]));
    sim.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_holds_nobody_up() {
    let sim = Sim::form(1, 1, &[]).await;
    let ledger = sim.nodes[&1].replica.ledger();
    {
        let mut gone = std::pin::pin!(ledger.propose(0, "tester", request_account("gone")));
        assert!(futures::poll!(gone.as_mut()).is_pending());
    }
    create(&sim, "next").await.unwrap();
    let state = sim.nodes[&1].store.state();
    assert!(["gone", "next"].iter().all(|name| state.account_by_name(name).is_some()));
    sim.end().await;
}

/// A hostile witness wins an election and appends a batch that it made itself, or one that it saw. `forge` gets the
/// term before and the witness as leader, and gives the batch with the leader that its entry names.
async fn hostile(forge: impl Fn(u64, LeaderId) -> (Envelope, LeaderId)) {
    let sim = Sim::form(1, 3, &[3]).await;
    create(&sim, "honest").await.unwrap();
    sim.converge().await;
    let before = licraft::store::state_digest(&sim.nodes[&2].store.state()).unwrap();
    let (term, last): (u64, LogId) = {
        let metrics = sim.nodes[&2].replica.raft_metrics();
        let m = metrics.borrow();
        (m.current_term, m.last_applied.unwrap())
    };
    // The honest leader is cut off from its victim, so that it does not win it back.
    sim.net.isolate(2, &[1, 2, 3]);
    let leader = LeaderId { term: term + 1, node_id: 3 };
    let victim = sim.net.inbound(2).unwrap();
    let mut ballot = VoteRequest::new(Vote { leader_id: leader, committed: false }, Some(last));
    ballot.leadership_transfer = true;
    assert!(victim.vote(3, ballot).await.unwrap().vote_granted);
    let (envelope, named) = forge(term, leader);
    let id = LogId { leader_id: named, index: last.index + 1 };
    let entry = Entry { log_id: id, payload: EntryPayload::Normal(envelope) };
    let vote = Vote { leader_id: leader, committed: true };
    let append = Append { vote, prev_log_id: Some(last), entries: vec![entry], leader_commit: Some(id) };
    let _ = victim.append(3, append).await;
    sim.until("the data node stops", Duration::from_secs(5), |s| s.nodes[&2].replica.status().trouble.is_some()).await;
    assert_eq!(licraft::store::state_digest(&sim.nodes[&2].store.state()).unwrap(), before, "the state changed");
    sim.end().await;
}

fn batch(term: u64, node_id: u64) -> Batch {
    let request = Request { id: 77, actor: "admin".into(), command: request_account("forged") };
    let stamp = Stamp::at(licraft::license::Millis(1));
    Batch { epoch: EPOCH, term, node_id, seq: u64::MAX, stamp, requests: vec![request] }
}

/// Sealed under the key of the test's data nodes (9), or another.
fn sealed(batch: &Batch, key: u8) -> Envelope {
    Envelope::seal(batch, &|body| TestAuth(key).mac(body)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_forges_a_batch_stops_the_data_node() {
    hostile(|_, leader| (sealed(&batch(leader.term, leader.node_id), 1), leader)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_replays_a_sealed_batch_stops_the_data_node() {
    hostile(|term, leader| (sealed(&batch(term, 1), 9), leader)).await;
}

/// The entry forges the batch's own leader, so that MAC, term and node all fit; its number was applied before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_forges_the_leader_of_a_replayed_batch_stops_the_data_node() {
    // The first batch of the term, which made the account "honest" possible, was applied long ago.
    let again = |term, _| (sealed(&Batch { seq: 1, ..batch(term, 1) }, 9), LeaderId { term, node_id: 1 });
    hostile(again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_members_speak_and_only_for_themselves() {
    let sim = Sim::form(1, 3, &[3]).await;
    let inbound = sim.net.inbound(2).unwrap();
    let header = Header { from: 1, to: 2, cluster: CLUSTER.into(), epoch: EPOCH, seal: None, timings: sim.timings };
    assert_eq!(inbound.check(&header), Ok(()));
    let check = |header: Header| inbound.check(&header).unwrap_err();
    assert!(matches!(check(Header { cluster: "other".into(), ..header.clone() }), Refusal::Cluster { .. }));
    assert!(matches!(check(Header { to: 1, ..header.clone() }), Refusal::NotMe { .. }));
    let epoch = licraft::store::Epoch { counter: 2, id: 1 };
    assert!(matches!(check(Header { epoch, ..header.clone() }), Refusal::Epoch { .. }));
    // A witness could say so, too; only the seal of a data node tells.
    let met = sim.nodes[&2].replica.epoch_met();
    assert_eq!(*met.borrow(), None);
    let auth = sim.nodes[&2].replica.options().auth.clone().unwrap();
    let other = licraft::store::Epoch { counter: 3, id: 1 };
    let seal = Some(seal_epoch(&*auth, CLUSTER, other));
    check(Header { epoch, seal, ..header.clone() });
    assert_eq!(*met.borrow(), None, "the seal is of another epoch");
    let seal = Some(seal_epoch(&*auth, CLUSTER, epoch));
    check(Header { epoch, seal, ..header.clone() });
    assert_eq!(*met.borrow(), Some(EpochMet { node_id: 1, epoch }));
    let timings = Timings { election_max_ms: 301, ..sim.timings };
    assert!(matches!(check(Header { timings, ..header.clone() }), Refusal::Timing { .. }));
    // Node 3 leaves; its id is below what is known, so it is not a stranger but one that left.
    let first = sim.nodes[&1].replica.clone();
    let next = first.membership().next_node_id(&sim.nodes[&1].store.state());
    assert!(next > 3);
    first.membership().remove(3).await.unwrap();
    sim.until("node 3 is gone", Duration::from_secs(5), |s| {
        let metrics = s.nodes[&2].replica.raft_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.nodes().count() == 2 && metrics.committed_membership_config.nodes().count() == 2
    })
    .await;
    sim.until("node 3 is refused", Duration::from_secs(5), |_| {
        inbound.check(&Header { from: 3, ..header.clone() }) == Err(Refusal::NotMember { node: 3 })
    })
    .await;
    assert!(matches!(first.membership().add_learner(3, info(3, true)).await, Err(MembershipError::UsedId(3))));
    let vote = Vote { leader_id: LeaderId { term: 99, node_id: 1 }, committed: true };
    let append = Append { vote, prev_log_id: None, entries: vec![], leader_commit: None };
    assert!(matches!(inbound.append(3, append).await, Err(PeerError::Refused(Refusal::NotYours { .. }))));
    sim.end().await;
}
