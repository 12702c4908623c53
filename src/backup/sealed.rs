//! The sealed file around a backup's content.
//!
//! ```text
//! magic, format u16, Argon2id (RFC 9106): memory in KiB u32, passes u32, lanes u32, salt; key check, crc32c u32 of all
//! chunks: length u32 (its highest bit: this is the last one), AES-256-GCM of up to 64 KiB with its tag
//! ```
//! Numbers are little-endian. The chunks are the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015):
//! the nonce is the number of the chunk and whether it is the last one, so none can be taken out, repeated, moved or cut
//! off unnoticed. The salt makes the key of each file another one, and the head is authenticated with every chunk.

use super::BackupError;
use crate::pki::random;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"LICRAFTB";

/// Format of backup files.
pub(super) const FORMAT: u16 = 1;

const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;
/// Magic, format and costs; then salt, check and checksum.
const COSTS_END: usize = 8 + 2 + 12;
const CHECK_AT: usize = COSTS_END + SALT_LEN;
const CRC_AT: usize = CHECK_AT + KEY_LEN;
pub(super) const HEAD_LEN: usize = CRC_AT + 4;

/// Content in one chunk: small enough to hold, large enough that its tag is nothing.
const CHUNK_BYTES: usize = 64 << 10;
const TAG_LEN: usize = 16;
/// Marks the length of the last chunk.
const LAST: u32 = 1 << 31;

/// What deriving the key costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Costs {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Costs {
    /// The second choice of RFC 9106, section 4, for machines of any size: 64 MiB, 3 passes, 4 lanes.
    pub(super) const WRITTEN: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// For tests, which derive many keys.
    #[cfg(test)]
    pub(super) const CHEAP: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
    #[cfg(test)]
    pub(super) const LARGE: Self = Self { memory_kib: 512 << 10, ..Self::CHEAP };
    /// The most that is accepted from a file, lest a forged one takes all memory or never ends.
    pub(super) const MOST: Self = Self { memory_kib: 1 << 20, passes: 32, lanes: 32 };

    /// The most that is accepted where products are served meanwhile.
    pub(super) const MOST_BESIDE_SERVICE: Self = Self { memory_kib: 256 << 10, passes: 8, lanes: 8 };

    fn read(head: &[u8; HEAD_LEN], most: Self) -> Result<Self, BackupError> {
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let costs = Self { memory_kib: number(10), passes: number(14), lanes: number(18) };
        let fits = costs.memory_kib <= most.memory_kib && costs.passes <= most.passes && costs.lanes <= most.lanes;
        fits.then_some(costs).ok_or_else(|| BackupError::Damaged("its key would take too much to derive".into()))
    }
}

/// The key of one file with what proves that the passphrase is right.
struct Key {
    cipher: LessSafeKey,
    check: Zeroizing<[u8; KEY_LEN]>,
}

impl Key {
    fn derive(passphrase: &str, costs: Costs, salt: &[u8]) -> Result<Self, BackupError> {
        let unfit = |error: argon2::Error| BackupError::Damaged(format!("its key cannot be derived: {error}"));
        let params = Params::new(costs.memory_kib, costs.passes, costs.lanes, Some(KEY_LEN)).map_err(unfit)?;
        let mut stretched = Zeroizing::new([0; KEY_LEN]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.as_bytes(), salt, stretched.as_mut()).map_err(unfit)?;
        let prk = Salt::new(HKDF_SHA256, b"licraft backup").extract(stretched.as_ref());
        let derive = |purpose: &[u8]| {
            let mut out = Zeroizing::new([0; KEY_LEN]);
            prk.expand(&[purpose], HKDF_SHA256)
                .and_then(|okm| okm.fill(out.as_mut()))
                .expect("32 bytes is one HKDF-SHA256 block, always allowed");
            out
        };
        let cipher = UnboundKey::new(&AES_256_GCM, derive(b"chunks").as_ref()).expect("the key has AES-256's length");
        Ok(Self { cipher: LessSafeKey::new(cipher), check: derive(b"check") })
    }
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[NONCE_LEN - 1] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

/// Seals what is written; nothing is whole before [`Self::finish`].
pub(super) struct SealWriter<W> {
    out: W,
    key: Key,
    head: [u8; HEAD_LEN],
    chunk: Zeroizing<Vec<u8>>,
    number: u64,
}

impl<W: Write> SealWriter<W> {
    pub(super) fn new(mut out: W, passphrase: &str, costs: Costs) -> Result<Self, BackupError> {
        let salt: [u8; SALT_LEN] = random::bytes();
        let key = Key::derive(passphrase, costs, &salt)?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&FORMAT.to_le_bytes());
        for cost in [costs.memory_kib, costs.passes, costs.lanes] {
            head.extend_from_slice(&cost.to_le_bytes());
        }
        head.extend_from_slice(&salt);
        head.extend_from_slice(key.check.as_ref());
        head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
        out.write_all(&head)?;
        let head = head.try_into().expect("the parts of a head have its length");
        Ok(Self { out, key, head, chunk: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_LEN)), number: 0 })
    }

    /// Writes the last chunk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.seal(true)?;
        self.out.flush()
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let (nonce, head) = (nonce(self.number, last), Aad::from(&self.head));
        let sealed = self.key.cipher.seal_in_place_append_tag(nonce, head, &mut *self.chunk);
        sealed.map_err(|_| io::Error::other("a chunk cannot be sealed"))?;
        // A chunk is never longer than CHUNK_BYTES + TAG_LEN.
        let length = self.chunk.len() as u32 | if last { LAST } else { 0 };
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES {
            self.seal(false)?;
        }
        let some = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A chunk goes out when it is full or the last one.
        Ok(())
    }
}

