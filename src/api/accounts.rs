//! Local accounts and their virtual accounts.

use super::extract::{Body, Client, Part, Path, Query, order, part, window};
use super::problem::{Problem, Problems};
use super::{Answer, Api, PAGE, done};
use crate::admin::rfc3339;
use crate::license::{self, AccountStatus, Action, Place, State};
use crate::listing::{self, AccountColumn, AccountSearch, Needle, VirtualAccountColumn, VirtualAccountSearch};
use crate::proto::admin::accounts_server::Accounts;
use crate::proto::admin::virtual_accounts_server::VirtualAccounts;
use crate::proto::admin::{
    AccountReasonRequest, AccountRef, DeleteAccountRequest, RenameVirtualAccountRequest, RequestAccountRequest,
    VirtualAccountRef,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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

/// Where an account stands.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Requested,
    Approved,
    Active,
    Inactive,
    Rejected,
}

impl From<Status> for AccountStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Requested => Self::Requested,
            Status::Approved => Self::Approved,
            Status::Active => Self::Active,
            Status::Inactive => Self::Inactive,
            Status::Rejected => Self::Rejected,
        }
    }
}

/// Which accounts are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedAccounts {
    /// Only accounts whose names, here or upstream, or whose asker hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    #[param(required = false, inline)]
    status: Option<Status>,
    /// `name` (if left out), `status`, `requestedBy`, `smartAccount`, `virtualAccount`, `productInstances`,
    /// `lastSynchronization` or `synchronizationDue`; with a `-` before it the other way round.
    #[param(required = false, example = "-productInstances")]
    sort: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for WantedAccounts {
    fn default() -> Self {
        let (search, status, sort) = Default::default();
        Self { search, status, sort, offset: 0, limit: PAGE }
    }
}

/// The accounts that the client may see.
#[utoipa::path(
    get, path = "/api/v1/accounts", tag = "accounts", params(WantedAccounts),
    responses((status = 200, body = Vec<Account>, headers(("x-total-count" = u64))), Problems),
    security(("bearer" = []))
)]
pub async fn list(app: Api, client: Client, Query(asked): Query<WantedAccounts>) -> Result<Part<Account>, Problem> {
    let wanted = AccountSearch {
        search: Needle::new(&asked.search),
        status: asked.status.map(Into::into),
        order: order(&asked.sort, AccountColumn::Name)?,
        window: window(asked.offset, asked.limit)?,
    };
    let state = app.state();
    let seen = |a: &license::Account| client.record.may(Action::Look, Place::Account(a.id), &state);
    let found = listing::accounts(&state, seen, &wanted);
    Ok(part(found.total, found.rows.into_iter().map(|a| Account::of(&state, a)).collect()))
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

/// Which virtual accounts are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedVirtualAccounts {
    /// Only names that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    /// `name` (if left out), `created` or `productInstances`; with a `-` before it the other way round.
    #[param(required = false, example = "-created")]
    sort: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for WantedVirtualAccounts {
    fn default() -> Self {
        Self { search: String::new(), sort: String::new(), offset: 0, limit: PAGE }
    }
}

/// The virtual accounts of an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/virtual-accounts", tag = "accounts",
    params(("account" = String, Path), WantedVirtualAccounts),
    responses((status = 200, body = Vec<VirtualAccount>, headers(("x-total-count" = u64))), Problems),
    security(("bearer" = []))
)]
pub async fn virtual_accounts(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(asked): Query<WantedVirtualAccounts>,
) -> Result<Part<VirtualAccount>, Problem> {
    let wanted = VirtualAccountSearch {
        search: Needle::new(&asked.search),
        order: order(&asked.sort, VirtualAccountColumn::Name)?,
        window: window(asked.offset, asked.limit)?,
    };
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let row = |va: &license::VirtualAccount| VirtualAccount {
        id: va.id.0,
        name: va.name.clone(),
        default: va.id == account.default_va,
        created: rfc3339(va.created),
        product_instances: va.instances,
    };
    let found = listing::virtual_accounts(&state, account.id, &wanted);
    Ok(part(found.total, found.rows.into_iter().map(row).collect()))
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
