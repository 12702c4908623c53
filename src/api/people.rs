//! Users, and the programs that call this API.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::admin::rfc3339;
use crate::license::{Action, Millis, Place};
use crate::proto::admin::api_clients_server::ApiClients;
use crate::proto::admin::users_server::Users;
use crate::proto::admin::{
    self, AccountRef, ApiClientRef, ConfirmTotpRequest, CreateApiClientRequest, CreateUserRequest, ListUsersRequest,
    SetDisabledRequest, SetPasswordRequest, SetPreferencesRequest, SetRoleRequest, UserRef, UserRole,
    VirtualAccountRef,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A program that may call this API.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiClient {
    id: String,
    /// Absent: the whole server.
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    role: String,
    description: String,
    created: String,
    created_by: String,
}

/// A program that shall be able to call this API.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewClient {
    /// For an account `local-account-administrator` (if left out) or `read-only`; for the server one of its roles,
    /// `read-only` if left out.
    role: String,
    description: String,
}

/// The id and, this once, the secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientMade {
    client_id: String,
    client_secret: String,
}

/// The API clients of an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/api-clients", tag = "people and programs",
    params(("account" = String, Path)),
    responses((status = 200, body = Vec<ApiClient>), Problems), security(("bearer" = []))
)]
pub async fn clients_of_account(app: Api, client: Client, Path(account): Path<String>) -> Answer<Vec<ApiClient>> {
    client.account(Action::ManageApiClients, &app.state(), &account)?;
    listed(&app, &client, account).await
}

/// Make an API client of an account.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/api-clients", tag = "people and programs",
    params(("account" = String, Path)), request_body = NewClient,
    responses((status = 200, body = ClientMade), Problems), security(("bearer" = []))
)]
pub async fn create_client_of_account(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(NewClient { role, description }): Body<NewClient>,
) -> Answer<ClientMade> {
    client.account(Action::ManageApiClients, &app.state(), &account)?;
    made(&app, &client, CreateApiClientRequest { account, description, server: false, role }).await
}

/// All API clients.
#[utoipa::path(
    get, path = "/api/v1/api-clients", tag = "people and programs",
    responses((status = 200, body = Vec<ApiClient>), Problems), security(("bearer" = []))
)]
pub async fn clients(app: Api, client: Client) -> Answer<Vec<ApiClient>> {
    client.require(Action::ManageApiClients, Place::Server, &app.state())?;
    listed(&app, &client, String::new()).await
}

/// Make an API client of the server.
#[utoipa::path(
    post, path = "/api/v1/api-clients", tag = "people and programs", request_body = NewClient,
    responses((status = 200, body = ClientMade), Problems), security(("bearer" = []))
)]
pub async fn create_client(
    app: Api,
    client: Client,
    Body(NewClient { role, description }): Body<NewClient>,
) -> Answer<ClientMade> {
    client.require(Action::ManageApiClients, Place::Server, &app.state())?;
    made(&app, &client, CreateApiClientRequest { account: String::new(), description, server: true, role }).await
}

