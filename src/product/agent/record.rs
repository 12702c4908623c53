//! What an agent keeps on disk: one JSON file replaced as a whole, and its keys.

use super::AgentError;
use super::trust::{RootPin, Trust};
use crate::license::Millis;
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::seal::write_secret;
use crate::product::message::{AuthorizationStatus, AuthorizedAnswer, ComplianceStatus, DeviceMember, LicenseCount};
use fs4::{FileExt, TryLockError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use url::Url;

const RECORD: &str = "agent.json";
const KEY: &str = "key.pk8";
/// The key of a renewal under way; it takes the place of `KEY` when the server has certified it.
const NEXT_KEY: &str = "key-next.pk8";
const LOCK: &str = "lock";
/// The form of the record; another one is refused rather than misread.
const FORMAT: u32 = 1;

/// Where the server is and what is trusted. A value given replaces the stored one.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// URLs of the license server; several are tried in turn.
    pub urls: Vec<Url>,
    /// PEM of the authorities that the server's TLS certificate must come from.
    pub tls_ca_pem: Option<String>,
    /// The vendor root that answers must lead to.
    pub root: Option<RootPin>,
    /// HTTP proxy, with its port.
    pub proxy: Option<Url>,
    /// Share no host name. `None` keeps what is stored.
    pub private: Option<bool>,
}

/// Who the product is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Unique device identity: product id and serial number.
    pub pid: String,
    pub sn: String,
    pub product_type: String,
    pub software_version: String,
    pub host_name: Option<String>,
    /// Of a product that is a cluster itself and registers once for all: the other devices.
    #[serde(default)]
    pub devices: Vec<DeviceMember>,
}

/// The registration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registration {
    pub instance: String,
    pub account: String,
    pub virtual_account: String,
    pub registered: u64,
    pub export_controlled: bool,
    pub certificate: CertificateRecord,
}

/// The ID certificate with its dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CertificateRecord {
    /// base64 of DER.
    pub der: String,
    pub not_before: u64,
    pub not_after: u64,
}

/// The last authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Authorization {
    pub status: AuthorizationStatus,
    pub licenses: Vec<Held>,
    pub authorized: u64,
    pub next_contact: u64,
    pub expires: u64,
    pub enforce_from: Option<u64>,
}

/// One license held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub tag: String,
    pub name: String,
    pub count: u64,
    pub status: ComplianceStatus,
}

impl From<AuthorizedAnswer<'_>> for Authorization {
    fn from(answer: AuthorizedAnswer<'_>) -> Self {
        let held = answer.licenses.into_iter().map(|l| Held {
            tag: l.tag.into_owned(),
            name: l.name.into_owned(),
            count: l.count,
            status: l.status,
        });
        Self {
            status: answer.status,
            licenses: held.collect(),
            authorized: answer.authorized,
            next_contact: answer.next_contact,
            expires: answer.expires,
            enforce_from: answer.enforce_from,
        }
    }
}

/// What a numbered request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Wanted {
    Authorize { licenses: Vec<LicenseCount> },
    RenewAuthorization,
    RenewId { csr: String, new_key: bool },
    Deregister,
}

impl Wanted {
    /// Whether its outcome must be known before anything else is asked: after a lost answer to one of these the agent does
    /// not know which key it has, or whether it is registered. The others are simply overtaken.
    pub(super) const fn must_be_settled(&self) -> bool {
        matches!(self, Self::RenewId { .. } | Self::Deregister)
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Authorize { .. } => "authorize",
            Self::RenewAuthorization => "renew-authorization",
            Self::RenewId { .. } => "renew-id",
            Self::Deregister => "deregister",
        }
    }
}

/// A request that was, or may have been, sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub number: u64,
    pub wanted: Wanted,
}

/// Everything but the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    /// When this state was made: the evaluation period counts from here.
    pub started: u64,
    pub urls: Vec<Url>,
    pub tls_ca_pem: String,
    pub proxy: Option<Url>,
    pub private: bool,
    pub product: Option<Product>,
    pub trust: Trust,
    pub registration: Option<Registration>,
    /// The highest request number used.
    pub number: u64,
    pub pending: Option<Pending>,
    pub authorization: Option<Authorization>,
    pub last_contact: Option<u64>,
    pub last_failure: Option<(u64, String)>,
    /// Since when no server answers.
    #[serde(default)]
    pub silent_since: Option<u64>,
}

impl Record {
    fn new(now: Millis) -> Self {
        Self {
            format: FORMAT,
            started: now.0,
            urls: Vec::new(),
            tls_ca_pem: String::new(),
            proxy: None,
            private: false,
            product: None,
            trust: Trust::default(),
            registration: None,
            number: 0,
            pending: None,
            authorization: None,
            last_contact: None,
            last_failure: None,
            silent_since: None,
        }
    }

