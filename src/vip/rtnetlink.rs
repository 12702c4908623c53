//! The kernel's addresses and links, asked and changed by rtnetlink(7).

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::IpAddr;

/// Messages are aligned to this (NLMSG_ALIGNTO).
const ALIGN: usize = 4;

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub index: u32,
    pub address: IpAddr,
    pub prefix: u8,
}

/// A network interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    /// Empty for links without one.
    pub hardware: Vec<u8>,
    /// Switched on, and with a carrier.
    pub up: bool,
}

/// A socket to the kernel; calls wait for the kernel's answer, which comes at once.
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Puts an address on as /32 or /128 for `seconds`, or gives it so many more. Preferred lifetime 0 keeps it from
    /// being chosen as a source address.
    pub fn put(&mut self, index: u32, address: IpAddr, seconds: u32) -> io::Result<()> {
        let mut message = host_address(index, address);
        let mut life = CacheInfo::default();
        life.ifa_valid = seconds;
        message.attributes.push(AddressAttribute::CacheInfo(life));
        if address.is_ipv6() {
            // Duplicate address detection takes a second; who may hold the address is decided by the lease.
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        self.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Takes an address off; one that is not there is no error.
    pub fn remove(&mut self, assigned: Assigned) -> io::Result<()> {
        let mut message = host_address(assigned.index, assigned.address);
        message.header.prefix_len = assigned.prefix;
        match self.ask(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK) {
            Err(e) if [Some(libc::EADDRNOTAVAIL), Some(libc::ENODEV)].contains(&e.raw_os_error()) => Ok(()),
            other => other.map(drop),
        }
    }

    /// All addresses of this host.
    pub fn addresses(&mut self) -> io::Result<Vec<Assigned>> {
        let replies = self.ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        Ok(replies.into_iter().filter_map(assigned).collect())
    }

    /// All interfaces of this host.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let replies = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(replies.into_iter().filter_map(link).collect())
    }

    /// The hardware address that the kernel has just confirmed for a neighbour.
    pub fn neighbour(&mut self, index: u32, address: IpAddr) -> io::Result<Option<Vec<u8>>> {
        let replies = self.ask(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_DUMP)?;
        Ok(replies.into_iter().find_map(|reply| reachable(reply, index, address)))
    }

    /// One request with all its replies.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut replies = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let length = (reply.header.length as usize).next_multiple_of(ALIGN);
                rest = rest.get(length..).unwrap_or_default();
                // An answer to a request that failed half-way.
                if reply.header.sequence_number != self.sequence {
                    continue;
                }
                match reply.payload {
                    NetlinkPayload::InnerMessage(inner) => replies.push(inner),
                    NetlinkPayload::Done(_) => return Ok(replies),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(replies),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }
}

fn host_address(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    (message.header.family, message.header.prefix_len) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

fn assigned(reply: RouteNetlinkMessage) -> Option<Assigned> {
    let RouteNetlinkMessage::NewAddress(message) = reply else { return None };
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    // IPv6 gives only this one, unless the link has two ends.
    let other = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some(Assigned { index: message.header.index, address: local.or(other)?, prefix: message.header.prefix_len })
}

fn link(reply: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = reply else { return None };
    let (mut name, mut hardware) = (None, Vec::new());
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found),
            LinkAttribute::Address(found) => hardware = found,
            _ => {}
        }
    }
    let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some(Link { index: message.header.index, name: name?, hardware, up })
}

fn reachable(reply: RouteNetlinkMessage, index: u32, address: IpAddr) -> Option<Vec<u8>> {
    let RouteNetlinkMessage::NewNeighbour(message) = reply else { return None };
    let confirmed = message.header.ifindex == index && message.header.state == NeighbourState::Reachable;
    let same = message.attributes.iter().any(|a| match (a, address) {
        (NeighbourAttribute::Destination(NeighbourAddress::Inet(found)), IpAddr::V4(wanted)) => *found == wanted,
        (NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)), IpAddr::V6(wanted)) => *found == wanted,
        _ => false,
    });
    let hardware = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(bytes.clone()),
        _ => None,
    });
    hardware.filter(|_| confirmed && same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_loopback() {
        let mut kernel = Rtnetlink::open().unwrap();
        let links = kernel.links().unwrap();
        let lo = links.iter().find(|l| l.name == "lo").unwrap();
        let home = Assigned { index: lo.index, address: IpAddr::from([127, 0, 0, 1]), prefix: 8 };
        assert!(kernel.addresses().unwrap().contains(&home));
    }
}
