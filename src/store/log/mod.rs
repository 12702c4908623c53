//! The Raft log: a write-ahead log in preallocated segments, with one IO thread and group commit.

mod index;
mod janitor;
mod record;
mod recover;
mod report;
mod segment;
mod writer;

use super::error::StoreError;
use super::health::{Health, StoreHealth};
use super::metrics::StoreMetrics;
use super::types::{Entry, LeaderId, LogId, TypeConfig, Vote};
use futures::{Stream, TryStreamExt, stream};
use index::{Found, Index};
use janitor::Janitor;
use openraft::errors::LeaderChanged;
use openraft::storage::{
    IOFlushed, LeaderBoundedStreamError, LeaderBoundedStreamResult, RaftLogReader, RaftLogStorage,
};
use openraft::{LogState, OptionalSend};
use parking_lot::Mutex;
use record::{Head, Record};
pub use report::LogReport;
pub(super) use report::report;
use segment::{HEADER, Segment};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use writer::{Op, Writer};

/// Size of a segment file. Zero-filling one takes some 10 to 80 ms beside the IO thread; the log is purged in this unit.
pub const SEGMENT_BYTES: usize = 16 << 20;

/// Kept free of the longest entry in a segment: the first record and padding.
const MIN_ENTRY_ROOM: usize = 4_096;

/// Entries kept in memory, in bytes: followers that keep up and `apply` never read the disk.
pub const CACHE_BYTES: usize = 8 << 20;

/// Most bytes returned by one limited read: well under the limits of one append request.
const READ_BYTES: usize = 1 << 20;

/// What the log's users and its IO thread share.
pub(super) struct Shared {
    index: Mutex<Index>,
    metrics: Arc<StoreMetrics>,
    health: Arc<Health>,
    /// The IO thread sleeps and must be woken to write a committed id.
    idle: AtomicBool,
}

/// How the log is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogOptions {
    pub segment_bytes: usize,
    pub cache_bytes: usize,
}

/// The Raft log, as openraft writes it. Cloning makes another handle of the same log.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    queue: Sender<Op>,
    longest: usize,
}

/// Reads the log; cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogStore {
    /// Replays the log in `dir` and starts its threads. The IO thread drops `keep` when it ends.
    pub(super) fn open(
        dir: &Path,
        options: LogOptions,
        metrics: Arc<StoreMetrics>,
        health: Arc<Health>,
        keep: impl Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let size = options.segment_bytes;
        let mut found = recover::read(dir, options.cache_bytes, true)?;
        let (active, end) = match found.active {
            Some((segment, end)) => (segment, end),
            None => (Arc::new(first_segment(dir, size)?), HEADER),
        };
        if found.torn {
            recover::repair(&active, end)?;
        }
        // What was read may still be in the page cache only, when the process was killed but the machine was not.
        active.file.sync_data().map_err(StoreError::io("sync", &active.path))?;
        found.index.segments.insert(writer::number(&active), active.clone());
        let last_index = found.last_indexes.pop().and_then(|(_, last)| last);
        let head = Head {
            vote: found.index.vote,
            committed: found.index.committed,
            purged: found.index.purged,
            previous_end: 0,
        };
        let janitor = Janitor::start(dir.to_owned(), size, health.clone(), active.number + 1)?;
        let shared = Arc::new(Shared { index: Mutex::new(found.index), metrics, health, idle: AtomicBool::new(false) });
        let (sender, queue) = channel();
        let writer = Writer {
            shared: shared.clone(),
            queue,
            janitor,
            active,
            size,
            end,
            synced: end,
            older: found.last_indexes.into(),
            last_index,
            head,
            pending_purge: None,
            covered: None,
            buffer: Vec::new(),
            marked: true,
        };
        let thread = std::thread::Builder::new().name("log-io".into()).spawn(move || {
            writer.run();
            drop(keep);
        });
        let thread = thread.map_err(StoreError::io("start the IO thread of", dir))?;
        Ok((Self { shared, queue: sender, longest: size - HEADER - MIN_ENTRY_ROOM }, thread))
    }

    /// Indexes of the entries held, oldest first.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.shared.index.lock().range()
    }

    /// The newest entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.shared.index.lock().purged
    }

    /// Tells the log that the image is durable up to `index`: purged segments before may be deleted.
    pub(super) fn covered(&self, index: u64) {
        self.send(Op::Covered(index));
    }

    /// Ends the IO thread after all work before it.
    pub(super) fn stop(&self) {
        self.send(Op::Stop);
    }

    /// A queue without a reader means that the store stopped; callers that wait learn it from their own channel.
    fn send(&self, op: Op) {
        self.shared.metrics.queued();
        if self.queue.send(op).is_err() {
            self.shared.metrics.skipped(1);
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.shared.health.get() {
            StoreHealth::Failed { why } => Err(io::Error::other(why.to_string())),
            StoreHealth::Ok | StoreHealth::DiskLow { .. } => Ok(()),
        }
    }

    async fn durable(&self, op: Op, done: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
        self.check()?;
        self.send(op);
        done.await.unwrap_or_else(|_| Err(io::Error::other("the Raft log is closed")))
    }

    /// Returns when everything appended before is durable.
    ///
    /// # Errors
    /// The log failed or is closed.
    pub async fn sync(&self) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.durable(Op::Sync(done), wait).await
    }
}

