//! Snapshots: one checksummed file with all records, written beside the applies and streamed to other nodes.
//!
//! ```text
//! magic, format u16, header length u32, header (bincode of SnapshotMeta), crc32c u32 of all before
//! chunks: length u32, crc32c u32, records (each: length u32, bincode of Record)
//! end:    length 0 u32, SHA-256 of all before it
//! ```
//! Numbers are little-endian. A file is only ever used after all of it was checked.

use super::codec::{self, CodecError};
use super::dir;
use super::error::StoreError;
use super::types::SnapshotMeta;
use crate::license::{Record, RecordKey, State};
use aws_lc_rs::digest;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"LICRAFTS";

/// Format of snapshot files.
pub const SNAPSHOT_FORMAT: u16 = 1;

/// Records are checksummed in chunks of about this size.
const CHUNK_BYTES: usize = 64 << 10;

/// Longest chunk or header a reader accepts: a chunk is closed before it passes its size, so one record more.
const MAX_CHUNK_BYTES: usize = 8 << 20;

/// Largest snapshot accepted from another node; a million instances take some 300 MB.
pub const MAX_SNAPSHOT_BYTES: u64 = 8 << 30;

/// Distinguishes temporary files of one process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A complete snapshot on disk, open for reading; cheap to clone. A file that was never installed is removed with the
/// last handle.
#[derive(Clone, Debug)]
pub struct SnapshotFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    len: u64,
    temporary: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.temporary.get_mut() {
            // What remains is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl SnapshotFile {
    fn open(path: PathBuf, temporary: bool) -> io::Result<Self> {
        let file = File::open(&path)?;
        let len = file.metadata()?.len();
        Ok(Self(Arc::new(Inner { path, file, len, temporary: AtomicBool::new(temporary) })))
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// No snapshot is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Up to `max` bytes from `offset`, for sending; empty at the end. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_chunk(&self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let rest = usize::try_from(self.0.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; max.min(rest)];
        std::os::unix::fs::FileExt::read_exact_at(&self.0.file, &mut chunk, offset)?;
        Ok(chunk)
    }

    fn reader(&self) -> impl Read {
        BufReader::with_capacity(CHUNK_BYTES, At { file: &self.0.file, offset: 0 })
    }

    /// Checks the whole file and returns what it covers. Blocks.
    ///
    /// # Errors
    /// Any damage.
    pub fn verify(&self) -> io::Result<SnapshotMeta> {
        let mut reader = SnapshotReader::new(self.reader())?;
        while reader.chunk()? {}
        reader.finish()
    }

    /// Reads the state in it, checking everything. Blocks.
    ///
    /// # Errors
    /// Any damage; no part of the state is returned then.
    pub fn load(&self) -> io::Result<(SnapshotMeta, State)> {
        read(self.reader())
    }

    /// Makes this the durable snapshot of `dir` covering `meta`.
    fn adopt(&self, dir: &Path, meta: &SnapshotMeta) -> Result<Self, StoreError> {
        let path = dir.join(file_name(meta));
        if self.0.path == path {
            return Ok(self.clone());
        }
        if self.0.path.parent() == Some(dir) && self.0.temporary.swap(false, Ordering::Relaxed) {
            dir::rename(&self.0.path, &path)?;
        } else {
            let temporary = temporary_path(dir);
            let copy = || {
                let mut file = File::create(&temporary)?;
                io::copy(&mut self.reader(), &mut file)?;
                file.sync_all()
            };
            copy().map_err(StoreError::io("copy snapshot to", &temporary))?;
            dir::rename(&temporary, &path)?;
        }
        Self::open(path.clone(), false).map_err(StoreError::io("open", &path))
    }
}

/// Reads a file by position, so that handles do not share one.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.offset)?;
        self.offset += got as u64;
        Ok(got)
    }
}

