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
/// It never begins with `-`, as options of commands do.
#[must_use]
pub fn token() -> String {
    loop {
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes::<32>());
        if !text.starts_with('-') {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_looks_like_an_option() {
        assert!((0..2_000).all(|_| !token().starts_with('-')));
    }
}
