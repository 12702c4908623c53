//! Records of the log files: framing, checksums, and what each kind means when the log is replayed.
//!
//! ```text
//! magic u32 | crc32c u32 | length u32 | synced u32 | kind u8, three zero bytes | payload, padded to four bytes
//! ```
//! The checksum covers the segment's number (so a record never counts in another file) and everything after the
//! checksum. `synced` is the offset up to which this file was durable when the record was written: a whole record
//! beyond a damaged place proves by it whether the damage is a torn last write or the loss of acknowledged data.

use crate::store::codec::{self, CodecError};
use crate::store::types::{Entry, Envelope, LeaderId, LogId, NodeInfo, Vote};
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

/// Bytes before the payload of a record.
pub(super) const HEAD: usize = 20;

/// Records begin at multiples of this, so that a scan for them is cheap.
pub(super) const ALIGN: usize = 4;

const MAGIC: u32 = u32::from_le_bytes(*b"LRec");

/// Term, node, index and kind of payload before an entry's payload.
const ENTRY_HEAD: usize = 25;

type Membership = openraft::Membership<u64, NodeInfo>;

/// First record of every segment: what the deleted segments before it said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    /// Where the records of the segment before end: tells a lost tail of it from its real end.
    pub previous_end: u32,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Head(Head),
    Entry(Entry),
    Vote(Vote),
    Committed(Option<LogId>),
    /// Entries after this one are gone.
    Truncate(Option<LogId>),
    /// Entries up to this one are gone.
    Purge(LogId),
}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::Head(_) => 1,
            Self::Entry(_) => 2,
            Self::Vote(_) => 3,
            Self::Committed(_) => 4,
            Self::Truncate(_) => 5,
            Self::Purge(_) => 6,
        }
    }

    fn payload(&self) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Head(head) => codec::encode(head),
            Self::Entry(entry) => encode_entry(entry),
            Self::Vote(vote) => codec::encode(vote),
            Self::Committed(id) | Self::Truncate(id) => codec::encode(id),
            Self::Purge(id) => codec::encode(id),
        }
    }

    pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Self, CodecError> {
        Ok(match kind {
            1 => Self::Head(codec::decode(payload)?),
            2 => Self::Entry(decode_entry(payload)?),
            3 => Self::Vote(codec::decode(payload)?),
            4 => Self::Committed(codec::decode(payload)?),
            5 => Self::Truncate(codec::decode(payload)?),
            6 => Self::Purge(codec::decode(payload)?),
            other => {
                return Err(CodecError::UnknownFormat { what: "log record", found: u16::from(other), known: 6 });
            }
        })
    }

    /// Appends the framed record to `out`.
    pub(super) fn write(&self, segment: u64, synced: u32, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let payload = self.payload()?;
        let len = u32::try_from(payload.len()).map_err(|_| CodecError::TooLong {
            what: "log record",
            len: payload.len(),
            max: u32::MAX as usize,
        })?;
        let start = out.len();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&synced.to_le_bytes());
        out.extend_from_slice(&[self.kind(), 0, 0, 0]);
        out.extend_from_slice(&payload);
        let crc = checksum(segment, &out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        Ok(())
    }
}

/// A record's frame, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub kind: u8,
    pub synced: u32,
    pub payload: &'a [u8],
    /// Bytes taken in the file, padding included.
    pub size: usize,
}

/// The length of the payload that the head at the start of `bytes` claims, if there is one.
pub(super) fn claimed_length(bytes: &[u8]) -> Option<usize> {
    (bytes.len() >= HEAD && word(bytes, 0) == MAGIC).then(|| word(bytes, 8) as usize)
}

/// The whole, undamaged record at the start of `bytes`.
pub(super) fn frame(segment: u64, bytes: &[u8]) -> Option<Frame<'_>> {
    let len = claimed_length(bytes)?;
    let end = HEAD.checked_add(len)?;
    let checked = bytes.get(8..end)?;
    (checksum(segment, checked) == word(bytes, 4)).then(|| Frame {
        kind: bytes[16],
        synced: word(bytes, 12),
        payload: &bytes[HEAD..end],
        size: end.next_multiple_of(ALIGN),
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), bytes)
}