fn file_name(meta: &SnapshotMeta) -> String {
    match &meta.last_log_id {
        Some(id) => format!("{:020}-{}-{}.snap", id.index, id.leader_id.term, id.leader_id.node_id),
        None => "empty.snap".to_owned(),
    }
}

fn temporary_path(dir: &Path) -> PathBuf {
    dir.join(format!("{}{}", SERIAL.fetch_add(1, Ordering::Relaxed), dir::TEMPORARY))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot is damaged: {why}"))
}

/// Passes bytes on and hashes them.
struct Hashing<T> {
    inner: T,
    sha256: digest::Context,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, sha256: digest::Context::new(&digest::SHA256) }
    }
}

impl<T: Write> Hashing<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sha256.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<T: Read> Hashing<T> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it is cut short"),
            _ => error,
        })?;
        self.sha256.update(bytes);
        Ok(())
    }
}

fn length(len: usize) -> io::Result<[u8; 4]> {
    let len = u32::try_from(len).map_err(|_| io::Error::other("a snapshot chunk over 4 GiB"))?;
    Ok(len.to_le_bytes())
}

/// Reads a snapshot from `input`, to its end, checking everything. Blocks.
///
/// # Errors
/// Any damage; no part of the state is returned then.
pub fn read(input: impl Read) -> io::Result<(SnapshotMeta, State)> {
    let mut reader = SnapshotReader::new(input)?;
    let mut failed = None;
    let state = State::from_records(std::iter::from_fn(|| match reader.record() {
        Ok(record) => record,
        Err(error) => {
            failed = Some(error);
            None
        }
    }));
    match failed {
        Some(error) => Err(error),
        None => Ok((reader.finish()?, state)),
    }
}

/// Reads a snapshot from `input`, to its end, checking all but what its records are together, and keeps none of them.
/// Blocks.
///
/// # Errors
/// Any damage.
pub fn check(input: impl Read) -> io::Result<SnapshotMeta> {
    let mut reader = SnapshotReader::new(input)?;
    while reader.record()?.is_some() {}
    reader.finish()
}

/// Writes a snapshot of `state` to `out`. Blocks.
///
/// # Errors
/// `out` cannot be written.
pub fn write(state: &State, meta: &SnapshotMeta, out: impl Write) -> io::Result<()> {
    let mut out = Hashing::new(out);
    let meta = codec::encode(meta)?;
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
    head.extend_from_slice(&length(meta.len())?);
    head.extend_from_slice(&meta);
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    out.put(&head)?;
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    for (_, record) in state.records() {
        let record = codec::encode(&record)?;
        chunk.extend_from_slice(&length(record.len())?);
        chunk.extend_from_slice(&record);
        if chunk.len() >= CHUNK_BYTES {
            write_chunk(&mut out, &mut chunk)?;
        }
    }
    if !chunk.is_empty() {
        write_chunk(&mut out, &mut chunk)?;
    }
    out.put(&[0; 4])?;
    let Hashing { mut inner, sha256 } = out;
    inner.write_all(sha256.finish().as_ref())?;
    inner.flush()
}

fn write_chunk(out: &mut Hashing<impl Write>, chunk: &mut Vec<u8>) -> io::Result<()> {
    if chunk.len() > MAX_CHUNK_BYTES {
        return Err(CodecError::TooLong { what: "snapshot chunk", len: chunk.len(), max: MAX_CHUNK_BYTES }.into());
    }
    out.put(&length(chunk.len())?)?;
    out.put(&crc32c::crc32c(chunk).to_le_bytes())?;
    out.put(chunk)?;
    chunk.clear();
    Ok(())
}

/// Reads a snapshot, checking as it goes.
struct SnapshotReader<R> {
    input: Hashing<R>,
    meta: SnapshotMeta,
    chunk: Vec<u8>,
    at: usize,
}

