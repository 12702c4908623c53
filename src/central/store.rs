//! Central's embedded store: one sled tree, every commit atomic and past a real barrier before it is acknowledged.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The store's folder inside central's.
const FOLDER: &str = "store";
/// sled writes larger values to files of their own without fsync, so blobs are cut well below its 128 KiB.
const CHUNK_BYTES: usize = 64 * 1024;
/// Central's records are few; sled's default of 1 GiB would be out of proportion.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How long an opening waits for the lock, and how often it looks.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(10);
/// Between the parts of a key; names with control characters are refused before they get here.
const SEPARATOR: &str = "\0";

/// Why the store cannot go on. After any of these but `Locked` and `Missing`, nothing more may be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} holds no central store: run `licraft central init --dir {}` first", .0.display(), .0.display())]
    Missing(PathBuf),
    #[error("the central store in {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error("the central store in {}: {source}", .path.display())]
    Sled { path: PathBuf, source: sled::Error },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("the central store holds a record that does not read ({key}): {why}")]
    Damaged { key: String, why: String },
}

/// Changes that are made together or not at all.
#[derive(Default)]
pub struct Batch(sled::Batch);

impl Batch {
    /// # Panics
    /// Never: records are plain structs with string keys.
    pub fn put<T: Serialize>(&mut self, key: &str, value: &T) {
        let json = serde_json::to_vec(value).expect("records are plain structs with string keys");
        self.0.insert(key.as_bytes(), json);
    }

    pub fn remove(&mut self, key: &str) {
        self.0.remove(key.as_bytes());
    }
}

/// The key made of `parts`.
#[must_use]
pub fn key(parts: &[&str]) -> String {
    parts.join(SEPARATOR)
}

/// The store. Reads may run beside each other; commits are serialised by the caller.
pub struct Store {
    db: sled::Db,
    /// A second descriptor of sled's file: its own flush ends in `sync_file_range`, which is no power-loss barrier.
    file: File,
    path: PathBuf,
}

impl Store {
    /// Makes an empty store in the existing folder `dir`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FOLDER);
        std::fs::create_dir(&path).map_err(io(|| format!("making {}", path.display())))?;
        let store = Self::open_at(path)?;
        store.commit(Batch::default())?;
        Ok(store)
    }

    /// Opens the store made in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without one, [`StoreError::Locked`] while another process has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FOLDER);
        if !path.is_dir() {
            return Err(StoreError::Missing(dir.to_owned()));
        }
        Self::open_at(path)
    }

    fn open_at(path: PathBuf) -> Result<Self, StoreError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path.join("db"));
        let file = file.map_err(io(|| format!("opening {}", path.join("db").display())))?;
        // A store just closed stays locked for a moment: sled's own threads let go of the file after its owner did.
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match open_sled(&file, &path) {
                Err(StoreError::Locked(_)) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                opened => {
                    let db = opened?;
                    sync_names(&path)?;
                    return Ok(Self { db, file, path });
                }
            }
        }
    }

    /// # Errors
    /// When the store fails or the record is damaged.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let value = self.db.get(key).map_err(self.sled())?;
        value.map(|v| decode(key.as_bytes(), &v)).transpose()
    }

    /// All records whose key begins with `parts`, in key order.
    ///
    /// # Errors
    /// When the store fails or a record is damaged.
    pub fn scan<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<Vec<T>, StoreError> {
        let prefix = key(parts) + SEPARATOR;
        let entries = self.db.scan_prefix(prefix).map(|entry| {
            let (key, value) = entry.map_err(self.sled())?;
            decode(&key, &value)
        });
        entries.collect()
    }

    /// Puts bytes of any length, in pieces; replaces what was there.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put_blob(&self, batch: &mut Batch, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.remove_blob(batch, name)?;
        let chunks = bytes.chunks(CHUNK_BYTES);
        batch.put(name, &chunks.len());
        for (i, chunk) in chunks.enumerate() {
            batch.0.insert(chunk_key(name, i).as_bytes(), chunk);
        }
        Ok(())
    }

    /// # Errors
    /// When the store fails.
    pub fn remove_blob(&self, batch: &mut Batch, name: &str) -> Result<(), StoreError> {
        for i in 0..self.get::<usize>(name)?.unwrap_or(0) {
            batch.remove(&chunk_key(name, i));
        }
        batch.remove(name);
        Ok(())
    }

    /// # Errors
    /// When the store fails or a piece is missing.
    pub fn blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(chunks) = self.get::<usize>(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        for i in 0..chunks {
            let piece = self.db.get(chunk_key(name, i)).map_err(self.sled())?;
            let missing =
                || StoreError::Damaged { key: printable(name.as_bytes()), why: format!("piece {i} is missing") };
            bytes.extend_from_slice(&piece.ok_or_else(missing)?);
        }
        Ok(Some(bytes))
    }

    /// Makes `batch` durable: returns only after the device has it.
    ///
    /// # Errors
    /// When the store fails; whether the batch was kept is then unknown until the next start.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch.0).map_err(self.sled())?;
        self.db.flush().map_err(self.sled())?;
        self.file.sync_data().map_err(io(|| format!("syncing {}", self.path.join("db").display())))
    }

    fn sled(&self) -> impl Fn(sled::Error) -> StoreError + '_ {
        |source| StoreError::Sled { path: self.path.clone(), source }
    }
}

