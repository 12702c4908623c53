//! What central keeps: smart accounts, what they purchased, and the on-prem servers with their accounts.

use super::document::{Der, Digest, LicenseTerms, Life};
use super::store::key;
use crate::license::Millis;
use crate::pki::jws::Jwk;
use serde::{Deserialize, Serialize};

/// Counters, and the format of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    pub format: u32,
    /// The name shown and put into certificates.
    pub name: String,
    pub last_id: u64,
    pub last_event: u64,
}

impl Meta {
    pub const FORMAT: u32 = 1;
    pub const KEY: &str = "meta";
}

/// A customer of the vendor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SmartAccount {
    pub id: u64,
    pub name: String,
    pub created: Millis,
}

impl SmartAccount {
    pub fn key(name: &str) -> String {
        key(&["smart-account", name])
    }
}

/// A subdivision of a smart account; at most one on-prem account draws on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VirtualAccount {
    pub id: u64,
    pub smart_account: String,
    pub name: String,
    pub created: Millis,
    pub bound: Option<Binding>,
}

impl VirtualAccount {
    /// Virtual accounts of one smart account. Registrations make them, so strangers could fill the disk otherwise.
    pub const MAX: usize = 1_000;

    pub fn key(smart_account: &str, name: &str) -> String {
        key(&["virtual-account", smart_account, name])
    }
}

/// Which account of which server draws on a virtual account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub server: String,
    pub account: String,
}

/// What a virtual account has of one license.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntitlementRecord {
    pub smart_account: String,
    pub virtual_account: String,
    pub license: LicenseTerms,
}

impl EntitlementRecord {
    pub fn key(smart_account: &str, virtual_account: &str, tag: &str) -> String {
        key(&["entitlement", smart_account, virtual_account, tag])
    }
}

/// An on-prem server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerRecord {
    pub uid: String,
    /// The life that may speak for this server.
    pub life: Life,
    /// Lives that an operator put aside; never taken again, however high their number.
    pub retired: Vec<Life>,
    pub revoked: bool,
    pub registered: Millis,
    pub last_contact: Millis,
    /// The last request that was refused because another copy of the server speaks for it.
    pub refused: Option<RefusedTwin>,
}

impl ServerRecord {
    /// Lives put aside that are remembered; each needs an operator's deed.
    pub const MAX_RETIRED: usize = 64;

    pub fn key(uid: &str) -> String {
        key(&["server", uid])
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedTwin {
    pub at: Millis,
    pub life: Life,
    pub account: String,
    pub request: Digest,
}

/// An on-prem account. Its last responses and the usage it reported are blobs beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRecord {
    pub server: String,
    pub name: String,
    pub smart_account: String,
    pub virtual_account: String,
    pub registered: Millis,
    /// Digest of the registration request; a repeat of it gets the stored response.
    pub registration: Digest,
    pub ca_cert: Der,
    pub signer_key: Jwk,
    pub line: Line,
    /// What the last synchronization reported.
    pub instances: u64,
    pub synchronized: Option<Millis>,
}

impl AccountRecord {
    pub fn key(server: &str, name: &str) -> String {
        key(&["account", server, name])
    }
    pub fn registration_blob(server: &str, name: &str) -> String {
        key(&["registration-response", server, name])
    }
    pub fn usage_blob(server: &str, name: &str) -> String {
        key(&["usage", server, name])
    }
    pub fn sync_blob(server: &str, name: &str) -> String {
        key(&["sync-response", server, name])
    }
}

/// Where an account's chain of synchronizations stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub life: Life,
    /// 0: registered, not yet synchronized.
    pub seq: u64,
    /// Digest of the request at `seq`.
    pub request: Digest,
    /// Digest of the response to it (of the registration at first): the next request must name it.
    pub response: Digest,
    /// After a re-adoption: the refused request, which begins a new line when it comes again.
    pub reopened: Option<Digest>,
}

/// Something an operator of central should know; a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CentralEvent {
    pub at: Millis,
    /// Stable name, e.g. `fork-refused`.
    pub kind: String,
    pub server: String,
    pub account: String,
    pub message: String,
}

impl CentralEvent {
    /// Events held; older ones make room.
    pub const RING: u64 = 10_000;

    pub fn key(seq: u64) -> String {
        key(&["event", &format!("{:05}", seq % Self::RING)])
    }
}
