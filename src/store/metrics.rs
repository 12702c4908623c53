//! What the store counts, for `telemetry` and for the detection of a disk that hangs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Upper bounds of the barrier latency buckets, in microseconds; one more bucket takes the rest.
pub const BARRIER_BUCKETS_US: [u64; 12] =
    [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 102_400, 409_600, 1_638_400];

/// Upper bounds of the entries-per-barrier buckets; one more bucket takes the rest.
pub const GROUP_BUCKETS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024];

/// A histogram with fixed buckets, cheap enough for the write path.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(bucket).unwrap_or(&self.above).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// (upper bound, observations in that bucket alone); the bound of the last is `u64::MAX`.
    #[must_use]
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        bounds.zip(self.counts.iter().chain([&self.above]).map(|count| count.load(Relaxed))).collect()
    }

    /// Number and sum of all observations.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.buckets().iter().map(|(_, count)| count).sum(), self.sum.load(Relaxed))
    }
}

/// Counters of the store. All are monotonic but the gauges at the end.
#[derive(Debug)]
pub struct StoreMetrics {
    started: Instant,
    /// Time of one write and barrier of the log, microseconds.
    pub barrier_us: Histogram<12>,
    /// Log entries made durable by one barrier.
    pub group_entries: Histogram<10>,
    /// Bytes written to the log.
    pub log_bytes: AtomicU64,
    /// Batches of changed records written to the image, and the records in them.
    pub image_writes: AtomicU64,
    pub image_records: AtomicU64,
    /// Time the last image write took, microseconds.
    pub image_write_us: AtomicU64,
    /// Microseconds after `started` at which the image write under way began; 0 when there is none.
    image_began_us: AtomicU64,
    /// Entries in the log, gauge.
    pub log_entries: AtomicU64,
    /// Size of the newest snapshot in bytes, gauge, and its age as seconds since the Unix epoch of its making.
    pub snapshot_bytes: AtomicU64,
    pub snapshot_made_unix: AtomicU64,
    queued: AtomicU64,
    done: AtomicU64,
    /// Microseconds after `started` at which work was queued on an idle log, or the last barrier passed.
    progress_us: AtomicU64,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            barrier_us: Histogram::new(BARRIER_BUCKETS_US),
            group_entries: Histogram::new(GROUP_BUCKETS),
            log_bytes: AtomicU64::new(0),
            image_writes: AtomicU64::new(0),
            image_records: AtomicU64::new(0),
            image_write_us: AtomicU64::new(0),
            image_began_us: AtomicU64::new(0),
            log_entries: AtomicU64::new(0),
            snapshot_bytes: AtomicU64::new(0),
            snapshot_made_unix: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            done: AtomicU64::new(0),
            progress_us: AtomicU64::new(0),
        }
    }
}

impl StoreMetrics {
    /// For how long work has waited for a barrier without one passing; zero when nothing waits. A disk that hangs
    /// shows here long before any call returns an error.
    #[must_use]
    pub fn stalled_for(&self) -> Duration {
        if self.done.load(Relaxed) >= self.queued.load(Relaxed) {
            return Duration::ZERO;
        }
        Duration::from_micros(self.now_us().saturating_sub(self.progress_us.load(Relaxed)))
    }

    /// For how long a write of the image has been under way; zero without one.
    #[must_use]
    pub fn image_stalled_for(&self) -> Duration {
        match self.image_began_us.load(Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_micros(self.now_us().saturating_sub(began)),
        }
    }

    pub(super) fn image_begins(&self) {
        self.image_began_us.store(self.now_us().max(1), Relaxed);
    }

    pub(super) fn image_ends(&self) {
        self.image_began_us.store(0, Relaxed);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Notes one piece of work handed to the IO thread.
    pub(super) fn queued(&self) {
        if self.queued.fetch_add(1, Relaxed) == self.done.load(Relaxed) {
            self.progress_us.store(self.now_us(), Relaxed);
        }
    }

    /// Notes a group of `works` pieces that is durable.
    pub(super) fn passed(&self, works: u64, entries: u64, took: Duration) {
        self.progress_us.store(self.now_us(), Relaxed);
        self.done.fetch_add(works, Relaxed);
        self.barrier_us.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.group_entries.observe(entries);
    }

    /// Notes pieces that needed no barrier.
    pub(super) fn skipped(&self, works: u64) {
        self.done.fetch_add(works, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_land_in_their_bucket() {
        let histogram = Histogram::new([10, 20]);
        for value in [1, 10, 11, 20, 21] {
            histogram.observe(value);
        }
        assert_eq!(histogram.buckets(), [(10, 2), (20, 2), (u64::MAX, 1)]);
        assert_eq!(histogram.totals(), (5, 63));
    }

    #[test]
    fn only_waiting_work_can_stall() {
        let metrics = StoreMetrics::default();
        assert_eq!(metrics.stalled_for(), Duration::ZERO);
        metrics.queued();
        while metrics.stalled_for() == Duration::ZERO {
            std::hint::spin_loop();
        }
        metrics.passed(1, 1, Duration::from_micros(5));
        assert_eq!(metrics.stalled_for(), Duration::ZERO);
    }
}
