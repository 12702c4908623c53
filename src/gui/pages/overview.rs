//! The first page: are we compliant, when was the last synchronization, what is to be done today.

use super::alerts::{AlertRow, by_urgency};
use super::availability::Headline;
use crate::gui::App;
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Tone, Viewer, clustered, counted, page};
use crate::license::{Account, AccountStatus, Action, Place, State};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;

/// Alerts shown here of one kind, and kinds; the others are one click away.
const SHOWN: usize = 5;
const KINDS: usize = 10;
/// Accounts shown here, and the length of the bar of each.
const SHARES: usize = 12;
const SHARE: usize = 300;

/// Alerts that one thing is to be done about.
struct Todo {
    severity: Badge,
    title: &'static str,
    action: String,
    alerts: Vec<AlertRow>,
    /// How many more of these there are.
    more: usize,
}

impl Todo {
    /// In the order of the first of each.
    fn all(alerts: Vec<AlertRow>) -> Vec<Self> {
        let mut todos: Vec<Self> = Vec::new();
        for alert in alerts {
            match todos.iter_mut().find(|todo| todo.title == alert.title && todo.action == alert.action) {
                Some(todo) if todo.alerts.len() < SHOWN => todo.alerts.push(alert),
                Some(todo) => todo.more += 1,
                None => todos.push(Self {
                    severity: alert.severity,
                    title: alert.title,
                    action: alert.action.clone(),
                    alerts: vec![alert],
                    more: 0,
                }),
            }
        }
        todos
    }
}

struct Compliance {
    badge: Badge,
    sentence: String,
}

impl Compliance {
    /// From the pools of this person's virtual accounts.
    fn of(state: &State, viewer: &Viewer, instances: u64) -> Self {
        let pools = viewer.virtual_accounts(state).into_iter().flat_map(|(_, va)| state.pools(va.id));
        match pools.filter(|pool| pool.balance() < 0).count() {
            0 if instances == 0 => {
                Self { badge: Badge(Tone::Plain, "No use yet"), sentence: "No product instance is registered.".into() }
            }
            0 => {
                Self { badge: Badge(Tone::Good, "In Compliance"), sentence: "Every license in use is covered.".into() }
            }
            n => Self {
                badge: Badge(Tone::Bad, "Out of Compliance"),
                sentence: format!("{} in use beyond what is purchased.", counted(n, "license is", "licenses are")),
            },
        }
    }
}

/// How many licenses of an account are covered, in the virtual accounts that this person sees.
struct Share {
    id: u64,
    account: String,
    covered: usize,
    short: usize,
    /// Lengths of the two parts of its bar, of [`SHARE`].
    covered_length: usize,
    short_length: usize,
}

impl Share {
    /// Of each account, those that are short of most first.
    fn all(state: &State, viewer: &Viewer) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (account, va) in viewer.virtual_accounts(state) {
            if all.last().is_none_or(|last| last.id != account.id.0) {
                all.push(Self::none(account));
            }
            let Some(share) = all.last_mut() else { continue };
            for pool in state.pools(va.id) {
                *(if pool.balance() < 0 { &mut share.short } else { &mut share.covered }) += 1;
            }
        }
        for share in &mut all {
            let total = (share.covered + share.short).max(1);
            // However few are short, it is seen.
            share.short_length = (share.short * SHARE).div_ceil(total);
            share.covered_length = if share.covered > 0 { SHARE - share.short_length } else { 0 };
        }
        all.sort_by_key(|share| std::cmp::Reverse(share.short));
        all
    }

    fn none(account: &Account) -> Self {
        let (covered, short, covered_length, short_length) = Default::default();
        Self { id: account.id.0, account: account.name.clone(), covered, short, covered_length, short_length }
    }

    fn sentence(&self) -> String {
        match (self.covered, self.short) {
            (0, 0) => "No license is purchased or in use".to_owned(),
            (covered, 0) => format!("{} in compliance", counted(covered, "license", "licenses")),
            (0, short) => format!("{} short", counted(short, "license", "licenses")),
            (covered, short) => format!("{} in compliance, {short} short", counted(covered, "license", "licenses")),
        }
    }
}

