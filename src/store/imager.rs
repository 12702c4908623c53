//! The image thread: at intervals it writes what changed to the image, and then lets the log be purged.

use super::dir::DataDir;
use super::health::Health;
use super::image::{Image, ImageError, Position};
use super::log::LogStore;
use super::metrics::StoreMetrics;
use crate::license::{RecordKey, State};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often free space is measured.
const DISK_INTERVAL: Duration = Duration::from_secs(1);

/// What was applied since the image was written.
pub(super) struct Pending {
    pub state: Arc<State>,
    pub changes: HashSet<RecordKey>,
    pub position: Position,
    /// Commands since the image: what a restart would replay.
    pub commands: usize,
    /// The image thread has been woken for these.
    pub woken: bool,
}

pub(super) enum Order {
    /// The replay has grown long: write now.
    Wake,
    /// Replace the whole image.
    Replace {
        state: Arc<State>,
        position: Position,
        done: oneshot::Sender<Result<(), String>>,
    },
    /// Write what is pending and reply.
    Flush(oneshot::Sender<()>),
    Stop,
}

pub(super) struct Imager {
    pub dir: Arc<DataDir>,
    /// None only while it is replaced.
    pub image: Option<Image>,
    pub written: Position,
    pub pending: Arc<Mutex<Pending>>,
    pub orders: Receiver<Order>,
    pub log: LogStore,
    pub interval: Duration,
    pub health: Arc<Health>,
    pub metrics: Arc<StoreMetrics>,
}

impl Imager {
    pub(super) fn run(mut self) {
        let (mut written, mut measured) = (Instant::now(), Instant::now());
        loop {
            let wait = self.interval.saturating_sub(written.elapsed()).min(DISK_INTERVAL);
            let order = self.orders.recv_timeout(wait);
            if measured.elapsed() >= DISK_INTERVAL {
                self.health.measure(self.dir.root());
                measured = Instant::now();
            }
            let stop = matches!(order, Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected));
            let due = !matches!(order, Err(RecvTimeoutError::Timeout)) || written.elapsed() >= self.interval;
            if due {
                // Reported before the order is dropped, so that who waits for it finds the store failed.
                if let Err(error) = self.write() {
                    return self.report(&error);
                }
                written = Instant::now();
            }
            match order {
                Ok(Order::Replace { state, position, done }) => {
                    let replaced = self.replace(&state, position).inspect_err(|error| self.report(error));
                    // Whoever asked may be gone; then nobody uses the new image before the next start.
                    let _ = done.send(replaced.as_ref().copied().map_err(|error| error.to_string()));
                    if replaced.is_err() {
                        return;
                    }
                }
                Ok(Order::Flush(done)) => drop(done.send(())),
                Ok(Order::Wake | Order::Stop) | Err(_) => {}
            }
            if stop {
                self.image.take().into_iter().for_each(Image::close);
                return;
            }
        }
    }

    fn write(&mut self) -> Result<(), ImageError> {
        let (state, changes, position) = {
            let mut pending = self.pending.lock();
            if pending.position == self.written {
                return Ok(());
            }
            (pending.commands, pending.woken) = (0, false);
            (pending.state.clone(), std::mem::take(&mut pending.changes), pending.position.clone())
        };
        let image = self.image.as_mut().expect("only `replace` takes it, and puts one back or ends the thread");
        let started = Instant::now();
        self.metrics.image_begins();
        let records = image.write(&state, &changes, &position)?;
        self.metrics.image_ends();
        self.metrics.image_writes.fetch_add(1, Relaxed);
        self.metrics.image_records.fetch_add(records as u64, Relaxed);
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.metrics.image_write_us.store(took, Relaxed);
        self.wrote(position);
        Ok(())
    }

    fn replace(&mut self, state: &Arc<State>, position: Position) -> Result<(), ImageError> {
        let image = self.image.take().expect("only `replace` takes it, and puts one back or ends the thread");
        self.image = Some(image.replace(state, &position)?);
        *self.pending.lock() = Pending {
            state: state.clone(),
            changes: HashSet::new(),
            position: position.clone(),
            commands: 0,
            woken: false,
        };
        self.wrote(position);
        Ok(())
    }

    fn report(&self, error: &ImageError) {
        let dir = self.dir.image();
        self.health.fail(format!("cannot write the image of the state in {}: {error}", dir.display()));
    }

    fn wrote(&mut self, position: Position) {
        if let Some(applied) = &position.applied {
            self.log.covered(applied.index);
        }
        self.written = position;
    }
}
