//! For addresses that the host answers for already: loopback, in the demo and in tests.

use super::driver::{Driver, Finding};
use std::io;
use std::net::IpAddr;

/// Driver `bind`: the listeners alone decide who holds the address. Covers the death of a process, not of a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bind;

impl Driver for Bind {
    fn raise(&mut self, _: &[IpAddr], _: &dyn Fn() -> bool) -> io::Result<()> {
        Ok(())
    }

    fn renew(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn lower(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn announce(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sweep(&mut self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn findings(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}
