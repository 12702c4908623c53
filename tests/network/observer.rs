//! Looks all the time at who serves and who has the address.

use super::cluster::{PRIMARY, SECONDARY, VIP};
use super::lab::{Host, Lab};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const PACE: Duration = Duration::from_millis(20);

/// Watches until it is asked for what it saw.
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Look>>>,
}

/// Who had the address at one look. A node counts when it had it before and after the other was looked at, so that a
/// move between two looks is no double.
struct Look {
    both: bool,
    at: Instant,
}

/// What was seen.
pub struct Seen {
    pub looks: usize,
    /// The longest time over which both kernels had the address at every look.
    pub longest_double: Duration,
}

impl Observer {
    pub fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, nodes) = (stop.clone(), [lab.host(PRIMARY), lab.host(SECONDARY)]);
        let thread = std::thread::spawn(move || watch(&nodes, &stopped));
        Self { stop, thread: Some(thread) }
    }

    pub fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.thread.take().unwrap().join().unwrap();
        let (mut since, mut longest_double) = (None, Duration::ZERO);
        for look in &looks {
            since = if look.both { since.or(Some(look.at)) } else { None };
            longest_double = longest_double.max(since.map_or(Duration::ZERO, |since| look.at - since));
        }
        Seen { looks: looks.len(), longest_double }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(nodes: &[Host; 2], stop: &AtomicBool) -> Vec<Look> {
    let mut looks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let first = nodes[0].has(VIP);
        let both = first && nodes[1].has(VIP) && nodes[0].has(VIP);
        looks.push(Look { both, at: Instant::now() });
        std::thread::sleep(PACE);
    }
    looks
}
