//! The products' side: the open protocol of `proto/product.md`, the HTTPS handlers that answer it, and the agent that
//! speaks it from inside a product.
//!
//! A signed answer comes only from a command committed after its request arrived; what is merely read from the state
//! decides whose key verifies a request and which limits apply, never what a product is granted.

pub mod agent;
mod context;
mod crl;
mod handler;
mod keyring;
pub(crate) mod limiter;
pub mod listener;
pub mod message;
mod problem;
mod request;
mod service;

pub use context::{Clock, ProductContext, Serving, ServingGuard, wall_clock};
pub use crl::crl_path;
pub use handler::{Routers, out_of_service, router, routers};
pub use keyring::{INSTANCE_URI, thumbprint};
pub use problem::{Code, Problem};

/// The paths on which products are answered; the second is the one that older products have built in.
pub const PATHS: [&str; 2] = ["/SmartTransport", "/Transportgateway/services/DeviceRequestHandler"];

/// Largest request body. A registration is about 3 KiB, and an authorization of the most licenses an instance may have,
/// all with the longest tags, about 15 KiB in base64.
pub const MAX_BODY: usize = 64 * 1024;

/// How far a product's clock may be off, in milliseconds: beyond it dates in certificates and answers mean nothing.
pub const MAX_CLOCK_SKEW_MS: u64 = crate::license::Millis::HOUR;

/// Life of an ID certificate in days.
pub const ID_CERTIFICATE_DAYS: u64 = 365;

/// How a registration token is looked up: SHA-256 of its text.
#[must_use]
pub fn token_hash(token: &str) -> crate::license::Digest32 {
    crate::pki::sha256(token.as_bytes())
}
