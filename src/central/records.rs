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
    pub last_order: u64,
    pub last_audit: u64,
    /// Hash of the newest audit entry; zeros before the first.
    pub audit_head: Digest,
    /// Which issuing CA and document signer are in force: the number in their files' names.
    pub issuing: u32,
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
    /// When an operator last took it back after a silence.
    pub readopted: Option<Millis>,
    /// There is an event that it was dropped for its silence.
    pub silence_noted: bool,
}

impl ServerRecord {
    /// A server that was not heard of for so long is dropped: three synchronizations, due every 30 days, were missed.
    pub const SILENCE: u64 = 90 * Millis::DAY;

    /// Lives put aside that are remembered; each needs an operator's deed.
    pub const MAX_RETIRED: usize = 64;

    pub fn key(uid: &str) -> String {
        key(&["server", uid])
    }

    /// Whether it is dropped for its silence at `now`. Follows from the dates alone, so that no timer can be missed.
    pub fn silent(&self, now: Millis) -> bool {
        now >= self.last_contact.max(self.readopted.unwrap_or_default()).plus(Self::SILENCE)
    }

    /// It spoke.
    pub fn heard(&mut self, now: Millis) {
        self.last_contact = now;
        self.silence_noted = false;
    }

    /// What operators see.
    pub fn status(&self, now: Millis) -> &'static str {
        match self {
            Self { revoked: true, .. } => "revoked",
            _ if self.silent(now) => "silent",
            Self { refused: Some(_), .. } => "contested",
            _ => "active",
        }
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
    /// When its server said that it ends: it draws on nothing any more, and is kept as history.
    pub closed: Option<Millis>,
}

impl AccountRecord {
    pub fn key(server: &str, name: &str) -> String {
        key(&["account", server, name])
    }
    /// An account that ended and whose name its server has given to another one since; `id` orders them.
    pub fn closed_key(server: &str, id: u64) -> String {
        key(&["closed", server, &format!("{id:020}")])
    }
    /// Such accounts kept for a server, the oldest make room: a site that opens and closes accounts fills no disk.
    pub const MAX_CLOSED: usize = 100;

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

/// A change of what a virtual account has of one license; a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub seq: u64,
    pub at: Millis,
    pub actor: String,
    pub smart_account: String,
    pub virtual_account: String,
    pub tag: String,
    /// None: it was not in the catalog before.
    pub before: Option<LicenseTerms>,
    /// None: it is not any more.
    pub after: Option<LicenseTerms>,
}

impl Order {
    /// Orders held; older ones make room. A vendor with a hundred changes a day keeps three years.
    pub const RING: u64 = 100_000;

    pub fn key(seq: u64) -> String {
        key(&["order", &format!("{:06}", seq % Self::RING)])
    }
}

/// Where the entries of the audit log are; a ring of [`crate::license::AuditEntry`].
pub struct Audit;

impl Audit {
    /// Entries held; older ones make room, an exported file keeps them. As for [`Order`].
    pub const RING: u64 = 100_000;

    pub fn key(seq: u64) -> String {
        key(&["audit", &format!("{:06}", seq % Self::RING)])
    }
}

/// A person who signs in to central's pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserRecord {
    pub name: String,
    /// Sees only this smart account, and changes nothing; None: an operator of the vendor.
    pub smart_account: Option<String>,
    /// Argon2id, PHC string format.
    pub password_hash: String,
    /// Somebody else chose the password.
    pub must_change: bool,
    pub created: Millis,
    /// When the password was set; sessions begun before have ended.
    pub password_changed: Millis,
}

impl UserRecord {
    /// People: a table on one page.
    pub const MAX: usize = 1_000;

    pub fn key(name: &str) -> String {
        key(&["user", name])
    }
}

/// A program that calls central's REST API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    pub id: String,
    pub description: String,
    /// As for [`UserRecord::smart_account`].
    pub smart_account: Option<String>,
    /// SHA-256 of the secret.
    pub hash: Digest,
    pub created: Millis,
    pub created_by: String,
}

impl TokenRecord {
    /// Programs: each request compares its secret with one of them.
    pub const MAX: usize = 1_000;

    pub fn key(id: &str) -> String {
        key(&["token", id])
    }
}
