//! Randomness from the operating system by way of the cryptographic library.

use base64::Engine;

/// `N` random bytes.
///
/// # Panics
/// When the operating system gives no randomness: nothing safe can be done without.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system must give random bytes");
    out
}

/// A random, never-zero request id.
#[must_use]
pub fn u128() -> u128 {
    u128::from_le_bytes(bytes()) | 1
}

/// A secret of 256 random bits, as base64url without padding: registration tokens, passwords made for people, API secrets.
#[must_use]
pub fn token() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes::<32>())
}
