//! Segment files: fixed size, written with zeros before use, so that an append changes no metadata and one
//! `fdatasync` is one barrier.

use super::record::{self, ALIGN, Frame};
use crate::store::dir;
use crate::store::error::StoreError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Magic, format number, segment number, checksum of these, zeros to 32 bytes.
pub(super) const HEADER: usize = 32;

const MAGIC: &[u8; 8] = b"LICRAFTW";

/// Format of segment files.
const LOG_FORMAT: u16 = 1;

const EXTENSION: &str = "wal";

/// Zeros are written in pieces of this size.
const FILL: usize = 1 << 20;

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: u64,
    pub path: PathBuf,
    pub file: File,
}

impl Segment {
    /// The file name of segment `number`.
    pub(super) fn name(number: u64) -> String {
        format!("{number:016x}.{EXTENSION}")
    }

    /// Makes segment `number`, filled with zeros and durable with its name.
    pub(super) fn create(dir: &Path, number: u64, size: usize) -> Result<Self, StoreError> {
        let path = dir.join(Self::name(number));
        let temporary = path.with_extension("tmp");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(StoreError::io("create", &temporary))?;
        let fill = || -> io::Result<()> {
            let zeros = vec![0; FILL.min(size)];
            for offset in (0..size).step_by(FILL) {
                file.write_all_at(&zeros[..FILL.min(size - offset)], offset as u64)?;
            }
            file.write_all_at(&header(number), 0)?;
            file.sync_all()
        };
        let filled = fill().map_err(StoreError::io("preallocate", &temporary));
        filled.and_then(|()| dir::rename(&temporary, &path)).inspect_err(|_| {
            // Best effort: what remains is removed at the next start.
            let _ = std::fs::remove_file(&temporary);
        })?;
        Ok(Self { number, path, file })
    }

    /// Opens an existing segment; `writable` unless it is only inspected.
    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, StoreError> {
        let file = File::options().read(true).write(writable).open(path).map_err(StoreError::io("open", path))?;
        let damaged = |why: &str| StoreError::LogDamaged { path: path.to_owned(), offset: 0, why: why.to_owned() };
        let mut found = [0; HEADER];
        file.read_exact_at(&mut found, 0).map_err(|_| damaged("the file header is missing"))?;
        let format = u16::from_le_bytes([found[8], found[9]]);
        if found[..8] == *MAGIC && format != LOG_FORMAT {
            let found = format!("log format {format}, known is {LOG_FORMAT}");
            return Err(StoreError::Format { path: path.to_owned(), found });
        }
        let name = path.file_stem().and_then(|stem| u64::from_str_radix(&stem.to_string_lossy(), 16).ok());
        match name {
            Some(number) if found == header(number) => Ok(Self { number, path: path.to_owned(), file }),
            _ => Err(damaged("the file header is damaged")),
        }
    }

    /// Reads the payload and kind of the record at `offset`, which was checked when it was written or replayed.
    pub(super) fn read(&self, offset: u32) -> Result<(u8, Vec<u8>), StoreError> {
        /// Holds most records whole, so that one read does.
        const FIRST: usize = 4_096;
        let mut bytes = vec![0; FIRST];
        let got = read_at(&self.file, &mut bytes, u64::from(offset)).map_err(StoreError::io("read", &self.path))?;
        bytes.truncate(got);
        if let Some(len) = record::claimed_length(&bytes).filter(|len| record::HEAD + len > bytes.len()) {
            let have = bytes.len();
            bytes.resize(record::HEAD + len, 0);
            let rest = read_at(&self.file, &mut bytes[have..], u64::from(offset) + have as u64);
            let got = rest.map_err(StoreError::io("read", &self.path))?;
            bytes.truncate(have + got);
        }
        let frame = record::frame(self.number, &bytes).ok_or_else(|| StoreError::LogDamaged {
            path: self.path.clone(),
            offset: u64::from(offset),
            why: "a record does not match its checksum".into(),
        })?;
        Ok((frame.kind, frame.payload.to_vec()))
    }
}

/// The segment files in `dir`, oldest first.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = dir::list(dir)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    Ok(paths)
}

fn header(number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&LOG_FORMAT.to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    header
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// How the records of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Only zeros follow.
    Clean,
    /// Something else follows that was never durable: a write that a crash interrupted.
    Torn,
}

/// Calls `each` with the offset and frame of every record, and returns where they end and how.
///
/// # Errors
/// Damage that is provably older than a barrier: a later whole record was written when the damaged place was already
/// durable. Damage to the very last write of the log cannot be told from a write that never finished and counts as
/// torn; an idle log therefore soon writes one more record behind the last barrier.
pub(super) fn scan(
    segment: &Segment,
    mut each: impl FnMut(u32, Frame<'_>) -> Result<(), StoreError>,
) -> Result<(usize, Tail), StoreError> {
    let bytes = std::fs::read(&segment.path).map_err(StoreError::io("read", &segment.path))?;
    let mut at = HEADER;
    while let Some(frame) = bytes.get(at..).and_then(|rest| record::frame(segment.number, rest)) {
        each(offset(at), frame)?;
        at += frame.size;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.iter().all(|byte| *byte == 0) {
        return Ok((at, Tail::Clean));
    }
    let later = (0..rest.len()).step_by(ALIGN).filter_map(|skip| record::frame(segment.number, &rest[skip..]));
    match later.map(|frame| frame.synced as usize).max() {
        Some(synced) if synced > at => Err(StoreError::LogDamaged {
            path: segment.path.clone(),
            offset: at as u64,
            why: format!("a record is damaged although everything up to byte {synced} had been made durable"),
        }),
        _ => Ok((at, Tail::Torn)),
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("segments are far smaller than 4 GiB")
}
