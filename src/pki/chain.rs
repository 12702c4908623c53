//! Path validation (RFC 5280, section 6) of certificates that are not used for TLS itself.

use super::PkiError;
use super::ca::DOCUMENT_SIGNING_DER;
use crate::license::Millis;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};

/// What the leaf must have been made for.
#[derive(Clone, Copy, Debug)]
pub enum Use {
    DocumentSigner,
    Client,
    Server,
}

/// Checks that `leaf` leads through `intermediates` to one of `roots`, is in date at `at`, and is made for `purpose`.
///
/// # Errors
/// When it does not; the error says what is wrong.
pub fn verify(
    leaf: &[u8],
    intermediates: &[Vec<u8>],
    roots: &[Vec<u8>],
    at: Millis,
    purpose: Use,
) -> Result<(), PkiError> {
    let bad = |e: webpki::Error| PkiError::Untrusted(e.to_string());
    let root_ders: Vec<_> = roots.iter().map(|r| CertificateDer::from(r.as_slice())).collect();
    let anchors = root_ders.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>().map_err(bad)?;
    let intermediates: Vec<_> = intermediates.iter().map(|c| CertificateDer::from(c.as_slice())).collect();
    let usage = match purpose {
        Use::DocumentSigner => KeyUsage::required_if_present(DOCUMENT_SIGNING_DER),
        Use::Client => KeyUsage::client_auth(),
        Use::Server => KeyUsage::server_auth(),
    };
    require_extended_key_usage(leaf)?;
    let leaf = CertificateDer::from(leaf);
    let time = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
    EndEntityCert::try_from(&leaf)
        .map_err(bad)?
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &intermediates, time, usage, None, None)
        .map_err(bad)?;
    Ok(())
}

/// The path check takes a missing extended key usage for "any"; authorities have none, but every leaf of ours has one.
fn require_extended_key_usage(leaf: &[u8]) -> Result<(), PkiError> {
    let (_, cert) = x509_parser::parse_x509_certificate(leaf).map_err(|e| PkiError::Certificate(e.to_string()))?;
    match cert.extended_key_usage() {
        Ok(Some(_)) => Ok(()),
        _ => Err(PkiError::Untrusted("the certificate does not say what it is for".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::ca::{Authority, Leaf, Purpose, csr};
    use crate::pki::jws::{Algorithm, SigningKey};
    use crate::pki::random;
    use zeroize::Zeroizing;

    const NOW: Millis = Millis(1_760_000_000_000);

    fn account_ca(root: &Authority) -> (Authority, Vec<u8>) {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let issuing_key = SigningKey::generate(Algorithm::Es256).unwrap();
        let issuing = root.issue_ca(&csr(&issuing_key, "issuing").unwrap(), "Issuing", NOW, 3650, 1).unwrap();
        let issuing_ca = Authority::from_parts(issuing.clone(), issuing_key.to_pkcs8_der().unwrap()).unwrap();
        let cert = issuing_ca.issue_ca(&csr(&key, "account").unwrap(), "Account", NOW, 3650, 0).unwrap();
        (Authority::from_parts(cert, key.to_pkcs8_der().unwrap()).unwrap(), issuing)
    }

    fn leaf(purpose: Purpose) -> Leaf {
        Leaf {
            common_name: "signer".into(),
            purpose,
            hosts: vec![],
            uris: vec!["licraft:test".into()],
            crl: None,
            serial: random::bytes(),
            not_before: NOW,
            not_after: NOW.plus(Millis::DAY),
        }
    }

    #[test]
    fn a_chain_of_three_authorities_holds_and_its_edges_do_not() {
        let root = Authority::self_signed("Root", 7300, NOW).unwrap();
        let (account, issuing) = account_ca(&root);
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let request = csr(&key, "x").unwrap();
        let signer = account.issue_leaf(&request, &leaf(Purpose::DocumentSigner)).unwrap();
        let path = vec![account.cert_der().to_vec(), issuing];
        let roots = vec![root.cert_der().to_vec()];
        verify(&signer, &path, &roots, NOW.plus(1000), Use::DocumentSigner).unwrap();
        // Not for this use, too late, too early, another root.
        verify(&signer, &path, &roots, NOW.plus(1000), Use::Client).unwrap_err();
        verify(&signer, &path, &roots, NOW.plus(2 * Millis::DAY), Use::DocumentSigner).unwrap_err();
        verify(&signer, &path, &roots, Millis(NOW.0 - 1000), Use::DocumentSigner).unwrap_err();
        let other = Authority::self_signed("Root", 7300, NOW).unwrap();
        verify(&signer, &path, &[other.cert_der().to_vec()], NOW.plus(1000), Use::DocumentSigner).unwrap_err();
    }

    #[test]
    fn an_account_ca_cannot_make_further_authorities() {
        let root = Authority::self_signed("Root", 7300, NOW).unwrap();
        let (account, issuing) = account_ca(&root);
        let rogue_key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let rogue = account.issue_ca(&csr(&rogue_key, "r").unwrap(), "Rogue", NOW, 10, 0).unwrap();
        let rogue_ca = Authority::from_parts(rogue.clone(), rogue_key.to_pkcs8_der().unwrap()).unwrap();
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let signer = rogue_ca.issue_leaf(&csr(&key, "x").unwrap(), &leaf(Purpose::DocumentSigner)).unwrap();
        let path = vec![rogue, account.cert_der().to_vec(), issuing];
        let roots = vec![root.cert_der().to_vec()];
        verify(&signer, &path, &roots, NOW.plus(1000), Use::DocumentSigner).unwrap_err();
    }

    #[test]
    fn issuing_with_an_ed25519_key_is_repeatable() {
        let root = Authority::self_signed("Root", 7300, NOW).unwrap();
        let (account, _) = account_ca(&root);
        let account = Authority::from_parts(account.cert_der().to_vec(), Zeroizing::new(account.key_pkcs8().to_vec()));
        let account = account.unwrap();
        let request = csr(&SigningKey::generate(Algorithm::Es256).unwrap(), "x").unwrap();
        let leaf = leaf(Purpose::Client);
        assert_eq!(account.issue_leaf(&request, &leaf).unwrap(), account.issue_leaf(&request, &leaf).unwrap());
    }

    #[test]
    fn a_request_with_a_wrong_signature_is_refused() {
        let root = Authority::self_signed("Root", 7300, NOW).unwrap();
        let mut request = csr(&SigningKey::generate(Algorithm::EdDsa).unwrap(), "x").unwrap();
        let last = request.len() - 1;
        request[last] ^= 1;
        root.issue_leaf(&request, &leaf(Purpose::Client)).unwrap_err();
    }
}
