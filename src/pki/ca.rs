//! Certificate authorities (X.509, RFC 5280): the vendor root, central's issuing CA, account CAs and the cluster CA
//! are all an [`Authority`].

use super::PkiError;
use super::jws::{Algorithm, SigningKey};
use crate::license::{Millis, Revocation, RevocationList, RevocationReason};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::Validity;
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

/// id-kp-documentSigning (RFC 9336), as arcs and as DER content: what answers and documents are signed for.
const DOCUMENT_SIGNING_ARCS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 36];
pub(super) const DOCUMENT_SIGNING_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 36];

/// Certificates are dated five minutes back, so that a slightly slow clock accepts them at once.
pub const BACKDATE_MS: u64 = 5 * Millis::MINUTE;

/// What an end-entity certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A server that browsers and products connect to.
    Server,
    /// A client (a product instance, an administrator).
    Client,
    /// A cluster node: both ends of mTLS.
    Node,
    /// Signs answers or documents.
    DocumentSigner,
}

/// An end-entity certificate to issue. Names come from here, never from the request: the issuer decides them.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub common_name: String,
    pub purpose: Purpose,
    /// DNS names and IP addresses for the subjectAltName.
    pub hosts: Vec<String>,
    /// URIs for the subjectAltName.
    pub uris: Vec<String>,
    /// Where the issuer's revocation list is found.
    pub crl: Option<String>,
    pub serial: [u8; 16],
    pub not_before: Millis,
    pub not_after: Millis,
}

/// A certificate with its private key that may issue others.
pub struct Authority {
    cert_der: Vec<u8>,
    key_pkcs8: Zeroizing<Vec<u8>>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new self-signed root with a fresh P-256 key.
    ///
    /// # Errors
    /// When the name is not allowed in a certificate.
    pub fn self_signed(common_name: &str, valid_days: u64, now: Millis) -> Result<Self, PkiError> {
        let key_pkcs8 = SigningKey::generate(Algorithm::Es256)?.to_pkcs8_der()?;
        let key = key_pair(&key_pkcs8)?;
        let params = ca_params(common_name, super::random::bytes(), now, valid_days, None)?;
        let cert = params.self_signed(&key).map_err(cert_error)?;
        Self::from_parts(cert.der().to_vec(), key_pkcs8)
    }

    /// From a stored certificate (DER) and key (PKCS#8 DER).
    ///
    /// # Errors
    /// When either does not parse.
    pub fn from_parts(cert_der: Vec<u8>, key_pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(cert_der.as_slice()), key_pair(&key_pkcs8)?)
            .map_err(cert_error)?;
        Ok(Self { cert_der, key_pkcs8, issuer })
    }

    #[must_use]
    pub fn cert_der(&self) -> &[u8] {
        &self.cert_der
    }

    #[must_use]
    pub fn key_pkcs8(&self) -> &[u8] {
        &self.key_pkcs8
    }

    /// Certifies a subordinate CA from its PKCS#10 request (RFC 2986); the request must be self-signed correctly.
    ///
    /// # Errors
    /// When the request is malformed or its signature wrong.
    pub fn issue_ca(
        &self,
        csr_der: &[u8],
        common_name: &str,
        now: Millis,
        valid_days: u64,
        path_len: u8,
    ) -> Result<Vec<u8>, PkiError> {
        let csr = parse_csr(csr_der)?;
        let params = ca_params(common_name, super::random::bytes(), now, valid_days, Some(path_len))?;
        Ok(params.signed_by(&csr.public_key, &self.issuer).map_err(cert_error)?.der().to_vec())
    }

    /// Certifies an end entity from its PKCS#10 request; everything but the key comes from `leaf`.
    /// With an Ed25519 authority the result is the same bytes every time.
    ///
    /// # Errors
    /// When the request is malformed, its signature wrong, or a name in `leaf` not allowed.
    pub fn issue_leaf(&self, csr_der: &[u8], leaf: &Leaf) -> Result<Vec<u8>, PkiError> {
        let csr = parse_csr(csr_der)?;
        let params = leaf_params(leaf)?;
        Ok(params.signed_by(&csr.public_key, &self.issuer).map_err(cert_error)?.der().to_vec())
    }

    /// Signs a list of revoked certificates (RFC 5280, section 5), DER. With an Ed25519 authority it is the same bytes
    /// every time.
    ///
    /// # Errors
    /// When a date is out of range.
    pub fn issue_crl<'a>(
        &self,
        list: RevocationList,
        revoked: impl Iterator<Item = &'a Revocation>,
    ) -> Result<Vec<u8>, PkiError> {
        let entry = |revoked: &Revocation| {
            Ok::<_, PkiError>(RevokedCertParams {
                serial_number: positive(revoked.serial),
                revocation_time: date(revoked.at)?,
                reason_code: Some(reason_code(revoked.reason)),
                invalidity_date: None,
            })
        };
        let params = CertificateRevocationListParams {
            this_update: date(list.issued)?,
            next_update: date(list.next_update())?,
            crl_number: SerialNumber::from(list.number),
            issuing_distribution_point: None,
            revoked_certs: revoked.map(entry).collect::<Result<_, _>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer).map_err(cert_error)?.der().to_vec())
    }
}

