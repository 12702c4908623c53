//! What a data directory holds, read without changing it, for `licraft doctor`.

use super::dir::{self, DIR_FORMAT};
use super::error::StoreError;
use super::image::{Image, Position};
use super::log::{LogReport, report};
use super::snapshot::newest;
use super::types::SnapshotMeta;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;

/// The finding of [`inspect`]. Each part is examined by itself, so that damage in one does not hide the others.
#[derive(Debug)]
pub struct Inspection {
    /// A node runs on this directory now: only names were looked at.
    pub in_use: bool,
    pub log: Option<Result<LogReport, StoreError>>,
    /// Where the image stands; none where there is none.
    pub image: Option<Result<Option<ImageReport>, String>>,
    /// The newest undamaged snapshot and its size.
    pub snapshot: Option<(SnapshotMeta, u64)>,
}

/// The image of a node that does not run.
#[derive(Debug)]
pub struct ImageReport {
    pub position: Position,
    /// What a recount of all kept totals and indexes finds wrong.
    pub faults: Vec<String>,
}

/// Looks at the data in `root`. Opens the image from a copy beside the system's temporary files, since sled writes
/// when it opens.
///
/// # Errors
/// `root` is not a data directory, or cannot be read.
pub fn inspect(root: &Path) -> Result<Inspection, StoreError> {
    if dir::read_format(root)?.is_none() {
        return Err(StoreError::Format { path: root.to_owned(), found: "no FORMAT file".into() });
    }
    let path = root.join("LOCK");
    let lock = File::open(&path).map_err(StoreError::io("open", &path))?;
    let free = dir::try_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared);
    let in_use = !free.map_err(StoreError::io("lock", &path))?;
    let snapshot = newest(&root.join("snapshots"))?;
    if in_use {
        return Ok(Inspection { in_use, log: None, image: None, snapshot });
    }
    let image = image(&root.join("image")).map_err(|error| error.to_string());
    Ok(Inspection { in_use, log: Some(report(&root.join("log"))), image: Some(image), snapshot })
}

fn image(root: &Path) -> Result<Option<ImageReport>, Box<dyn std::error::Error>> {
    let copy = tempfile::tempdir()?;
    copy_tree(root, copy.path())?;
    let Some((image, position, state)) = Image::open(copy.path(), 1 << 20)? else { return Ok(None) };
    image.close();
    Ok(Some(ImageReport { position, faults: state.check() }))
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.path().extension().is_some_and(|extension| extension == "damaged") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data format  {DIR_FORMAT}")?;
        if self.in_use {
            writeln!(f, "in use       a node runs on it; stop it to examine log and image")?;
        }
        match &self.log {
            Some(Ok(log)) => writeln!(f, "{log}")?,
            Some(Err(error)) => writeln!(f, "log          {error}")?,
            None => {}
        }
        match &self.image {
            Some(Ok(Some(ImageReport { position, faults }))) => {
                writeln!(f, "image        at {}, {} faults", shown(position.applied.as_ref()), faults.len())?;
                faults.iter().try_for_each(|fault| writeln!(f, "             {fault}"))?;
            }
            Some(Ok(None)) => writeln!(f, "image        none")?,
            Some(Err(error)) => writeln!(f, "image        {error}")?,
            None => {}
        }
        match &self.snapshot {
            Some((meta, size)) => write!(f, "snapshot     at {}, {size} bytes", shown(meta.last_log_id.as_ref())),
            None => write!(f, "snapshot     none"),
        }
    }
}

pub(super) fn shown(value: Option<&impl fmt::Display>) -> String {
    value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
