//! The store: openraft's own suite, damage, and what is left after `kill -9`, power cuts and a full disk.

#[path = "store/suite.rs"]
mod suite;
#[path = "store/support.rs"]
mod support;
