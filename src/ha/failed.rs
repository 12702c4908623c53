//! What does not work now, as `Failed Actions` of `ha status` shows it.

use crate::admin::FailedAction;
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
