//! Signing in and out, and changing one's own password.

use super::App;
use super::assets::Assets;
use super::attempts::Secret;
use super::form::{Form, local_path, query};
use super::guard::{COOKIE_NAME, viewer};
use super::pages;
use super::view::{Shell, Viewer, page, see_other};
use crate::license::{Command, MAX_NAME, MAX_PASSWORD_BYTES, Outcome, Totp, User, UserChange};
use crate::pki::passwords::PasswordError;
use crate::pki::random;
use crate::pki::totp::Seed;
use crate::product::listener::Peer;
use crate::raft::ProposeError;
use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{Extensions, HeaderMap, StatusCode, Uri};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// One message for every wrong sign-in: it does not tell whether the user exists.
const WRONG: &str = "The user name or the password is wrong.";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    assets: Assets,
    next: String,
    name: String,
    error: Option<String>,
}

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
    if viewer(&app, &headers, true).is_some() {
        return see_other(local_path(&next));
    }
    page(StatusCode::OK, &SignInPage { assets: Assets, next, name: String::new(), error: None })
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
    let refused = |failure: Failure| {
        let error = Some(failure.to_string());
        let name = if name.len() > MAX_NAME { String::new() } else { name.clone() };
        failure.answer(&SignInPage { assets: Assets, next: next.clone(), name, error })
    };
    match check(&app, source, &name, form.get("password"), WRONG).await {
        Err(failure) => refused(failure),
        Ok(user) if in_force(&user).is_some() => {
            let ticket = app.tickets.give(&user, Instant::now());
            page(StatusCode::OK, &CodePage { assets: Assets, next, ticket, error: None })
        }
        Ok(user) => {
            tracing::info!(user = user.name, %source, "signed in");
            with_session(&app, &user, source, local_path(&next)).await.unwrap_or_else(refused)
        }
    }
}

