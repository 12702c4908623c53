//! The data directory: layout, lock, format mark, and file operations that survive a power cut.

use super::error::StoreError;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Format of the data directory as a whole.
pub const DIR_FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";

/// Names a file that is not complete yet; such files are removed at start.
pub(super) const TEMPORARY: &str = ".tmp";

/// An opened, locked data directory. The lock ends with the value or the process.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes what is missing, takes the lock and checks the format.
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        create_dir(root)?;
        let path = root.join(LOCK_FILE);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(StoreError::io("open", &path))?;
        if !try_lock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(StoreError::io("lock", &path))? {
            return Err(StoreError::Locked(root.to_owned()));
        }
        let dir = Self { root: root.to_owned(), _lock: lock };
        match read_format(root)? {
            Some(_) => {}
            None => replace_file(&root.join(FORMAT_FILE), format!("licraft data, format {DIR_FORMAT}\n").as_bytes())?,
        }
        for part in [dir.log(), dir.snapshots(), dir.image()] {
            create_dir(&part)?;
        }
        remove_temporary(&dir.snapshots())?;
        remove_temporary(&dir.log())?;
        Ok(dir)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }
    pub(super) fn image(&self) -> PathBuf {
        self.root.join("image")
    }
    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }
}

/// Takes a lock, or says that another has it. Tries for a moment: a process that is just being started holds a copy of
/// all descriptors of its parent, locks included, until it runs its program.
pub(super) fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    const TRIES: u32 = 50;
    for attempt in 0.. {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if attempt == TRIES => return Ok(false),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(20)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The format number of `root`, none where no store was made yet; refuses others than ours.
pub(super) fn read_format(root: &Path) -> Result<Option<u32>, StoreError> {
    let path = root.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", &path)(error)),
    };
    let number = text.strip_prefix("licraft data, format ").and_then(|rest| rest.trim_end().parse().ok());
    match number {
        Some(DIR_FORMAT) => Ok(number),
        _ => Err(StoreError::Format { path, found: text.chars().take(80).collect() }),
    }
}

/// Makes `path` and makes its name durable.
pub(super) fn create_dir(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(StoreError::io("create directory", path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes creations, renames and removals in `path` durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync directory", path))
}

/// Writes `path` so that a power cut leaves the old content or the new, never a mixture.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(StoreError::io("create", &temporary))?;
    file.write_all(content).map_err(StoreError::io("write", &temporary))?;
    file.sync_all().map_err(StoreError::io("sync", &temporary))?;
    rename(&temporary, path)
}

/// Renames within one directory, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(StoreError::io("rename", from))?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// Removes files that a crash left unfinished.
pub(super) fn remove_temporary(dir: &Path) -> Result<(), StoreError> {
    for path in list(dir)? {
        if path.to_string_lossy().ends_with(TEMPORARY) {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// The paths in `dir`, sorted; empty where there is no such directory.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", dir)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(StoreError::io("list", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}