impl<R: Read> SnapshotReader<R> {
    fn new(input: R) -> io::Result<Self> {
        let mut input = Hashing::new(input);
        let head = input.take::<14>()?;
        if head[..8] != *MAGIC {
            return Err(damaged("it does not begin as a snapshot does"));
        }
        let found = u16::from_le_bytes([head[8], head[9]]);
        if found != SNAPSHOT_FORMAT {
            return Err(CodecError::UnknownFormat { what: "snapshot", found, known: SNAPSHOT_FORMAT }.into());
        }
        let meta = sized(&mut input, &head[10..])?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &meta);
        if input.take()? != crc.to_le_bytes() {
            return Err(damaged("its header does not match its checksum"));
        }
        Ok(Self { input, meta: codec::decode(&meta)?, chunk: Vec::new(), at: 0 })
    }

    /// Reads the next chunk; false at the end.
    fn chunk(&mut self) -> io::Result<bool> {
        let len = self.input.take::<4>()?;
        if len == [0; 4] {
            return Ok(false);
        }
        let crc = self.input.take::<4>()?;
        self.chunk = sized(&mut self.input, &len)?;
        self.at = 0;
        if crc32c::crc32c(&self.chunk).to_le_bytes() != crc {
            return Err(damaged("a chunk does not match its checksum"));
        }
        Ok(true)
    }

    fn record(&mut self) -> io::Result<Option<(RecordKey, Record)>> {
        if self.at == self.chunk.len() && !self.chunk()? {
            return Ok(None);
        }
        let rest = &self.chunk[self.at..];
        let (len, rest) = rest.split_at_checked(4).ok_or_else(|| damaged("a record is cut short"))?;
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let bytes = rest.get(..len).ok_or_else(|| damaged("a record is cut short"))?;
        let record: Record = codec::decode(bytes)?;
        self.at += 4 + len;
        Ok(Some((record.key(), record)))
    }

    /// Checks the end of the file; call it when all chunks are read.
    fn finish(self) -> io::Result<SnapshotMeta> {
        let Hashing { mut inner, sha256 } = self.input;
        let mut trailer = Vec::new();
        inner.by_ref().take(33).read_to_end(&mut trailer)?;
        match trailer == sha256.finish().as_ref() {
            true => Ok(self.meta),
            false => Err(damaged("it does not match its SHA-256 sum")),
        }
    }
}

/// As many bytes as the little-endian length `len` says, within the limit.
fn sized(input: &mut Hashing<impl Read>, len: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
    if len > MAX_CHUNK_BYTES {
        return Err(CodecError::TooLong { what: "snapshot chunk", len, max: MAX_CHUNK_BYTES }.into());
    }
    let mut bytes = vec![0; len];
    input.fill(&mut bytes)?;
    Ok(bytes)
}

/// A snapshot on its way from another node.
#[derive(Debug)]
pub struct SnapshotReceiver {
    path: PathBuf,
    out: BufWriter<File>,
    received: u64,
    finished: bool,
}

impl SnapshotReceiver {
    /// Begins a temporary file in `dir`.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let path = temporary_path(dir);
        let out = BufWriter::with_capacity(CHUNK_BYTES, File::create(&path)?);
        Ok(Self { path, out, received: 0, finished: false })
    }

    /// Adds the next bytes. Blocks on the disk.
    ///
    /// # Errors
    /// The disk is full, or more than [`MAX_SNAPSHOT_BYTES`] came. The transfer is over then, the store is not harmed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received += bytes.len() as u64;
        if self.received > MAX_SNAPSHOT_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the snapshot sent is too large"));
        }
        self.out.write_all(bytes)
    }

    /// Makes the file durable and checks all of it; only then may it be given to openraft, for which an error at
    /// install is fatal. Blocks.
    ///
    /// # Errors
    /// Any damage, or the disk.
    pub fn finish(mut self) -> io::Result<(SnapshotMeta, SnapshotFile)> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        let file = SnapshotFile::open(self.path.clone(), true)?;
        self.finished = true;
        Ok((file.verify()?, file))
    }
}

