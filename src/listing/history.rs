//! What was: cleared alerts, and who did what in accounts.

use super::Needle;
use crate::license::{AccountId, Alert, AuditEntry, Event, Millis, PastAlert, Severity, State};

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

/// What changes are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityKind {
    License,
    Usage,
    Instance,
    Token,
    VirtualAccount,
    Synchronization,
}

impl ActivityKind {
    /// Each with a stable name and what people read.
    pub const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::License, "license", "Licenses"),
        (Self::Usage, "usage", "Usage"),
        (Self::Instance, "instance", "Product instances"),
        (Self::Token, "token", "Tokens"),
        (Self::VirtualAccount, "virtual-account", "Virtual accounts"),
        (Self::Synchronization, "synchronization", "Synchronization"),
    ];

    /// Of an event or an audit entry, by its name; none for what has no place in licensing.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "terms-changed" => Self::License,
            "usage-changed" => Self::Usage,
            "account-certified" => Self::Synchronization,
            _ if name.starts_with("license-") => Self::License,
            _ if name.starts_with("instance-") => Self::Instance,
            _ if name.starts_with("token-") => Self::Token,
            _ if name.starts_with("virtual-account-") => Self::VirtualAccount,
            _ if name.starts_with("sync") => Self::Synchronization,
            _ => return None,
        })
    }

    #[must_use]
    pub fn title(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., title)| title)
    }
}

/// A change with who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity<'a> {
    pub at: Millis,
    pub kind: ActivityKind,
    /// Name of the event or of the audited action.
    pub name: &'a str,
    /// None for one that the audit log alone remembers.
    pub account: Option<AccountId>,
    pub actor: &'a str,
    pub text: &'a str,
}

impl<'a> Activity<'a> {
    fn of_event(event: &'a Event) -> Option<Self> {
        let kind = ActivityKind::of(&event.kind)?;
        let Event { at, account, actor, message, .. } = event;
        Some(Self { at: *at, kind, name: &event.kind, account: *account, actor, text: message })
    }

    fn of_entry(entry: &'a AuditEntry) -> Option<Self> {
        let AuditEntry { at, actor, action, detail, .. } = entry;
        Some(Self { at: *at, kind: ActivityKind::of(action)?, name: action, account: None, actor, text: detail })
    }
}

/// Which changes are wanted.
#[derive(Clone, Debug, Default)]
pub struct ActivitySearch {
    /// In texts and names.
    pub search: Needle,
    /// In the name of who made it.
    pub by: Needle,
    pub kind: Option<ActivityKind>,
    pub account: Option<AccountId>,
    /// Whether the audit log tells what the event log does not keep any more: products fill that, people do not fill the
    /// audit log.
    pub audit: bool,
}

impl ActivitySearch {
    fn takes(&self, activity: &Activity<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == activity.kind)
            && (self.account.is_none() || self.account == activity.account)
            && self.by.is_in([activity.actor])
            && self.search.is_in([activity.text, activity.name])
    }
}

/// The changes that `wanted` asks for, newest first; of the events only those that `seen` lets through.
pub fn activity<'a>(state: &'a State, wanted: &ActivitySearch, seen: impl Fn(&Event) -> bool) -> Vec<Activity<'a>> {
    let mut found: Vec<_> = state.events(0).filter(|event| seen(event)).filter_map(Activity::of_event).collect();
    found.reverse();
    let lost = (state.meta().first_event > 1).then(|| state.events(0).next().map(|oldest| oldest.at)).flatten();
    if let Some(since) = lost.filter(|_| wanted.audit) {
        let mut older: Vec<_> =
            state.audit(0).take_while(|entry| entry.at < since).filter_map(Activity::of_entry).collect();
        older.reverse();
        found.extend(older);
    }
    found.retain(|activity| wanted.takes(activity));
    found
}
