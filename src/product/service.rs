//! Carries out requests: checks, one committed command, a signed answer.

use super::context::{ProductContext, Serving};
use super::crl::{RevocationLists, crl_url};
use super::keyring::{AccountSigner, Keyring};
use super::limiter::Limiter;
use super::message::{
    Answer, AnswerBody, AuthorizationStatus, AuthorizedAnswer, ComplianceStatus, DeregisteredAnswer, IdRenewedAnswer,
    LicenseAnswer, PROTOCOL, RefusedAnswer, RegisteredAnswer, RequestPayload,
};
use super::problem::{Code, Problem};
use super::request::{self, Asked, Envelope, Numbered};
use super::{ID_CERTIFICATE_DAYS, MAX_CLOCK_SKEW_MS, token_hash};
use crate::license::{
    Account, Authorization, Command, Digest32, IdCertificate, Instance, InstanceAction, InstanceId, Millis, Outcome,
    Reason, Refusal, State, VirtualAccountId,
};
use crate::pki::ca::{BACKDATE_MS, certificate_key};
use crate::pki::{PkiError, equal_secrets, random, sha256};
use crate::raft::ProposeError;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Registrations worked on at once. Each costs two signature checks and two signatures; more than this many would only
/// wait for one another while authorizations wait for all of them.
const MAX_REGISTRATIONS_AT_ONCE: usize = 64;
/// After how long a registration that found no place should come back, in milliseconds (up to twice that).
const REGISTRATION_RETRY_MS: u64 = 2_000;

/// A signed answer with the HTTP status it travels with.
#[derive(Debug)]
pub(super) struct Signed {
    pub status: u16,
    pub body: Vec<u8>,
}

/// The protocol over a ledger.
pub(super) struct Service {
    pub(super) context: ProductContext,
    pub(super) keyring: Keyring,
    limiter: Limiter,
    registrations: Semaphore,
    pub(super) lists: RevocationLists,
}

/// An attributable request: whose keys answer it, and what the answer must be bound to.
struct Attributed<'a> {
    signer: &'a AccountSigner,
    request: Digest32,
    known_signer: Option<String>,
    now: Millis,
}

impl Service {
    pub(super) fn new(context: ProductContext) -> Self {
        let keyring = Keyring::new(context.sealer.clone());
        let registrations = Semaphore::new(MAX_REGISTRATIONS_AT_ONCE);
        Self { context, keyring, limiter: Limiter::default(), registrations, lists: RevocationLists::default() }
    }

    /// Answers one request body of `source`. A [`Problem`] is an unsigned error: nothing was changed, or, with the code
    /// `outcome-unknown`, nobody knows yet.
    pub(super) async fn answer(&self, body: &[u8], source: IpAddr) -> Result<Signed, Problem> {
        self.check_serving()?;
        let envelope = Envelope::read(body).map_err(|p| self.charge(source, p))?;
        match envelope.header.kid.as_deref() {
            None => self.register(&envelope, source).await,
            Some(kid) => {
                let id = kid.parse().map(InstanceId).map_err(|_| {
                    let detail = "the header's kid must be the instance id from the registration answer";
                    self.charge(source, Problem::new(Code::MalformedRequest, detail))
                })?;
                self.numbered(&envelope, id, source).await
            }
        }
    }

    /// Whether this node answers products now.
    pub(super) fn check_serving(&self) -> Result<(), Problem> {
        match self.context.serving.serving() {
            Serving::Active => Ok(()),
            Serving::Standby { active } => Err(self.standby(active)),
            Serving::Unavailable { why } => {
                let detail = format!("this node does not serve licenses now because {why}");
                Err(Problem::new(Code::Unavailable, detail).retry_after(1_000))
            }
        }
    }

    fn standby(&self, active: Option<String>) -> Problem {
        let state = self.context.ledger.state();
        let settings = state.settings();
        let active = active.map_or_else(String::new, |name| format!("; {name} is Active"));
        let detail = match settings.vip.first() {
            Some(vip) => format!("this node is Standby{active}; send requests to the virtual address {vip}"),
            None => format!("this node is Standby{active}; send requests to the active node"),
        };
        Problem::new(Code::Standby, detail).retry_after(500)
    }

    /// Counts a failed or unknown attempt against its source; the answer becomes 429 when there were too many.
    fn charge(&self, source: IpAddr, problem: Problem) -> Problem {
        match self.limiter.take(source, Instant::now()) {
            Ok(()) => problem,
            Err(wait) => too_many(source, wait, &format!("; the last one: {} ({})", problem.title, problem.code)),
        }
    }

