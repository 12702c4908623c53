//! Inventory, General: the virtual accounts, and the registration tokens of each.

use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Entered, Posted, called, failed};
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, page};
use crate::license::{
    Account, Action, MAX_TOKEN_DAYS, Place, State, TOKEN_DAYS, Token, TokenId, VirtualAccount, VirtualAccountId,
};
use crate::proto::admin::tokens_server::Tokens;
use crate::proto::admin::virtual_accounts_server::VirtualAccounts;
use crate::proto::admin::{
    CreateTokenReply, CreateTokenRequest, ListTokensRequest, RenameVirtualAccountRequest, RevokeTokenRequest,
    VirtualAccountRef,
};
use crate::web::form::{Form, query};
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::Uri;
use std::sync::Arc;

const HREF: &str = "/inventory";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show).post(create))
        .route("/inventory/{va}", get(virtual_account))
        .route("/inventory/{va}/tokens", post(create_token))
        .route("/inventory/{va}/rename", post(rename))
        .route("/inventory/{va}/delete", get(confirm_delete).post(delete))
        .route("/inventory/{va}/tokens/{token}/revoke", get(confirm_revoke).post(revoke))
        .route("/inventory/{va}/tokens/{token}/show", post(reveal))
}

struct Row {
    id: u64,
    account: String,
    name: String,
    default: bool,
    instances: u64,
    licenses: usize,
    short: usize,
    tokens: usize,
}

impl Row {
    fn of(state: &State, account: &Account, va: &VirtualAccount) -> Self {
        Self {
            id: va.id.0,
            account: account.name.clone(),
            name: va.name.clone(),
            default: va.id == account.default_va,
            instances: va.instances,
            licenses: state.pools(va.id).count(),
            short: state.pools(va.id).filter(|pool| pool.balance() < 0).count(),
            tokens: state.tokens(va.id).filter(|token| usable(token, state)).count(),
        }
    }
}

/// Whether a product could register with it now.
fn usable(token: &Token, state: &State) -> bool {
    !token.revoked && state.now() < token.expires && (token.max_uses == 0 || token.uses < token.max_uses)
}

#[derive(Template)]
#[template(path = "inventory.html")]
struct InventoryPage {
    shell: Shell,
    rows: Vec<Row>,
    /// Accounts in which this person may make a virtual account.
    accounts: Vec<String>,
    entered: Entered,
}

