//! Sealing: secrets in the replicated state are encrypted under a key that only data nodes hold, so that the witness
//! can neither read them nor, by the batch MAC made from the same key, forge commands.

use super::{PkiError, random};
use crate::license::Sealed;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of the sealing key.
pub const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;

/// The sealing key with what is derived from it. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    inner: Arc<Inner>,
}

struct Inner {
    key: Zeroizing<[u8; KEY_LEN]>,
    cipher: LessSafeKey,
    mac: hmac::Key,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A fresh random key.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_key(Zeroizing::new(random::bytes()))
    }

    /// From the key bytes: encryption and MAC keys are derived by HKDF (RFC 5869), each for its purpose.
    #[must_use]
    pub fn from_key(key: Zeroizing<[u8; KEY_LEN]>) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"licraft sealing key").extract(key.as_ref());
        let derive = |purpose: &[u8]| {
            let mut out = Zeroizing::new([0; KEY_LEN]);
            prk.expand(&[purpose], HKDF_SHA256)
                .and_then(|okm| okm.fill(out.as_mut()))
                .expect("32 bytes is one HKDF-SHA256 block, always allowed");
            out
        };
        let cipher = UnboundKey::new(&AES_256_GCM, derive(b"seal").as_ref()).expect("the key has AES-256's length");
        let mac = hmac::Key::new(hmac::HMAC_SHA256, derive(b"batch mac").as_ref());
        Self { inner: Arc::new(Inner { key, cipher: LessSafeKey::new(cipher), mac }) }
    }

    /// The key itself, for hand-over in pairing and for backups.
    #[must_use]
    pub fn key(&self) -> &[u8; KEY_LEN] {
        &self.inner.key
    }

    /// Reads the key file made by [`Sealer::save`].
    ///
    /// # Errors
    /// When it cannot be read or has another length.
    pub fn load(path: &Path) -> Result<Self, PkiError> {
        let what = || format!("reading the sealing key {}", path.display());
        let bytes = Zeroizing::new(std::fs::read(path).map_err(|source| PkiError::Io { what: what(), source })?);
        let key: [u8; KEY_LEN] =
            bytes.as_slice().try_into().map_err(|_| PkiError::Key("the sealing key file must hold 32 bytes"))?;
        Ok(Self::from_key(Zeroizing::new(key)))
    }

    /// Writes the key durably to a new file with mode 0600; never overwrites one.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PkiError> {
        write_secret(path, self.key())
    }

    /// Seals `plain` for `context`, which must be given again to open it.
    ///
    /// # Panics
    /// Never: a record is far below the cipher's limit of 64 GiB.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Sealed {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut out = plain.to_vec();
        self.inner
            .cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut out)
            .expect("a record is far below AES-GCM's limit");
        out.extend_from_slice(&nonce);
        Sealed(out)
    }

    /// Opens what [`Sealer::seal`] made for the same context.
    ///
    /// # Errors
    /// When it was sealed under another key or context, or is damaged.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        let bad = || PkiError::Sealed { context: context.to_owned() };
        let split = sealed.0.len().checked_sub(NONCE_LEN).ok_or_else(bad)?;
        let (cipher_text, nonce) = sealed.0.split_at(split);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| bad())?;
        let mut buffer = Zeroizing::new(cipher_text.to_vec());
        let plain_len = self
            .inner
            .cipher
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut buffer)
            .map_err(|_| bad())?
            .len();
        buffer.truncate(plain_len);
        Ok(buffer)
    }

    /// HMAC-SHA256 (RFC 2104) of a command batch.
    #[must_use]
    pub fn mac(&self, body: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.inner.mac, body).as_ref());
        out
    }

    /// Whether `mac` is this cluster's over `body`; constant time.
    #[must_use]
    pub fn verify_mac(&self, body: &[u8], mac: &[u8; 32]) -> bool {
        hmac::verify(&self.inner.mac, body, mac).is_ok()
    }
}

/// Writes a secret durably to a new file with mode 0600 in an existing folder; never overwrites.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_secret(path: &Path, secret: &[u8]) -> Result<(), PkiError> {
    let error = |source| PkiError::Io { what: format!("writing {}", path.display()), source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(error)?;
    file.write_all(secret).and_then(|()| file.sync_all()).map_err(error)?;
    if let Some(folder) = path.parent() {
        // A bare name is in the current folder.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder).and_then(|d| d.sync_all()).map_err(error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_and_context() {
        let sealer = Sealer::generate();
        let sealed = sealer.seal("token 7", b"secret");
        assert_eq!(sealer.open("token 7", &sealed).unwrap().as_slice(), b"secret");
        sealer.open("token 8", &sealed).unwrap_err();
        Sealer::generate().open("token 7", &sealed).unwrap_err();
        let mut damaged = sealed.clone();
        damaged.0[0] ^= 1;
        sealer.open("token 7", &damaged).unwrap_err();
        sealer.open("token 7", &Sealed(vec![1, 2])).unwrap_err();
    }

    #[test]
    fn the_key_file_is_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        let sealer = Sealer::generate();
        sealer.save(&path).unwrap();
        sealer.save(&path).unwrap_err();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Sealer::load(&path).unwrap();
        assert!(again.verify_mac(b"x", &sealer.mac(b"x")));
        assert!(!again.verify_mac(b"y", &sealer.mac(b"x")));
    }
}
