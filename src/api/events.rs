//! Alerts, events and the audit log.

use super::extract::{Body, Client, Page, Part, Path, Query, order, part, window};
use super::incumbent::Alert;
use super::problem::{Problem, Problems};
use super::{Answer, Api, App, PAGE, done};
use crate::admin::rfc3339;
use crate::license::{self, AccountId, Action, Place, State};
use crate::listing::{self, AlertColumn, AlertFilter, AlertSearch, EventColumn, EventSearch, Needle};
use crate::proto::admin::AlertRef;
use crate::proto::admin::alerts_server::Alerts;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// How bad it is.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Informational,
    Minor,
    Major,
}

impl From<Severity> for license::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Informational => Self::Informational,
            Severity::Minor => Self::Minor,
            Severity::Major => Self::Major,
        }
    }
}

/// The longest wait for an event, in seconds: shorter than what proxies allow a request.
const MAX_WAIT: u64 = 30;
/// How often a waiting request looks for news; a look is one atomic load.
const LOOK: Duration = Duration::from_millis(200);

/// What happened.
#[derive(Serialize, ToSchema)]
pub struct Event {
    /// Counts up; there may be holes.
    number: u64,
    time: String,
    /// `informational`, `minor` or `major`.
    severity: String,
    account: Option<String>,
    kind: String,
    actor: String,
    message: String,
}

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedEvents {
    /// Only messages, kinds and actors that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    #[param(required = false, inline)]
    severity: Option<Severity>,
    /// `time` (if left out), `severity`, `kind` or `actor`; with a `-` before it the other way round.
    #[param(required = false, example = "-time")]
    sort: String,
    /// Only what comes after the event with this number.
    #[param(minimum = 0, required = false)]
    after: u64,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
    /// Seconds to wait for an event where there is none yet.
    #[param(minimum = 0, maximum = 30, required = false)]
    wait: u64,
}

impl Default for WantedEvents {
    fn default() -> Self {
        let (search, severity, sort) = Default::default();
        Self { search, severity, sort, after: 0, offset: 0, limit: PAGE, wait: 0 }
    }
}

/// The rows that are wanted, and how many they are.
fn events(state: &State, account: Option<AccountId>, asked: &WantedEvents) -> Result<(usize, Part<Event>), Problem> {
    let wanted = EventSearch {
        account,
        after: asked.after,
        search: Needle::new(&asked.search),
        severity: asked.severity.map(Into::into),
        order: order(&asked.sort, EventColumn::Number)?,
        window: window(asked.offset, asked.limit)?,
    };
    let row = |event: &license::Event| Event {
        number: event.seq.0,
        time: rfc3339(event.at),
        severity: event.severity.to_string(),
        account: event.account.and_then(|id| state.account(id)).map(|a| a.name.clone()),
        kind: event.kind.clone(),
        actor: event.actor.clone(),
        message: event.message.clone(),
    };
    let found = listing::events(state, &wanted);
    Ok((found.rows.len(), part(found.total, found.rows.into_iter().map(row).collect())))
}

/// As [`events`]; where there are none yet, waits for the first one as long as asked.
async fn followed(app: &App, of: Option<AccountId>, asked: &WantedEvents) -> Result<Part<Event>, Problem> {
    if asked.wait > MAX_WAIT {
        return Err(Problem::invalid(format!("wait is 0 to {MAX_WAIT} seconds")));
    }
    let newest = app.state().meta().last_event;
    if asked.wait > 0 && asked.after > newest {
        return Err(Problem::invalid(format!("there is no event {} yet; the newest is {newest}", asked.after)));
    }
    let until = Instant::now() + Duration::from_secs(asked.wait);
    loop {
        let (rows, found) = events(&app.state(), of, asked)?;
        if rows > 0 || Instant::now() >= until || !(app.context.serving)() {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The event log of an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/events", tag = "alerts and events",
    params(("account" = String, Path), WantedEvents),
    responses((status = 200, body = Vec<Event>, headers(("x-total-count" = u64))), Problems),
    security(("bearer" = []))
)]
pub async fn of_account(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(asked): Query<WantedEvents>,
) -> Result<Part<Event>, Problem> {
    let account = client.account(Action::Look, &app.state(), &account)?.id;
    followed(&app, Some(account), &asked).await
}

/// The event log of the server.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "alerts and events", params(WantedEvents),
    responses((status = 200, body = Vec<Event>, headers(("x-total-count" = u64))), Problems),
    security(("bearer" = []))
)]
pub async fn all(app: Api, client: Client, Query(asked): Query<WantedEvents>) -> Result<Part<Event>, Problem> {
    client.require(Action::Look, Place::Server, &app.state())?;
    followed(&app, None, &asked).await
}

/// Which alerts are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedAlerts {
    /// Only titles, sources and messages that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    #[param(required = false, inline)]
    severity: Option<Severity>,
    #[param(required = false)]
    acknowledged: Option<bool>,
    /// `messageType` (if left out), `severity`, `source`, `raised`, `actionDue` or `acknowledged`; with a `-` before it
    /// the other way round.
    #[param(required = false, example = "-severity")]
    sort: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for WantedAlerts {
    fn default() -> Self {
        let (search, severity, acknowledged, sort) = Default::default();
        Self { search, severity, acknowledged, sort, offset: 0, limit: PAGE }
    }
}

