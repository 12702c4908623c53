//! What lists show.

use crate::central::document::{Digest, LicenseTerms, TagUsage};
use crate::license::Millis;
use serde::{Deserialize, Serialize};

/// A virtual account, with the licenses it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    pub smart_account: String,
    /// None: the smart account has no virtual account yet.
    pub virtual_account: Option<String>,
    /// Server and account that draw on it.
    pub server: Option<String>,
    pub account: Option<String>,
    pub licenses: Vec<LicenseTerms>,
    /// What its account reported at the last synchronization.
    pub usage: Vec<TagUsage>,
}

/// An account of an on-prem server (or a server without any).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerRow {
    pub server: String,
    /// `active`, `revoked`, `silent`, or `contested` while a copy of it is refused.
    pub status: String,
    pub incarnation: u64,
    pub account: Option<String>,
    pub smart_account: Option<String>,
    pub virtual_account: Option<String>,
    pub seq: u64,
    pub instances: u64,
    pub synchronized: Option<Millis>,
    pub last_contact: Millis,
    /// When the account ended.
    pub closed: Option<Millis>,
}

/// Somebody who signs in to the pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserRow {
    pub name: String,
    /// None: an operator.
    pub smart_account: Option<String>,
    pub must_change: bool,
    pub created: Millis,
}

/// A program that calls the REST API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRow {
    pub id: String,
    pub description: String,
    /// None: it may do what operators may.
    pub smart_account: Option<String>,
    pub created: Millis,
    pub created_by: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditRow {
    pub seq: u64,
    pub at: Millis,
    pub actor: String,
    pub action: String,
    pub detail: String,
    pub hash: Digest,
}

/// The issuing CA in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssuingRow {
    pub number: u32,
    /// The vendor's name, for the certificates of the next one.
    pub vendor: String,
    pub fingerprint: String,
    pub not_after: Millis,
    pub root_fingerprint: String,
}
