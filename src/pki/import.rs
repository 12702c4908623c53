//! A certificate that an administrator brings, in PEM (RFC 7468) or PKCS#12 (RFC 7292): read, and checked before it is
//! taken.

use super::{chain, tls};
use crate::license::{MAX_BLOB, MAX_CHAIN, Millis};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm,
};
use p12_keystore::Pkcs12Archive;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

/// A chain with its key that is fit to be shown to browsers.
pub struct Brought {
    pub common_name: String,
    /// The names and addresses in it.
    pub hosts: Vec<String>,
    /// DER, the server's first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, DER.
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    /// When the first certificate of the chain ends.
    pub not_after: Millis,
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Brought({})", self.common_name)
    }
}

/// Why it is not taken, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("the file is neither PEM text with certificates nor PKCS#12 ({0}); give a `.pem` or a `.p12` file")]
    Unreadable(String),
    #[error("the PKCS#12 file does not open with this password ({0}); give its own password")]
    Password(String),
    #[error("the file holds no certificate; give the server's certificate and those of its issuers in one file")]
    NoCertificate,
    #[error("there is no private key; put it into the file, or give its own file")]
    NoKey,
    #[error("there are {0} private keys; leave the one of the server's certificate")]
    ManyKeys(usize),
    #[error("the private key is encrypted; decrypt it with `openssl pkey`, or give a PKCS#12 file and its password")]
    EncryptedKey,
    #[error(
        "the private key is of a kind that cannot be used here ({0}); use RSA of 2048 bits or more, ECDSA or Ed25519"
    )]
    BadKey(String),
    #[error("the private key is not that of the first certificate, {0}; give the key that it was requested with")]
    OtherKey(String),
    #[error(
        "the private key is that of certificate {place}, {name}; put the server's certificate first, then each one's issuer"
    )]
    LeafNotFirst { place: usize, name: String },
    #[error(
        "certificate {place}, {issuer}, has not issued the one before it, {name}; put each one's issuer right after it"
    )]
    Order { place: usize, name: String, issuer: String },
    #[error("the issuer of {name}, {issuer}, is not in the file; add its certificate after the server's")]
    Incomplete { name: String, issuer: String },
    #[error(
        "there are {0} certificates in the chain, and at most {MAX_CHAIN} are taken; leave out what is not its issuer"
    )]
    TooMany(usize),
    #[error("{0} has more than {MAX_BLOB} bytes; no browser needs one so large")]
    TooLarge(&'static str),
    #[error("{name} ended on {date}; give one that is in force")]
    Ended { name: String, date: String },
    #[error("{name} is in force from {date} on only; import it then, or set the clock")]
    Early { name: String, date: String },
    #[error(
        "the certificate does not cover {missing}, by which browsers reach this server; it covers {covered}. Request one with that name"
    )]
    Name { missing: String, covered: String },
    #[error("the chain does not hold ({0}); give the server's certificate with those that have issued it")]
    Chain(String),
}

/// The curves of ECDSA keys that TLS knows (RFC 8446, section 4.2.3).
const CURVES: [&EcdsaSigningAlgorithm; 3] =
    [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1_SIGNING];

/// A chain and its key, PKCS#8.
type Pair = (Vec<Vec<u8>>, Zeroizing<Vec<u8>>);
type Result<T> = std::result::Result<T, ImportError>;

/// Reads and checks what an administrator brings for a server that browsers reach by `names`. `key` is the file of the key
/// where `file` has none.
///
/// # Errors
/// When anything of it is not as it must be; the error says what, and what to do.
pub fn brought(file: &[u8], key: Option<&[u8]>, password: &str, names: &[String], now: Millis) -> Result<Brought> {
    let (chain, key) = match file.windows(10).any(|text| text == b"-----BEGIN") {
        true => (pem_certificates(file)?, pem_key(key.unwrap_or(file))?),
        false => pkcs12(file, password)?,
    };
    check(chain, key, names, now)
}

fn pem_certificates(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let read = CertificateDer::pem_slice_iter(file).map(|der| der.map(|der| der.to_vec()));
    let certificates: Vec<_> =
        read.collect::<std::result::Result<_, _>>().map_err(|e| ImportError::Unreadable(e.to_string()))?;
    if certificates.is_empty() { Err(ImportError::NoCertificate) } else { Ok(certificates) }
}

