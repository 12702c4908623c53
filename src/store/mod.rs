//! What survives a power cut: the Raft log, the sled image of the state, snapshot files, and the codec.

pub mod codec;
mod types;

pub use types::*;
