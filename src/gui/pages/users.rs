//! People who may sign in, their roles and their browsers.

use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Entered, Posted, called, failed};
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, page};
use crate::license::{Action, Place, Role, State, User};
use crate::pki::random;
use crate::proto::admin::users_server::Users;
use crate::proto::admin::{
    CreateUserRequest, SetDisabledRequest, SetPasswordRequest, SetRoleRequest, UserRef, UserRole, VirtualAccountRef,
};
use crate::web::form::Form;
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use std::sync::Arc;

const HREF: &str = "/users";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show).post(create))
        .route("/users/{name}", get(user).post(set_role))
        .route("/users/{name}/{verb}", get(confirm).post(change))
}

struct Row {
    name: String,
    role: &'static str,
    places: String,
    status: Badge,
    created: Time,
    password_changed: Time,
    second_factor: bool,
    sessions: usize,
}

impl Row {
    fn of(app: &App, state: &State, user: &User) -> Self {
        let accounts = user.accounts.iter().filter_map(|id| state.account(*id)).map(|a| a.name.clone());
        let vas = user.virtual_accounts.iter().filter_map(|id| state.virtual_account(*id));
        let vas = vas.map(|va| format!("{}/{}", state.account(va.account).map_or("", |a| &a.name), va.name));
        let now = (app.context.clock)().max(state.now());
        Self {
            name: user.name.clone(),
            role: user.role.as_str(),
            places: accounts.chain(vas).collect::<Vec<_>>().join(", "),
            status: match (user.disabled, user.must_change) {
                (true, _) => Badge(Tone::Plain, "Disabled"),
                (false, true) => Badge(Tone::Warn, "Must change password"),
                (false, false) => Badge(Tone::Good, "Active"),
            },
            created: Time(user.created),
            password_changed: Time(user.password_changed),
            second_factor: user.totp.as_ref().is_some_and(|totp| totp.confirmed),
            sessions: state.sessions_of(&user.name, now).count(),
        }
    }
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    shell: Shell,
    rows: Vec<Row>,
    /// Each role, and whether it is chosen.
    roles: Vec<(&'static str, bool)>,
    places: Vec<String>,
    /// The name and the password of somebody who was just made.
    made: Option<(String, String)>,
    entered: Entered,
}

fn roles(chosen: Role) -> Vec<(&'static str, bool)> {
    Role::ALL.iter().map(|role| (role.as_str(), *role == chosen)).collect()
}

/// What a role may be for: accounts by name, virtual accounts as `account/name`.
fn places(state: &State) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for account in state.accounts() {
        places.push(account.name.clone());
        places.extend(state.virtual_accounts(account.id).map(|va| format!("{}/{}", account.name, va.name)));
    }
    places.sort();
    places
}

