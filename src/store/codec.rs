//! Bytes on disk and on the wire: format numbers, bincode with limits, and the sealed batch of one log entry.
//!
//! A format that was shipped is frozen: `tests/golden/` holds one file of each, and a change of a stored type means a
//! new format number and an upcast from the old one here.

use super::types::{Envelope, LeaderId};
use crate::license::{Request, Stamp};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Format of the body of a batch; an entry of any other format stops the node, it is never skipped.
pub const BATCH_FORMAT: u16 = 1;

/// Longest body of a batch. Bounds what a decoder allocates; the largest command, a synchronization answer with
/// thousands of entitlements, takes some 500 KiB.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Most a decoder may allocate or read for one value: a body and some slack.
const MAX_DECODE_BYTES: usize = 8 << 20;

/// Format number and MAC before the body.
const ENVELOPE_HEAD: usize = 2 + 32;

/// Why bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("{what} has format {found}, this version knows {known}; use the newer version on this node")]
    UnknownFormat { what: &'static str, found: u16, known: u16 },
    #[error("{what} is {len} bytes long, at most {max} are allowed")]
    TooLong { what: &'static str, len: usize, max: usize },
    #[error("{what} is cut short")]
    Short { what: &'static str },
    #[error("{0} bytes follow the encoded value")]
    TrailingBytes(usize),
    #[error("the batch does not carry the MAC of a data node of this cluster")]
    WrongMac,
    #[error("the batch was sealed in term {sealed} but the log has it in term {entry}")]
    WrongTerm { sealed: u64, entry: u64 },
    #[error("the batch was sealed by node {sealed} but the log has it from node {entry}")]
    WrongNode { sealed: u64, entry: u64 },
    #[error("a batch that was applied before comes again (term {term}, number {seq}); a node replays old entries")]
    Replayed { term: u64, seq: u64 },
    #[error("cannot decode: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    #[error("cannot encode: {0}")]
    Encode(#[from] bincode::error::EncodeError),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_DECODE_BYTES>()
}

/// Encodes with bincode, standard configuration.
///
/// # Errors
/// A type that bincode cannot represent.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(bincode::serde::encode_to_vec(value, config())?)
}

/// Decodes exactly `bytes`: trailing bytes are refused.
///
/// # Errors
/// Malformed, oversized or overlong input.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config())?;
    match bytes.len() - used {
        0 => Ok(value),
        rest => Err(CodecError::TrailingBytes(rest)),
    }
}

/// Which life of the cluster: raised when it is formed anew from one survivor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch {
    pub counter: u64,
    /// Random: tells two survivors that both raised the counter apart.
    pub id: u128,
}

/// What one log entry carries: commands, stamped and sealed by the leader of `term`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub epoch: Epoch,
    /// The term in which the sealing node led; checked against the entry's.
    pub term: u64,
    pub node_id: u64,
    /// Rises from batch to batch of one leader, from 1: what a replayed batch does not.
    pub seq: u64,
    pub stamp: Stamp,
    pub requests: Vec<Request>,
}

/// Proves that a batch was made by a data node. The key is known to data nodes only; a witness has no `BatchAuth`.
pub trait BatchAuth: Send + Sync {
    /// The MAC of `body` under the newest key.
    fn mac(&self, body: &[u8]) -> [u8; 32];
    /// Whether `mac` is right for `body` under a known key; compares in constant time.
    fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool;
}

impl Envelope {
    /// Encodes and seals `batch`. Propose it only `with_leader` of `batch.term`: in another term it stops every data
    /// node that applies it.
    ///
    /// # Errors
    /// The batch is longer than [`MAX_BODY_BYTES`].
    pub fn seal(batch: &Batch, mac: &dyn Fn(&[u8]) -> [u8; 32]) -> Result<Self, CodecError> {
        let mut bytes = vec![0; ENVELOPE_HEAD];
        bincode::serde::encode_into_std_write(batch, &mut bytes, config())?;
        let len = bytes.len() - ENVELOPE_HEAD;
        if len > MAX_BODY_BYTES {
            return Err(CodecError::TooLong { what: "batch", len, max: MAX_BODY_BYTES });
        }
        let mac = mac(&bytes[ENVELOPE_HEAD..]);
        bytes[..2].copy_from_slice(&BATCH_FORMAT.to_le_bytes());
        bytes[2..ENVELOPE_HEAD].copy_from_slice(&mac);
        Ok(Self(Bytes::from(bytes)))
    }