/// The term that ends next.
struct Expiry {
    at: Time,
    quantity: u64,
    license: String,
    place: String,
}

impl Expiry {
    fn next(state: &State, viewer: &Viewer) -> Option<Self> {
        let mut next: Option<Self> = None;
        for (account, va) in viewer.virtual_accounts(state) {
            for pool in state.pools(va.id) {
                for term in pool.terms.iter().filter(|term| term.in_force(state.now())) {
                    let Some(end) = term.end.filter(|end| next.as_ref().is_none_or(|next| *end < next.at.0)) else {
                        continue;
                    };
                    let license = state.license(pool.license).map(|l| l.name.clone()).unwrap_or_default();
                    let place = format!("{} / {}", account.name, va.name);
                    next = Some(Self { at: Time(end), quantity: term.quantity, license, place });
                }
            }
        }
        next
    }
}

struct Synchronization {
    badge: Badge,
    /// The newest success of any account.
    last: MaybeTime,
    /// The earliest due date of any account, with its name.
    due: MaybeTime,
    due_account: String,
    failures: Vec<String>,
}

impl Synchronization {
    fn of(accounts: &[&Account]) -> Self {
        let bound = |a: &&&Account| matches!(a.status, AccountStatus::Active | AccountStatus::Inactive);
        let last = accounts.iter().filter_map(|a| a.sync.last_success).max();
        let due = accounts.iter().filter(bound).filter_map(|a| Some((a.sync.due?, &a.name))).min();
        let failed = |a: &&Account| a.sync.last_failure.as_ref().map(|(_, why)| format!("{}: {why}", a.name));
        let failures: Vec<_> = accounts.iter().filter_map(failed).take(3).collect();
        let overdue = accounts.iter().any(|a| a.sync.overdue);
        let badge = match last {
            _ if overdue => Badge(Tone::Bad, "Overdue"),
            _ if !failures.is_empty() => Badge(Tone::Warn, "Failed"),
            Some(_) => Badge(Tone::Good, "Up to date"),
            None => Badge(Tone::Plain, "Never"),
        };
        let due_account = due.map(|(_, name)| name.clone()).unwrap_or_default();
        Self { badge, last: MaybeTime(last), due: MaybeTime(due.map(|(at, _)| at)), due_account, failures }
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    compliance: Compliance,
    expiry: Option<Expiry>,
    shares: Vec<Share>,
    more_shares: usize,
    /// None for somebody who administers no whole account.
    synchronization: Option<Synchronization>,
    cluster: Headline,
    clustered: bool,
    may_administer: bool,
    verdict: String,
    accounts: usize,
    instances: u64,
    server: String,
    version: String,
    todos: Vec<Todo>,
    /// How many alerts of further kinds there are.
    more: usize,
}

pub async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let status = app.context.cluster.status().await;
    let state = app.state();
    let alerts = by_urgency(&state, &viewer).into_iter().map(|alert| AlertRow::of(alert, &viewer, &state));
    let mut todos = Todo::all(alerts.collect());
    let further = todos.split_off(todos.len().min(KINDS));
    let accounts = viewer.accounts(&state);
    let instances = viewer.virtual_accounts(&state).iter().map(|(_, va)| va.instances).sum();
    let mut shares = Share::all(&state, &viewer);
    let more_shares = shares.len().saturating_sub(SHARES);
    shares.truncate(SHARES);
    let template = OverviewPage {
        shell: Shell::new(&state, &viewer, "/", "Overview").noting(&uri),
        compliance: Compliance::of(&state, &viewer, instances),
        expiry: Expiry::next(&state, &viewer),
        shares,
        more_shares,
        synchronization: (viewer.whole_server() || !accounts.is_empty()).then(|| Synchronization::of(&accounts)),
        cluster: Headline::of(&status),
        clustered: clustered(&state),
        may_administer: viewer.may(Action::Look, Place::Server, &state),
        verdict: status.verdict,
        accounts: accounts.len(),
        instances,
        server: status.this_node,
        version: status.version,
        more: further.iter().map(|todo| todo.alerts.len() + todo.more).sum(),
        todos,
    };
    page(StatusCode::OK, &template)
}