async fn page_of(app: &App, viewer: &Viewer, uri: &Uri, made: Option<(String, String)>, entered: Entered) -> Response {
    let state = app.state();
    let template = UsersPage {
        shell: Shell::new(&state, viewer, HREF, "Users").noting(uri).beside(&Aside::of(app, viewer, &state).await),
        rows: state.users().map(|user| Row::of(app, &state, user)).collect(),
        roles: roles(Role::ReadOnly),
        places: places(&state),
        made,
        entered,
    };
    page(template.entered.status(), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    page_of(&app, &viewer, &uri, None, Entered::default()).await
}

/// The role that a form names, with its places.
fn role(form: &Form) -> UserRole {
    let (mut accounts, mut virtual_accounts) = (Vec::new(), Vec::new());
    let role = form.get("role").to_string();
    for place in form.all("place") {
        match place.split_once('/') {
            Some((account, va)) if role == Role::VirtualAccountAdministrator.as_str() => {
                virtual_accounts.push(VirtualAccountRef { account: account.to_owned(), virtual_account: va.to_owned() })
            }
            None if role == Role::LocalAccountAdministrator.as_str() => accounts.push(place),
            // Ticked for another role.
            _ => {}
        }
    }
    UserRole { role, accounts, virtual_accounts }
}

async fn create(Of(app): Of<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let (name, password) = (form.get("name").trim().to_owned(), random::token());
    let result = async {
        viewer.require(Action::ManageUsers, Place::Server, &app.state())?;
        let asked = CreateUserRequest {
            name: name.clone(),
            role: Some(role(&form)),
            password: password.clone(),
            must_change: true,
        };
        called(Users::create(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => page_of(&app, &viewer, &uri, Some((name, password)), Entered::default()).await,
        Err(error) => page_of(&app, &viewer, &uri, None, Entered::refused(form, error)).await,
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    shell: Shell,
    row: Row,
    disabled: bool,
    own: bool,
    /// Each role, and whether it is chosen.
    roles: Vec<(&'static str, bool)>,
    /// Whether each is this user's.
    places: Vec<(String, bool)>,
    sessions: Vec<(String, Time, Time)>,
    /// A password that was just made.
    made: Option<String>,
    entered: Entered,
}

async fn user_page(
    app: &App,
    viewer: &Viewer,
    uri: &Uri,
    name: &str,
    made: Option<String>,
    entered: Entered,
) -> Response {
    let state = app.state();
    let user = match find(&state, viewer, name) {
        Ok(user) => user,
        Err(error) => return failed(app, viewer, error, HREF, HREF),
    };
    let now = (app.context.clock)().max(state.now());
    let row = Row::of(app, &state, user);
    let own: Vec<&str> = row.places.split(", ").collect();
    let places = places(&state).into_iter().map(|place| (own.contains(&place.as_str()), place));
    let template = UserPage {
        shell: Shell::new(&state, viewer, HREF, "User").noting(uri).beside(&Aside::of(app, viewer, &state).await),
        places: places.map(|(own, place)| (place, own)).collect(),
        row,
        disabled: user.disabled,
        own: user.name == viewer.user.name,
        roles: roles(user.role),
        sessions: state.sessions_of(&user.name, now).map(|s| (s.source.clone(), Time(s.begun), Time(s.used))).collect(),
        made,
        entered,
    };
    page(template.entered.status(), &template)
}

fn find<'a>(state: &'a State, viewer: &Viewer, name: &str) -> Result<&'a User, AdminError> {
    viewer.require(Action::ManageUsers, Place::Server, state)?;
    state.user(name).ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such user"))
}

async fn user(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response {
    user_page(&app, &viewer, &uri, &name, None, Entered::default()).await
}

async fn set_role(
    Of(app): Of<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    Posted { viewer, form }: Posted,
) -> Response {
    let result = async {
        find(&app.state(), &viewer, &name)?;
        let asked = SetRoleRequest { name: name.clone(), role: Some(role(&form)) };
        called(Users::set_role(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => Done::UserChanged.at(HREF),
        Err(error) => user_page(&app, &viewer, &uri, &name, None, Entered::refused(form, error)).await,
    }
}

/// What can be done to a user, with the words for it.
fn verb(word: &str, name: &str) -> Option<(&'static str, &'static str, Vec<String>)> {
    Some(match word {
        "password" => (
            "Make a new password",
            "Make password",
            vec![
                format!("{name} gets a password that is made and shown once, and must change it at the next sign-in."),
                "All sessions of this user end.".into(),
            ],
        ),
        "second-factor" => (
            "Remove the second factor",
            "Remove",
            vec![
                format!("{name} signs in with the password alone, until another authenticator is set up."),
                "All sessions of this user end. Be sure that it is this person who asks.".into(),
            ],
        ),
        "disable" => (
            "Disable user",
            "Disable",
            vec![format!(
                "{name} cannot sign in any more, and open pages end at once. The last system administrator stays."
            )],
        ),
        "enable" => ("Enable user", "Enable", vec![format!("{name} can sign in again, with the password as it was.")]),
        "delete" => ("Delete user", "Delete", vec![format!("{name} is deleted, and open pages end at once.")]),
        _ => return None,
    })
}

async fn confirm(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path((name, word)): Path<(String, String)>,
) -> Response {
    let state = app.state();
    let Some((title, button, says)) = verb(&word, &name) else { return super::not_found().await };
    if let Err(error) = find(&state, &viewer, &name) {
        return failed(&app, &viewer, error, HREF, HREF);
    }
    let shell = Shell::new(&state, &viewer, HREF, title);
    Confirm { shell, says, button, reason: None, fields: Vec::new(), back: HREF.into() }.page()
}

async fn change(
    Of(app): Of<Arc<App>>,
    Path((name, word)): Path<(String, String)>,
    uri: Uri,
    Posted { viewer, form }: Posted,
) -> Response {
    let password = random::token();
    let result = async {
        find(&app.state(), &viewer, &name)?;
        if word == "second-factor" && name == viewer.user.name {
            return Err(AdminError::new(Kind::Denied, "your own second factor is not removed here")
                .hint("remove it on the page Two-factor authentication, with its code"));
        }
        let service = &app.context.service;
        let result = match word.as_str() {
            "password" => {
                let (name, password) = (name.clone(), password.clone());
                Users::set_password(
                    service,
                    viewer.ask(&form, SetPasswordRequest { name, password, must_change: true }),
                )
                .await
            }
            "disable" | "enable" => {
                let asked = SetDisabledRequest { name: name.clone(), disabled: word == "disable" };
                Users::set_disabled(service, viewer.ask(&form, asked)).await
            }
            "second-factor" => Users::reset_totp(service, viewer.ask(&form, UserRef { name: name.clone() })).await,
            "delete" => Users::delete(service, viewer.ask(&form, UserRef { name: name.clone() })).await,
            _ => return Err(AdminError::new(Kind::NotFound, "there is no such change of a user")),
        };
        called(result)
    };
    match (result.await, word.as_str()) {
        (Ok(_), "password") => user_page(&app, &viewer, &uri, &name, Some(password), Entered::default()).await,
        (Ok(_), "delete") => Done::UserDeleted.at(HREF),
        (Ok(_), _) => Done::UserChanged.at(HREF),
        (Err(error), _) => failed(&app, &viewer, error, HREF, HREF),
    }
}
