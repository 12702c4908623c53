//! What this machine is doing: processors, memory, disk and network.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sysinfo::{Disks, Networks, System};

/// Rates and loads are taken over at least this time: in a shorter one they jump.
const WINDOW: Duration = Duration::from_secs(1);

/// Looks at the machine when asked, and remembers the last look to tell rates.
pub struct Host {
    /// Whose disk counts.
    data_dir: PathBuf,
    started: Instant,
    last: Mutex<Option<(Instant, System, Networks, Load)>>,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Of all processors together; none before the second look.
    pub cpu_percent: Option<u8>,
    pub memory_used: u64,
    pub memory_total: u64,
    pub disk_used: u64,
    pub disk_total: u64,
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

impl Host {
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, started: Instant::now(), last: Mutex::new(None) }
    }

    /// How long this process has run.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The machine now, or a moment ago.
    pub fn load(&self) -> Load {
        let mut last = self.last.lock();
        if let Some((at, .., load)) = &*last
            && at.elapsed() < WINDOW
        {
            return load.clone();
        }
        let (before, mut system, mut networks) = match last.take() {
            Some((at, system, networks, _)) => (Some(at.elapsed()), system, networks),
            None => (None, System::new(), Networks::new()),
        };
        system.refresh_memory();
        system.refresh_cpu_usage();
        networks.refresh(true);
        let (disk_used, disk_total) = self.disk();
        let load = Load {
            // The first look has nothing to compare with.
            cpu_percent: before.map(|_| system.global_cpu_usage().round().clamp(0.0, 100.0) as u8),
            memory_used: system.used_memory(),
            memory_total: system.total_memory(),
            disk_used,
            disk_total,
            interfaces: interfaces(&networks, before),
        };
        *last = Some((Instant::now(), system, networks, load.clone()));
        load
    }

    /// Of the file system that holds the data.
    fn disk(&self) -> (u64, u64) {
        let disks = Disks::new_with_refreshed_list();
        let holds = disks.list().iter().filter(|disk| self.data_dir.starts_with(disk.mount_point()));
        let nearest = holds.max_by_key(|disk| disk.mount_point().as_os_str().len());
        nearest.map_or((0, 0), |disk| (disk.total_space().saturating_sub(disk.available_space()), disk.total_space()))
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

/// `3.2 GB`, as people read sizes.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500), "1.5 KB");
        assert_eq!(size(24_000_000_000), "24.0 GB");
    }

    #[test]
    fn the_machine_has_memory_and_a_disk() {
        let load = Host::new("/".into()).load();
        assert!(load.memory_total > 0 && load.memory_used <= load.memory_total, "{load:?}");
        assert!(load.disk_used <= load.disk_total && load.cpu_percent.is_none(), "{load:?}");
    }
}
