//! Driver `netlink`: the addresses are put on an interface for a second at a time, so that they go by themselves when
//! this process no longer says that it leads.

use super::arp::{ArpSocket, Mac};
use super::driver::{Driver, Finding};
use super::interface;
use super::neighbour::NeighbourSocket;
use super::rtnetlink::{Assigned, Link, Rtnetlink};
use std::io;
use std::net::IpAddr;

/// Lifetime of an address in seconds; the kernel counts in whole ones.
const LIFETIME: u32 = 1;
/// A stranger is looked for at every this many renewals: every ten seconds.
const PROBE_EVERY: u32 = 50;

/// Puts addresses on an interface by rtnetlink and tells the link by ARP and neighbour advertisements. Needs
/// CAP_NET_ADMIN and CAP_NET_RAW.
pub struct Netlink {
    /// From the node file; without it the interface with this node's own address.
    interface: Option<String>,
    /// This node's own addresses, which are never removed.
    own: Vec<IpAddr>,
    kernel: Rtnetlink,
    bound: Option<Bound>,
    held: Vec<IpAddr>,
    renewals: u32,
    findings: Vec<Finding>,
}

/// The interface with its sockets.
struct Bound {
    link: Link,
    arp: ArpSocket,
    neighbours: NeighbourSocket,
}

impl Netlink {
    /// For addresses on `interface`, or on the one that has the first of `own`; addresses in `own` are never touched.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn new(interface: Option<String>, own: Vec<IpAddr>) -> io::Result<Self> {
        let kernel = Rtnetlink::open()?;
        Ok(Self { interface, own, kernel, bound: None, held: Vec::new(), renewals: 0, findings: Vec::new() })
    }

    /// The interface as it is now; an error when it is not there or down.
    fn bound(&mut self) -> io::Result<&Bound> {
        let own = self.own.first().copied();
        let link = interface::find(&mut self.kernel, self.interface.as_deref(), own)?;
        interface::is_up(&link)?;
        match self.bound.take() {
            Some(bound) if bound.link == link => Ok(self.bound.insert(bound)),
            // Another card, or another name for it.
            _ => Ok(self.bound.insert(Bound::new(link)?)),
        }
    }

    fn remove(&mut self, addresses: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
        let all = self.kernel.addresses()?;
        let here = |a: &Assigned| addresses.contains(&a.address) && !self.own.contains(&a.address);
        let gone: Vec<Assigned> = all.into_iter().filter(here).collect();
        for assigned in &gone {
            self.kernel.remove(*assigned).map_err(|e| change(e, "taken off", assigned.address))?;
        }
        Ok(gone.iter().map(|assigned| assigned.address).collect())
    }

    fn put(&mut self, address: IpAddr) -> io::Result<()> {
        let index = self.bound()?.link.index;
        self.kernel.put(index, address, LIFETIME).map_err(|e| change(e, "put on", address))
    }

    /// Asks the link whether somebody else has one of `addresses`; answers come as findings.
    fn probe(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let Some(bound) = &self.bound else { return Ok(()) };
        addresses.iter().try_for_each(|address| match address {
            IpAddr::V4(address) => bound.arp.probe(*address),
            IpAddr::V6(_) => Ok(()),
        })
    }
}

impl Bound {
    fn new(link: Link) -> io::Result<Self> {
        let mac = Mac::try_from(link.hardware.as_slice()).map_err(|_| {
            io::Error::other(format!("{} is no Ethernet interface; set `vip.interface` in the node file", link.name))
        })?;
        let raw = |e: io::Error| match e.kind() {
            io::ErrorKind::PermissionDenied => {
                io::Error::other(format!("CAP_NET_RAW is missing to announce an address on {}", link.name))
            }
            _ => e,
        };
        let arp = ArpSocket::open(link.index, mac).map_err(raw)?;
        let neighbours = NeighbourSocket::open(link.index, mac).map_err(raw)?;
        Ok(Self { link, arp, neighbours })
    }
}

fn change(error: io::Error, what: &str, address: IpAddr) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::other(format!("CAP_NET_ADMIN is missing, so {address} cannot be {what}"))
        }
        kind => io::Error::new(kind, format!("{address} cannot be {what}: {error}")),
    }
}

impl Driver for Netlink {
    fn raise(&mut self, addresses: &[IpAddr], _: &dyn Fn() -> bool) -> io::Result<()> {
        self.held = addresses.to_vec();
        let raised = addresses.iter().try_for_each(|address| self.put(*address));
        if raised.is_err() {
            self.lower(addresses)?;
        }
        raised
    }

    fn renew(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let on = self.kernel.addresses()?;
        let index = self.bound()?.link.index;
        for address in addresses {
            if !on.iter().any(|a| a.address == *address && a.index == index) {
                self.findings.push(Finding::PutBack(*address));
            }
            self.put(*address)?;
        }
        self.renewals += 1;
        if self.renewals.is_multiple_of(PROBE_EVERY) { self.probe(addresses) } else { Ok(()) }
    }

    fn lower(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        self.held.clear();
        self.remove(addresses).map(drop)
    }

    fn announce(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let bound = self.bound()?;
        for address in addresses {
            match address {
                IpAddr::V4(address) => bound.arp.announce(*address)?,
                IpAddr::V6(address) => bound.neighbours.announce(*address)?,
            }
        }
        self.probe(addresses)
    }

    fn check(&mut self) -> io::Result<()> {
        self.bound().map(drop)
    }

    fn sweep(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let strays = self.remove(addresses)?;
        self.findings.extend(strays.into_iter().map(Finding::Stray));
        Ok(())
    }

    fn findings(&mut self) -> Vec<Finding> {
        let claims = self.bound.as_ref().map(|bound| bound.arp.claims());
        match claims {
            Some(Ok(claims)) => {
                for (address, mac) in claims {
                    let address = IpAddr::V4(address);
                    if self.held.contains(&address) {
                        let hardware = mac.map(|byte| format!("{byte:02x}")).join(":");
                        self.findings.push(Finding::Stranger { address, hardware });
                    }
                }
            }
            // The interface went away; the next look at it says so.
            Some(Err(_)) => self.bound = None,
            None => {}
        }
        std::mem::take(&mut self.findings)
    }
}
