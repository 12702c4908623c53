//! Which interface takes the virtual address, and whether it could: asked by the driver and before `ha deploy`.

use super::rtnetlink::{Assigned, Link, Rtnetlink};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Hosts on a link answer within milliseconds; this is for slow ones. The kernel asks a second time only after 1 s.
const ANSWER: Duration = Duration::from_millis(600);
/// Where nobody listens; only the question for the hardware address matters (RFC 863).
const DISCARD: u16 = 9;
/// Capabilities that the driver `netlink` and ports below 1024 need, with their numbers (capabilities(7)).
const CAPABILITIES: [(u32, &str); 3] = [(10, "CAP_NET_BIND_SERVICE"), (12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")];

/// What was found out about an address that is to be put on here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// The interface that would take it.
    pub interface: String,
    /// The hardware address that answers for it already, and is not this host's.
    pub taken_by: Option<String>,
}

/// Whether `address` could be put on here: on the interface `wanted`, or the one with this node's `own` address. Asks the
/// link who has it, so it blocks for up to 600 ms.
///
/// # Errors
/// When the interface is missing or down, the address lies in none of its networks, or capabilities are missing.
pub fn usable(wanted: Option<&str>, own: IpAddr, address: IpAddr) -> io::Result<Usable> {
    let mut kernel = Rtnetlink::open()?;
    let link = find(&mut kernel, wanted, Some(own))?;
    is_up(&link)?;
    let all = kernel.addresses()?;
    if all.iter().any(|a| a.address == address) {
        return Err(io::Error::other(format!("{address} is an address of this host already; choose a free one")));
    }
    let networks: Vec<&Assigned> = all.iter().filter(|a| a.index == link.index).collect();
    if !networks.iter().any(|network| contains(network, address)) {
        let of_family = networks.iter().filter(|n| n.address.is_ipv4() == address.is_ipv4());
        let known: Vec<String> = of_family.map(|n| format!("{}/{}", n.address, n.prefix)).collect();
        let known = if known.is_empty() { "none of this family".to_owned() } else { known.join(", ") };
        return Err(io::Error::other(format!("{address} is in no network of {} ({known})", link.name)));
    }
    let missing = missing_capabilities()?;
    if !missing.is_empty() {
        return Err(io::Error::other(format!("this process lacks {}", missing.join(" and "))));
    }
    let taken_by = answers(&mut kernel, link.index, address)?;
    Ok(Usable { interface: link.name, taken_by })
}

/// The interface called `wanted`, or the one that has the address `own`.
pub(super) fn find(kernel: &mut Rtnetlink, wanted: Option<&str>, own: Option<IpAddr>) -> io::Result<Link> {
    let links = kernel.links()?;
    let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    let names = names.join(", ");
    if let Some(name) = wanted {
        let found = links.into_iter().find(|link| link.name == name);
        return found.ok_or_else(|| io::Error::other(format!("there is no interface {name} here, only {names}")));
    }
    let index = kernel.addresses()?.into_iter().find(|a| Some(a.address) == own).map(|a| a.index);
    links.into_iter().find(|link| Some(link.index) == index).ok_or_else(|| {
        let own = own.map_or_else(String::new, |own| format!(" {own}"));
        io::Error::other(format!(
            "no interface here has this node's address{own}; set `vip.interface` in the node file to one of {names}"
        ))
    })
}

/// # Errors
/// When the link is switched off or has no carrier.
pub(super) fn is_up(link: &Link) -> io::Result<()> {
    if link.up { Ok(()) } else { Err(io::Error::other(format!("interface {} is down", link.name))) }
}

/// Whether `address` lies in the network of an address on the interface.
fn contains(network: &Assigned, address: IpAddr) -> bool {
    let same = |a: u128, b: u128, bits: u8| {
        let host_bits = u32::from(bits) - u32::from(network.prefix.min(bits));
        // A shift by all 128 bits leaves nothing to compare.
        a.checked_shr(host_bits) == b.checked_shr(host_bits)
    };
    match (network.address, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

/// Lets the kernel ask the link for `address`, and reads what it learnt.
fn answers(kernel: &mut Rtnetlink, index: u32, address: IpAddr) -> io::Result<Option<String>> {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.send_to(&[0], SocketAddr::new(address, DISCARD))?;
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        if let Some(hardware) = kernel.neighbour(index, address)? {
            let bytes: Vec<String> = hardware.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Some(bytes.join(":")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

fn missing_capabilities() -> io::Result<Vec<&'static str>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    Ok(CAPABILITIES.iter().filter(|(number, _)| effective & (1 << number) == 0).map(|(_, name)| *name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, prefix: u8) -> Assigned {
        Assigned { index: 1, address: address.parse().unwrap(), prefix }
    }

    #[test]
    fn an_address_belongs_to_a_network_by_its_prefix() {
        let within = |net: &Assigned, address: &str| contains(net, address.parse().unwrap());
        let lan = network("10.0.0.5", 24);
        assert!(within(&lan, "10.0.0.12") && !within(&lan, "10.0.1.12") && !within(&lan, "fd00::12"));
        let wide = network("fd00::5", 64);
        assert!(within(&wide, "fd00::12") && !within(&wide, "fd01::12") && !within(&wide, "10.0.0.12"));
        assert!(!within(&network("10.0.0.5", 32), "10.0.0.12"));
        assert!(within(&network("10.0.0.5", 0), "192.0.2.1") && within(&network("fd00::5", 0), "2001:db8::1"));
    }

    #[test]
    fn a_missing_interface_is_named_with_those_there_are() {
        let error = usable(Some("nosuch0"), [127, 0, 0, 1].into(), [127, 0, 0, 12].into()).unwrap_err().to_string();
        assert!(error.contains("no interface nosuch0 here, only") && error.contains("lo"), "{error}");
    }

    #[test]
    fn an_address_of_this_host_is_refused() {
        let error = usable(Some("lo"), [127, 0, 0, 1].into(), [127, 0, 0, 1].into()).unwrap_err().to_string();
        assert!(error.contains("an address of this host already"), "{error}");
    }
}