/// End an API client; its access tokens end at once.
#[utoipa::path(
    delete, path = "/api/v1/api-clients/{id}", tag = "people and programs", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked"), Problems), security(("bearer" = []))
)]
pub async fn revoke_client(app: Api, client: Client, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let state = app.state();
    let account = state.api_client(&id).and_then(|known| known.account);
    client.require(Action::ManageApiClients, account.map_or(Place::Server, Place::Account), &state)?;
    done(ApiClients::revoke(&app.context.service, app.ask(&client, ApiClientRef { id })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn listed(app: &Api, client: &Client, account: String) -> Answer<Vec<ApiClient>> {
    let reply = done(ApiClients::list(&app.context.service, app.ask(client, AccountRef { account })).await)?;
    let row = |known: crate::proto::admin::ApiClient| ApiClient {
        id: known.id,
        account: known.account,
        role: known.role,
        description: known.description,
        created: rfc3339(Millis(known.created_ms)),
        created_by: known.created_by,
    };
    Ok(axum::Json(reply.clients.into_iter().map(row).collect()))
}

async fn made(app: &Api, client: &Client, asked: CreateApiClientRequest) -> Answer<ClientMade> {
    let made = done(ApiClients::create(&app.context.service, app.ask(client, asked)).await)?;
    Ok(axum::Json(ClientMade { client_id: made.id, client_secret: made.secret }))
}

/// A person who may sign in to the pages.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    name: String,
    role: String,
    /// Of a local account administrator.
    accounts: Vec<String>,
    /// Of a virtual account administrator.
    virtual_accounts: Vec<VirtualAccountName>,
    disabled: bool,
    must_change_password: bool,
    created: String,
    password_changed: String,
    /// Browsers signed in.
    sessions: u64,
    /// A code of an authenticator is asked for beside the password.
    second_factor: bool,
    preferences: Preferences,
}

/// How somebody likes the pages.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preferences {
    /// Of one page of a list: 25, 50, 100 or 250.
    rows: u64,
    /// Workspace after signing in.
    start: Workspace,
    /// Name in the IANA database; empty: UTC.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// Whether open pages bring themselves up to date.
    live: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Workspace {
    Licensing,
    Administration,
}

impl From<admin::Preferences> for Preferences {
    fn from(of: admin::Preferences) -> Self {
        let start = if of.start == "administration" { Workspace::Administration } else { Workspace::Licensing };
        Self { rows: of.rows, start, time_zone: of.time_zone, live: of.live }
    }
}

impl From<Preferences> for admin::Preferences {
    fn from(of: Preferences) -> Self {
        let start = match of.start {
            Workspace::Licensing => "licensing",
            Workspace::Administration => "administration",
        };
        Self { rows: of.rows, start: start.to_owned(), time_zone: of.time_zone, live: of.live }
    }
}

/// A role, with the places it is for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleOf {
    #[schema(example = "system-operator")]
    role: String,
    /// Of a local account administrator.
    #[serde(default)]
    accounts: Vec<String>,
    /// Of a virtual account administrator.
    #[serde(default)]
    virtual_accounts: Vec<VirtualAccountName>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualAccountName {
    account: String,
    virtual_account: String,
}

impl From<VirtualAccountRef> for VirtualAccountName {
    fn from(named: VirtualAccountRef) -> Self {
        Self { account: named.account, virtual_account: named.virtual_account }
    }
}

impl From<RoleOf> for UserRole {
    fn from(of: RoleOf) -> Self {
        let named = of.virtual_accounts.into_iter();
        let named = named.map(|va| VirtualAccountRef { account: va.account, virtual_account: va.virtual_account });
        Self { role: of.role, accounts: of.accounts, virtual_accounts: named.collect() }
    }
}

/// A person who shall be able to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewUser {
    name: String,
    password: String,
    role: RoleOf,
    /// Whether the password must be changed at the first sign-in.
    #[serde(default = "yes")]
    #[schema(default = true)]
    must_change_password: bool,
}

const fn yes() -> bool {
    true
}

/// A password that somebody else chose.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPassword {
    password: String,
    /// Whether it must be changed at the next sign-in.
    #[serde(default = "yes")]
    #[schema(default = true)]
    must_change_password: bool,
}

/// Whether somebody may not sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Disabled {
    disabled: bool,
}

/// All users.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "people and programs",
    responses((status = 200, body = Vec<User>), Problems), security(("bearer" = []))
)]
pub async fn users(app: Api, client: Client) -> Answer<Vec<User>> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let reply = done(Users::list(&app.context.service, app.ask(&client, ListUsersRequest {})).await)?;
    let row = |user: crate::proto::admin::User| {
        let of = user.role.unwrap_or_default();
        User {
            name: user.name,
            role: of.role,
            accounts: of.accounts,
            virtual_accounts: of.virtual_accounts.into_iter().map(VirtualAccountName::from).collect(),
            disabled: user.disabled,
            must_change_password: user.must_change,
            created: rfc3339(Millis(user.created_ms)),
            password_changed: rfc3339(Millis(user.password_changed_ms)),
            sessions: user.sessions,
            second_factor: user.totp,
            preferences: user.preferences.unwrap_or_default().into(),
        }
    };
    Ok(axum::Json(reply.users.into_iter().map(row).collect()))
}

