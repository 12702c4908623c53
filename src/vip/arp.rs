//! ARP (RFC 826) on one Ethernet interface: announcements (RFC 5227), and the frames of others.

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io::{self, Read};
use std::net::Ipv4Addr;

/// Hardware address of an Ethernet interface.
pub(super) type Mac = [u8; 6];

const ETHERTYPE: u16 = 0x0806;
const BROADCAST: Mac = [0xff; 6];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Ethernet header and an ARP packet for IPv4.
const FRAME: usize = 14 + 28;
/// Frames read at one look; a flood must not keep the holder from its work.
const MOST_FRAMES: usize = 64;

/// A raw socket for ARP; needs CAP_NET_RAW.
pub(super) struct ArpSocket {
    socket: Socket,
    mac: Mac,
}

impl ArpSocket {
    pub fn open(index: u32, mac: Mac) -> io::Result<Self> {
        let protocol = i32::from(ETHERTYPE.to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
        socket.set_nonblocking(true)?;
        socket.bind(&on_link(index)?)?;
        Ok(Self { socket, mac })
    }

    /// Tells everybody on the link that `address` is here: as a request and as a reply, since some hosts and switches
    /// learn from one of them only.
    pub fn announce(&self, address: Ipv4Addr) -> io::Result<()> {
        for operation in [REQUEST, REPLY] {
            self.socket.send(&frame(operation, self.mac, address, BROADCAST, address))?;
        }
        Ok(())
    }

    /// Asks who else has `address` (an ARP probe, which changes nobody's cache).
    pub fn probe(&self, address: Ipv4Addr) -> io::Result<()> {
        self.socket.send(&frame(REQUEST, self.mac, Ipv4Addr::UNSPECIFIED, [0; 6], address)).map(drop)
    }

    /// Those who claimed an address since the last call.
    pub fn claims(&self) -> io::Result<Vec<(Ipv4Addr, Mac)>> {
        let mut claims = Vec::new();
        let mut buffer = [0; FRAME];
        for _ in 0..MOST_FRAMES {
            match (&self.socket).read(&mut buffer) {
                Ok(length) => claims.extend(sender(&buffer[..length]).filter(|(_, mac)| *mac != self.mac)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(claims)
    }
}

/// The link-layer address that binds a packet socket to one interface; see packet(7).
fn on_link(index: u32) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the address types that sockaddr_storage is made to hold, and all its fields may
    // have any value.
    #[allow(unsafe_code)]
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    link.sll_protocol = ETHERTYPE.to_be();
    link.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage was initialised above as the family and the length say.
    #[allow(unsafe_code)]
    Ok(unsafe { SockAddr::new(storage, length) })
}

fn frame(operation: u16, mac: Mac, sender: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend(BROADCAST);
    frame.extend(mac);
    frame.extend(ETHERTYPE.to_be_bytes());
    // Ethernet, IPv4, lengths of their addresses.
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend(target_mac);
    frame.extend(target.octets());
    frame
}

/// Who says so, and where it is; none for a probe or another protocol.
fn sender(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let packet = frame.get(14..FRAME).filter(|packet| packet[..6] == [0, 1, 8, 0, 6, 4])?;
    let mac = Mac::try_from(&packet[8..14]).ok()?;
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[14..18]).ok()?);
    (!address.is_unspecified()).then_some((address, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_rfc_826_has_them() {
        let (mac, address) = ([2, 0, 0, 0, 0, 5], Ipv4Addr::new(10, 0, 0, 12));
        let announcement = frame(REPLY, mac, address, BROADCAST, address);
        let expected = "ffffffffffff0200000000050806\
                        00010800060400020200000000050a00000cffffffffffff0a00000c";
        assert_eq!(hex::encode(&announcement), expected.replace(char::is_whitespace, ""));
        assert_eq!(sender(&announcement), Some((address, mac)));
        assert_eq!(
            sender(&frame(REQUEST, mac, Ipv4Addr::UNSPECIFIED, [0; 6], address)),
            None,
            "a probe claims nothing"
        );
        assert_eq!(sender(&announcement[..30]), None);
    }
}
