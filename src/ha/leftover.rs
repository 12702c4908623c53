//! The addresses that a node may have left on this host: noted while it has them, for the service manager to have them
//! taken off when the node's process and its supervisor are both gone.

use super::address::driver;
use crate::config::Config;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("addresses.json")
}

/// Notes what may be on this host from now on. It need not survive a power cut: no address does.
///
/// # Errors
/// When the note cannot be written.
pub(super) fn note(data_dir: &Path, addresses: &[IpAddr]) -> Result<()> {
    let (file, new) = (file(data_dir), data_dir.join("addresses.json.new"));
    std::fs::write(&new, serde_json::to_vec(addresses)?).with_context(|| format!("writing {}", new.display()))?;
    std::fs::rename(&new, &file).with_context(|| format!("writing {}", file.display()))
}

/// Takes off what the node of this file has left. Gives the addresses that were noted.
///
/// # Errors
/// When the node still runs, or an address may still be on.
pub fn clear(config: &Config) -> Result<Vec<IpAddr>> {
    let socket = &config.admin.socket;
    ensure!(UnixStream::connect(socket).is_err(), "the node is running: it answers on {}", socket.display());
    let file = file(&config.data_dir);
    let addresses: Vec<IpAddr> = match std::fs::read(&file) {
        Ok(noted) => serde_json::from_slice(&noted).with_context(|| format!("reading {}", file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    };
    if !addresses.is_empty() {
        driver(config)?.lower(&addresses).context("taking the virtual address off")?;
    }
    Ok(addresses)
}
