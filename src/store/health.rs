//! Whether the store still works: one fatal failure, told once and for ever, and the room left on the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;

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
}

impl Health {
    pub(super) fn new(reserve: u64) -> Self {
        Self { failed: watch::channel(None).0, free: AtomicU64::new(u64::MAX), reserve }
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
                let before = self.free.swap(free, Relaxed);
                if (before < self.reserve) != (free < self.reserve) {
                    tracing::warn!(free, reserve = self.reserve, "free disk space crossed the reserve");
                }
            }
            Err(error) => self.fail(format!("cannot read the free space of {}: {error}", dir.display())),
        }
    }

    /// Counts a failed allocation as no room at all, until the next measurement.
    pub(super) fn no_room(&self) {
        self.free.store(0, Relaxed);
    }
}
