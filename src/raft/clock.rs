//! The time that the leader stamps: never back, and only while the wall clock agrees with the other nodes'.

use super::peers::Peers;
use crate::license::Millis;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How far this node's wall clock may be from another's and still agree with it.
pub const CLOCK_TOLERANCE_MS: u64 = 10_000;

/// A wall clock.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Makes stamps.
pub(super) struct Stamper {
    clock: Arc<dyn Clock>,
    peers: Arc<Peers>,
    last: Mutex<Millis>,
}

impl Stamper {
    pub fn new(clock: Arc<dyn Clock>, peers: Arc<Peers>) -> Self {
        Self { clock, peers, last: Mutex::new(Millis(0)) }
    }

    /// The next stamp, not before `state_time` nor any stamp given earlier.
    ///
    /// # Errors
    /// When the clock disagrees with the other nodes, with what to do about it.
    pub fn stamp(&self, state_time: Millis) -> Result<Millis, String> {
        let (agree, known) = self.peers.clock_agreement(CLOCK_TOLERANCE_MS);
        // This node counts too: of three clocks two must agree, of two both.
        if (agree + 1) * 2 <= known + 1 {
            return Err(format!(
                "this node's clock is more than {} s away from {} of {known} other nodes; set the clocks (NTP)",
                CLOCK_TOLERANCE_MS / 1_000,
                known - agree,
            ));
        }
        let mut last = self.last.lock();
        *last = (*last).max(state_time).max(self.clock.now());
        Ok(*last)
    }
}
