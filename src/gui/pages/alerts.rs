//! Alerts: those that stand, the most urgent first, and those that were cleared, the newest first.

use crate::gui::App;
use crate::gui::act::{Done, Posted, called, finish};
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Viewer, account_choice, page, severity};
use crate::license::{AccountId, Acknowledgement, Action, Alert, PastAlert, Place, Severity, State};
use crate::listing::{AlertFilter, Needle, past_alerts};
use crate::proto::admin::AlertRef;
use crate::proto::admin::alerts_server::Alerts;
use crate::web::list::{Asked, Choice, List};
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
    Router::new().route(HREF, get(show).post(acknowledge)).route("/alerts/history", get(history))
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
    pub acknowledged: Option<Seen>,
    /// Whether this person may acknowledge it.
    pub may: bool,
}

/// Who acknowledged an alert, and when.
pub struct Seen {
    pub by: String,
    pub at: Time,
}

impl Seen {
    fn of(acknowledged: &Acknowledgement) -> Self {
        Self { by: acknowledged.by.clone(), at: Time(acknowledged.at) }
    }
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
            acknowledged: alert.acknowledged.as_ref().map(Seen::of),
            may: alert.acknowledged.is_none() && viewer.may(Action::AcknowledgeAlerts, place, state),
        }
    }
}

/// The alerts that this person sees: severe ones first, and of those the ones due soonest; acknowledged ones last.
pub fn by_urgency<'a>(state: &'a State, viewer: &Viewer) -> Vec<&'a Alert> {
    let mut alerts: Vec<_> = state.alerts().filter(|alert| viewer.sees_alert(alert, state)).collect();
    alerts.sort_by_key(|a| (a.acknowledged.is_some(), Reverse(a.severity), a.due.is_none(), a.due, a.raised));
    alerts
}

/// An alert that was cleared.
struct PastRow {
    alert: AlertRow,
    cleared: Time,
    by: String,
}

impl PastRow {
    fn of(past: &PastAlert, viewer: &Viewer, state: &State) -> Self {
        let alert = AlertRow::of(&past.alert, viewer, state);
        Self { alert, cleared: Time(past.cleared), by: past.cleared_by.clone() }
    }
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    shell: Shell,
    choices: Vec<Choice>,
    list: List<AlertRow>,
}

#[derive(Template)]
#[template(path = "alert_history.html")]
struct HistoryPage {
    shell: Shell,
    choices: Vec<Choice>,
    list: List<PastRow>,
}

/// What the address asks for, with the choices that there are.
fn asked(state: &State, viewer: &Viewer, uri: &Uri) -> (Asked, AlertFilter, Vec<Choice>) {
    let asked = Asked::read(uri).filtered(uri, &["severity", "account"]);
    let severities = [Severity::Major, Severity::Minor, Severity::Informational];
    let filter = AlertFilter {
        account: asked.filter("account").parse().ok().map(AccountId),
        search: Needle::new(&asked.search),
        severity: severities.into_iter().find(|severity| severity.as_str() == asked.filter("severity")),
    };
    let named = severities.map(|known| (known.to_string(), severity(known).1.to_owned()));
    let options = std::iter::once((String::new(), "All severities".to_owned())).chain(named).collect();
    let severity = Choice { name: "severity", label: "Severity", options };
    (asked, filter, vec![severity, account_choice(state, viewer)])
}

async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.state();
    let (asked, filter, choices) = asked(&state, &viewer, &uri);
    let mut alerts = by_urgency(&state, &viewer);
    alerts.retain(|alert| filter.takes(alert));
    let list = asked.page(|| alerts.iter(), |a| AlertRow::of(a, &viewer, &state));
    page(StatusCode::OK, &AlertsPage { shell: Shell::new(&state, &viewer, HREF, "Alerts").noting(&uri), choices, list })
}

async fn history(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.state();
    let (asked, filter, choices) = asked(&state, &viewer, &uri);
    let seen = |past: &&PastAlert| viewer.sees_alert(&past.alert, &state);
    let past = || past_alerts(&state, 0, &filter).rev().filter(seen);
    let list = asked.page(past, |past| PastRow::of(past, &viewer, &state));
    page(StatusCode::OK, &HistoryPage { shell: Shell::new(&state, &viewer, HREF, "Alerts"), choices, list })
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
