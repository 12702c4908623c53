//! How addresses get onto this host.

use std::io;
use std::net::IpAddr;

/// Something an operator should know: it becomes an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An address was taken off behind our back, and is on again.
    PutBack(IpAddr),
    /// Another machine answers for an address that this node holds.
    Stranger { address: IpAddr, hardware: String },
    /// An address was on this host though this node does not serve; it has been removed.
    Stray(IpAddr),
}

/// Puts the addresses on this host and takes them off. Used by one thread; no call may block for long.
pub trait Driver: Send + 'static {
    /// Puts `addresses` on. Gives up, with none on, when `serving` says no meanwhile.
    ///
    /// # Errors
    /// When this host cannot have them.
    fn raise(&mut self, addresses: &[IpAddr], serving: &dyn Fn() -> bool) -> io::Result<()>;

    /// Keeps `addresses` for another lifetime; called only when a quorum acknowledged this node's leadership anew.
    ///
    /// # Errors
    /// When they can be kept no longer, for instance because the interface is down.
    fn renew(&mut self, addresses: &[IpAddr]) -> io::Result<()>;

    /// Takes `addresses` off; one that is not there is no error.
    ///
    /// # Errors
    /// When one may still be on.
    fn lower(&mut self, addresses: &[IpAddr]) -> io::Result<()>;

    /// Tells the neighbours on the link that `addresses` are here now.
    ///
    /// # Errors
    /// When nothing could be sent.
    fn announce(&mut self, addresses: &[IpAddr]) -> io::Result<()>;

    /// Whether this host could hold addresses now.
    ///
    /// # Errors
    /// Why not.
    fn check(&mut self) -> io::Result<()>;

    /// Removes strays of `addresses`, which this node must not have on now.
    ///
    /// # Errors
    /// When one may still be on.
    fn sweep(&mut self, addresses: &[IpAddr]) -> io::Result<()>;

    /// What was found since the last call.
    fn findings(&mut self) -> Vec<Finding>;
}
