//! What this machine is doing: processors, memory, disk and network.

use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{mem, thread};
use sysinfo::{Networks, System};

/// Rates and loads are taken over at least this time: in a shorter one they jump.
const WINDOW: Duration = Duration::from_secs(1);

/// Memory and disk of a machine, in bytes. The disk is the file system that holds the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub memory_used: u64,
    pub memory_total: u64,
    pub disk_used: u64,
    pub disk_total: u64,
}

/// Remembers the last look at the machine. Looks are taken on a thread of their own: a disk that hangs holds up nobody
/// who asks.
pub struct Host(Arc<Shared>);

struct Shared {
    /// Whose disk counts.
    data_dir: PathBuf,
    started: Instant,
    looking: AtomicBool,
    last: Mutex<Look>,
}

struct Look {
    at: Instant,
    system: System,
    networks: Networks,
    load: Load,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Of all processors together; none before the second look.
    pub cpu_percent: Option<u8>,
    pub resources: Resources,
    /// Interfaces that are up, with bytes received and sent a second.
    pub interfaces: Vec<Interface>,
}

#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<String>,
    pub hardware: String,
    /// None before the second look.
    pub rates: Option<(u64, u64)>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

impl Host {
    /// The machine whose data is in `data_dir`; it looks once.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        let mut look =
            Look { at: Instant::now(), system: System::new(), networks: Networks::new(), load: Load::default() };
        look.again(&data_dir, None);
        let (looking, last) = (AtomicBool::new(false), Mutex::new(look));
        Self(Arc::new(Shared { data_dir, started: Instant::now(), looking, last }))
    }

    /// How long this process has run.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The machine a moment ago; what has become older is looked at anew for whoever asks next.
    #[must_use]
    pub fn load(&self) -> Load {
        let last = self.0.last.lock();
        if last.at.elapsed() >= WINDOW && !self.0.looking.swap(true, Ordering::AcqRel) {
            let shared = self.0.clone();
            let begun = thread::Builder::new().name("host".into()).spawn(move || shared.look());
            if let Err(error) = begun {
                tracing::warn!(%error, "the machine could not be looked at");
                self.0.looking.store(false, Ordering::Release);
            }
        }
        last.load.clone()
    }
}

impl Shared {
    fn look(&self) {
        let (mut look, before) = {
            let mut last = self.last.lock();
            let (system, networks) = (mem::take(&mut last.system), mem::take(&mut last.networks));
            (Look { at: Instant::now(), system, networks, load: Load::default() }, last.at)
        };
        look.again(&self.data_dir, Some(look.at.duration_since(before)));
        *self.last.lock() = look;
        self.looking.store(false, Ordering::Release);
    }
}

impl Look {
    /// Fills `load`; rates only when there was a look `before`.
    fn again(&mut self, data_dir: &Path, before: Option<Duration>) {
        self.system.refresh_memory();
        self.system.refresh_cpu_usage();
        self.networks.refresh(true);
        let (disk_used, disk_total) = disk(data_dir);
        self.load = Load {
            cpu_percent: before.map(|_| self.system.global_cpu_usage().round().clamp(0.0, 100.0) as u8),
            resources: Resources {
                memory_used: self.system.used_memory(),
                memory_total: self.system.total_memory(),
                disk_used,
                disk_total,
            },
            interfaces: interfaces(&self.networks, before),
        };
    }
}

/// Used and total bytes of the file system that holds `dir`, as `df` counts them; zeros when it cannot be asked.
fn disk(dir: &Path) -> (u64, u64) {
    match rustix::fs::statvfs(dir) {
        Ok(fs) => {
            let used = fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize);
            (used, used.saturating_add(fs.f_bavail.saturating_mul(fs.f_frsize)))
        }
        Err(error) => {
            tracing::debug!(%error, dir = %dir.display(), "the disk could not be asked");
            (0, 0)
        }
    }
}

fn interfaces(networks: &Networks, since: Option<Duration>) -> Vec<Interface> {
    let rate = |bytes: u64| since.map(|since| (bytes as f64 / since.as_secs_f64()).round() as u64);
    let mut all: Vec<_> = networks
        .iter()
        .filter(|(name, data)| *name != "lo" && !data.ip_networks().is_empty())
        .map(|(name, data)| Interface {
            name: name.clone(),
            addresses: data.ip_networks().iter().map(|net| format!("{}/{}", net.addr, net.prefix)).collect(),
            hardware: data.mac_address().to_string(),
            rates: rate(data.received()).zip(rate(data.transmitted())),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_a_disk() {
        let load = Host::new("/".into()).load();
        let Resources { memory_used, memory_total, disk_used, disk_total } = load.resources;
        assert!(memory_total > 0 && memory_used <= memory_total, "{load:?}");
        assert!(disk_used <= disk_total && load.cpu_percent.is_none(), "{load:?}");
    }
}
