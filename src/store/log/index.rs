//! Which entries the log has and where: a few bytes each in memory, the newest entries whole.

use super::record::entry_size;
use super::segment::Segment;
use crate::store::types::{Entry, LeaderId, LogId, Vote};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Where an entry is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the segment; 0 while the entry is not written.
    pub segment: u32,
    pub offset: u32,
}

/// No entry takes fewer bytes.
const MIN_ENTRY: usize = 45;

const UNWRITTEN: Place = Place { segment: 0, offset: 0 };

/// The log in memory. Everything openraft asks is answered from here but entries older than the cache.
#[derive(Debug)]
pub(super) struct Index {
    /// Index of the first entry, where there is one.
    first: u64,
    places: VecDeque<Place>,
    /// For each leader, the index of its first entry held.
    leaders: VecDeque<(u64, LeaderId)>,
    /// The newest entries, up to the last one.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    cache_limit: usize,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub segments: BTreeMap<u32, Arc<Segment>>,
}

/// What a read found.
pub(super) enum Found {
    Cached(Entry),
    Stored(Arc<Segment>, u32),
}

impl Index {
    pub(super) fn new(cache_limit: usize) -> Self {
        Self {
            first: 0,
            places: VecDeque::new(),
            leaders: VecDeque::new(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_limit,
            purged: None,
            vote: None,
            committed: None,
            segments: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Indexes of the entries held.
    pub(super) fn range(&self) -> Range<u64> {
        self.first..self.first + self.places.len() as u64
    }

    pub(super) fn last_log_id(&self) -> Option<LogId> {
        match self.places.len() {
            0 => self.purged,
            _ => self.log_id(self.range().end - 1),
        }
    }

    pub(super) fn log_id(&self, index: u64) -> Option<LogId> {
        if !self.range().contains(&index) {
            return None;
        }
        let after = self.leaders.partition_point(|(first, _)| *first <= index);
        let (_, leader_id) = self.leaders.get(after.checked_sub(1)?)?;
        Some(LogId { leader_id: *leader_id, index })
    }

    /// The last entry of each leader within `range`. (openraft documents the first entries, but its own default and
    /// all that uses the list take the last ones.)
    pub(super) fn key_log_ids(&self, range: Range<u64>) -> Vec<LogId> {
        let lasts = self.leaders.iter().skip(1).map(|(first, _)| first - 1).chain([range.end - 1]);
        let mut indexes: Vec<u64> = lasts.filter(|last| range.contains(last)).collect();
        indexes.dedup();
        indexes.into_iter().filter_map(|index| self.log_id(index)).collect()
    }

    /// Whether an entry with `index` leaves no hole.
    pub(super) fn accepts(&self, index: u64) -> bool {
        match self.places.len() {
            0 => self.purged.is_none_or(|purged| purged.index < index),
            _ => index == self.range().end,
        }
    }

    /// Adds an entry that is not on disk yet; `accepts` it.
    pub(super) fn push(&mut self, entry: Entry) {
        self.push_place(entry.log_id, UNWRITTEN);
        self.cache_bytes += entry_size(&entry);
        self.cache.push_back(entry);
    }

    /// Adds an entry found on disk; the cache is not filled by it.
    pub(super) fn push_place(&mut self, id: LogId, place: Place) {
        if self.places.is_empty() {
            self.first = id.index;
        }
        self.places.push_back(place);
        if self.leaders.back().is_none_or(|(_, leader)| *leader != id.leader_id) {
            self.leaders.push_back((id.index, id.leader_id));
        }
    }

    /// Notes where the entry `id` was written, if the log still has it, and lets old entries leave the cache.
    pub(super) fn written(&mut self, id: &LogId, place: Place) {
        if self.log_id(id.index).as_ref() == Some(id) {
            let at = usize::try_from(id.index - self.first).expect("an index within the log in memory");
            self.places[at] = place;
        }
    }

    /// Drops the oldest cached entries over the limit; unwritten ones stay.
    pub(super) fn trim_cache(&mut self) {
        while self.cache_bytes > self.cache_limit {
            let at = self.places.len() - self.cache.len();
            match self.cache.front() {
                Some(entry) if self.places[at] != UNWRITTEN => self.cache_bytes -= entry_size(entry),
                _ => break,
            }
            self.cache.pop_front();
        }
    }

    /// Removes the entries after `id`.
    pub(super) fn truncate_after(&mut self, id: Option<&LogId>) {
        let keep_to = id.map_or(0, |id| id.index + 1);
        while self.range().end > keep_to && !self.places.is_empty() {
            self.places.pop_back();
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= entry_size(&entry);
            }
        }
        let end = self.range().end;
        while self.leaders.back().is_some_and(|(first, _)| *first >= end) {
            self.leaders.pop_back();
        }
    }

    /// Removes the entries up to `id`, which may lie beyond the last one.
    pub(super) fn purge(&mut self, id: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= id.index) {
            return;
        }
        while !self.places.is_empty() && self.first <= id.index {
            if self.cache.len() == self.places.len() {
                let entry = self.cache.pop_front().expect("as long as `places`, which is not empty");
                self.cache_bytes -= entry_size(&entry);
            }
            self.places.pop_front();
            self.first += 1;
        }
        while self.leaders.get(1).is_some_and(|(first, _)| *first <= self.first) {
            self.leaders.pop_front();
        }
        if self.places.is_empty() {
            self.leaders.clear();
        } else if let Some(front) = self.leaders.front_mut() {
            front.0 = front.0.max(self.first);
        }
        self.purged = Some(id);
    }

    /// The entries held within `range`, oldest first, cached or by place; no more than can be within `limit` bytes,
    /// but at least one.
    pub(super) fn find(&self, range: Range<u64>, limit: usize) -> Vec<Found> {
        let held = self.range();
        let range = range.start.max(held.start)..range.end.min(held.end);
        let range = range.start..range.end.min(range.start.saturating_add((limit / MIN_ENTRY + 1) as u64));
        let cached_from = held.end - self.cache.len() as u64;
        let at = |index: u64, from: u64| usize::try_from(index - from).expect("an index within the log in memory");
        range
            .map(|index| match index.checked_sub(cached_from) {
                Some(_) => Found::Cached(self.cache[at(index, cached_from)].clone()),
                None => {
                    let place = self.places[at(index, held.start)];
                    Found::Stored(self.segments[&place.segment].clone(), place.offset)
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::EntryPayload;

    fn id(term: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId { term, node_id: 0 }, index }
    }

    fn filled() -> Index {
        let mut index = Index::new(1 << 20);
        for (term, at) in [(1, 1), (1, 2), (2, 3), (4, 4), (4, 5)] {
            assert!(index.accepts(at));
            index.push(Entry { log_id: id(term, at), payload: EntryPayload::Blank });
        }
        index
    }

    #[test]
    fn leaders_follow_truncation_and_purge() {
        let mut index = filled();
        assert_eq!(index.key_log_ids(1..6), [id(1, 2), id(2, 3), id(4, 5)]);
        index.truncate_after(Some(&id(2, 3)));
        assert_eq!(index.last_log_id(), Some(id(2, 3)));
        assert_eq!(index.key_log_ids(1..4), [id(1, 2), id(2, 3)]);
        index.purge(id(1, 1));
        assert_eq!(index.range(), 2..4);
        assert_eq!(index.key_log_ids(2..4), [id(1, 2), id(2, 3)]);
        index.purge(id(9, 20));
        assert_eq!(index.last_log_id(), Some(id(9, 20)));
        assert!(index.accepts(21) && !index.accepts(20));
    }

    #[test]
    fn the_cache_keeps_what_is_not_written() {
        let mut index = filled();
        index.cache_limit = 0;
        index.trim_cache();
        assert_eq!(index.cache.len(), 5);
        index.written(&id(1, 1), Place { segment: 1, offset: 32 });
        index.written(&id(3, 2), Place { segment: 1, offset: 64 });
        index.trim_cache();
        assert_eq!(index.cache.len(), 4, "the second one was written under another leader");
    }
}
