//! ID certificates that are not to be taken any more though they have not ended, and the list that says so (RFC 5280,
//! section 5).

use super::*;
use serde::{Deserialize, Serialize};

/// Why (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RevocationReason {
    /// The product has another certificate now.
    Superseded,
    /// The product deregistered, or was not heard of for too long.
    CessationOfOperation,
    /// An administrator removed it.
    PrivilegeWithdrawn,
}

/// What is kept of a revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    #[serde(with = "serde_bytes")]
    pub serial: [u8; 16],
    /// Whose CA issued it.
    pub account: AccountId,
    pub at: Millis,
    pub reason: RevocationReason,
}

/// Revoked certificates that end on one day: one record of an image, at most [`REVOKED_BLOCK`] of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedBlock {
    /// The day, since the epoch, in which they end.
    pub day: u64,
    /// Counts from 0 within the day.
    pub block: u64,
    pub revoked: Vec<Revocation>,
}

/// The list in force, the same for all accounts: with the blocks it gives the same bytes on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationList {
    /// 0 before the first; rises by one with each list (RFC 5280, section 5.2.3), by far more with a restore.
    pub number: u64,
    pub issued: Millis,
    /// When the one before was issued: what had ended by then has been on a list after its end, and is on none any more.
    pub before: Millis,
}

impl RevocationList {
    /// Whether another one is due at `now`.
    #[must_use]
    pub fn due(self, now: Millis) -> bool {
        self.number == 0 || now >= self.issued.plus(REVOCATION_LIST_PERIOD)
    }

    /// When a new one must be there at the latest.
    #[must_use]
    pub fn next_update(self) -> Millis {
        self.issued.plus(REVOCATION_LIST_LIFE)
    }

    /// Whether certificates that end on `day` are not listed any more.
    pub(super) fn over(self, day: u64) -> bool {
        (day + 1) * Millis::DAY <= self.before.0
    }
}

impl State {
    /// The revocation list in force.
    #[must_use]
    pub const fn revocation_list(&self) -> RevocationList {
        self.revocation_list
    }

    /// What the list in force says of an account's certificates, those that end first first. What was revoked in the
    /// millisecond of the list is on the next one, so that the list does not depend on when it is read.
    pub fn revoked(&self, account: AccountId) -> impl Iterator<Item = &Revocation> + Send + '_ {
        let list = self.revocation_list;
        let blocks = self.revoked.values().filter(move |block| !list.over(block.day));
        let all = blocks.flat_map(|block| &block.revoked);
        all.filter(move |revoked| revoked.account == account && revoked.at < list.issued)
    }
}