    async fn register(&self, envelope: &Envelope, source: IpAddr) -> Result<Signed, Problem> {
        // Read first, verified below: the token tells who may make us check a signature.
        let bytes = envelope
            .jws
            .payload_unverified()
            .map_err(|e| self.charge(source, Problem::new(Code::MalformedRequest, e.to_string())))?;
        let payload = request::payload(&bytes).map_err(|p| self.charge(source, p))?;
        let Some(token) = payload.token.as_deref().filter(|_| payload.certificate.is_none()) else {
            return self.readmit(envelope, payload, source).await;
        };
        let token_hash = token_hash(token);
        let state = self.context.ledger.state();
        let Some(account) = state.token_by_hash(&token_hash).and_then(|t| account_of(&state, t.va)) else {
            let detail = "no such registration token here; copy the whole token from the virtual account it was made in, \
                          or make a new one with `licraft token create`";
            return Err(self.charge(source, Problem::new(Code::Refused(Reason::TokenUnknown), detail)));
        };
        let signer = self.signer(account)?;
        drop(state);
        let Ok(_place) = self.registrations.try_acquire() else { return Err(no_place()) };
        envelope.verify().map_err(|p| self.charge(source, p))?;
        let ask = self.attribute(&signer, &bytes, &payload);
        if let Err(problem) = self.check_clock(&payload) {
            return ask.refuse_problem(&problem);
        }
        let registration = match request::registration(payload, &envelope.key) {
            Ok(registration) => registration,
            Err(problem) => return ask.refuse_problem(&problem),
        };
        let command = Command::Register {
            token_hash,
            udi: registration.udi,
            host_name: registration.host_name,
            product_type: registration.product_type,
            software_version: registration.software_version,
            certificate: self.new_certificate(envelope.key.hash()),
            devices: registration.devices,
        };
        let outcome = self.propose("product", command).await?;
        self.registered(&ask, outcome, &registration.csr)
    }

    fn registered(&self, ask: &Attributed<'_>, outcome: Outcome, csr: &[u8]) -> Result<Signed, Problem> {
        let Outcome::Registered(done) = outcome else { return ask.refuse_or_fail(outcome) };
        let state = self.context.ledger.state();
        let names = names(&state, done.va);
        let crl = crl_url(&state, done.va);
        let certificate = ask.signer.issue(done.instance, csr, &done.certificate, crl).map_err(internal)?;
        ask.answer_with_chain(AnswerBody::Registered(RegisteredAnswer {
            instance: done.instance.to_string().into(),
            repeated: done.repeated,
            account: names.0.into(),
            virtual_account: names.1.into(),
            export_controlled: done.export_controlled,
            certificate: STANDARD.encode(certificate).into(),
        }))
    }

    /// A registration with an ID certificate in place of a token: of a product that registered after the backup from
    /// which this server was restored.
    async fn readmit(&self, envelope: &Envelope, payload: RequestPayload, source: IpAddr) -> Result<Signed, Problem> {
        let old = request::certificate(&payload).map_err(|p| self.charge(source, p))?;
        let Ok(_place) = self.registrations.try_acquire() else { return Err(no_place()) };
        // Nobody answers for it yet, so it is paid for before its signatures are checked. A good one gets that back: a
        // site of any size may come from one address.
        self.limiter.take(source, Instant::now()).map_err(|wait| too_many(source, wait, ""))?;
        let bytes = envelope.verify()?;
        let state = self.context.ledger.state();
        let issued = self.keyring.issued(&state, &old, (self.context.clock)()).map_err(internal)?;
        let Some((account, signer, former)) = issued else {
            let detail =
                "the certificate is not in force, or no active account here has issued it; register with a token";
            return Err(Problem::new(Code::Refused(Reason::InstanceUnknown), detail));
        };
        drop(state);
        if !certificate_key(&old).is_ok_and(|key| key == envelope.key) {
            let detail =
                "the certificate is for another key than the one in the header; sign with the certificate's key";
            return Err(Problem::new(Code::WrongKey, detail));
        }
        self.limiter.give_back(source);
        let ask = self.attribute(&signer, &bytes, &payload);
        if let Err(problem) = self.check_clock(&payload) {
            return ask.refuse_problem(&problem);
        }
        let registration = match request::registration(payload, &envelope.key) {
            Ok(registration) => registration,
            Err(problem) => return ask.refuse_problem(&problem),
        };
        let command = Command::Readmit {
            former,
            account,
            udi: registration.udi,
            host_name: registration.host_name,
            product_type: registration.product_type,
            software_version: registration.software_version,
            certificate: self.new_certificate(envelope.key.hash()),
            devices: registration.devices,
        };
        let outcome = self.propose("product", command).await?;
        self.registered(&ask, outcome, &registration.csr)
    }

