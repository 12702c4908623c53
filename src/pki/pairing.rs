//! The one-time pairing code: 80 random bits that prove the operator, and 80 bits of the cluster CA key's hash by
//! which the joiner knows that it talks to the right cluster before it says anything.

use super::random;
use aws_lc_rs::hmac;

/// Bits of each half: enough that neither can be searched within a code's life of 30 minutes and ten tries.
const HALF: usize = 10;
/// Crockford's base 32 without the letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A pairing code.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode {
    secret: [u8; HALF],
    ca_hash: [u8; HALF],
}

impl std::fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairingCode")
    }
}

impl PairingCode {
    /// A fresh code for the cluster whose CA certificate has this key hash (SHA-256 of its SubjectPublicKeyInfo).
    #[must_use]
    pub fn generate(ca_key_hash: &[u8; 32]) -> Self {
        let mut ca_hash = [0; HALF];
        ca_hash.copy_from_slice(&ca_key_hash[..HALF]);
        Self { secret: random::bytes(), ca_hash }
    }

    /// Reads a code as typed: case and dashes do not matter, and O, I, L are read as 0, 1, 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = Vec::with_capacity(32);
        for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            let c = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            };
            digits.push(ALPHABET.iter().position(|a| char::from(*a) == c)? as u8);
        }
        if digits.len() != 32 {
            return None;
        }
        let mut bytes = [0u8; 2 * HALF];
        for (i, digit) in digits.iter().enumerate() {
            for bit in 0..5 {
                if digit & (16 >> bit) != 0 {
                    let at = i * 5 + bit;
                    bytes[at / 8] |= 128 >> (at % 8);
                }
            }
        }
        let (secret, ca_hash) = bytes.split_at(HALF);
        Some(Self { secret: secret.try_into().ok()?, ca_hash: ca_hash.try_into().ok()? })
    }

    /// Whether a CA key is the one this code is bound to.
    #[must_use]
    pub fn matches_ca(&self, ca_key_hash: &[u8; 32]) -> bool {
        super::equal_secrets(&self.ca_hash, &ca_key_hash[..HALF])
    }

    /// Proof of the secret over the TLS exporter (RFC 9266) and the message it covers, labelled by who makes it.
    #[must_use]
    pub fn proof(&self, label: &str, exporter: &[u8], message: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mut context = hmac::Context::with_key(&key);
        for part in [label.as_bytes(), exporter, message] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

impl std::fmt::Display for PairingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = [self.secret, self.ca_hash].concat();
        for i in 0..32 {
            if i > 0 && i % 4 == 0 {
                f.write_str("-")?;
            }
            let digit = (0..5).fold(0u8, |digit, bit| {
                let at = i * 5 + bit;
                digit << 1 | (bytes[at / 8] >> (7 - at % 8) & 1)
            });
            write!(f, "{}", char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_being_typed() {
        let code = PairingCode::generate(&[7; 32]);
        let text = code.to_string();
        assert_eq!(text.len(), 39);
        assert_eq!(PairingCode::parse(&text), Some(code.clone()));
        assert_eq!(PairingCode::parse(&text.to_lowercase().replace('-', " ")), Some(code.clone()));
        assert!(code.matches_ca(&[7; 32]));
        assert!(!code.matches_ca(&[8; 32]));
        assert_eq!(PairingCode::parse(&text[1..]), None);
        assert_eq!(PairingCode::parse(&text.replacen(&text[..1], "U", 1)), None);
    }

    #[test]
    fn a_proof_is_bound_to_all_it_covers() {
        let code = PairingCode::generate(&[7; 32]);
        let proof = code.proof("joiner", b"exporter", b"csr");
        assert_ne!(proof, code.proof("primary", b"exporter", b"csr"));
        assert_ne!(proof, code.proof("joiner", b"exporterc", b"sr"));
        assert_ne!(proof, PairingCode::generate(&[7; 32]).proof("joiner", b"exporter", b"csr"));
    }
}
