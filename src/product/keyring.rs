//! The accounts' keys, opened once and kept: what signs answers and issues ID certificates.

use super::message::ANSWER_TYP;
use crate::license::{Account, AccountId, AccountKeys, AccountStatus, IdCertificate, InstanceId, Millis, State};
use crate::pki::ca::{Authority, Leaf, Purpose, certificate_key};
use crate::pki::jws::{Algorithm, Header, SigningKey};
use crate::pki::seal::Sealer;
use crate::pki::{PkiError, chain, sha256};
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use std::collections::HashMap;
use std::slice;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;

/// Prefix of the URI in an ID certificate's subjectAltName that names the instance.
pub const INSTANCE_URI: &str = "licraft:instance:";

/// base64url of SHA-256 of a certificate: how a signer is named in a header's `kid`.
#[must_use]
pub fn thumbprint(certificate_der: &[u8]) -> String {
    B64.encode(sha256(certificate_der))
}

/// One account's opened keys.
pub(super) struct AccountSigner {
    key: SigningKey,
    ca: Authority,
    signer_cert: Vec<u8>,
    ca_chain: Vec<Vec<u8>>,
    thumbprint: String,
    /// The encoded protected header without and with the chain: the same for every answer.
    protected: String,
    protected_with_chain: String,
}

impl AccountSigner {
    fn open(sealer: &Sealer, keys: &AccountKeys) -> Result<Self, PkiError> {
        let key = SigningKey::from_pkcs8_der(&sealer.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key)?)?;
        if certificate_key(&keys.signer_cert)? != key.public_key() {
            return Err(PkiError::Certificate("the answer signer's certificate is for another key".into()));
        }
        let ca_cert = keys.ca_chain.first().ok_or(PkiError::Certificate("the account has no CA chain".into()))?;
        let ca = Authority::from_parts(ca_cert.clone(), sealer.open(AccountKeys::CA_KEY_CONTEXT, &keys.ca_key)?)?;
        let thumbprint = thumbprint(&keys.signer_cert);
        let alg = match key.algorithm() {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
        };
        let header = Header { alg: alg.into(), ..Header::typ(ANSWER_TYP).with_kid(&thumbprint) };
        let chain = std::iter::once(&keys.signer_cert).chain(&keys.ca_chain).map(Vec::as_slice);
        Ok(Self {
            protected: encode(&header)?,
            protected_with_chain: encode(&header.with_chain(chain))?,
            key,
            ca,
            signer_cert: keys.signer_cert.clone(),
            ca_chain: keys.ca_chain.clone(),
            thumbprint,
        })
    }

    fn is_of(&self, keys: &AccountKeys) -> bool {
        self.signer_cert == keys.signer_cert && self.ca_chain == keys.ca_chain
    }

    /// A flattened JWS over `payload`, as the bytes that travel; with the certificate chain unless the product knows
    /// this signer already.
    pub(super) fn sign(&self, payload: &[u8], known_signer: Option<&str>) -> Result<Vec<u8>, PkiError> {
        let known = known_signer == Some(self.thumbprint.as_str());
        let protected = if known { &self.protected } else { &self.protected_with_chain };
        // Room for the payload in base64, the header twice over while signing, and the signature.
        let mut signed = String::with_capacity(protected.len() + 1 + payload.len() * 4 / 3 + 4);
        signed.push_str(protected);
        signed.push('.');
        B64.encode_string(payload, &mut signed);
        let signature = B64.encode(self.key.sign(signed.as_bytes())?);
        let encoded_payload = &signed[protected.len() + 1..];
        // All three are base64url, which JSON never escapes.
        let parts =
            [r#"{"protected":""#, protected, r#"","payload":""#, encoded_payload, r#"","signature":""#, &signature];
        let mut body = Vec::with_capacity(parts.iter().map(|p| p.len()).sum::<usize>() + 2);
        parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
        body.extend_from_slice(br#""}"#);
        Ok(body)
    }

    /// The ID certificate on record as X.509. The account CA's key is Ed25519, so that the same record always gives the
    /// same bytes and a repeated request gets the certificate it missed.
    pub(super) fn issue(
        &self,
        instance: InstanceId,
        csr: &[u8],
        record: &IdCertificate,
        crl: Option<String>,
    ) -> Result<Vec<u8>, PkiError> {
        let leaf = Leaf {
            common_name: format!("instance {instance}"),
            purpose: Purpose::Client,
            hosts: Vec::new(),
            uris: vec![format!("{INSTANCE_URI}{instance}")],
            crl,
            serial: record.serial,
            not_before: record.not_before,
            not_after: record.not_after,
        };
        self.ca.issue_leaf(csr, &leaf)
    }

    /// The account's list of revoked ID certificates.
    pub(super) fn revocation_list(&self, state: &State, account: AccountId) -> Result<Vec<u8>, PkiError> {
        self.ca.issue_crl(state.revocation_list(), state.revoked(account))
    }
}

/// The instance that an ID certificate names.
fn instance_of(certificate: &[u8]) -> Option<InstanceId> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let uri = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(INSTANCE_URI),
        _ => None,
    });
    uri?.parse().ok().map(InstanceId)
}

