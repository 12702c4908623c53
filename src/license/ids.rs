//! Identifiers and units. All ids are counters kept in [`super::Meta`]; none is ever reused.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A local account: one customer's share of this server, bound to one upstream virtual account.
    AccountId
);
id!(
    /// A local virtual account: a subdivision of a local account that owns pools, tokens and instances.
    VirtualAccountId
);
id!(
    /// A license known to this server, interned from its entitlement tag.
    LicenseId
);
id!(
    /// A registration token.
    TokenId
);
id!(
    /// A product instance: one registered device or program.
    InstanceId
);
id!(
    /// The position of an event in the event log, counted from 1.
    EventSeq
);

/// Milliseconds since the Unix epoch, as stamped by the leader; never runs back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    /// One minute, hour and day in milliseconds.
    pub const MINUTE: u64 = 60_000;
    pub const HOUR: u64 = 60 * Self::MINUTE;
    pub const DAY: u64 = 24 * Self::HOUR;

    /// This time plus `ms` milliseconds, held at the end of time rather than wrapped.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// SHA-256 of something: a key, a token, a document.
pub type Digest32 = [u8; 32];
