//! Old data of a node, kept when the node is provisioned afresh, promoted, or gives way to another one.

use super::identity::{self, IdentityError, NodeFile};
use crate::admin::{SetAside, rfc3339};
use crate::license::Millis;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Where it is kept, in the data directory.
pub(super) const FOLDER: &str = "set-aside";
/// Why it is kept, in its folder.
const WHY: &str = "why.txt";
/// Of the store, in the data directory.
pub(super) const STORE: &str = "raft";
/// Ends of a name while not all has been moved or copied there yet.
const UNFINISHED: &str = ".unfinished";
const COPYING: &str = ".copying";
/// Ends of a name while it is put back: before, and after, the data in its place is set aside.
const RESTORING: &str = ".restoring";
const RETURNING: &str = ".returning";
const ENDS: [&str; 4] = [UNFINISHED, COPYING, RESTORING, RETURNING];

/// The name of data made of a backup, while it is put in place.
pub(super) const BACKUP: &str = "backup";

/// What becomes of the store where the rest is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Copy,
    Move,
}

/// Moves all that is in `data_dir` into a folder of its own, and gives that folder; none when there was nothing. What a
/// crash left half moved is finished by the next call.
///
/// # Errors
/// When something cannot be moved; what was moved is in the unfinished folder.
pub(super) fn set_aside(data_dir: &Path, now: Millis, why: &str) -> io::Result<Option<PathBuf>> {
    let keep = data_dir.join(FOLDER);
    let unfinished = named(&keep, UNFINISHED)?;
    let entries: Vec<PathBuf> = entries(data_dir)?.into_iter().filter(|path| *path != keep).collect();
    if entries.is_empty() && unfinished.is_none() {
        return Ok(None);
    }
    let unfinished = match unfinished {
        Some(unfinished) => unfinished,
        None => keep.join(free_name(data_dir, now) + UNFINISHED),
    };
    fs::create_dir_all(&unfinished)?;
    move_all(entries, &unfinished)?;
    fs::write(unfinished.join(WHY), why)?;
    let name = without(&unfinished, UNFINISHED);
    fs::rename(&unfinished, &name)?;
    sync([keep.as_path(), data_dir])?;
    Ok(Some(name))
}

/// A name that nothing kept has: the time, for people.
pub(super) fn free_name(data_dir: &Path, now: Millis) -> String {
    let taken =
        |name: &String| ENDS.iter().chain(&[""]).any(|end| data_dir.join(FOLDER).join(format!("{name}{end}")).exists());
    let time = rfc3339(now);
    let mut names = std::iter::once(time.clone()).chain((2..).map(|n| format!("{time}-{n}")));
    names.find(|name| !taken(name)).unwrap_or(time)
}

/// Keeps all that is in `data_dir`, but the files in `without`, under `name`, and leaves it in its place but for the store,
/// if that is moved. A repetition after a crash goes on from there; done before: no change.
///
/// # Errors
/// When something cannot be copied; nothing has changed then.
pub(super) fn keep(data_dir: &Path, name: &str, why: &str, store: Keep, without: &[&str]) -> io::Result<()> {
    let keep = data_dir.join(FOLDER);
    let (copying, done) = (keep.join(format!("{name}{COPYING}")), keep.join(name));
    if done.exists() {
        return Ok(());
    }
    fs::create_dir_all(&copying)?;
    for from in entries(data_dir)? {
        let left = |name: &&OsStr| *name == FOLDER || without.iter().any(|without| *name == *without);
        let Some(name) = from.file_name().filter(|name| !left(name)) else { continue };
        let moved = name == STORE && store == Keep::Move;
        let to = copying.join(name);
        if moved { fs::rename(&from, &to)? } else { copy(&from, &to)? }
    }
    fs::write(copying.join(WHY), why)?;
    sync([copying.as_path()])?;
    fs::rename(&copying, &done)?;
    sync([keep.as_path(), data_dir])
}

/// Bytes of the store in `data_dir`: what a copy of it takes.
pub(super) fn store_bytes(data_dir: &Path) -> io::Result<u64> {
    bytes(&data_dir.join(STORE))
}

/// All that is kept whole, oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn list(data_dir: &Path) -> io::Result<Vec<SetAside>> {
    let keep = data_dir.join(FOLDER);
    if !keep.exists() {
        return Ok(Vec::new());
    }
    let mut paths = entries(&keep)?;
    paths.retain(|path| path.join(WHY).exists() && !ENDS.iter().any(|end| path.to_string_lossy().ends_with(end)));
    paths.sort();
    let describe = |path: PathBuf| {
        let node = NodeFile::load(&path).ok();
        Ok(SetAside {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            node: node.as_ref().map(|node| node.name.clone()).unwrap_or_default(),
            epoch: node.map_or(0, |node| node.epoch_counter),
            bytes: bytes(&path)?,
            why: fs::read_to_string(path.join(WHY))?,
        })
    };
    paths.into_iter().map(describe).collect()
}