/// When a certificate begins.
///
/// # Errors
/// When it does not parse.
pub fn not_before(cert_der: &[u8]) -> Result<Millis, PkiError> {
    validity(cert_der).map(|validity| millis(validity.not_before))
}

/// When a certificate ends.
///
/// # Errors
/// When it does not parse.
pub fn not_after(cert_der: &[u8]) -> Result<Millis, PkiError> {
    validity(cert_der).map(|validity| millis(validity.not_after))
}

fn validity(cert_der: &[u8]) -> Result<Validity, PkiError> {
    let (_, cert) = x509_parser::parse_x509_certificate(cert_der).map_err(|e| PkiError::Certificate(e.to_string()))?;
    Ok(cert.validity().clone())
}

fn millis(time: ASN1Time) -> Millis {
    Millis(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1_000))
}

/// Makes a PKCS#10 request for `key`.
///
/// # Errors
/// When the name is not allowed.
pub fn csr(key: &SigningKey, common_name: &str) -> Result<Vec<u8>, PkiError> {
    let key = key_pair(&key.to_pkcs8_der()?)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    Ok(params.serialize_request(&key).map_err(cert_error)?.der().to_vec())
}

/// The public key of a PKCS#10 request, after its signature is checked.
///
/// # Errors
/// When the request is malformed, wrongly signed, or has a kind of key we do not take.
pub fn csr_public_key(csr_der: &[u8]) -> Result<super::jws::PublicKey, PkiError> {
    use rcgen::PublicKeyData;
    super::jws::PublicKey::from_spki_der(&parse_csr(csr_der)?.public_key.subject_public_key_info())
}

/// PEM (RFC 7468) of certificates, in the order given.
#[must_use]
pub fn certificates_pem<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut pem = String::new();
    ders.into_iter().for_each(|der| push_pem(&mut pem, "CERTIFICATE", der));
    pem
}

/// PEM (RFC 7468, section 10) of a private key in PKCS#8.
#[must_use]
pub fn key_pem(pkcs8: &[u8]) -> Zeroizing<String> {
    // Never moved while it grows: what is left behind would not be cleared.
    let mut pem = Zeroizing::new(String::with_capacity(2 * pkcs8.len() + 128));
    push_pem(&mut pem, "PRIVATE KEY", pkcs8);
    pem
}

/// PEM of a certificate with its private key in PKCS#8: what `--identity` takes.
#[must_use]
pub fn identity_pem(certificate: &[u8], pkcs8: &[u8]) -> Zeroizing<String> {
    let mut pem = Zeroizing::new(String::with_capacity(2 * (certificate.len() + pkcs8.len()) + 256));
    push_pem(&mut pem, "CERTIFICATE", certificate);
    push_pem(&mut pem, "PRIVATE KEY", pkcs8);
    pem
}

