//! Waiting for what must come.

use std::path::Path;
use std::time::{Duration, Instant};

/// All that a test waits for comes within this, also on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `is`.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until no process names the folder in its command line any more, so that it can be removed.
pub fn gone(folder: &Path) -> std::io::Result<()> {
    let name = folder.as_os_str().as_encoded_bytes();
    let names = |process: &std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.windows(name.len()).any(|part| part == name)
    };
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_dir("/proc")?.flatten().any(|process| names(&process)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
