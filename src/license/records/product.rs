//! Tokens, and the product instances that registered with them.

use super::*;

/// A registration token. The token itself is stored sealed (for display) and hashed (for look-up).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub va: VirtualAccountId,
    pub hash: Digest32,
    pub sealed: Sealed,
    pub description: String,
    pub created: Millis,
    pub expires: Millis,
    /// 0: unlimited.
    pub max_uses: u64,
    pub uses: u64,
    pub export_controlled: bool,
    pub revoked: bool,
    pub created_by: String,
}

impl Token {
    /// What a token is sealed for (the context of `pki::seal`).
    pub const CONTEXT: &str = "registration token";
}

/// Unique device identity: product id and serial number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Udi {
    pub pid: String,
    pub sn: String,
}

/// One more device of a product that is a cluster itself and registers once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub udi: Arc<Udi>,
    /// None: the product asked not to share it.
    pub host_name: Option<Arc<str>>,
}

/// What is kept of an issued ID certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdCertificate {
    /// X.509 serial number, 16 random bytes made by the leader.
    pub serial: [u8; 16],
    /// SHA-256 of the certified SubjectPublicKeyInfo.
    pub key_hash: Digest32,
    pub not_before: Millis,
    pub not_after: Millis,
}

/// The last numbered request of an instance with its outcome, so that a lost answer can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRequest {
    pub number: u64,
    /// SHA-256 of the request payload: the same number with another payload is refused.
    pub digest: Digest32,
    /// State time of the first answer; with the usage it names every date in it.
    pub at: Millis,
    pub answer: LastAnswer,
}

/// What was answered, as compactly as it can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastAnswer {
    Authorized {
        /// Bit n is set when the nth license of the usage was not covered
        /// (at most [`crate::license::MAX_LICENSES_PER_INSTANCE`] = 64).
        uncovered: u64,
        enforce_from: Option<Millis>,
    },
    CertificateRenewed,
    Refused(Box<Refusal>),
}

/// A product instance. Texts that never change are shared, so that a new version of the record is a cheap copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub va: VirtualAccountId,
    pub udi: Arc<Udi>,
    /// None: the product asked not to share it.
    pub host_name: Option<Arc<str>>,
    pub product_type: Arc<str>,
    pub software_version: Arc<str>,
    pub registered: Millis,
    pub last_contact: Millis,
    pub certificate: IdCertificate,
    /// Registered with this token: a repeated registration with the same token and key gets the same instance.
    pub token: TokenId,
    pub export_controlled: bool,
    /// (license, count), sorted by license, no zero counts; at most [`crate::license::MAX_LICENSES_PER_INSTANCE`].
    pub usage: Arc<[(LicenseId, u64)]>,
    /// None before the first authorization.
    pub authorized_until: Option<Millis>,
    pub last_request: Option<LastRequest>,
    /// Further devices, at most [`crate::license::MAX_DEVICES`]; None for the many that are one device.
    pub devices: Option<Arc<[Device]>>,
}

impl Instance {
    /// The further devices that it registered for.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        self.devices.as_deref().unwrap_or_default()
    }

    /// The identities of all its devices, its own first.
    pub fn udis(&self) -> impl Iterator<Item = &Arc<Udi>> {
        std::iter::once(&self.udi).chain(self.devices().iter().map(|d| &d.udi))
    }

    /// When its authorization and the grace after it have passed without contact.
    #[must_use]
    pub fn lapses_at(&self) -> Millis {
        self.last_contact.plus(AUTHORIZATION_LIFE + LAPSE_GRACE)
    }

    /// The first whole day (since the epoch) after [`Self::lapses_at`]: when it is released.
    pub(in crate::license) fn lapse_day(&self) -> u64 {
        self.lapses_at().0 / Millis::DAY + 1
    }

    /// The day on which its ID certificate ends.
    pub(in crate::license) const fn certificate_day(&self) -> u64 {
        self.certificate.not_after.0 / Millis::DAY
    }

    /// The day on which it is released or its certificate ends, unless it renews.
    pub(in crate::license) fn lost_day(&self) -> u64 {
        self.lapse_day().min(self.certificate_day())
    }
}