/// Make a user.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "people and programs", request_body = NewUser,
    responses((status = 204, description = "Made"), Problems), security(("bearer" = []))
)]
pub async fn create_user(app: Api, client: Client, Body(new): Body<NewUser>) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let NewUser { name, password, role, must_change_password } = new;
    let asked = CreateUserRequest { name, role: Some(role.into()), password, must_change: must_change_password };
    done(Users::create(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a user.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", tag = "people and programs", params(("name" = String, Path)),
    responses((status = 204, description = "Removed"), Problems), security(("bearer" = []))
)]
pub async fn delete_user(app: Api, client: Client, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    done(Users::delete(&app.context.service, app.ask(&client, UserRef { name })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a user another password, which ends the user's sessions.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/password", tag = "people and programs", params(("name" = String, Path)),
    request_body = NewPassword,
    responses((status = 204, description = "Changed"), Problems), security(("bearer" = []))
)]
pub async fn set_password(
    app: Api,
    client: Client,
    Path(name): Path<String>,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let asked = SetPasswordRequest { name, password: new.password, must_change: new.must_change_password };
    done(Users::set_password(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a user another role.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/role", tag = "people and programs", params(("name" = String, Path)),
    request_body = RoleOf,
    responses((status = 204, description = "Changed"), Problems), security(("bearer" = []))
)]
pub async fn set_role(
    app: Api,
    client: Client,
    Path(name): Path<String>,
    Body(role): Body<RoleOf>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let asked = SetRoleRequest { name, role: Some(role.into()) };
    done(Users::set_role(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a user sign in no more, or again.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/disabled", tag = "people and programs", params(("name" = String, Path)),
    request_body = Disabled,
    responses((status = 204, description = "Changed"), Problems), security(("bearer" = []))
)]
pub async fn set_disabled(
    app: Api,
    client: Client,
    Path(name): Path<String>,
    Body(Disabled { disabled }): Body<Disabled>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    done(Users::set_disabled(&app.context.service, app.ask(&client, SetDisabledRequest { name, disabled })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an authenticator takes (RFC 6238).
#[derive(Serialize, ToSchema)]
pub struct SecondFactor {
    /// Base32 (RFC 4648).
    secret: String,
    #[schema(example = "otpauth://totp/licraft:ann?secret=…&issuer=licraft")]
    uri: String,
}

/// A code of the authenticator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Code {
    #[schema(example = "123456")]
    code: String,
}

/// Make a secret for a user's authenticator; codes are asked for once one was confirmed.
#[utoipa::path(
    post, path = "/api/v1/users/{name}/second-factor", tag = "people and programs", params(("name" = String, Path)),
    responses((status = 200, body = SecondFactor), Problems), security(("bearer" = []))
)]
pub async fn enrol(app: Api, client: Client, Path(name): Path<String>) -> Answer<SecondFactor> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let made = done(Users::enrol_totp(&app.context.service, app.ask(&client, UserRef { name })).await)?;
    Ok(axum::Json(SecondFactor { secret: made.secret, uri: made.uri }))
}

/// Confirm by a code that the authenticator has the secret; ends the user's sessions.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/second-factor", tag = "people and programs", params(("name" = String, Path)),
    request_body = Code,
    responses((status = 204, description = "In force"), Problems), security(("bearer" = []))
)]
pub async fn confirm(
    app: Api,
    client: Client,
    Path(name): Path<String>,
    Body(Code { code }): Body<Code>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    done(Users::confirm_totp(&app.context.service, app.ask(&client, ConfirmTotpRequest { name, code })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a user's second factor away; ends the user's sessions.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/second-factor", tag = "people and programs", params(("name" = String, Path)),
    responses((status = 204, description = "Taken away"), Problems), security(("bearer" = []))
)]
pub async fn reset(app: Api, client: Client, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    done(Users::reset_totp(&app.context.service, app.ask(&client, UserRef { name })).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set how a user likes the pages.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/preferences", tag = "people and programs", params(("name" = String, Path)),
    request_body = Preferences, responses((status = 204, description = "Set"), Problems), security(("bearer" = []))
)]
pub async fn set_preferences(
    app: Api,
    client: Client,
    Path(name): Path<String>,
    Body(preferences): Body<Preferences>,
) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let asked = SetPreferencesRequest { name, preferences: Some(preferences.into()) };
    done(Users::set_preferences(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign a user out everywhere.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/sessions", tag = "people and programs", params(("name" = String, Path)),
    responses((status = 204, description = "Signed out"), Problems), security(("bearer" = []))
)]
pub async fn sign_out(app: Api, client: Client, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    done(Users::sign_out(&app.context.service, app.ask(&client, UserRef { name })).await)?;
    Ok(StatusCode::NO_CONTENT)
}
