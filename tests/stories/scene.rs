//! Where a story is played: a real cluster with central, and a host with browsers.

use super::cluster::{CLIENT, Cluster, FQDN, Topology, VIP};
use super::driver::{self, Driver, Site};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Two cores are enough for one cluster and one browser at a time.
static TURN: Mutex<()> = Mutex::new(());

pub struct Scene {
    /// What its pictures are called after.
    pub story: &'static str,
    // Before the cluster: browsers end before their host.
    pub driver: Driver,
    pub cluster: Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Site for Cluster {
    fn authority(&self) -> PathBuf {
        self.ca()
    }

    fn space(&self) -> Option<String> {
        Some(self.host(CLIENT).space)
    }
}

impl Scene {
    /// Two data nodes and a witness, central on a host of its own, and an account that is bound to it with these
    /// entitlements: tag, name and purchased quantity. None, with a loud word, without root or Chromium.
    pub fn new(story: &'static str, entitlements: &[(&str, &str, u64)]) -> Option<Self> {
        if !driver::there() {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = Cluster::of(Topology::WithWitness)?;
        cluster.licensed_for(entitlements);
        // Programs know the names from when they were started.
        cluster.lab.name(FQDN, VIP);
        Some(Self { story, driver: Driver::new(&cluster), cluster, _turn: turn })
    }

    /// Keeps what the client sends from the virtual address until the work is done, so that open pages miss the server for
    /// a moment: a planned change is shorter than that.
    pub fn out_of_reach(&self, work: impl FnOnce()) {
        let client = self.cluster.host(CLIENT);
        client.nft("add table inet reach");
        client.nft("add chain inet reach out { type filter hook output priority 0; }");
        client.nft(&format!("add rule inet reach out ip daddr {VIP} tcp dport 8443 reject with tcp reset"));
        work();
        client.nft("delete table inet reach");
    }
}
