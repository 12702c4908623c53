//! The passing of time: what is due happens along with the commands that come, but not while the clock is in doubt, nor
//! within a day after an outage of ours.

use super::*;

/// What the alert about the leader's clock is about.
const CLOCK: &str = "server clock";

impl Apply<'_> {
    /// Takes the time of a stamp. A wall clock that is far ahead of it is in doubt: then all ends stand still.
    pub fn take_time(&mut self, stamp: Stamp) {
        let ahead = stamp.wall.0.saturating_sub(self.now.0);
        let doubted = self.state.meta.clock_ahead > 0;
        let meta = &mut self.state.meta;
        meta.now = self.now;
        meta.clock_ahead = if ahead > CLOCK_JUMP { ahead } else { 0 };
        if meta.clock_ahead > 0 {
            self.doubt_clock(!doubted);
        } else {
            meta.expiry = self.now;
            // A time that nobody has waited for: peers have confirmed the jump.
            let confirmed = doubted && self.now > self.before.plus(CLOCK_JUMP);
            if doubted {
                self.settle_clock(confirmed, "The active node's clock is in no doubt any more.");
            }
        }
        self.pass_time();
    }

    /// What has become due by itself, some at a time.
    fn pass_time(&mut self) {
        self.cross_term_boundaries();
        self.mark_overdue();
        self.mark_expiring();
        self.mark_browser_expiring();
    }

    /// Makes the wall clock's time state time.
    pub fn accept_clock(&mut self, time: Millis) -> Done {
        let ahead = self.state.meta.clock_ahead;
        if ahead == 0 {
            return Err(refuse(Reason::State, "The active node's clock is in no doubt; there is nothing to accept."));
        }
        let wall = self.now.plus(ahead);
        if wall.0.abs_diff(time.0) > CLOCK_JUMP {
            let hours = wall.0.abs_diff(time.0) / Millis::HOUR;
            let message = format!(
                "The active node's clock is {hours} h away from the time that was confirmed; look at it again \
                 (`licraft clock show`)."
            );
            return Err(refuse(Reason::Invalid, message));
        }
        self.now = wall;
        let meta = &mut self.state.meta;
        (meta.now, meta.expiry, meta.clock_ahead) = (wall, wall, 0);
        self.settle_clock(true, "The active node's clock was confirmed.");
        self.pass_time();
        Ok(Outcome::Done)
    }

    fn doubt_clock(&mut self, new: bool) {
        let hours = self.state.meta.clock_ahead / Millis::HOUR;
        let message = format!(
            "The active node's clock has jumped: it is {} d {} h ahead of where it should be, and nothing has confirmed it.",
            hours / 24,
            hours % 24
        );
        self.put_alert(Alert {
            key: about_clock(),
            severity: Severity::Major,
            account: None,
            raised: self.now,
            due: None,
            message: message.clone(),
            action: "Set the clock right (NTP) or, if it is right, run `licraft clock accept`; a synchronization with \
                     central confirms it, too. Until then nothing lapses or ends."
                .to_owned(),
            acknowledged: None,
        });
        if new {
            self.event(Severity::Major, None, "clock-doubted", message);
        }
    }

    /// The doubt is over. If the jump was true, the time that was skipped counts as an outage of ours.
    fn settle_clock(&mut self, skipped: bool, message: &str) {
        if skipped {
            self.note_absence(self.before);
            self.state.meta.resumed_at = self.now;
        }
        self.drop_alert(&about_clock());
        self.event(Severity::Informational, None, "clock-settled", message.to_owned());
    }

    /// An outage of ours began at `since`, unless the last one has hardly passed: then they are one.
    pub fn note_absence(&mut self, since: Millis) {
        self.state.meta.note_absence(since);
    }
}

impl Meta {
    /// See [`Apply::note_absence`].
    pub(in crate::license) fn note_absence(&mut self, since: Millis) {
        if since >= self.resumed_at.plus(RESUME_GRACE) {
            self.left_at = since;
        }
    }

    /// Whether nothing lapses now: the clock is in doubt, or service has resumed within a day or is about to.
    pub(in crate::license) fn spares(&self) -> bool {
        self.clock_ahead > 0 || self.resuming || self.now < self.resumed_at.plus(RESUME_GRACE)
    }
}

/// Whether this is the alert about the leader's clock.
pub fn is_about_clock(key: &AlertKey) -> bool {
    *key == about_clock()
}

fn about_clock() -> AlertKey {
    AlertKey { kind: AlertKind::ClockSkew, source: CLOCK.to_owned() }
}
