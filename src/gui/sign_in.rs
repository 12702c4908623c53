//! Signing in and out, and changing one's own password.

use super::App;
use super::act::Done;
use super::guard::viewer;
use super::nav::Nav;
use super::pages;
use super::view::{Shell, Viewer, page, see_other};
use crate::license::{Command, MAX_PASSWORD_BYTES, Outcome, Totp, User, UserChange};
use crate::pki::random;
use crate::pki::totp::Seed;
use crate::raft::ProposeError;
use crate::web::assets::Assets;
use crate::web::form::{Form, local_path, query};
use crate::web::shield::{no_session_cookie, session_cookie};
use crate::web::sign_in::{Failure, SignInPage, WRONG, check_new, source, unreadable};
use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode, Uri};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// After the password, where a second factor is in force.
#[derive(Template)]
#[template(path = "code.html")]
struct CodePage {
    assets: Assets,
    next: String,
    ticket: String,
    error: Option<String>,
}

pub async fn form(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let next = query(&uri, "next");
    if let Some(viewer) = viewer(&app, &headers, true) {
        return see_other(way(&app, &viewer.user, &next));
    }
    page(StatusCode::OK, &sign_in_page(&app, &next, "", None))
}

fn sign_in_page(app: &App, next: &str, name: &str, error: Option<&Failure>) -> SignInPage {
    SignInPage::new(next, name, error).saying(&app.state().settings().message_of_the_day)
}

pub async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Response {
    let source = source(request.extensions());
    let form = match Form::read(request.into_body()).await {
        Ok(form) => form,
        Err(status) => return unreadable(status),
    };
    if !form.get("ticket").is_empty() {
        return second_step(&app, source, &form).await;
    }
    let (name, next) = (form.get("name").to_string(), form.get("next").to_string());
    let refused = |failure: Failure| failure.answer(&sign_in_page(&app, &next, &name, Some(&failure)));
    match check(&app, source, &name, form.get("password"), WRONG).await {
        Err(failure) => refused(failure),
        Ok(user) if in_force(&user).is_some() => {
            let ticket = app.tickets.give(&user, Instant::now());
            page(StatusCode::OK, &CodePage { assets: Assets, next, ticket, error: None })
        }
        Ok(user) => {
            tracing::info!(user = user.name, %source, "signed in");
            with_session(&app, &user, source, way(&app, &user, &next)).await.unwrap_or_else(refused)
        }
    }
}

/// Where somebody comes who signs in: to the page that was asked for, or where they like to begin.
fn way<'a>(app: &App, user: &User, next: &'a str) -> &'a str {
    match local_path(next) {
        "/" => {
            let viewer = Viewer { user: user.clone(), token: String::new(), retired: app.context.retired };
            Nav::start(&app.state(), &viewer, user.preferences.start)
        }
        path => path,
    }
}

/// After the password: the code.
async fn second_step(app: &App, source: IpAddr, form: &Form) -> Response {
    let (ticket, next) = (form.get("ticket").to_string(), form.get("next").to_string());
    let signed_in = async {
        let user = check_code(app, source, &ticket, &form.get("code")).await?;
        app.tickets.used(&ticket);
        tracing::info!(user = user.name, %source, "signed in with a code");
        with_session(app, &user, source, way(app, &user, &next)).await
    };
    signed_in.await.unwrap_or_else(|failure| {
        let (error, next) = (Some(failure.to_string()), next.clone());
        match failure {
            Failure::Late => failure.answer(&sign_in_page(app, &next, "", Some(&failure))),
            _ => failure.answer(&CodePage { assets: Assets, next, ticket: ticket.clone(), error }),
        }
    })
}

/// The user whose ticket it is, once this code is theirs and was used by nobody.
async fn check_code(app: &App, source: IpAddr, ticket: &str, code: &str) -> Result<User, Failure> {
    let state = app.context.ledger.state();
    let (name, hash) = app.tickets.user(ticket, Instant::now()).ok_or(Failure::Late)?;
    let same = |user: &&User| user.password_hash == hash && !user.disabled;
    let user = state.user(&name).filter(same).cloned().ok_or(Failure::Late)?;
    let totp = in_force(&user).ok_or(Failure::Late)?;
    use_code(app, source, &name, totp, code).await?;
    Ok(user)
}

/// Takes a code of the second factor of the user `name`, which then serves nobody again.
pub(super) async fn use_code(app: &App, source: IpAddr, name: &str, totp: &Totp, code: &str) -> Result<(), Failure> {
    app.door.try_code(source, name)?;
    let sealer = (app.context.sealer)().ok_or_else(|| {
        Failure::Unavailable("This node has no keys any more and can check no code; ask the active node.".into())
    })?;
    let seed = Seed::open(&sealer, &totp.seed).map_err(|error| {
        tracing::error!(user = name, %error, "a second factor cannot be opened");
        Failure::Unavailable("The code could not be checked; the node's log says why.".into())
    })?;
    let Some(step) = seed.step(code.trim(), (app.context.clock)()) else {
        tracing::warn!(user = name, %source, "a wrong code was given");
        return Err(Failure::Wrong("The code is wrong. Look whether the clock of your device is right."));
    };
    match app
        .context
        .ledger
        .propose(random::u128(), name, Command::UseTotp { name: name.to_owned(), id: totp.id, step })
        .await
    {
        Ok(Outcome::Refused(refusal)) => return Err(Failure::Invalid(refusal.message)),
        Ok(_) => {}
        Err(error) => {
            return Err(Failure::Unavailable(format!("The sign-in could not be recorded: {error}. Try again.")));
        }
    }
    app.door.code_was_right(source, name);
    Ok(())
}

