//! What survives a power cut: the Raft log, the sled image of the state, snapshot files, and the codec.

mod alone;
mod begin;
pub mod codec;
mod dir;
mod error;
mod health;
mod image;
mod imager;
mod inspect;
mod keys;
mod log;
mod machine;
mod metrics;
mod open;
mod snapshot;
mod types;

#[cfg(test)]
pub use alone::store_of_voters;
pub use codec::{Batch, BatchAuth, CodecError, Epoch};
pub use error::StoreError;
pub use health::StoreHealth;
pub use image::Position;
pub use inspect::{ImageReport, Inspection, inspect};
pub use keys::encode_key;
pub use log::{LogReader, LogReport, LogStore};
pub use machine::{Machine, SnapshotBuilder, StateDigest};
pub use metrics::{BARRIER_BUCKETS_US, GROUP_BUCKETS, Histogram, StoreMetrics};
pub use open::{Store, StoreHandle, StoreOptions};
pub use snapshot::{
    MAX_SNAPSHOT_BYTES, SnapshotFile, SnapshotReceiver, check as check_snapshot, read as read_snapshot, state_digest,
    write as write_snapshot,
};
pub use types::*;

/// A snapshot as openraft hands it around.
pub type StoredSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>;
