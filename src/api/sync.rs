//! Synchronization with central.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::admin::rfc3339;
use crate::license::{Action, Millis, Place};
use crate::proto::admin::sync_server::Sync;
use crate::proto::admin::{
    AccountRef, EntitlementChange, ImportResponseRequest, ScheduleRequest, SyncEvery, SyncSchedule, SyncStatus,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
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
    let gone = || Problem::not_found("the account was deleted meanwhile");
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

/// Where synchronization of each account stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfAccount {
    account: String,
    #[serde(flatten)]
    synchronization: Synchronization,
}

/// Where synchronization of all accounts stands.
#[utoipa::path(
    get, path = "/api/v1/synchronization", tag = "synchronization",
    responses((status = 200, body = Vec<OfAccount>), Problems), security(("bearer" = []))
)]
pub async fn all(app: Api, client: Client) -> Answer<Vec<OfAccount>> {
    client.require(Action::Look, Place::Server, &app.state())?;
    let asked = AccountRef { account: String::new() };
    let status = done(Sync::status(&app.context.service, app.ask(&client, asked)).await)?;
    let row = |status: SyncStatus| OfAccount { account: status.account.clone(), synchronization: status.into() };
    Ok(axum::Json(status.accounts.into_iter().map(row).collect()))
}

/// When an account synchronizes by itself, in UTC.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "every", deny_unknown_fields)]
pub enum Schedule {
    Off {},
    Daily {
        /// Minute of the day.
        #[schema(minimum = 0, maximum = 1439)]
        minute: u32,
    },
    Weekly {
        /// 0 is Monday.
        #[schema(minimum = 0, maximum = 6)]
        weekday: u32,
        #[schema(minimum = 0, maximum = 1439)]
        minute: u32,
    },
    Monthly {
        #[schema(minimum = 1, maximum = 28)]
        day: u32,
        #[schema(minimum = 0, maximum = 1439)]
        minute: u32,
    },
}

impl From<Schedule> for SyncSchedule {
    fn from(schedule: Schedule) -> Self {
        let (every, day, minute) = match schedule {
            Schedule::Off {} => (SyncEvery::Off, 0, 0),
            Schedule::Daily { minute } => (SyncEvery::Daily, 0, minute),
            Schedule::Weekly { weekday, minute } => (SyncEvery::Weekly, weekday, minute),
            Schedule::Monthly { day, minute } => (SyncEvery::Monthly, day, minute),
        };
        Self { every: every.into(), minute, day }
    }
}

/// Set when an account synchronizes by itself.
#[utoipa::path(
    put, path = "/api/v1/accounts/{account}/synchronization/schedule", tag = "synchronization",
    params(("account" = String, Path)), request_body = Schedule,
    responses((status = 200, body = Synchronization), Problems), security(("bearer" = []))
)]
pub async fn schedule(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(wanted): Body<Schedule>,
) -> Answer<Synchronization> {
    client.account(Action::Synchronize, &app.state(), &account)?;
    let asked = ScheduleRequest { account, schedule: Some(wanted.into()) };
    let status = done(Sync::schedule(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(axum::Json(status.into()))
}

/// A document for central.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// Of the synchronization; 0: the registration of the account.
    number: u64,
    /// JSON text: the file that `licraft sync export-request` writes.
    document: String,
}

/// The request that central has to answer, for a site that exchanges files with it. A synchronization begins with it;
/// exported again it is the same one.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/synchronization/request", tag = "synchronization",
    params(("account" = String, Path)),
    responses((status = 200, body = Exported), Problems), security(("bearer" = []))
)]
pub async fn export(app: Api, client: Client, Path(account): Path<String>) -> Answer<Exported> {
    client.account(Action::Synchronize, &app.state(), &account)?;
    let reply = done(Sync::export_request(&app.context.service, app.ask(&client, AccountRef { account })).await)?;
    let document = String::from_utf8_lossy(&reply.document).into_owned();
    Ok(axum::Json(Exported { number: reply.seq, document }))
}

/// Central's answer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Response {
    /// JSON text: the file that central made of the request.
    document: String,
    /// Only check it, and say what it would change.
    #[serde(default)]
    dry_run: bool,
}

/// What changes of one license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    license: String,
    tag: String,
    /// Whether the account did not know it before.
    new: bool,
    purchased: u64,
    purchased_after: u64,
    in_use: u64,
}

/// Take central's response to what was exported, or only look what it would change. A wrong one changes nothing.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/synchronization/response", tag = "synchronization",
    params(("account" = String, Path)), request_body = Response,
    responses((status = 200, body = Vec<Change>), Problems), security(("bearer" = []))
)]
pub async fn import(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(response): Body<Response>,
) -> Answer<Vec<Change>> {
    client.account(Action::Synchronize, &app.state(), &account)?;
    let document = Bytes::from(response.document);
    let ask = |dry_run| app.ask(&client, ImportResponseRequest { document: document.clone(), dry_run });
    // Whose it is stands in the response.
    let mut reply = done(Sync::import_response(&app.context.service, ask(true)).await)?;
    if reply.account != account {
        return Err(Problem::invalid("the response is for another account"));
    }
    if !response.dry_run {
        reply = done(Sync::import_response(&app.context.service, ask(false)).await)?;
    }
    let row = |change: EntitlementChange| Change {
        license: change.license,
        tag: change.tag,
        new: change.new,
        purchased: change.purchased,
        purchased_after: change.purchased_after,
        in_use: change.in_use,
    };
    Ok(axum::Json(reply.changes.into_iter().map(row).collect()))
}
