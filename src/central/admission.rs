//! Who may speak for a server, and which request may come next: the rules that keep copies of a server from going on
//! side by side.

use super::document::{Digest, Life, RegistrationRequest, SyncRequest, Verified};
use super::records::*;
use super::refusal::{CentralError, RefusalReason, Result, refused};
use super::service::Service;
use crate::license::Millis;

impl Service {
    /// Refuses a server that the vendor revoked, and one that was not heard of for too long.
    pub(super) fn refuse_dropped(&self, server: Option<&ServerRecord>) -> Result<()> {
        let Some(server) = server else { return Ok(()) };
        let uid = &server.uid;
        if server.revoked {
            let message = format!("server {uid} was revoked by the vendor; ask the vendor why");
            return Err(refused(RefusalReason::ServerRevoked, message));
        }
        let now = (self.clock)();
        if !server.silent(now) {
            return Ok(());
        }
        let days = ServerRecord::SILENCE / Millis::DAY;
        if !server.silence_noted {
            let mut change = self.begin("")?;
            change.note("server-silent", uid, "", format!("server {uid} was dropped: it was silent for {days} days"));
            change.batch.put(&ServerRecord::key(uid), &ServerRecord { silence_noted: true, ..server.clone() });
            self.finish(change)?;
        }
        // Short, as in `refuse_copy`.
        let message = format!(
            "this server was silent for {days} days, so central has dropped it; the vendor runs `licraft central server \
             readopt {uid}`, then synchronize again"
        );
        Err(refused(RefusalReason::ServerSilent, message))
    }

    /// A further account of a known server. Its keys prove nothing about the server yet, so it cannot raise the
    /// server's incarnation; only an account that central knows already can.
    pub(super) fn admit_registration(
        &self,
        server: &mut ServerRecord,
        request: &Verified<RegistrationRequest>,
        known: bool,
    ) -> Result<()> {
        let body = &request.body;
        let accounts = self.store.scan::<AccountRecord>(&["account", &server.uid])?;
        let first = accounts.iter().all(|account| account.closed.is_some());
        if first && !server.retired.contains(&body.life) {
            server.life = body.life;
            return Ok(());
        }
        if !known && supersedes(body.life, server) {
            return Err(refused(
                RefusalReason::Twin,
                format!(
                    "this server was last known as {}, now it says {}: synchronize one of its active accounts first, \
                     which proves that it is the same server",
                    server.life, body.life
                ),
            ));
        }
        self.admit_life(server, body.life, &body.account, request.digest)
    }

    /// The first claimant of the highest incarnation speaks for a server; a copy of it is refused and noted. The
    /// request must be signed by a key that central knows.
    pub(super) fn admit_life(
        &self,
        server: &mut ServerRecord,
        life: Life,
        account: &str,
        request: Digest,
    ) -> Result<()> {
        if life == server.life {
            return Ok(());
        }
        if supersedes(life, server) {
            server.life = life;
            return Ok(());
        }
        let what = format!("{life} is not {}", server.life);
        let twin = RefusedTwin { at: (self.clock)(), life, account: account.to_owned(), request };
        Err(self.refuse_copy(server.clone(), RefusalReason::Twin, twin, &what)?)
    }

    /// Within one life each request follows the last one; a new life begins where it likes.
    pub(super) fn admit_sequence(
        &self,
        server: &ServerRecord,
        account: &AccountRecord,
        request: &Verified<SyncRequest>,
    ) -> Result<()> {
        let (line, body) = (&account.line, &request.body);
        if body.life != line.life || line.reopened == Some(request.digest) {
            return Ok(());
        }
        let (reason, what) = match body.seq {
            seq if seq == line.seq + 1 && body.previous == line.response => return Ok(()),
            seq if seq < line.seq => {
                (RefusalReason::StaleSequence, format!("number {seq} is over, the last one is {}", line.seq))
            }
            seq if seq == line.seq => (RefusalReason::Fork, format!("number {seq} was used for another request")),
            seq if seq == line.seq + 1 => {
                (RefusalReason::Fork, format!("number {seq} does not build on the response given to {}", line.seq))
            }
            seq => (RefusalReason::SequenceGap, format!("number {seq} came before number {}", line.seq + 1)),
        };
        let (account, request) = (account.name.clone(), request.digest);
        let twin = RefusedTwin { at: (self.clock)(), life: body.life, account, request };
        Err(self.refuse_copy(server.clone(), reason, twin, &what)?)
    }

    /// Records durably that a copy of a server was refused; gives the refusal.
    fn refuse_copy(
        &self,
        mut server: ServerRecord,
        reason: RefusalReason,
        twin: RefusedTwin,
        what: &str,
    ) -> Result<CentralError> {
        // Short enough for an on-prem server to keep all of it as the reason of a failure (MAX_TEXT).
        let message = format!(
            "this server has a copy, or was restored: {what}; stop the wrong one, or the vendor runs \
             `licraft central server readopt {}`",
            server.uid
        );
        // A copy repeats its request for ever; one event and one flush for it are enough.
        if server.refused.as_ref().is_none_or(|r| r.request != twin.request) {
            let mut change = self.begin("")?;
            let kind = if reason == RefusalReason::Twin { "twin-refused" } else { "fork-refused" };
            change.note(kind, &server.uid, &twin.account, what.to_owned());
            server.refused = Some(twin);
            change.batch.put(&ServerRecord::key(&server.uid), &server);
            self.finish(change)?;
        }
        Ok(refused(reason, message))
    }
}

/// A later life of the same server; one that began with a restored backup, or before it, is another server's until an
/// operator says otherwise.
fn supersedes(life: Life, server: &ServerRecord) -> bool {
    let same = life.restore_mark() == server.life.restore_mark();
    same && life.incarnation > server.life.incarnation && !server.retired.contains(&life)
}
