//! The first page: are we compliant, when was the last synchronization, what is to be done today.

use super::alerts::{AlertRow, by_urgency};
use super::availability::Headline;
use crate::gui::App;
use crate::gui::view::{Badge, MaybeTime, Shell, Tone, Viewer, clustered, counted, page};
use crate::license::{Account, AccountStatus, Alert, AlertKind, State, VirtualAccount};
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
    fn of(alerts: &[&Alert], instances: u64) -> Self {
        match alerts.iter().filter(|a| a.key.kind == AlertKind::InsufficientLicenses).count() {
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

/// Instances in the virtual accounts that the viewer sees.
fn instances(state: &State, viewer: &Viewer) -> u64 {
    if viewer.sees_server(state) {
        return state.instance_count();
    }
    let seen = |va: &&VirtualAccount| viewer.sees_virtual_account(va.id, state);
    let own = state.accounts().flat_map(|a| state.virtual_accounts(a.id)).filter(seen);
    own.map(|va| state.instances_of(va.id, None).count() as u64).sum()
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    compliance: Compliance,
    synchronization: Synchronization,
    cluster: Headline,
    clustered: bool,
    sees_server: bool,
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
    let alerts = by_urgency(&state, &viewer);
    let accounts: Vec<_> = state.accounts().filter(|a| viewer.sees_account(a.id, &state)).collect();
    let instances = instances(&state, &viewer);
    let template = OverviewPage {
        shell: Shell::new(&state, &viewer, "/", "Overview"),
        compliance: Compliance::of(&alerts, instances),
        synchronization: Synchronization::of(&accounts),
        cluster: Headline::of(&status),
        clustered: clustered(&state),
        sees_server: viewer.sees_server(&state),
        verdict: status.verdict,
        accounts: accounts.len(),
        instances,
        server: status.this_node,
        version: status.version,
        more: alerts.len().saturating_sub(SHOWN),
        alerts: alerts.into_iter().take(SHOWN).map(AlertRow::of).collect(),
    };
    page(StatusCode::OK, &template)
}
