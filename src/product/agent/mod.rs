//! The products' side of the protocol: what a product embeds, and what `licraft agent` wraps.
//!
//! An [`Agent`] keeps its key, certificate, request number and last authorization in a folder. A request's number is on
//! disk before the request is sent, and a request whose outcome is unknown is repeated under the same number, so that
//! lost answers, crashes and failovers of the server never count anything twice. While no server answers, the last
//! authorization goes on being what counts.

mod error;
mod exchange;
mod record;
pub mod simulate;
mod status;
mod transport;
mod trust;
mod wire;

pub use super::message::DeviceMember;
pub use error::AgentError;
pub use record::{Product, Settings};
pub use status::{LicenseLine, Status};
pub use trust::RootPin;

use super::context::{Clock, wall_clock};
use super::message::{AnswerBody, LicenseCount, RequestPayload, RequestType, UdiMember};
use crate::license::Millis;
use crate::pki::ca::csr;
use crate::pki::random;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use exchange::Retry;
use record::{Authorization, Pending, Record, Registration, StateDir, Wanted};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transport::Transport;

/// When an ID certificate is renewed: this long after its start (day 180 of 365).
const RENEW_ID_AFTER_MS: u64 = 180 * Millis::DAY;
/// How often at most [`Agent::run`] tries while no server answers, and how long it sleeps at most between looks.
const RUN_RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(900);

/// A product's licensing state and its connection to the license server.
pub struct Agent {
    dir: StateDir,
    record: Record,
    transport: Transport,
    clock: Clock,
    /// How long one call goes on trying.
    patience: Duration,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("dir", &self.dir).field("record", &self.record).finish_non_exhaustive()
    }
}

impl Agent {
    /// Opens the state in `dir`, or makes a fresh one (with a new key) for `product`; `settings` given here replace the
    /// stored ones. The folder stays locked while the agent lives.
    ///
    /// # Errors
    /// When the folder cannot be used, another agent has it, or something that a fresh state needs is missing.
    pub fn open(dir: &Path, settings: Settings, product: Option<Product>) -> Result<Self, AgentError> {
        let clock = wall_clock();
        let (dir, mut record) = StateDir::open(dir, clock())?;
        record.merge(settings, product)?;
        let transport = Transport::new(&record)?;
        dir.save(&record)?;
        Ok(Self { dir, record, transport, clock, patience: Duration::from_secs(30) })
    }

    /// Sets how long one call goes on trying; 30 s unless set.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets another clock, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Registers with `token`. Repeated with the same token it is the same instance, however often the answer was lost;
    /// an agent that is registered already registers anew, which replaces it and never counts twice.
    ///
    /// # Errors
    /// When the server refuses (see [`AgentError::Refused`]) or none answers in time.
    pub async fn register(&mut self, token: &str) -> Result<(), AgentError> {
        self.introduce(false, |payload| payload.token = Some(token.trim().to_owned()), None).await
    }

    /// Registers with `token` and a fresh key, whatever the server holds: a new instance that replaces the old one.
    /// Repeated after a lost answer it is the same new instance.
    ///
    /// # Errors
    /// As [`Agent::register`]; then the old registration stands.
    pub async fn register_anew(&mut self, token: &str) -> Result<(), AgentError> {
        self.introduce(true, |payload| payload.token = Some(token.trim().to_owned()), None).await
    }

    /// Registers anew with what the server, which was restored from a backup since, had certified. `licenses` are then
    /// pending.
    async fn come_back(&mut self, licenses: Vec<LicenseCount>) -> Result<(), AgentError> {
        let certificate = self.registration()?.certificate.der.clone();
        let then = Some(Wanted::Authorize { licenses });
        self.introduce(false, |payload| payload.certificate = Some(certificate), then).await
    }

