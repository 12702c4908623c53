//! Lists of accounts, virtual accounts, tokens, alerts and events.

use super::history::AlertFilter;
use super::query::{Column, Listed, Needle, Order, Window, cut};
use crate::license::{
    Account, AccountId, AccountStatus, Alert, Event, Millis, Severity, State, Token, VirtualAccount, VirtualAccountId,
};
use std::cmp::Ordering;

/// What accounts can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountColumn {
    Name,
    Status,
    RequestedBy,
    SmartAccount,
    VirtualAccount,
    Instances,
    LastSynchronization,
    SynchronizationDue,
}

impl Column for AccountColumn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("name", Self::Name),
        ("status", Self::Status),
        ("requestedBy", Self::RequestedBy),
        ("smartAccount", Self::SmartAccount),
        ("virtualAccount", Self::VirtualAccount),
        ("productInstances", Self::Instances),
        ("lastSynchronization", Self::LastSynchronization),
        ("synchronizationDue", Self::SynchronizationDue),
    ];
}

/// Which accounts are wanted.
#[derive(Clone, Debug)]
pub struct AccountSearch {
    /// In names, of those above too, and in who asked for it.
    pub search: Needle,
    pub status: Option<AccountStatus>,
    pub order: Order<AccountColumn>,
    pub window: Window,
}

/// The accounts among those that may be `seen` that `wanted` asks for.
pub fn accounts<'a>(state: &'a State, seen: impl Fn(&Account) -> bool, wanted: &AccountSearch) -> Listed<&'a Account> {
    let found = state.accounts().filter(|a| {
        let texts = [a.name.as_str(), &a.requested_by, &a.smart_account, &a.virtual_account];
        seen(a) && wanted.status.is_none_or(|status| status == a.status) && wanted.search.is_in(texts)
    });
    let compare = |a: &&Account, b: &&Account| {
        let by_column = match wanted.order.by {
            AccountColumn::Name => Ordering::Equal,
            AccountColumn::Status => a.status.to_string().cmp(&b.status.to_string()),
            AccountColumn::RequestedBy => a.requested_by.cmp(&b.requested_by),
            AccountColumn::SmartAccount => a.smart_account.cmp(&b.smart_account),
            AccountColumn::VirtualAccount => a.virtual_account.cmp(&b.virtual_account),
            AccountColumn::Instances => a.instances.cmp(&b.instances),
            AccountColumn::LastSynchronization => a.sync.last_success.cmp(&b.sync.last_success),
            AccountColumn::SynchronizationDue => a.sync.due.cmp(&b.sync.due),
        };
        wanted.order.turn(by_column.then_with(|| a.name.cmp(&b.name)))
    };
    cut(found.collect(), wanted.window, compare)
}

/// What virtual accounts can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualAccountColumn {
    Name,
    Created,
    Instances,
}

impl Column for VirtualAccountColumn {
    const NAMES: &'static [(&'static str, Self)] =
        &[("name", Self::Name), ("created", Self::Created), ("productInstances", Self::Instances)];
}

/// Which virtual accounts are wanted.
#[derive(Clone, Debug)]
pub struct VirtualAccountSearch {
    pub search: Needle,
    pub order: Order<VirtualAccountColumn>,
    pub window: Window,
}

/// The virtual accounts of an account that `wanted` asks for.
#[must_use]
pub fn virtual_accounts<'a>(
    state: &'a State,
    account: AccountId,
    wanted: &VirtualAccountSearch,
) -> Listed<&'a VirtualAccount> {
    let found = state.virtual_accounts(account).filter(|va| wanted.search.is_in([va.name.as_str()]));
    let compare = |a: &&VirtualAccount, b: &&VirtualAccount| {
        let by_column = match wanted.order.by {
            VirtualAccountColumn::Name => Ordering::Equal,
            VirtualAccountColumn::Created => a.created.cmp(&b.created),
            VirtualAccountColumn::Instances => a.instances.cmp(&b.instances),
        };
        wanted.order.turn(by_column.then_with(|| a.name.cmp(&b.name)))
    };
    cut(found.collect(), wanted.window, compare)
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenStatus {
    Active,
    Expired,
    Exhausted,
    Revoked,
}

impl TokenStatus {
    /// As a registration with it would be answered at `now`.
    #[must_use]
    pub fn of(token: &Token, now: Millis) -> Self {
        match token {
            _ if token.revoked => Self::Revoked,
            _ if now >= token.expires => Self::Expired,
            _ if token.max_uses > 0 && token.uses >= token.max_uses => Self::Exhausted,
            _ => Self::Active,
        }
    }
}

/// What tokens can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenColumn {
    Created,
    Expires,
    Description,
    Status,
    Uses,
    CreatedBy,
}

impl Column for TokenColumn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("created", Self::Created),
        ("expirationDate", Self::Expires),
        ("description", Self::Description),
        ("status", Self::Status),
        ("uses", Self::Uses),
        ("createdBy", Self::CreatedBy),
    ];
}

