//! Who may speak for a server, and which request may come next: the rules that keep copies of a server from going on
//! side by side.

use super::document::{Digest, Life, RegistrationRequest, SyncRequest, Verified};
use super::records::*;
use super::refusal::{CentralError, RefusalReason, Result, refused};
use super::service::Service;
use super::store::Batch;

impl Service {
    /// A further account of a known server. Its keys prove nothing about the server yet, so it cannot raise the
    /// server's incarnation; only an account that central knows already can.
    pub(super) fn admit_registration(
        &self,
        server: &mut ServerRecord,
        request: &Verified<RegistrationRequest>,
    ) -> Result<()> {
        let body = &request.body;
        if body.life == server.life {
            return Ok(());
        }
        if self.store.scan::<AccountRecord>(&["account", &server.uid])?.is_empty()
            && !server.retired.contains(&body.life)
        {
            server.life = body.life;
            return Ok(());
        }
        if body.life.incarnation > server.life.incarnation && !server.retired.contains(&body.life) {
            return Err(refused(
                RefusalReason::Twin,
                format!(
                    "this server was last known as {}, now it says {}: synchronize one of its active accounts first, \
                     which proves that it is the same server",
                    server.life, body.life
                ),
            ));
        }
        Err(self.refuse_twin(server.clone(), body.life, &body.account, request.digest)?)
    }

    /// The first claimant of the highest incarnation speaks for a server; a copy of it is refused and noted.
    pub(super) fn admit_life(&self, server: &mut ServerRecord, request: &Verified<SyncRequest>) -> Result<()> {
        let life = request.body.life;
        if life == server.life {
            return Ok(());
        }
        if life.incarnation > server.life.incarnation && !server.retired.contains(&life) {
            server.life = life;
            return Ok(());
        }
        Err(self.refuse_twin(server.clone(), life, &request.body.account, request.digest)?)
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
        if body.seq < line.seq {
            return Err(refused(
                RefusalReason::StaleSequence,
                format!("synchronization {} is over; the last one of this account is {}", body.seq, line.seq),
            ));
        }
        if body.seq > line.seq + 1 {
            let message = format!("synchronization {} came without number {}", body.seq, line.seq + 1);
            return Err(refused(RefusalReason::SequenceGap, message));
        }
        if body.seq == line.seq + 1 && body.previous == line.response {
            return Ok(());
        }
        let what = if body.seq == line.seq {
            format!("number {} was used for another request", body.seq)
        } else {
            format!("number {} does not build on the response given to number {}", body.seq, line.seq)
        };
        Err(self.refuse_copy(server.clone(), RefusalReason::Fork, body.life, &body.account, request.digest, &what)?)
    }

    fn refuse_twin(&self, server: ServerRecord, life: Life, account: &str, request: Digest) -> Result<CentralError> {
        let what = format!("it says {life}, but {} speaks for this server", server.life);
        self.refuse_copy(server, RefusalReason::Twin, life, account, request, &what)
    }

    /// Records a refused copy of a server durably; gives the refusal.
    fn refuse_copy(
        &self,
        mut server: ServerRecord,
        reason: RefusalReason,
        life: Life,
        account: &str,
        request: Digest,
        what: &str,
    ) -> Result<CentralError> {
        let kind = if reason == RefusalReason::Fork { "fork-refused" } else { "twin-refused" };
        let first = server.refused.as_ref().is_none_or(|r| r.request != request);
        if first {
            // A copy repeats its request for ever; one event and one flush for it are enough.
            let mut batch = Batch::default();
            let mut meta = self.meta()?;
            self.note(&mut batch, &mut meta, kind, &server.uid, account, what.to_owned());
            batch.put(Meta::KEY, &meta);
            server.refused = Some(RefusedTwin { at: (self.clock)(), life, account: account.to_owned(), request });
            batch.put(&ServerRecord::key(&server.uid), &server);
            self.store.commit(batch)?;
        }
        Ok(refused(
            reason,
            format!(
                "two copies of server {} synchronize: {what}. Stop the wrong one; if this one shall go on, the vendor \
                 runs `licraft central server readopt {}`",
                server.uid, server.uid
            ),
        ))
    }
}
