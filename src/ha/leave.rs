//! Members that leave: for a while, as one of two voters does when it stops, or for good, when they are removed.

use super::control::{commit, not_active};
use super::finding::{Finding, Teller};
use super::running::Running;
use crate::admin::{AdminError, Kind, Progress};
use crate::license::{Command, Member};
use crate::raft::{CAUGHT_UP_WITHIN, PeerStatus, Replica};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a removal waits for a member to learn of it, so that it ends by itself.
const LEARNS: Duration = Duration::from_secs(3);
/// A retired member goes on for so long at most: the change of the membership may need its vote.
const RETIRES: Duration = Duration::from_secs(2);
/// For its last acknowledgement to go out.
const LAST_ACK: Duration = Duration::from_millis(200);
/// How often these watches look.
const LOOK: Duration = Duration::from_millis(100);
/// A peer that acknowledged nothing for this long is away.
const FRESH: Duration = Duration::from_millis(600);
/// A node that stood down and is still there after this has changed its mind.
const STAYED: Duration = Duration::from_secs(30);
/// For one vote to be given back.
const READMIT: Duration = Duration::from_secs(5);

/// Removes the member called `name` for good: it is retired, and its id is never given again.
///
/// # Errors
/// When this node is not active or is meant itself, there is no such member, or no quorum agrees.
pub(super) async fn remove(running: &Running, name: &str, progress: &Progress) -> Result<(), AdminError> {
    if running.replica.guard().serving_until().is_none() {
        return Err(not_active(running));
    }
    let state = running.ledger().state();
    let member = state.members().find(|m| !m.retired && m.name == name);
    let member = member.ok_or_else(|| {
        AdminError::new(Kind::NotFound, format!("there is no member called {name}"))
            .hint("`licraft ha status` names the nodes")
    })?;
    if member.node_id == running.replica.options().node_id {
        return Err(AdminError::new(Kind::State, format!("{name} is the active node"))
            .hint("hand over first with `licraft ha switchover`, or end the cluster with `licraft ha teardown`"));
    }
    retire(running, member, progress).await
}

/// Ends the cluster: every other member is retired, the virtual address given up, and the incarnation raised, so that
/// central takes no copy of this server for it.
///
/// # Errors
/// As [`remove`]; what was done until then stays, and a repetition goes on from there.
pub(super) async fn end_cluster(running: &Running, progress: &Progress) -> Result<(), AdminError> {
    if running.replica.guard().serving_until().is_none() {
        return Err(not_active(running));
    }
    let me = running.replica.options().node_id;
    let state = running.ledger().state();
    let mut others: Vec<&Member> = state.members().filter(|m| !m.retired && m.node_id != me).collect();
    // Those that do not answer first, and the witness last: until then every change needs a majority.
    let status = running.replica.status();
    let away = |m: &Member| !status.peers.iter().any(|p| p.node_id == m.node_id && fresh(p));
    others.sort_by_key(|m| (!away(m), m.witness));
    for member in others {
        retire(running, member, progress).await?;
    }
    progress.step("Giving up the virtual address...");
    let ledger = running.ledger();
    let mut settings = ledger.state().settings().clone();
    settings.vip.clear();
    commit(&*ledger, "teardown", Command::SetSettings { settings }).await?;
    commit(&*ledger, "teardown", Command::RaiseIncarnation).await
}

async fn retire(running: &Running, member: &Member, progress: &Progress) -> Result<(), AdminError> {
    let Member { node_id, name, .. } = member;
    progress.step(format!("Retiring {name}..."));
    commit(&*running.ledger(), "cluster", Command::RetireMember { node_id: *node_id }).await?;
    let applied = running.store.applied().borrow().map(|id| id.index);
    if !learnt(&running.replica, *node_id, applied).await {
        progress.step(format!("{name} does not answer, so it does not know: do not start it again."));
    }
    running.replica.membership().remove(*node_id).await.map_err(|e| {
        AdminError::new(Kind::ClusterState, format!("{name} is retired, but still a member")).because(e.to_string())
    })
}