    pub(super) fn merge(&mut self, settings: Settings, product: Option<Product>) -> Result<(), AgentError> {
        if !settings.urls.is_empty() {
            self.urls = settings.urls;
        }
        if let Some(pem) = settings.tls_ca_pem {
            self.tls_ca_pem = pem;
        }
        if let Some(pin) = settings.root {
            self.trust.pin(pin)?;
        }
        if settings.proxy.is_some() {
            self.proxy = settings.proxy;
        }
        self.private = settings.private.unwrap_or(self.private);
        if product.is_some() {
            self.product = product;
        }
        Ok(())
    }

    pub(super) fn contacted(&mut self, at: u64) {
        self.last_contact = Some(at);
        self.last_failure = None;
        self.silent_since = None;
    }

    pub(super) fn forget_registration(&mut self) {
        self.registration = None;
        self.authorization = None;
        self.pending = None;
        self.number = 0;
    }
}

/// The folder, locked for this process.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    pub(super) fn open(path: &Path, now: Millis) -> Result<(Self, Record), AgentError> {
        let at = |e: std::io::Error| AgentError::State { path: path.to_owned(), why: e.to_string() };
        fs::create_dir_all(path).map_err(at)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(at)?;
        FileExt::try_lock(&lock).map_err(|e| match e {
            TryLockError::WouldBlock => AgentError::Locked { path: path.to_owned() },
            TryLockError::Error(e) => at(e),
        })?;
        let dir = Self { path: path.to_owned(), _lock: lock };
        let record = match fs::read(dir.path.join(RECORD)) {
            Ok(json) => dir.parse(&json)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Record::new(now),
            Err(e) => return Err(at(e)),
        };
        dir.ensure_key(KEY)?;
        Ok((dir, record))
    }

    fn parse(&self, json: &[u8]) -> Result<Record, AgentError> {
        let record: Record = serde_json::from_slice(json).map_err(|e| self.broken(RECORD, &e.to_string()))?;
        if record.format != FORMAT {
            return Err(self.broken(RECORD, &format!("it has format {}, this program reads {FORMAT}", record.format)));
        }
        Ok(record)
    }

    /// Replaces the record durably: a new file, its contents on disk, then the name.
    pub(super) fn save(&self, record: &Record) -> Result<(), AgentError> {
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            serde_json::to_writer_pretty(&mut file, record)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(self.path.join(RECORD)).map_err(|e| e.error)?;
            self.sync()
        };
        write().map_err(|e| self.broken(RECORD, &e.to_string()))
    }

    /// The key in force.
    pub(super) fn key(&self) -> Result<SigningKey, AgentError> {
        self.load_key(KEY)
    }

    /// The key of the renewal under way, made on first use.
    pub(super) fn next_key(&self) -> Result<SigningKey, AgentError> {
        self.ensure_key(NEXT_KEY)?;
        self.load_key(NEXT_KEY)
    }

    pub(super) fn promote_next_key(&self) -> Result<(), AgentError> {
        let (from, to) = (self.path.join(NEXT_KEY), self.path.join(KEY));
        fs::rename(from, to).and_then(|()| self.sync()).map_err(|e| self.broken(NEXT_KEY, &e.to_string()))
    }

    fn ensure_key(&self, name: &str) -> Result<(), AgentError> {
        let path = self.path.join(name);
        if !path.exists() {
            write_secret(&path, &SigningKey::generate(Algorithm::EdDsa)?.to_pkcs8_der()?)?;
        }
        Ok(())
    }

    fn load_key(&self, name: &str) -> Result<SigningKey, AgentError> {
        let der = fs::read(self.path.join(name)).map_err(|e| self.broken(name, &e.to_string()))?;
        Ok(SigningKey::from_pkcs8_der(&zeroize::Zeroizing::new(der))?)
    }

    fn sync(&self) -> std::io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn broken(&self, name: &str, why: &str) -> AgentError {
        AgentError::State { path: self.path.join(name), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_the_folder_is_used_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, mut record) = StateDir::open(folder.path(), Millis(5)).unwrap();
        record.number = 7;
        record.pending = Some(Pending { number: 7, wanted: Wanted::RenewId { csr: "x".into(), new_key: true } });
        dir.save(&record).unwrap();
        let key = dir.key().unwrap().public_key();
        assert!(matches!(StateDir::open(folder.path(), Millis(6)), Err(AgentError::Locked { .. })));
        drop(dir);
        let (dir, again) = StateDir::open(folder.path(), Millis(6)).unwrap();
        assert_eq!(again, record);
        assert_eq!(dir.key().unwrap().public_key(), key);
        let next = dir.next_key().unwrap().public_key();
        assert_eq!(dir.next_key().unwrap().public_key(), next);
        dir.promote_next_key().unwrap();
        assert_eq!(dir.key().unwrap().public_key(), next);
    }

    #[test]
    fn another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, record) = StateDir::open(folder.path(), Millis(5)).unwrap();
        dir.save(&Record { format: 2, ..record }).unwrap();
        drop(dir);
        let error = StateDir::open(folder.path(), Millis(6)).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
