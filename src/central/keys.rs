//! Central's keys: vendor root, issuing CA, document signer; each key in a file of its own with mode 0600.

use super::document::CENTRAL_URI;
use crate::license::Millis;
use crate::pki::ca::{self, Authority, Leaf, Purpose};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::seal::write_secret;
use crate::pki::tls::Identity;
use crate::pki::{PkiError, random};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Products stay pinned to the root for their whole life.
const ROOT_DAYS: u64 = 30 * 365;
const ISSUING_DAYS: u64 = 20 * 365;
const ACCOUNT_DAYS: u64 = 10 * 365;
const SIGNER_DAYS: u64 = 10 * 365;
/// Of what products see of a server, which asks for another one four months before.
const SERVER_DAYS: u64 = 365;
/// Made afresh at each start and each day, so its life is short.
const TLS_DAYS: u64 = 30;

const ROOT_CERT: &str = "vendor-root.pem";
const ROOT_KEY: &str = "vendor-root.key";
const ISSUING_CERT: &str = "issuing-ca.pem";
const ISSUING_KEY: &str = "issuing-ca.key";
const SIGNER_CERT: &str = "signer.pem";
const SIGNER_KEY: &str = "signer.key";

/// What central signs with while it runs. The vendor root's key is not among it: after `init` it can be kept offline.
#[derive(Debug)]
pub struct Keys {
    root: Vec<u8>,
    issuing: Authority,
    signer: SigningKey,
    signer_cert: Vec<u8>,
}

impl Keys {
    /// Makes all keys in `dir`, which must exist and hold none.
    ///
    /// # Errors
    /// When a file is there already or cannot be written.
    pub fn create(dir: &Path, name: &str, now: Millis) -> Result<Self, PkiError> {
        let root = Authority::self_signed(&format!("{name} Vendor Root"), ROOT_DAYS, now)?;
        let issuing_key = SigningKey::generate(Algorithm::Es256)?;
        let issuing_name = format!("{name} Issuing CA");
        let issuing_csr = ca::csr(&issuing_key, &issuing_name)?;
        // Below it: the account CA, nothing further.
        let issuing_cert = root.issue_ca(&issuing_csr, &issuing_name, now, ISSUING_DAYS, 1)?;
        let issuing = Authority::from_parts(issuing_cert, issuing_key.to_pkcs8_der()?)?;
        let signer = SigningKey::generate(Algorithm::EdDsa)?;
        let leaf = Leaf {
            common_name: format!("{name} Documents"),
            purpose: Purpose::DocumentSigner,
            hosts: Vec::new(),
            uris: vec![CENTRAL_URI.into()],
            crl: None,
            serial: random::bytes(),
            not_before: backdated(now),
            not_after: now.plus(SIGNER_DAYS * Millis::DAY),
        };
        let signer_cert = issuing.issue_leaf(&ca::csr(&signer, &leaf.common_name)?, &leaf)?;

        write_secret(&dir.join(ROOT_KEY), root.key_pkcs8())?;
        write_secret(&dir.join(ISSUING_KEY), issuing.key_pkcs8())?;
        write_secret(&dir.join(SIGNER_KEY), &signer.to_pkcs8_der()?)?;
        for (file, cert) in
            [(ROOT_CERT, root.cert_der()), (ISSUING_CERT, issuing.cert_der()), (SIGNER_CERT, &signer_cert)]
        {
            let pem = ca::certificates_pem([cert]);
            write_durably(&dir.join(file), pem.as_bytes()).map_err(|source| io("writing", &dir.join(file), source))?;
        }
        Ok(Self { root: root.cert_der().to_vec(), issuing, signer, signer_cert })
    }