/// The second factor that is asked for.
pub(super) fn in_force(user: &User) -> Option<&Totp> {
    user.totp.as_ref().filter(|totp| totp.confirmed)
}

/// Ends all sessions of this user, here and in the browser.
pub async fn sign_out_everywhere(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let ended = app.sessions.end_all(&viewer.user.name).await;
    signed_out(&viewer, ended)
}

/// Ends the session, here and in the browser.
pub async fn sign_out(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let ended = app.sessions.end(&viewer.token, &viewer.user.name).await;
    signed_out(&viewer, ended)
}

fn signed_out(viewer: &Viewer, ended: Result<(), ProposeError>) -> Response {
    if let Err(error) = ended {
        tracing::warn!(user = viewer.user.name, %error, "a session could not be ended");
        let text = "The change could not be recorded. Go back and sign out again.";
        return pages::problem(StatusCode::SERVICE_UNAVAILABLE, "You are still signed in", text);
    }
    (StatusCode::SEE_OTHER, [(LOCATION, "/sign-in".to_owned()), (SET_COOKIE, no_session_cookie())]).into_response()
}

/// Ends all other sessions of this person.
pub async fn sign_out_elsewhere(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let ended = app.sessions.end_others(&viewer.token, &viewer.user.name).await;
    match ended {
        Ok(()) => Done::SessionsEnded.at("/password"),
        Err(error) => {
            tracing::warn!(user = viewer.user.name, %error, "sessions could not be ended");
            let text = "The change could not be recorded. Go back and try again.";
            pages::problem(StatusCode::SERVICE_UNAVAILABLE, "You may still be signed in elsewhere", text)
        }
    }
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    shell: Shell,
    must_change: bool,
    /// Whether a code is asked for, too; None where nothing is said of it.
    second_factor: Option<bool>,
    shortest: u64,
    longest: u64,
    /// Other browsers of this person.
    elsewhere: usize,
    error: Option<String>,
}

impl PasswordPage {
    fn new(app: &App, viewer: &Viewer, error: Option<String>) -> Self {
        let state = app.context.ledger.state();
        let shell = Shell::new(&state, viewer, "/password", "Change password");
        let (shortest, longest) = (state.settings().min_password_bytes, MAX_PASSWORD_BYTES);
        let now = (app.context.clock)().max(state.now());
        let elsewhere = state.sessions_of(&viewer.user.name, now).count().saturating_sub(1);
        let must_change = viewer.user.must_change;
        let second_factor = (!must_change).then(|| in_force(&viewer.user).is_some());
        Self { shell, must_change, second_factor, shortest, longest, elsewhere, error }
    }
}

pub async fn password_form(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let mut template = PasswordPage::new(&app, &viewer, None);
    template.shell = template.shell.noting(&uri);
    page(StatusCode::OK, &template)
}

pub async fn change_password(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    request: Request,
) -> Response {
    let source = source(request.extensions());
    let form = match Form::read(request.into_body()).await {
        Ok(form) => form,
        Err(status) => return unreadable(status),
    };
    let changed = async {
        let user = replace_password(&app, &viewer, source, &form).await?;
        tracing::info!(user = user.name, %source, "password changed");
        with_session(&app, &user, source, "/").await
    };
    changed.await.unwrap_or_else(|failure| {
        let error = Some(failure.to_string());
        failure.answer(&PasswordPage::new(&app, &viewer, error))
    })
}

/// Commits the new password. All sessions of this user end with the old one.
async fn replace_password(app: &App, viewer: &Viewer, source: IpAddr, form: &Form) -> Result<User, Failure> {
    let (current, new, repeated) = (form.get("current"), form.get("new"), form.get("repeated"));
    let name = &viewer.user.name;
    check_new(&current, &new, &repeated).map_err(Failure::Invalid)?;
    let user = check(app, source, name, current, "The current password is wrong.").await?;
    let shortest = app.context.ledger.state().settings().min_password_bytes;
    let hash = app.door.passwords.hash(name, new, shortest).await?;
    let change = UserChange::Password { hash, must_change: false };
    match app.context.ledger.propose(random::u128(), name, Command::ChangeUser { name: name.clone(), change }).await {
        Ok(Outcome::Refused(refusal)) => Err(Failure::Invalid(refusal.message)),
        Ok(_) => Ok(user),
        Err(error) => Err(Failure::Unavailable(format!("The password may not have been changed: {error}."))),
    }
}

/// The user, if this is their password.
pub(super) async fn check(
    app: &App,
    source: IpAddr,
    name: &str,
    password: Zeroizing<String>,
    wrong: &'static str,
) -> Result<User, Failure> {
    let user = app.context.ledger.state().user(name).cloned();
    app.door.check(source, name, password, user.as_ref().map(|u| u.password_hash.clone()), wrong).await?;
    match user {
        Some(user) if user.disabled => Err(Failure::Wrong("This user is disabled; ask an administrator.")),
        Some(user) => Ok(user),
        None => Err(Failure::Wrong(wrong)),
    }
}

/// Leads to `path` under a fresh session.
pub(super) async fn with_session(app: &App, user: &User, source: IpAddr, path: &str) -> Result<Response, Failure> {
    let token = app.sessions.begin(user, source).await.map_err(|error| {
        tracing::warn!(user = user.name, %error, "a session could not be begun");
        Failure::Unavailable(format!("The sign-in could not be recorded: {error}. Try again."))
    })?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, path.to_owned()), (SET_COOKIE, session_cookie(&token))]).into_response())
}
