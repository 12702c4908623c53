//! Time-based one-time passwords (RFC 6238) as every authenticator knows them: HMAC-SHA-1, 30 seconds, six digits.

use super::random;
use super::seal::Sealer;
use super::{PkiError, equal_secrets};
use crate::license::{Millis, Sealed, Totp};
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use data_encoding::BASE32_NOPAD;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// 160 random bits, as RFC 4226, section 4, recommends.
const SEED_LEN: usize = 20;
const STEP_MS: u64 = 30_000;
/// Six digits.
const CODES: u32 = 1_000_000;
/// Codes of so many steps before and after are right too: clocks differ, and people type slowly (RFC 6238, 5.2).
const WINDOW: u64 = 1;

/// A seed, as an authenticator takes it.
pub struct Seed(Zeroizing<Vec<u8>>);

impl Seed {
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes::<SEED_LEN>().to_vec()))
    }

    /// # Errors
    /// When it does not open under this sealing key.
    pub fn open(sealer: &Sealer, sealed: &Sealed) -> Result<Self, PkiError> {
        sealer.open(Totp::SEED_CONTEXT, sealed).map(Self)
    }

    #[must_use]
    pub fn seal(&self, sealer: &Sealer) -> Sealed {
        sealer.seal(Totp::SEED_CONTEXT, &self.0)
    }

    /// What is typed into an authenticator: base32 (RFC 4648).
    #[must_use]
    pub fn secret(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// What is shown to an authenticator, for `user` of this server.
    #[must_use]
    pub fn uri(&self, user: &str) -> Zeroizing<String> {
        // A space is `+` in forms, but `%20` in the path of a URI.
        let user = byte_serialize(user.as_bytes()).collect::<String>().replace('+', "%20");
        Zeroizing::new(format!("otpauth://totp/licraft:{user}?secret={}&issuer=licraft", *self.secret()))
    }

    /// The code of a time step.
    #[must_use]
    pub fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        // RFC 4226, 5.3: four bytes from where the last one says, without their sign.
        let at = usize::from(tag[tag.len() - 1] & 0xf);
        let number = tag[at..at + 4].iter().fold(0, |n, byte| n << 8 | u32::from(*byte)) & 0x7fff_ffff;
        format!("{:06}", number % CODES)
    }

    /// The newest time step about `now` whose code this is.
    #[must_use]
    pub fn step(&self, code: &str, now: Millis) -> Option<u64> {
        let step = now.0 / STEP_MS;
        let right = |step: &u64| equal_secrets(self.code(*step).as_bytes(), code.as_bytes());
        (step.saturating_sub(WINDOW)..=step + WINDOW).rev().find(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let seed = Seed(Zeroizing::new(b"12345678901234567890".to_vec()));
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(seed.code(seconds / 30), code);
            assert_eq!(seed.step(code, Millis(seconds * 1_000)), Some(seconds / 30));
        }
        // One step off is right, two are not.
        let at = |steps: u64| Millis((66_666_665 + steps) * STEP_MS);
        let found: Vec<Option<u64>> = (0..=3).map(|steps| seed.step("279037", at(steps))).collect();
        assert_eq!(found, [Some(66_666_666), Some(66_666_666), Some(66_666_666), None]);
        assert_eq!(seed.step("279037", Millis(at(0).0 - STEP_MS)), None);
        assert_eq!(*seed.secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = "otpauth://totp/licraft:J%C3%BCrg?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=licraft";
        assert_eq!(*seed.uri("Jürg"), uri);
    }
}
