//! What a command came to.

use super::ids::*;
use serde::{Deserialize, Serialize};

/// The reply of [`super::State::apply`]; equal on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; there is nothing more to say.
    Done,
    /// Done, and this account, virtual account, token, … was made.
    Created(u64),
    SyncBegun {
        seq: u64,
    },
    Registered(Registered),
    Authorized(Authorization),
    CertificateRenewed {
        instance: InstanceId,
    },
    Deregistered,
    Refused(Refusal),
}

/// Facts of a registration, new or repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    pub instance: InstanceId,
    pub va: VirtualAccountId,
    /// The registration already existed (same token and key): nothing was changed but the contact.
    pub repeated: bool,
    pub export_controlled: bool,
    /// The certificate now on record (a repeat keeps the first one's serial and dates).
    pub certificate: super::IdCertificate,
}

/// The state of an instance's licenses after an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    pub instance: InstanceId,
    /// State time at which it was granted.
    pub at: Millis,
    pub licenses: Vec<LicenseStatus>,
    /// When the product should ask again: 30 days in compliance, 12 hours out of it.
    pub next_contact: Millis,
    /// When the authorization lapses without contact (90 days).
    pub expires: Millis,
    /// 90 days after the instance's licenses first were out of compliance: from then the product may enforce.
    pub enforce_from: Option<Millis>,
    pub export_controlled: bool,
}

impl Authorization {
    /// Whether every license is covered.
    #[must_use]
    pub fn in_compliance(&self) -> bool {
        self.licenses.iter().all(|l| l.in_compliance)
    }
}

/// One license of an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseStatus {
    pub tag: String,
    pub name: String,
    pub count: u64,
    pub in_compliance: bool,
}

/// Why not: a stable reason and a sentence that says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

/// Stable reasons; their `as_str` form is part of the product protocol and the APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// A value is empty, too long, out of range or malformed.
    Invalid,
    NotFound,
    /// The name or binding is taken.
    Exists,
    /// The thing is not in a state that allows this.
    State,
    /// Still in use: not empty.
    NotEmpty,
    /// A named limit is reached.
    Limit,
    TokenUnknown,
    TokenExpired,
    TokenExhausted,
    TokenRevoked,
    AccountInactive,
    LicenseUnknown,
    ExportControlled,
    InstanceUnknown,
    /// A lower request number than the last one; the answer carries the current one.
    StaleRequest {
        current: u64,
    },
    /// The same request number with another payload.
    RequestMismatch {
        current: u64,
    },
    CertificateExpired,
    NotInitialized,
}
