//! Local accounts and their virtual accounts.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::admin::rfc3339;
use crate::license::{self, Action, Place, State};
use crate::proto::admin::accounts_server::Accounts;
use crate::proto::admin::virtual_accounts_server::VirtualAccounts;
use crate::proto::admin::{
    AccountReasonRequest, AccountRef, DeleteAccountRequest, RenameVirtualAccountRequest, RequestAccountRequest,
    VirtualAccountRef,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A local account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    id: u64,
    name: String,
    requested_by: String,
    smart_account: String,
    virtual_account: String,
    /// `requested`, `approved`, `active`, `inactive` or `rejected`.
    status: String,
    status_reason: String,
    requested: String,
    changed: String,
    default_virtual_account: String,
    product_instances: u64,
    last_synchronization: Option<String>,
    synchronization_due: Option<String>,
}

impl Account {
    fn of(state: &State, account: &license::Account) -> Self {
        let default = state.virtual_account(account.default_va);
        Self {
            id: account.id.0,
            name: account.name.clone(),
            requested_by: account.requested_by.clone(),
            smart_account: account.smart_account.clone(),
            virtual_account: account.virtual_account.clone(),
            status: account.status.to_string(),
            status_reason: account.status_reason.clone(),
            requested: rfc3339(account.requested_at),
            changed: rfc3339(account.changed_at),
            default_virtual_account: default.map(|va| va.name.clone()).unwrap_or_default(),
            product_instances: account.instances,
            last_synchronization: account.sync.last_success.map(rfc3339),
            synchronization_due: account.sync.due.map(rfc3339),
        }
    }
}

/// An account that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAccount {
    name: String,
    smart_account: String,
    virtual_account: String,
    /// Left out: the client.
    #[serde(default)]
    requested_by: String,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    reason: String,
}

/// What was made.
#[derive(Serialize, ToSchema)]
pub struct Made {
    pub id: u64,
}

/// The accounts that the client may see.
#[utoipa::path(
    get, path = "/api/v1/accounts", tag = "accounts",
    responses((status = 200, body = Vec<Account>), Problems), security(("bearer" = []))
)]
pub async fn list(app: Api, client: Client) -> Answer<Vec<Account>> {
    let state = app.state();
    let seen = |a: &&license::Account| client.record.may(Action::Look, Place::Account(a.id), &state);
    Ok(axum::Json(state.accounts().filter(seen).map(|a| Account::of(&state, a)).collect()))
}

/// Ask for an account.
#[utoipa::path(
    post, path = "/api/v1/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 200, body = Made), Problems), security(("bearer" = []))
)]
pub async fn request(app: Api, client: Client, Body(new): Body<NewAccount>) -> Answer<Made> {
    client.require(Action::ManageAccounts, Place::Server, &app.state())?;
    let NewAccount { name, smart_account, virtual_account, requested_by } = new;
    let asked = RequestAccountRequest { name, smart_account, virtual_account, requested_by };
    let made = done(Accounts::request(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(axum::Json(Made { id: made.id }))
}

/// One account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}", tag = "accounts", params(("account" = String, Path)),
    responses((status = 200, body = Account), Problems), security(("bearer" = []))
)]
pub async fn show(app: Api, client: Client, Path(account): Path<String>) -> Answer<Account> {
    let state = app.state();
    Ok(axum::Json(Account::of(&state, client.account(Action::Look, &state, &account)?)))
}

