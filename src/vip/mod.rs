//! The virtual address: held by the serving leader alone, given up before its lease ends.
//!
//! [`hold()`] runs on a thread of its own, so that nothing else in the process can delay the removal. It is
//! level-triggered: at every look it compares what should be (does this node serve?) with what is (are the addresses on
//! this host, are the listeners open?), so a missed change is repaired by the next look. How the addresses get onto the
//! host is the [`Driver`]'s: `netlink` puts them on an interface for a second at a time, `bind` finds them there
//! (loopback), `hook` runs commands.

mod arp;
mod bind;
mod driver;
mod hold;
mod hook;
mod interface;
mod neighbour;
mod netlink;
mod rtnetlink;

pub use bind::Bind;
pub use driver::{Driver, Finding};
pub use hold::{Holder, MARGIN, hold};
pub use hook::Hook;
pub use interface::{Usable, usable};
pub use netlink::Netlink;

use std::io;
use std::net::IpAddr;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether this node may hold the address, and how long at least.
pub trait Guard: Send + Sync + 'static {
    /// The end of the lease under which this node serves; none when it does not serve.
    fn serving_until(&self) -> Option<Instant>;
}

/// Opens everything that answers on the address.
pub trait Stage: Send + Sync + 'static {
    /// Opens all listeners on `addresses` or none; what it opened ends when `until` is cancelled.
    ///
    /// # Errors
    /// When an address cannot be had, for instance because its former holder has not let go.
    fn open(&self, addresses: &[IpAddr], until: CancellationToken) -> io::Result<()>;
}

/// What the holder is doing, for status, metrics and events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// The addresses open here.
    pub held: Vec<IpAddr>,
    /// What is wrong: why they are not held though they should be, or could not be held here if they had to.
    pub trouble: Option<String>,
}
