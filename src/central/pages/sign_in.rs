//! Signing in and out, and changing one's own password.

use super::guard::viewer;
use super::{App, Viewer};
use crate::central::admin::{AdminRequest, Caller};
use crate::central::records::UserRecord;
use crate::license::{MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES};
use crate::web::form::{Form, local_path, query};
use crate::web::shield::{no_session_cookie, session_cookie};
use crate::web::sign_in::{Failure, SignInPage, WRONG, check_new, source, unreadable};
use crate::web::view::{Shell, page, see_other};
use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

pub async fn form(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let next = query(&uri, "next");
    match viewer(&app, &headers).await {
        Ok(Some(_)) => see_other(local_path(&next)),
        Ok(None) => page(StatusCode::OK, &SignInPage::new(&next, "", None)),
        Err(page) => page,
    }
}

pub async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Response {
    let source = source(request.extensions());
    let form = match Form::read(request.into_body()).await {
        Ok(form) => form,
        Err(status) => return unreadable(status),
    };
    let (name, next) = (form.get("name").to_string(), form.get("next").to_string());
    match check(&app, source, &name, form.get("password"), WRONG).await {
        Err(failure) => failure.answer(&SignInPage::new(&next, &name, Some(&failure))),
        Ok(user) => {
            tracing::info!(user = user.name, %source, "signed in");
            with_session(&app, &user, source, local_path(&next))
        }
    }
}

/// Ends the session, here and in the browser.
pub async fn sign_out(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    app.sessions.end(&viewer.token);
    (StatusCode::SEE_OTHER, [(LOCATION, "/sign-in".to_owned()), (SET_COOKIE, no_session_cookie())]).into_response()
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    shell: Shell,
    must_change: bool,
    /// Central knows none.
    second_factor: Option<bool>,
    shortest: u64,
    longest: u64,
    /// Not counted here: a new password ends them all.
    elsewhere: usize,
    error: Option<String>,
}

impl PasswordPage {
    fn new(viewer: &Viewer, error: Option<String>) -> Self {
        let shell = viewer.shell("/password", "Change password");
        let (shortest, longest) = (MIN_PASSWORD_BYTES, MAX_PASSWORD_BYTES);
        let must_change = viewer.user.must_change;
        Self { shell, must_change, second_factor: None, shortest, longest, elsewhere: 0, error }
    }
}

pub async fn password_form(Extension(viewer): Extension<Viewer>) -> Response {
    page(StatusCode::OK, &PasswordPage::new(&viewer, None))
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
    match replace_password(&app, &viewer, source, &form).await {
        Ok(()) => {
            tracing::info!(user = viewer.user.name, %source, "password changed");
            with_session(&app, &viewer.user, source, "/")
        }
        Err(failure) => failure.answer(&PasswordPage::new(&viewer, Some(failure.to_string()))),
    }
}

/// All sessions of this user end with the old password.
async fn replace_password(app: &App, viewer: &Viewer, source: IpAddr, form: &Form) -> Result<(), Failure> {
    let (current, new, repeated) = (form.get("current"), form.get("new"), form.get("repeated"));
    let name = &viewer.user.name;
    check_new(&current, &new, &repeated).map_err(Failure::Invalid)?;
    check(app, source, name, current, "The current password is wrong.").await?;
    let password_hash = app.door.passwords.hash(name, new, MIN_PASSWORD_BYTES).await?;
    let request = AdminRequest::SetPassword { name: name.clone(), password_hash, must_change: false };
    // Nobody needs to be an operator to set their own one.
    let changed = app.shared.admin(Caller::operator(name), request).await;
    changed
        .map(drop)
        .map_err(|problem| Failure::Unavailable(format!("The password was not changed: {}.", problem.detail)))
}

/// The user, if this is their password.
async fn check(
    app: &App,
    source: IpAddr,
    name: &str,
    password: Zeroizing<String>,
    wrong: &'static str,
) -> Result<UserRecord, Failure> {
    let asked = name.to_owned();
    let found = app.shared.run(move |service| service.user(&asked)).await;
    let user =
        found.map_err(|problem| Failure::Unavailable(format!("The user was not found out: {}.", problem.detail)))?;
    app.door.check(source, name, password, user.as_ref().map(|u| u.password_hash.clone()), wrong).await?;
    user.ok_or(Failure::Wrong(wrong))
}

/// Leads to `path` under a fresh session.
fn with_session(app: &App, user: &UserRecord, source: IpAddr, path: &str) -> Response {
    let cookie = session_cookie(&app.sessions.begin(&user.name, source));
    (StatusCode::SEE_OTHER, [(LOCATION, path.to_owned()), (SET_COOKIE, cookie)]).into_response()
}
