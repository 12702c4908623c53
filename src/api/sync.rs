//! Synchronization with central.

use super::extract::{Client, Path};
use super::problem::Problems;
use super::{Answer, Api, done};
use crate::admin::rfc3339;
use crate::license::{Action, Millis};
use crate::proto::admin::sync_server::Sync;
use crate::proto::admin::{AccountRef, SyncStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// Where synchronization stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synchronization {
    /// Number of the newest one.
    number: u64,
    /// Whether it has been begun and not answered.
    outstanding: bool,
    last_success: Option<String>,
    due: Option<String>,
    last_failure: Option<String>,
    last_failure_reason: String,
    /// In words.
    schedule: String,
    /// When it begins by itself.
    next: Option<String>,
}

impl From<SyncStatus> for Synchronization {
    fn from(status: SyncStatus) -> Self {
        let date = |ms: u64| (ms > 0).then(|| rfc3339(Millis(ms)));
        Self {
            number: status.seq,
            outstanding: status.outstanding,
            last_success: date(status.last_success_ms),
            due: date(status.due_ms),
            last_failure: date(status.last_failure_ms),
            last_failure_reason: status.last_failure,
            schedule: status.schedule,
            next: date(status.next_ms),
        }
    }
}

/// Where synchronization of an account stands.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/synchronization", tag = "synchronization",
    params(("account" = String, Path)),
    responses((status = 200, body = Synchronization), Problems), security(("bearer" = []))
)]
pub async fn show(app: Api, client: Client, Path(account): Path<String>) -> Answer<Synchronization> {
    client.account(Action::Look, &app.state(), &account)?;
    let mut status = done(Sync::status(&app.context.service, app.ask(&client, AccountRef { account })).await)?;
    let gone = || super::Problem::not_found("the account was deleted meanwhile");
    Ok(axum::Json(status.accounts.pop().ok_or_else(gone)?.into()))
}

/// Synchronize now, and wait for it.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/synchronization", tag = "synchronization",
    params(("account" = String, Path)),
    responses((status = 200, body = Synchronization), Problems), security(("bearer" = []))
)]
pub async fn now(app: Api, client: Client, Path(account): Path<String>) -> Answer<Synchronization> {
    client.account(Action::Synchronize, &app.state(), &account)?;
    let status = done(Sync::now(&app.context.service, app.ask(&client, AccountRef { account })).await)?;
    Ok(axum::Json(status.into()))
}