    async fn numbered(&self, envelope: &Envelope, id: InstanceId, source: IpAddr) -> Result<Signed, Problem> {
        let state = self.context.ledger.state();
        let Some(instance) = state.instance(id) else { return self.unknown_instance(envelope, id, source).await };
        if !equal_secrets(&envelope.key.hash(), &instance.certificate.key_hash) {
            let detail = format!(
                "the key in the header is not the one that instance {id} is registered with; sign with the key of the \
                 newest ID certificate, or register again"
            );
            return Err(self.charge(source, Problem::new(Code::WrongKey, detail)));
        }
        let bytes = envelope.verify().map_err(|p| self.charge(source, p))?;
        let account = account_of(&state, instance.va).ok_or_else(|| internal("the instance has no account"))?;
        let signer = self.signer(account)?;
        drop(state);
        let payload = match request::payload(&bytes) {
            Ok(payload) => payload,
            Err(problem) => return self.attribute_bytes(&signer, &bytes, None).refuse_problem(&problem),
        };
        let ask = self.attribute(&signer, &bytes, &payload);
        if let Err(problem) = self.check_clock(&payload) {
            return ask.refuse_problem(&problem);
        }
        match request::numbered(payload) {
            Ok(numbered) => self.carry_out(&ask, id, numbered).await,
            Err(problem) => ask.refuse_problem(&problem),
        }
    }

    async fn carry_out(&self, ask: &Attributed<'_>, id: InstanceId, request: Numbered) -> Result<Signed, Problem> {
        let Numbered { number, digest, asked } = request;
        let (action, csr) = match asked {
            Asked::Authorize(usage) => (InstanceAction::Authorize { usage }, None),
            Asked::RenewAuthorization => (InstanceAction::RenewAuthorization, None),
            Asked::RenewId { csr, key_hash } => {
                let certificate = self.new_certificate(key_hash);
                (InstanceAction::RenewCertificate { certificate }, Some((csr, key_hash)))
            }
            Asked::Deregister => (InstanceAction::Deregister, None),
        };
        let command = Command::Numbered { instance: id, number, digest, action };
        let instance = id.to_string();
        match (self.propose(&format!("instance {id}"), command).await?, csr) {
            (Outcome::Authorized(authorization), None) => {
                let state = self.context.ledger.state();
                let va = state.instance(id).map(|i| i.va);
                ask.answer(authorized(
                    &instance,
                    number,
                    &authorization,
                    va.map_or_else(Default::default, |va| names(&state, va)),
                ))
            }
            (Outcome::CertificateRenewed { .. }, Some((csr, key_hash))) => {
                let state = self.context.ledger.state();
                // Another request may have been committed since: then this answer would be about a certificate that is
                // no longer on record.
                let known = state.instance(id).filter(|i| i.certificate.key_hash == key_hash);
                let Some(Instance { certificate: record, va, .. }) = known else {
                    return ask.refuse(
                        Code::Refused(Reason::State),
                        "a later request replaced this certificate already",
                        None,
                    );
                };
                let crl = crl_url(&state, *va);
                let certificate = ask.signer.issue(id, &csr, record, crl).map_err(internal)?;
                let certificate = STANDARD.encode(certificate).into();
                ask.answer(AnswerBody::IdRenewed(IdRenewedAnswer { instance: instance.into(), number, certificate }))
            }
            (Outcome::Deregistered, None) => {
                ask.answer(AnswerBody::Deregistered(DeregisteredAnswer { instance: instance.into(), number }))
            }
            (other, _) => ask.refuse_or_fail(other),
        }
    }

    /// A product that was deregistered, removed or replaced. It names the answer signer it knows, so that it can be told
    /// with authority; and since that must not come from a node that lags behind, it is told only what a command
    /// committed now found. That command has number 0, which changes no instance: nobody has proved to be this one.
    async fn unknown_instance(&self, envelope: &Envelope, id: InstanceId, source: IpAddr) -> Result<Signed, Problem> {
        let detail =
            format!("instance {id} is not registered here; it was deregistered, removed or replaced: register again");
        let unsigned = self.charge(source, Problem::new(Code::Refused(Reason::InstanceUnknown), detail));
        if unsigned.status == Code::TooManyRequests.status() {
            return Err(unsigned);
        }
        let bytes = envelope.verify()?;
        let payload = request::payload(&bytes)?;
        let Some(known) = payload.signer.as_deref() else { return Err(unsigned) };
        let signer = self.keyring.by_thumbprint(&self.context.ledger.state(), known).map_err(internal)?;
        let Some(signer) = signer else { return Err(unsigned) };
        let ask = self.attribute(&signer, &bytes, &payload);
        let action = InstanceAction::RenewAuthorization;
        let look = Command::Numbered { instance: id, number: 0, digest: [0; 32], action };
        match self.propose("product", look).await? {
            Outcome::Refused(refusal) if refusal.reason == Reason::InstanceUnknown => {
                ask.refuse(Code::Refused(refusal.reason), &unsigned.detail, None)
            }
            _ => Err(Problem::new(Code::OutcomeUnknown, "the instance was registered just now; repeat the request")
                .retry_after(200)),
        }
    }

