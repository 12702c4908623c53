//! The signed documents: requests of an on-prem server and central's responses, as flattened JWS JSON (RFC 7515,
//! 7.2.2). The payload bytes are canonical: they are what is signed and what digests name.

mod body;

pub use body::*;

use crate::license::Millis;
use crate::pki::jws::{Header, Jws, PublicKey, SigningKey};
use crate::pki::{PkiError, ca, chain};
use serde::Deserialize;
use std::fmt;

/// The largest response, every license of an account with every term and the longest names, is below 2 MiB.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// The version of all documents. A field added later needs a new number: a frozen request must not change its bytes.
pub const VERSION: u32 = 1;
/// The URI name in the certificate with which central signs.
pub const CENTRAL_URI: &str = "licraft:central";

/// Why a document is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the document has {0} bytes; at most {MAX_DOCUMENT_BYTES} are taken")]
    TooLarge(usize),
    #[error("not a licraft document: {0}")]
    Malformed(String),
    #[error("this is a document of type {found:?}, expected {expected:?}")]
    WrongType { found: String, expected: &'static str },
    #[error("the document has version {0}; this program knows {VERSION}: update it")]
    Version(u32),
    #[error("the document's signature does not hold: {0}")]
    Signature(#[from] PkiError),
    /// Well signed, but not for us or not the answer to what was asked.
    #[error("the document is for another {what}: it says {found}, expected {expected}")]
    Mismatch { what: &'static str, found: String, expected: String },
    #[error("the document's {0}")]
    Invalid(String),
}

/// The canonical payload bytes of `body`: compact JSON with the fields in their declared order.
///
/// # Panics
/// Never: the bodies are plain structs with string keys.
#[must_use]
pub fn payload<T: Body>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("plain structs with string keys always serialise")
}

/// Signs `payload` and gives the document's bytes as they travel.
///
/// # Errors
/// When the key does not sign.
///
/// # Panics
/// Never: a JWS is three strings.
pub fn sign<T: Body>(payload: &[u8], key: &SigningKey, header: Header) -> Result<Vec<u8>, PkiError> {
    let jws = Jws::sign(key, Header { typ: Some(T::TYP.to_owned()), ..header }, payload)?;
    Ok(serde_json::to_vec(&jws).expect("three strings always serialise"))
}

/// A document whose signature has not been checked yet: good only for finding out whose key must check it.
#[derive(Debug)]
pub struct Unverified {
    jws: Jws,
    header: Header,
}

/// A body whose signature held, with the digest of its payload.
#[derive(Debug)]
pub struct Verified<T> {
    pub body: T,
    pub digest: Digest,
}

impl Unverified {
    /// # Errors
    /// When `bytes` is too large or no JWS with a `typ`.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let jws: Jws = serde_json::from_slice(bytes).map_err(|e| DocumentError::Malformed(e.to_string()))?;
        let header = jws.header().map_err(|e| DocumentError::Malformed(e.to_string()))?;
        Ok(Self { jws, header })
    }

    /// The header's `typ`; empty when it has none.
    #[must_use]
    pub fn typ(&self) -> &str {
        self.header.typ.as_deref().unwrap_or_default()
    }

    /// What the document claims, to look up the key that must have signed it.
    ///
    /// # Errors
    /// When it is of another type or version, or does not parse.
    pub fn claims<T: Body>(&self) -> Result<T, DocumentError> {
        if self.typ() != T::TYP {
            return Err(DocumentError::WrongType { found: self.typ().to_owned(), expected: T::TYP });
        }
        let payload = self.jws.payload_unverified().map_err(|e| DocumentError::Malformed(e.to_string()))?;
        parse_body(&payload)
    }

    /// Checks the signature under `key`.
    ///
    /// # Errors
    /// When it does not hold, or the document is not a `T`.
    pub fn verify<T: Body>(&self, key: &PublicKey) -> Result<Verified<T>, DocumentError> {
        if self.typ() != T::TYP {
            return Err(DocumentError::WrongType { found: self.typ().to_owned(), expected: T::TYP });
        }
        let payload = self.jws.verify(key)?;
        Ok(Verified { body: parse_body(&payload)?, digest: Digest::of(&payload) })
    }

    /// Checks that central signed this: its certificate is made for documents, names central, and was issued by an
    /// authority that `root` itself certified. An account CA is one step further down, so no site can pass for central.
    ///
    /// # Errors
    /// When any of that fails, or the document is not a `T`.
    pub fn verify_central<T: Body>(&self, root: &[u8], at: Millis) -> Result<Verified<T>, DocumentError> {
        let certificates = self.header.chain()?;
        let [leaf, issuing] = certificates.as_slice() else {
            return Err(DocumentError::Malformed(
                "expected two certificates in x5c: central's signer and its issuer".into(),
            ));
        };
        chain::verify(leaf, std::slice::from_ref(issuing), &[root.to_vec()], at, chain::Use::DocumentSigner)?;
        if !names_central(leaf)? {
            return Err(PkiError::Untrusted("the signer's certificate does not name central".into()).into());
        }
        self.verify(&ca::certificate_key(leaf)?)
    }
}

