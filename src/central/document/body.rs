//! What the documents say.

use crate::license::{Billing, Digest32, Entitlement, LIVES, Millis, RESTORE_MARK_SHIFT, Term};
use crate::pki::jws::Jwk;
use crate::pki::sha256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// SHA-256 of a payload; hex in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub Digest32);

impl Digest {
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self(sha256(payload))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut out = [0; 32];
        hex::decode_to_slice(String::deserialize(d)?, &mut out).map_err(D::Error::custom)?;
        Ok(Self(out))
    }
}

/// DER; standard base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&B64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        B64.decode(String::deserialize(d)?).map(Self).map_err(D::Error::custom)
    }
}

/// One life of an on-prem server: raised at teardown, promote and restore, so that copies tell themselves apart.
/// A restore also changes the mark above the lowest 32 bits of the incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    pub incarnation: u64,
    /// When this life began, in the server's own time, milliseconds.
    pub since: u64,
}

impl Life {
    /// Which restored backup it goes back to; 0: none.
    #[must_use]
    pub const fn restore_mark(self) -> u64 {
        self.incarnation >> RESTORE_MARK_SHIFT
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "incarnation {} since {}", self.incarnation & LIVES, self.since)?;
        // Short: a refusal that names two lives is kept whole (MAX_TEXT).
        f.write_str(if self.restore_mark() == 0 { "" } else { " (restored)" })
    }
}

/// Asks central to certify a new local account and to bind it to an upstream virtual account. Signed by the account
/// CA key, whose possession the PKCS#10 request proves as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationRequest {
    pub version: u32,
    /// Unique and unpredictable.
    pub id: String,
    pub server: String,
    pub life: Life,
    pub account: String,
    pub smart_account: String,
    pub virtual_account: String,
    pub requested_by: String,
    /// When the account was approved, milliseconds.
    pub time: u64,
    /// PKCS#10 of the account CA.
    pub ca_csr: Der,
    /// The key that signs the account's later requests.
    pub signer_key: Jwk,
}

/// Central's answer: the certified account CA and what was purchased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationResponse {
    pub version: u32,
    /// Digest of the request's payload.
    pub request: Digest,
    pub server: String,
    pub account: String,
    pub smart_account_id: u64,
    pub virtual_account_id: u64,
    /// Account CA, issuing CA, vendor root.
    pub ca_chain: Vec<Der>,
    pub entitlements: Vec<LicenseTerms>,
    /// Central's time, milliseconds.
    pub time: u64,
}

/// What an account uses, frozen at `cut`. Signed by the account's signer key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    pub version: u32,
    pub server: String,
    pub life: Life,
    pub account: String,
    /// Counts up by one; repeated only with the same payload.
    pub seq: u64,
    /// Digest of the payload of the last response that was applied.
    pub previous: Digest,
    /// State time of what follows, milliseconds.
    pub cut: u64,
    pub instances: u64,
    /// Sorted by tag.
    pub usage: Vec<TagUsage>,
    /// A certificate for the products' ports of the server, to be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateRequest>,
    /// The account ends with this: it is empty, and nothing follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closing: bool,
}

/// What products see of the server. The names count, not what the PKCS#10 request says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    pub common_name: String,
    /// Names and addresses, the common name among them.
    pub hosts: Vec<String>,
    /// PKCS#10 (RFC 2986).
    pub csr: Der,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagUsage {
    pub tag: String,
    pub in_use: u64,
    /// Borrowed by substitution or, below zero, lent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub substitution: i64,
}

// By reference, as serde calls it.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// Central's answer: all that is purchased now; it replaces what was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncResponse {
    pub version: u32,
    /// Digest of the request's payload.
    pub request: Digest,
    pub server: String,
    pub account: String,
    pub seq: u64,
    pub entitlements: Vec<LicenseTerms>,
    /// The certificate that was asked for, and the issuing CA's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate: Vec<Der>,
    /// Central's time, milliseconds.
    pub time: u64,
}

/// One license of the catalog with what was purchased of it; no terms: nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenseTerms {
    pub tag: String,
    pub name: String,
    pub export_controlled: bool,
    pub terms: Vec<TermTerms>,
    /// Tags of the licenses whose spare ones cover what lacks of this one, the preferred first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered_by: Vec<String>,
}

impl LicenseTerms {
    /// Purchased in all, whenever it counts.
    #[must_use]
    pub fn purchased(&self) -> u64 {
        self.terms.iter().map(|term| term.quantity).sum()
    }

    /// What was purchased, as people read it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let terms = self.terms.iter().map(|term| match term.end {
            None => format!("{} perpetual", term.quantity),
            Some(end) => format!("{} until {}", term.quantity, last_day(end)),
        });
        match terms.collect::<Vec<_>>().join(", ") {
            nothing if nothing.is_empty() => "nothing".into(),
            terms => terms,
        }
    }
}

/// The last day before `end`, in UTC.
fn last_day(end: u64) -> String {
    let moment = i64::try_from(end.saturating_sub(1)).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| end.to_string(), |moment| moment.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermTerms {
    pub quantity: u64,
    pub start: u64,
    pub end: Option<u64>,
    pub billing: BillingKind,
}

/// [`Billing`] by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BillingKind {
    Prepaid,
    Usage,
}

impl From<LicenseTerms> for Entitlement {
    fn from(license: LicenseTerms) -> Self {
        let term = |t: TermTerms| Term {
            quantity: t.quantity,
            start: Millis(t.start),
            end: t.end.map(Millis),
            billing: match t.billing {
                BillingKind::Prepaid => Billing::Prepaid,
                BillingKind::Usage => Billing::Usage,
            },
        };
        Self {
            tag: license.tag,
            name: license.name,
            export_controlled: license.export_controlled,
            terms: license.terms.into_iter().map(term).collect(),
            covered_by: license.covered_by,
        }
    }
}

/// What can be the payload of a document.
pub trait Body: Serialize + DeserializeOwned {
    /// The `typ` of the protected header.
    const TYP: &'static str;
    fn version(&self) -> u32;
}

macro_rules! body {
    ($($name:ident = $typ:literal),* $(,)?) => {$(
        impl Body for $name {
            const TYP: &'static str = $typ;
            fn version(&self) -> u32 {
                self.version
            }
        }
    )*};
}
body! {
    RegistrationRequest = "licraft-account-registration-request",
    RegistrationResponse = "licraft-account-registration-response",
    SyncRequest = "licraft-sync-request",
    SyncResponse = "licraft-sync-response",
}

/// A response has an audience: the account and the request it answers.
pub trait Response: Body {
    fn audience(&self) -> (&str, &str);
    fn request(&self) -> Digest;
}

impl Response for RegistrationResponse {
    fn audience(&self) -> (&str, &str) {
        (&self.server, &self.account)
    }
    fn request(&self) -> Digest {
        self.request
    }
}

impl Response for SyncResponse {
    fn audience(&self) -> (&str, &str) {
        (&self.server, &self.account)
    }
    fn request(&self) -> Digest {
        self.request
    }
}
