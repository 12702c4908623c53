//! Joins concurrent commands into batches: stamps, seals and proposes them, and hands out the outcomes.
//!
//! There is no task of its own. A caller lets the tasks that are ready join it, then sends the next batch itself if
//! there is room in the pipeline; while it is full commands wait, and whoever completes a batch sends what waits.

use super::clock::Stamper;
use super::core::{Core, Written};
use super::lease::{Leading, LeaseGuard};
use super::{Ledger, ProposeError};
use crate::license::{Command, Outcome, Request, State};
use crate::store::codec::{Batch, BatchAuth, CodecError, Epoch};
use crate::store::{Callback, Envelope};
use openraft::errors::ClientWriteError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Commands waiting or in flight; more are turned away. At full rate this is a quarter of a second of work, so that
/// whoever is let in is answered soon.
pub const MAX_WAITING: usize = 16_384;
/// Commands in one batch: enough to spread one barrier thin, few enough that a batch stays far below the size limit.
pub const MAX_BATCH: usize = 256;
/// Batches in flight. Two keep every stage of the pipeline busy; more only make batches smaller.
pub const MAX_IN_FLIGHT: usize = 2;
/// How long a caller waits. Longer than any election; after it the outcome is unknown.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Times a batch is sealed again because leadership moved away and back before it was appended.
const MAX_ATTEMPTS: u32 = 3;

type Reply = Result<Outcome, ProposeError>;

struct Waiting {
    request: Request,
    reply: oneshot::Sender<Reply>,
    attempts: u32,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// A caller lets others join before it sends.
    gathering: bool,
    /// Somebody is sending batches.
    sealing: bool,
    in_flight: usize,
    in_flight_commands: usize,
    stopped: Option<String>,
}

/// Counters of the proposer, for metrics.
#[derive(Debug, Default)]
pub struct ProposerStats {
    pub batches: AtomicU64,
    pub commands: AtomicU64,
    pub refused_busy: AtomicU64,
    pub unknown: AtomicU64,
    pub resealed: AtomicU64,
}

/// Where a node's identity and helpers are kept for proposing.
pub(super) struct ProposerParts {
    pub core: Arc<dyn Core>,
    pub guard: LeaseGuard,
    pub stamper: Stamper,
    /// None on a witness, which never proposes.
    pub auth: Option<Arc<dyn BatchAuth>>,
    pub epoch: Epoch,
    pub me: u64,
    pub state: Arc<dyn StateSource>,
    pub active_name: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Where the newest applied state is read.
pub trait StateSource: Send + Sync + 'static {
    /// Cheap and immutable.
    fn state(&self) -> Arc<State>;
}

/// The way of every command into the log.
pub struct Proposer {
    parts: ProposerParts,
    queue: Mutex<Queue>,
    /// Batches sealed since the start.
    sealed: AtomicU64,
    pub stats: ProposerStats,
}

impl Proposer {
    pub(super) fn new(parts: ProposerParts) -> Arc<Self> {
        Arc::new(Self { parts, queue: Mutex::default(), sealed: AtomicU64::new(0), stats: ProposerStats::default() })
    }

    /// Commands that wait or are in flight.
    #[must_use]
    pub fn pending(&self) -> usize {
        let queue = self.queue.lock();
        queue.waiting.len() + queue.in_flight_commands
    }

    /// Whether the next command would tell something new of this node's clock.
    #[must_use]
    pub(super) fn clock_news(&self) -> bool {
        self.parts.stamper.news(&self.parts.state.state())
    }

    /// Ends all waiting commands: nothing of them was proposed.
    pub(super) fn stop(&self, why: &str) {
        let waiting = {
            let mut queue = self.queue.lock();
            queue.stopped = Some(why.to_owned());
            std::mem::take(&mut queue.waiting)
        };
        reply_all(waiting, &ProposeError::Stopped { why: why.to_owned() });
    }

