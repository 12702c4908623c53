//! The only mutator of the state.

use super::*;

impl State {
    /// Carries out `request` at `stamp`, noting touched records in `changes`.
    pub fn apply(&mut self, stamp: Stamp, request: &Request, changes: &mut Changes) -> Outcome {
        let _ = (stamp, request, changes);
        todo!()
    }
}
