//! The IO thread of the log: it drains its queue, writes all of it, passes one barrier, and calls back.

use super::Shared;
use super::index::Place;
use super::janitor::Janitor;
use super::record::{Head, Record, entry_size};
use super::segment::{HEADER, Segment};
use crate::store::types::{Entry, LogId, TypeConfig, Vote};
use openraft::storage::IOFlushed;
use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A group is closed at this size: a bigger one gains nothing and makes the first caller in it wait.
const GROUP_BYTES: usize = 1 << 20;

/// After this long without work one record is written behind the last barrier: it carries the newest committed id,
/// and it proves that what is before it had been durable (see [`super::segment::scan`]).
const IDLE: Duration = Duration::from_millis(20);

/// Work for the IO thread, done strictly in order.
pub(super) enum Op {
    Append {
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
    },
    Vote {
        vote: Vote,
        done: oneshot::Sender<io::Result<()>>,
    },
    Truncate(Option<LogId>),
    /// Forget entries up to `id`. Beyond the last entry this makes a hole, so it is recorded at once; otherwise not
    /// before the image covers it.
    Purge {
        id: LogId,
        hole: bool,
    },
    /// The image is durable up to this index.
    Covered(u64),
    /// Reply when everything before is durable.
    Sync(oneshot::Sender<io::Result<()>>),
    /// There is a new committed id.
    Wake,
    Stop,
}

impl Op {
    fn size(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(entry_size).sum(),
            _ => 0,
        }
    }
}

/// Whom to tell when the group is durable.
enum Done {
    Append(IOFlushed<TypeConfig>),
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    Sync(oneshot::Sender<io::Result<()>>),
}

pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub queue: Receiver<Op>,
    pub janitor: Janitor,
    /// The segment written to, and its size.
    pub active: Arc<Segment>,
    pub size: usize,
    /// Where the next write goes, and up to where the segment is durable.
    pub end: usize,
    pub synced: usize,
    /// Full segments, oldest first, with the highest index of an entry in each.
    pub older: VecDeque<(Arc<Segment>, Option<u64>)>,
    pub last_index: Option<u64>,
    /// What the log says now; begins each new segment.
    pub head: Head,
    pub pending_purge: Option<LogId>,
    pub covered: Option<u64>,
    /// Encoded records not written yet.
    pub buffer: Vec<u8>,
    /// A record was written after the last barrier.
    pub marked: bool,
}

