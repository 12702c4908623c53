//! Who is signed in. Central is one process, so its sessions live as long as that.

use crate::central::Clock;
use crate::license::{Digest32, MAX_SESSIONS_PER_USER, Session};
use crate::pki::{random, sha256};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;

/// The sessions of the browsers that come here, by the hash of their token.
pub struct Sessions {
    clock: Clock,
    table: Mutex<HashMap<Digest32, Session>>,
}

impl Sessions {
    pub fn new(clock: Clock) -> Self {
        Self { clock, table: Mutex::default() }
    }

    /// Begins a session and returns its token: 256 random bits, base64url.
    pub fn begin(&self, user: &str, source: IpAddr) -> String {
        let (token, now) = (random::token(), (self.clock)());
        let id = sha256(token.as_bytes());
        let mut table = self.table.lock();
        table.retain(|_, session| session.live(now));
        // A further one ends the stalest.
        let own = table.values().filter(|session| session.user == user);
        let mut own: Vec<_> = own.map(|session| (session.used, session.id)).collect();
        own.sort_unstable();
        for (_, stalest) in own.iter().take((own.len() + 1).saturating_sub(MAX_SESSIONS_PER_USER)) {
            table.remove(stalest);
        }
        table.insert(id, Session { id, user: user.to_owned(), source: source.to_string(), begun: now, used: now });
        token
    }

    /// The live session with this token, which is used now.
    pub fn touch(&self, token: &str) -> Option<Session> {
        let now = (self.clock)();
        let mut table = self.table.lock();
        let session = table.get_mut(&sha256(token.as_bytes())).filter(|session| session.live(now))?;
        session.used = now;
        Some(session.clone())
    }

    pub fn end(&self, token: &str) {
        self.table.lock().remove(&sha256(token.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Millis, SESSION_IDLE, SESSION_LIFE};
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn sessions() -> (Sessions, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(1));
        let clock = now.clone();
        (Sessions::new(Arc::new(move || Millis(clock.load(Ordering::SeqCst)))), now)
    }

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_session_ends_unused_in_the_end_and_when_asked() {
        let (sessions, now) = sessions();
        let (idle, busy) = (sessions.begin("ann", SOURCE), sessions.begin("ann", SOURCE));
        for passed in (0..SESSION_LIFE).step_by(usize::try_from(SESSION_IDLE / 2).unwrap()) {
            now.store(1 + passed, Ordering::SeqCst);
            assert_eq!(sessions.touch(&busy).unwrap().user, "ann");
        }
        assert!(sessions.touch(&idle).is_none());
        now.store(1 + SESSION_LIFE, Ordering::SeqCst);
        assert!(sessions.touch(&busy).is_none());
        let token = sessions.begin("ann", SOURCE);
        sessions.end(&token);
        assert!(sessions.touch(&token).is_none() && sessions.touch("guess").is_none());
    }

    #[test]
    fn a_further_session_ends_the_stalest_of_the_same_user() {
        let (sessions, now) = sessions();
        let other = sessions.begin("bob", SOURCE);
        let tokens: Vec<String> = (0..=MAX_SESSIONS_PER_USER)
            .map(|_| {
                now.fetch_add(1, Ordering::SeqCst);
                sessions.begin("ann", SOURCE)
            })
            .collect();
        assert!(sessions.touch(&tokens[0]).is_none() && sessions.touch(&other).is_some());
        assert!(tokens[1..].iter().all(|token| sessions.touch(token).is_some()));
    }
}
