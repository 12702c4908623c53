//! The server itself: settings, the cluster's status, and checks.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::admin::rfc3339;
use crate::license::{Action, Place};
use crate::proto::admin::clock_server::Clock as ClockService;
use crate::proto::admin::doctor_server::Doctor;
use crate::proto::admin::settings_server::Settings;
use crate::proto::admin::{
    AcceptClockRequest, BundleRequest, CheckResult, DoctorRequest, GetSettingsRequest, SetSettingRequest,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A replicated setting.
#[derive(Serialize, ToSchema)]
pub struct Setting {
    key: String,
    value: String,
    description: String,
}

/// A setting's new value. Not called `Value`: of that name the description would allow anything.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewValue {
    value: String,
}

/// All settings.
#[utoipa::path(
    get, path = "/api/v1/settings", tag = "server",
    responses((status = 200, body = Vec<Setting>), Problems), security(("bearer" = []))
)]
pub async fn settings(app: Api, client: Client) -> Answer<Vec<Setting>> {
    client.require(Action::Look, Place::Server, &app.state())?;
    let asked = GetSettingsRequest { key: String::new() };
    let reply = done(Settings::get(&app.context.service, app.ask(&client, asked)).await)?;
    let row = |s: crate::proto::admin::Setting| Setting { key: s.key, value: s.value, description: s.description };
    Ok(axum::Json(reply.settings.into_iter().map(row).collect()))
}

/// Change a setting.
#[utoipa::path(
    put, path = "/api/v1/settings/{key}", tag = "server", params(("key" = String, Path)), request_body = NewValue,
    responses((status = 204, description = "Changed"), Problems), security(("bearer" = []))
)]
pub async fn set(
    app: Api,
    client: Client,
    Path(key): Path<String>,
    Body(NewValue { value }): Body<NewValue>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageSettings, Place::Server, &app.state())?;
    done(Settings::set(&app.context.service, app.ask(&client, SetSettingRequest { key, value })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The clock of the active node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Time of the last change, by which the cluster goes.
    state_time: String,
    /// What the clock said then.
    clock: String,
    /// The clock has jumped ahead, and nothing has confirmed that: nothing lapses or ends until it is set right or accepted.
    in_doubt: bool,
}

/// A time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// RFC 3339, as in `2026-11-23T02:08:55Z`.
    time: String,
}

/// The clock of the active node.
#[utoipa::path(
    get, path = "/api/v1/clock", tag = "server",
    responses((status = 200, body = Clock), Problems), security(("bearer" = []))
)]
pub async fn clock(app: Api, client: Client) -> Answer<Clock> {
    let state = app.state();
    client.require(Action::Look, Place::Server, &state)?;
    let ahead = state.meta().clock_ahead;
    let (state_time, clock) = (rfc3339(state.now()), rfc3339(state.now().plus(ahead)));
    Ok(axum::Json(Clock { state_time, clock, in_doubt: ahead > 0 }))
}

/// Say that the clock, which is in doubt, is right: it says about `time`.
#[utoipa::path(
    post, path = "/api/v1/clock/accept", tag = "server", request_body = Time,
    responses((status = 204, description = "Accepted"), Problems), security(("bearer" = []))
)]
pub async fn accept_clock(app: Api, client: Client, Body(Time { time }): Body<Time>) -> Result<StatusCode, Problem> {
    client.require(Action::ManageCluster, Place::Server, &app.state())?;
    let parsed = time.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let time_ms = parsed.ok_or_else(|| Problem::invalid("time is not as in 2026-11-23T02:08:55Z"))?;
    done(ClockService::accept(&app.context.service, app.ask(&client, AcceptClockRequest { time_ms })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The cluster's status, as `licraft ha status -o json` prints it.
#[utoipa::path(
    get, path = "/api/v1/cluster", tag = "server",
    responses((status = 200, body = serde_json::Value), Problems), security(("bearer" = []))
)]
pub async fn cluster(app: Api, client: Client) -> Answer<serde_json::Value> {
    client.require(Action::Look, Place::Server, &app.state())?;
    let status = serde_json::to_value(app.context.service.cluster_status().await);
    Ok(axum::Json(status.map_err(|error| {
        crate::admin::AdminError::new(crate::admin::Kind::Internal, "the status cannot be written")
            .because(error.to_string())
    })?))
}

/// One of the checks of `licraft doctor`.
#[derive(Serialize, ToSchema)]
pub struct Check {
    name: String,
    /// `passed`, `warning` or `failed`.
    result: String,
    /// What was found and, unless it passed, what to do.
    detail: String,
}

/// Check the server: its kept totals against a recount, replicas against each other, and what stands in alerts.
#[utoipa::path(
    get, path = "/api/v1/doctor", tag = "server",
    responses((status = 200, body = Vec<Check>), Problems), security(("bearer" = []))
)]
pub async fn doctor(app: Api, client: Client) -> Answer<Vec<Check>> {
    client.require(Action::Look, Place::Server, &app.state())?;
    let reply = done(Doctor::check(&app.context.service, app.ask(&client, DoctorRequest {})).await)?;
    let row = |check: crate::proto::admin::Check| {
        let result = match check.result() {
            CheckResult::Passed => "passed",
            CheckResult::Warning => "warning",
            CheckResult::Failed | CheckResult::Unspecified => "failed",
        };
        Check { name: check.name, result: result.into(), detail: check.detail }
    };
    Ok(axum::Json(reply.checks.into_iter().map(row).collect()))
}

/// The diagnostic bundle: what whoever helps from afar has to know, without secrets.
#[utoipa::path(
    get, path = "/api/v1/diagnostics", tag = "server",
    responses((status = 200, body = serde_json::Value), Problems), security(("bearer" = []))
)]
pub async fn diagnostics(app: Api, client: Client) -> Answer<serde_json::Value> {
    client.require(Action::ManageCluster, Place::Server, &app.state())?;
    let reply = done(Doctor::bundle(&app.context.service, app.ask(&client, BundleRequest {})).await)?;
    let bundle = serde_json::from_str(&reply.json);
    Ok(axum::Json(bundle.map_err(|error| {
        crate::admin::AdminError::new(crate::admin::Kind::Internal, "the bundle cannot be read")
            .because(error.to_string())
    })?))
}
