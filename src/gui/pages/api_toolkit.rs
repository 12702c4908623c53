//! The API Toolkit: programs that may call the REST API.

use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Entered, Posted, called, failed, finish};
use crate::gui::aside::Aside;
use crate::gui::view::{Shell, Time, Viewer, page};
use crate::license::{AccountId, Action, ApiClient, Place, Role, State};
use crate::proto::admin::api_clients_server::ApiClients;
use crate::proto::admin::{ApiClientRef, CreateApiClientReply, CreateApiClientRequest};
use crate::web::form::Form;
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use std::sync::Arc;

const HREF: &str = "/api-toolkit";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route(HREF, get(show).post(create)).route("/api-toolkit/{id}/revoke", get(confirm).post(revoke))
}

struct Row {
    id: String,
    of: String,
    role: &'static str,
    description: String,
    created: Time,
    created_by: String,
}

impl Row {
    fn of(state: &State, client: &ApiClient) -> Self {
        let account = client.account.and_then(|id| state.account(id)).map(|a| a.name.clone());
        Self {
            id: client.id.clone(),
            of: account.unwrap_or_else(|| "the whole server".into()),
            role: client.role.as_str(),
            description: client.description.clone(),
            created: Time(client.created),
            created_by: client.created_by.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "api_toolkit.html")]
struct ToolkitPage {
    shell: Shell,
    rows: Vec<Row>,
    accounts: Vec<String>,
    /// Whether clients of the whole server may be made, and in which roles.
    roles: Vec<&'static str>,
    base: String,
    made: Option<CreateApiClientReply>,
    entered: Entered,
}

/// The clients that this person may see: of their accounts, and of the server.
fn clients<'a>(state: &'a State, viewer: &Viewer) -> Vec<&'a ApiClient> {
    let accounts = viewer.accounts(state).into_iter().map(|account| Some(account.id));
    let server = viewer.may(Action::ManageApiClients, Place::Server, state).then_some(None);
    let of: Vec<Option<AccountId>> = accounts.chain(server).collect();
    of.into_iter().flat_map(|of| state.api_clients(of)).collect()
}

async fn page_of(
    app: &App,
    viewer: &Viewer,
    uri: &Uri,
    made: Option<CreateApiClientReply>,
    entered: Entered,
) -> Response {
    let state = app.state();
    let may = |id| viewer.may(Action::ManageApiClients, Place::Account(id), &state);
    let server = viewer.may(Action::ManageApiClients, Place::Server, &state);
    let roles = Role::ALL.into_iter().filter(|role| server && role.is_for_server()).map(|role| role.as_str());
    let template = ToolkitPage {
        shell: Shell::new(&state, viewer, HREF, "API Toolkit")
            .noting(uri)
            .beside(&Aside::of(app, viewer, &state).await),
        rows: clients(&state, viewer).into_iter().map(|client| Row::of(&state, client)).collect(),
        accounts: viewer.accounts(&state).into_iter().filter(|a| may(a.id)).map(|a| a.name.clone()).collect(),
        roles: roles.collect(),
        base: (app.context.vip_url)().unwrap_or_default(),
        made,
        entered,
    };
    page(template.entered.status(), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    page_of(&app, &viewer, &uri, None, Entered::default()).await
}

async fn create(Of(app): Of<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    match make(&app, &viewer, &form).await {
        // Shown at once and never again: the secret is in no address.
        Ok(made) => page_of(&app, &viewer, &uri, Some(made), Entered::default()).await,
        Err(error) => page_of(&app, &viewer, &uri, None, Entered::refused(form, error)).await,
    }
}

async fn make(app: &App, viewer: &Viewer, form: &Form) -> Result<CreateApiClientReply, AdminError> {
    let state = app.state();
    let account = form.get("account").to_string();
    let server = account.is_empty();
    let place = state.account_by_name(&account).map_or(Place::Server, |a| Place::Account(a.id));
    viewer.require(Action::ManageApiClients, place, &state)?;
    let role = if server { form.get("role").to_string() } else { String::new() };
    let asked =
        CreateApiClientRequest { account, description: form.get("description").trim().to_owned(), server, role };
    called(ApiClients::create(&app.context.service, viewer.ask(form, asked)).await)
}

fn find<'a>(state: &'a State, viewer: &Viewer, id: &str) -> Result<&'a ApiClient, AdminError> {
    let client = state.api_client(id).ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such API client"))?;
    viewer.require(Action::ManageApiClients, client.account.map_or(Place::Server, Place::Account), state)?;
    Ok(client)
}

async fn confirm(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, Path(id): Path<String>) -> Response {
    let state = app.state();
    let client = match find(&state, &viewer, &id) {
        Ok(client) => client,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, "Revoke API client"),
        says: vec![
            format!(
                "Client {} ({}) gets no more access tokens, and those that it has hold no more.",
                client.id, client.description
            ),
            "The program that uses it stops working until it has another client's id and secret.".into(),
        ],
        button: "Revoke",
        reason: None,
        fields: Vec::new(),
        back: HREF.into(),
    }
    .page()
}

async fn revoke(Of(app): Of<Arc<App>>, Path(id): Path<String>, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        find(&app.state(), &viewer, &id)?;
        called(ApiClients::revoke(&app.context.service, viewer.ask(&form, ApiClientRef { id })).await).map(drop)
    };
    finish(&app, &viewer, result.await, Done::ClientRevoked, HREF, HREF)
}