/// Whether something is kept under `name`.
pub(super) fn is_kept(data_dir: &Path, name: &str) -> bool {
    list(data_dir).is_ok_and(|all| all.iter().any(|kept| kept.name == name))
}

/// Deletes what is kept under `name`, which [`is_kept`].
///
/// # Errors
/// When it cannot be deleted.
pub(super) fn delete(data_dir: &Path, name: &str) -> io::Result<()> {
    fs::remove_dir_all(data_dir.join(FOLDER).join(name))
}

/// Removes the keys of a cluster from what is kept of it: it has retired this node.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn forget_keys(data_dir: &Path, cluster_id: &str) -> Result<(), IdentityError> {
    let folder = data_dir.join(FOLDER);
    let kept = if folder.exists() { entries(&folder) } else { Ok(Vec::new()) };
    let kept = kept.map_err(|source| IdentityError::Io { what: "reading", path: folder, source })?;
    let of_it = |path: &&PathBuf| NodeFile::load(path).is_ok_and(|node| node.cluster_id == cluster_id);
    kept.iter().filter(of_it).try_for_each(|path| identity::forget_keys(path))
}

/// Decides that what is kept under `name`, which [`is_kept`], goes back in its place: [`finish_restore`] does it.
///
/// # Errors
/// When nothing has changed.
pub(super) fn begin_restore(data_dir: &Path, name: &str) -> io::Result<()> {
    let keep = data_dir.join(FOLDER);
    fs::rename(keep.join(name), keep.join(format!("{name}{RESTORING}")))?;
    sync([keep.as_path()])
}

/// An empty folder for data to be put in place by [`begin_restore_of_backup`]; what a crash left of one is deleted.
///
/// # Errors
/// When it cannot be made.
pub(super) fn stage_backup(data_dir: &Path) -> io::Result<PathBuf> {
    let staged = data_dir.join(FOLDER).join(format!("{BACKUP}{COPYING}"));
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    fs::create_dir_all(&staged)?;
    Ok(staged)
}

/// Decides that what was put into [`stage_backup`] goes in its place: [`finish_restore`] does it, and gives [`BACKUP`].
///
/// # Errors
/// When nothing has changed.
pub(super) fn begin_restore_of_backup(data_dir: &Path) -> io::Result<()> {
    let keep = data_dir.join(FOLDER);
    let staged = keep.join(format!("{BACKUP}{COPYING}"));
    sync([staged.as_path()])?;
    fs::rename(&staged, keep.join(format!("{BACKUP}{RESTORING}")))?;
    sync([keep.as_path(), data_dir])
}

/// Puts back what [`begin_restore`] has named, and sets aside what is in its place. Gives its name; none when there is
/// nothing to do. A repetition goes on from where a crash ended it.
///
/// # Errors
/// When something cannot be moved.
pub(super) fn finish_restore(data_dir: &Path, now: Millis) -> io::Result<Option<String>> {
    let keep = data_dir.join(FOLDER);
    if let Some(restoring) = named(&keep, RESTORING)? {
        set_aside(data_dir, now, "other data was put in its place")?;
        let name = without(&restoring, RESTORING).to_string_lossy().into_owned();
        fs::rename(&restoring, format!("{name}{RETURNING}"))?;
        sync([keep.as_path()])?;
    }
    let Some(returning) = named(&keep, RETURNING)? else { return Ok(None) };
    let back = entries(&returning)?.into_iter().filter(|path| !path.ends_with(WHY)).collect();
    move_all(back, data_dir)?;
    sync([data_dir])?;
    fs::remove_dir_all(&returning)?;
    sync([keep.as_path()])?;
    let name = without(&returning, RETURNING);
    Ok(Some(name.file_name().unwrap_or_default().to_string_lossy().into_owned()))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// What in `folder` has a name that ends so.
fn named(folder: &Path, end: &str) -> io::Result<Option<PathBuf>> {
    if !folder.exists() {
        return Ok(None);
    }
    Ok(entries(folder)?.into_iter().find(|path| path.to_string_lossy().ends_with(end)))
}

fn without(path: &Path, end: &str) -> PathBuf {
    let path = path.to_string_lossy();
    PathBuf::from(path.strip_suffix(end).unwrap_or(&path))
}

fn move_all(entries: Vec<PathBuf>, to: &Path) -> io::Result<()> {
    for from in entries {
        if let Some(name) = from.file_name() {
            fs::rename(&from, to.join(name))?;
        }
    }
    Ok(())
}

/// Copies a file or a folder, durably; what is neither, such as a socket, is of no use elsewhere.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in entries(from)? {
            copy(&entry, &to.join(entry.file_name().unwrap_or_default()))?;
        }
        return sync([to]);
    }
    if kind.is_file() {
        fs::copy(from, to)?;
        return File::open(to)?.sync_all();
    }
    Ok(())
}