    fn signer(&self, account: &Account) -> Result<Arc<AccountSigner>, Problem> {
        self.keyring.signer(account).map_err(internal)?.ok_or_else(|| {
            let detail = format!(
                "the account {} has not been certified by the vendor's central service yet; synchronize it, then repeat \
                 the request",
                account.name
            );
            Problem::new(Code::AccountNotReady, detail).retry_after(30_000)
        })
    }

    fn attribute<'a>(&self, signer: &'a AccountSigner, bytes: &[u8], payload: &RequestPayload) -> Attributed<'a> {
        self.attribute_bytes(signer, bytes, payload.signer.clone())
    }

    fn attribute_bytes<'a>(
        &self,
        signer: &'a AccountSigner,
        bytes: &[u8],
        known_signer: Option<String>,
    ) -> Attributed<'a> {
        Attributed { signer, request: sha256(bytes), known_signer, now: self.now() }
    }

    /// What answers and certificates are dated. State time may be ahead of this clock by a little, and far behind it while
    /// the clock is in doubt; all dates follow what was agreed.
    fn now(&self) -> Millis {
        self.context.ledger.state().time((self.context.clock)())
    }

    /// While this server's own clock is in doubt a product may agree with either time.
    fn check_clock(&self, payload: &RequestPayload) -> Result<(), Problem> {
        let wall = (self.context.clock)();
        check_clock(payload, self.now()).or_else(|problem| check_clock(payload, wall).map_err(|_| problem))
    }

    /// Serial and dates for a certificate, made here once and replicated with the command.
    fn new_certificate(&self, key_hash: Digest32) -> IdCertificate {
        let now = self.now();
        IdCertificate {
            serial: random::bytes(),
            key_hash,
            not_before: Millis(now.0.saturating_sub(BACKDATE_MS)),
            not_after: now.plus(ID_CERTIFICATE_DAYS * Millis::DAY),
        }
    }

    async fn propose(&self, actor: &str, command: Command) -> Result<Outcome, Problem> {
        self.context.ledger.propose(0, actor, command).await.map_err(|e| match e {
            ProposeError::NotActive { active } => self.standby(active),
            ProposeError::Busy { retry_after_ms } => {
                let detail = "more requests wait than can be worked on; this one was not started, repeat it later";
                Problem::new(Code::TooManyRequests, detail).retry_after(retry_after_ms)
            }
            ProposeError::Unknown { why } => {
                let detail = format!(
                    "{why}; it is not known whether the request was carried out: repeat the same request under the same \
                     number"
                );
                Problem::new(Code::OutcomeUnknown, detail).retry_after(200)
            }
            ProposeError::Stopped { why } => {
                Problem::new(Code::Unavailable, format!("this node has stopped: {why}; another one will answer"))
                    .retry_after(1_000)
            }
        })
    }
}

impl Attributed<'_> {
    fn answer(&self, body: AnswerBody<'_>) -> Result<Signed, Problem> {
        self.sign(body, self.known_signer.as_deref())
    }

    fn answer_with_chain(&self, body: AnswerBody<'_>) -> Result<Signed, Problem> {
        self.sign(body, None)
    }

    fn sign(&self, body: AnswerBody<'_>, known_signer: Option<&str>) -> Result<Signed, Problem> {
        let status = if let AnswerBody::Refused(refused) = &body { refused.status } else { 200 };
        let answer = Answer { protocol: PROTOCOL, request: B64.encode(self.request).into(), time: self.now.0, body };
        let payload = serde_json::to_vec(&answer).map_err(internal)?;
        Ok(Signed { status, body: self.signer.sign(&payload, known_signer).map_err(internal)? })
    }

    fn refuse(&self, code: Code, detail: &str, number: Option<u64>) -> Result<Signed, Problem> {
        self.answer(AnswerBody::Refused(RefusedAnswer {
            code: code.as_str().into(),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            number,
        }))
    }

    fn refuse_problem(&self, problem: &Problem) -> Result<Signed, Problem> {
        self.answer(AnswerBody::Refused(RefusedAnswer {
            code: problem.code.as_ref().into(),
            title: problem.title.as_ref().into(),
            status: problem.status,
            detail: problem.detail.as_str().into(),
            number: None,
        }))
    }

    fn refuse_or_fail(&self, outcome: Outcome) -> Result<Signed, Problem> {
        let Outcome::Refused(Refusal { reason, message }) = outcome else {
            return Err(internal(format!("an unexpected outcome: {outcome:?}")));
        };
        let number = match reason {
            Reason::StaleRequest { current } | Reason::RequestMismatch { current } => Some(current),
            _ => None,
        };
        self.refuse(Code::Refused(reason), &message, number)
    }
}

