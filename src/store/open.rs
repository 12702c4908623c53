//! Opening a data directory: log, image and snapshots together, with what to do when one of them is damaged.

use super::codec::BatchAuth;
use super::dir::DataDir;
use super::error::StoreError;
use super::health::{Health, StoreHealth};
use super::image::{Image, ImageError, Position, set_aside};
use super::imager::{Imager, Order, Pending};
use super::log::{CACHE_BYTES, LogOptions, LogStore, SEGMENT_BYTES};
use super::machine::{Machine, Shared, StateDigest};
use super::metrics::StoreMetrics;
use super::snapshot::{SnapshotReceiver, Snapshots};
use super::types::{LogId, SnapshotMeta};
use crate::license::State;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// After a failure, for an image thread that may hang; and how often it is looked at.
const FAILED_IMAGE: Duration = Duration::from_secs(1);
const END_LOOK: Duration = Duration::from_millis(2);

/// How a store is run. The defaults are what a node uses; tests make things smaller.
#[derive(Clone)]
pub struct StoreOptions {
    /// Checks the MAC of batches; none on a witness.
    pub auth: Option<Arc<dyn BatchAuth>>,
    /// Size of a log segment, 64 KiB to 1 GiB.
    pub segment_bytes: usize,
    /// Newest log entries kept in memory, in bytes.
    pub log_cache_bytes: usize,
    /// Time between two writes of the image.
    pub image_interval: Duration,
    /// Commands after which the image is written early: bounds the replay of a restart.
    pub image_commands: usize,
    /// Changed records after which the image is written early: bounds the memory that sled takes for one batch.
    pub image_records: usize,
    /// Cache of sled. The state is in memory, so sled needs little.
    pub image_cache_bytes: u64,
    /// Under this much free space new work is refused.
    pub disk_reserve_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            auth: None,
            segment_bytes: SEGMENT_BYTES,
            log_cache_bytes: CACHE_BYTES,
            // Longer intervals coalesce more changes; at full load the number of commands decides.
            image_interval: Duration::from_secs(5),
            // Replays within a second.
            image_commands: 100_000,
            // sled holds some KiB for each until the batch is done.
            image_records: 1_000,
            image_cache_bytes: 2 << 20,
            // A snapshot, an image and some segments of a large installation.
            disk_reserve_bytes: 256 << 20,
        }
    }
}

/// The store of one node.
pub struct Store;

impl Store {
    /// Whether there is a store in `dir`: some log at least.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        let files = std::fs::read_dir(dir.join("log")).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.path().extension().is_some_and(|extension| extension == "wal"))
    }

    /// Opens `dir`, making what is missing. Takes the lock of the directory; blocks for the replay.
    ///
    /// # Errors
    /// See [`StoreError`]; each says what to do.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(LogStore, Machine, StoreHandle), StoreError> {
        let dir = Arc::new(DataDir::open(dir)?);
        let health = Arc::new(Health::new(options.disk_reserve_bytes));
        let metrics = Arc::new(StoreMetrics::default());
        check_room(&dir, &options)?;
        health.measure(dir.root());
        let log_options = LogOptions {
            segment_bytes: options.segment_bytes.clamp(64 << 10, 1 << 30),
            cache_bytes: options.log_cache_bytes,
        };
        let (log, log_thread) = LogStore::open(&dir.log(), log_options, metrics.clone(), health.clone(), dir.clone())?;
        let snapshots = Snapshots::open(dir.snapshots())?;
        let (image, position, state) = open_image(&dir, options.image_cache_bytes, &snapshots, &log)?;
        if let Some(applied) = &position.applied {
            log.covered(applied.index);
        }
        let published = Arc::new(state.clone());
        let pending = Pending {
            state: published.clone(),
            changes: HashSet::new(),
            position: position.clone(),
            commands: 0,
            woken: false,
        };
        let pending = Arc::new(Mutex::new(pending));
        let (orders, queue) = channel();
        let imager = Imager {
            dir: dir.clone(),
            image: Some(image),
            written: position.clone(),
            pending: pending.clone(),
            orders: queue,
            log: log.clone(),
            interval: options.image_interval,
            health: health.clone(),
            metrics: metrics.clone(),
        };
        let image_thread = std::thread::Builder::new().name("image".into()).spawn(move || imager.run());
        let image_thread = image_thread.map_err(StoreError::io("start the image thread of", dir.root()))?;
        let shared = Arc::new(Shared {
            published: ArcSwap::new(published),
            applied: watch::channel(position.applied).0,
            pending,
            orders: orders.clone(),
            snapshots,
            digests: watch::channel(VecDeque::new()).0,
            health,
            metrics,
            image_limits: (options.image_commands, options.image_records),
        });
        let machine = Machine::new(state, position, options.auth, shared.clone());
        let threads = Arc::new(Mutex::new(Some(Threads { image: image_thread, log: log_thread })));
        Ok((log.clone(), machine, StoreHandle { shared, orders, log, threads }))
    }
}

fn check_room(dir: &DataDir, options: &StoreOptions) -> Result<(), StoreError> {
    /// What sled and the repair of a tail may write before anything works.
    const OPENING: u64 = 4 << 20;
    let needed = 2 * options.segment_bytes as u64 + OPENING;
    let fs = rustix::fs::statvfs(dir.root()).map_err(|error| StoreError::io("measure", dir.root())(error.into()))?;
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    match free >= needed {
        true => Ok(()),
        false => Err(StoreError::NoRoom { dir: dir.root().to_owned(), free, needed }),
    }
}

