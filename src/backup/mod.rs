//! Backups: a server's whole state with the keys that it lives by, in one file under the operator's passphrase.
//!
//! The file is sealed (see [`sealed`]) around a head (length u32, bincode of `Head`) and a snapshot of the state in the
//! store's own format. Addresses, members and the cluster's id are in no head: a restored server takes those from its
//! node file.

mod manifest;
mod sealed;

pub use manifest::{Lag, Manifest};

use crate::license::State;
use crate::pki::PkiError;
use crate::pki::ca::Authority;
use crate::pki::seal::Sealer;
use crate::store::{LogId, SnapshotMeta, StoredMembership, check_snapshot, codec, read_snapshot, write_snapshot};
use sealed::{Costs, OpenReader, SealWriter};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use zeroize::{Zeroize, Zeroizing};

/// Shortest passphrase. A backup can be guessed at in peace, with no server to slow it down, so it needs more than a
/// password for signing in: 15 bytes are what NIST SP 800-63B-4 asks of a password that stands alone.
pub const MIN_PASSPHRASE_BYTES: usize = 15;
/// A longer one is some other file.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

/// A head is keys, a certificate and the manifest: some kilobytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Why a backup cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("it is no licraft backup")]
    NotABackup,
    #[error("it has format {found}, this version knows {}; use the newer version", sealed::FORMAT)]
    UnknownFormat { found: u16 },
    #[error(
        "it has {bytes} bytes, and {MIN_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES} are needed; take several words"
    )]
    Passphrase { bytes: usize },
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    #[error("it is cut short")]
    Truncated,
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("its content is unsound: {0}")]
    Unsound(String),
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        // What the sealed reader says passes through the readers above it.
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            Err(error) => Self::Io(error),
        }
    }
}

impl From<BackupError> for io::Error {
    fn from(error: BackupError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl From<PkiError> for BackupError {
    fn from(error: PkiError) -> Self {
        Self::Unsound(error.to_string())
    }
}

/// Whether a backup may be saved under `passphrase`.
///
/// # Errors
/// [`BackupError::Passphrase`].
pub fn check_passphrase(passphrase: &str) -> Result<(), BackupError> {
    match (MIN_PASSPHRASE_BYTES..=MAX_PASSPHRASE_BYTES).contains(&passphrase.len()) {
        true => Ok(()),
        false => Err(BackupError::Passphrase { bytes: passphrase.len() }),
    }
}

/// What a backup holds.
#[derive(Debug)]
pub struct Backup {
    pub manifest: Manifest,
    /// Opens the secrets in the state.
    pub sealer: Sealer,
    /// Issues the server's HTTPS certificate: products know it.
    pub ca: Authority,
    pub state: State,
}

#[derive(Serialize, Deserialize)]
struct Head {
    manifest: Manifest,
    /// As [`Sealer::to_bytes`] gives it.
    sealing_key: Vec<u8>,
    ca_cert: Vec<u8>,
    ca_key: Vec<u8>,
}

impl Head {
    fn read(input: &mut impl Read) -> Result<Self, BackupError> {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEAD_BYTES {
            return Err(BackupError::Damaged(format!("a head of {length} bytes")));
        }
        let mut head = Zeroizing::new(vec![0; length]);
        input.read_exact(&mut head)?;
        Ok(codec::decode(&head).map_err(io::Error::from)?)
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.sealing_key.zeroize();
        self.ca_key.zeroize();
    }
}

impl Backup {
    /// Writes all of it to `out`, sealed under `passphrase`. Takes a second or so for the key; blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, passphrase: &str, out: impl Write) -> Result<(), BackupError> {
        self.write_at(Costs::WRITTEN, passphrase, out)
    }

    fn write_at(&self, costs: Costs, passphrase: &str, out: impl Write) -> Result<(), BackupError> {
        let mut out = SealWriter::new(out, passphrase, costs)?;
        let head = Head {
            manifest: self.manifest.clone(),
            sealing_key: self.sealer.to_bytes().to_vec(),
            ca_cert: self.ca.cert_der().to_vec(),
            ca_key: self.ca.key_pkcs8().to_vec(),
        };
        let head = Zeroizing::new(codec::encode(&head).map_err(io::Error::from)?);
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&head)?;
        let last_log_id = Some(LogId { leader_id: self.manifest.leader(), index: self.manifest.index });
        let meta = SnapshotMeta { last_log_id, last_membership: StoredMembership::default() };
        write_snapshot(&self.state, &meta, &mut out)?;
        Ok(out.finish()?)
    }

    /// Reads and checks all of it: every chunk, every record, every kept total, and that the key opens the secrets.
    /// Blocks.
    ///
    /// # Errors
    /// See [`BackupError`]; no part is given then.
    pub fn read(passphrase: &str, input: impl Read) -> Result<Self, BackupError> {
        let mut input = OpenReader::new(input, passphrase, Costs::MOST)?;
        let mut head = Head::read(&mut input)?;
        let (_, state) = read_snapshot(&mut input)?;
        let ca_key = Zeroizing::new(std::mem::take(&mut head.ca_key));
        let sealer = Sealer::from_bytes(&head.sealing_key)?;
        if let Some(sealing) = state.sealing()
            && !sealer.put_in_force(sealing.key)
        {
            return Err(BackupError::Unsound("it lacks the sealing key in force".into()));
        }
        let backup = Self {
            manifest: head.manifest.clone(),
            sealer,
            ca: Authority::from_parts(std::mem::take(&mut head.ca_cert), ca_key)?,
            state,
        };
        backup.check()?;
        Ok(backup)
    }

    /// Reads all of it in little memory, beside other work: every chunk and every record by itself. What shows only when
    /// the records are together is left to [`Self::read`]. Blocks.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn look_through(passphrase: &str, input: impl Read) -> Result<Manifest, BackupError> {
        let mut input = OpenReader::new(input, passphrase, Costs::MOST_BESIDE_SERVICE)?;
        let head = Head::read(&mut input)?;
        check_snapshot(&mut input)?;
        Ok(head.manifest.clone())
    }

    fn check(&self) -> Result<(), BackupError> {
        let faults = self.state.check();
        if !faults.is_empty() {
            return Err(BackupError::Unsound(faults.join(" ")));
        }
        for (place, sealed) in self.state.sealed() {
            self.sealer.open(place.context(), sealed)?;
        }
        match self.manifest.server_uid == self.state.meta().server_uid {
            true => Ok(()),
            false => Err(BackupError::Unsound("the state is of another server than the manifest says".into())),
        }
    }
}

#[cfg(test)]
mod tests;
