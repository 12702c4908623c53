//! Who this node is: the files beside the store that make it a member of one cluster.

use crate::pki::PkiError;
use crate::pki::ca::{self, Authority};
use crate::pki::seal::{Sealer, write_secret};
use crate::pki::tls::Identity as TlsIdentity;
use crate::store::Store;
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Node certificates run for 90 days and are renewed by the node itself.
pub const NODE_CERTIFICATE_DAYS: u64 = 90;
/// The cluster CA runs for 20 years: it is replaced by re-pairing, not by waiting.
pub const CLUSTER_CA_DAYS: u64 = 20 * 365;

const NODE_FILE: &str = "node.json";
const SEALING_KEY: &str = "sealing.key";
const CA_CERT: &str = "cluster-ca.pem";
const CA_KEY: &str = "cluster-ca.key";
const NODE_CERT: &str = "node.pem";
const NODE_KEY: &str = "node.key";
/// Of the pages of a retired node.
const PAGE_CERT: &str = "retired.pem";
const PAGE_KEY: &str = "retired.key";
/// Says that this node has had a store.
const STORE_MADE: &str = "store.made";

/// What a node is in its cluster; fixed until it is provisioned afresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    pub node_id: u64,
    pub name: String,
    pub witness: bool,
    /// Random 128 bits as hex, made at `init`.
    pub cluster_id: String,
    pub epoch_counter: u64,
    /// Random 128 bits as hex.
    pub epoch_id: String,
    /// Raft timing in force when the node joined; the replicated setting wins.
    pub heartbeat_ms: u64,
    pub election_min_ms: u64,
    pub election_max_ms: u64,
}

/// All of a node's identity, read from its data directory.
pub struct NodeIdentity {
    pub file: NodeFile,
    pub ca_cert: Vec<u8>,
    /// Data nodes only.
    pub ca: Option<Authority>,
    /// Data nodes only.
    pub sealer: Option<Sealer>,
    /// Renewed while the node runs.
    pub tls: ArcSwap<TlsIdentity>,
}

/// Why the identity cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{what} {path}: {source}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is damaged ({why}); restore it from a backup or provision this node afresh", path = path.display())]
    Damaged { path: PathBuf, why: String },
    #[error(
        "the store of this node is gone from {path}; a member that forgot what it voted and acknowledged must not come \
         back under its old id. Restore {path} from where it went, or provision this node afresh as a new one",
        path = path.display()
    )]
    StoreGone { path: PathBuf },
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Whether `data_dir` belongs to a cluster: false means the node is uninitialised.
#[must_use]
pub fn exists(data_dir: &Path) -> bool {
    data_dir.join(NODE_FILE).exists()
}

/// Removes the keys that only members have: those of the state and of the cluster's authority.
///
/// # Errors
/// When one cannot be removed.
pub fn forget_keys(data_dir: &Path) -> Result<(), IdentityError> {
    for name in [SEALING_KEY, CA_KEY, NODE_KEY] {
        remove_leftover(&data_dir.join(name))?;
    }
    let synced = std::fs::File::open(data_dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| IdentityError::Io { what: "syncing", path: data_dir.to_owned(), source })
}

/// Keeps the certificate under which a retired node shows its pages, and its key.
///
/// # Errors
/// When it cannot be written.
pub(super) fn keep_page_key(data_dir: &Path, tls: &TlsIdentity) -> Result<(), IdentityError> {
    for name in [PAGE_CERT, PAGE_KEY] {
        remove_leftover(&data_dir.join(name))?;
    }
    write_secret(&data_dir.join(PAGE_KEY), &tls.key_pkcs8)?;
    let chain = tls.chain.iter().map(Vec::as_slice);
    Ok(write_secret(&data_dir.join(PAGE_CERT), ca::certificates_pem(chain).as_bytes())?)
}

/// What [`keep_page_key`] has kept.
///
/// # Errors
/// When it is missing or damaged.
pub(super) fn page_key(data_dir: &Path) -> Result<TlsIdentity, IdentityError> {
    let chain = ca::certificates_from_pem(&read(&data_dir.join(PAGE_CERT))?)?;
    Ok(TlsIdentity { chain, key_pkcs8: Zeroizing::new(read(&data_dir.join(PAGE_KEY))?) })
}

impl NodeFile {
    /// Reads what a node is, be it retired.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub fn load(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(NODE_FILE);
        let read = serde_json::from_slice(&read(&path)?);
        read.map_err(|e| IdentityError::Damaged { path, why: e.to_string() })
    }

    /// Writes what a node is, durably and at once.
    ///
    /// # Errors
    /// When the file cannot be written; then the old one is there.
    pub fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        write_whole(data_dir, NODE_FILE, self)
    }
}

impl NodeIdentity {
    /// The cluster's authority, for a while; None where its key is not.
    #[must_use]
    pub fn authority(&self) -> Option<Authority> {
        let ca = self.ca.as_ref()?;
        // It was read from these once.
        Authority::from_parts(ca.cert_der().to_vec(), Zeroizing::new(ca.key_pkcs8().to_vec())).ok()
    }