fn encode(header: &Header) -> Result<String, PkiError> {
    let json = serde_json::to_vec(header).map_err(|e| PkiError::Signature(format!("header: {e}")))?;
    Ok(B64.encode(json))
}

/// The opened keys of all accounts that have answered something.
pub(super) struct Keyring {
    sealer: Sealer,
    open: ArcSwap<HashMap<AccountId, Arc<AccountSigner>>>,
}

impl Keyring {
    pub(super) fn new(sealer: Sealer) -> Self {
        Self { sealer, open: ArcSwap::default() }
    }

    /// The account's signer; `None` while central has not certified the account. Opened again when the record changed.
    pub(super) fn signer(&self, account: &Account) -> Result<Option<Arc<AccountSigner>>, PkiError> {
        let Some(keys) = account.keys.as_ref().filter(|k| !k.signer_cert.is_empty()) else { return Ok(None) };
        if let Some(signer) = self.open.load().get(&account.id)
            && signer.is_of(keys)
        {
            return Ok(Some(Arc::clone(signer)));
        }
        let signer = Arc::new(AccountSigner::open(&self.sealer, keys)?);
        self.open.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.insert(account.id, Arc::clone(&signer));
            map
        });
        Ok(Some(signer))
    }

    /// The active account that issued an ID certificate in force at `at`, its signer, and the instance named in it.
    pub(super) fn issued(
        &self,
        state: &State,
        certificate: &[u8],
        at: Millis,
    ) -> Result<Option<(AccountId, Arc<AccountSigner>, InstanceId)>, PkiError> {
        let Some(instance) = instance_of(certificate) else { return Ok(None) };
        let issuer = |keys: &AccountKeys| {
            let ca = keys.ca_chain.first();
            ca.is_some_and(|ca| chain::verify(certificate, &[], slice::from_ref(ca), at, chain::Use::Client).is_ok())
        };
        let mut active = state.accounts().filter(|a| a.status == AccountStatus::Active);
        let Some(account) = active.find(|a| a.keys.as_ref().is_some_and(issuer)) else { return Ok(None) };
        Ok(self.signer(account)?.map(|signer| (account.id, signer, instance)))
    }

    /// The account whose answer signer has this thumbprint: how a product that is no longer known is still answered with
    /// a signature. Walks the accounts, so only for rate-limited requests.
    pub(super) fn by_thumbprint(&self, state: &State, wanted: &str) -> Result<Option<Arc<AccountSigner>>, PkiError> {
        let account = state.accounts().find(|a| {
            a.status == AccountStatus::Active && a.keys.as_ref().is_some_and(|k| thumbprint(&k.signer_cert) == wanted)
        });
        account.map_or(Ok(None), |account| self.signer(account))
    }
}
