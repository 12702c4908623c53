//! The server itself: settings, the cluster's status, and checks.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::license::{Action, Place};
use crate::proto::admin::doctor_server::Doctor;
use crate::proto::admin::settings_server::Settings;
use crate::proto::admin::{CheckResult, DoctorRequest, GetSettingsRequest, SetSettingRequest};
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

/// A setting's new value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Value {
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
    put, path = "/api/v1/settings/{key}", tag = "server", params(("key" = String, Path)), request_body = Value,
    responses((status = 204, description = "Changed"), Problems), security(("bearer" = []))
)]
pub async fn set(
    app: Api,
    client: Client,
    Path(key): Path<String>,
    Body(Value { value }): Body<Value>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageSettings, Place::Server, &app.state())?;
    done(Settings::set(&app.context.service, app.ask(&client, SetSettingRequest { key, value })).await)?;
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
