//! The on-prem side: registers local accounts with central and synchronizes them. Every step can be repeated, by this
//! node or by another one that became active, since what is sent is made only from committed state.

use super::Clock;
use super::document::{self, Body, Der, Digest, DocumentError, Life, Response, TagUsage, Unverified, Verified};
use super::document::{
    CertificateRequest, LicenseTerms, RegistrationRequest, RegistrationResponse, SyncRequest, SyncResponse,
};
use super::link::{Link, LinkError};
use super::vendor_root::VendorRoot;
use crate::license::{
    Account, AccountId, AccountKeys, AccountStatus, Command, Entitlement, EntitlementChange, MAX_TEXT, Millis, Outcome,
    ServerCertificate, ServerRequest, Settings, SignedCertificate, SyncOutstanding,
};
use crate::pki::ca;
use crate::pki::jws::{Algorithm, Header, SigningKey};
use crate::pki::seal::Sealer;
use crate::pki::{PkiError, chain, random, sha256};
use crate::raft::{Ledger, ProposeError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Who confirms the clock, in events.
const CENTRAL: &str = "central";
/// Repeats of a command whose outcome is unknown, and the pause before each: longer together than a change of leader.
const COMMIT_TRIES: u32 = 5;
const COMMIT_PAUSE: Duration = Duration::from_millis(300);

/// Why an account is not registered or synchronized.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("there is no account {0}")]
    AccountUnknown(AccountId),
    #[error("account {name:?} is {status}; {hint}")]
    Status { name: String, status: AccountStatus, hint: &'static str },
    #[error("no central is set; set its URL with `licraft settings set central-url URL`, or exchange files")]
    NoCentral,
    /// Central was not reached, failed itself, or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("central's response is not accepted: {0}")]
    Response(#[from] DocumentError),
    #[error(transparent)]
    Keys(#[from] PkiError),
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The cluster refused the change.
    #[error("{0}")]
    Refused(String),
}

impl UpstreamError {
    /// Whether the same attempt may succeed by itself later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Link(e) => e.may_pass(),
            Self::Propose(e) => !matches!(e, ProposeError::NotActive { .. } | ProposeError::Stopped { .. }),
            _ => false,
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, UpstreamError>;

/// A synchronization that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synchronized {
    pub seq: u64,
    /// State time of the success.
    pub at: Millis,
}

/// A request of an account for central.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Number of the synchronization; none: the registration of the account.
    pub seq: Option<u64>,
    pub document: Vec<u8>,
}

/// The way from this server's accounts to central.
pub struct Upstream {
    ledger: Arc<dyn Ledger>,
    sealer: Sealer,
    root: VendorRoot,
    link: Link,
    clock: Clock,
    /// One exchange an account at a time; a second caller waits and then finds it done.
    busy: parking_lot::Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>,
    /// One request for a certificate at a time: a second one would take the place of the first.
    wanting: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upstream")
    }
}

impl Upstream {
    /// Goes by the proxy that is set now.
    ///
    /// # Errors
    /// When the vendor root cannot be trusted for TLS, or the proxy or its login is unusable.
    pub fn new(ledger: Arc<dyn Ledger>, sealer: Sealer, root: VendorRoot, clock: Clock) -> Result<Self> {
        let state = ledger.state();
        let settings = state.settings();
        let open = |sealed| sealer.open(Settings::PROXY_LOGIN_CONTEXT, sealed);
        let login = settings.proxy_login.as_ref().map(open).transpose()?;
        // It was text when it was sealed.
        let login = login.as_ref().and_then(|login| std::str::from_utf8(login).ok());
        let link = Link::new(&root, &settings.proxy, login)?;
        Ok(Self { ledger, sealer, root, link, clock, busy: parking_lot::Mutex::default(), wanting: Default::default() })
    }

    #[must_use]
    pub const fn vendor_root(&self) -> &VendorRoot {
        &self.root
    }

    /// The time by which schedules go: not the clock's while that is in doubt.
    pub(super) fn now(&self) -> Millis {
        self.ledger.state().time((self.clock)())
    }

    pub(super) const fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Approves a requested account with fresh keys and registers it with central. When central cannot be reached the
    /// account stays approved, and is registered with the same keys later.
    ///
    /// # Errors
    /// When the account is not waiting, or the registration failed.
    pub async fn approve_account(&self, id: AccountId, actor: &str) -> Result<()> {
        if self.account(id)?.status == AccountStatus::Requested {
            let keys = self.make_keys(&self.account(id)?)?;
            self.commit(actor, Command::ApproveAccount { account: id, keys }).await?;
        }
        self.register(id, actor).await
    }

    /// Registers an approved account with central over the network; nothing to do when it is registered.
    ///
    /// # Errors
    /// When central is not reached or refuses, or its response is wrong.
    pub async fn register(&self, id: AccountId, actor: &str) -> Result<()> {
        let turn = self.turn(id);
        let _turn = turn.lock().await;
        if self.account(id)?.status == AccountStatus::Active {
            return Ok(());
        }
        let url = self.central_url()?;
        let request = self.registration_request(id)?;
        let response = self.link.post(&url, request).await?;
        self.take(id, &response, actor).await
    }

    /// Synchronizes an account over the network: what is outstanding if something is, else a new request.
    ///
    /// # Errors
    /// When central is not reached or refuses, or its response is wrong; the reason is on the account's record, and
    /// the request stays outstanding.
    pub async fn synchronize(&self, id: AccountId, actor: &str) -> Result<Synchronized> {
        let turn = self.turn(id);
        let _turn = turn.lock().await;
        let request = self.begin_sync(id, actor).await?;
        let seq = self.outstanding(id)?.1.seq;
        let exchange = async {
            let response = self.link.post(&self.central_url()?, request).await?;
            self.take(id, &response, actor).await?;
            let at = self.account(id)?.sync.last_success.unwrap_or_default();
            Ok(Synchronized { seq, at })
        };
        match exchange.await {
            Ok(done) => Ok(done),
            Err(error) => {
                self.note_failure(id, seq, &error, actor).await;
                Err(error)
            }
        }
    }

    /// Tells central that an inactive, empty account ends: finishes what is outstanding, then sends the closing
    /// synchronization. Nothing to do when central has heard it.
    ///
    /// # Errors
    /// As [`Upstream::synchronize`]; the closing request stays outstanding and can go by files.
    pub async fn close(&self, id: AccountId, actor: &str) -> Result<()> {
        if self.account(id)?.sync.outstanding.is_some_and(|outstanding| !outstanding.closing) {
            self.synchronize(id, actor).await?;
        }
        if self.account(id)?.sync.closed {
            return Ok(());
        }
        self.commit(actor, Command::CloseAccount { account: id }).await?;
        self.central_url()?;
        self.synchronize(id, actor).await.map(drop)
    }

    /// The registration request of an approved account, the same bytes each time.
    ///
    /// # Errors
    /// When the account is not approved.
    pub fn registration_request(&self, id: AccountId) -> Result<Vec<u8>> {
        let account = self.account(id)?;
        let (payload, ca_key) = self.registration_payload(&account)?;
        Ok(document::sign::<RegistrationRequest>(&payload, &ca_key, Header::default())?)
    }

    /// Begins a synchronization, unless one is outstanding, and gives its request: the same bytes each time.
    ///
    /// # Errors
    /// When the account has nothing to synchronize.
    pub async fn begin_sync(&self, id: AccountId, actor: &str) -> Result<Vec<u8>> {
        if self.account(id)?.sync.outstanding.is_none() {
            self.want_certificate().await?;
            self.commit(actor, Command::BeginSync { account: id }).await?;
        }
        let (account, outstanding) = self.outstanding(id)?;
        let payload = self.sync_payload(&account, &outstanding);
        let keys = account.keys.as_ref().ok_or_else(|| status(&account, "it has no keys yet"))?;
        let key = self.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key)?;
        Ok(document::sign::<SyncRequest>(&payload, &key, Header::default())?)
    }

    /// Has central asked for another certificate for the products' ports, by the synchronization that begins next, where
    /// the names have changed or the one in force ends.
    ///
    /// # Errors
    /// When no key can be made, or the cluster does not take the request.
    pub async fn want_certificate(&self) -> Result<()> {
        let _one_at_a_time = self.wanting.lock().await;
        let state = self.ledger.state();
        let names = state.server_names().filter(|names| state.server_certificate().lacks(names, self.now()));
        let Some(names) = names else { return Ok(()) };
        let key = SigningKey::generate(Algorithm::Es256)?;
        let csr = ca::csr(&key, &names.common_name)?;
        let key = self.sealer.seal(ServerCertificate::KEY_CONTEXT, &key.to_pkcs8_der()?);
        self.commit("cluster", Command::WantServerCertificate { names, csr, key }).await.map(drop)
    }

    /// What central has to answer for an account: its registration, or the synchronization that is outstanding or begins
    /// now. The same bytes each time.
    ///
    /// # Errors
    /// When the account has nothing to ask.
    pub async fn request(&self, id: AccountId, actor: &str) -> Result<Asked> {
        if self.account(id)?.status == AccountStatus::Approved {
            return Ok(Asked { seq: None, document: self.registration_request(id)? });
        }
        let document = self.begin_sync(id, actor).await?;
        Ok(Asked { seq: Some(self.outstanding(id)?.1.seq), document })
    }

    /// The account that a response says it is for; whether that is so is checked with all the rest.
    fn addressee(&self, response: &[u8]) -> Result<AccountId> {
        let document = Unverified::parse(response)?;
        let name = match document.typ() == RegistrationResponse::TYP {
            true => document.claims::<RegistrationResponse>()?.account,
            false => document.claims::<SyncResponse>()?.account,
        };
        let account = self.ledger.state().account_by_name(&name).map(|account| account.id);
        account.ok_or_else(|| {
            UpstreamError::Refused(format!("the response is for an account {name:?}, which is not here"))
        })
    }

    /// Takes central's response, however it came, to what is outstanding of the account that it names; or, on a dry run,
    /// only checks all of it. Gives the account and what changes of its entitlements.
    ///
    /// # Errors
    /// When it is not the response to that, or not central's; nothing has changed then.
    pub async fn import(
        &self,
        response: &[u8],
        dry_run: bool,
        actor: &str,
    ) -> Result<(AccountId, Vec<EntitlementChange>)> {
        let id = self.addressee(response)?;
        let turn = self.turn(id);
        let _turn = turn.lock().await;
        let (command, certify) = self.check_response(id, response)?;
        let changes = match &command {
            Command::ActivateAccount { entitlements, .. } | Command::CompleteSync { entitlements, .. } => {
                self.ledger.state().entitlement_changes(id, entitlements)
            }
            _ => Vec::new(),
        };
        if !dry_run {
            self.take_checked(command, certify, actor).await?;
            self.confirm_clock(response).await;
        }
        Ok((id, changes))
    }

    async fn take(&self, id: AccountId, response: &[u8], actor: &str) -> Result<()> {
        let (command, certify) = self.check_response(id, response)?;
        self.take_checked(command, certify, actor).await?;
        self.confirm_clock(response).await;
        Ok(())
    }

    /// A response that was verified says what time it is at central: a clock that is in doubt here, and agrees, is right.
    async fn confirm_clock(&self, response: &[u8]) {
        if self.ledger.state().meta().clock_ahead == 0 {
            return;
        }
        let Ok(time) =
            Unverified::parse(response).and_then(|document| match document.typ() == RegistrationResponse::TYP {
                true => document.claims::<RegistrationResponse>().map(|body| body.time),
                false => document.claims::<SyncResponse>().map(|body| body.time),
            })
        else {
            return;
        };
        // The state refuses a time that is not the clock's: the response may be an old one that is given again.
        if let Err(error) = self.commit(CENTRAL, Command::AcceptClock { time: Millis(time) }).await {
            tracing::info!(%error, "central's time does not confirm the clock");
        }
    }

    /// The certificates come second: where they are lost in between, the next synchronization asks for them again.
    async fn take_checked(&self, command: Command, certify: Option<Command>, actor: &str) -> Result<()> {
        self.commit(actor, command).await?;
        match certify {
            Some(certify) => self.commit(actor, certify).await.map(drop),
            None => Ok(()),
        }
    }

    /// The command that takes `response` to what is outstanding of the account, and the one that takes new certificates
    /// of the account, if it brings some.
    fn check_response(&self, id: AccountId, response: &[u8]) -> Result<(Command, Option<Command>)> {
        match self.account(id)?.status {
            AccountStatus::Approved => Ok((self.check_registration(id, response)?, None)),
            _ => self.check_sync(id, response),
        }
    }

    fn check_registration(&self, id: AccountId, response: &[u8]) -> Result<Command> {
        let account = self.account(id)?;
        let (payload, ca_key) = self.registration_payload(&account)?;
        let (body, digest) = self.verify::<RegistrationResponse>(&account, response, &payload)?;
        let ca_chain: Vec<Vec<u8>> = body.ca_chain.into_iter().map(|c| c.0).collect();
        let keys = account.keys.as_ref().ok_or_else(|| status(&account, "it has no keys yet"))?;
        let signer_key = self.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key)?;
        let signer_cert = self.certify_signer(&account, &ca_chain, &ca_key, &signer_key)?;
        let entitlements = entitlements(body.entitlements);
        Ok(Command::ActivateAccount { account: id, ca_chain, signer_cert, entitlements, response: digest.0 })
    }

    fn check_sync(&self, id: AccountId, response: &[u8]) -> Result<(Command, Option<Command>)> {
        let (account, outstanding) = self.outstanding(id)?;
        let payload = self.sync_payload(&account, &outstanding);
        let (body, digest) = self.verify::<SyncResponse>(&account, response, &payload)?;
        let seq = outstanding.seq;
        if body.seq != seq {
            let (found, expected) = (body.seq.to_string(), seq.to_string());
            return Err(DocumentError::Mismatch { what: "sequence number", found, expected }.into());
        }
        let signed = match (&outstanding.server, body.certificate) {
            (Some(asked), chain) if !chain.is_empty() => Some(self.check_certificate(asked, chain)?),
            _ => None,
        };
        let certify = match (outstanding.certify, body.ca_chain) {
            (true, chain) if !chain.is_empty() => {
                Some(self.certification(&account, chain.into_iter().map(|der| der.0).collect())?)
            }
            _ => None,
        };
        let entitlements = entitlements(body.entitlements);
        Ok((Command::CompleteSync { account: id, seq, entitlements, response: digest.0, signed }, certify))
    }

    /// Everything that can be checked of a response is checked here, before anything is proposed.
    fn verify<T: Response>(&self, account: &Account, response: &[u8], request: &[u8]) -> Result<(T, Digest)> {
        let document = Unverified::parse(response)?;
        let Verified { body, digest } = {
            let verified = document.verify_central::<T>(self.root.der(), (self.clock)())?;
            verified.expect(&self.ledger.state().meta().server_uid, &account.name, Digest::of(request))?;
            verified
        };
        Ok((body, digest))
    }

    /// What central has signed for the products' ports: for our key, and by a path that products can follow.
    fn check_certificate(&self, asked: &ServerRequest, chain: Vec<Der>) -> Result<SignedCertificate> {
        let chain: Vec<Vec<u8>> = chain.into_iter().map(|der| der.0).collect();
        let [leaf, above @ ..] = chain.as_slice() else {
            return Err(DocumentError::Invalid("the server's certificate is missing".into()).into());
        };
        if ca::certificate_key(leaf)? != ca::csr_public_key(&asked.csr)? {
            return Err(DocumentError::Invalid("the server's certificate is for another key".into()).into());
        }
        chain::verify(leaf, above, &[self.root.der().to_vec()], (self.clock)(), chain::Use::Server)
            .map_err(DocumentError::from)?;
        let not_after = ca::not_after(leaf)?;
        Ok(SignedCertificate { chain, not_after })
    }

    fn make_keys(&self, account: &Account) -> Result<AccountKeys> {
        // Ed25519 for both: certificates and requests are the same bytes each time they are made.
        let ca_key = SigningKey::generate(Algorithm::EdDsa)?;
        let signer_key = SigningKey::generate(Algorithm::EdDsa)?;
        Ok(AccountKeys {
            ca_csr: ca::csr(&ca_key, &account.name)?,
            ca_key: self.sealer.seal(AccountKeys::CA_KEY_CONTEXT, &ca_key.to_pkcs8_der()?),
            signer_key: self.sealer.seal(AccountKeys::SIGNER_KEY_CONTEXT, &signer_key.to_pkcs8_der()?),
            ca_chain: Vec::new(),
            signer_cert: Vec::new(),
        })
    }

    /// Made from committed state alone: the same bytes on every node, each time.
    fn registration_payload(&self, account: &Account) -> Result<(Vec<u8>, SigningKey)> {
        let (AccountStatus::Approved, Some(keys)) = (account.status, &account.keys) else {
            return Err(status(account, "only an approved account is registered with central"));
        };
        let ca_key = self.open(AccountKeys::CA_KEY_CONTEXT, &keys.ca_key)?;
        let signer_key = self.open(AccountKeys::SIGNER_KEY_CONTEXT, &keys.signer_key)?;
        let state = self.ledger.state();
        let meta = state.meta();
        let body = RegistrationRequest {
            version: document::VERSION,
            // The keys are fresh and random, so their request's digest is unique and cannot be guessed.
            id: hex::encode(&sha256(&keys.ca_csr)[..16]),
            server: meta.server_uid.clone(),
            life: Life { incarnation: meta.incarnation, since: meta.incarnation_since.0 },
            account: account.name.clone(),
            smart_account: account.smart_account.clone(),
            virtual_account: account.virtual_account.clone(),
            requested_by: account.requested_by.clone(),
            time: account.changed_at.0,
            ca_csr: Der(keys.ca_csr.clone()),
            signer_key: signer_key.public_key().to_jwk(),
        };
        Ok((document::payload(&body), ca_key))
    }

    /// Made from the frozen record alone: the same bytes on every node, each time.
    fn sync_payload(&self, account: &Account, outstanding: &SyncOutstanding) -> Vec<u8> {
        let usage = |(tag, in_use, substitution): &(String, u64, i64)| TagUsage {
            tag: tag.clone(),
            in_use: *in_use,
            substitution: *substitution,
        };
        document::payload(&SyncRequest {
            version: document::VERSION,
            server: self.ledger.state().meta().server_uid.clone(),
            life: Life { incarnation: outstanding.incarnation, since: outstanding.incarnation_since.0 },
            account: account.name.clone(),
            seq: outstanding.seq,
            previous: Digest(outstanding.previous),
            cut: outstanding.begun.0,
            instances: outstanding.instances,
            usage: outstanding.usage.iter().map(usage).collect(),
            ca_csr: account.keys.as_ref().filter(|_| outstanding.certify).map(|keys| Der(keys.ca_csr.clone())),
            certificate: outstanding.server.as_ref().map(|asked| CertificateRequest {
                common_name: asked.names.common_name.clone(),
                hosts: asked.names.hosts.clone(),
                csr: Der(asked.csr.clone()),
            }),
            closing: outstanding.closing,
        })
    }

    async fn note_failure(&self, id: AccountId, seq: u64, error: &UpstreamError, actor: &str) {
        if matches!(error, UpstreamError::Propose(_)) {
            return;
        }
        let mut reason = error.to_string().replace(char::is_control, " ");
        while reason.len() > MAX_TEXT {
            reason.pop();
        }
        if let Err(error) = self.commit(actor, Command::FailSync { account: id, seq, reason }).await {
            tracing::warn!(account = id.0, %error, "a failed synchronization could not be recorded");
        }
    }

    pub(super) fn open(&self, context: &str, sealed: &crate::license::Sealed) -> Result<SigningKey> {
        Ok(SigningKey::from_pkcs8_der(&self.sealer.open(context, sealed)?)?)
    }

    fn account(&self, id: AccountId) -> Result<Account> {
        self.ledger.state().account(id).cloned().ok_or(UpstreamError::AccountUnknown(id))
    }

    fn outstanding(&self, id: AccountId) -> Result<(Account, SyncOutstanding)> {
        let account = self.account(id)?;
        match account.sync.outstanding.clone() {
            Some(outstanding) => Ok((account, outstanding)),
            None => Err(status(&account, "no synchronization of it is outstanding")),
        }
    }

    fn central_url(&self) -> Result<String> {
        let url = self.ledger.state().settings().central_url.clone();
        if url.is_empty() { Err(UpstreamError::NoCentral) } else { Ok(url) }
    }

    fn turn(&self, id: AccountId) -> Arc<tokio::sync::Mutex<()>> {
        self.busy.lock().entry(id).or_default().clone()
    }

    /// Commits once, however often the outcome is unknown: the request id makes a repeat harmless.
    pub(super) async fn commit(&self, actor: &str, command: Command) -> Result<Outcome> {
        let request_id = random::u128();
        for _ in 1..COMMIT_TRIES {
            match self.ledger.propose(request_id, actor, command.clone()).await {
                Err(ProposeError::Unknown { .. } | ProposeError::Busy { .. }) => {
                    tokio::time::sleep(COMMIT_PAUSE).await;
                }
                other => return settle(other),
            }
        }
        settle(self.ledger.propose(request_id, actor, command).await)
    }
}

fn settle(proposed: std::result::Result<Outcome, ProposeError>) -> Result<Outcome> {
    match proposed? {
        Outcome::Refused(refusal) => Err(UpstreamError::Refused(refusal.message)),
        outcome => Ok(outcome),
    }
}

fn entitlements(licenses: Vec<LicenseTerms>) -> Vec<Entitlement> {
    licenses.into_iter().map(Entitlement::from).collect()
}

pub(super) fn status(account: &Account, hint: &'static str) -> UpstreamError {
    UpstreamError::Status { name: account.name.clone(), status: account.status, hint }
}
