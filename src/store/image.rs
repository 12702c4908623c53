//! The durable image of the state: one sled tree with all records and the position in the log they stand at.
//!
//! Each generation is a directory of its own; the file `CURRENT` names the one in use, so a whole image is replaced
//! by one rename. Keys are [`encode_key`] and a part number; a value of more than [`PART_BYTES`] is split, since sled
//! writes large values to files that it never syncs.
//!
//! With the position stands a sum over all that is stored: after a power cut sled may lack a record or hold an old one
//! and not say so, and such an image must not pass for a sound one.

use super::codec::{self, CodecError};
use super::dir;
use super::error::StoreError;
use super::keys::encode_key;
use super::types::{LogId, StoredMembership};
use crate::license::{Record, RecordKey, State};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Format of the records in the image.
pub const IMAGE_FORMAT: u16 = 1;

/// Longest value stored under one key; sled's limit before blob files is some 128 KiB.
const PART_BYTES: usize = 64 << 10;

/// Records in one sled batch while a whole image is written.
const BATCH_RECORDS: usize = 2_000;

/// Sorts before all records, whose tags begin at 1.
const POSITION_KEY: &[u8] = &[0];

const CURRENT: &str = "CURRENT";

/// Where in the log a state stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub applied: Option<LogId>,
    pub membership: StoredMembership,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Damaged(String),
}

impl ImageError {
    /// Whether the files themselves are at fault, and not the disk under them or the version of this program.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sled(sled::Error::Io(error)) => error.raw_os_error().is_none(),
            Self::Sled(_) | Self::Damaged(_) => true,
            Self::Codec(error) => !matches!(error, CodecError::UnknownFormat { .. }),
            Self::Store(_) => false,
        }
    }
}

/// The open image. Only the image thread has it.
pub(super) struct Image {
    root: PathBuf,
    generation: u64,
    /// Leaked unless closed in good order: sled panics, and then aborts the process, when it is dropped while the disk
    /// fails.
    db: ManuallyDrop<sled::Db>,
    /// A descriptor of our own: sled's flush does not reach the device.
    file: File,
    /// Records in more than one part, with the number of parts.
    large: BTreeMap<Vec<u8>, u8>,
    /// Of all keys and values but the position's; see [`weight`].
    sum: u64,
    cache_bytes: u64,
}

