//! The records that make up the state. Every record is small, and every list in one is bounded by a named limit.

mod account;
mod alert;
mod license;
mod person;
mod product;
mod server;
mod synchronization;
mod usage;

pub use account::*;
pub use alert::*;
pub use license::*;
pub use person::*;
pub use product::*;
pub use server::*;
pub use synchronization::*;
pub use usage::*;

use super::ids::*;
use super::{
    AUDIT_BLOCK, AUTHORIZATION_LIFE, AuditEntry, BrowserCertificate, DEFAULT_LIST_ROWS, EVENT_BLOCK, LAPSE_GRACE,
    LICENSES_EXPIRED_SHOWN, LICENSES_EXPIRING_DAYS, MAX_AUDIT, MAX_EVENTS, MAX_PAST_ALERTS, MIN_PASSWORD_BYTES,
    Outcome, Refusal, RevocationList, RevokedBlock, Role, SYNC_DROPPED, SYNC_DUE, Sealing, ServerCertificate,
    ServerNames,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A secret sealed under the data nodes' sealing key (see `pki::seal`); opaque here and to the witness.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The name of a record: its table and its key there. Also the order of records in images and snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    Meta,
    Settings,
    Account(AccountId),
    VirtualAccount(VirtualAccountId),
    License(LicenseId),
    Pool(VirtualAccountId, LicenseId),
    Token(TokenId),
    Instance(InstanceId),
    /// A block of the ring of events: its places from this number times [`EVENT_BLOCK`], an event's
    /// place being its number modulo [`MAX_EVENTS`].
    Events(u64),
    Alert(AlertKey),
    User(String),
    Member(u64),
    RoleChange(Millis, u64),
    Request(u128),
    Session(Digest32),
    ApiClient(String),
    /// A block of the ring of audit entries, as [`Self::Events`] with [`AUDIT_BLOCK`] and [`MAX_AUDIT`].
    Audit(u64),
    Readmitted(InstanceId),
    ServerCertificate,
    /// A place in the ring of cleared alerts: their number modulo [`MAX_PAST_ALERTS`].
    PastAlert(u64),
    /// Day and block.
    Revoked(u64, u64),
    RevocationList,
    BrowserCertificate,
    Sealing,
    AdminIdentity(String),
    Usage(VirtualAccountId, LicenseId),
}

/// A record with its value. `State` is exactly the set of its records; indexes are rebuilt from them.
// Records pass one at a time; a box around each would cost more than the space it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    Meta(Meta),
    Settings(Settings),
    Account(Account),
    VirtualAccount(VirtualAccount),
    License(License),
    Pool(Pool),
    Token(Token),
    Instance(Instance),
    Events(Vec<Event>),
    Alert(Alert),
    User(User),
    Member(Member),
    RoleChange(RoleChange),
    Request(RequestRecord),
    Session(Session),
    ApiClient(ApiClient),
    Audit(Vec<AuditEntry>),
    /// A product that was this instance after the backup is another one now: its old certificate has served.
    Readmitted(InstanceId),
    ServerCertificate(ServerCertificate),
    PastAlert(PastAlert),
    Revoked(RevokedBlock),
    RevocationList(RevocationList),
    BrowserCertificate(BrowserCertificate),
    Sealing(Sealing),
    AdminIdentity(AdminIdentity),
    Usage(UsageHistory),
}

impl Record {
    /// The name of this record.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Meta(_) => RecordKey::Meta,
            Self::Settings(_) => RecordKey::Settings,
            Self::Account(r) => RecordKey::Account(r.id),
            Self::VirtualAccount(r) => RecordKey::VirtualAccount(r.id),
            Self::License(r) => RecordKey::License(r.id),
            Self::Pool(r) => RecordKey::Pool(r.va, r.license),
            Self::Token(r) => RecordKey::Token(r.id),
            Self::Instance(r) => RecordKey::Instance(r.id),
            // A block without events has no record.
            Self::Events(r) => RecordKey::Events(r.first().map_or(0, |e| e.seq.0 % MAX_EVENTS / EVENT_BLOCK)),
            Self::Alert(r) => RecordKey::Alert(r.key.clone()),
            Self::User(r) => RecordKey::User(r.name.clone()),
            Self::Member(r) => RecordKey::Member(r.node_id),
            Self::RoleChange(r) => RecordKey::RoleChange(r.at, r.term),
            Self::Request(r) => RecordKey::Request(r.id),
            Self::Session(r) => RecordKey::Session(r.id),
            Self::ApiClient(r) => RecordKey::ApiClient(r.id.clone()),
            Self::Audit(r) => RecordKey::Audit(r.first().map_or(0, |e| e.seq % MAX_AUDIT / AUDIT_BLOCK)),
            Self::Readmitted(id) => RecordKey::Readmitted(*id),
            Self::ServerCertificate(_) => RecordKey::ServerCertificate,
            Self::PastAlert(r) => RecordKey::PastAlert(r.seq % MAX_PAST_ALERTS),
            Self::Revoked(r) => RecordKey::Revoked(r.day, r.block),
            Self::RevocationList(_) => RecordKey::RevocationList,
            Self::BrowserCertificate(_) => RecordKey::BrowserCertificate,
            Self::Sealing(_) => RecordKey::Sealing,
            Self::AdminIdentity(r) => RecordKey::AdminIdentity(r.name.clone()),
            Self::Usage(r) => RecordKey::Usage(r.va, r.license),
        }
    }
}