/// The layout of entries is our own, so that a batch is copied but once and openraft may change its types.
fn encode_entry(entry: &Entry) -> Result<Vec<u8>, CodecError> {
    let membership;
    let (kind, body): (u8, &[u8]) = match &entry.payload {
        EntryPayload::Blank => (0, &[]),
        EntryPayload::Normal(envelope) => (1, &envelope.0),
        EntryPayload::Membership(value) => {
            membership = codec::encode(value)?;
            (2, &membership)
        }
    };
    let mut out = Vec::with_capacity(ENTRY_HEAD + body.len());
    out.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    out.extend_from_slice(&entry.log_id.leader_id.node_id.to_le_bytes());
    out.extend_from_slice(&entry.log_id.index.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    Ok(out)
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    let (head, body) = bytes.split_at_checked(ENTRY_HEAD).ok_or(CodecError::Short { what: "log entry" })?;
    let log_id = entry_log_id(head);
    let payload = match (head[24], body) {
        (0, []) => EntryPayload::Blank,
        (0, rest) => return Err(CodecError::TrailingBytes(rest.len())),
        (1, body) => EntryPayload::Normal(Envelope(bytes::Bytes::copy_from_slice(body))),
        (2, body) => EntryPayload::Membership(codec::decode::<Membership>(body)?),
        (other, _) => {
            return Err(CodecError::UnknownFormat { what: "log entry", found: u16::from(other), known: 2 });
        }
    };
    Ok(Entry { log_id, payload })
}

/// The log id of an entry record without decoding the rest; none for other kinds.
pub(super) fn entry_id(frame: &Frame<'_>) -> Result<Option<LogId>, CodecError> {
    match frame.kind {
        2 if frame.payload.len() < ENTRY_HEAD => Err(CodecError::Short { what: "log entry" }),
        2 => Ok(Some(entry_log_id(frame.payload))),
        _ => Ok(None),
    }
}

fn entry_log_id(head: &[u8]) -> LogId {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    LogId { leader_id: LeaderId { term: number(0), node_id: number(8) }, index: number(16) }
}

/// Bytes that `entry` takes in a segment, membership entries by estimate.
pub(super) fn entry_size(entry: &Entry) -> usize {
    let body = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(envelope) => envelope.0.len(),
        EntryPayload::Membership(_) => 4_096,
    };
    HEAD + ENTRY_HEAD + body + ALIGN
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(body: &[u8]) -> Record {
        let log_id = LogId { leader_id: LeaderId { term: 3, node_id: 2 }, index: 9 };
        Record::Entry(Entry { log_id, payload: EntryPayload::Normal(Envelope(bytes::Bytes::copy_from_slice(body))) })
    }

    proptest! {
        #[test]
        fn a_written_record_reads_back(body in proptest::collection::vec(any::<u8>(), 0..200), synced: u32) {
            let mut bytes = Vec::new();
            entry(&body).write(5, synced, &mut bytes).unwrap();
            let frame = frame(5, &bytes).unwrap();
            prop_assert_eq!(frame.size, bytes.len());
            prop_assert_eq!(frame.synced, synced);
            prop_assert_eq!(Record::decode(frame.kind, frame.payload).unwrap(), entry(&body));
            prop_assert!(super::frame(6, &bytes).is_none(), "belongs to segment 5");
        }

        #[test]
        fn any_flipped_bit_is_noticed(body in proptest::collection::vec(any::<u8>(), 0..64), bit: prop::sample::Index) {
            let mut bytes = Vec::new();
            entry(&body).write(5, 0, &mut bytes).unwrap();
            let used = HEAD + ENTRY_HEAD + body.len();
            let bit = bit.index(used * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(frame(5, &bytes).is_none());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..8) {
            let _ = frame(1, &bytes);
            let _ = Record::decode(kind, &bytes);
        }
    }
}
