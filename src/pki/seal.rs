//! Sealing: secrets in the replicated state are encrypted under a key that only data nodes hold, so that the witness
//! can neither read them nor, by the batch MAC made from the first of these keys, forge commands.
//!
//! The key can be changed: then the nodes hold more than one for a while, and each secret says which one it is sealed
//! under. The MAC stays that of the first one: entries of the log and snapshots are checked with it for as long as the
//! cluster lives.

use super::{PkiError, random, sha256};
use crate::license::{Sealed, SealingKeyId};
use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::hmac;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a sealing key.
pub const KEY_LEN: usize = 32;
/// Keys at once: the one that authenticates, one that is being replaced, the one in force, and one that was handed over
/// and is not in force yet.
const MAX_KEYS: usize = 4;
const NONCE_LEN: usize = 12;
const ID_LEN: usize = size_of::<SealingKeyId>();

type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

/// The sealing keys with what is derived from them. Cheap to clone; all clones see a change.
#[derive(Clone)]
pub struct Sealer {
    inner: Arc<Inner>,
}

struct Inner {
    /// What authenticates batches: the cluster's first sealing key.
    first: KeyBytes,
    mac: hmac::Key,
    ring: ArcSwap<Ring>,
}

/// Keys in the order in which they came.
#[derive(Clone)]
struct Ring {
    keys: Vec<Arc<Key>>,
    /// Place of the one that seals.
    in_force: usize,
}

struct Key {
    bytes: KeyBytes,
    id: SealingKeyId,
    cipher: LessSafeKey,
}

impl Key {
    fn new(bytes: KeyBytes) -> Self {
        let cipher = UnboundKey::new(&AES_256_GCM, derive(&prk(&bytes), b"seal").as_ref());
        let cipher = LessSafeKey::new(cipher.expect("the key has AES-256's length"));
        let hash = sha256(&*derive(&prk(&bytes), b"id"));
        let mut id = SealingKeyId::default();
        id.copy_from_slice(&hash[..ID_LEN]);
        Self { bytes, id, cipher }
    }
}

fn prk(key: &KeyBytes) -> Prk {
    Salt::new(HKDF_SHA256, b"licraft sealing key").extract(key.as_ref())
}

