//! Hosts as network namespaces: each has `eth0` on a public network and `eth1` on a private one, and real processes.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// Public networks, which the virtual address belongs to, and the private one between the nodes.
pub const PUBLIC: &str = "10.77.0.";
pub const PUBLIC6: &str = "fd77::";
pub const PRIVATE: &str = "10.78.0.";

/// The networks of a lab.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Net {
    Public,
    Private,
}

impl Net {
    const fn bridge(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    /// A host's interface on it.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Public => "eth0",
            Self::Private => "eth1",
        }
    }
}

/// A switch with two networks, and the hosts on them; gone when dropped.
pub struct Lab {
    prefix: String,
    hosts: Vec<Host>,
}

/// A host, by the last part of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub number: u8,
    /// Its namespace.
    pub space: String,
}

impl Host {
    pub fn address(&self) -> IpAddr {
        format!("{PUBLIC}{}", self.number).parse().unwrap()
    }

    pub fn private(&self) -> IpAddr {
        format!("{PRIVATE}{}", self.number).parse().unwrap()
    }

    /// A command that runs on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space, program]);
        command
    }

    /// Changes the packet filter of this host.
    pub fn nft(&self, command: &str) {
        let output = self.command("nft").args(command.split(' ')).output().expect("nftables is needed");
        succeeded(&format!("nft {command}"), output);
    }

    /// Lets nothing out of this host's private interface, though all may still come in.
    pub fn mute(&self) {
        self.drop_private("");
    }

    /// As [`Self::mute`], to one host alone.
    pub fn mute_to(&self, other: &Self) {
        self.drop_private(&format!(" ip daddr {}", other.private()));
    }

    fn drop_private(&self, which: &str) {
        self.nft("add table inet mute");
        self.nft("add chain inet mute out { type filter hook output priority 0; }");
        self.nft(&format!("add rule inet mute out oifname {}{which} drop", Net::Private.interface()));
    }

    pub fn unmute(&self) {
        self.nft("delete table inet mute");
    }

    /// Its hardware address on the public network.
    pub fn hardware(&self) -> String {
        let shown = ip(&["-n", &self.space, "-o", "link", "show", "dev", "eth0"]);
        let after = shown.split("link/ether ").nth(1).unwrap();
        after.split(' ').next().unwrap().to_owned()
    }

    /// Whether `address` is on one of its interfaces.
    pub fn has(&self, address: &str) -> bool {
        let shown = ip(&["-n", &self.space, "-o", "addr", "show"]);
        shown.lines().any(|line| line.contains(&format!(" {address}/")))
    }

    /// Where this host believes a neighbour on the public network to be.
    pub fn neighbour(&self, address: &str) -> Option<String> {
        let shown = ip(&["-n", &self.space, "neigh", "show", address, "dev", "eth0"]);
        Some(shown.split("lladdr ").nth(1)?.split(' ').next()?.to_owned())
    }
}

/// Runs `ip` and gives what it prints; panics when it fails.
pub fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("iproute2 is needed");
    succeeded(&format!("ip {}", args.join(" ")), output)
}

pub fn succeeded(what: &str, output: Output) -> String {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{said}{errors}", output.status);
    said.into_owned()
}

static LABS: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// A lab with the hosts named, whose addresses end with the numbers. None, with a loud word, where this user may
    /// not make namespaces.
    pub fn new(hosts: &[(&str, u8)]) -> Option<Self> {
        if std::env::var_os("LICRAFT_TEST_NO_ROOT").is_some() {
            assert!(std::env::var_os("CI").is_none(), "network namespaces need root, so nothing was tested");
            eprintln!("NOT TESTED: network namespaces need root");
            return None;
        }
        let prefix = format!("lc{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let mut lab = Self { prefix, hosts: Vec::new() };
        let switch = lab.switch();
        ip(&["netns", "add", &switch]);
        for net in [Net::Public, Net::Private] {
            ip(&["-n", &switch, "link", "add", net.bridge(), "type", "bridge"]);
            ip(&["-n", &switch, "link", "set", net.bridge(), "up"]);
        }
        for (name, number) in hosts {
            lab.add(name, *number);
        }
        Some(lab)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn add(&mut self, name: &str, number: u8) {
        let host = Host { name: name.to_owned(), number, space: format!("{}-{name}", self.prefix) };
        ip(&["netns", "add", &host.space]);
        ip(&["-n", &host.space, "link", "set", "lo", "up"]);
        let addresses =
            [(Net::Public, format!("{}/24", host.address())), (Net::Private, format!("{}/24", host.private()))];
        for (net, address) in addresses {
            let (switch, port, interface) = (self.switch(), port(&host, net), net.interface());
            let peer = ["peer", "name", interface, "netns", &host.space];
            ip(&[&["-n", &switch, "link", "add", &port, "type", "veth"][..], &peer].concat());
            ip(&["-n", &switch, "link", "set", &port, "master", net.bridge(), "up"]);
            ip(&["-n", &host.space, "link", "set", interface, "up"]);
            ip(&["-n", &host.space, "addr", "add", &address, "dev", interface]);
        }
        let six = format!("{PUBLIC6}{number}/64");
        ip(&["-n", &host.space, "addr", "add", &six, "dev", "eth0", "nodad"]);
        self.hosts.push(host);
    }

    pub fn host(&self, name: &str) -> Host {
        self.hosts.iter().find(|host| host.name == name).unwrap().clone()
    }

    /// Has every host know `address` by this name, too.
    pub fn name(&self, name: &str, address: &str) {
        for host in &self.hosts {
            // What `ip netns exec` shows its programs in place of /etc.
            let etc = Path::new("/etc/netns").join(&host.space);
            std::fs::create_dir_all(&etc).unwrap();
            std::fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n{address} {name}\n")).unwrap();
        }
    }

    /// Pulls the cable out of a host, or puts it in again: its interface loses and regains its carrier.
    pub fn cable(&self, host: &Host, net: Net, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        ip(&["-n", &self.switch(), "link", "set", &port(host, net), state]);
    }

    /// Takes a host out of a network without its noticing, or brings it back.
    pub fn connect(&self, host: &Host, net: Net, connected: bool) {
        let (switch, port) = (self.switch(), port(host, net));
        let place = if connected { vec!["master", net.bridge()] } else { vec!["nomaster"] };
        ip(&[&["-n", &switch, "link", "set", &port][..], &place].concat());
    }
}

/// The switch's end of a host's cable.
fn port(host: &Host, net: Net) -> String {
    format!("{}{}", &net.bridge()[..3], host.number)
}

impl Drop for Lab {
    fn drop(&mut self) {
        for space in self.hosts.iter().map(|host| host.space.clone()).chain([self.switch()]) {
            // What remains is shown by the next run's `ip netns add`.
            let _ = Command::new("ip").args(["netns", "del", &space]).output();
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(&space));
        }
    }
}
