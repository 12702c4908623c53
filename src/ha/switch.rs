//! A ledger whose replica comes and goes: the admin service and the pages outlive `ha stop` and `ha start`.

use crate::license::{Command, Outcome, State};
use crate::raft::{Ledger, ProposeError};
use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus_client::metrics::histogram::Histogram;
use std::sync::Arc;
use std::time::Instant;

/// Proposes to the replica that runs now, or says why there is none.
pub struct SwitchLedger {
    current: ArcSwapOption<Arc<dyn Ledger>>,
    /// Why there is no replica, and the state as it was last.
    off: ArcSwap<(String, Arc<State>)>,
    commit_latency: Histogram,
}

impl SwitchLedger {
    /// Without a replica, for the reason `why`; `commit_latency` is told in seconds.
    #[must_use]
    pub fn new(why: &str, commit_latency: Histogram) -> Self {
        Self {
            commit_latency,
            current: ArcSwapOption::empty(),
            off: ArcSwap::from_pointee((why.to_owned(), Arc::default())),
        }
    }

    pub fn on(&self, ledger: Arc<dyn Ledger>) {
        self.current.store(Some(Arc::new(ledger)));
    }

    /// Gives readers `state` while there is no replica.
    pub fn keep(&self, state: Arc<State>) {
        let why = self.off.load().0.clone();
        self.off.store(Arc::new((why, state)));
    }

    /// Reads go on from the last state, for a node that is stopped still knows its members.
    pub fn off(&self, why: &str) {
        let last = self.state();
        self.off.store(Arc::new((why.to_owned(), last)));
        self.current.store(None);
    }
}

#[async_trait::async_trait]
impl Ledger for SwitchLedger {
    async fn propose(&self, request_id: u128, actor: &str, command: Command) -> Result<Outcome, ProposeError> {
        match self.current.load_full() {
            Some(ledger) => {
                let began = Instant::now();
                let outcome = ledger.propose(request_id, actor, command).await;
                if outcome.is_ok() {
                    self.commit_latency.observe(began.elapsed().as_secs_f64());
                }
                outcome
            }
            None => Err(ProposeError::Stopped { why: self.off.load().0.clone() }),
        }
    }

    fn state(&self) -> Arc<State> {
        match self.current.load_full() {
            Some(ledger) => ledger.state(),
            None => self.off.load().1.clone(),
        }
    }
}