fn authorized<'a>(
    instance: &'a str,
    number: u64,
    authorization: &'a Authorization,
    (account, virtual_account): (&'a str, &'a str),
) -> AnswerBody<'a> {
    let licenses = authorization.licenses.iter().map(|l| LicenseAnswer {
        tag: l.tag.as_str().into(),
        name: l.name.as_str().into(),
        count: l.count,
        status: if l.in_compliance { ComplianceStatus::InCompliance } else { ComplianceStatus::OutOfCompliance },
    });
    let status = match (authorization.licenses.is_empty(), authorization.in_compliance()) {
        (true, _) => AuthorizationStatus::NoLicensesInUse,
        (false, true) => AuthorizationStatus::Authorized,
        (false, false) => AuthorizationStatus::OutOfCompliance,
    };
    AnswerBody::Authorized(AuthorizedAnswer {
        instance: instance.into(),
        number,
        account: account.into(),
        virtual_account: virtual_account.into(),
        status,
        licenses: licenses.collect(),
        authorized: authorization.at.0,
        next_contact: authorization.next_contact.0,
        expires: authorization.expires.0,
        enforce_from: authorization.enforce_from.map(|at| at.0),
        export_controlled: authorization.export_controlled,
    })
}

fn account_of(state: &State, va: VirtualAccountId) -> Option<&Account> {
    state.account(state.virtual_account(va)?.account)
}

/// The names of an account and its virtual account; empty for one deleted meanwhile.
fn names(state: &State, va: VirtualAccountId) -> (&str, &str) {
    let account = account_of(state, va).map_or("", |a| a.name.as_str());
    (account, state.virtual_account(va).map_or("", |v| v.name.as_str()))
}

fn check_clock(payload: &RequestPayload, now: Millis) -> Result<(), Problem> {
    let off = payload.time.abs_diff(now.0);
    if off <= MAX_CLOCK_SKEW_MS {
        return Ok(());
    }
    let direction = if payload.time < now.0 { "behind" } else { "ahead of" };
    let minutes = off / Millis::MINUTE;
    let detail = format!(
        "the product's clock is {} h {} min {direction} the server's, more than the 1 h allowed; set it (NTP), then send \
         the request again",
        minutes / 60,
        minutes % 60
    );
    Err(Problem::new(Code::ClockSkew, detail))
}

fn too_many(source: IpAddr, wait: Duration, last: &str) -> Problem {
    let detail =
        format!("{source} has sent too many requests that could not be attributed to a registered product{last}");
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Problem::new(Code::TooManyRequests, detail).retry_after(wait.max(1_000))
}

fn no_place() -> Problem {
    let detail = "more registrations arrive than can be worked on; this one is good, repeat it later";
    Problem::new(Code::TooManyRequests, detail).retry_after(REGISTRATION_RETRY_MS)
}

/// What should not happen: logged in full, told in short.
pub(super) fn internal(error: impl Into<InternalCause>) -> Problem {
    let cause = error.into().0;
    tracing::error!(%cause, "a product's request failed inside the server");
    Problem::new(Code::Internal, "the server failed while answering; its log says why. Repeat the same request later")
        .retry_after(5_000)
}

pub(super) struct InternalCause(String);

impl From<PkiError> for InternalCause {
    fn from(e: PkiError) -> Self {
        Self(e.to_string())
    }
}
impl From<tokio::task::JoinError> for InternalCause {
    fn from(e: tokio::task::JoinError) -> Self {
        Self(e.to_string())
    }
}
impl From<serde_json::Error> for InternalCause {
    fn from(e: serde_json::Error) -> Self {
        Self(e.to_string())
    }
}
impl From<&str> for InternalCause {
    fn from(e: &str) -> Self {
        Self(e.to_owned())
    }
}
impl From<String> for InternalCause {
    fn from(e: String) -> Self {
        Self(e)
    }
}
