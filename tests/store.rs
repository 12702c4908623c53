//! The store: openraft's own suite, damage, and what is left after `kill -9`, power cuts and a full disk.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[path = "store/central.rs"]
mod central;
#[path = "store/child.rs"]
mod child;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/disk.rs"]
mod disk;
#[path = "store/golden.rs"]
mod golden;
#[path = "store/mount.rs"]
mod mount;
#[path = "store/suite.rs"]
mod suite;
#[path = "store/support.rs"]
mod support;
