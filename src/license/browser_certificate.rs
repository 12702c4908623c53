//! The certificate that browsers see when an administrator has brought one.

use super::*;
use serde::{Deserialize, Serialize};

/// One record; without it the cluster CA issues what browsers see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserCertificate {
    pub common_name: String,
    /// The names and addresses in it.
    pub hosts: Vec<String>,
    /// DER, the server's first.
    pub chain: Vec<Vec<u8>>,
    /// Sealed under [`BrowserCertificate::KEY_CONTEXT`].
    pub key: Sealed,
    /// When the first certificate of the chain ends.
    pub not_after: Millis,
    pub imported: Millis,
}

impl BrowserCertificate {
    pub const KEY_CONTEXT: &'static str = "browser tls key";

    /// Whether it ends so soon that somebody should know.
    #[must_use]
    pub fn expiring(&self, now: Millis) -> bool {
        now.plus(SERVER_CERTIFICATE_EXPIRING) >= self.not_after
    }
}

impl State {
    #[must_use]
    pub fn browser_certificate(&self) -> Option<&BrowserCertificate> {
        self.browser_certificate.as_deref()
    }
}