/// Which tokens are wanted.
#[derive(Clone, Debug)]
pub struct TokenSearch {
    /// In descriptions and in who made it.
    pub search: Needle,
    pub status: Option<TokenStatus>,
    pub order: Order<TokenColumn>,
    pub window: Window,
}

/// The tokens of a virtual account that `wanted` asks for.
#[must_use]
pub fn tokens<'a>(state: &'a State, va: VirtualAccountId, wanted: &TokenSearch) -> Listed<&'a Token> {
    let status = |token: &Token| TokenStatus::of(token, state.now());
    let found = state.tokens(va).filter(|token| {
        wanted.status.is_none_or(|wanted| wanted == status(token))
            && wanted.search.is_in([token.description.as_str(), &token.created_by])
    });
    let compare = |a: &&Token, b: &&Token| {
        let by_column = match wanted.order.by {
            TokenColumn::Created => Ordering::Equal,
            TokenColumn::Expires => a.expires.cmp(&b.expires),
            TokenColumn::Description => a.description.cmp(&b.description),
            TokenColumn::Status => status(a).cmp(&status(b)),
            TokenColumn::Uses => a.uses.cmp(&b.uses),
            TokenColumn::CreatedBy => a.created_by.cmp(&b.created_by),
        };
        wanted.order.turn(by_column.then_with(|| a.id.cmp(&b.id)))
    };
    cut(found.collect(), wanted.window, compare)
}

/// What alerts can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertColumn {
    Kind,
    Severity,
    Source,
    Raised,
    Due,
    Acknowledged,
}

impl Column for AlertColumn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("messageType", Self::Kind),
        ("kind", Self::Kind),
        ("severity", Self::Severity),
        ("source", Self::Source),
        ("raised", Self::Raised),
        ("actionDue", Self::Due),
        ("acknowledged", Self::Acknowledged),
    ];
}

/// Which alerts are wanted.
#[derive(Clone, Debug)]
pub struct AlertSearch {
    pub filter: AlertFilter,
    pub acknowledged: Option<bool>,
    pub order: Order<AlertColumn>,
    pub window: Window,
}

/// The alerts that `wanted` asks for.
#[must_use]
pub fn alerts<'a>(state: &'a State, wanted: &AlertSearch) -> Listed<&'a Alert> {
    let found = state.alerts().filter(|alert| {
        wanted.acknowledged.is_none_or(|acknowledged| acknowledged == alert.acknowledged.is_some())
            && wanted.filter.takes(alert)
    });
    let compare = |a: &&Alert, b: &&Alert| {
        let by_column = match wanted.order.by {
            AlertColumn::Kind => a.key.kind.title().cmp(b.key.kind.title()),
            AlertColumn::Severity => a.severity.cmp(&b.severity),
            AlertColumn::Source => a.key.source.cmp(&b.key.source),
            AlertColumn::Raised => a.raised.cmp(&b.raised),
            AlertColumn::Due => a.due.cmp(&b.due),
            AlertColumn::Acknowledged => a.acknowledged.is_some().cmp(&b.acknowledged.is_some()),
        };
        wanted.order.turn(by_column.then_with(|| a.key.cmp(&b.key)))
    };
    cut(found.collect(), wanted.window, compare)
}

/// What events can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventColumn {
    /// In the order in which they happened.
    Number,
    Severity,
    Kind,
    Actor,
}

impl Column for EventColumn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("number", Self::Number),
        ("time", Self::Number),
        ("severity", Self::Severity),
        ("kind", Self::Kind),
        ("actor", Self::Actor),
    ];
}

/// Which events are wanted.
#[derive(Clone, Debug)]
pub struct EventSearch {
    /// Of this account; none: of the whole server.
    pub account: Option<AccountId>,
    /// Only newer ones than this number.
    pub after: u64,
    /// In messages, kinds and actors.
    pub search: Needle,
    pub severity: Option<Severity>,
    pub order: Order<EventColumn>,
    pub window: Window,
}

/// The events that `wanted` asks for.
#[must_use]
pub fn events<'a>(state: &'a State, wanted: &EventSearch) -> Listed<&'a Event> {
    let found = state.events(wanted.after).filter(|event| {
        (wanted.account.is_none() || event.account == wanted.account)
            && wanted.severity.is_none_or(|severity| severity == event.severity)
            && wanted.search.is_in([event.message.as_str(), &event.kind, &event.actor])
    });
    let compare = |a: &&Event, b: &&Event| {
        let by_column = match wanted.order.by {
            EventColumn::Number => Ordering::Equal,
            EventColumn::Severity => a.severity.cmp(&b.severity),
            EventColumn::Kind => a.kind.cmp(&b.kind),
            EventColumn::Actor => a.actor.cmp(&b.actor),
        };
        wanted.order.turn(by_column.then_with(|| a.seq.cmp(&b.seq)))
    };
    cut(found.collect(), wanted.window, compare)
}