/// Delete an account without product instances: it is taken out of service, central is told that it ends and frees its
/// virtual account, then it goes.
#[utoipa::path(
    delete, path = "/api/v1/accounts/{account}", tag = "accounts", params(("account" = String, Path)),
    responses((status = 204, description = "Deleted"), Problems), security(("bearer" = []))
)]
pub async fn delete(app: Api, client: Client, Path(account): Path<String>) -> Result<StatusCode, Problem> {
    client.account(Action::ManageAccounts, &app.state(), &account)?;
    let asked = DeleteAccountRequest { account, ..DeleteAccountRequest::default() };
    done(Accounts::delete(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Approve a requested account, and register it with central.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/approve", tag = "accounts", params(("account" = String, Path)),
    responses((status = 204, description = "Approved"), Problems), security(("bearer" = []))
)]
pub async fn approve(app: Api, client: Client, Path(account): Path<String>) -> Result<StatusCode, Problem> {
    client.account(Action::ManageAccounts, &app.state(), &account)?;
    done(Accounts::approve(&app.context.service, app.ask(&client, AccountRef { account })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reject a requested or approved account.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/reject", tag = "accounts", params(("account" = String, Path)),
    request_body = Because,
    responses((status = 204, description = "Rejected"), Problems), security(("bearer" = []))
)]
pub async fn reject(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(Because { reason }): Body<Because>,
) -> Result<StatusCode, Problem> {
    client.account(Action::ManageAccounts, &app.state(), &account)?;
    let asked = AccountReasonRequest { account, reason };
    done(Accounts::reject(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take an account out of use: its products get no answers until it is activated again.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/deactivate", tag = "accounts", params(("account" = String, Path)),
    request_body = Because,
    responses((status = 204, description = "Deactivated"), Problems), security(("bearer" = []))
)]
pub async fn deactivate(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(Because { reason }): Body<Because>,
) -> Result<StatusCode, Problem> {
    client.account(Action::ManageAccounts, &app.state(), &account)?;
    let asked = AccountReasonRequest { account, reason };
    done(Accounts::deactivate(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Use a deactivated account again.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/activate", tag = "accounts", params(("account" = String, Path)),
    responses((status = 204, description = "Active"), Problems), security(("bearer" = []))
)]
pub async fn activate(app: Api, client: Client, Path(account): Path<String>) -> Result<StatusCode, Problem> {
    client.account(Action::ManageAccounts, &app.state(), &account)?;
    done(Accounts::activate(&app.context.service, app.ask(&client, AccountRef { account })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A virtual account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualAccount {
    id: u64,
    name: String,
    default: bool,
    created: String,
    product_instances: u64,
}

/// The name of a virtual account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    name: String,
}

/// The virtual accounts of an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/virtual-accounts", tag = "accounts", params(("account" = String, Path)),
    responses((status = 200, body = Vec<VirtualAccount>), Problems), security(("bearer" = []))
)]
pub async fn virtual_accounts(app: Api, client: Client, Path(account): Path<String>) -> Answer<Vec<VirtualAccount>> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let row = |va: &license::VirtualAccount| VirtualAccount {
        id: va.id.0,
        name: va.name.clone(),
        default: va.id == account.default_va,
        created: rfc3339(va.created),
        product_instances: va.instances,
    };
    Ok(axum::Json(state.virtual_accounts(account.id).map(row).collect()))
}

/// Make a virtual account.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/virtual-accounts", tag = "accounts", params(("account" = String, Path)),
    request_body = Named,
    responses((status = 200, body = Made), Problems), security(("bearer" = []))
)]
pub async fn create_virtual_account(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(Named { name }): Body<Named>,
) -> Answer<Made> {
    client.account(Action::ManageVirtualAccounts, &app.state(), &account)?;
    let asked = VirtualAccountRef { account, virtual_account: name };
    let made = done(VirtualAccounts::create(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(axum::Json(Made { id: made.id }))
}

/// Give a virtual account another name.
#[utoipa::path(
    put, path = "/api/v1/accounts/{account}/virtual-accounts/{va}", tag = "accounts",
    params(("account" = String, Path), ("va" = String, Path)), request_body = Named,
    responses((status = 204, description = "Renamed"), Problems), security(("bearer" = []))
)]
pub async fn rename_virtual_account(
    app: Api,
    client: Client,
    Path((account, va)): Path<(String, String)>,
    Body(Named { name }): Body<Named>,
) -> Result<StatusCode, Problem> {
    client.virtual_account(Action::ManageVirtualAccounts, &app.state(), (&account, &va))?;
    let virtual_account = Some(VirtualAccountRef { account, virtual_account: va });
    let asked = RenameVirtualAccountRequest { virtual_account, name };
    done(VirtualAccounts::rename(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a virtual account that is empty and not the default.
#[utoipa::path(
    delete, path = "/api/v1/accounts/{account}/virtual-accounts/{va}", tag = "accounts",
    params(("account" = String, Path), ("va" = String, Path)),
    responses((status = 204, description = "Deleted"), Problems), security(("bearer" = []))
)]
pub async fn delete_virtual_account(
    app: Api,
    client: Client,
    Path((account, va)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    client.virtual_account(Action::ManageVirtualAccounts, &app.state(), (&account, &va))?;
    let asked = VirtualAccountRef { account, virtual_account: va };
    done(VirtualAccounts::delete(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}
