//! What does not work now, as `Failed Actions` of `ha status` shows it, and its event.

use super::address::event;
use crate::admin::FailedAction;
use crate::license::Severity;
use crate::raft::Replica;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The failed actions that this node knows of, by who watches for them.
#[derive(Default)]
pub struct Failed(Mutex<BTreeMap<&'static str, Vec<FailedAction>>>);

impl Failed {
    /// Replaces what `watcher` has said before; true when that was something else.
    pub fn set(&self, watcher: &'static str, actions: Vec<FailedAction>) -> bool {
        self.0.lock().insert(watcher, actions.clone()).unwrap_or_default() != actions
    }

    /// All, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<FailedAction> {
        let mut all: Vec<FailedAction> = self.0.lock().values().flatten().cloned().collect();
        all.sort_by_key(|action| action.at);
        all
    }
}

/// An event that waits until this node is the one that can record it.
#[derive(Default)]
pub struct Unrecorded(Option<String>);

impl Unrecorded {
    pub fn put(&mut self, message: String) {
        self.0 = Some(message);
    }

    /// What it says has passed without this node having been active.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    /// Records it, if this node is active.
    pub async fn record(&mut self, replica: &Replica, kind: &str) {
        if replica.guard().serving_until().is_some()
            && let Some(message) = self.0.take()
        {
            event(&*replica.ledger(), Severity::Major, kind, message).await;
        }
    }
}
