//! Central's keys: vendor root, issuing CA, document signer; each key in a file of its own with mode 0600. Issuing CA and
//! signer are numbered, so that others can take over while what the old ones signed stays good.

use super::document::CENTRAL_URI;
use crate::license::Millis;
use crate::pki::ca::{self, Authority, Leaf, Purpose};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::seal::write_secret;
use crate::pki::tls::Identity;
use crate::pki::{PkiError, chain, random};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
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
const ROOT_KEY: &str = "root-key.pem";

/// What central signs with while it runs. The vendor root's key is not among it: it can be kept offline, and is needed
/// only for another issuing CA.
#[derive(Debug)]
pub struct Keys {
    root: Vec<u8>,
    issuing: Authority,
    signer: SigningKey,
    signer_cert: Vec<u8>,
}

impl Keys {
    /// The number of the first issuing CA.
    pub const FIRST: u32 = 1;

    /// Makes all keys in `dir`, which must exist and hold none, and the vendor root's key in the file `root_key`.
    ///
    /// # Errors
    /// When a file is there already or cannot be written.
    pub fn create(dir: &Path, root_key: &Path, name: &str, now: Millis) -> Result<Self, PkiError> {
        let root = Authority::self_signed(&format!("{name} Vendor Root"), ROOT_DAYS, now)?;
        write_secret(root_key, ca::key_pem(root.key_pkcs8()).as_bytes())?;
        write_cert(&dir.join(ROOT_CERT), root.cert_der())?;
        Self::issue(dir, &root, Self::FIRST, name, now)
    }

    /// Makes the issuing CA and the document signer number `number` below `root`, in files of their own: what is in force
    /// stays as it is. Files that an earlier attempt left are replaced.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn issue(dir: &Path, root: &Authority, number: u32, name: &str, now: Millis) -> Result<Self, PkiError> {
        let issuing_key = SigningKey::generate(Algorithm::Es256)?;
        let issuing_name = match number {
            Self::FIRST => format!("{name} Issuing CA"),
            _ => format!("{name} Issuing CA {number}"),
        };
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
            serial: random::bytes(),
            not_before: backdated(now),
            not_after: now.plus(SIGNER_DAYS * Millis::DAY),
        };
        let signer_cert = issuing.issue_leaf(&ca::csr(&signer, &leaf.common_name)?, &leaf)?;
        let files = Files::of(dir, number);
        for path in files.all() {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io("replacing", path, e)),
                _ => {}
            }
        }
        write_cert(&files.issuing_cert, issuing.cert_der())?;
        write_cert(&files.signer_cert, &signer_cert)?;
        // Last: they also make the names of all files durable.
        write_secret(&files.issuing_key, issuing.key_pkcs8())?;
        write_secret(&files.signer_key, &signer.to_pkcs8_der()?)?;
        // An administrator may make them for a service that runs as another user.
        let owner = std::fs::metadata(dir).map_err(|e| io("looking at", dir, e))?;
        for path in files.all() {
            std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
                .map_err(|e| io("giving to its owner", path, e))?;
        }
        Ok(Self { root: root.cert_der().to_vec(), issuing, signer, signer_cert })
    }

    /// Reads the keys in `dir` with the issuing CA number `number`; the root's key is not read.
    ///
    /// # Errors
    /// When a file is missing or unusable.
    pub fn load(dir: &Path, number: u32) -> Result<Self, PkiError> {
        let files = Files::of(dir, number);
        Ok(Self {
            root: read_cert(&dir.join(ROOT_CERT))?,
            issuing: Authority::from_parts(read_cert(&files.issuing_cert)?, read_key(&files.issuing_key)?)?,
            signer: SigningKey::from_pkcs8_der(&read_key(&files.signer_key)?)?,
            signer_cert: read_cert(&files.signer_cert)?,
        })
    }

    /// The vendor root of the central in `dir`, with its key from the file `root_key`.
    ///
    /// # Errors
    /// When the file holds no key, or another one.
    pub fn root_authority(dir: &Path, root_key: &Path) -> Result<Authority, PkiError> {
        let cert = read_cert(&dir.join(ROOT_CERT))?;
        let key = ca::key_from_pem(&read_key(root_key)?)?;
        if ca::certificate_key(&cert)? != SigningKey::from_pkcs8_der(&key)?.public_key() {
            return Err(PkiError::Key("it is not the vendor root's"));
        }
        Authority::from_parts(cert, key)
    }

    /// Whether products and on-prem servers that know the vendor root alone believe these.
    ///
    /// # Errors
    /// When they would not.
    pub fn check(&self, now: Millis) -> Result<(), PkiError> {
        let above = [self.issuing.cert_der().to_vec()];
        chain::verify(&self.signer_cert, &above, std::slice::from_ref(&self.root), now, chain::Use::DocumentSigner)
    }

    /// Removes the private keys number `number`, which nothing needs any more; their certificates stay.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget(dir: &Path, number: u32) -> Result<(), PkiError> {
        let files = Files::of(dir, number);
        for path in [&files.issuing_key, &files.signer_key] {
            std::fs::remove_file(path).map_err(|e| io("removing", path, e))?;
        }
        Ok(())
    }

    /// The issuing CA's certificate, DER.
    #[must_use]
    pub fn issuing(&self) -> &[u8] {
        self.issuing.cert_der()
    }

    /// The file with the vendor root's certificate, which on-prem servers and products import.
    #[must_use]
    pub fn root_file(dir: &Path) -> PathBuf {
        dir.join(ROOT_CERT)
    }

    /// The file with the vendor root's key, unless another one was named.
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
            serial: random::bytes(),
            not_before: backdated(now),
            not_after: now.plus(TLS_DAYS * Millis::DAY),
        };
        let cert = self.issuing.issue_leaf(&ca::csr(&key, &leaf.common_name)?, &leaf)?;
        Ok(Identity { chain: vec![cert, self.issuing.cert_der().to_vec()], key_pkcs8: key.to_pkcs8_der()? })
    }
}

/// The files of one issuing CA and of the document signer below it.
struct Files {
    issuing_cert: PathBuf,
    issuing_key: PathBuf,
    signer_cert: PathBuf,
    signer_key: PathBuf,
}

impl Files {
    fn of(dir: &Path, number: u32) -> Self {
        let file = |what: &str, end: &str| dir.join(format!("{what}-{number}.{end}"));
        Self {
            issuing_cert: file("issuing-ca", "pem"),
            issuing_key: file("issuing-ca", "key"),
            signer_cert: file("signer", "pem"),
            signer_key: file("signer", "key"),
        }
    }

    fn all(&self) -> [&Path; 4] {
        [&self.issuing_cert, &self.issuing_key, &self.signer_cert, &self.signer_key]
    }
}

fn backdated(now: Millis) -> Millis {
    Millis(now.0.saturating_sub(ca::BACKDATE_MS))
}

/// What is first acknowledged after this must still find its certificates after a power cut.
fn write_cert(path: &Path, der: &[u8]) -> Result<(), PkiError> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(ca::certificates_pem([der]).as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| io("writing", path, source))
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