    /// Reads the keys made in `dir`; the root's key is not read.
    ///
    /// # Errors
    /// When a file is missing or unusable.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let issuing = Authority::from_parts(read_cert(&dir.join(ISSUING_CERT))?, read_key(&dir.join(ISSUING_KEY))?)?;
        Ok(Self {
            root: read_cert(&dir.join(ROOT_CERT))?,
            issuing,
            signer: SigningKey::from_pkcs8_der(&read_key(&dir.join(SIGNER_KEY))?)?,
            signer_cert: read_cert(&dir.join(SIGNER_CERT))?,
        })
    }

    /// The file with the vendor root's certificate, which on-prem servers and products import.
    #[must_use]
    pub fn root_file(dir: &Path) -> PathBuf {
        dir.join(ROOT_CERT)
    }

    /// The file with the vendor root's key.
    #[must_use]
    pub fn root_key_file(dir: &Path) -> PathBuf {
        dir.join(ROOT_KEY)
    }

    /// The vendor root's certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    #[must_use]
    pub fn fingerprint(&self) -> String {
        ca::fingerprint(&self.root)
    }

    /// The key that signs responses, with its chain up to, not including, the root.
    #[must_use]
    pub fn signer(&self) -> (&SigningKey, [&[u8]; 2]) {
        (&self.signer, [&self.signer_cert, self.issuing.cert_der()])
    }

    /// Certifies an account CA; gives account CA, issuing CA, vendor root.
    ///
    /// # Errors
    /// When the request is malformed.
    pub fn certify_account(&self, ca_csr: &[u8], common_name: &str, now: Millis) -> Result<Vec<Vec<u8>>, PkiError> {
        // Path length 0: an account CA certifies products and signers, never another authority.
        let cert = self.issuing.issue_ca(ca_csr, common_name, now, ACCOUNT_DAYS, 0)?;
        Ok(vec![cert, self.issuing.cert_der().to_vec(), self.root.clone()])
    }

    /// Certifies what products see of a server; gives that and the issuing CA.
    ///
    /// # Errors
    /// When the request is malformed, or a host is no name for a certificate.
    pub fn certify_server(
        &self,
        csr: &[u8],
        common_name: &str,
        hosts: &[String],
        now: Millis,
    ) -> Result<Vec<Vec<u8>>, PkiError> {
        let leaf = Leaf {
            common_name: common_name.to_owned(),
            purpose: Purpose::Server,
            hosts: hosts.to_vec(),
            uris: Vec::new(),
            crl: None,
            serial: random::bytes(),
            not_before: backdated(now),
            not_after: now.plus(SERVER_DAYS * Millis::DAY),
        };
        Ok(vec![self.issuing.issue_leaf(csr, &leaf)?, self.issuing.cert_der().to_vec()])
    }

    /// A fresh certificate for central's HTTPS under `hosts` (names or addresses).
    ///
    /// # Errors
    /// When a host is no name for a certificate.
    pub fn tls_identity(&self, hosts: &[String], now: Millis) -> Result<Identity, PkiError> {
        let key = SigningKey::generate(Algorithm::Es256)?;
        let leaf = Leaf {
            common_name: hosts.first().cloned().unwrap_or_else(|| "central".into()),
            purpose: Purpose::Server,
            hosts: hosts.to_vec(),
            uris: Vec::new(),
            crl: None,
            serial: random::bytes(),
            not_before: backdated(now),
            not_after: now.plus(TLS_DAYS * Millis::DAY),
        };
        let cert = self.issuing.issue_leaf(&ca::csr(&key, &leaf.common_name)?, &leaf)?;
        Ok(Identity { chain: vec![cert, self.issuing.cert_der().to_vec()], key_pkcs8: key.to_pkcs8_der()? })
    }
}

fn backdated(now: Millis) -> Millis {
    Millis(now.0.saturating_sub(ca::BACKDATE_MS))
}

/// What is first acknowledged after this must still find its certificates after a power cut.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read_cert(path: &Path) -> Result<Vec<u8>, PkiError> {
    let pem = std::fs::read(path).map_err(|source| io("reading", path, source))?;
    let certs = ca::certificates_from_pem(&pem)?;
    certs.into_iter().next().ok_or_else(|| PkiError::Certificate(format!("{} holds none", path.display())))
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    std::fs::read(path).map(Zeroizing::new).map_err(|source| io("reading", path, source))
}

fn io(what: &str, path: &Path, source: std::io::Error) -> PkiError {
    PkiError::Io { what: format!("{what} {}", path.display()), source }
}
