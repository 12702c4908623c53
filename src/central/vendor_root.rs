//! The pinned trust anchor: the vendor root, imported from a file and never fetched.

use crate::pki::{PkiError, ca};
use std::path::Path;

/// The vendor's root certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorRoot {
    der: Vec<u8>,
}

impl VendorRoot {
    /// # Errors
    /// When `pem` does not hold exactly one certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PkiError> {
        let certificates = ca::certificates_from_pem(pem)?;
        let [der] = certificates.as_slice() else {
            let why = "the vendor root's file must hold one certificate, the root itself";
            return Err(PkiError::Certificate(why.into()));
        };
        ca::certificate_key(der)?;
        Ok(Self { der: der.clone() })
    }

    /// # Errors
    /// When the file cannot be read or is no such certificate.
    pub fn from_file(path: &Path) -> Result<Self, PkiError> {
        let what = || format!("reading the vendor root {}", path.display());
        Self::from_pem(&std::fs::read(path).map_err(|source| PkiError::Io { what: what(), source })?)
    }

    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    #[must_use]
    pub fn pem(&self) -> String {
        ca::certificates_pem([self.der.as_slice()])
    }

    /// What an operator compares with what the vendor published.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        ca::fingerprint(&self.der)
    }
}
