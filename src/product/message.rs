//! The protocol's payloads, as JSON. `proto/product.md` is their definition; the schemas beside it are tested against
//! these types.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Version of the protocol; a request names the one it speaks.
pub const PROTOCOL: u32 = 1;

/// `typ` of the protected header (RFC 7515, 4.1.9): a signature over one kind of document is none over the other.
pub const REQUEST_TYP: &str = "licraft-request+jws";
pub const ANSWER_TYP: &str = "licraft-answer+jws";

/// Media types of signed bodies and of unsigned errors (RFC 9457).
pub const JOSE_JSON: &str = "application/jose+json";
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Length of a nonce: enough characters for 96 random bits, no more than is useful.
pub const NONCE_LEN: std::ops::RangeInclusive<usize> = 16..=64;

/// What a product asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestType {
    Register,
    Authorize,
    RenewAuthorization,
    RenewId,
    Deregister,
}

/// A request's payload: one flat object, so that it is read in one pass. Which members a type needs is checked in
/// [`super::request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestPayload {
    #[serde(rename = "type")]
    pub kind: RequestType,
    pub protocol: u32,
    /// Random, fresh for every attempt, so that no two answers are alike.
    pub nonce: String,
    /// The product's clock, milliseconds since the Unix epoch.
    pub time: u64,
    /// Strictly increasing for an instance; all but registrations have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Thumbprint of the answer signer the product knows; the chain is sent when it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licenses: Option<Vec<LicenseCount>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// In place of a token: the newest ID certificate (X.509), base64 of DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// PKCS#10 request (RFC 2986), base64 of DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udi: Option<UdiMember>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// Of a product that is a cluster itself: the devices it registers for beside its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceMember>>,
}

impl RequestPayload {
    /// A payload with only the members that every request has.
    #[must_use]
    pub fn new(kind: RequestType, nonce: String, time: u64) -> Self {
        Self {
            kind,
            protocol: PROTOCOL,
            nonce,
            time,
            number: None,
            signer: None,
            licenses: None,
            token: None,
            certificate: None,
            csr: None,
            udi: None,
            host_name: None,
            product_type: None,
            software_version: None,
            devices: None,
        }
    }
}

/// A wanted count of one license.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenseCount {
    pub tag: String,
    pub count: u64,
}

/// Unique device identity as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdiMember {
    pub pid: String,
    pub sn: String,
}

/// A further device of a product, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceMember {
    pub pid: String,
    pub sn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
}

/// An answer's payload. Readers ignore members they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<'a> {
    pub protocol: u32,
    /// base64url of SHA-256 of the request's payload bytes: which request this answers.
    pub request: Cow<'a, str>,
    /// The server's clock, milliseconds since the Unix epoch.
    pub time: u64,
    #[serde(flatten)]
    pub body: AnswerBody<'a>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum AnswerBody<'a> {
    Registered(RegisteredAnswer<'a>),
    Authorized(AuthorizedAnswer<'a>),
    IdRenewed(IdRenewedAnswer<'a>),
    Deregistered(DeregisteredAnswer<'a>),
    Refused(RefusedAnswer<'a>),
}

/// Registered: who the product now is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredAnswer<'a> {
    pub instance: Cow<'a, str>,
    /// This registration existed already, with the same token and key.
    pub repeated: bool,
    pub account: Cow<'a, str>,
    pub virtual_account: Cow<'a, str>,
    pub export_controlled: bool,
    /// The ID certificate (X.509), base64 of DER; its issuer is the second certificate of the header's `x5c`.
    pub certificate: Cow<'a, str>,
}

/// Authorized: what the licenses stand at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedAnswer<'a> {
    pub instance: Cow<'a, str>,
    pub number: u64,
    pub account: Cow<'a, str>,
    pub virtual_account: Cow<'a, str>,
    pub status: AuthorizationStatus,
    pub licenses: Vec<LicenseAnswer<'a>>,
    /// When it was granted; a repeated request gets the first date.
    pub authorized: u64,
    pub next_contact: u64,
    pub expires: u64,
    /// From when the product may enforce; only out of compliance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_from: Option<u64>,
    pub export_controlled: bool,
}

/// Status of a whole authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorizationStatus {
    Authorized,
    OutOfCompliance,
    NoLicensesInUse,
}

/// One license of an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseAnswer<'a> {
    pub tag: Cow<'a, str>,
    pub name: Cow<'a, str>,
    pub count: u64,
    pub status: ComplianceStatus,
}

/// Status of one license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComplianceStatus {
    InCompliance,
    OutOfCompliance,
}

/// A new ID certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRenewedAnswer<'a> {
    pub instance: Cow<'a, str>,
    pub number: u64,
    pub certificate: Cow<'a, str>,
}

/// The instance is gone and its licenses are free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeregisteredAnswer<'a> {
    pub instance: Cow<'a, str>,
    pub number: u64,
}

/// Refused, with what to do; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAnswer<'a> {
    pub code: Cow<'a, str>,
    pub title: Cow<'a, str>,
    /// The HTTP status it travels with.
    pub status: u16,
    pub detail: Cow<'a, str>,
    /// The newest request number on record, with `stale-request` and `request-mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}