    /// Reads the identity of an initialised node.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn load(data_dir: &Path) -> Result<Self, IdentityError> {
        let file = NodeFile::load(data_dir)?;
        let ca_cert = read_certificate(&data_dir.join(CA_CERT))?;
        let tls = TlsIdentity {
            chain: vec![read_certificate(&data_dir.join(NODE_CERT))?],
            key_pkcs8: Zeroizing::new(read(&data_dir.join(NODE_KEY))?),
        };
        let (ca, sealer) = if file.witness {
            (None, None)
        } else {
            let key = Zeroizing::new(read(&data_dir.join(CA_KEY))?);
            (Some(Authority::from_parts(ca_cert.clone(), key)?), Some(Sealer::load(&data_dir.join(SEALING_KEY))?))
        };
        Ok(Self { file, ca_cert, ca, sealer, tls: ArcSwap::from_pointee(tls) })
    }

    /// Refuses a member whose store was there and is gone: it would vote again in terms in which it has voted, and
    /// deny what it has acknowledged.
    ///
    /// # Errors
    /// [`IdentityError::StoreGone`].
    pub fn check_store(data_dir: &Path, store: &Path) -> Result<(), IdentityError> {
        match data_dir.join(STORE_MADE).exists() && !Store::exists(store) {
            true => Err(IdentityError::StoreGone { path: store.to_owned() }),
            false => Ok(()),
        }
    }

    /// Notes that the store is there, for [`Self::check_store`].
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn note_store(data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(STORE_MADE);
        if path.exists() {
            return Ok(());
        }
        let written = std::fs::File::create(&path).and_then(|_| std::fs::File::open(data_dir)?.sync_all());
        written.map_err(|source| IdentityError::Io { what: "writing", path, source })
    }

    /// Forgets [`Self::note_store`]: the store was taken away, and the node rejoins without it.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub fn forget_store(data_dir: &Path) -> Result<(), IdentityError> {
        remove_leftover(&data_dir.join(STORE_MADE))
    }

    /// Writes the identity of a node that had none. `node.json` comes last: before it is there the node counts as
    /// uninitialised, so a crash in the middle is repaired by running the same command again.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(&self, data_dir: &Path) -> Result<(), IdentityError> {
        for name in [STORE_MADE, SEALING_KEY, CA_CERT, CA_KEY, NODE_CERT, NODE_KEY] {
            remove_leftover(&data_dir.join(name))?;
        }
        if let Some(sealer) = &self.sealer {
            sealer.save(&data_dir.join(SEALING_KEY))?;
        }
        if let Some(ca) = &self.ca {
            write_secret(&data_dir.join(CA_KEY), ca.key_pkcs8())?;
        }
        write_secret(&data_dir.join(CA_CERT), ca::certificates_pem([self.ca_cert.as_slice()]).as_bytes())?;
        let tls = self.tls.load();
        write_secret(&data_dir.join(NODE_KEY), &tls.key_pkcs8)?;
        let leaf = tls.chain.iter().map(Vec::as_slice);
        write_secret(&data_dir.join(NODE_CERT), ca::certificates_pem(leaf).as_bytes())?;
        self.file.save(data_dir)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Io { what: "reading", path: path.to_owned(), source })
}

fn read_certificate(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut certs = ca::certificates_from_pem(&read(path)?)?;
    Ok(certs.swap_remove(0))
}

/// Writes a file that only the node may read, durably and at once.
///
/// # Errors
/// When it cannot be written; an old one is there then.
pub(super) fn write_whole(data_dir: &Path, name: &str, content: &impl Serialize) -> Result<(), IdentityError> {
    let json = serde_json::to_vec_pretty(content);
    let json = json.map_err(|e| IdentityError::Damaged { path: data_dir.join(name), why: e.to_string() })?;
    replace(data_dir, name, &json)
}

/// Puts a certificate in the place of the node's, for the same key.
///
/// # Errors
/// When it cannot be written; then the old one is there.
pub(super) fn replace_node_certificate(data_dir: &Path, cert: &[u8]) -> Result<(), IdentityError> {
    replace(data_dir, NODE_CERT, ca::certificates_pem([cert]).as_bytes())
}

/// Puts what a sealer holds now in the place of the key file.
///
/// # Errors
/// When it cannot be written; then the old one is there.
pub(super) fn replace_sealing_key(data_dir: &Path, sealer: &Sealer) -> Result<(), IdentityError> {
    replace(data_dir, SEALING_KEY, &sealer.to_bytes())
}

fn replace(data_dir: &Path, name: &str, content: &[u8]) -> Result<(), IdentityError> {
    let (temporary, path) = (data_dir.join(format!("{name}.new")), data_dir.join(name));
    remove_leftover(&temporary)?;
    write_secret(&temporary, content)?;
    std::fs::rename(&temporary, &path)
        .and_then(|()| std::fs::File::open(data_dir)?.sync_all())
        .map_err(|source| IdentityError::Io { what: "writing", path, source })
}

/// Reads what [`write_whole`] wrote; none when nothing is there.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub(super) fn read_whole<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, IdentityError> {
    match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .map(Some)
            .map_err(|e| IdentityError::Damaged { path: path.to_owned(), why: e.to_string() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Io { what: "reading", path: path.to_owned(), source }),
    }
}

/// Removes a file, if it is there.
///
/// # Errors
/// When it stays.
pub(super) fn remove_leftover(path: &Path) -> Result<(), IdentityError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(IdentityError::Io { what: "removing", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_its_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("raft");
        NodeIdentity::check_store(dir.path(), &store).unwrap();
        let (_, _, handle) = Store::open(&store, crate::store::StoreOptions::default()).unwrap();
        NodeIdentity::note_store(dir.path()).unwrap();
        handle.close();
        NodeIdentity::check_store(dir.path(), &store).unwrap();
        std::fs::remove_dir_all(&store).unwrap();
        let error = NodeIdentity::check_store(dir.path(), &store).unwrap_err().to_string();
        assert!(error.contains("provision this node afresh"), "{error}");
    }
}