    /// Checks and decodes the batch of an entry that the log has from `leader`. Without `auth` (a witness) the MAC is not
    /// checked, since the witness has no key; it never serves from what it applies.
    ///
    /// The term is what stops a hostile witness: it may win an election and then append a batch that it saw sealed
    /// earlier, with its right MAC. But its entries carry its own term, in which no data node has sealed anything, so
    /// an old batch never fits a new entry. In openraft two nodes may lead in one term, one after the other, so the node
    /// must be right too. And where it forges the leader in the entry as well, the batch's number does not rise, which
    /// the machine checks against the last one applied.
    ///
    /// # Errors
    /// Everything that must stop a node: unknown format, wrong MAC, wrong term, malformed body.
    pub fn open(&self, leader: LeaderId, auth: Option<&dyn BatchAuth>) -> Result<Batch, CodecError> {
        let (head, body) = self.0.split_at_checked(ENVELOPE_HEAD).ok_or(CodecError::Short { what: "batch" })?;
        let format = u16::from_le_bytes([head[0], head[1]]);
        if format != BATCH_FORMAT {
            return Err(CodecError::UnknownFormat { what: "batch", found: format, known: BATCH_FORMAT });
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(CodecError::TooLong { what: "batch", len: body.len(), max: MAX_BODY_BYTES });
        }
        if let Some(auth) = auth {
            let mut mac = [0; 32];
            mac.copy_from_slice(&head[2..]);
            if !auth.verify(body, &mac) {
                return Err(CodecError::WrongMac);
            }
        }
        let batch: Batch = decode(body)?;
        if batch.term != leader.term {
            return Err(CodecError::WrongTerm { sealed: batch.term, entry: leader.term });
        }
        if batch.node_id != leader.node_id {
            return Err(CodecError::WrongNode { sealed: batch.node_id, entry: leader.node_id });
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Command, Millis};

    struct Xor(u8);

    impl BatchAuth for Xor {
        fn mac(&self, body: &[u8]) -> [u8; 32] {
            [body.iter().fold(self.0, |sum, byte| sum ^ byte); 32]
        }
        fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
            self.mac(body) == *mac
        }
    }

    fn batch() -> Batch {
        Batch {
            epoch: Epoch { counter: 1, id: 7 },
            term: 3,
            node_id: 1,
            seq: 1,
            stamp: Stamp::at(Millis(1_000)),
            requests: vec![Request { id: 9, actor: "admin".into(), command: Command::DigestMark { nonce: 5 } }],
        }
    }

    fn leader(term: u64, node_id: u64) -> LeaderId {
        LeaderId { term, node_id }
    }

    #[test]
    fn a_sealed_batch_opens_in_its_own_term_only() {
        let auth = Xor(1);
        let envelope = Envelope::seal(&batch(), &|body| auth.mac(body)).unwrap();
        assert_eq!(envelope.open(leader(3, 1), Some(&auth)).unwrap(), batch());
        assert!(matches!(envelope.open(leader(4, 1), Some(&auth)), Err(CodecError::WrongTerm { sealed: 3, entry: 4 })));
        assert!(matches!(envelope.open(leader(4, 1), None), Err(CodecError::WrongTerm { .. })));
        let other = envelope.open(leader(3, 2), Some(&auth));
        assert!(matches!(other, Err(CodecError::WrongNode { sealed: 1, entry: 2 })));
    }

    #[test]
    fn wrong_mac_format_length_and_trailing_bytes_are_refused() {
        let auth = Xor(1);
        let envelope = Envelope::seal(&batch(), &|body| auth.mac(body)).unwrap();
        assert!(matches!(envelope.open(leader(3, 1), Some(&Xor(2))), Err(CodecError::WrongMac)));
        assert!(envelope.open(leader(3, 1), None).is_ok(), "a witness has no key");
        let mut newer = envelope.0.to_vec();
        newer[0] = 2;
        let opened = Envelope(newer.into()).open(leader(3, 1), Some(&auth));
        assert!(matches!(opened, Err(CodecError::UnknownFormat { found: 2, .. })));
        let mut longer = envelope.0.to_vec();
        longer.push(0);
        assert!(matches!(Envelope(longer.into()).open(leader(3, 1), None), Err(CodecError::TrailingBytes(1))));
        assert!(matches!(Envelope(Bytes::from_static(b"x")).open(leader(3, 1), None), Err(CodecError::Short { .. })));
    }

    #[test]
    fn a_claimed_length_does_not_make_the_decoder_allocate() {
        // A bincode varint that claims 2^40 elements.
        let bytes = [253, 0, 0, 0, 0, 0, 1, 0, 0];
        assert!(decode::<Vec<u64>>(&bytes).is_err());
    }
}