/// The private key of a PEM file, as PKCS#8 DER.
///
/// # Errors
/// When there is none or it is broken.
pub fn key_from_pem(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    use rustls_pki_types::pem::PemObject;
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem);
    let key = key.map_err(|_| PkiError::Key("expected a PRIVATE KEY in PEM (RFC 7468, section 10)"))?;
    Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}

fn push_pem(pem: &mut String, label: &str, der: &[u8]) {
    use base64::Engine;
    let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(der));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
}

/// The certificates of a PEM file, as DER.
///
/// # Errors
/// When there is none or one is broken.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, PkiError> {
    use rustls_pki_types::pem::PemObject;
    let certs = CertificateDer::pem_slice_iter(pem)
        .map(|c| c.map(|c| c.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| PkiError::Certificate(e.to_string()))?;
    if certs.is_empty() {
        return Err(PkiError::Certificate("the PEM text holds no certificate".into()));
    }
    Ok(certs)
}

/// SHA-256 fingerprint of a certificate as people compare it: `AB:CD:…`.
#[must_use]
pub fn fingerprint(cert_der: &[u8]) -> String {
    let bytes: Vec<String> = super::sha256(cert_der).iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

/// The public key of a certificate.
///
/// # Errors
/// When it does not parse or has a kind of key we do not take.
pub fn certificate_key(cert_der: &[u8]) -> Result<super::jws::PublicKey, PkiError> {
    let (_, cert) = x509_parser::parse_x509_certificate(cert_der).map_err(|e| PkiError::Certificate(e.to_string()))?;
    super::jws::PublicKey::from_spki_der(cert.public_key().raw)
}

fn cert_error(e: rcgen::Error) -> PkiError {
    PkiError::Certificate(e.to_string())
}

fn key_pair(pkcs8: &[u8]) -> Result<KeyPair, PkiError> {
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(|_| PkiError::Key("expected PKCS#8 for a certificate"))
}

fn parse_csr(der: &[u8]) -> Result<CertificateSigningRequestParams, PkiError> {
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der)).map_err(cert_error)
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn date(at: Millis) -> Result<time::OffsetDateTime, PkiError> {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| PkiError::Certificate("a date is beyond the year 9999".into()))
}

fn ca_params(
    common_name: &str,
    serial: [u8; 16],
    now: Millis,
    valid_days: u64,
    path_len: Option<u8>,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.serial_number = Some(positive(serial));
    params.not_before = date(Millis(now.0.saturating_sub(BACKDATE_MS)))?;
    params.not_after = date(now.plus(valid_days * Millis::DAY))?;
    params.is_ca = IsCa::Ca(path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn leaf_params(leaf: &Leaf) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(leaf.hosts.clone()).map_err(cert_error)?;
    for uri in &leaf.uris {
        let uri = uri.clone().try_into().map_err(cert_error)?;
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params.distinguished_name = name(&leaf.common_name);
    params.serial_number = Some(positive(leaf.serial));
    params.not_before = date(leaf.not_before)?;
    params.not_after = date(leaf.not_after)?;
    params.crl_distribution_points =
        leaf.crl.iter().map(|url| CrlDistributionPoint { uris: vec![url.clone()] }).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match leaf.purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::DocumentSigner => vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING_ARCS.to_vec())],
    };
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

const fn reason_code(reason: RevocationReason) -> rcgen::RevocationReason {
    match reason {
        RevocationReason::Superseded => rcgen::RevocationReason::Superseded,
        RevocationReason::CessationOfOperation => rcgen::RevocationReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn => rcgen::RevocationReason::PrivilegeWithdrawn,
    }
}

/// RFC 5280, 4.1.2.2: a serial number is a positive integer.
fn positive(mut serial: [u8; 16]) -> SerialNumber {
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}
