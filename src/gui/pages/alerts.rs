//! Alerts, the most urgent first.

use crate::gui::App;
use crate::gui::list::{Asked, List};
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Viewer, page, severity};
use crate::license::{Alert, State};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::cmp::Reverse;
use std::sync::Arc;

pub struct AlertRow {
    pub severity: Badge,
    pub title: &'static str,
    pub source: String,
    pub raised: Time,
    pub due: MaybeTime,
    pub message: String,
    pub action: String,
    pub acknowledged: bool,
}

impl AlertRow {
    pub fn of(alert: &Alert) -> Self {
        Self {
            severity: severity(alert.severity),
            title: alert.key.kind.title(),
            source: alert.key.source.clone(),
            raised: Time(alert.raised),
            due: MaybeTime(alert.due),
            message: alert.message.clone(),
            action: alert.action.clone(),
            acknowledged: alert.acknowledged,
        }
    }
}

/// The alerts that are the viewer's to see: severe ones first, and of those the ones due soonest.
pub fn by_urgency<'a>(state: &'a State, viewer: &Viewer) -> Vec<&'a Alert> {
    let mut alerts: Vec<_> = state.alerts().filter(|a| viewer.sees_alert(a, state)).collect();
    alerts.sort_by_key(|a| (Reverse(a.severity), a.due.is_none(), a.due, a.raised));
    alerts
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    shell: Shell,
    list: List<AlertRow>,
}

pub async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.context.ledger.state();
    let asked = Asked::read(&uri);
    let mut alerts = by_urgency(&state, &viewer);
    alerts.retain(|a| asked.matches([a.key.kind.title(), &a.key.source, &a.message]));
    let list = asked.page(|| alerts.iter(), |a| AlertRow::of(a));
    page(StatusCode::OK, &AlertsPage { shell: Shell::new(&state, &viewer, "/alerts", "Alerts"), list })
}