fn first_segment(dir: &Path, size: usize) -> Result<Segment, StoreError> {
    match segment::list(dir)?.first() {
        Some(path) => Segment::open(path, true),
        None => Segment::create(dir, 1, size),
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let index = self.shared.index.lock();
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { shared: self.shared.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, wait) = oneshot::channel();
        self.durable(Op::Vote { vote: *vote, done }, wait).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Rides along with the next group, or is written at once when the log is idle.
        self.shared.index.lock().committed = committed;
        if self.shared.idle.swap(false, Ordering::AcqRel) {
            self.send(Op::Wake);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let index = self.shared.index.lock();
        // It was written without a barrier, so entries it names may be lost by a power cut; peers have those.
        Ok(index.committed.min(index.last_log_id()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.check()?;
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut index = self.shared.index.lock();
        for entry in &entries {
            if record::entry_size(entry) > self.longest {
                let why = format!("entry {} is longer than a log segment takes", entry.log_id);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            if !index.accepts(entry.log_id.index) {
                let why = format!("entry {} would leave a hole after {:?}", entry.log_id, index.last_log_id());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            index.push(entry.clone());
        }
        drop(index);
        self.send(Op::Append { entries, done: callback });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.check()?;
        // No barrier: until a later append is durable the old tail does no harm, and that append's barrier covers this.
        self.shared.index.lock().truncate_after(last_log_id.as_ref());
        self.send(Op::Truncate(last_log_id));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.check()?;
        let mut index = self.shared.index.lock();
        let hole = log_id.index >= index.range().end;
        index.purge(log_id);
        drop(index);
        self.send(Op::Purge { id: log_id, hole });
        Ok(())
    }
}

impl LogReader {
    /// Entries of `range` that the log holds, oldest first, until about `limit` bytes; at least one if there is one.
    async fn read(&self, range: Range<u64>, limit: usize) -> io::Result<Vec<Entry>> {
        let found = self.shared.index.lock().find(range, limit);
        if found.iter().all(|found| matches!(found, Found::Cached(_))) {
            return collect(found, limit);
        }
        tokio::task::spawn_blocking(move || collect(found, limit)).await.map_err(io::Error::other)?
    }

    /// The entries of `range` as a stream that holds at most [`READ_BYTES`] of them at a time. `check` is called
    /// before and after each read; its error ends the stream.
    fn stream<E: From<io::Error> + Send>(
        &self,
        range: Range<u64>,
        check: impl Fn() -> Result<(), E> + Copy + Send + Sync,
    ) -> impl Stream<Item = Result<Entry, E>> + Send {
        let chunks = stream::try_unfold((self.clone(), range), move |(reader, range)| async move {
            check()?;
            if range.is_empty() {
                return Ok::<_, E>(None);
            }
            let entries = reader.read(range.clone(), READ_BYTES).await?;
            check()?;
            let next = entries.last().map_or(range.end, |last| last.log_id.index + 1);
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), (reader, next..range.end))))
        });
        chunks.try_flatten()
    }

    fn vote(&self) -> Option<Vote> {
        self.shared.index.lock().vote
    }

    fn clamp(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let held = self.shared.index.lock().range();
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        start.max(held.start)..end.min(held.end)
    }
}

fn collect(found: Vec<Found>, limit: usize) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(found.len());
    let mut size = 0;
    for found in found {
        let entry = match found {
            Found::Cached(entry) => entry,
            Found::Stored(segment, offset) => stored(&segment, offset)?,
        };
        size += record::entry_size(&entry);
        if size > limit && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn stored(segment: &Segment, offset: u32) -> io::Result<Entry> {
    let (kind, payload) = segment.read(offset)?;
    match Record::decode(kind, &payload)? {
        Record::Entry(entry) => Ok(entry),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("expected an entry, found {other:?}"))),
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(self.clamp(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, READ_BYTES).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Box::pin(self.stream(self.clamp(&range), || Ok(())))
    }

    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId,
        range: RB,
    ) -> impl Stream<Item = LeaderBoundedStreamResult<TypeConfig>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Entries of another leader can only follow another vote.
        let this = &*self;
        let led = move || match this.vote() {
            Some(vote) if vote.leader_id == leader && vote.committed => Ok(()),
            vote => Err(LeaderBoundedStreamError::LeaderChanged(LeaderChanged::new(leader, vote))),
        };
        Box::pin(this.stream(this.clamp(&range), led))
    }

    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> Result<Vec<LogId>, io::Error> {
        let index = self.shared.index.lock();
        let (start, end) = (range.start().index, range.end().index + 1);
        let held = index.range();
        if start < held.start || end > held.end || start >= end {
            let why = format!("log ids {start} to {end} are asked for, {} to {} are held", held.start, held.end);
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        Ok(index.key_log_ids(start..end))
    }
}