    async fn introduce(
        &mut self,
        new_key: bool,
        entitle: impl FnOnce(&mut RequestPayload),
        then: Option<Wanted>,
    ) -> Result<(), AgentError> {
        let product =
            self.record.product.clone().ok_or(AgentError::Incomplete { what: "the product's identity (UDI)" })?;
        let key = if new_key { self.dir.next_key()? } else { self.dir.key()? };
        let mut payload = RequestPayload::new(RequestType::Register, String::new(), 0);
        entitle(&mut payload);
        payload.csr = Some(STANDARD.encode(csr(&key, &product.sn)?));
        payload.host_name = product.host_name.filter(|_| !self.record.private);
        let shared = |d: DeviceMember| DeviceMember { host_name: d.host_name.filter(|_| !self.record.private), ..d };
        let devices: Vec<DeviceMember> = product.devices.into_iter().map(shared).collect();
        payload.devices = Some(devices).filter(|d| !d.is_empty());
        payload.udi = Some(UdiMember { pid: product.pid, sn: product.sn });
        payload.product_type = Some(product.product_type);
        payload.software_version = Some(product.software_version);
        let answer = self.exchange(&key, None, payload).await?;
        let AnswerBody::Registered(registered) = answer.body else { return Err(AgentError::unexpected("register")) };
        let certificate =
            self.record.trust.id_certificate(&registered.certificate, &key.public_key(), (self.clock)())?;
        if new_key {
            self.dir.promote_next_key()?;
        }
        self.record.registration = Some(Registration {
            instance: registered.instance.into_owned(),
            account: registered.account.into_owned(),
            virtual_account: registered.virtual_account.into_owned(),
            registered: answer.time,
            export_controlled: registered.export_controlled,
            certificate,
        });
        // A new registration counts its requests from the beginning; a repeated one says so when it is asked.
        if !registered.repeated {
            self.record.number = 0;
            self.record.authorization = None;
        }
        self.record.pending = then.map(|wanted| {
            self.record.number += 1;
            Pending { number: self.record.number, wanted }
        });
        self.record.contacted(answer.time);
        // The first answer may have shown the vendor root.
        self.transport = Transport::new(&self.record)?;
        self.dir.save(&self.record)
    }

    /// Asks for exactly these counts from now on; a license that is not named is released.
    ///
    /// # Errors
    /// When the server refuses, or none answers in time: then the last authorization goes on.
    pub async fn request(&mut self, licenses: Vec<LicenseCount>) -> Result<(), AgentError> {
        self.numbered(Wanted::Authorize { licenses }).await
    }

    /// Gives back the named licenses, or all when none is named.
    ///
    /// # Errors
    /// As [`Agent::request`].
    pub async fn release(&mut self, tags: &[String]) -> Result<(), AgentError> {
        let held = self.record.authorization.as_ref().map_or(&[][..], |a| &a.licenses);
        if let Some(unknown) = tags.iter().find(|tag| !held.iter().any(|l| l.tag == **tag)) {
            return Err(AgentError::NotHeld { tag: unknown.clone() });
        }
        let kept = held.iter().filter(|l| !tags.is_empty() && !tags.contains(&l.tag));
        let licenses = kept.map(|l| LicenseCount { tag: l.tag.clone(), count: l.count }).collect();
        self.request(licenses).await
    }

    /// Renews the authorization with unchanged counts.
    ///
    /// # Errors
    /// As [`Agent::request`].
    pub async fn renew(&mut self) -> Result<(), AgentError> {
        self.numbered(Wanted::RenewAuthorization).await
    }

    /// Renews the ID certificate, for a fresh key when `new_key`.
    ///
    /// # Errors
    /// As [`Agent::request`].
    pub async fn renew_id(&mut self, new_key: bool) -> Result<(), AgentError> {
        let key = if new_key { self.dir.next_key()? } else { self.dir.key()? };
        let name = self.registration()?.instance.clone();
        let csr = STANDARD.encode(csr(&key, &name)?);
        self.numbered(Wanted::RenewId { csr, new_key }).await
    }

    /// Gives up the registration; its licenses are free at once.
    ///
    /// # Errors
    /// As [`Agent::request`].
    pub async fn deregister(&mut self) -> Result<(), AgentError> {
        self.numbered(Wanted::Deregister).await
    }

