//! A thread for Raft alone.
//!
//! A command passes through a chain of many short tasks; on one thread each wakes the next without a system call. And
//! whatever else the process does (TLS handshakes, passwords, pages) cannot hold heartbeats up.

use std::io;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The thread, which ends when this is dropped.
pub(super) struct RaftThread {
    handle: Handle,
    _end: tokio_util::sync::DropGuard,
}

impl RaftThread {
    /// # Errors
    /// When the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name("raft-blocking").build()?;
        let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
        let ended = end.clone().cancelled_owned();
        std::thread::Builder::new().name("raft".to_owned()).spawn(move || runtime.block_on(ended))?;
        Ok(Self { handle, _end: end.drop_guard() })
    }

    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}