/// The image, or what the newest snapshot and the log can make up for it.
fn open_image(
    dir: &DataDir,
    cache_bytes: u64,
    snapshots: &Snapshots,
    log: &LogStore,
) -> Result<(Image, Position, State), StoreError> {
    let root = dir.image();
    let failed = |error: ImageError| match error {
        ImageError::Store(error) => error,
        error => StoreError::io("open the image", &root)(io::Error::other(error.to_string())),
    };
    let why = match Image::open(&root, cache_bytes) {
        Ok(Some(opened)) => return Ok(opened),
        Ok(None) => None,
        Err(error) if error.is_damage() => Some(error.to_string()),
        Err(error) => return Err(failed(error)),
    };
    let (position, state) = match snapshots.current() {
        Some((SnapshotMeta { last_log_id: applied, last_membership: membership }, file)) => {
            let (_, state) = file.load().map_err(StoreError::io("read snapshot", file.path()))?;
            (Position { applied, membership }, state)
        }
        None => Default::default(),
    };
    let purged = log.purged();
    if purged > position.applied {
        let why = why.unwrap_or_else(|| "the image is missing".into());
        let why = format!("{why}, and no snapshot reaches up to log entry {purged:?}, where the log begins");
        return Err(StoreError::Reseed { dir: dir.root().to_owned(), why });
    }
    if let Some(why) = why {
        let aside = set_aside(&root)?;
        tracing::error!(why, ?aside, position = ?position.applied, "the image was damaged; it is rebuilt from snapshot and log");
    }
    let image = Image::create(&root, cache_bytes, &state, &position).map_err(failed)?;
    Ok((image, position, state))
}

struct Threads {
    image: JoinHandle<()>,
    log: JoinHandle<()>,
}

/// What the rooms above use of the store; cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    log: LogStore,
    threads: Arc<Mutex<Option<Threads>>>,
}

impl StoreHandle {
    /// The newest applied state. Cheap.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.shared.published.load_full()
    }

    /// The newest applied state with the log id of the newest entry in it.
    #[must_use]
    pub fn state_at(&self) -> (Arc<State>, Option<LogId>) {
        let pending = self.shared.pending.lock();
        (pending.state.clone(), pending.position.applied)
    }

    /// The log id of the newest applied entry; when it changes, [`Self::state`] already includes it.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.shared.applied.subscribe()
    }

    /// Whether new work may be accepted.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.shared.health.get()
    }

    /// The free bytes of the disk, if these are few.
    #[must_use]
    pub fn disk_low(&self) -> Option<u64> {
        self.shared.health.disk_low()
    }

    /// Becomes `Some(reason)` at the first failed write: stop serving, drop the address, exit non-zero.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.health.failed()
    }

    /// Counters, and how long the disk has hung.
    #[must_use]
    pub fn metrics(&self) -> Arc<StoreMetrics> {
        self.shared.metrics.clone()
    }

    /// The newest digests of the state, oldest first.
    #[must_use]
    pub fn digests(&self) -> watch::Receiver<VecDeque<StateDigest>> {
        self.shared.digests.subscribe()
    }

    /// Begins to receive a snapshot from another node.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn receive_snapshot(&self) -> io::Result<SnapshotReceiver> {
        self.shared.snapshots.receive()
    }

    /// Writes the image now and returns when it is durable.
    ///
    /// # Errors
    /// The store has failed or is closed.
    pub async fn flush_image(&self) -> io::Result<()> {
        let closed = || io::Error::other("the store has failed or is closed");
        let (done, wait) = oneshot::channel();
        self.orders.send(Order::Flush(done)).map_err(|_| closed())?;
        tokio::select! {
            flushed = wait => flushed.map_err(|_| closed()),
            // The image thread may hang: sled waits for good for a write that failed.
            () = self.shared.health.until_failed() => Err(closed()),
        }
    }

    /// Waits for the image thread; when the store has failed, not for good, since sled may never return from a write.
    fn end_image(&self, image: JoinHandle<()>) {
        let mut patience = FAILED_IMAGE;
        while !image.is_finished() {
            if patience.is_zero() {
                tracing::error!("the image thread hangs in a write that failed; it is left behind");
                return;
            }
            std::thread::sleep(END_LOOK);
            if matches!(self.shared.health.get(), StoreHealth::Failed { .. }) {
                patience = patience.saturating_sub(END_LOOK);
            }
        }
        let _ = image.join();
    }

    /// Writes the image a last time, ends all threads and lets go of the directory. Call it after openraft has shut
    /// down. Blocks.
    pub fn close(&self) {
        let Some(Threads { image, log }) = self.threads.lock().take() else { return };
        // A thread that is gone has nothing left to do.
        let _ = self.orders.send(Order::Stop);
        self.end_image(image);
        self.log.stop();
        let _ = log.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled can wait for good for a write that failed; nobody else may.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_image_thread_that_hangs_in_a_failed_store_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let (_log, _machine, store) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let (orders, _nobody) = channel();
        let (_end, hung) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = hung.recv();
        });
        let sound = store.threads.lock().as_mut().map(|threads| std::mem::replace(&mut threads.image, thread)).unwrap();
        let stuck = StoreHandle { orders, ..store.clone() };
        let flush = tokio::spawn({
            let stuck = stuck.clone();
            async move { stuck.flush_image().await }
        });
        store.shared.health.fail("the disk is gone".to_owned());
        assert!(flush.await.unwrap().is_err());
        tokio::task::spawn_blocking(move || stuck.close()).await.unwrap();
        store.orders.send(Order::Stop).unwrap();
        sound.join().unwrap();
    }
}