/// Reads what a [`SealWriter`] has sealed. A chunk is passed on only after its tag was checked, and the end only if it is
/// the end that was written.
pub(super) struct OpenReader<R> {
    input: R,
    key: Key,
    head: [u8; HEAD_LEN],
    chunk: Zeroizing<Vec<u8>>,
    at: usize,
    number: u64,
    last: bool,
}

impl<R: Read> OpenReader<R> {
    /// `most`: what deriving the key may cost.
    pub(super) fn new(mut input: R, passphrase: &str, most: Costs) -> Result<Self, BackupError> {
        let mut head = [0; HEAD_LEN];
        let got = fill(&mut input, &mut head)?;
        if got < MAGIC.len() || !head.starts_with(MAGIC) {
            return Err(BackupError::NotABackup);
        }
        if got < HEAD_LEN {
            return Err(BackupError::Truncated);
        }
        let found = u16::from_le_bytes([head[8], head[9]]);
        if found != FORMAT {
            return Err(BackupError::UnknownFormat { found });
        }
        if crc32c::crc32c(&head[..CRC_AT]).to_le_bytes() != head[CRC_AT..] {
            return Err(BackupError::Damaged("its head does not match its checksum".into()));
        }
        let key = Key::derive(passphrase, Costs::read(&head, most)?, &head[COSTS_END..CHECK_AT])?;
        if !crate::pki::equal_secrets(key.check.as_ref(), &head[CHECK_AT..CRC_AT]) {
            return Err(BackupError::WrongPassphrase);
        }
        Ok(Self { input, key, head, chunk: Zeroizing::default(), at: 0, number: 0, last: false })
    }

    /// Opens the next chunk.
    fn open(&mut self) -> Result<(), BackupError> {
        let mut length = [0; 4];
        if fill(&mut self.input, &mut length)? < length.len() {
            return Err(BackupError::Truncated);
        }
        let length = u32::from_le_bytes(length);
        let (length, last) = ((length & !LAST) as usize, length & LAST != 0);
        let damaged = |what: &str| BackupError::Damaged(format!("chunk {} {what}", self.number));
        if !(TAG_LEN..=CHUNK_BYTES + TAG_LEN).contains(&length) {
            return Err(damaged("has an impossible length"));
        }
        self.chunk.resize(length, 0);
        if fill(&mut self.input, &mut self.chunk)? < length {
            return Err(BackupError::Truncated);
        }
        let (nonce, head) = (nonce(self.number, last), Aad::from(&self.head));
        let opened = self.key.cipher.open_in_place(nonce, head, &mut self.chunk);
        let plain = opened.map_err(|_| damaged("is not what was written there"))?.len();
        self.chunk.truncate(plain);
        if last && fill(&mut self.input, &mut [0])? > 0 {
            return Err(BackupError::Damaged("something follows its last chunk".into()));
        }
        (self.at, self.number, self.last) = (0, self.number + 1, last);
        Ok(())
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            if self.last {
                return Ok(0);
            }
            self.open()?;
        }
        let some = buffer.len().min(self.chunk.len() - self.at);
        buffer[..some].copy_from_slice(&self.chunk[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

/// Reads until `buffer` is full or the input ends; gives how much there was.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match input.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(some) => got += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
