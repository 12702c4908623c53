//! What an agent believes: answers signed by a signer whose chain leads to the pinned vendor root.

use super::AgentError;
use super::record::CertificateRecord;
use crate::license::Millis;
use crate::pki::ca::{certificate_key, fingerprint};
use crate::pki::chain::{Use, verify};
use crate::pki::jws::{Jws, PublicKey};
use crate::pki::sha256;
use crate::product::keyring::thumbprint;
use crate::product::message::{ANSWER_TYP, Answer};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use serde::{Deserialize, Serialize};

/// How the vendor root becomes known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootPin {
    /// The root itself, DER.
    Certificate(Vec<u8>),
    /// SHA-256 of the root's DER; the root comes with the first answer and must match.
    Fingerprint([u8; 32]),
}

impl RootPin {
    /// Reads a fingerprint of 64 hexadecimal digits, with or without colons.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_fingerprint(text: &str) -> Result<Self, AgentError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let bytes = hex::decode(digits).ok().and_then(|b| b.try_into().ok());
        bytes.map(Self::Fingerprint).ok_or_else(|| AgentError::Invalid {
            what: "the root fingerprint".into(),
            why: "expected SHA-256 as 64 hexadecimal digits".into(),
        })
    }
}

/// The pinned root and the newest signer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trust {
    /// base64 of the root's DER; none before the first answer when only a fingerprint, or nothing, was given.
    root: Option<String>,
    /// Hexadecimal SHA-256 that the root must have.
    fingerprint: Option<String>,
    /// The signer's chain, base64 of DER, leaf first.
    chain: Vec<String>,
}

impl Trust {
    /// Pins a root; a different one than before also forgets the signer.
    pub(super) fn pin(&mut self, pin: RootPin) -> Result<(), AgentError> {
        let (root, fingerprint) = match pin {
            RootPin::Certificate(der) => {
                certificate_key(&der)?;
                (Some(STANDARD.encode(&der)), hex::encode(sha256(&der)))
            }
            RootPin::Fingerprint(hash) => (None, hex::encode(hash)),
        };
        if self.fingerprint.as_ref() != Some(&fingerprint) {
            *self = Self { root, fingerprint: Some(fingerprint), chain: Vec::new() };
        }
        Ok(())
    }

    /// The fingerprint of the root in use.
    pub(super) fn root_fingerprint(&self) -> Option<String> {
        Some(fingerprint(&decode(self.root.as_ref()?).ok()?))
    }

    /// The vendor root, DER, once it is known.
    pub(super) fn root(&self) -> Result<Option<Vec<u8>>, AgentError> {
        self.root.as_ref().map(decode).transpose()
    }

    /// The thumbprint of the signer known, sent along so that the server leaves out the chain.
    pub(super) fn signer(&self) -> Option<String> {
        decode(self.chain.first()?).ok().map(|der| thumbprint(&der))
    }

    /// The answer in `body`, if it is signed by a trusted signer and answers the request whose payload was `payload`.
    pub(super) fn verify(&mut self, body: &[u8], payload: &[u8], now: Millis) -> Result<Answer<'static>, AgentError> {
        let untrusted = |why: String| AgentError::Untrusted(why);
        let jws: Jws = serde_json::from_slice(body).map_err(|e| untrusted(format!("it is not a JWS: {e}")))?;
        let header = jws.header()?;
        if header.typ.as_deref() != Some(ANSWER_TYP) {
            return Err(untrusted(format!("its typ is not {ANSWER_TYP}")));
        }
        let sent = header.chain()?;
        let mut accepted = self.clone();
        let chain = if sent.is_empty() { self.chain()? } else { sent };
        let signer = chain.first().ok_or_else(|| untrusted("it names a signer but shows no certificates".into()))?;
        if header.kid.as_deref() != Some(thumbprint(signer).as_str()) {
            return Err(untrusted("it is signed by another signer than its certificates show".into()));
        }
        accepted.accept_chain(&chain, now)?;
        let bytes = jws.verify(&certificate_key(signer)?)?;
        let answer: Answer<'static> =
            serde_json::from_slice(&bytes).map_err(|e| untrusted(format!("its payload is not an answer: {e}")))?;
        if answer.request != B64.encode(sha256(payload)) {
            return Err(untrusted("it answers another request".into()));
        }
        *self = accepted;
        Ok(answer)
    }

    /// Takes the chain if it leads to the pinned root. Without a pin, the first chain's root is pinned (trust on first
    /// use): whoever can pose as the server at that moment, TLS included, is believed from then on.
    fn accept_chain(&mut self, chain: &[Vec<u8>], now: Millis) -> Result<(), AgentError> {
        let untrusted = |why: &str| AgentError::Untrusted(why.to_owned());
        let (signer, above) = chain.split_first().ok_or_else(|| untrusted("its certificate chain is empty"))?;
        let root = match &self.root {
            Some(root) => decode(root)?,
            None => above.last().cloned().ok_or_else(|| untrusted("its chain has no root to compare"))?,
        };
        let found = hex::encode(sha256(&root));
        if self.fingerprint.as_ref().is_some_and(|pinned| *pinned != found) {
            return Err(untrusted(&format!("its root is {}, not the pinned one", fingerprint(&root))));
        }
        verify(signer, above, std::slice::from_ref(&root), now, Use::DocumentSigner)
            .map_err(|e| AgentError::Untrusted(format!("{e}; if dates are the reason, check this product's clock")))?;
        self.root = Some(STANDARD.encode(&root));
        self.fingerprint = Some(found);
        self.chain = chain.iter().map(|der| STANDARD.encode(der)).collect();
        Ok(())
    }

    /// Checks an ID certificate: for our key, from the authority above the signer.
    pub(super) fn id_certificate(
        &self,
        text: &str,
        key: &PublicKey,
        now: Millis,
    ) -> Result<CertificateRecord, AgentError> {
        let der = decode(text)?;
        if certificate_key(&der)? != *key {
            return Err(AgentError::Untrusted("the ID certificate is for another key".into()));
        }
        let root = self.root.as_ref().map(decode).transpose()?;
        let above: Vec<_> = self.chain()?.into_iter().skip(1).collect();
        verify(&der, &above, root.as_slice(), now, Use::Client)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|e| AgentError::Untrusted(format!("the ID certificate does not parse: {e}")))?;
        let ms = |t: x509_parser::time::ASN1Time| u64::try_from(t.timestamp()).unwrap_or(0) * 1_000;
        let validity = parsed.validity();
        let (not_before, not_after) = (ms(validity.not_before), ms(validity.not_after));
        Ok(CertificateRecord { der: text.to_owned(), not_before, not_after })
    }

    fn chain(&self) -> Result<Vec<Vec<u8>>, AgentError> {
        self.chain.iter().map(decode).collect()
    }
}

fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, AgentError> {
    STANDARD.decode(text).map_err(|_| AgentError::Untrusted("a certificate is not base64".into()))
}
