//! Whether the store still works: one fatal failure, told once and for ever, and the room left on the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;

/// Less than so many times the reserve is little: somebody should make room before new work is refused.
const LOW: u64 = 2;
/// From so many times on it is enough again, so that the alert does not come and go.
const ENOUGH: u64 = 3;

/// What the store can do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    Ok,
    /// Free space is under the reserve: refuse new work, so that what runs can end well.
    DiskLow {
        free: u64,
        reserve: u64,
    },
    /// A write failed; nothing later may be acknowledged. The node must stop serving and exit.
    Failed {
        why: Arc<str>,
    },
}

/// Shared by all parts of the store.
#[derive(Debug)]
pub struct Health {
    failed: watch::Sender<Option<Arc<str>>>,
    free: AtomicU64,
    reserve: u64,
    low: AtomicBool,
}

impl Health {
    pub(super) fn new(reserve: u64) -> Self {
        Self { failed: watch::channel(None).0, free: AtomicU64::new(u64::MAX), reserve, low: AtomicBool::new(false) }
    }

    /// The free bytes, if these are few.
    #[must_use]
    pub fn disk_low(&self) -> Option<u64> {
        self.low.load(Relaxed).then(|| self.free.load(Relaxed))
    }

    fn note_free(&self, free: u64) {
        self.free.store(free, Relaxed);
        let bound = if self.low.load(Relaxed) { ENOUGH } else { LOW };
        self.low.store(free < self.reserve.saturating_mul(bound), Relaxed);
    }

    /// The state now.
    #[must_use]
    pub fn get(&self) -> StoreHealth {
        if let Some(why) = self.failed.borrow().clone() {
            return StoreHealth::Failed { why };
        }
        match self.free.load(Relaxed) {
            free if free < self.reserve => StoreHealth::DiskLow { free, reserve: self.reserve },
            _ => StoreHealth::Ok,
        }
    }

    /// Becomes `Some(reason)` once, at the first failure.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failed.subscribe()
    }

    /// Waits until the store has failed.
    pub(super) async fn until_failed(&self) {
        // The sender lives as long as this.
        let _ = self.failed.subscribe().wait_for(Option::is_some).await;
    }

    /// Records the first failure; later ones follow from it.
    pub(super) fn fail(&self, why: String) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                tracing::error!(why, "the store failed; this node can acknowledge nothing more");
                *failed = Some(why.into());
            }
            first
        });
    }

    /// Measures the free space under `dir`.
    pub(super) fn measure(&self, dir: &Path) {
        match rustix::fs::statvfs(dir) {
            Ok(fs) => {
                let free = fs.f_bavail.saturating_mul(fs.f_frsize);
                let before = self.free.load(Relaxed);
                self.note_free(free);
                if (before < self.reserve) != (free < self.reserve) {
                    tracing::warn!(free, reserve = self.reserve, "free disk space crossed the reserve");
                }
            }
            Err(error) => self.fail(format!("cannot read the free space of {}: {error}", dir.display())),
        }
    }

    /// Counts a failed allocation as no room at all, until the next measurement.
    pub(super) fn no_room(&self) {
        self.note_free(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_told_before_work_is_refused_and_until_there_is_enough() {
        let health = Health::new(100);
        let told = |free| {
            health.note_free(free);
            (health.disk_low(), health.get())
        };
        assert_eq!(told(200), (None, StoreHealth::Ok));
        assert_eq!(told(199), (Some(199), StoreHealth::Ok));
        assert_eq!(told(99), (Some(99), StoreHealth::DiskLow { free: 99, reserve: 100 }));
        assert_eq!(told(299), (Some(299), StoreHealth::Ok));
        assert_eq!(told(300), (None, StoreHealth::Ok));
    }
}
