//! Which key the secrets in the state are sealed under, and the change to another one.

use super::*;
use serde::{Deserialize, Serialize};

/// Names a sealing key without telling anything of it.
pub type SealingKeyId = [u8; 8];

/// One record, from the first change on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    /// Everything is sealed under this key from now on.
    pub key: SealingKeyId,
    /// The key before it, until nothing is sealed under that any more.
    pub previous: Option<SealingKeyId>,
    /// When the change began.
    pub since: Millis,
}

/// A place in the state that holds a sealed secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SealedPlace {
    AccountCa(AccountId),
    AccountSigner(AccountId),
    Token(TokenId),
    /// Of the certificate that central is to sign.
    WantedCertificate,
    ServerCertificate,
    BrowserCertificate,
    /// Of the second factor with this id.
    Totp(u64),
    /// Name and password for the proxy.
    ProxyLogin,
}

/// A secret sealed anew; it takes its place only while `old` is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    pub place: SealedPlace,
    pub old: Sealed,
    pub new: Sealed,
}

impl Sealed {
    /// The key that it is sealed under; none: it is no sealed secret.
    #[must_use]
    pub fn key_id(&self) -> Option<SealingKeyId> {
        self.0.last_chunk().copied()
    }
}

impl SealedPlace {
    /// What a secret in this place is sealed for (the context of `pki::seal`).
    #[must_use]
    pub const fn context(self) -> &'static str {
        match self {
            Self::AccountCa(_) => AccountKeys::CA_KEY_CONTEXT,
            Self::AccountSigner(_) => AccountKeys::SIGNER_KEY_CONTEXT,
            Self::Token(_) => Token::CONTEXT,
            Self::WantedCertificate | Self::ServerCertificate => ServerCertificate::KEY_CONTEXT,
            Self::BrowserCertificate => BrowserCertificate::KEY_CONTEXT,
            Self::Totp(_) => Totp::SEED_CONTEXT,
            Self::ProxyLogin => Settings::PROXY_LOGIN_CONTEXT,
        }
    }
}

impl State {
    /// None before the first change of the key.
    #[must_use]
    pub const fn sealing(&self) -> Option<Sealing> {
        self.sealing
    }

    /// All sealed secrets.
    pub fn sealed(&self) -> impl Iterator<Item = (SealedPlace, &Sealed)> + Send + '_ {
        let keys = self.accounts().filter_map(|account| Some((account.id, account.keys.as_ref()?)));
        let accounts = keys.flat_map(|(id, keys)| {
            [(SealedPlace::AccountCa(id), &keys.ca_key), (SealedPlace::AccountSigner(id), &keys.signer_key)]
        });
        let tokens = self.tokens.values().map(|token| (SealedPlace::Token(token.id), &token.sealed));
        let certificate = &self.server_certificate;
        let wanted = certificate.wanted.as_ref().map(|wanted| (SealedPlace::WantedCertificate, &wanted.key));
        let current = certificate.current.as_ref().map(|current| (SealedPlace::ServerCertificate, &current.key));
        let browser = self.browser_certificate().map(|c| (SealedPlace::BrowserCertificate, &c.key));
        let seeds =
            self.users().filter_map(|user| user.totp.as_ref()).map(|totp| (SealedPlace::Totp(totp.id), &totp.seed));
        let login = self.settings.proxy_login.as_ref().map(|login| (SealedPlace::ProxyLogin, login));
        accounts.chain(tokens).chain(wanted).chain(current).chain(browser).chain(seeds).chain(login)
    }

    /// The secrets that are not sealed under the key in force. Walks all of them.
    pub fn sealed_before(&self) -> impl Iterator<Item = (SealedPlace, &Sealed)> + Send + '_ {
        let key = self.sealing.map(|sealing| sealing.key);
        self.sealed().filter(move |(_, sealed)| key.is_some() && sealed.key_id() != key)
    }
}
