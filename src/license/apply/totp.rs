//! The second factor of users. Codes are checked outside, where the seed can be opened; here each one counts once.

use super::*;

impl Apply<'_> {
    /// A second factor in force is not replaced: whoever may do that could be rid of it.
    pub fn enrol_totp(&mut self, name: &str, seed: &Sealed) -> Done {
        self.check_sealed("sealed seed", seed)?;
        let user = self.known_user(name)?.clone();
        if user.totp.as_ref().is_some_and(|t| t.confirmed) {
            let message = format!("User \"{name}\" has a second factor; reset it first.");
            return Err(refuse(Reason::State, message));
        }
        let totp = Totp { id: self.next_id(), seed: seed.clone(), confirmed: false, last_step: 0 };
        self.store_user(User { totp: Some(totp), ..user });
        Ok(Outcome::Done)
    }

    /// The code that puts the second factor in force ends the sessions that were begun without one.
    pub fn use_totp(&mut self, name: &str, id: u64, step: u64) -> Done {
        let user = self.known_user(name)?.clone();
        let Some(totp) = user.totp.clone().filter(|t| t.id == id) else {
            let message = format!("User \"{name}\" has no such second factor any more; begin again.");
            return Err(refuse(Reason::NotFound, message));
        };
        if step <= totp.last_step {
            return Err(refuse(Reason::State, "This code, or a later one, was used already; wait for the next one."));
        }
        let first = !totp.confirmed;
        self.store_user(User { totp: Some(Totp { confirmed: true, last_step: step, ..totp }), ..user });
        if first {
            self.end_sessions_of(name);
            self.event(Severity::Informational, None, "user-changed", format!("\"{name}\" signs in with a code, too."));
        }
        Ok(Outcome::Done)
    }

    pub fn reset_totp(&mut self, name: &str) -> Done {
        let user = self.known_user(name)?.clone();
        if user.totp.is_none() {
            return Err(refuse(Reason::NotFound, format!("User \"{name}\" has no second factor.")));
        }
        self.store_user(User { totp: None, ..user });
        self.end_sessions_of(name);
        let message = format!("The second factor of \"{name}\" was removed.");
        self.event(Severity::Minor, None, "user-changed", message);
        Ok(Outcome::Done)
    }
}
