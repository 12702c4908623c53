//! JSON Web Signatures (RFC 7515) in the flattened JSON serialisation (section 7.2.2), with Ed25519 (RFC 8037, `EdDSA`)
//! and ECDSA P-256 (RFC 7518, `ES256`) keys.

use super::{PkiError, sha256};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The algorithms taken, by their JOSE names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
}

/// A private signing key.
pub enum SigningKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?})", self.algorithm())
    }
}

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the cryptographic library refuses, which it does only without randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, PkiError> {
        const WHY: PkiError = PkiError::Key("none could be generated");
        Ok(match algorithm {
            Algorithm::EdDsa => Self::Ed25519(Ed25519KeyPair::generate().map_err(|_| WHY)?),
            Algorithm::Es256 => {
                Self::P256(EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| WHY)?)
            }
        })
    }

    /// Reads PKCS#8 (RFC 5958), trying Ed25519 first.
    ///
    /// # Errors
    /// When it is neither.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, PkiError> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8(der).or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)) {
            return Ok(Self::Ed25519(key));
        }
        EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(Self::P256)
            .map_err(|_| PkiError::Key("expected PKCS#8 with an Ed25519 or P-256 key"))
    }

    /// PKCS#8 version 1, DER.
    ///
    /// # Errors
    /// When the library cannot export the key.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        const WHY: PkiError = PkiError::Key("it cannot be exported");
        let der = match self {
            Self::Ed25519(key) => key.to_pkcs8v1().map_err(|_| WHY)?.as_ref().to_vec(),
            Self::P256(key) => key.to_pkcs8v1().map_err(|_| WHY)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(der))
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey { algorithm: Algorithm::EdDsa, raw: key.public_key().as_ref().to_vec() },
            Self::P256(key) => PublicKey { algorithm: Algorithm::Es256, raw: key.public_key().as_ref().to_vec() },
        }
    }

    /// The raw signature: 64 bytes for both algorithms. Ed25519 is deterministic, P-256 is not.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        const WHY: PkiError = PkiError::Key("it does not sign");
        Ok(match self {
            Self::Ed25519(key) => key.try_sign(message).map_err(|_| WHY)?.as_ref().to_vec(),
            Self::P256(key) => {
                key.sign(&aws_lc_rs::rand::SystemRandom::new(), message).map_err(|_| WHY)?.as_ref().to_vec()
            }
        })
    }
}

/// A public key: 32 bytes for Ed25519, an uncompressed point of 65 for P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    raw: Vec<u8>,
}

/// DER before the key bits of a SubjectPublicKeyInfo (RFC 8410, RFC 5480).
const ED25519_SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A public key as a JSON Web Key (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    pub x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo, DER.
    ///
    /// # Errors
    /// When it is not an Ed25519 or uncompressed P-256 key.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, PkiError> {
        match (der.strip_prefix(ED25519_SPKI), der.strip_prefix(P256_SPKI)) {
            (Some(raw), _) if raw.len() == 32 => Ok(Self { algorithm: Algorithm::EdDsa, raw: raw.to_vec() }),
            (_, Some(raw)) if raw.len() == 65 && raw[0] == 4 => {
                Ok(Self { algorithm: Algorithm::Es256, raw: raw.to_vec() })
            }
            _ => Err(PkiError::PublicKey("expected Ed25519 or P-256")),
        }
    }

    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        let prefix = match self.algorithm {
            Algorithm::EdDsa => ED25519_SPKI,
            Algorithm::Es256 => P256_SPKI,
        };
        [prefix, &self.raw].concat()
    }

    /// SHA-256 of the SubjectPublicKeyInfo: how a key is named in records.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&self.spki_der())
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// # Errors
    /// When the kind of key or its coordinates are not what we take.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, PkiError> {
        const WHY: PkiError = PkiError::PublicKey("expected a JWK of kty OKP/Ed25519 or EC/P-256");
        let x = B64.decode(&jwk.x).map_err(|_| WHY)?;
        match (jwk.kty.as_str(), jwk.crv.as_str(), &jwk.y) {
            ("OKP", "Ed25519", None) if x.len() == 32 => Ok(Self { algorithm: Algorithm::EdDsa, raw: x }),
            ("EC", "P-256", Some(y)) => {
                let y = B64.decode(y).map_err(|_| WHY)?;
                if x.len() != 32 || y.len() != 32 {
                    return Err(WHY);
                }
                Ok(Self { algorithm: Algorithm::Es256, raw: [&[4], x.as_slice(), &y].concat() })
            }
            _ => Err(WHY),
        }
    }

    #[must_use]
    pub fn to_jwk(&self) -> Jwk {
        match self.algorithm {
            Algorithm::EdDsa => Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: B64.encode(&self.raw), y: None },
            Algorithm::Es256 => Jwk {
                kty: "EC".into(),
                crv: "P-256".into(),
                x: B64.encode(&self.raw[1..33]),
                y: Some(B64.encode(&self.raw[33..])),
            },
        }
    }

    /// # Errors
    /// When the signature is not this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), PkiError> {
        let ok = match self.algorithm {
            Algorithm::EdDsa => {
                signature::UnparsedPublicKey::new(&signature::ED25519, &self.raw).verify(message, signature)
            }
            Algorithm::Es256 => signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &self.raw)
                .verify(message, signature),
        };
        ok.map_err(|_| PkiError::Signature("the signature does not match the key and the document".into()))
    }
}

/// The protected header: nothing in it is optional to understand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Set by [`Jws::sign`].
    #[serde(default)]
    pub alg: String,
    /// What kind of document this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// Who signed: an instance id, a certificate thumbprint, a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwk: Option<Jwk>,
    /// Certificate chain, leaf first, standard base64 of DER (RFC 7515, 4.1.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5c: Option<Vec<String>>,
}