/// After the password: the code.
async fn second_step(app: &App, source: IpAddr, form: &Form) -> Response {
    let (ticket, next) = (form.get("ticket").to_string(), form.get("next").to_string());
    let signed_in = async {
        let user = check_code(app, source, &ticket, &form.get("code")).await?;
        app.tickets.used(&ticket);
        tracing::info!(user = user.name, %source, "signed in with a code");
        with_session(app, &user, source, local_path(&next)).await
    };
    signed_in.await.unwrap_or_else(|failure| {
        let (error, next) = (Some(failure.to_string()), next.clone());
        match failure {
            Failure::Late => failure.answer(&SignInPage { assets: Assets, next, name: String::new(), error }),
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
    app.attempts.begin(source, &name, Secret::Code, Instant::now()).map_err(Failure::Wait)?;
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
        .propose(random::u128(), &name, Command::UseTotp { name: name.clone(), id: totp.id, step })
        .await
    {
        Ok(Outcome::Refused(refusal)) => return Err(Failure::Invalid(refusal.message)),
        Ok(_) => {}
        Err(error) => {
            return Err(Failure::Unavailable(format!("The sign-in could not be recorded: {error}. Try again.")));
        }
    }
    app.attempts.succeeded(source, &name, Secret::Code);
    Ok(user)
}

/// The second factor that is asked for.
fn in_force(user: &User) -> Option<&Totp> {
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
    let cookie = format!("{COOKIE_NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::SEE_OTHER, [(LOCATION, "/sign-in".to_owned()), (SET_COOKIE, cookie)]).into_response()
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    shell: Shell,
    must_change: bool,
    shortest: u64,
    longest: u64,
    error: Option<String>,
}

impl PasswordPage {
    fn new(app: &App, viewer: &Viewer, error: Option<String>) -> Self {
        let state = app.context.ledger.state();
        let shell = Shell::new(&state, viewer, "/password", "Change password");
        let (shortest, longest) = (state.settings().min_password_bytes, MAX_PASSWORD_BYTES);
        Self { shell, must_change: viewer.user.must_change, shortest, longest, error }
    }
}

pub async fn password_form(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    page(StatusCode::OK, &PasswordPage::new(&app, &viewer, None))
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
    let hash = app.passwords.hash(name, new, shortest).await?;
    let change = UserChange::Password { hash, must_change: false };
    match app.context.ledger.propose(random::u128(), name, Command::ChangeUser { name: name.clone(), change }).await {
        Ok(Outcome::Refused(refusal)) => Err(Failure::Invalid(refusal.message)),
        Ok(_) => Ok(user),
        Err(error) => Err(Failure::Unavailable(format!("The password may not have been changed: {error}."))),
    }
}

fn check_new(current: &str, new: &str, repeated: &str) -> Result<(), String> {
    if new != repeated {
        return Err("The new password and its repetition differ.".into());
    }
    if new == current {
        return Err("The new password must differ from the current one.".into());
    }
    Ok(())
}

/// Why a password was not accepted.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Wrong(&'static str),
    #[error("The sign-in took too long, or the user was changed meanwhile. Begin again.")]
    Late,
    #[error("There were too many failed attempts. Try again in {}.", in_words(.0))]
    Wait(Duration),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unavailable(String),
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Wait(Duration::from_secs(5)),
            PasswordError::Length { .. } | PasswordError::Name => Self::Invalid(sentence(&error.to_string())),
            PasswordError::Failed(_) => {
                tracing::error!(%error, "a password could not be checked");
                Self::Unavailable("The password could not be checked; the node's log says why.".into())
            }
        }
    }
}

impl Failure {
    fn answer(&self, template: &impl Template) -> Response {
        let status = match self {
            Self::Wrong(_) | Self::Late => StatusCode::UNAUTHORIZED,
            Self::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = page(status, template);
        if let Self::Wait(wait) = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        response
    }
}

/// An error's clause as a sentence.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Rounded up, so that one who waits so long does not come too early.
fn seconds(wait: &Duration) -> u64 {
    wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
}

fn in_words(wait: &Duration) -> String {
    match seconds(wait) {
        1 => "1 second".into(),
        n if n < 120 => format!("{n} seconds"),
        n => format!("{} minutes", n.div_ceil(60)),
    }
}

/// The user, if this is their password. An unknown user costs the same work and gets the same answer.
async fn check(
    app: &App,
    source: IpAddr,
    name: &str,
    password: Zeroizing<String>,
    wrong: &'static str,
) -> Result<User, Failure> {
    // Longer ones belong to nobody; cut, so that the table of attempts stays small.
    let name: &str = &name.chars().take(MAX_NAME + 1).collect::<String>();
    app.attempts.begin(source, name, Secret::Password, Instant::now()).map_err(Failure::Wait)?;
    let user = app.context.ledger.state().user(name).cloned();
    let short = password.len() as u64 <= MAX_PASSWORD_BYTES;
    let hash = user.as_ref().filter(|_| short).map(|u| u.password_hash.clone());
    let password = if short { password } else { Zeroizing::default() };
    if !app.passwords.verify(password, hash).await? {
        // Not the name: people type passwords there.
        tracing::warn!(%source, known = user.is_some(), "a wrong password was given");
        return Err(Failure::Wrong(wrong));
    }
    let user = user.ok_or(Failure::Wrong(wrong))?;
    app.attempts.succeeded(source, name, Secret::Password);
    if user.disabled {
        return Err(Failure::Wrong("This user is disabled; ask an administrator."));
    }
    Ok(user)
}

fn source(extensions: &Extensions) -> IpAddr {
    extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// Leads to `path` under a fresh session.
async fn with_session(app: &App, user: &User, source: IpAddr, path: &str) -> Result<Response, Failure> {
    let token = app.sessions.begin(user, source).await.map_err(|error| {
        tracing::warn!(user = user.name, %error, "a session could not be begun");
        Failure::Unavailable(format!("The sign-in could not be recorded: {error}. Try again."))
    })?;
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Strict");
    Ok((StatusCode::SEE_OTHER, [(LOCATION, path.to_owned()), (SET_COOKIE, cookie)]).into_response())
}

fn unreadable(status: StatusCode) -> Response {
    pages::problem(status, "The form could not be read", "Go back and send it again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_must_be_new_and_typed_twice_alike() {
        let check = |new, repeated| check_new("old-secret", new, repeated);
        check("new-secret", "new-secret").unwrap();
        assert!(check("new-secret", "new-secreT").unwrap_err().contains("differ"));
        check("old-secret", "old-secret").unwrap_err();
    }

    #[test]
    fn waits_are_rounded_up() {
        assert!(Failure::Wait(Duration::from_millis(1)).to_string().ends_with("Try again in 1 second."));
        assert_eq!(in_words(&Duration::from_millis(1_001)), "2 seconds");
        assert_eq!(in_words(&Duration::from_secs(121)), "3 minutes");
    }
}
