//! The recount: every kept total and index against the records it follows from.

use super::*;

impl State {
    /// Recounts every kept total and index and lists what differs; empty means sound.
    pub fn check(&self) -> Vec<String> {
        todo!()
    }
}