impl<T: Response> Verified<T> {
    /// Checks that this answers `request` of this server's account.
    ///
    /// # Errors
    /// When it is for somebody or something else; says what.
    pub fn expect(&self, server: &str, account: &str, request: Digest) -> Result<(), DocumentError> {
        let mismatch = |what, found: String, expected: String| Err(DocumentError::Mismatch { what, found, expected });
        let (for_server, for_account) = self.body.audience();
        if for_server != server {
            return mismatch("server", for_server.to_owned(), server.to_owned());
        }
        if for_account != account {
            return mismatch("account", for_account.to_owned(), account.to_owned());
        }
        if self.body.request() != request {
            return mismatch("request", self.body.request().to_string(), request.to_string());
        }
        Ok(())
    }
}

fn names_central(leaf: &[u8]) -> Result<bool, PkiError> {
    use x509_parser::extensions::GeneralName;
    let bad = |e: &dyn fmt::Display| PkiError::Certificate(e.to_string());
    let (_, cert) = x509_parser::parse_x509_certificate(leaf).map_err(|e| bad(&e))?;
    let names = cert.subject_alternative_name().map_err(|e| bad(&e))?;
    Ok(names.iter().flat_map(|n| &n.value.general_names).any(|n| matches!(n, GeneralName::URI(CENTRAL_URI))))
}

fn parse_body<T: Body>(payload: &[u8]) -> Result<T, DocumentError> {
    /// Read first, so that a newer document is named as such and not as malformed.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |e: serde_json::Error| DocumentError::Malformed(format!("{}: {e}", T::TYP));
    let versioned: Versioned = serde_json::from_slice(payload).map_err(malformed)?;
    if versioned.version != VERSION {
        return Err(DocumentError::Version(versioned.version));
    }
    serde_json::from_slice(payload).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::jws::Algorithm;

    fn request() -> SyncRequest {
        SyncRequest {
            version: VERSION,
            server: "00ff".into(),
            life: Life { incarnation: 2, since: 1_000 },
            account: "TEST \"1\"".into(),
            seq: 7,
            previous: Digest([0xab; 32]),
            cut: 1_234,
            instances: 2,
            usage: vec![TagUsage { tag: "BASE".into(), in_use: 3, substitution: 0 }],
            certificate: None,
            closing: false,
            ca_csr: None,
        }
    }

    /// A request begun by one version may be sent again by the next one: were these bytes to change, central would
    /// take the second for a fork.
    #[test]
    fn the_bytes_of_a_request_are_frozen() {
        let expected = format!(
            r#"{{"version":1,"server":"00ff","life":{{"incarnation":2,"since":1000}},"account":"TEST \"1\"","seq":7,"previous":"{}","cut":1234,"instances":2,"usage":[{{"tag":"BASE","in_use":3}}]}}"#,
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(payload(&request())).unwrap(), expected);
        let digest = Digest::of(expected.as_bytes());
        assert_eq!(digest.to_string(), "0312609fc27a2b91e4aa3717d069dbc84935b5acbcb9dca547980d5949e57ac1");
    }

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let bytes = sign::<SyncRequest>(&payload(&request()), &key, Header::default()).unwrap();
        let again = sign::<SyncRequest>(&payload(&request()), &key, Header::default()).unwrap();
        assert_eq!(bytes, again, "the same request must be the same document");
        let document = Unverified::parse(&bytes).unwrap();
        let verified = document.verify::<SyncRequest>(&key.public_key()).unwrap();
        assert_eq!(verified.body, request());
        assert_eq!(verified.digest, Digest::of(&payload(&request())));
        assert!(matches!(document.claims::<SyncResponse>(), Err(DocumentError::WrongType { .. })));
        let other = SigningKey::generate(Algorithm::EdDsa).unwrap().public_key();
        assert!(matches!(document.verify::<SyncRequest>(&other), Err(DocumentError::Signature(_))));
    }

    #[test]
    fn newer_versions_and_unknown_fields_are_named_as_such() {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let read = |json: &str| {
            let bytes = sign::<SyncRequest>(json.as_bytes(), &key, Header::default()).unwrap();
            Unverified::parse(&bytes).unwrap().claims::<SyncRequest>().unwrap_err().to_string()
        };
        assert!(read(r#"{"version":2,"what":"ever"}"#).contains("update it"));
        let json = String::from_utf8(payload(&request())).unwrap();
        assert!(read(&json.replace("\"cut\"", "\"cat\"")).contains("unknown field `cat`"));
        assert!(read("[]").contains("not a licraft document"));
    }

    #[test]
    fn an_oversized_document_is_not_parsed() {
        let error = Unverified::parse(&vec![b'{'; MAX_DOCUMENT_BYTES + 1]).unwrap_err();
        assert!(matches!(error, DocumentError::TooLarge(_)));
    }
}
