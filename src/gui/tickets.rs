//! People who have given the right password and not yet the code that goes with it. Known to the active node alone:
//! after a change of it they begin again.

use crate::license::{Digest32, User};
use crate::pki::{random, sha256};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// To fetch a telephone from another room.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Each took a right password; some 300 bytes each.
const MAX_TICKETS: usize = 1_000;

struct Ticket {
    user: String,
    /// The password that was right; another one since ends this.
    password_hash: String,
    until: Instant,
}

#[derive(Default)]
pub struct Tickets(Mutex<HashMap<Digest32, Ticket>>);

impl Tickets {
    /// The ticket that says that `user` gave the right password.
    pub fn give(&self, user: &User, now: Instant) -> String {
        let token = random::token();
        let mut table = self.0.lock();
        table.retain(|_, t| now < t.until);
        if table.len() >= MAX_TICKETS
            && let Some(oldest) = table.iter().min_by_key(|(_, t)| t.until).map(|(id, _)| *id)
        {
            table.remove(&oldest);
        }
        let (name, password_hash) = (user.name.clone(), user.password_hash.clone());
        table.insert(sha256(token.as_bytes()), Ticket { user: name, password_hash, until: now + LIFE });
        token
    }

    /// Whose ticket this is, with the hash of the password that was right.
    pub fn user(&self, token: &str, now: Instant) -> Option<(String, String)> {
        let table = self.0.lock();
        let ticket = table.get(&sha256(token.as_bytes())).filter(|t| now < t.until)?;
        Some((ticket.user.clone(), ticket.password_hash.clone()))
    }

    /// The ticket has served.
    pub fn used(&self, token: &str) {
        self.0.lock().remove(&sha256(token.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::Role;

    #[test]
    fn a_ticket_serves_once_for_five_minutes_and_the_oldest_makes_room() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let user = User::new("ann".into(), Role::ReadOnly, "hash".into(), false);
        let first = tickets.give(&user, now);
        assert_eq!(tickets.user(&first, now), Some(("ann".into(), "hash".into())));
        assert_eq!((tickets.user("another", now), tickets.user(&first, now + LIFE)), (None, None));
        tickets.used(&first);
        assert_eq!(tickets.user(&first, now), None);
        let first = tickets.give(&user, now);
        let later = now + Duration::from_secs(1);
        let last = (0..MAX_TICKETS).map(|_| tickets.give(&user, later)).last().unwrap();
        assert!(tickets.user(&first, later).is_none() && tickets.user(&last, later).is_some());
    }
}