async fn inventory(app: &App, viewer: &Viewer, uri: &Uri, entered: Entered) -> Response {
    let state = app.state();
    let may = |a: &&Account| viewer.may(Action::ManageVirtualAccounts, Place::Account(a.id), &state);
    let template = InventoryPage {
        shell: Shell::new(&state, viewer, HREF, "Inventory").noting(uri),
        rows: viewer.virtual_accounts(&state).into_iter().map(|(account, va)| Row::of(&state, account, va)).collect(),
        accounts: viewer.accounts(&state).into_iter().filter(may).map(|a| a.name.clone()).collect(),
        entered,
    };
    page(template.entered.status(), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    inventory(&app, &viewer, &uri, Entered::default()).await
}

async fn create(Of(app): Of<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let named = VirtualAccountRef {
        account: form.get("account").to_string(),
        virtual_account: form.get("name").trim().to_owned(),
    };
    let made = async {
        let state = app.state();
        let account = state.account_by_name(&named.account).map_or(Place::Server, |a| Place::Account(a.id));
        viewer.require(Action::ManageVirtualAccounts, account, &state)?;
        called(VirtualAccounts::create(&app.context.service, viewer.ask(&form, named)).await)
    };
    match made.await {
        Ok(_) => Done::VirtualAccountCreated.at(HREF),
        Err(error) => inventory(&app, &viewer, &uri, Entered::refused(form, error)).await,
    }
}

struct TokenRow {
    id: u64,
    description: String,
    status: Badge,
    usable: bool,
    created: Time,
    created_by: String,
    expires: Time,
    uses: u64,
    max_uses: u64,
    export_controlled: bool,
}

impl TokenRow {
    fn of(token: &Token, state: &State) -> Self {
        let status = if token.revoked {
            Badge(Tone::Plain, "Revoked")
        } else if state.now() >= token.expires {
            Badge(Tone::Plain, "Expired")
        } else if !usable(token, state) {
            Badge(Tone::Plain, "Exhausted")
        } else {
            Badge(Tone::Good, "Active")
        };
        Self {
            id: token.id.0,
            description: token.description.clone(),
            status,
            usable: usable(token, state),
            created: Time(token.created),
            created_by: token.created_by.clone(),
            expires: Time(token.expires),
            uses: token.uses,
            max_uses: token.max_uses,
            export_controlled: token.export_controlled,
        }
    }
}

#[derive(Template)]
#[template(path = "virtual_account.html")]
struct VirtualAccountPage {
    shell: Shell,
    row: Row,
    upstream: String,
    created: Time,
    tokens: Vec<TokenRow>,
    /// A token in clear, shown because it was just made or asked for.
    shown: Option<String>,
    days: u64,
    max_days: u64,
    may_tokens: bool,
    may_manage: bool,
    entered: Entered,
}

async fn page_of(app: &App, viewer: &Viewer, uri: &Uri, id: u64, shown: Option<String>, entered: Entered) -> Response {
    let state = app.state();
    let (account, va) = match find(&state, viewer, id, Action::Look) {
        Ok(found) => found,
        Err(error) => return failed(app, viewer, error, HREF, HREF),
    };
    // The newest first.
    let mut tokens: Vec<_> = state.tokens(va.id).map(|token| TokenRow::of(token, &state)).collect();
    tokens.reverse();
    let template = VirtualAccountPage {
        shell: Shell::new(&state, viewer, HREF, "Virtual Account").noting(uri),
        row: Row::of(&state, account, va),
        upstream: format!("{} / {}", account.smart_account, account.virtual_account),
        created: Time(va.created),
        tokens,
        shown,
        days: TOKEN_DAYS,
        max_days: MAX_TOKEN_DAYS,
        may_tokens: viewer.may(Action::ManageTokens, Place::VirtualAccount(va.id), &state),
        may_manage: viewer.may(Action::ManageVirtualAccounts, Place::VirtualAccount(va.id), &state),
        entered,
    };
    page(template.entered.status(), &template)
}

async fn virtual_account(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<u64>,
    uri: Uri,
) -> Response {
    page_of(&app, &viewer, &uri, id, None, Entered::default()).await
}

fn find<'a>(
    state: &'a State,
    viewer: &Viewer,
    id: u64,
    action: Action,
) -> Result<(&'a Account, &'a VirtualAccount), AdminError> {
    let place = Place::VirtualAccount(VirtualAccountId(id));
    let va = state.virtual_account(VirtualAccountId(id)).filter(|_| viewer.may(Action::Look, place, state));
    let account = va.and_then(|va| state.account(va.account));
    let found =
        account.zip(va).ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such virtual account here"))?;
    viewer.require(action, place, state)?;
    Ok(found)
}

fn named(account: &Account, va: &VirtualAccount) -> Option<VirtualAccountRef> {
    Some(VirtualAccountRef { account: format!("#{}", account.id), virtual_account: format!("#{}", va.id) })
}

async fn create_token(
    Of(app): Of<Arc<App>>,
    Path(id): Path<u64>,
    uri: Uri,
    Posted { viewer, form }: Posted,
) -> Response {
    match make_token(&app, &viewer, id, &form).await {
        // Shown at once, not by another address: the token is in no log and no history.
        Ok(made) => page_of(&app, &viewer, &uri, id, Some(made.token), Entered::default()).await,
        Err(error) => page_of(&app, &viewer, &uri, id, None, Entered::refused(form, error)).await,
    }
}

async fn make_token(app: &App, viewer: &Viewer, id: u64, form: &Form) -> Result<CreateTokenReply, AdminError> {
    let state = app.state();
    let (account, va) = find(&state, viewer, id, Action::ManageTokens)?;
    let asked = CreateTokenRequest {
        virtual_account: named(account, va),
        description: form.get("description").trim().to_owned(),
        expires_days: form.number("days", "the number of days")?.unwrap_or_default(),
        max_uses: form.number("uses", "the number of uses")?.unwrap_or_default(),
        export_controlled: form.get("export").as_str() == "yes",
    };
    called(Tokens::create(&app.context.service, viewer.ask(form, asked)).await)
}

