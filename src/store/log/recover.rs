//! Opening the log: replay of all segments into the index, and repair of a torn tail.

use super::index::{Index, Place};
use super::record::{self, Frame, Head, Record};
use super::segment::{self, HEADER, Segment, Tail};
use crate::store::codec::CodecError;
use crate::store::error::StoreError;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The log as found on disk.
pub(super) struct Recovered {
    pub index: Index,
    /// The segment to append to and where; none when the log is new.
    pub active: Option<(Arc<Segment>, usize)>,
    /// Highest entry index ever written to each non-empty segment, oldest segment first.
    pub last_indexes: Vec<(Arc<Segment>, Option<u64>)>,
    /// Bytes of a write that a crash interrupted were found behind the end of the active segment.
    pub torn: bool,
}

/// Reads the segments in `dir`. Changes nothing on disk.
pub(super) fn read(dir: &Path, cache_limit: usize, writable: bool) -> Result<Recovered, StoreError> {
    let mut found = Recovered { index: Index::new(cache_limit), active: None, last_indexes: Vec::new(), torn: false };
    let mut previous: Option<u64> = None;
    let mut unused: Option<u64> = None;
    for path in segment::list(dir)? {
        let segment = Arc::new(Segment::open(&path, writable)?);
        if previous.is_some_and(|previous| previous + 1 != segment.number) {
            return Err(damaged(&segment, 0, format!("the segment file {:016x} is missing", segment.number - 1)));
        }
        previous = Some(segment.number);
        let mut replay = Replay { found: &mut found, segment: &segment, last: None };
        let (end, tail) = segment::scan(&segment, |offset, frame| replay.record(offset, frame))?;
        let last = replay.last;
        if end == HEADER && tail == Tail::Clean {
            unused.get_or_insert(segment.number);
            continue;
        }
        if let Some(unused) = unused {
            return Err(damaged(
                &segment,
                HEADER,
                format!("it has records, but the segment {unused:016x} before it none"),
            ));
        }
        if found.torn {
            return Err(damaged(&segment, HEADER, "it has records, but the segment before it ends in damage".into()));
        }
        found.torn = tail == Tail::Torn;
        found.active = Some((segment.clone(), end));
        found.last_indexes.push((segment, last));
    }
    let held = found.index.range();
    match (found.index.purged, &found.active) {
        (Some(purged), Some((segment, end))) if !held.is_empty() && held.start > purged.index + 1 => {
            let why = format!("entries {} to {} are missing", purged.index + 1, held.start - 1);
            Err(damaged(segment, *end, why))
        }
        _ => Ok(found),
    }
}

/// Overwrites what a crash left behind `end`, so that it can never be taken for records again.
pub(super) fn repair(segment: &Segment, end: usize) -> Result<(), StoreError> {
    let bytes = std::fs::read(&segment.path).map_err(StoreError::io("read", &segment.path))?;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(end, |last| last + 1);
    tracing::warn!(
        segment = %segment.path.display(), end, bytes = used - end,
        "the log ends in a write that was interrupted; it was never acknowledged and is removed"
    );
    let zero = || {
        segment.file.write_all_at(&vec![0; used - end], end as u64)?;
        segment.file.sync_data()
    };
    zero().map_err(StoreError::io("repair", &segment.path))
}

fn damaged(segment: &Segment, offset: usize, why: String) -> StoreError {
    StoreError::LogDamaged { path: segment.path.clone(), offset: offset as u64, why }
}

struct Replay<'a> {
    found: &'a mut Recovered,
    segment: &'a Arc<Segment>,
    last: Option<u64>,
}

impl Replay<'_> {
    fn record(&mut self, offset: u32, frame: Frame<'_>) -> Result<(), StoreError> {
        let number = u32::try_from(self.segment.number).expect("a segment number that took 4 billion segments");
        self.found.index.segments.entry(number).or_insert_with(|| self.segment.clone());
        let refused = |error: CodecError| damaged(self.segment, offset as usize, error.to_string());
        if let Some(id) = record::entry_id(&frame).map_err(refused)? {
            if !self.found.index.accepts(id.index) {
                let why = format!("entry {id} does not follow {:?}", self.found.index.last_log_id());
                return Err(damaged(self.segment, offset as usize, why));
            }
            self.last = self.last.max(Some(id.index));
            self.found.index.push_place(id, Place { segment: number, offset });
            return Ok(());
        }
        let index = &mut self.found.index;
        match Record::decode(frame.kind, frame.payload).map_err(refused)? {
            Record::Head(head) => return self.head(offset, head),
            Record::Vote(vote) => index.vote = Some(vote),
            Record::Committed(id) => index.committed = id,
            Record::Truncate(id) => index.truncate_after(id.as_ref()),
            Record::Purge(id) => index.purge(id),
            Record::Entry(_) => unreachable!("entries were handled above"),
        }
        Ok(())
    }

    fn head(&mut self, offset: u32, head: Head) -> Result<(), StoreError> {
        let index = &mut self.found.index;
        match &self.found.active {
            None => {
                index.vote = head.vote;
                index.committed = head.committed;
                if let Some(purged) = head.purged {
                    index.purge(purged);
                }
            }
            Some((previous, end)) if *end != head.previous_end as usize => {
                let why = format!("{} ends at {end}, but had reached {}", previous.path.display(), head.previous_end);
                return Err(damaged(self.segment, offset as usize, why));
            }
            Some(_) => {}
        }
        Ok(())
    }
}
