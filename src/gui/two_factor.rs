//! A person's own second factor: the secret for an authenticator, the code that puts it in force, and its removal. Whoever
//! finds an open browser can change nothing of it: each change asks for the password.

use super::App;
use super::act::{Done, Posted, called};
use super::qr::Qr;
use super::sign_in::{check, in_force, use_code, with_session};
use super::view::{Shell, Viewer, page};
use crate::admin::{AdminError, Kind};
use crate::license::{MAX_PASSWORD_BYTES, User};
use crate::proto::admin::users_server::Users;
use crate::proto::admin::{ConfirmTotpRequest, TotpSecret, UserRef};
use crate::web::sign_in::{Failure, Source, sentence};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;
use zeroize::Zeroizing;

const HREF: &str = "/two-factor";
/// Letters of the secret that are read at once.
const GROUP: usize = 4;

/// How far somebody has come.
#[derive(PartialEq, Eq)]
enum Stage {
    None,
    /// An authenticator may have the secret, and no code has shown it yet.
    Begun,
    InForce,
}

impl Stage {
    fn of(user: &User) -> Self {
        match &user.totp {
            None => Self::None,
            Some(totp) if totp.confirmed => Self::InForce,
            Some(_) => Self::Begun,
        }
    }
}

/// A secret as it is shown this once.
struct Shown {
    /// In groups, as one types it.
    groups: Zeroizing<String>,
    uri: Zeroizing<String>,
    qr: Option<Qr>,
}

impl Shown {
    fn of(TotpSecret { secret, uri }: TotpSecret) -> Self {
        let (secret, uri) = (Zeroizing::new(secret), Zeroizing::new(uri));
        let letters: Vec<char> = secret.chars().collect();
        let groups: Vec<String> = letters.chunks(GROUP).map(String::from_iter).collect();
        Self { groups: Zeroizing::new(groups.join(" ")), qr: Qr::of(&uri), uri }
    }
}

#[derive(Template)]
#[template(path = "two_factor.html")]
struct TwoFactorPage {
    shell: Shell,
    stage: Stage,
    shown: Option<Shown>,
    longest: u64,
    error: Option<String>,
}

impl TwoFactorPage {
    fn new(app: &App, viewer: &Viewer, error: Option<String>) -> Self {
        let state = app.state();
        Self {
            shell: Shell::new(&state, viewer, HREF, "Two-factor authentication"),
            stage: state.user(&viewer.user.name).map_or(Stage::None, Stage::of),
            shown: None,
            longest: MAX_PASSWORD_BYTES,
            error,
        }
    }
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let mut template = TwoFactorPage::new(&app, &viewer, None);
    template.shell = template.shell.noting(&uri);
    page(StatusCode::OK, &template)
}

/// Makes a secret and shows it.
pub async fn enrol(State(app): State<Arc<App>>, Source(source): Source, Posted { viewer, form }: Posted) -> Response {
    let made = async {
        writable(&viewer)?;
        let name = viewer.user.name.clone();
        check(&app, source, &name, form.get("current"), WRONG).await?;
        called(Users::enrol_totp(&app.context.service, viewer.ask(&form, UserRef { name })).await).map_err(failure)
    };
    match made.await {
        Ok(secret) => {
            let template = TwoFactorPage { shown: Some(Shown::of(secret)), ..TwoFactorPage::new(&app, &viewer, None) };
            page(StatusCode::OK, &template)
        }
        Err(failure) => again(&app, &viewer, &failure),
    }
}

/// Puts the second factor in force, which ends the sessions that were begun without it.
pub async fn confirm(State(app): State<Arc<App>>, Source(source): Source, Posted { viewer, form }: Posted) -> Response {
    let confirmed = async {
        writable(&viewer)?;
        let (name, code) = (viewer.user.name.clone(), form.get("code").to_string());
        app.door.try_code(source, &name)?;
        let asked = viewer.ask(&form, ConfirmTotpRequest { name: name.clone(), code });
        called(Users::confirm_totp(&app.context.service, asked).await).map_err(failure)?;
        app.door.code_was_right(source, &name);
        tracing::info!(user = name, %source, "a second factor is in force");
        with_session(&app, &viewer.user, source, &Done::FactorInForce.address(HREF)).await
    };
    confirmed.await.unwrap_or_else(|failure| again(&app, &viewer, &failure))
}

/// Takes the second factor away from whoever has the password and the device.
pub async fn remove(State(app): State<Arc<App>>, Source(source): Source, Posted { viewer, form }: Posted) -> Response {
    let removed = async {
        writable(&viewer)?;
        let user = check(&app, source, &viewer.user.name, form.get("current"), WRONG).await?;
        let totp = in_force(&user).ok_or_else(|| Failure::Invalid("You have no second factor.".into()))?;
        use_code(&app, source, &user.name, totp, &form.get("code")).await?;
        let asked = UserRef { name: user.name.clone() };
        called(Users::reset_totp(&app.context.service, viewer.ask(&form, asked)).await).map_err(failure)?;
        tracing::info!(user = user.name, %source, "a second factor was removed");
        with_session(&app, &user, source, &Done::FactorRemoved.address(HREF)).await
    };
    removed.await.unwrap_or_else(|failure| again(&app, &viewer, &failure))
}

const WRONG: &str = "The password is wrong.";

fn writable(viewer: &Viewer) -> Result<(), Failure> {
    match viewer.retired {
        true => Err(Failure::Unavailable("This node is retired and read-only.".into())),
        false => Ok(()),
    }
}

fn again(app: &App, viewer: &Viewer, failure: &Failure) -> Response {
    failure.answer(&TwoFactorPage::new(app, viewer, Some(failure.to_string())))
}

fn failure(error: AdminError) -> Failure {
    let clauses = [&error.message, &error.why, &error.hint];
    let clauses = clauses.into_iter().filter(|clause| !clause.is_empty());
    let said: Vec<String> = clauses.map(|clause| sentence(clause.trim_end_matches('.'))).collect();
    match error.kind {
        Kind::Invalid | Kind::State | Kind::Denied | Kind::NotFound => Failure::Invalid(said.join(" ")),
        _ => Failure::Unavailable(said.join(" ")),
    }
}
