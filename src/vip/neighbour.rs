//! Unsolicited neighbour advertisements (RFC 4861, section 7.2.6): what announcements are to IPv6.

use super::arp::Mac;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};

const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Replace what the cache has (flag O).
const OVERRIDE: u8 = 0x20;
/// Option: the sender's hardware address, one unit of eight bytes.
const TARGET_HARDWARE: [u8; 2] = [2, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Routers pass nothing on with this, and receivers take nothing else (section 7.1.2).
const HOP_LIMIT: u32 = 255;

/// A raw ICMPv6 socket on one interface; needs CAP_NET_RAW.
pub(super) struct NeighbourSocket {
    socket: Socket,
    index: u32,
    mac: Mac,
}

impl NeighbourSocket {
    pub fn open(index: u32, mac: Mac) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(HOP_LIMIT)?;
        socket.set_multicast_loop_v6(false)?;
        Ok(Self { socket, index, mac })
    }

    /// Tells everybody on the link that `address` is here.
    pub fn announce(&self, address: Ipv6Addr) -> io::Result<()> {
        let all = SocketAddrV6::new(ALL_NODES, 0, 0, self.index);
        self.socket.send_to(&advertisement(self.mac, address), &all.into()).map(drop)
    }
}

/// The kernel fills in the checksum.
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_HARDWARE);
    message.extend(mac);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_is_as_rfc_4861_has_it() {
        let message = advertisement([2, 0, 0, 0, 0, 5], "fd00::12".parse().unwrap());
        let expected = "8800000020000000fd0000000000000000000000000000120201020000000005";
        assert_eq!(hex::encode(message), expected);
    }
}
