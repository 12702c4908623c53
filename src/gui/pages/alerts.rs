//! Alerts, the most urgent first.

use crate::gui::App;
use crate::gui::act::{Done, Posted, called, finish};
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Viewer, page, severity};
use crate::license::{Action, Alert, Place, State};
use crate::proto::admin::AlertRef;
use crate::proto::admin::alerts_server::Alerts;
use crate::web::list::{Asked, List};
use askama::Template;
use axum::extract;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{StatusCode, Uri};
use std::cmp::Reverse;
use std::sync::Arc;

const HREF: &str = "/alerts";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route(HREF, get(show).post(acknowledge))
}

pub struct AlertRow {
    pub severity: Badge,
    pub title: &'static str,
    pub kind: String,
    pub source: String,
    pub raised: Time,
    pub due: MaybeTime,
    pub message: String,
    pub action: String,
    pub acknowledged: bool,
    /// Whether this person may acknowledge it.
    pub may: bool,
}

impl AlertRow {
    pub fn of(alert: &Alert, viewer: &Viewer, state: &State) -> Self {
        let place = alert.account.map_or(Place::Server, Place::Account);
        Self {
            severity: severity(alert.severity),
            title: alert.key.kind.title(),
            kind: alert.key.kind.to_string(),
            source: alert.key.source.clone(),
            raised: Time(alert.raised),
            due: MaybeTime(alert.due),
            message: alert.message.clone(),
            action: alert.action.clone(),
            acknowledged: alert.acknowledged,
            may: !alert.acknowledged && viewer.may(Action::AcknowledgeAlerts, place, state),
        }
    }
}

/// The alerts that this person sees: severe ones first, and of those the ones due soonest; acknowledged ones last.
pub fn by_urgency<'a>(state: &'a State, viewer: &Viewer) -> Vec<&'a Alert> {
    let mut alerts: Vec<_> = state.alerts().filter(|alert| viewer.sees_alert(alert, state)).collect();
    alerts.sort_by_key(|a| (a.acknowledged, Reverse(a.severity), a.due.is_none(), a.due, a.raised));
    alerts
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    shell: Shell,
    list: List<AlertRow>,
}

async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.state();
    let asked = Asked::read(&uri);
    let mut alerts = by_urgency(&state, &viewer);
    alerts.retain(|a| asked.matches([a.key.kind.title(), &a.key.source, &a.message]));
    let list = asked.page(|| alerts.iter(), |a| AlertRow::of(a, &viewer, &state));
    page(StatusCode::OK, &AlertsPage { shell: Shell::new(&state, &viewer, HREF, "Alerts").noting(&uri), list })
}

async fn acknowledge(extract::State(app): extract::State<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let state = app.state();
    let (kind, source) = (form.get("kind").to_string(), form.get("source").to_string());
    let known = state.alerts().find(|a| a.key.kind.as_str() == kind && a.key.source == source);
    let place = known.and_then(|alert| alert.account).map_or(Place::Server, Place::Account);
    let result = match viewer.require(Action::AcknowledgeAlerts, place, &state) {
        Ok(()) => {
            let asked = viewer.ask(&form, AlertRef { kind, source });
            called(Alerts::acknowledge(&app.context.service, asked).await).map(drop)
        }
        Err(error) => Err(error),
    };
    finish(&app, &viewer, result, Done::AlertAcknowledged, HREF, HREF)
}
