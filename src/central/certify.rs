//! The certificates of accounts: made with the keys that an account has, and made anew before they end.

use super::client::{Result, Upstream, status};
use super::document::DocumentError;
use crate::license::{Account, AccountKeys, Command, Millis};
use crate::pki::ca::{self, Authority, Leaf, Purpose};
use crate::pki::jws::SigningKey;
use crate::pki::{chain, random};

/// As long as the account CA itself; both are renewed together.
const SIGNER_DAYS: u64 = 10 * 365;
/// So long before its end another certificate of an account CA is asked for: the ID certificates that it issues run for a
/// year, and its site may be without a way to central for as long.
const ACCOUNT_CA_RENEWAL: u64 = 2 * 365 * Millis::DAY;

impl Upstream {
    /// Has the next synchronization ask central for other certificates of account CAs whose own end in a while. The
    /// certificates of the signers of answers, which end with them, are made anew with them.
    ///
    /// # Errors
    /// When a certificate cannot be read, or a change cannot be committed.
    pub async fn renew_certificates(&self, actor: &str) -> Result<()> {
        let (state, now) = (self.ledger().state(), self.now());
        for account in state.accounts() {
            let Some(keys) = account.keys.as_ref().filter(|keys| !keys.ca_chain.is_empty()) else { continue };
            if now.plus(ACCOUNT_CA_RENEWAL) >= ca::not_after(&keys.ca_chain[0])? && !account.sync.certify {
                self.commit(actor, Command::WantAccountCertificate { account: account.id }).await?;
            }
        }
        Ok(())
    }

    /// The command by which the account goes on with this chain of its CA.
    pub(super) fn certification(&self, account: &Account, ca_chain: Vec<Vec<u8>>) -> Result<Command> {
        let keys = account.keys.as_ref().ok_or_else(|| status(account, "it has no keys yet"))?;
        let ca_key = self.open(AccountKeys::CA_KEY_CONTEXT, &keys.ca_key)?;
        let signer_key = self.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key)?;
        let signer_cert = self.certify_signer(account, &ca_chain, &ca_key, &signer_key)?;
        Ok(Command::CertifyAccount { account: account.id, ca_chain, signer_cert })
    }

    /// Certifies the account's signer with its CA, and checks by that path that central certified our key.
    pub(super) fn certify_signer(
        &self,
        account: &Account,
        ca_chain: &[Vec<u8>],
        ca_key: &SigningKey,
        signer_key: &SigningKey,
    ) -> Result<Vec<u8>> {
        let [ca_cert, intermediates @ ..] = ca_chain else {
            return Err(DocumentError::Invalid("chain is empty".into()).into());
        };
        if ca::certificate_key(ca_cert)? != ca_key.public_key() {
            return Err(DocumentError::Invalid("account CA certificate is for another key".into()).into());
        }
        // Central may have signed by a clock ahead of this one.
        let now = self.now().max(ca::not_before(ca_cert)?);
        let leaf = Leaf {
            common_name: format!("{} answers", account.name),
            purpose: Purpose::DocumentSigner,
            hosts: Vec::new(),
            uris: vec![format!("licraft:server:{}", self.ledger().state().meta().server_uid)],
            crl: None,
            serial: random::bytes(),
            not_before: Millis(now.0.saturating_sub(ca::BACKDATE_MS)),
            not_after: now.plus(SIGNER_DAYS * Millis::DAY).min(ca::not_after(ca_cert)?),
        };
        let authority = Authority::from_parts(ca_cert.clone(), ca_key.to_pkcs8_der()?)?;
        let cert = authority.issue_leaf(&ca::csr(signer_key, &leaf.common_name)?, &leaf)?;
        let path: Vec<Vec<u8>> = std::iter::once(ca_cert).chain(intermediates).cloned().collect();
        chain::verify(&cert, &path, &[self.vendor_root().der().to_vec()], now, chain::Use::DocumentSigner)
            .map_err(DocumentError::from)?;
        Ok(cert)
    }
}
