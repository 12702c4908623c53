//! Clocks that jump: alone, all together, and to where the others are.

use super::sim::*;
use licraft::license::{AlertKind, Command, Millis, Outcome, State};
use licraft::raft::{Clock, ProposeError, SystemClock};
use std::sync::Arc;
use std::time::{Duration, Instant};

const YEAR_MS: i64 = 365 * 24 * 3_600_000;
const HOUR_MS: i64 = 3_600_000;

async fn propose(sim: &Sim, command: Command) -> Result<Outcome, ProposeError> {
    let active = sim.active().await;
    sim.nodes[&active].replica.ledger().propose(0, "tester", command).await
}

/// Proposes until the clocks of the nodes are known to agree.
async fn surely(sim: &Sim, command: Command) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match propose(sim, command.clone()).await {
            Ok(outcome) => return outcome,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn state(sim: &Sim) -> Arc<State> {
    let active = sim.active().await;
    sim.nodes[&active].store.state()
}

/// How far state time is from a time, in seconds.
fn away(state: &State, ms: i64) -> u64 {
    SystemClock.now().0.saturating_add_signed(ms).abs_diff(state.now().0) / 1_000
}

fn doubted(state: &State) -> bool {
    let alert = state.alerts().any(|alert| alert.key.kind == AlertKind::ClockSkew);
    assert_eq!(alert, state.meta().clock_ahead > 0);
    alert
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sole_voter_goes_on_evenly_when_its_clock_jumps_until_somebody_accepts_it() {
    let mut sim = Sim::form(1, 1, &[]).await;
    sim.clock(1).shift(YEAR_MS);
    assert!(sim.nodes[&1].replica.clock_news());
    surely(&sim, Command::PassTime).await;
    assert!(!sim.nodes[&1].replica.clock_news(), "it is told");
    let now = state(&sim).await;
    assert!(doubted(&now) && away(&now, 0) < 60, "{}", away(&now, 0));
    // A restart confirms nothing.
    sim.stop(1).await;
    sim.start(1).await;
    surely(&sim, request_account("after the restart")).await;
    let now = state(&sim).await;
    assert!(doubted(&now) && away(&now, 0) < 60);
    // Set right, all is as it was.
    sim.clock(1).shift(0);
    surely(&sim, Command::PassTime).await;
    assert!(!doubted(&*state(&sim).await));
    // Accepted, it is state time.
    sim.clock(1).shift(YEAR_MS);
    surely(&sim, Command::PassTime).await;
    let time = Millis(SystemClock.now().0.saturating_add_signed(YEAR_MS));
    assert_eq!(surely(&sim, Command::AcceptClock { time }).await, Outcome::Done);
    surely(&sim, Command::PassTime).await;
    let now = state(&sim).await;
    assert!(!doubted(&now) && away(&now, YEAR_MS) < 60);
    // State time never runs back.
    sim.clock(1).shift(0);
    surely(&sim, Command::PassTime).await;
    assert!(state(&sim).await.now() >= now.now());
    sim.end().await;
}

/// It changes nothing with it, and says why; the others' time goes on when they lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_alone_jumps_stamps_nothing() {
    let mut sim = Sim::form(1, 3, &[3]).await;
    sim.until("node 1 knows the clocks", Duration::from_secs(5), |s| {
        s.nodes[&1].replica.status().peers.iter().all(|peer| peer.clock_offset_ms.is_some())
    })
    .await;
    surely(&sim, request_account("before")).await;
    sim.converge().await;
    sim.clock(1).shift(YEAR_MS);
    for _ in 0..50 {
        let refused = propose(&sim, Command::PassTime).await.unwrap_err();
        assert!(refused.to_string().contains("2 of 2 other nodes; set the clocks"), "{refused}");
    }
    let trouble = sim.nodes[&1].replica.status().trouble.unwrap();
    assert!(trouble.contains("this node's clock is more than 10 s away"), "so that it hands over: {trouble}");
    assert!(away(&*state(&sim).await, 0) < 60);
    sim.nodes[&1].replica.transfer_to(2, async {}).await.unwrap();
    sim.until("node 2 serves", Duration::from_secs(5), |s| s.nodes[&2].replica.guard().serving_until().is_some()).await;
    surely(&sim, request_account("after")).await;
    let now = state(&sim).await;
    assert!(!doubted(&now) && away(&now, 0) < 60);
    sim.end().await;
}

/// As when all follow a time server that has gone wild: that they agree proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_together_do_not_confirm_one_another() {
    let mut sim = Sim::form(1, 3, &[3]).await;
    surely(&sim, request_account("before")).await;
    (1..=3).for_each(|id| sim.clock(id).shift(YEAR_MS));
    surely(&sim, request_account("after")).await;
    let now = state(&sim).await;
    assert!(doubted(&now) && away(&now, 0) < 60);
    // Another leader has no better clock.
    sim.nodes[&1].replica.transfer_to(2, async {}).await.unwrap();
    sim.until("node 2 serves", Duration::from_secs(5), |s| s.nodes[&2].replica.guard().serving_until().is_some()).await;
    surely(&sim, Command::PassTime).await;
    let now = state(&sim).await;
    assert!(doubted(&now) && away(&now, 0) < 60);
    let time = now.now().plus(now.meta().clock_ahead);
    assert_eq!(surely(&sim, Command::AcceptClock { time }).await, Outcome::Done);
    surely(&sim, Command::PassTime).await;
    let now = state(&sim).await;
    assert!(!doubted(&now) && away(&now, YEAR_MS) < 60);
    sim.converge().await;
    sim.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_to_where_the_others_have_been_is_right() {
    // The first node's clock is slow from the beginning.
    let mut sim = Sim::form_at(1, 1, &[], -2 * HOUR_MS).await;
    sim.start(2).await;
    let first = sim.nodes[&1].replica.clone();
    first.membership().add_voter(2, info(2, false), Duration::from_secs(10), |_, _| {}).await.unwrap();
    sim.until("node 1 knows the clock of node 2", Duration::from_secs(5), |s| {
        s.nodes[&1].replica.status().peers.iter().all(|peer| peer.clock_offset_ms.is_some())
    })
    .await;
    assert!(propose(&sim, Command::PassTime).await.is_err(), "the two disagree");
    assert!(away(&*state(&sim).await, -2 * HOUR_MS) < 60);
    sim.clock(1).shift(0);
    surely(&sim, Command::PassTime).await;
    let now = state(&sim).await;
    assert!(!doubted(&now) && away(&now, 0) < 60);
    sim.end().await;
}