    /// What the product may show its user, from what is on disk: no server is asked.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.record, (self.clock)())
    }

    /// Keeps the authorization and the certificate fresh until `shutdown`, telling `report` after every attempt.
    ///
    /// # Errors
    /// When the state cannot be written. A server that refuses or does not answer is reported, and tried again later.
    pub async fn run(
        &mut self,
        shutdown: &CancellationToken,
        mut report: impl FnMut(&Status, Option<&AgentError>),
    ) -> Result<(), AgentError> {
        let mut retry = Retry::new(*RUN_RETRY.start(), *RUN_RETRY.end());
        loop {
            let now = (self.clock)();
            let wait = if self.record.pending.is_some() || self.authorization_due(now) || self.id_due(now) {
                let result = self.refresh(now).await;
                report(&self.status(), result.as_ref().err());
                match result {
                    Ok(()) => {
                        retry.reset();
                        Duration::ZERO
                    }
                    Err(error @ AgentError::State { .. }) => return Err(error),
                    Err(_) => retry.next_wait(None),
                }
            } else {
                self.until_due(now).min(*RUN_RETRY.end())
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn refresh(&mut self, now: Millis) -> Result<(), AgentError> {
        if let Some(pending) = self.record.pending.clone() {
            return self.numbered(pending.wanted).await;
        }
        if self.id_due(now) {
            return self.renew_id(false).await;
        }
        self.renew().await
    }

    fn authorization_due(&self, now: Millis) -> bool {
        self.record.registration.is_some()
            && self.record.authorization.as_ref().is_some_and(|a| a.next_contact <= now.0)
    }

    fn id_due(&self, now: Millis) -> bool {
        self.record.registration.as_ref().is_some_and(|r| now.0 >= r.certificate.not_before + RENEW_ID_AFTER_MS)
    }

    /// Until the next contact is due, plus up to a tenth at random, so that products do not all come at once.
    fn until_due(&self, now: Millis) -> Duration {
        let due = self.record.authorization.as_ref().map_or(u64::MAX, |a| a.next_contact);
        let wait = due.saturating_sub(now.0).saturating_add(1);
        let spread = u64::from(u32::from_le_bytes(random::bytes())) % (wait / 10 + 1);
        Duration::from_millis(wait.saturating_add(spread))
    }

    fn registration(&self) -> Result<&Registration, AgentError> {
        self.record.registration.as_ref().ok_or(AgentError::NotRegistered)
    }

    /// Carries out a numbered request to its end, after any earlier one that must be settled first.
    async fn numbered(&mut self, wanted: Wanted) -> Result<(), AgentError> {
        self.registration()?;
        if let Some(earlier) = self.record.pending.clone()
            && earlier.wanted.must_be_settled()
            && earlier.wanted != wanted
        {
            self.settle(earlier).await?;
            self.registration()?;
        }
        let pending = match self.record.pending.clone() {
            Some(same) if same.wanted == wanted => same,
            _ => {
                self.record.number += 1;
                Pending { number: self.record.number, wanted }
            }
        };
        self.record.pending = Some(pending.clone());
        self.dir.save(&self.record)?;
        self.settle(pending).await
    }

    fn accept(&mut self, wanted: &Wanted, time: u64, body: AnswerBody<'_>) -> Result<(), AgentError> {
        match (wanted, body) {
            (Wanted::Authorize { .. } | Wanted::RenewAuthorization, AnswerBody::Authorized(answer)) => {
                if let Some(registration) = &mut self.record.registration {
                    registration.account = answer.account.clone().into_owned();
                    registration.virtual_account = answer.virtual_account.clone().into_owned();
                    registration.export_controlled = answer.export_controlled;
                }
                self.record.authorization = Some(Authorization::from(answer));
            }
            (Wanted::RenewId { new_key, .. }, AnswerBody::IdRenewed(answer)) => {
                let key = if *new_key { self.dir.next_key()? } else { self.dir.key()? };
                let certificate =
                    self.record.trust.id_certificate(&answer.certificate, &key.public_key(), (self.clock)())?;
                if *new_key {
                    self.dir.promote_next_key()?;
                }
                if let Some(registration) = &mut self.record.registration {
                    registration.certificate = certificate;
                }
            }
            (Wanted::Deregister, AnswerBody::Deregistered(_)) => self.record.forget_registration(),
            (wanted, _) => return Err(AgentError::unexpected(wanted.name())),
        }
        self.record.pending = None;
        self.record.contacted(time);
        self.dir.save(&self.record)
    }
}