impl Drop for SnapshotReceiver {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The snapshots of a data directory: one current, at most.
#[derive(Debug)]
pub(super) struct Snapshots {
    dir: PathBuf,
    current: parking_lot::Mutex<Option<(SnapshotMeta, SnapshotFile)>>,
}

impl Snapshots {
    /// Finds the newest undamaged snapshot and removes the others.
    pub(super) fn open(dir: PathBuf) -> Result<Self, StoreError> {
        let current = find(&dir)?;
        let this = Self { dir, current: parking_lot::Mutex::new(current) };
        this.remove_others()?;
        Ok(this)
    }

    pub(super) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.current.lock().clone()
    }

    pub(super) fn receive(&self) -> io::Result<SnapshotReceiver> {
        SnapshotReceiver::new(&self.dir)
    }

    /// Writes a snapshot of `state` and makes it current.
    pub(super) fn build(&self, state: &State, meta: &SnapshotMeta) -> Result<SnapshotFile, StoreError> {
        let mut receiver = self.receive().map_err(StoreError::io("create a snapshot in", &self.dir))?;
        let written = write(state, meta, &mut receiver.out).and_then(|()| receiver.finish_unchecked());
        let file = written.map_err(StoreError::io("write a snapshot in", &self.dir))?;
        self.install(meta, &file)
    }

    /// Makes a checked `file` current, unless a newer one is.
    pub(super) fn install(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> Result<SnapshotFile, StoreError> {
        let mut current = self.current.lock();
        if let Some((newer, file)) = current.as_ref().filter(|(now, _)| now.last_log_id > meta.last_log_id) {
            tracing::debug!(%newer, %meta, "a newer snapshot is kept");
            return Ok(file.clone());
        }
        let file = file.adopt(&self.dir, meta)?;
        *current = Some((meta.clone(), file.clone()));
        drop(current);
        self.remove_others()?;
        Ok(file)
    }

    /// Removes finished snapshots but the current one; a transfer that reads one has it open.
    fn remove_others(&self) -> Result<(), StoreError> {
        let Some((_, current)) = self.current() else { return Ok(()) };
        for path in dir::list(&self.dir)? {
            if path != current.path() && is_snapshot(&path) {
                std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// The newest undamaged snapshot in `dir`.
fn find(dir: &Path) -> Result<Option<(SnapshotMeta, SnapshotFile)>, StoreError> {
    for path in dir::list(dir)?.into_iter().rev().filter(|path| is_snapshot(path)) {
        match SnapshotFile::open(path.clone(), false).and_then(|file| Ok((file.verify()?, file))) {
            Ok(found) => return Ok(Some(found)),
            Err(error) => tracing::error!(path = %path.display(), %error, "a snapshot cannot be used"),
        }
    }
    Ok(None)
}

/// What the newest undamaged snapshot in `dir` covers, and its size.
pub(super) fn newest(dir: &Path) -> Result<Option<(SnapshotMeta, u64)>, StoreError> {
    Ok(find(dir)?.map(|(meta, file)| (meta, file.len())))
}

fn is_snapshot(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "snap")
}

impl SnapshotReceiver {
    /// Like [`Self::finish`] for what this process wrote itself.
    fn finish_unchecked(mut self) -> io::Result<SnapshotFile> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        self.finished = true;
        SnapshotFile::open(self.path.clone(), true)
    }
}

/// SHA-256 over the encoded records in key order: equal states have equal digests on every replica.
///
/// # Errors
/// A record that cannot be encoded.
pub fn state_digest(state: &State) -> Result<[u8; 32], CodecError> {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    for (_, record) in state.records() {
        let record = codec::encode(&record)?;
        sha256.update(&(record.len() as u64).to_le_bytes());
        sha256.update(&record);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(sha256.finish().as_ref());
    Ok(sum)
}