fn bytes(path: &Path) -> io::Result<u64> {
    let data = fs::symlink_metadata(path)?;
    if data.is_dir() { entries(path)?.iter().map(|path| bytes(path)).sum() } else { Ok(data.len()) }
}

fn sync<'a>(folders: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    #[test]
    fn all_is_moved_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(set_aside(dir.path(), NOW, "test").unwrap(), None);
        fs::create_dir(dir.path().join("raft")).unwrap();
        fs::write(dir.path().join("raft/log"), "entries").unwrap();
        fs::write(dir.path().join("node.json"), "{}").unwrap();
        let kept = set_aside(dir.path(), NOW, "test").unwrap().unwrap();
        assert_eq!(fs::read_to_string(kept.join("raft/log")).unwrap(), "entries");
        assert!(kept.ends_with("set-aside/2023-11-14T22:13:20Z") && !dir.path().join("node.json").exists());
        // A second time: what was set aside before stays as it is.
        fs::write(dir.path().join("node.json"), "{}").unwrap();
        let second = set_aside(dir.path(), Millis(NOW.0 + 1_000), "test").unwrap().unwrap();
        assert!(second != kept && kept.join("raft/log").exists() && second.join("node.json").exists());
    }

    #[test]
    fn what_a_crash_left_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join("set-aside/2023-11-14T22:13:20Z.unfinished");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("node.json"), "{}").unwrap();
        fs::write(dir.path().join("node.key"), "key").unwrap();
        let kept = set_aside(dir.path(), Millis(NOW.0 + 1_000), "test").unwrap().unwrap();
        assert!(kept.ends_with("2023-11-14T22:13:20Z"));
        assert!(kept.join("node.json").exists() && kept.join("node.key").exists() && !half.exists());
    }

    /// A data directory whose files all say `what`.
    fn fill(dir: &Path, what: &str) {
        fs::create_dir_all(dir.join("raft/log")).unwrap();
        fs::write(dir.join("raft/log/1.wal"), what).unwrap();
        fs::write(dir.join("node.key"), what).unwrap();
    }

    fn says(dir: &Path) -> (String, String) {
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        (read("raft/log/1.wal"), read("node.key"))
    }

    fn both(what: &str) -> (String, String) {
        (what.into(), what.into())
    }

    #[test]
    fn a_copy_is_whole_and_leaves_the_data_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), "old");
        let name = free_name(dir.path(), NOW);
        fs::write(dir.path().join("decision"), "go").unwrap();
        // What a crash left half copied is no obstacle.
        fs::create_dir_all(dir.path().join(format!("set-aside/{name}{COPYING}/raft"))).unwrap();
        keep(dir.path(), &name, "why", Keep::Copy, &["decision"]).unwrap();
        fill(dir.path(), "new");
        keep(dir.path(), &name, "why", Keep::Copy, &["decision"]).unwrap();
        assert_eq!(says(&dir.path().join("set-aside").join(&name)), both("old"));
        assert!(!dir.path().join("set-aside").join(&name).join("decision").exists());
        assert_eq!(says(dir.path()), both("new"));
        // In the same second another name is found; the store may be moved.
        let second = free_name(dir.path(), NOW);
        assert_ne!(second, name);
        keep(dir.path(), &second, "why", Keep::Move, &[]).unwrap();
        assert_eq!(says(&dir.path().join("set-aside").join(&second)), both("new"));
        assert_eq!(says(dir.path()), (String::new(), "new".into()));
        let listed = list(dir.path()).unwrap();
        assert_eq!(listed.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), [name.as_str(), &second]);
        delete(dir.path(), &name).unwrap();
        assert!(!is_kept(dir.path(), &name) && is_kept(dir.path(), &second) && !is_kept(dir.path(), ".."));
    }

    #[test]
    fn what_is_put_back_changes_places_whenever_a_crash_interrupts_it() {
        for crash in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let keeping = dir.path().join("set-aside");
            fill(dir.path(), "old");
            keep(dir.path(), "kept", "why", Keep::Copy, &["decision"]).unwrap();
            fill(dir.path(), "new");
            begin_restore(dir.path(), "kept").unwrap();
            if crash > 0 {
                set_aside(dir.path(), NOW, "test").unwrap();
            }
            if crash > 1 {
                fs::rename(keeping.join("kept.restoring"), keeping.join("kept.returning")).unwrap();
            }
            if crash > 2 {
                fs::rename(keeping.join("kept.returning/raft"), dir.path().join("raft")).unwrap();
            }
            let at = Millis(NOW.0 + 1_000);
            assert_eq!(finish_restore(dir.path(), at).unwrap(), Some("kept".into()), "crash {crash}");
            assert_eq!(finish_restore(dir.path(), at).unwrap(), None);
            assert_eq!(says(dir.path()), both("old"), "crash {crash}");
            let listed = list(dir.path()).unwrap();
            let [other] = listed.as_slice() else { panic!("crash {crash}: {listed:?}") };
            assert_eq!(says(&keeping.join(&other.name)), both("new"), "crash {crash}");
        }
    }
}
