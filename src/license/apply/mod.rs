//! The only mutator of the state: checks a command first, then carries it out whole.

mod accounts;
mod admin_identities;
mod alerts;
mod browser_certificate;
mod cluster;
mod inputs;
mod instances;
mod labels;
mod marks;
mod numbered;
mod pool_alerts;
mod pools;
mod register;
mod restore;
mod revocation;
mod sealing;
mod server_certificate;
mod sync;
mod time;
mod tokens;
mod totp;
mod users;
mod virtual_accounts;

use super::*;
use instances::instance_name;
pub(super) use marks::Faults;
use std::sync::Arc;
pub(super) use time::is_about_clock;

/// A command's result inside this room. Every check comes before the first change, so a refusal leaves no trace.
type Done = Result<Outcome, Refusal>;

/// Who did what has become due.
const TIME: &str = "time";

/// One command being carried out.
struct Apply<'a> {
    state: &'a mut State,
    changes: &'a mut Changes,
    /// Who asked, for events; [`TIME`] for what happens by itself.
    actor: &'a str,
    /// State time of this command, and before it.
    now: Millis,
    before: Millis,
    /// Pools that were changed and have not been settled ([`Apply::settle_pools`]).
    unsettled: Vec<(VirtualAccountId, LicenseId)>,
}

impl State {
    /// Carries out `request` at `stamp`, noting touched records in `changes`. Deterministic: equal states and equal
    /// arguments give equal states and outcomes. A refused command changes nothing but what time does by itself, the
    /// memory of administrative requests, and, for a numbered product request, its request number.
    ///
    /// A request id other than 0 that is still remembered gets its first outcome again, whatever the command is.
    pub fn apply(&mut self, stamp: Stamp, request: &Request, changes: &mut Changes) -> Outcome {
        let before = self.meta.now;
        let now = before.max(stamp.at);
        let mut apply = Apply { state: self, changes, actor: TIME, now, before, unsettled: Vec::new() };
        apply.changes.insert(RecordKey::Meta);
        apply.take_time(stamp);
        apply.actor = &request.actor;
        let outcome = apply.once(request);
        apply.actor = TIME;
        // After the command: a product heard of in time is not noted as failed nor released.
        apply.mark_instances();
        apply.lapse_instances();
        apply.forget_revoked();
        apply.settle_pools();
        outcome
    }
}

