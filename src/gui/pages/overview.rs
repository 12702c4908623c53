//! The first page: are we compliant, when was the last synchronization, what is to be done today.

use super::alerts::{AlertRow, by_urgency};
use super::availability::Headline;
use crate::gui::App;
use crate::gui::view::{Badge, MaybeTime, Shell, Tone, Viewer, clustered, count_alerts, counted, page};
use crate::license::{Account, AccountStatus, AlertKind, State};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;

/// Alerts shown here; the others are one click away.
const SHOWN: usize = 10;

struct Compliance {
    badge: Badge,
    sentence: String,
}

impl Compliance {
    /// From the alerts: the state keeps one for each license that a virtual account has too few of, and only then.
    fn of(state: &State) -> Self {
        match count_alerts(state, AlertKind::InsufficientLicenses) {
            0 if state.instance_count() == 0 => {
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
    fn of(state: &State) -> Self {
        let bound = |a: &&Account| matches!(a.status, AccountStatus::Active | AccountStatus::Inactive);
        let last = state.accounts().filter_map(|a| a.sync.last_success).max();
        let due = state.accounts().filter(bound).filter_map(|a| Some((a.sync.due?, &a.name))).min();
        let failed = |a: &Account| a.sync.last_failure.as_ref().map(|(_, why)| format!("{}: {why}", a.name));
        let failures: Vec<_> = state.accounts().filter_map(failed).take(3).collect();
        let overdue = state.accounts().any(|a| a.sync.overdue);
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
    synchronization: Synchronization,
    cluster: Headline,
    clustered: bool,
    verdict: String,
    accounts: usize,
    instances: u64,
    server: String,
    version: String,
    alerts: Vec<AlertRow>,
    more: usize,
}

pub async fn show(extract::State(app): extract::State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let status = app.context.cluster.status().await;
    let state = app.context.ledger.state();
    let alerts = by_urgency(&state);
    let template = OverviewPage {
        shell: Shell::new(&state, &viewer, "/", "Overview"),
        compliance: Compliance::of(&state),
        synchronization: Synchronization::of(&state),
        cluster: Headline::of(&status),
        clustered: clustered(&state),
        verdict: status.verdict,
        accounts: state.accounts().count(),
        instances: state.instance_count(),
        server: status.this_node,
        version: status.version,
        more: alerts.len().saturating_sub(SHOWN),
        alerts: alerts.into_iter().take(SHOWN).map(AlertRow::of).collect(),
    };
    page(StatusCode::OK, &template)
}