impl Header {
    #[must_use]
    pub fn typ(typ: &str) -> Self {
        Self { typ: Some(typ.to_owned()), ..Self::default() }
    }

    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    #[must_use]
    pub fn with_key(mut self, key: &PublicKey) -> Self {
        self.jwk = Some(key.to_jwk());
        self
    }

    #[must_use]
    pub fn with_chain<'a>(mut self, chain: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let encode = |der| base64::engine::general_purpose::STANDARD.encode(der);
        self.x5c = Some(chain.into_iter().map(encode).collect());
        self
    }

    /// The chain as DER, leaf first; empty when the header has none.
    ///
    /// # Errors
    /// When an entry is not base64.
    pub fn chain(&self) -> Result<Vec<Vec<u8>>, PkiError> {
        let decode = |text: &String| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|_| PkiError::Certificate("x5c holds something that is not base64".into()))
        };
        self.x5c.iter().flatten().map(decode).collect()
    }
}

/// A flattened JWS as it travels and is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jws {
    /// base64url of the protected header's JSON.
    pub protected: String,
    /// base64url of the payload.
    pub payload: String,
    /// base64url of the signature.
    pub signature: String,
}

impl Jws {
    /// Signs `payload`; `header.alg` is set from the key.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(key: &SigningKey, mut header: Header, payload: &[u8]) -> Result<Self, PkiError> {
        header.alg = match key.algorithm() {
            Algorithm::EdDsa => "EdDSA".into(),
            Algorithm::Es256 => "ES256".into(),
        };
        let json = serde_json::to_vec(&header).map_err(|e| PkiError::Signature(format!("header: {e}")))?;
        let mut signed = B64.encode(json);
        let split = signed.len();
        signed.push('.');
        B64.encode_string(payload, &mut signed);
        let signature = B64.encode(key.sign(signed.as_bytes())?);
        let payload = signed[split + 1..].to_owned();
        signed.truncate(split);
        Ok(Self { protected: signed, payload, signature })
    }

    /// The protected header, not yet verified.
    ///
    /// # Errors
    /// When it is not base64url of a header we know.
    pub fn header(&self) -> Result<Header, PkiError> {
        let json = B64
            .decode(&self.protected)
            .map_err(|_| PkiError::Signature("the JWS protected header is not base64url".into()))?;
        serde_json::from_slice(&json).map_err(|e| PkiError::Signature(format!("the JWS protected header: {e}")))
    }

    /// The payload, not yet verified: only for finding out whose key must verify it.
    ///
    /// # Errors
    /// When it is not base64url.
    pub fn payload_unverified(&self) -> Result<Vec<u8>, PkiError> {
        B64.decode(&self.payload).map_err(|_| PkiError::Signature("the JWS payload is not base64url".into()))
    }

    /// Checks the signature under `key` and gives the payload. The header's `alg` must be the key's.
    ///
    /// # Errors
    /// When anything does not fit.
    pub fn verify(&self, key: &PublicKey) -> Result<Vec<u8>, PkiError> {
        let header = self.header()?;
        let expected = match key.algorithm() {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
        };
        if header.alg != expected {
            return Err(PkiError::Signature(format!(
                "the JWS says alg {:?} but its key is for {expected}",
                header.alg
            )));
        }
        let signature = B64
            .decode(&self.signature)
            .map_err(|_| PkiError::Signature("the JWS signature is not base64url".into()))?;
        let mut signed = String::with_capacity(self.protected.len() + 1 + self.payload.len());
        signed.push_str(&self.protected);
        signed.push('.');
        signed.push_str(&self.payload);
        key.verify(signed.as_bytes(), &signature)?;
        self.payload_unverified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_sign_verify_and_travel() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let key = SigningKey::generate(algorithm).unwrap();
            let again = SigningKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap();
            assert_eq!(key.public_key(), again.public_key());
            let jws = Jws::sign(&again, Header::typ("test").with_key(&key.public_key()), b"payload").unwrap();
            let text = serde_json::to_string(&jws).unwrap();
            let jws: Jws = serde_json::from_str(&text).unwrap();
            let public = PublicKey::from_jwk(&jws.header().unwrap().jwk.unwrap()).unwrap();
            assert_eq!(public, PublicKey::from_spki_der(&key.public_key().spki_der()).unwrap());
            assert_eq!(jws.verify(&public).unwrap(), b"payload");
        }
    }

    #[test]
    fn a_changed_byte_or_another_key_is_refused() {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let jws = Jws::sign(&key, Header::default(), b"payload").unwrap();
        let other = SigningKey::generate(Algorithm::EdDsa).unwrap().public_key();
        assert!(jws.verify(&other).is_err());
        let forged = Jws { payload: B64.encode(b"payl0ad"), ..jws };
        assert!(forged.verify(&key.public_key()).is_err());
    }

    #[test]
    fn the_header_cannot_choose_the_algorithm() {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let mut jws = Jws::sign(&key, Header::default(), b"payload").unwrap();
        jws.protected = B64.encode(br#"{"alg":"none"}"#);
        assert!(jws.verify(&key.public_key()).is_err());
    }

    /// RFC 8037, appendix A.4.
    #[test]
    fn rfc_8037_example_verifies() {
        let jwk = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            y: None,
        };
        let jws = Jws {
            protected: "eyJhbGciOiJFZERTQSJ9".into(),
            payload: "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".into(),
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".into(),
        };
        assert_eq!(jws.verify(&PublicKey::from_jwk(&jwk).unwrap()).unwrap(), b"Example of Ed25519 signing");
    }
}