fn pem_key(file: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let text = String::from_utf8_lossy(file);
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ImportError::EncryptedKey);
    }
    let keys = PrivateKeyDer::pem_slice_iter(file).collect::<std::result::Result<Vec<_>, _>>();
    let keys = keys.map_err(|e| ImportError::Unreadable(e.to_string()))?;
    one(keys.iter().map(pkcs8).collect::<Result<_>>()?)
}

/// A key in its older forms, PKCS#1 and SEC 1, as PKCS#8.
fn pkcs8(key: &PrivateKeyDer<'_>) -> Result<Zeroizing<Vec<u8>>> {
    let bad = |error: &dyn std::fmt::Display| ImportError::BadKey(error.to_string());
    match key {
        PrivateKeyDer::Pkcs1(key) => {
            let pair = rsa::KeyPair::from_der(key.secret_pkcs1_der()).map_err(|error| bad(&error))?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|error| bad(&error))?;
            Ok(Zeroizing::new(der.as_ref().to_vec()))
        }
        PrivateKeyDer::Sec1(key) => {
            let read = |curve| EcdsaKeyPair::from_private_key_der(curve, key.secret_sec1_der()).ok();
            let pair = CURVES.into_iter().find_map(read).ok_or_else(|| bad(&"an unknown curve"))?;
            Ok(Zeroizing::new(pair.to_pkcs8v1().map_err(|error| bad(&error))?.as_ref().to_vec()))
        }
        other => Ok(Zeroizing::new(other.secret_der().to_vec())),
    }
}

fn one(mut keys: Vec<Zeroizing<Vec<u8>>>) -> Result<Zeroizing<Vec<u8>>> {
    match keys.len() {
        0 => Err(ImportError::NoKey),
        1 => Ok(keys.remove(0)),
        many => Err(ImportError::ManyKeys(many)),
    }
}

/// The certificates of such a file have no order: the one of the key comes first, then each one's issuer.
fn pkcs12(file: &[u8], password: &str) -> Result<Pair> {
    let archive = Pkcs12Archive::from_pkcs12(file, password).map_err(|error| match error {
        p12_keystore::error::Error::DerError(_) | p12_keystore::error::Error::InvalidVersion => {
            ImportError::Unreadable(error.to_string())
        }
        other => ImportError::Password(other.to_string()),
    })?;
    let key = one(archive.keys.iter().map(|bag| Zeroizing::new(bag.key.as_der().to_vec())).collect())?;
    let mut left: Vec<Vec<u8>> = archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
    let public = public_key(&key)?;
    let mut chain: Vec<Vec<u8>> = Vec::new();
    while let Some(at) = left.iter().position(|der| match (chain.last(), parse(der)) {
        (None, Ok(cert)) => cert.public_key().raw == public,
        (Some(below), Ok(cert)) => parse(below).is_ok_and(|below| below.issuer().as_raw() == cert.subject().as_raw()),
        _ => false,
    }) {
        chain.push(left.remove(at));
    }
    match (chain.is_empty(), left.first()) {
        (true, Some(other)) => Err(ImportError::OtherKey(name(&parse(other)?))),
        (true, None) => Err(ImportError::NoCertificate),
        (false, _) => Ok((chain, key)),
    }
}

fn check(chain: Vec<Vec<u8>>, key: Zeroizing<Vec<u8>>, names: &[String], now: Millis) -> Result<Brought> {
    if chain.len() > MAX_CHAIN {
        return Err(ImportError::TooMany(chain.len()));
    }
    for (what, der) in chain.iter().map(|der| ("a certificate", der)).chain([("the private key", &*key)]) {
        if der.len() > MAX_BLOB {
            return Err(ImportError::TooLarge(what));
        }
    }
    let parsed = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>>>()?;
    check_key(&parsed, &key)?;
    check_order(&parsed)?;
    let leaf = parsed.first().ok_or(ImportError::NoCertificate)?;
    for certificate in &parsed {
        check_dates(certificate, now)?;
    }
    check_names(&chain[0], leaf, names)?;
    // Signatures and what the certificates are for; the last one is trusted, since browsers know its issuer or itself.
    let (last, middle) = (&chain[chain.len() - 1], chain.get(1..chain.len() - 1).unwrap_or_default());
    chain::verify(&chain[0], middle, std::slice::from_ref(last), now, chain::Use::Server)
        .map_err(|error| ImportError::Chain(error.to_string()))?;
    let not_after = parsed.iter().map(|c| milliseconds(c.validity().not_after.timestamp())).min().unwrap_or_default();
    let (common_name, hosts) = (name(leaf), hosts(leaf));
    Ok(Brought { common_name, hosts, key_pkcs8: key, not_after, chain })
}

