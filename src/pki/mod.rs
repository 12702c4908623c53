//! Keys, certificates, signatures, sealing and TLS: everything that must be right for anything to be trusted.

pub mod ca;
pub mod chain;
pub mod import;
pub mod jws;
pub mod pairing;
pub mod passwords;
pub mod random;
pub mod seal;
pub mod tls;
pub mod totp;

/// What can go wrong with keys and certificates. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key could not be read; says which form was expected.
    #[error("not a usable private key: {0}")]
    Key(&'static str),
    /// A public key of a kind we do not take.
    #[error("not a usable public key: {0}")]
    PublicKey(&'static str),
    /// A certificate or request that does not parse or is not allowed.
    #[error("not a usable certificate or request: {0}")]
    Certificate(String),
    /// The chain does not lead to a trusted root, or is out of date, or not made for this use.
    #[error("the certificate is not trusted: {0}")]
    Untrusted(String),
    /// A signature that does not match, or a document that is not a JWS.
    #[error("{0}")]
    Signature(String),
    /// A sealed secret that does not open: another sealing key, another context, or damage.
    #[error(
        "a sealed secret ({context}) does not open with this node's sealing key; was the node provisioned into this cluster?"
    )]
    Sealed { context: String },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("TLS set-up failed: {0}")]
    Tls(String),
}

/// SHA-256 of `data` (FIPS 180-4).
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// Whether two secrets are equal, in time that does not depend on where they differ.
#[must_use]
pub fn equal_secrets(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}
