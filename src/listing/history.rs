//! What was: cleared alerts, and who did what in accounts.

use super::Needle;
use crate::license::{AccountId, Alert, PastAlert, Severity, State};

/// Which alerts are wanted, be it of those that stand or of those that were cleared.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// Of this account; none: of the whole server.
    pub account: Option<AccountId>,
    /// In titles, sources and messages.
    pub search: Needle,
    pub severity: Option<Severity>,
}

impl AlertFilter {
    #[must_use]
    pub fn takes(&self, alert: &Alert) -> bool {
        (self.account.is_none() || alert.account == self.account)
            && self.severity.is_none_or(|severity| severity == alert.severity)
            && self.search.is_in([alert.key.kind.title(), &alert.key.source, &alert.message])
    }
}

/// The cleared alerts newer than number `after` that `wanted` asks for, oldest first.
pub fn past_alerts<'a>(
    state: &'a State,
    after: u64,
    wanted: &'a AlertFilter,
) -> impl DoubleEndedIterator<Item = &'a PastAlert> {
    state.past_alerts(after).filter(|past| wanted.takes(&past.alert))
}