    fn admit(self: &Arc<Self>, request: Request) -> Result<oneshot::Receiver<Reply>, ProposeError> {
        if self.parts.guard.serving().is_none() {
            return Err(self.not_active());
        }
        if let Some(why) = self.parts.guard.store().refuses() {
            tracing::warn!(why, "refusing new work");
            return Err(ProposeError::Busy { retry_after_ms: 5_000 });
        }
        let (reply, outcome) = oneshot::channel();
        let mut queue = self.queue.lock();
        if let Some(why) = &queue.stopped {
            return Err(ProposeError::Stopped { why: why.clone() });
        }
        if queue.waiting.len() + queue.in_flight_commands >= MAX_WAITING {
            drop(queue);
            self.stats.refused_busy.fetch_add(1, Ordering::Relaxed);
            return Err(ProposeError::Busy { retry_after_ms: 250 });
        }
        queue.waiting.push_back(Waiting { request, reply, attempts: 0 });
        Ok(outcome)
    }

    /// Sends what waits after all tasks that are ready have had a turn: under load many of them bring commands, alone it
    /// costs a microsecond.
    async fn gather(self: &Arc<Self>) {
        if std::mem::replace(&mut self.queue.lock().gathering, true) {
            return;
        }
        let gathering = Gathering(self);
        tokio::task::yield_now().await;
        drop(gathering);
    }

    /// Sends batches while there is room in the pipeline. One caller at a time does, so that batches reach the log in
    /// the order of their stamps; what others add meanwhile it sends too.
    fn pump(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        if queue.gathering || queue.sealing {
            return;
        }
        while queue.in_flight < MAX_IN_FLIGHT && !queue.waiting.is_empty() {
            let count = queue.waiting.len().min(MAX_BATCH);
            let batch: Vec<Waiting> = queue.waiting.drain(..count).collect();
            queue.sealing = true;
            queue.in_flight += 1;
            queue.in_flight_commands += count;
            drop(queue);
            self.send(batch);
            queue = self.queue.lock();
            queue.sealing = false;
        }
    }

    /// Stamps, seals and proposes `batch`; answers it when it cannot be proposed.
    fn send(self: &Arc<Self>, mut batch: Vec<Waiting>) {
        let Some(leading) = self.parts.guard.serving() else { return self.give_up(batch, &self.not_active()) };
        let requests = batch.iter_mut().map(|w| std::mem::replace(&mut w.request, nothing())).collect();
        let (requests, sealed) = self.seal(leading, requests);
        for (waiting, request) in batch.iter_mut().zip(requests) {
            waiting.request = request;
        }
        match sealed {
            Ok(envelope) => self.write(leading, envelope, batch),
            Err(SealError::Codec(CodecError::TooLong { .. })) if batch.len() > 1 => {
                let rest = batch.split_off(batch.len() / 2);
                self.queue.lock().in_flight += 1;
                self.send(batch);
                self.send(rest);
            }
            Err(error) => {
                tracing::error!(%error, "cannot seal a batch");
                self.give_up(batch, &ProposeError::Stopped { why: error.to_string() });
            }
        }
    }

    fn write(self: &Arc<Self>, leading: Leading, envelope: Envelope, batch: Vec<Waiting>) {
        self.stats.batches.fetch_add(1, Ordering::Relaxed);
        self.stats.commands.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let flight = Flight { proposer: self.clone(), batch };
        let done = Callback::new(move |written| flight.complete(written));
        // On an error the callback is dropped uncalled, which answers the batch.
        if let Err(why) = self.parts.core.write(envelope, leading.leader, done) {
            tracing::error!(why, "cannot hand a batch to Raft");
        }
    }

    fn give_up(&self, batch: Vec<Waiting>, error: &ProposeError) {
        self.landed(batch.len());
        reply_all(batch, error);
    }

    /// Gives the requests back, with the sealed batch of them.
    fn seal(&self, leading: Leading, requests: Vec<Request>) -> (Vec<Request>, Result<Envelope, SealError>) {
        let Some(auth) = &self.parts.auth else { return (requests, Err(SealError::Witness)) };
        let stamp = match self.parts.stamper.stamp(&self.parts.state.state()) {
            Ok(stamp) => stamp,
            Err(why) => return (requests, Err(SealError::Clock(why))),
        };
        let batch = Batch {
            epoch: self.parts.epoch,
            term: leading.leader.term,
            node_id: self.parts.me,
            // Batches reach the log in the order in which they are sealed, and a restart brings a new term.
            seq: self.sealed.fetch_add(1, Ordering::Relaxed) + 1,
            stamp,
            requests,
        };
        let sealed = Envelope::seal(&batch, &|body| auth.mac(body));
        (batch.requests, sealed.map_err(SealError::Codec))
    }