/// A key for one purpose (RFC 5869).
fn derive(prk: &Prk, purpose: &[u8]) -> KeyBytes {
    let mut out = Zeroizing::new([0; KEY_LEN]);
    prk.expand(&[purpose], HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut()))
        .expect("32 bytes is one HKDF-SHA256 block, always allowed");
    out
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
        Self::from_key(fresh_key())
    }

    /// From the one key of a cluster whose key was never changed.
    #[must_use]
    pub fn from_key(key: KeyBytes) -> Self {
        Self::with(key.clone(), vec![key])
    }

    fn with(first: KeyBytes, keys: Vec<KeyBytes>) -> Self {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, derive(&prk(&first), b"batch mac").as_ref());
        let ring = Ring { keys: keys.into_iter().map(|key| Arc::new(Key::new(key))).collect(), in_force: 0 };
        Self { inner: Arc::new(Inner { first, mac, ring: ArcSwap::from_pointee(ring) }) }
    }

    /// From what [`Sealer::to_bytes`] gave. The oldest key is in force until [`Sealer::put_in_force`] says otherwise.
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PkiError> {
        let (keys, rest) = bytes.as_chunks::<KEY_LEN>();
        if keys.is_empty() || keys.len() > MAX_KEYS || !rest.is_empty() {
            return Err(PkiError::Key("the sealing key file must hold one to four keys of 32 bytes"));
        }
        let mut keys: Vec<KeyBytes> = keys.iter().map(|key| Zeroizing::new(*key)).collect();
        let first = keys[0].clone();
        if keys.len() > 1 {
            keys.remove(0);
        }
        Ok(Self::with(first, keys))
    }

    /// All keys, for the key file, for hand-over in pairing and for backups: the one that authenticates batches, then
    /// the sealing keys in the order in which they came, unless that is the only one.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let ring = self.inner.ring.load();
        let mut bytes = Zeroizing::new(self.inner.first.to_vec());
        if ring.keys.len() > 1 || ring.keys[0].bytes != self.inner.first {
            ring.keys.iter().for_each(|key| bytes.extend_from_slice(key.bytes.as_ref()));
        }
        bytes
    }

    /// The key that seals now.
    #[must_use]
    pub fn in_force(&self) -> SealingKeyId {
        let ring = self.inner.ring.load();
        ring.keys[ring.in_force].id
    }

    /// Seals under this key from now on. False, and nothing changed, when it is not known here.
    #[must_use]
    pub fn put_in_force(&self, id: SealingKeyId) -> bool {
        let ring = self.inner.ring.load_full();
        let Some(in_force) = ring.keys.iter().position(|key| key.id == id) else { return false };
        if in_force != ring.in_force {
            self.inner.ring.store(Arc::new(Ring { in_force, ..(*ring).clone() }));
        }
        true
    }

    /// Takes note of a key that may be put in force later, in the place of any other such one. Gives its name.
    #[must_use]
    pub fn add(&self, key: KeyBytes) -> SealingKeyId {
        let (key, ring) = (Key::new(key), self.inner.ring.load_full());
        let id = key.id;
        if ring.keys.iter().all(|known| known.id != id) {
            let mut keys = ring.keys[..=ring.in_force].to_vec();
            keys.push(Arc::new(key));
            self.inner.ring.store(Arc::new(Ring { keys, in_force: ring.in_force }));
        }
        id
    }

    /// Forgets the keys that came before the one in force; whether there were any.
    #[must_use]
    pub fn forget_older(&self) -> bool {
        let ring = self.inner.ring.load_full();
        if ring.in_force == 0 {
            return false;
        }
        self.inner.ring.store(Arc::new(Ring { keys: ring.keys[ring.in_force..].to_vec(), in_force: 0 }));
        true
    }

    /// Reads the key file made by [`Sealer::save`].
    ///
    /// # Errors
    /// When it cannot be read or is no key file.
    pub fn load(path: &Path) -> Result<Self, PkiError> {
        let what = || format!("reading the sealing key {}", path.display());
        let bytes = Zeroizing::new(std::fs::read(path).map_err(|source| PkiError::Io { what: what(), source })?);
        Self::from_bytes(&bytes)
    }

    /// Writes the keys durably to a new file with mode 0600; never overwrites one.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PkiError> {
        write_secret(path, &self.to_bytes())
    }

    /// Seals `plain` for `context`, which must be given again to open it.
    ///
    /// # Panics
    /// Never: a record is far below the cipher's limit of 64 GiB.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Sealed {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let ring = self.inner.ring.load();
        let key = &ring.keys[ring.in_force];
        let mut out = plain.to_vec();
        key.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut out)
            .expect("a record is far below AES-GCM's limit");
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&key.id);
        Sealed(out)
    }

    /// Opens what [`Sealer::seal`] made for the same context, under any key that is known here.
    ///
    /// # Errors
    /// When it was sealed under another key or context, or is damaged.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        let bad = || PkiError::Sealed { context: context.to_owned() };
        let id = sealed.key_id().ok_or_else(bad)?;
        let ring = self.inner.ring.load();
        let key = ring.keys.iter().find(|key| key.id == id).ok_or_else(bad)?;
        let split = sealed.0.len().checked_sub(NONCE_LEN + ID_LEN).ok_or_else(bad)?;
        let (cipher_text, nonce) = sealed.0[..sealed.0.len() - ID_LEN].split_at(split);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| bad())?;
        let mut buffer = Zeroizing::new(cipher_text.to_vec());
        let plain_len =
            key.cipher.open_in_place(nonce, Aad::from(context.as_bytes()), &mut buffer).map_err(|_| bad())?.len();
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

/// Random bytes for a sealing key.
#[must_use]
pub fn fresh_key() -> KeyBytes {
    Zeroizing::new(random::bytes())
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
    fn a_new_key_takes_over_and_the_old_one_is_forgotten() {
        let sealer = Sealer::generate();
        let (clone, mac, first) = (sealer.clone(), sealer.mac(b"x"), sealer.in_force());
        let before = sealer.seal("c", b"old");
        assert_eq!(before.key_id(), Some(first));
        let abandoned = sealer.add(fresh_key());
        let second = sealer.add(fresh_key());
        assert_eq!(sealer.seal("c", b"x").key_id(), Some(first), "not in force yet");
        assert!(!sealer.put_in_force(abandoned), "another one came in its place");
        assert!(sealer.put_in_force(second) && !sealer.put_in_force([0; 8]));
        let after = clone.seal("c", b"new");
        assert_eq!(after.key_id(), Some(second), "clones see it");
        // Through the key file, in the middle: the oldest is in force until the records say otherwise.
        let read = Sealer::from_bytes(&sealer.to_bytes()).unwrap();
        assert_eq!(read.in_force(), first);
        assert_eq!(read.open("c", &before).unwrap().as_slice(), b"old");
        assert!(read.put_in_force(second));
        let pending = read.add(fresh_key());
        assert!(read.forget_older() && !read.forget_older());
        read.open("c", &before).unwrap_err();
        assert_eq!(read.open("c", &after).unwrap().as_slice(), b"new");
        assert!(read.put_in_force(pending), "a newer one is not forgotten");
        let read = Sealer::from_bytes(&read.to_bytes()).unwrap();
        assert!(read.verify_mac(b"x", &mac), "batches are those of the first key");
        assert_eq!(read.in_force(), second);
        for bad in [0, 31, 33, 5 * KEY_LEN] {
            Sealer::from_bytes(&vec![1; bad]).unwrap_err();
        }
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
