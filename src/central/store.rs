//! Central's embedded store: one redb table, every commit atomic and on the device before it is acknowledged.
//!
//! Not sled, which the nodes use beside a log of their own: alone it does not outlive a power cut, since it reuses parts
//! of its file before what replaced them has passed a barrier (`tests/store/central.rs` shows it).

use redb::{Database, ReadableDatabase, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The store's file inside central's folder, and its name until it is complete.
const FILE: &str = "store.redb";
const UNFINISHED: &str = "store.redb.new";
const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// Central's records are few; redb's default of 1 GiB would be out of proportion.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Between the parts of a key; names with control characters are refused before they get here.
const SEPARATOR: &str = "\0";

/// Why the store cannot go on. After any of these but `Locked` and `Missing`, nothing more may be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} holds no central store: run `licraft central init --dir {}` first", .0.display(), .0.display())]
    Missing(PathBuf),
    #[error("the central store in {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error("the central store {}: {source}", .path.display())]
    Database { path: PathBuf, source: Box<redb::Error> },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("the central store holds a record that does not read ({key}): {why}")]
    Damaged { key: String, why: String },
}

/// Changes that are made together or not at all.
#[derive(Default)]
pub struct Batch(Vec<(String, Option<Vec<u8>>)>);

impl Batch {
    /// # Panics
    /// Never: records are plain structs with string keys.
    pub fn put<T: Serialize>(&mut self, key: &str, value: &T) {
        let json = serde_json::to_vec(value).expect("records are plain structs with string keys");
        self.put_bytes(key, json);
    }

    /// Puts bytes as they are, for [`Store::bytes`].
    pub fn put_bytes(&mut self, key: &str, bytes: Vec<u8>) {
        self.0.push((key.to_owned(), Some(bytes)));
    }

    pub fn remove(&mut self, key: &str) {
        self.0.push((key.to_owned(), None));
    }
}

/// The key made of `parts`.
#[must_use]
pub fn key(parts: &[&str]) -> String {
    parts.join(SEPARATOR)
}

/// The store. Reads may run beside each other; commits are serialised by the caller.
pub struct Store {
    db: Database,
    path: PathBuf,
}

impl Store {
    /// Makes an empty store in the existing folder `dir`. It gets its name when it is complete, so a crash meanwhile
    /// leaves no store.
    ///
    /// # Errors
    /// When it cannot be made, or there is one.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        let (path, unfinished) = (dir.join(FILE), dir.join(UNFINISHED));
        let making = || format!("making {}", path.display());
        if path.exists() {
            return Err(io(making)(std::io::ErrorKind::AlreadyExists.into()));
        }
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(making)(error)),
            _ => {}
        }
        let db = Database::builder().create(&unfinished).map_err(|e| database(&path, e))?;
        Self { db, path: path.clone() }.commit(Batch::default())?;
        std::fs::rename(&unfinished, &path).map_err(io(making))?;
        Self::open(dir)
    }

    /// Opens the store made in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without one, [`StoreError::Locked`] while another process has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if !path.is_file() {
            return Err(StoreError::Missing(dir.to_owned()));
        }
        let db = match Database::builder().set_cache_size(CACHE_BYTES).open(&path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Locked(dir.to_owned())),
            opened => opened.map_err(|e| database(&path, e))?,
        };
        sync_names(dir)?;
        Ok(Self { db, path })
    }

    /// # Errors
    /// When the store fails or the record is damaged.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.bytes(key)?.map(|value| decode(key, &value)).transpose()
    }

    /// What [`Batch::put_bytes`] put.
    ///
    /// # Errors
    /// When the store fails.
    pub fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.db.begin_read()?.open_table(TABLE)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        read().map_err(|e| database(&self.path, e))
    }

    /// All records whose key begins with `parts`, in key order.
    ///
    /// # Errors
    /// When the store fails or a record is damaged.
    pub fn scan<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<Vec<T>, StoreError> {
        self.range(parts)?.iter().map(|(key, value)| decode(key, value)).collect()
    }

    /// The keys that begin with `parts`, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub fn keys(&self, parts: &[&str]) -> Result<Vec<String>, StoreError> {
        Ok(self.range(parts)?.into_iter().map(|(key, _)| key).collect())
    }

    fn range(&self, parts: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let prefix = key(parts) + SEPARATOR;
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = self.db.begin_read()?.open_table(TABLE)?;
            let mut found = Vec::new();
            for entry in table.range(prefix.as_str()..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        };
        read().map_err(|e| database(&self.path, e))
    }

    /// Makes `batch` durable: returns only after the device has it.
    ///
    /// # Errors
    /// When the store fails; whether the batch was kept is then unknown until the next start.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            // redb's default durability: committed means synced.
            let transaction = self.db.begin_write()?;
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in &batch.0 {
                match value {
                    Some(value) => drop(table.insert(key.as_str(), value.as_slice())?),
                    None => drop(table.remove(key.as_str())?),
                }
            }
            drop(table);
            Ok(transaction.commit()?)
        };
        write().map_err(|e| database(&self.path, e))
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    let damaged = |e: serde_json::Error| StoreError::Damaged { key: key.replace(SEPARATOR, "/"), why: e.to_string() };
    serde_json::from_slice(value).map_err(damaged)
}

fn database(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Database { path: path.to_owned(), source: Box::new(error.into()) }
}

/// Makes the names of the store and of central's folder durable: what is committed into a file that loses its name is
/// lost. At every opening, since an earlier one may have been cut off.
fn sync_names(dir: &Path) -> Result<(), StoreError> {
    let full = dir.canonicalize().map_err(io(|| format!("opening {}", dir.display())))?;
    for folder in full.ancestors().take(2) {
        let sync = File::open(folder).and_then(|f| f.sync_all());
        sync.map_err(io(|| format!("syncing {}", folder.display())))?;
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
    fn records_and_bytes_come_back_after_a_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        std::fs::write(dir.path().join(UNFINISHED), b"half").unwrap();
        {
            let store = Store::create(dir.path()).unwrap();
            let mut batch = Batch::default();
            batch.put(&key(&["a", "1"]), &1);
            batch.put(&key(&["a", "2"]), &2);
            batch.put(&key(&["ab", "3"]), &3);
            batch.put_bytes("bytes", bytes.clone());
            store.commit(batch).unwrap();
            assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked(_))));
            assert!(matches!(Store::create(dir.path()), Err(StoreError::Io { .. })));
        }
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.scan::<u32>(&["a"]).unwrap(), [1, 2]);
        assert_eq!(store.bytes("bytes").unwrap().unwrap(), bytes);
        let mut batch = Batch::default();
        batch.remove("bytes");
        batch.put(&key(&["a", "1"]), &4);
        store.commit(batch).unwrap();
        assert_eq!(store.scan::<u32>(&["a"]).unwrap(), [4, 2]);
        assert_eq!(store.bytes("bytes").unwrap(), None);
    }

    #[test]
    fn a_folder_without_a_store_says_what_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let error = Store::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("licraft central init --dir"), "{error}");
    }
}