fn chunk_key(name: &str, i: usize) -> String {
    format!("{name}{SEPARATOR}{i:04}")
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|e| StoreError::Damaged { key: printable(key), why: e.to_string() })
}

fn printable(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace(SEPARATOR, "/")
}

fn open_sled(file: &File, path: &Path) -> Result<sled::Db, StoreError> {
    refuse_locked(file, path)?;
    remove_half_snapshots(path)?;
    let opened = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None).open();
    opened.map_err(|source| match &source {
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => StoreError::Locked(path.to_owned()),
        _ => StoreError::Sled { path: path.to_owned(), source },
    })
}

/// sled takes its lock only after it has looked at the folder; nothing of another process's store may be touched.
fn refuse_locked(file: &File, path: &Path) -> Result<(), StoreError> {
    use fs4::FileExt;
    match FileExt::try_lock(file) {
        Ok(()) => FileExt::unlock(file).map_err(io(|| format!("unlocking {}", path.display()))),
        Err(fs4::TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(fs4::TryLockError::Error(source)) => {
            Err(StoreError::Io { what: format!("locking {}", path.display()), source })
        }
    }
}

/// Makes the names of the store's files, of its folder and of central's folder durable: what is committed into a file
/// that loses its name is lost. At every opening, since an earlier one may have been cut off.
fn sync_names(path: &Path) -> Result<(), StoreError> {
    let full = path.canonicalize().map_err(io(|| format!("opening {}", path.display())))?;
    for folder in full.ancestors().take(3) {
        let sync = File::open(folder).and_then(|f| f.sync_all());
        sync.map_err(io(|| format!("syncing {}", folder.display())))?;
    }
    Ok(())
}

/// A crash while sled opened leaves these behind, and the next open would take them for corruption.
fn remove_half_snapshots(path: &Path) -> Result<(), StoreError> {
    let what = || format!("looking through {}", path.display());
    for entry in std::fs::read_dir(path).map_err(io(what))? {
        let entry = entry.map_err(io(what))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path()).map_err(io(|| format!("removing {}", entry.path().display())))?;
        }
    }
    Ok(())
}

fn io(what: impl Fn() -> String) -> impl Fn(std::io::Error) -> StoreError {
    move |source| StoreError::Io { what: what(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_blobs_come_back_after_a_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let blob: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        {
            let store = Store::create(dir.path()).unwrap();
            let mut batch = Batch::default();
            batch.put(&key(&["a", "1"]), &1);
            batch.put(&key(&["a", "2"]), &2);
            batch.put(&key(&["ab", "3"]), &3);
            store.put_blob(&mut batch, "blob", &blob).unwrap();
            store.commit(batch).unwrap();
            assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked(_))));
        }
        std::fs::write(dir.path().join("store/snap.0000000000000001.generating"), b"half").unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.scan::<u32>(&["a"]).unwrap(), [1, 2]);
        assert_eq!(store.blob("blob").unwrap().unwrap(), blob);
        let mut batch = Batch::default();
        store.put_blob(&mut batch, "blob", b"short").unwrap();
        store.commit(batch).unwrap();
        assert_eq!(store.blob("blob").unwrap().unwrap(), b"short");
        assert_eq!(store.db.scan_prefix("blob").count(), 2, "old pieces must go");
    }

    #[test]
    fn a_folder_without_a_store_says_what_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let error = Store::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("licraft central init --dir"), "{error}");
    }
}