fn check_key(parsed: &[X509Certificate<'_>], key: &[u8]) -> Result<()> {
    let public = public_key(key)?;
    match parsed.iter().position(|certificate| certificate.public_key().raw == public) {
        Some(0) => Ok(()),
        Some(place) => Err(ImportError::LeafNotFirst { place: place + 1, name: name(&parsed[place]) }),
        None => Err(ImportError::OtherKey(parsed.first().map(name).unwrap_or_default())),
    }
}

fn check_order(parsed: &[X509Certificate<'_>]) -> Result<()> {
    for (place, pair) in parsed.windows(2).enumerate() {
        if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
            let (name, issuer) = (name(&pair[0]), name(&pair[1]));
            return Err(ImportError::Order { place: place + 2, name, issuer });
        }
    }
    match parsed {
        [alone] if alone.issuer().as_raw() != alone.subject().as_raw() => {
            Err(ImportError::Incomplete { name: name(alone), issuer: alone.issuer().to_string() })
        }
        _ => Ok(()),
    }
}

fn check_dates(certificate: &X509Certificate<'_>, now: Millis) -> Result<()> {
    let validity = certificate.validity();
    let date = |at: x509_parser::time::ASN1Time| at.to_datetime().date().to_string();
    if now >= milliseconds(validity.not_after.timestamp()) {
        return Err(ImportError::Ended { name: name(certificate), date: date(validity.not_after) });
    }
    if now < milliseconds(validity.not_before.timestamp()) {
        return Err(ImportError::Early { name: name(certificate), date: date(validity.not_before) });
    }
    Ok(())
}

/// Whether a certificate is for this host name or address.
#[must_use]
pub fn covers(der: &[u8], name: &str) -> bool {
    let der = CertificateDer::from(der);
    let (certificate, name) = (EndEntityCert::try_from(&der), ServerName::try_from(name));
    certificate.is_ok_and(|c| name.is_ok_and(|name| c.verify_is_valid_for_subject_name(&name).is_ok()))
}

fn check_names(der: &[u8], leaf: &X509Certificate<'_>, names: &[String]) -> Result<()> {
    match names.iter().find(|wanted| !covers(der, wanted)) {
        None => Ok(()),
        Some(missing) => {
            let covered = hosts(leaf).join(", ");
            let covered = if covered.is_empty() { "no name at all".to_owned() } else { covered };
            Err(ImportError::Name { missing: missing.clone(), covered })
        }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
    let parsed = x509_parser::parse_x509_certificate(der);
    parsed.map(|(_, certificate)| certificate).map_err(|error| ImportError::Unreadable(error.to_string()))
}

/// The SubjectPublicKeyInfo of a private key, DER.
fn public_key(key: &[u8]) -> Result<Vec<u8>> {
    let bad = |error: &dyn std::fmt::Display| ImportError::BadKey(error.to_string());
    let key = PrivateKeyDer::try_from(key).map_err(|error| bad(&error))?.clone_key();
    let key = tls::provider().key_provider.load_private_key(key).map_err(|error| bad(&error))?;
    let public = key.public_key().ok_or_else(|| bad(&"its public key is not known"))?;
    Ok(public.to_vec())
}

/// The common name, or the whole subject where there is none.
fn name(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject();
    let common = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    let name = common.map_or_else(|| subject.to_string(), str::to_owned);
    if name.is_empty() { "a certificate without a subject".to_owned() } else { name }
}

/// DNS names and addresses in the subjectAltName.
fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    names.iter().filter_map(host).collect()
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn milliseconds(seconds: i64) -> Millis {
    Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}

#[cfg(test)]
mod tests;
