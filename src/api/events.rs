//! Alerts, events and the audit log.

use super::extract::{Body, Client, Page, Path, Query};
use super::incumbent::Alert;
use super::problem::{Problem, Problems};
use super::{Answer, Api, App, done};
use crate::admin::rfc3339;
use crate::license::{self, AccountId, Action, Place, State};
use crate::proto::admin::AlertRef;
use crate::proto::admin::alerts_server::Alerts;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

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

/// Events, oldest first. For the next page send the number of the last one as `after`.
fn events(state: &State, of: Option<AccountId>, page: &Page) -> Result<Vec<Event>, Problem> {
    let wanted = state.events(page.after).filter(|e| of.is_none() || e.account == of).take(page.limit()?);
    let row = |event: &license::Event| Event {
        number: event.seq.0,
        time: rfc3339(event.at),
        severity: event.severity.to_string(),
        account: event.account.and_then(|id| state.account(id)).map(|a| a.name.clone()),
        kind: event.kind.clone(),
        actor: event.actor.clone(),
        message: event.message.clone(),
    };
    Ok(wanted.map(row).collect())
}

/// As [`events`]; where there are none yet, waits for the first one as long as asked.
async fn followed(app: &App, of: Option<AccountId>, page: &Following) -> Result<Vec<Event>, Problem> {
    if page.wait > MAX_WAIT {
        return Err(Problem::invalid(format!("wait is 0 to {MAX_WAIT} seconds")));
    }
    let newest = app.state().meta().last_event;
    if page.wait > 0 && page.after > newest {
        return Err(Problem::invalid(format!("there is no event {} yet; the newest is {newest}", page.after)));
    }
    let until = Instant::now() + Duration::from_secs(page.wait);
    loop {
        let found = events(&app.state(), of, &page.page())?;
        if !found.is_empty() || Instant::now() >= until || !(app.context.serving)() {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Which part of the event log is wanted, and for how long to wait for it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Following {
    /// Rows at most; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only what comes after the event with this number: that of the last one that is known.
    #[serde(default)]
    #[param(minimum = 0, required = false)]
    after: u64,
    /// Seconds to wait for an event where there is none yet.
    #[serde(default)]
    #[param(minimum = 0, maximum = 30, required = false)]
    wait: u64,
}

impl Following {
    const fn page(&self) -> Page {
        Page { limit: self.limit, after: self.after }
    }
}

/// The event log of an account, oldest first.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/events", tag = "alerts and events",
    params(("account" = String, Path), Following),
    responses((status = 200, body = Vec<Event>), Problems), security(("bearer" = []))
)]
pub async fn of_account(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(page): Query<Following>,
) -> Answer<Vec<Event>> {
    let account = client.account(Action::Look, &app.state(), &account)?.id;
    Ok(axum::Json(followed(&app, Some(account), &page).await?))
}

/// The event log of the server, oldest first.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "alerts and events", params(Following),
    responses((status = 200, body = Vec<Event>), Problems), security(("bearer" = []))
)]
pub async fn all(app: Api, client: Client, Query(page): Query<Following>) -> Answer<Vec<Event>> {
    client.require(Action::Look, Place::Server, &app.state())?;
    Ok(axum::Json(followed(&app, None, &page).await?))
}

/// What is wrong in an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/alerts", tag = "alerts and events", params(("account" = String, Path)),
    responses((status = 200, body = Vec<Alert>), Problems), security(("bearer" = []))
)]
pub async fn alerts_of_account(app: Api, client: Client, Path(account): Path<String>) -> Answer<Vec<Alert>> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?.id;
    Ok(axum::Json(state.alerts().filter(|a| a.account == Some(account)).map(Alert::from).collect()))
}

/// What is wrong on the server.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts and events",
    responses((status = 200, body = Vec<Alert>), Problems), security(("bearer" = []))
)]
pub async fn alerts(app: Api, client: Client) -> Answer<Vec<Alert>> {
    let state = app.state();
    client.require(Action::Look, Place::Server, &state)?;
    Ok(axum::Json(state.alerts().map(Alert::from).collect()))
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