async fn reveal(
    Of(app): Of<Arc<App>>,
    Path((id, token)): Path<(u64, u64)>,
    uri: Uri,
    Posted { viewer, form }: Posted,
) -> Response {
    let text = async {
        let state = app.state();
        let (account, va) = find(&state, &viewer, id, Action::ManageTokens)?;
        let asked = ListTokensRequest { virtual_account: named(account, va), reveal: true };
        let list = called(Tokens::list(&app.context.service, viewer.ask(&form, asked)).await)?;
        let found = list.tokens.into_iter().find(|t| t.id == token);
        found.map(|t| t.token).ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such token here"))
    };
    match text.await {
        Ok(text) => page_of(&app, &viewer, &uri, id, Some(text), Entered::default()).await,
        Err(error) => failed(&app, &viewer, error, HREF, &format!("/inventory/{id}")),
    }
}

async fn confirm_revoke(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path((id, token)): Path<(u64, u64)>,
) -> Response {
    let state = app.state();
    let back = format!("/inventory/{id}");
    if let Err(error) = token_of(&state, &viewer, id, token) {
        return failed(&app, &viewer, error, HREF, &back);
    }
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, "Revoke token"),
        says: vec![
            "No product can register with it any more.".into(),
            "Products that have registered with it stay registered.".into(),
        ],
        button: "Revoke",
        reason: None,
        fields: Vec::new(),
        back,
    }
    .page()
}

fn token_of<'a>(state: &'a State, viewer: &Viewer, id: u64, token: u64) -> Result<&'a Token, AdminError> {
    find(state, viewer, id, Action::ManageTokens)?;
    let token = state.token(TokenId(token)).filter(|token| token.va.0 == id);
    token.ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such token here"))
}

async fn revoke(
    Of(app): Of<Arc<App>>,
    Path((id, token)): Path<(u64, u64)>,
    Posted { viewer, form }: Posted,
) -> Response {
    let back = format!("/inventory/{id}");
    let result = async {
        token_of(&app.state(), &viewer, id, token)?;
        called(Tokens::revoke(&app.context.service, viewer.ask(&form, RevokeTokenRequest { id: token })).await)
    };
    match result.await {
        Ok(_) => Done::TokenRevoked.at(&back),
        Err(error) => failed(&app, &viewer, error, HREF, &back),
    }
}

async fn rename(Of(app): Of<Arc<App>>, Path(id): Path<u64>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        let state = app.state();
        let (account, va) = find(&state, &viewer, id, Action::ManageVirtualAccounts)?;
        let name = form.get("name").trim().to_owned();
        let asked = RenameVirtualAccountRequest { virtual_account: named(account, va), name };
        called(VirtualAccounts::rename(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => Done::VirtualAccountRenamed.at(&format!("/inventory/{id}")),
        Err(error) => page_of(&app, &viewer, &uri, id, None, Entered::refused(form, error)).await,
    }
}

async fn confirm_delete(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, Path(id): Path<u64>) -> Response {
    let state = app.state();
    let (account, va) = match find(&state, &viewer, id, Action::ManageVirtualAccounts) {
        Ok(found) => found,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, "Delete virtual account"),
        says: vec![
            format!("Virtual account {} of {} is deleted with its tokens.", va.name, account.name),
            "It must have no product instances and no purchased licenses, and not be the default.".into(),
        ],
        button: "Delete",
        reason: None,
        fields: Vec::new(),
        back: format!("/inventory/{id}"),
    }
    .page()
}

async fn delete(Of(app): Of<Arc<App>>, Path(id): Path<u64>, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        let state = app.state();
        let (account, va) = find(&state, &viewer, id, Action::ManageVirtualAccounts)?;
        let asked = named(account, va).unwrap_or_default();
        called(VirtualAccounts::delete(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => Done::VirtualAccountDeleted.at(HREF),
        Err(error) => failed(&app, &viewer, error, HREF, &format!("/inventory/{id}")),
    }
}

/// What a list may be cut to, accounts and virtual accounts by their numbers, and the virtual accounts that are asked for;
/// None: all.
pub fn filter(state: &State, viewer: &Viewer, uri: &Uri) -> (Vec<(u64, String)>, Option<Vec<VirtualAccountId>>) {
    let wanted: Option<u64> = query(uri, "va").parse().ok();
    let (mut choices, mut cut) = (Vec::new(), Vec::new());
    let mut last = None;
    for (account, va) in viewer.virtual_accounts(state) {
        if last.replace(account.id) != Some(account.id) {
            choices.push((account.id.0, format!("{} (all)", account.name)));
        }
        choices.push((va.id.0, format!("{} / {}", account.name, va.name)));
        // No virtual account has the number of an account.
        if wanted == Some(va.id.0) || wanted == Some(account.id.0) {
            cut.push(va.id);
        }
    }
    (choices, (!cut.is_empty()).then_some(cut))
}