pub(super) fn fresh(peer: &PeerStatus) -> bool {
    peer.last_contact.is_some_and(|age| age < FRESH)
}

/// Waits until a member has applied the log up to `index`; false when it does not answer.
async fn learnt(replica: &Replica, node_id: u64, index: Option<u64>) -> bool {
    let until = Instant::now() + LEARNS;
    while Instant::now() < until {
        let status = replica.status();
        let Some(peer) = status.peers.iter().find(|p| p.node_id == node_id && fresh(p)) else { return false };
        if peer.last_applied.map(|id| id.index) >= index {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

/// Tells, once, that this node has been retired and its vote is needed no more.
pub(super) async fn watch_retirement(replica: Arc<Replica>, teller: Teller, stop: CancellationToken) {
    let (me, ledger) = (replica.options().node_id, replica.ledger());
    let mut since = None;
    while !stop.is_cancelled() {
        if ledger.state().member(me).is_some_and(|m| m.retired) {
            let since = *since.get_or_insert_with(Instant::now);
            let left = replica.membership().leaving();
            if left {
                tokio::time::sleep(LAST_ACK).await;
            }
            if left || since.elapsed() > RETIRES {
                tracing::warn!("this node has been retired");
                teller.tell(Finding::Retired);
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Members that gave their vote up to be away for a while, with when they did.
#[derive(Default)]
pub struct StoodDown(Mutex<BTreeMap<u64, Instant>>);

impl StoodDown {
    /// It is not going to be away after all.
    pub(super) fn stays(&self, node_id: u64) {
        self.0.lock().remove(&node_id);
    }
}

/// Whether this node and one other data node are all the voters: without either, the other could not go on.
pub(super) fn one_of_two(replica: &Replica) -> bool {
    let status = replica.status();
    let other = status.peers.iter().find(|p| p.voter);
    status.voter && status.voters.len() == 2 && other.is_some_and(|p| !p.info.witness)
}

/// On the active node: takes the vote of a member that is about to be away, so that the others go on without it.
///
/// # Errors
/// When this node is not active or the change is not committed.
pub(super) async fn stand_down(running: &Running, name: &str) -> Result<(), AdminError> {
    if running.replica.guard().serving_until().is_none() {
        return Err(not_active(running));
    }
    let members = running.replica.membership().members();
    let id = members.into_iter().find(|(_, info)| info.name == name).map(|(id, _)| id);
    let id = id.ok_or_else(|| AdminError::new(Kind::NotFound, format!("there is no member called {name}")))?;
    running.stood_down.0.lock().insert(id, Instant::now());
    let demoted = running.replica.membership().demote(id).await;
    demoted.map_err(|e| {
        running.stood_down.stays(id);
        AdminError::new(Kind::ClusterState, format!("{name} could not give its vote up")).because(e.to_string())
    })
}

/// On the active node: gives members that are back, and have caught up, their vote again.
pub(super) async fn readmit(replica: Arc<Replica>, stood_down: Arc<StoodDown>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if replica.guard().serving_until().is_some() {
            for peer in replica.status().peers {
                readmit_one(&replica, &stood_down, &peer).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn readmit_one(replica: &Replica, stood_down: &StoodDown, peer: &PeerStatus) {
    let (id, here) = (peer.node_id, fresh(peer));
    let leaving = {
        let mut leaving = stood_down.0.lock();
        leaving.retain(|other, at| *other != id || (here && at.elapsed() < STAYED));
        leaving.contains_key(&id)
    };
    let caught_up = peer.behind.is_some_and(|behind| behind <= CAUGHT_UP_WITHIN);
    let state = replica.ledger().state();
    let member = state.member(id).is_some_and(|m| !m.retired);
    if peer.voter || leaving || !here || !caught_up || !member {
        return;
    }
    match replica.membership().promote(id, READMIT).await {
        Ok(()) => tracing::info!(node = peer.info.name, "votes again"),
        Err(error) => tracing::warn!(node = peer.info.name, %error, "could not vote again yet"),
    }
}
