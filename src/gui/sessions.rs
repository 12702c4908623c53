//! Who is signed in, in the memory of this node. A session is found by the hash of its token, and ends with the
//! password under which it began.

use crate::license::{Digest32, User};
use crate::pki::{random, sha256};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A page left alone for so long is signed out. Live refreshing does not count as use.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Nobody stays signed in longer: a working day.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once: ten for each user there may be, some 200 bytes each.
const MAX_SESSIONS: usize = 10_000;
/// Sessions of one user at once: more than one person has browsers; a further one ends the stalest.
const MAX_PER_USER: usize = 10;

struct Session {
    user: String,
    /// SHA-256 of the password hash it began under.
    credential: Digest32,
    begun: Instant,
    used: Instant,
}

impl Session {
    fn live(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE && now.duration_since(self.begun) < LONGEST
    }
}

/// The table of sessions.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Digest32, Session>>);

impl Sessions {
    /// Begins a session and returns its token: 256 random bits, base64url.
    pub fn begin(&self, user: &User, now: Instant) -> String {
        let token = random::token();
        let mut table = self.0.lock();
        if table.values().filter(|s| s.user == user.name).count() >= MAX_PER_USER {
            end_stalest(&mut table, |s| s.user == user.name);
        }
        if table.len() >= MAX_SESSIONS {
            table.retain(|_, s| s.live(now));
        }
        if table.len() >= MAX_SESSIONS {
            end_stalest(&mut table, |_| true);
        }
        let credential = sha256(user.password_hash.as_bytes());
        table.insert(sha256(token.as_bytes()), Session { user: user.name.clone(), credential, begun: now, used: now });
        token
    }

    /// The name of the user whose live session this is. `touch` counts it as use.
    pub fn user(&self, token: &str, touch: bool, now: Instant) -> Option<String> {
        let key = sha256(token.as_bytes());
        let mut table = self.0.lock();
        let session = table.get_mut(&key)?;
        if !session.live(now) {
            table.remove(&key);
            return None;
        }
        if touch {
            session.used = now;
        }
        Some(session.user.clone())
    }

    /// Whether the session began under this user's present password; if not, it ends.
    pub fn confirm(&self, token: &str, user: &User) -> bool {
        let key = sha256(token.as_bytes());
        let mut table = self.0.lock();
        let same = table.get(&key).is_some_and(|s| s.credential == sha256(user.password_hash.as_bytes()));
        if !same {
            table.remove(&key);
        }
        same
    }

    pub fn end(&self, token: &str) {
        self.0.lock().remove(&sha256(token.as_bytes()));
    }
}

fn end_stalest(table: &mut HashMap<Digest32, Session>, of: impl Fn(&Session) -> bool) {
    let stalest = table.iter().filter(|(_, s)| of(s)).min_by_key(|(_, s)| s.used).map(|(k, _)| *k);
    if let Some(key) = stalest {
        table.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Millis, Role};

    fn user(name: &str, hash: &str) -> User {
        let (name, password_hash) = (name.into(), hash.into());
        User { name, role: Role::ReadOnly, password_hash, must_change: false, created: Millis(0) }
    }

    #[test]
    fn idle_and_long_sessions_end() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let token = sessions.begin(&user("ann", "1"), start);
        let mut now = start;
        while now + Duration::from_secs(60) < start + LONGEST {
            assert_eq!(sessions.user(&token, true, now).as_deref(), Some("ann"));
            now += IDLE - Duration::from_secs(60);
        }
        assert_eq!(sessions.user(&token, true, start + LONGEST), None);

        let token = sessions.begin(&user("ann", "1"), start);
        assert!(sessions.user(&token, false, start + IDLE / 2).is_some());
        assert_eq!(sessions.user(&token, true, start + IDLE), None, "looking without use does not prolong it");
        assert_eq!(sessions.user(&token, true, start), None, "an ended session stays ended");
    }

    #[test]
    fn a_changed_password_ends_the_session() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let token = sessions.begin(&user("ann", "1"), now);
        assert!(sessions.confirm(&token, &user("ann", "1")));
        assert!(!sessions.confirm(&token, &user("ann", "2")));
        assert_eq!(sessions.user(&token, true, now), None);
    }

    #[test]
    fn one_user_cannot_displace_others() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let ann = sessions.begin(&user("ann", "1"), start);
        let first = sessions.begin(&user("bob", "1"), start);
        for i in 1..=2 * MAX_PER_USER as u64 {
            sessions.begin(&user("bob", "1"), start + Duration::from_secs(i));
        }
        let now = start + Duration::from_secs(60);
        assert!(sessions.user(&ann, true, now).is_some());
        assert!(sessions.user(&first, true, now).is_none());
        assert_eq!(sessions.0.lock().len(), 1 + MAX_PER_USER);
    }
}