impl Image {
    /// Opens the current image under `root` and reads the state in it; none if there is none.
    pub(super) fn open(root: &Path, cache_bytes: u64) -> Result<Option<(Self, Position, State)>, ImageError> {
        let Some(generation) = current(root)? else { return Ok(None) };
        let path = generation_path(root, generation);
        for path in dir::list(&path)? {
            // Left by a crash while sled opened; with such a file sled calls the whole database corrupt.
            if path.extension().is_some_and(|extension| extension == "generating") {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        // sled panics on some kinds of damage.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut image = Self::attach(root, generation, cache_bytes)?;
            let (position, state) = image.load()?;
            Ok((image, position, state))
        }));
        let opened = opened.unwrap_or_else(|_| Err(ImageError::Damaged("sled panicked while it opened".into())))?;
        remove_others(root, generation)?;
        Ok(Some(opened))
    }

    fn attach(root: &Path, generation: u64, cache_bytes: u64) -> Result<Self, ImageError> {
        let path = generation_path(root, generation);
        let config = sled::Config::new().path(&path).cache_capacity(cache_bytes).flush_every_ms(None);
        let db = config.open()?;
        let file_path = path.join("db");
        let file = File::options().write(true).open(&file_path).map_err(StoreError::io("open", &file_path))?;
        Ok(Self {
            root: root.to_owned(),
            generation,
            db: ManuallyDrop::new(db),
            file,
            large: BTreeMap::new(),
            sum: 0,
            cache_bytes,
        })
    }

    /// Writes a new image of all of `state` and makes it the current one.
    pub(super) fn create(
        root: &Path,
        cache_bytes: u64,
        state: &State,
        position: &Position,
    ) -> Result<Self, ImageError> {
        let generation = newest(root)? + 1;
        let mut image = Self::attach(root, generation, cache_bytes)?;
        let mut batch = sled::Batch::default();
        for (count, (key, record)) in state.records().enumerate() {
            image.put(&mut batch, &key, Some(&record))?;
            if count % BATCH_RECORDS == BATCH_RECORDS - 1 {
                image.db.apply_batch(std::mem::take(&mut batch))?;
            }
        }
        image.finish(batch, position)?;
        // Names and contents of all files sled made, before anything points to them.
        let path = generation_path(root, generation);
        sync_tree(&path)?;
        dir::sync_dir(root)?;
        dir::replace_file(&root.join(CURRENT), format!("{generation}\n").as_bytes())?;
        Ok(image)
    }

    /// Replaces everything by `state`, atomically: after a crash it is all the old or all the new.
    pub(super) fn replace(self, state: &State, position: &Position) -> Result<Self, ImageError> {
        let image = Self::create(&self.root, self.cache_bytes, state, position)?;
        self.close();
        remove_others(&image.root, image.generation)?;
        Ok(image)
    }

    /// Closes the files, if they are sound.
    pub(super) fn close(self) {
        match self.db.flush().is_ok() && self.file.sync_all().is_ok() {
            true => drop(ManuallyDrop::into_inner(self.db)),
            false => tracing::error!("sled is not closed: its files cannot be synced"),
        }
    }

    /// Writes the changed records of `state` and the position in one atomic batch, and makes it durable. Returns the
    /// number of records.
    pub(super) fn write(
        &mut self,
        state: &State,
        changes: &HashSet<RecordKey>,
        position: &Position,
    ) -> Result<usize, ImageError> {
        let mut batch = sled::Batch::default();
        // In order, so that neighbours change the same pages of the tree together.
        let mut keys: Vec<&RecordKey> = changes.iter().collect();
        keys.sort_unstable();
        for key in keys {
            self.put(&mut batch, key, state.record(key).as_ref())?;
        }
        self.finish(batch, position)?;
        Ok(changes.len())
    }

    fn finish(&mut self, mut batch: sled::Batch, position: &Position) -> Result<(), ImageError> {
        let mut value = IMAGE_FORMAT.to_le_bytes().to_vec();
        value.extend_from_slice(&self.sum.to_le_bytes());
        value.extend_from_slice(&codec::encode(position)?);
        batch.insert(POSITION_KEY, value);
        self.db.apply_batch(batch)?;
        // `flush` hands the bytes to the kernel (sync_file_range); only `fdatasync` makes the device keep them.
        self.db.flush()?;
        let path = generation_path(&self.root, self.generation).join("db");
        self.file.sync_data().map_err(StoreError::io("sync", &path))?;
        Ok(())
    }

    fn put(&mut self, batch: &mut sled::Batch, key: &RecordKey, record: Option<&Record>) -> Result<(), ImageError> {
        let key = encode_key(key);
        let before = self.large.remove(&key).unwrap_or(1);
        let value = record.map(codec::encode).transpose()?;
        let count = value.as_ref().map_or(0, |value| value.len().div_ceil(PART_BYTES));
        let count = u8::try_from(count).map_err(|_| CodecError::TooLong {
            what: "record",
            len: value.as_ref().map_or(0, Vec::len),
            max: PART_BYTES * usize::from(u8::MAX),
        })?;
        if let Some(value) = value {
            let mut parts = value.chunks(PART_BYTES);
            let first = parts.next().unwrap_or_default();
            self.change(batch, part_key(&key, 0), Some([&[count], first].concat()))?;
            for (number, part) in (1..).zip(parts) {
                self.change(batch, part_key(&key, number), Some(part.to_vec()))?;
            }
        }
        for number in count..before {
            self.change(batch, part_key(&key, number), None)?;
        }
        if count > 1 {
            self.large.insert(key, count);
        }
        Ok(())
    }

    /// Each key at most once in a batch: what is replaced is taken from the tree.
    fn change(&mut self, batch: &mut sled::Batch, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), sled::Error> {
        if let Some(before) = self.db.get(&key)? {
            self.sum = self.sum.wrapping_sub(weight(&key, &before));
        }
        match value {
            Some(value) => {
                self.sum = self.sum.wrapping_add(weight(&key, &value));
                batch.insert(key, value);
            }
            None => batch.remove(key),
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(Position, State), ImageError> {
        let position = self.db.get(POSITION_KEY)?.ok_or_else(|| ImageError::Damaged("it has no position".into()))?;
        let short = || CodecError::Short { what: "image position" };
        let (format, rest) = position.split_first_chunk().ok_or_else(short)?;
        let format = u16::from_le_bytes(*format);
        if format != IMAGE_FORMAT {
            return Err(CodecError::UnknownFormat { what: "image", found: format, known: IMAGE_FORMAT }.into());
        }
        let (sum, position) = rest.split_first_chunk().ok_or_else(short)?;
        let position = codec::decode(position)?;
        let mut failed = None;
        let mut stored = self.db.range(vec![1]..);
        let (db, large, total) = (&self.db, &mut self.large, &mut self.sum);
        let state = State::from_records(std::iter::from_fn(|| {
            loop {
                let record = stored.next()?.map_err(ImageError::from).and_then(|(key, value)| {
                    *total = total.wrapping_add(weight(&key, &value));
                    record(db, large, &key, &value)
                });
                match record {
                    Ok(Some(record)) => return Some((record.key(), record)),
                    Ok(None) => {}
                    Err(error) => {
                        failed = Some(error);
                        return None;
                    }
                }
            }
        }));
        match failed {
            Some(error) => Err(error),
            None if self.sum != u64::from_le_bytes(*sum) => {
                Err(ImageError::Damaged("records are missing, or older or newer than its position".into()))
            }
            None => Ok((position, state)),
        }
    }
}

/// What an entry adds to the sum. A hash whose sums do not cancel out, unlike those of a CRC.
fn weight(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [&(key.len() as u64).to_le_bytes(), key, value] {
        hash.update(part);
    }
    let hash = hash.finish();
    hash.as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// The record that begins at `key`; none for the later parts of one.
fn record(
    db: &sled::Db,
    large: &mut BTreeMap<Vec<u8>, u8>,
    key: &[u8],
    value: &[u8],
) -> Result<Option<Record>, ImageError> {
    let (Some((0, key)), Some((count, first))) = (key.split_last(), value.split_first()) else { return Ok(None) };
    if *count <= 1 {
        return Ok(Some(codec::decode(first)?));
    }
    let mut whole = first.to_vec();
    for number in 1..*count {
        let part = db.get(part_key(key, number))?;
        whole.extend_from_slice(&part.ok_or_else(|| ImageError::Damaged("a part of a record is missing".into()))?);
    }
    large.insert(key.to_vec(), *count);
    Ok(Some(codec::decode(&whole)?))
}

fn part_key(key: &[u8], number: u8) -> Vec<u8> {
    [key, &[number]].concat()
}

fn generation_path(root: &Path, generation: u64) -> PathBuf {
    root.join(generation.to_string())
}

/// The generation in use.
fn current(root: &Path) -> Result<Option<u64>, ImageError> {
    let path = root.join(CURRENT);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim_end().parse() {
            Ok(generation) => Ok(Some(generation)),
            Err(_) => Err(ImageError::Damaged(format!("{} does not name a generation", path.display()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path)(error).into()),
    }
}

/// The highest generation there ever was, as far as anything is left of it.
fn newest(root: &Path) -> Result<u64, StoreError> {
    let stems = dir::list(root)?.into_iter().filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
    Ok(stems.max().unwrap_or(0))
}

/// Removes images that were replaced or never completed; set-aside ones stay.
fn remove_others(root: &Path, generation: u64) -> Result<(), StoreError> {
    for path in dir::list(root)? {
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        if number.is_some_and(|number| number != generation) {
            fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Moves what is there out of the way, for a person to look at; an older one set aside is replaced.
pub(super) fn set_aside(root: &Path) -> Result<Option<PathBuf>, StoreError> {
    for path in dir::list(root)? {
        if path.extension().is_some_and(|extension| extension == "damaged") {
            fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    let mut aside = None;
    for path in dir::list(root)? {
        if path.is_dir() {
            let to = path.with_extension("damaged");
            dir::rename(&path, &to)?;
            aside = Some(to);
        } else {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(aside)
}

fn sync_tree(path: &Path) -> Result<(), StoreError> {
    for path in dir::list(path)? {
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", &path))?;
        }
    }
    dir::sync_dir(path)
}