    fn not_active(&self) -> ProposeError {
        ProposeError::NotActive { active: (self.parts.active_name)() }
    }

    /// Nothing was appended: leadership moved between sealing and appending. What may still go is sealed anew.
    fn again(&self, mut batch: Vec<Waiting>) {
        batch.iter_mut().for_each(|w| w.attempts += 1);
        let serving = self.parts.guard.serving().is_some();
        let (retry, over): (Vec<_>, Vec<_>) = batch.into_iter().partition(|w| serving && w.attempts < MAX_ATTEMPTS);
        if !over.is_empty() {
            reply_all(over, &self.not_active());
        }
        if !retry.is_empty() {
            self.stats.resealed.fetch_add(1, Ordering::Relaxed);
            let mut queue = self.queue.lock();
            for waiting in retry.into_iter().rev() {
                queue.waiting.push_front(waiting);
            }
        }
    }

    fn unknown(&self, batch: Vec<Waiting>, why: &str) {
        self.stats.unknown.fetch_add(batch.len() as u64, Ordering::Relaxed);
        reply_all(batch, &ProposeError::Unknown { why: why.to_owned() });
    }

    fn landed(&self, commands: usize) {
        let mut queue = self.queue.lock();
        queue.in_flight -= 1;
        queue.in_flight_commands -= commands;
    }
}

#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error("{0}")]
    Codec(CodecError),
    #[error("{0}")]
    Clock(String),
    #[error("a witness proposes nothing")]
    Witness,
}

/// Stands in for a request while it is borrowed for sealing.
const fn nothing() -> Request {
    Request { id: 0, actor: String::new(), command: Command::RaiseIncarnation }
}

fn reply_all(batch: impl IntoIterator<Item = Waiting>, error: &ProposeError) {
    for waiting in batch {
        // A caller that has gone away needs no answer.
        let _ = waiting.reply.send(Err(error.clone()));
    }
}

/// Sends what has gathered when dropped, so also when the caller that gathers goes away meanwhile.
struct Gathering<'a>(&'a Arc<Proposer>);

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().gathering = false;
        self.0.pump();
    }
}

/// A batch in flight. Dropped without completion (the node stops) its callers learn that the outcome is unknown.
struct Flight {
    proposer: Arc<Proposer>,
    batch: Vec<Waiting>,
}

impl Flight {
    fn complete(mut self, written: Written) {
        let batch = std::mem::take(&mut self.batch);
        self.proposer.landed(batch.len());
        match written {
            Ok(applied) if applied.data.0.len() == batch.len() => {
                for (waiting, outcome) in batch.into_iter().zip(applied.data.0) {
                    let _ = waiting.reply.send(Ok(outcome));
                }
            }
            Ok(applied) => {
                tracing::error!(outcomes = applied.data.0.len(), commands = batch.len(), "outcomes do not fit");
                self.proposer.unknown(batch, "the outcomes do not fit the commands");
            }
            Err(ClientWriteError::ForwardToLeader(_)) => self.proposer.again(batch),
            Err(error) => self.proposer.unknown(batch, &error.to_string()),
        }
        self.proposer.pump();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.proposer.landed(batch.len());
            self.proposer.unknown(batch, "the node stopped");
        }
    }
}

#[async_trait::async_trait]
impl Ledger for Arc<Proposer> {
    async fn propose(&self, request_id: u128, actor: &str, command: Command) -> Reply {
        let outcome = self.admit(Request { id: request_id, actor: actor.to_owned(), command })?;
        self.gather().await;
        match tokio::time::timeout(PROPOSE_TIMEOUT, outcome).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(ProposeError::Unknown { why: "the node stopped".to_owned() }),
            Err(_) => {
                self.stats.unknown.fetch_add(1, Ordering::Relaxed);
                Err(ProposeError::Unknown { why: format!("no answer within {} s", PROPOSE_TIMEOUT.as_secs()) })
            }
        }
    }

    fn state(&self) -> Arc<State> {
        self.parts.state.state()
    }
}
