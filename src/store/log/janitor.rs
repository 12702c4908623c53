//! A thread that prepares the next segment and deletes purged ones, so that the IO thread never waits for either.

use super::segment::Segment;
use crate::store::dir::sync_dir;
use crate::store::error::StoreError;
use crate::store::health::Health;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often making a segment is tried again while the disk is full.
const RETRY: Duration = Duration::from_millis(500);

/// How long the IO thread waits for a segment: zero-filling one took 80 ms here; a slow disk may need seconds.
const PATIENCE: Duration = Duration::from_secs(10);

enum Work {
    Prepare(u64),
    Delete(Vec<Arc<Segment>>),
}

/// The IO thread's end.
pub(super) struct Janitor {
    work: Sender<Work>,
    ready: Receiver<Segment>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub(super) fn start(dir: PathBuf, size: usize, health: Arc<Health>, first: u64) -> Result<Self, StoreError> {
        let (work, queue) = channel();
        let (made, ready) = channel();
        let sweeper = Sweeper { dir: dir.clone(), size, health, queue, made, wanted: Some(first) };
        let thread = std::thread::Builder::new().name("log-janitor".into()).spawn(move || sweeper.run());
        let thread = thread.map_err(StoreError::io("start the janitor thread of", &dir))?;
        Ok(Self { work, ready, thread: Some(thread) })
    }

    /// The next segment; the one after it is begun.
    pub(super) fn next(&self) -> io::Result<Segment> {
        let segment = self.ready.recv_timeout(PATIENCE).map_err(|_| {
            io::Error::new(io::ErrorKind::StorageFull, "no new log segment could be made; make room and start again")
        })?;
        // A janitor that is gone shows at the next call.
        let _ = self.work.send(Work::Prepare(segment.number + 1));
        Ok(segment)
    }

    pub(super) fn delete(&self, segments: Vec<Arc<Segment>>) {
        let _ = self.work.send(Work::Delete(segments));
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.work = channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sweeper {
    dir: PathBuf,
    size: usize,
    health: Arc<Health>,
    queue: Receiver<Work>,
    made: Sender<Segment>,
    wanted: Option<u64>,
}

impl Sweeper {
    fn run(mut self) {
        loop {
            if let Some(number) = self.wanted {
                self.prepare(number);
            }
            let work = match self.wanted {
                Some(_) => self.queue.recv_timeout(RETRY),
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match work {
                Ok(Work::Prepare(number)) => self.wanted = Some(number),
                Ok(Work::Delete(segments)) => self.delete(&segments),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn prepare(&mut self, number: u64) {
        let path = self.dir.join(Segment::name(number));
        // A segment that was prepared but not begun before the last stop is still good: replay found it empty.
        let made =
            if path.exists() { Segment::open(&path, true) } else { Segment::create(&self.dir, number, self.size) };
        match made {
            Ok(segment) => {
                self.wanted = None;
                let _ = self.made.send(segment);
            }
            Err(StoreError::Io { source, .. }) if is_full(&source) => self.health.no_room(),
            Err(error) => {
                self.wanted = None;
                self.health.fail(error.to_string());
            }
        }
    }

    /// Oldest first with a barrier after each, so that a power cut leaves no gap between segments.
    fn delete(&self, segments: &[Arc<Segment>]) {
        for segment in segments {
            let removed = std::fs::remove_file(&segment.path).map_err(StoreError::io("remove", &segment.path));
            if let Err(error) = removed.and_then(|()| sync_dir(&self.dir)) {
                return self.health.fail(error.to_string());
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
