//! The upstream: the vendor's authority (a service of its own), the signed documents that travel between it and
//! on-prem servers, and the on-prem side that sends them.
//!
//! The authority is [`Service`] over [`Store`] and [`Keys`]; [`serve`] puts it on HTTPS. The on-prem side is
//! [`Upstream`]; [`SyncService`] keeps it going on the active node. Both know only [`document`]s, and the same bytes
//! travel by HTTPS and as files.

pub mod admin;
mod admission;
mod certify;
mod change;
mod client;
pub mod document;
mod keys;
mod link;
mod pages;
mod problem;
mod records;
mod refusal;
mod rest;
pub mod schedule;
mod scheduler;
pub mod serve;
mod service;
mod shared;
mod store;
mod vendor_root;

pub use client::{Asked, Synchronized, Upstream, UpstreamError};
pub use keys::Keys;
pub use link::LinkError;
pub use problem::Problem;
pub use refusal::{CentralError, Refusal, RefusalReason};
pub use scheduler::SyncService;
pub use service::Service;
pub use store::{Batch, Store, StoreError};
pub use vendor_root::VendorRoot;

use crate::license::Millis;
use std::sync::Arc;

/// Where the wall clock is read; tests give their own.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The system's clock; before 1970 it stands at 0.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}
