//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store cannot be opened or used. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {doing} {path}: {source}{}", hint(source))]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{0} is in use by another licraft process; stop it first")]
    Locked(PathBuf),
    /// The directory was written by a newer version, or is not ours.
    #[error(
        "{path} is not a licraft data directory of a format this version knows ({found}); use the version that wrote it, or another data_dir"
    )]
    Format { path: PathBuf, found: String },
    /// Records that had been acknowledged are damaged.
    #[error(
        "the Raft log is damaged at {path}, byte {offset}: {why}. Acknowledged records may be lost on this node, so it must \
         not go on with this data: re-seed it from the active node (licraft ha provision-standby --replace), or restore a backup"
    )]
    LogDamaged { path: PathBuf, offset: u64, why: String },
    /// Image and snapshot are gone or damaged and the log no longer reaches back to the beginning.
    #[error(
        "the state cannot be rebuilt in {dir}: {why}. The data is left as it is; re-seed this node from the active node \
         (licraft ha provision-standby --replace), or restore a backup"
    )]
    Reseed { dir: PathBuf, why: String },
    /// A write would leave the store unable to work.
    #[error("{dir} has only {free} bytes free, and opening needs {needed}; make room and start again")]
    NoRoom { dir: PathBuf, free: u64, needed: u64 },
}

impl StoreError {
    /// Wraps an IO error with what was being done to which file.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; make room on this file system and start again",
        io::ErrorKind::PermissionDenied => "; check that the service user owns the data directory",
        _ => "",
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { ref source, .. } => Self::new(source.kind(), error),
            other => Self::other(other),
        }
    }
}