fn alerts_among(state: &State, account: Option<AccountId>, asked: &WantedAlerts) -> Result<Part<Alert>, Problem> {
    let wanted = AlertSearch {
        filter: AlertFilter { account, search: Needle::new(&asked.search), severity: asked.severity.map(Into::into) },
        acknowledged: asked.acknowledged,
        order: order(&asked.sort, AlertColumn::Kind)?,
        window: window(asked.offset, asked.limit)?,
    };
    let found = listing::alerts(state, &wanted);
    Ok(part(found.total, found.rows.into_iter().map(Alert::from).collect()))
}

/// What is wrong in an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/alerts", tag = "alerts and events",
    params(("account" = String, Path), WantedAlerts),
    responses((status = 200, body = Vec<Alert>, headers(("x-total-count" = u64))), Problems),
    security(("bearer" = []))
)]
pub async fn alerts_of_account(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(asked): Query<WantedAlerts>,
) -> Result<Part<Alert>, Problem> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?.id;
    alerts_among(&state, Some(account), &asked)
}

/// What is wrong on the server.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts and events", params(WantedAlerts),
    responses((status = 200, body = Vec<Alert>, headers(("x-total-count" = u64))), Problems),
    security(("bearer" = []))
)]
pub async fn alerts(app: Api, client: Client, Query(asked): Query<WantedAlerts>) -> Result<Part<Alert>, Problem> {
    let state = app.state();
    client.require(Action::Look, Place::Server, &state)?;
    alerts_among(&state, None, &asked)
}

/// An alert whose cause is gone, as it last stood.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastAlert {
    /// Counts up without holes.
    number: u64,
    cleared: String,
    /// By whose request the cause went; `time` where it went by itself.
    cleared_by: String,
    alert: Alert,
}

/// Which cleared alerts are wanted.
#[derive(Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedPast {
    /// Only titles, sources and messages that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    #[param(required = false, inline)]
    severity: Option<Severity>,
    /// Rows at most; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only what comes after the row with this number.
    #[param(minimum = 0, required = false)]
    after: u64,
}

/// Cleared alerts, oldest first; for the next page send the number of the last one as `after`.
fn past(state: &State, account: Option<AccountId>, asked: &WantedPast) -> Result<Vec<PastAlert>, Problem> {
    let wanted = AlertFilter { account, search: Needle::new(&asked.search), severity: asked.severity.map(Into::into) };
    let limit = window(0, asked.limit.unwrap_or(PAGE))?.limit;
    let row = |past: &license::PastAlert| PastAlert {
        number: past.seq,
        cleared: rfc3339(past.cleared),
        cleared_by: past.cleared_by.clone(),
        alert: Alert::from(&past.alert),
    };
    Ok(listing::past_alerts(state, asked.after, &wanted).take(limit).map(row).collect())
}

/// What was wrong in an account, oldest first.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/alerts/history", tag = "alerts and events",
    params(("account" = String, Path), WantedPast),
    responses((status = 200, body = Vec<PastAlert>), Problems), security(("bearer" = []))
)]
pub async fn past_of_account(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(asked): Query<WantedPast>,
) -> Answer<Vec<PastAlert>> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?.id;
    Ok(axum::Json(past(&state, Some(account), &asked)?))
}

/// What was wrong on the server, oldest first.
#[utoipa::path(
    get, path = "/api/v1/alerts/history", tag = "alerts and events", params(WantedPast),
    responses((status = 200, body = Vec<PastAlert>), Problems), security(("bearer" = []))
)]
pub async fn past_alerts(app: Api, client: Client, Query(asked): Query<WantedPast>) -> Answer<Vec<PastAlert>> {
    let state = app.state();
    client.require(Action::Look, Place::Server, &state)?;
    Ok(axum::Json(past(&state, None, &asked)?))
}

/// Which alert.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// As in `insufficient-licenses`.
    kind: String,
    source: String,
}

/// Say that an alert has been seen; it stays until its cause is gone.
#[utoipa::path(
    post, path = "/api/v1/alerts/acknowledge", tag = "alerts and events", request_body = Which,
    responses((status = 204, description = "Acknowledged"), Problems), security(("bearer" = []))
)]
pub async fn acknowledge(
    app: Api,
    client: Client,
    Body(Which { kind, source }): Body<Which>,
) -> Result<StatusCode, Problem> {
    let state = app.state();
    let of = state.alerts().find(|a| a.key.kind.as_str() == kind && a.key.source == source).and_then(|a| a.account);
    client.require(Action::AcknowledgeAlerts, of.map_or(Place::Server, Place::Account), &state)?;
    done(Alerts::acknowledge(&app.context.service, app.ask(&client, AlertRef { kind, source })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// An administrative change.
#[derive(Serialize, ToSchema)]
pub struct AuditEntry {
    /// Counts up without holes.
    number: u64,
    time: String,
    actor: String,
    action: String,
    detail: String,
    /// SHA-256 over the hash before and the members of this entry, hexadecimal.
    hash: String,
}

/// The audit log, oldest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "alerts and events", params(Page),
    responses((status = 200, body = Vec<AuditEntry>), Problems), security(("bearer" = []))
)]
pub async fn audit(app: Api, client: Client, Query(page): Query<Page>) -> Answer<Vec<AuditEntry>> {
    let state = app.state();
    client.require(Action::ReadAudit, Place::Server, &state)?;
    let row = |entry: &license::AuditEntry| AuditEntry {
        number: entry.seq,
        time: rfc3339(entry.at),
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        detail: entry.detail.clone(),
        hash: hex::encode(entry.hash),
    };
    Ok(axum::Json(state.audit(page.after).take(page.limit()?).map(row).collect()))
}
