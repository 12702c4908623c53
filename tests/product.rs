//! The products' side against a real router on real TLS, over a state in memory: every error, lost answers, replays, and
//! the life of an agent through restarts.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[path = "product/client.rs"]
mod client;
#[path = "support/proxy.rs"]
mod forward;
#[path = "product/server.rs"]
mod server;

#[path = "product/agent.rs"]
mod agent;
#[path = "product/errors.rs"]
mod errors;
#[path = "product/life.rs"]
mod life;
#[path = "product/listener.rs"]
mod listener;
#[path = "product/load.rs"]
mod load;
#[path = "product/protocol.rs"]
mod protocol;
#[path = "product/proxy.rs"]
mod proxy;
#[path = "product/revoked.rs"]
mod revoked;
#[path = "product/vectors.rs"]
mod vectors;