impl Apply<'_> {
    /// Carries the request out unless it already was.
    fn once(&mut self, request: &Request) -> Outcome {
        if request.id == 0 {
            return self.audited(&request.command);
        }
        if let Some(known) = self.state.requests.get(&request.id) {
            return known.outcome.clone();
        }
        let outcome = self.audited(&request.command);
        self.remember(request.id, &outcome);
        outcome
    }

    /// Carries the command out and, if it was an administrator's and is done, writes it into the audit log.
    fn audited(&mut self, command: &Command) -> Outcome {
        // Before: then what it names still has its old name.
        let line = self.state.audit_line(command);
        let outcome = self.carry_out(command).unwrap_or_else(Outcome::Refused);
        self.settle_pools();
        if let Some((action, detail)) = line
            && !matches!(outcome, Outcome::Refused(_))
        {
            self.audit(action, &detail);
        }
        outcome
    }

    fn carry_out(&mut self, command: &Command) -> Done {
        let always = matches!(
            command,
            Command::Initialize { .. } | Command::Resume { .. } | Command::DigestMark { .. } | Command::PassTime
        );
        if !always && !self.state.is_initialized() {
            return Err(refuse(Reason::NotInitialized, "This server is not initialised; run `licraft init` first."));
        }
        match command {
            Command::Initialize { server_uid, administrator } => self.initialize(server_uid, administrator),
            Command::SetSettings { settings } => self.set_settings(settings),
            Command::Resume { node_id, term, cause } => self.resume(*node_id, *term, cause),
            Command::DigestMark { .. } | Command::PassTime => Ok(Outcome::Done),
            Command::RaiseIncarnation => self.raise_incarnation(),
            Command::PutMember { member } => self.put_member(member),
            Command::RetireMember { node_id } => self.retire_member(*node_id),
            Command::RaiseAlert { alert } => self.raise_alert(alert),
            Command::ClearAlert { key } => self.clear_alert(key),
            Command::AcknowledgeAlert { key } => self.acknowledge_alert(key),
            Command::NoteEvent { event } => self.note_event(event),
            Command::CreateUser { user } => self.create_user(user),
            Command::RequestAccount { name, requested_by, smart_account, virtual_account } => {
                self.request_account(name, requested_by, smart_account, virtual_account)
            }
            Command::ApproveAccount { account, keys } => self.approve_account(*account, keys),
            Command::RejectAccount { account, reason } => self.reject_account(*account, reason),
            Command::ActivateAccount { account, ca_chain, signer_cert, entitlements, response } => {
                self.activate_account(*account, ca_chain, signer_cert, entitlements, response)
            }
            Command::DeactivateAccount { account, reason } => self.deactivate_account(*account, reason),
            Command::ReactivateAccount { account } => self.reactivate_account(*account),
            Command::DeleteAccount { account } => self.delete_account(*account),
            Command::CloseAccount { account } => self.close_account(*account),
            Command::AbandonAccount { account } => self.abandon_account(*account),
            Command::CreateVirtualAccount { account, name } => self.create_virtual_account(*account, name),
            Command::RenameVirtualAccount { va, name } => self.rename_virtual_account(*va, name),
            Command::DeleteVirtualAccount { va } => self.delete_virtual_account(*va),
            Command::TransferLicense { license, from, to, quantity } => {
                self.transfer_license(*license, *from, *to, *quantity)
            }
            Command::CreateToken { .. } => self.create_token(command),
            Command::RevokeToken { token } => self.revoke_token(*token),
            Command::BeginSync { account } => self.begin_sync(*account),
            Command::CompleteSync { account, seq, entitlements, response, signed } => {
                self.complete_sync(*account, *seq, entitlements, response, signed.as_ref())
            }
            Command::WantServerCertificate { names, csr, key } => self.want_server_certificate(names, csr, key),
            Command::IssueRevocationList { number } => self.issue_revocation_list(*number),
            Command::SetBrowserCertificate { certificate } => self.set_browser_certificate(certificate.as_ref()),
            Command::WantAccountCertificate { account } => self.want_account_certificate(*account),
            Command::CertifyAccount { account, ca_chain, signer_cert } => {
                self.certify_account(*account, ca_chain, signer_cert)
            }
            Command::BeginResealing { key, previous } => self.begin_resealing(*key, *previous),
            Command::Reseal { secrets } => self.reseal(secrets),
            Command::EndResealing { key } => self.end_resealing(*key),
            Command::FailSync { account, seq, reason } => self.fail_sync(*account, *seq, reason),
            Command::Register { .. } => self.register(command),
            Command::Readmit { .. } => self.readmit(command),
            Command::Numbered { instance, number, digest, action } => self.numbered(*instance, *number, digest, action),
            Command::RemoveInstance { instance } => self.remove_instance(*instance),
            Command::TransferInstance { instance, to } => self.transfer_instance(*instance, *to),
            Command::SetSyncSchedule { account, schedule } => self.set_sync_schedule(*account, *schedule),
            Command::ChangeUser { name, change } => self.change_user(name, change),
            Command::DeleteUser { name } => self.delete_user(name),
            Command::BeginSession { id, user, source } => self.begin_session(id, user, source),
            Command::TouchSession { id } => self.touch_session(id),
            Command::EndSession { id } => self.end_session(id),
            Command::CreateApiClient { .. } => self.create_api_client(command),
            Command::RevokeApiClient { id } => self.revoke_api_client(id),
            Command::AcceptClock { time } => self.accept_clock(*time),
            Command::EnrolTotp { name, seed } => self.enrol_totp(name, seed),
            Command::UseTotp { name, id, step } => self.use_totp(name, *id, *step),
            Command::ResetTotp { name } => self.reset_totp(name),
            Command::EndSessions { name } => self.end_sessions_by_hand(name),
            Command::LabelLicense { license, add, remove } => self.label_license(*license, add, remove),
            Command::CreateAdminIdentity { name, role, key_hash, expires } => {
                self.create_admin_identity(name, *role, *key_hash, *expires)
            }
            Command::RevokeAdminIdentity { name } => self.revoke_admin_identity(name),
            Command::SetPreferences { name, preferences } => self.set_preferences(name, preferences),
        }
    }

    /// Keeps the outcome for a repeat, and forgets the oldest: by age, and beyond the named count.
    fn remember(&mut self, id: u128, outcome: &Outcome) {
        let record = RequestRecord { id, at: self.now, outcome: outcome.clone() };
        self.state.requests.insert(id, Arc::new(record));
        self.state.index.requests.insert((self.now, id));
        self.changes.insert(RecordKey::Request(id));
        for _ in 0..FORGET_PER_APPLY {
            let Some(&(at, oldest)) = self.state.index.requests.get_min() else { break };
            if self.state.requests.len() <= MAX_REQUESTS && at.plus(REQUEST_MEMORY) > self.now {
                break;
            }
            self.state.index.requests.remove(&(at, oldest));
            self.state.requests.remove(&oldest);
            self.changes.insert(RecordKey::Request(oldest));
        }
    }

    /// An id never given before.
    fn next_id(&mut self) -> u64 {
        self.state.meta.last_id += 1;
        self.state.meta.last_id
    }

    /// Adds an event; the oldest makes room.
    fn event(&mut self, severity: Severity, account: Option<AccountId>, kind: &str, message: String) {
        self.event_about(severity, account, kind, message, Vec::new());
    }

    /// An event with what it is about within the account.
    fn event_about(
        &mut self,
        severity: Severity,
        account: Option<AccountId>,
        kind: &str,
        message: String,
        concerns: Vec<Subject>,
    ) {
        debug_assert!(concerns.len() <= MAX_SUBJECTS);
        let meta = &mut self.state.meta;
        meta.last_event += 1;
        let seq = meta.last_event;
        let event = Event {
            seq: EventSeq(seq),
            at: self.now,
            severity,
            account,
            kind: kind.to_owned(),
            actor: inputs::cut(self.actor, MAX_NAME).to_owned(),
            message,
            concerns,
        };
        if meta.first_event == 0 {
            meta.first_event = seq;
        }
        let first = meta.first_event;
        if seq - first >= MAX_EVENTS {
            meta.first_event += 1;
            // The new one takes its place in the ring, and so in its record.
            self.state.events.remove(&first);
        }
        self.state.events.insert(seq, Arc::new(event));
        self.changes.insert(RecordKey::Events(seq % MAX_EVENTS / EVENT_BLOCK));
    }

    /// Adds an entry to the audit log; the oldest makes room.
    fn audit(&mut self, action: &str, detail: &str) {
        let meta = &mut self.state.meta;
        meta.last_audit += 1;
        let mut entry = AuditEntry {
            seq: meta.last_audit,
            at: self.now,
            actor: inputs::cut(self.actor, MAX_NAME).to_owned(),
            action: action.to_owned(),
            detail: inputs::cut(detail, MAX_MESSAGE).to_owned(),
            hash: [0; 32],
        };
        entry.hash = entry.expected_hash(&meta.audit_head);
        meta.audit_head = entry.hash;
        if meta.first_audit == 0 {
            meta.first_audit = entry.seq;
        }
        if entry.seq - meta.first_audit >= MAX_AUDIT {
            self.state.audit.remove(&meta.first_audit);
            meta.first_audit += 1;
        }
        self.changes.insert(RecordKey::Audit(entry.seq % MAX_AUDIT / AUDIT_BLOCK));
        self.state.audit.insert(entry.seq, Arc::new(entry));
    }

    /// An informational event.
    fn inform(&mut self, account: AccountId, kind: &str, message: String) {
        self.event(Severity::Informational, Some(account), kind, message);
    }

    /// An informational event with what it is about within the account.
    fn inform_about(&mut self, account: AccountId, kind: &str, message: String, concerns: Vec<Subject>) {
        self.event_about(Severity::Informational, Some(account), kind, message, concerns);
    }

    fn account(&self, id: AccountId) -> Result<&Account, Refusal> {
        self.state.account(id).ok_or_else(|| refuse(Reason::NotFound, format!("There is no account {id}.")))
    }

    fn active_account(&self, id: AccountId) -> Result<&Account, Refusal> {
        let account = self.account(id)?;
        if account.status != AccountStatus::Active {
            let message = format!("Account \"{}\" is {}, not active.", account.name, account.status);
            return Err(refuse(Reason::AccountInactive, message));
        }
        Ok(account)
    }

    fn va(&self, id: VirtualAccountId) -> Result<&VirtualAccount, Refusal> {
        let missing = || refuse(Reason::NotFound, format!("There is no virtual account {id}."));
        self.state.virtual_account(id).ok_or_else(missing)
    }

    /// The account for a change; the caller has checked that it exists.
    fn change_account(&mut self, id: AccountId, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.state.accounts.get_mut(&id) {
            let account = Arc::make_mut(account);
            let watched = account.sync.watched();
            change(account);
            self.state.index.move_sync(id, watched, account.sync.watched());
            self.changes.insert(RecordKey::Account(id));
        }
    }

    fn change_va(&mut self, id: VirtualAccountId, change: impl FnOnce(&mut VirtualAccount)) {
        if let Some(va) = self.state.virtual_accounts.get_mut(&id) {
            change(Arc::make_mut(va));
            self.changes.insert(RecordKey::VirtualAccount(id));
        }
    }
}

/// A refusal with its sentence.
fn refuse(reason: Reason, message: impl Into<String>) -> Refusal {
    Refusal { reason, message: message.into() }
}
