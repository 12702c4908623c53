//! Who is signed in. Sessions are records of the ledger, found by the hash of their token: they outlive the active node,
//! and end with a change of the user's password or role. A retired node can change no record, so it keeps its own.

use crate::license::{Command, Digest32, MAX_SESSIONS_PER_USER, Millis, Outcome, SESSION_TOUCH, Session, User};
use crate::pki::{random, sha256};
use crate::product::Clock;
use crate::raft::{Ledger, ProposeError};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The sessions of the browsers that come here.
pub struct Sessions {
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    /// Of a retired node alone.
    local: Option<Mutex<BTreeMap<Digest32, Session>>>,
}

impl Sessions {
    pub fn new(ledger: Arc<dyn Ledger>, clock: Clock, retired: bool) -> Self {
        Self { ledger, clock, local: retired.then(Mutex::default) }
    }

    /// Begins a session and returns its token: 256 random bits, base64url.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn begin(&self, user: &User, source: IpAddr) -> Result<String, ProposeError> {
        let token = random::token();
        let (id, name, source) = (sha256(token.as_bytes()), user.name.clone(), source.to_string());
        if let Some(local) = &self.local {
            let now = (self.clock)();
            let mut table = local.lock();
            table.retain(|_, s| s.live(now));
            // Few look at a retired node; who signs in without end displaces others.
            while table.len() >= MAX_SESSIONS_PER_USER {
                table.pop_first();
            }
            table.insert(id, Session { id, user: name, source, begun: now, used: now });
            return Ok(token);
        }
        match self
            .ledger
            .propose(random::u128(), &name, Command::BeginSession { id, user: name.clone(), source })
            .await?
        {
            Outcome::Refused(refusal) => Err(ProposeError::Stopped { why: refusal.message }),
            _ => Ok(token),
        }
    }

    /// The user whose live session this is, and may still sign in. `touch` counts it as use.
    pub fn user(&self, token: &str, touch: bool) -> Option<User> {
        let (id, state) = (sha256(token.as_bytes()), self.ledger.state());
        let now = state.time((self.clock)());
        let session = match &self.local {
            Some(local) => local.lock().get(&id).filter(|s| s.live(now)).cloned()?,
            None => state.session(&id, now)?.clone(),
        };
        let user = state.user(&session.user).filter(|u| !u.disabled).cloned()?;
        if touch && now >= session.used.plus(SESSION_TOUCH) {
            self.touch(id, now);
        }
        Some(user)
    }

    fn touch(&self, id: Digest32, now: Millis) {
        if let Some(local) = &self.local {
            local.lock().entry(id).and_modify(|s| s.used = now);
            return;
        }
        let ledger = self.ledger.clone();
        tokio::spawn(async move {
            // The next page touches it again.
            if let Err(error) = ledger.propose(random::u128(), "session", Command::TouchSession { id }).await {
                tracing::info!(%error, "the use of a session was not recorded");
            }
        });
    }

    /// Ends all sessions of the user, here and elsewhere.
    ///
    /// # Errors
    /// When that could not be recorded.
    pub async fn end_all(&self, user: &str) -> Result<(), ProposeError> {
        let name = user.to_owned();
        match &self.local {
            Some(local) => local.lock().retain(|_, s| s.user != name),
            None => drop(self.ledger.propose(random::u128(), user, Command::EndSessions { name }).await?),
        }
        Ok(())
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When that could not be recorded.
    pub async fn end(&self, token: &str, user: &str) -> Result<(), ProposeError> {
        let id = sha256(token.as_bytes());
        match &self.local {
            Some(local) => drop(local.lock().remove(&id)),
            None => drop(self.ledger.propose(random::u128(), user, Command::EndSession { id }).await?),
        }
        Ok(())
    }

    /// Ends all sessions of the user but this one.
    ///
    /// # Errors
    /// When that could not be recorded; some may have ended.
    pub async fn end_others(&self, token: &str, user: &str) -> Result<(), ProposeError> {
        let (own, now) = (sha256(token.as_bytes()), (self.clock)());
        if let Some(local) = &self.local {
            local.lock().retain(|id, session| session.user != user || *id == own);
            return Ok(());
        }
        let others: Vec<_> = self.ledger.state().sessions_of(user, now).map(|s| s.id).filter(|id| *id != own).collect();
        for id in others {
            self.ledger.propose(random::u128(), user, Command::EndSession { id }).await?;
        }
        Ok(())
    }
}
