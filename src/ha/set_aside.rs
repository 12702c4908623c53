//! Old data of a node, kept when the node is provisioned afresh.

use crate::admin::rfc3339;
use crate::license::Millis;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where it is kept, in the data directory.
const FOLDER: &str = "set-aside";
/// The end of a name while not all has been moved yet.
const UNFINISHED: &str = ".unfinished";

/// Moves all that is in `data_dir` into a folder of its own, and gives that folder; none when there was nothing. What a
/// crash left half moved is finished by the next call.
///
/// # Errors
/// When something cannot be moved; what was moved is in the unfinished folder.
pub(super) fn set_aside(data_dir: &Path, now: Millis) -> io::Result<Option<PathBuf>> {
    let keep = data_dir.join(FOLDER);
    let mut unfinished = None;
    if keep.exists() {
        for entry in fs::read_dir(&keep)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(UNFINISHED) {
                unfinished = Some(path);
            }
        }
    }
    let entries: Vec<PathBuf> = fs::read_dir(data_dir)?.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
    let entries: Vec<PathBuf> = entries.into_iter().filter(|path| *path != keep).collect();
    if entries.is_empty() && unfinished.is_none() {
        return Ok(None);
    }
    let unfinished = unfinished.unwrap_or_else(|| keep.join(format!("{}{UNFINISHED}", rfc3339(now))));
    fs::create_dir_all(&unfinished)?;
    for from in entries {
        if let Some(name) = from.file_name() {
            fs::rename(&from, unfinished.join(name))?;
        }
    }
    let name = unfinished.to_string_lossy().trim_end_matches(UNFINISHED).to_owned();
    fs::rename(&unfinished, &name)?;
    for folder in [&keep, data_dir] {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(Some(PathBuf::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    #[test]
    fn all_is_moved_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(set_aside(dir.path(), NOW).unwrap(), None);
        fs::create_dir(dir.path().join("raft")).unwrap();
        fs::write(dir.path().join("raft/log"), "entries").unwrap();
        fs::write(dir.path().join("node.json"), "{}").unwrap();
        let kept = set_aside(dir.path(), NOW).unwrap().unwrap();
        assert_eq!(fs::read_to_string(kept.join("raft/log")).unwrap(), "entries");
        assert!(kept.ends_with("set-aside/2023-11-14T22:13:20Z") && !dir.path().join("node.json").exists());
        // A second time: what was set aside before stays as it is.
        fs::write(dir.path().join("node.json"), "{}").unwrap();
        let second = set_aside(dir.path(), Millis(NOW.0 + 1_000)).unwrap().unwrap();
        assert!(second != kept && kept.join("raft/log").exists() && second.join("node.json").exists());
    }

    #[test]
    fn what_a_crash_left_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join("set-aside/2023-11-14T22:13:20Z.unfinished");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("node.json"), "{}").unwrap();
        fs::write(dir.path().join("node.key"), "key").unwrap();
        let kept = set_aside(dir.path(), Millis(NOW.0 + 1_000)).unwrap().unwrap();
        assert!(kept.ends_with("2023-11-14T22:13:20Z"));
        assert!(kept.join("node.json").exists() && kept.join("node.key").exists() && !half.exists());
    }
}