impl Writer {
    pub(super) fn run(mut self) {
        let mut stop = false;
        while !stop {
            let first = if self.marked {
                self.shared.idle.store(true, Ordering::Release);
                let first = self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected);
                self.shared.idle.store(false, Ordering::Release);
                first
            } else {
                self.queue.recv_timeout(IDLE)
            };
            let result = match first {
                Ok(first) => {
                    let group = self.collect(first);
                    stop = group.iter().any(|op| matches!(op, Op::Stop));
                    self.commit(group)
                }
                Err(RecvTimeoutError::Timeout) => self.mark(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(error) = result {
                return self.fail(&error);
            }
        }
    }

    fn collect(&self, first: Op) -> Vec<Op> {
        let mut size = first.size();
        let mut group = vec![first];
        while size < GROUP_BYTES {
            match self.queue.try_recv() {
                Ok(op) => {
                    size += op.size();
                    group.push(op);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        group
    }

    /// Writes a group, makes it durable and calls back; on an error the callers hear of it too.
    fn commit(&mut self, group: Vec<Op>) -> io::Result<()> {
        let started = Instant::now();
        let works = group.len() as u64;
        let (mut done, mut places, mut purged) = (Vec::new(), Vec::new(), false);
        let result = self.encode(group, &mut done, &mut places, &mut purged);
        let result = result.and_then(|()| self.write()).and_then(|()| {
            let needs_barrier = purged || !done.is_empty() || self.synced == HEADER;
            if needs_barrier { self.barrier() } else { Ok(()) }
        });
        if let Err(error) = result {
            // Before the callers hear of it, so that none finds the store still in health.
            self.report(&error);
            done.into_iter().for_each(|done| done.tell(Err(copy(&error))));
            return Err(error);
        }
        self.publish(&places, &done);
        if done.is_empty() {
            self.shared.metrics.skipped(works);
        } else {
            self.shared.metrics.passed(works, places.len() as u64, started.elapsed());
        }
        done.into_iter().for_each(|done| done.tell(Ok(())));
        if purged {
            self.delete_purged();
        }
        Ok(())
    }

    fn encode(
        &mut self,
        group: Vec<Op>,
        done: &mut Vec<Done>,
        places: &mut Vec<(LogId, Place)>,
        purged: &mut bool,
    ) -> io::Result<()> {
        // All callers must hear of an error, so keep going through the group after one.
        let mut result = Ok(());
        for op in group {
            let put = match op {
                Op::Append { entries, done: callback } => {
                    done.push(Done::Append(callback));
                    if result.is_ok() { self.entries(entries, places) } else { Ok(()) }
                }
                Op::Vote { vote, done: reply } => {
                    self.head.vote = Some(vote);
                    done.push(Done::Vote(vote, reply));
                    self.put(&Record::Vote(vote)).map(drop)
                }
                Op::Sync(reply) => {
                    done.push(Done::Sync(reply));
                    Ok(())
                }
                Op::Truncate(id) => self.put(&Record::Truncate(id)).map(drop),
                Op::Purge { id, hole } => {
                    self.pending_purge = Some(id);
                    self.purge(hole).map(|now| *purged |= now)
                }
                Op::Covered(index) => {
                    self.covered = Some(index);
                    self.purge(false).map(|now| *purged |= now)
                }
                Op::Wake | Op::Stop => Ok(()),
            };
            result = result.and(put);
        }
        result.and_then(|()| self.committed())
    }

    fn entries(&mut self, entries: Vec<Entry>, places: &mut Vec<(LogId, Place)>) -> io::Result<()> {
        for entry in entries {
            let id = entry.log_id;
            places.push((id, self.put(&Record::Entry(entry))?));
            self.last_index = self.last_index.max(Some(id.index));
        }
        Ok(())
    }

    /// Adds the newest committed id, if it is not in the log yet. It needs no barrier of its own: it only spares a
    /// restarted node the wait for a leader.
    fn committed(&mut self) -> io::Result<()> {
        let committed = self.shared.index.lock().committed;
        if committed != self.head.committed {
            self.head.committed = committed;
            self.put(&Record::Committed(committed))?;
        }
        Ok(())
    }

    /// Records the pending purge where it frees a segment and may be recorded; says whether it did.
    fn purge(&mut self, hole: bool) -> io::Result<bool> {
        let Some(id) = self.pending_purge else { return Ok(false) };
        let covered = self.covered.is_some_and(|covered| covered >= id.index);
        let frees = self.older.front().is_some_and(|(_, last)| last.is_none_or(|last| last <= id.index));
        let may = hole || (covered && frees);
        if !may {
            return Ok(false);
        }
        self.pending_purge = None;
        self.head.purged = Some(id);
        self.put(&Record::Purge(id))?;
        Ok(true)
    }

    fn delete_purged(&mut self) {
        let Some(purged) = self.head.purged else { return };
        let mut gone = Vec::new();
        while self.older.front().is_some_and(|(_, last)| last.is_none_or(|last| last <= purged.index)) {
            gone.extend(self.older.pop_front().map(|(segment, _)| segment));
        }
        let mut index = self.shared.index.lock();
        for segment in &gone {
            index.segments.remove(&number(segment));
        }
        drop(index);
        self.janitor.delete(gone);
    }

    /// Encodes `record` for the active segment, or for the next one where it does not fit.
    fn put(&mut self, record: &Record) -> io::Result<Place> {
        if self.end == HEADER && self.buffer.is_empty() {
            self.begin(0)?;
        }
        let start = self.buffer.len();
        record.write(self.active.number, offset(self.synced), &mut self.buffer)?;
        if self.end + self.buffer.len() <= self.size {
            return Ok(Place { segment: number(&self.active), offset: offset(self.end + start) });
        }
        self.buffer.truncate(start);
        self.rotate()?;
        let start = self.buffer.len();
        record.write(self.active.number, offset(self.synced), &mut self.buffer)?;
        if self.end + self.buffer.len() > self.size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record is longer than a log segment"));
        }
        Ok(Place { segment: number(&self.active), offset: offset(self.end + start) })
    }

    /// Completes the active segment and goes on in a new one. Nothing is written to that before the old one is
    /// durable to its end, which replay relies on.
    fn rotate(&mut self) -> io::Result<()> {
        self.write()?;
        self.barrier()?;
        let next = Arc::new(self.janitor.next()?);
        self.shared.index.lock().segments.insert(number(&next), next.clone());
        let full = std::mem::replace(&mut self.active, next);
        self.older.push_back((full, self.last_index.take()));
        let previous_end = offset(self.end);
        (self.end, self.synced) = (HEADER, HEADER);
        self.begin(previous_end)
    }

    fn begin(&mut self, previous_end: u32) -> io::Result<()> {
        self.head.previous_end = previous_end;
        let head = Record::Head(self.head.clone());
        Ok(head.write(self.active.number, offset(self.synced), &mut self.buffer)?)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.active.file.write_all_at(&self.buffer, self.end as u64)?;
        self.end += self.buffer.len();
        self.shared.metrics.log_bytes.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        self.buffer.clear();
        self.marked = true;
        Ok(())
    }

    /// The barrier: after `fdatasync` returns, a power cut cannot take back what was written. The size of the file
    /// and the allocation of its blocks were durable before its first use.
    fn barrier(&mut self) -> io::Result<()> {
        if self.synced < self.end {
            self.active.file.sync_data()?;
            self.synced = self.end;
            self.marked = false;
        }
        Ok(())
    }

    /// Writes the record that follows a last barrier, without a barrier.
    fn mark(&mut self) -> io::Result<()> {
        self.head.committed = self.shared.index.lock().committed;
        self.put(&Record::Committed(self.head.committed))?;
        self.write()?;
        if self.synced == HEADER { self.barrier() } else { Ok(()) }
    }

    fn publish(&self, places: &[(LogId, Place)], done: &[Done]) {
        let mut index = self.shared.index.lock();
        for (id, place) in places {
            index.written(id, *place);
        }
        index.trim_cache();
        for done in done {
            if let Done::Vote(vote, _) = done {
                index.vote = Some(*vote);
            }
        }
        self.shared.metrics.log_entries.store(index.len() as u64, Ordering::Relaxed);
    }

    /// Nothing may be acknowledged after a failed write: whether earlier bytes are durable is unknown from here on.
    fn fail(self, error: &io::Error) {
        self.report(error);
        while let Ok(op) = self.queue.recv() {
            let error = copy(error);
            match op {
                Op::Append { done, .. } => done.io_completed(Err(error)),
                Op::Vote { done, .. } | Op::Sync(done) => drop(done.send(Err(error))),
                Op::Stop => return,
                Op::Truncate(_) | Op::Purge { .. } | Op::Covered(_) | Op::Wake => {}
            }
        }
    }
}

impl Writer {
    fn report(&self, error: &io::Error) {
        self.shared.health.fail(format!("cannot write the Raft log {}: {error}", self.active.path.display()));
    }
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // A caller that went away has nothing to hear.
            Self::Vote(_, reply) | Self::Sync(reply) => drop(reply.send(result)),
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("segments are far smaller than 4 GiB")
}

pub(super) fn number(segment: &Segment) -> u32 {
    u32::try_from(segment.number).expect("a segment number that took 4 billion segments")
}
