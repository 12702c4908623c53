//! Changes that people make by forms: the page that asks before, what is said after, and what is said when it failed.

use super::App;
use super::pages;
use super::view::{Shell, Viewer, page, see_other};
use crate::admin::{AdminError, Kind};
use crate::web::form::{Form, query};
use askama::Template;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;

/// A form that somebody who is signed in has sent.
pub struct Posted {
    pub viewer: Viewer,
    pub form: Form,
}

impl FromRequest<Arc<App>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Response> {
        // The session check before has put it there.
        let viewer = request.extensions().get::<Viewer>().cloned();
        let Some(viewer) = viewer else { return Err(see_other("/sign-in")) };
        let form = Form::read(request.into_body()).await;
        let form =
            form.map_err(|status| pages::problem(status, "The form could not be read", "Go back and send it again."))?;
        Ok(Self { viewer, form })
    }
}

macro_rules! done {
    ($($variant:ident $word:literal $sentence:literal,)*) => {
        /// What has just been done, named in the address of the page that comes after.
        #[derive(Clone, Copy)]
        pub enum Done {
            $($variant,)*
        }

        impl Done {
            const ALL: &[(Self, &'static str, &'static str)] = &[$((Self::$variant, $word, $sentence),)*];
        }
    };
}

done! {
    AccountRequested "account-requested" "The account is requested. Approve it to register it with central.",
    AccountApproved "account-approved" "The account is approved.",
    AccountRejected "account-rejected" "The account is rejected.",
    AccountActivated "account-activated" "The account is active again.",
    AccountDeactivated "account-deactivated" "The account is inactive.",
    AccountDeleted "account-deleted" "The account is deleted.",
    Synchronized "synchronized" "The account is synchronized.",
    Scheduled "scheduled" "The schedule is set.",
    Imported "imported" "The response of central is taken.",
    VirtualAccountCreated "va-created" "The virtual account is there.",
    VirtualAccountRenamed "va-renamed" "The virtual account has its new name.",
    VirtualAccountDeleted "va-deleted" "The virtual account is deleted.",
    TokenRevoked "token-revoked" "The token is revoked. Products that have registered with it stay registered.",
    LicenseTransferred "license-transferred" "The licenses are transferred.",
    LicenseLabelled "license-labelled" "The labels are changed.",
    InstanceTransferred "instance-transferred" "The product instance is moved.",
    InstanceRemoved "instance-removed" "The product instance is removed; its licenses are free.",
    InstancesRemoved "instances-removed" "The product instances are removed; their licenses are free.",
    AlertAcknowledged "alert-acknowledged" "The alert is acknowledged.",
    UserChanged "user-changed" "The user is changed. Their sessions have ended.",
    UserDeleted "user-deleted" "The user is deleted.",
    ClientRevoked "client-revoked" "The API client is revoked; its tokens hold no more.",
    PreferencesSet "preferences-set" "Your preferences are set.",
    SettingSet "setting-set" "The setting is set.",
    ClockAccepted "clock-accepted" "The clock is accepted.",
    WorkBegun "work-begun" "The work has begun; this page shows how it goes.",
    CertificateImported "certificate-imported" "Browsers see the imported certificate from their next connection on.",
    CertificateReset "certificate-reset" "Browsers see the certificate of the cluster CA from their next connection on.",
    IdentityRevoked "identity-revoked" "The admin identity is revoked.",
    FactorInForce "factor-in-force" "A code is asked for at each sign-in from now on. Your other sessions have ended.",
    FactorRemoved "factor-removed" "You sign in with the password alone. Your other sessions have ended.",
    SessionsEnded "sessions-ended" "All other sessions of yours have ended.",
}

impl Done {
    /// The sentence for the page at an address.
    pub fn read(uri: &Uri) -> Option<&'static str> {
        let word = query(uri, "done");
        Self::ALL.iter().find(|(_, known, _)| *known == word).map(|(.., sentence)| *sentence)
    }

    fn word(self) -> &'static str {
        // Each variant has its row.
        Self::ALL[self as usize].1
    }

    /// The address of the page at `path` that says so.
    pub fn address(self, path: &str) -> String {
        let joint = if path.contains('?') { '&' } else { '?' };
        format!("{path}{joint}done={}", self.word())
    }

    /// Leads to the page at `path`, which says so.
    pub fn at(self, path: &str) -> Response {
        see_other(&self.address(path))
    }
}

/// What was typed into a form that could not be carried out, and why; empty for one that nobody has sent yet.
#[derive(Default)]
pub struct Entered {
    pub error: Option<AdminError>,
    form: Form,
}

impl Entered {
    pub const fn refused(form: Form, error: AdminError) -> Self {
        Self { error: Some(error), form }
    }

    /// What was typed into a field.
    pub fn of(&self, field: &str) -> String {
        self.form.get(field).to_string()
    }

    /// The status of the page that shows it.
    pub fn status(&self) -> StatusCode {
        self.error.as_ref().map_or(StatusCode::OK, status)
    }
}

/// The HTTP status for a failed change.
pub fn status(error: &AdminError) -> StatusCode {
    match error.kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Exists | Kind::State | Kind::NotEmpty | Kind::Limit | Kind::ClusterState => StatusCode::CONFLICT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(Template)]
#[template(path = "failed.html")]
struct FailedPage {
    shell: Shell,
    error: AdminError,
    back: String,
}

/// A page that says why something was not done.
pub fn failed(app: &App, viewer: &Viewer, error: AdminError, href: &'static str, back: &str) -> Response {
    let state = app.state();
    let shell = Shell::new(&state, viewer, href, "It was not done");
    page(status(&error), &FailedPage { shell, error, back: back.to_owned() })
}

/// What a change came to: the page after it, or why it failed.
pub fn finish(
    app: &App,
    viewer: &Viewer,
    result: Result<(), AdminError>,
    done: Done,
    href: &'static str,
    back: &str,
) -> Response {
    match result {
        Ok(()) => done.at(back),
        Err(error) => failed(app, viewer, error, href, back),
    }
}

/// The result of a call of the admin service.
pub fn called<T>(result: Result<tonic::Response<T>, tonic::Status>) -> Result<T, AdminError> {
    Ok(result.map_err(AdminError::from)?.into_inner())
}

/// Asks before something is done, with what that means.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct Confirm {
    pub shell: Shell,
    /// What it means, a sentence each.
    pub says: Vec<String>,
    pub button: &'static str,
    /// What somebody must give as the reason, if anything.
    pub reason: Option<&'static str>,
    /// Fields that go with the form.
    pub fields: Vec<(&'static str, String)>,
    pub back: String,
}

impl Confirm {
    pub fn page(self) -> Response {
        page(StatusCode::OK, &self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_a_word_in_the_address_and_nothing_else_is_said() {
        let uri: Uri = "/users?done=user-deleted".parse().unwrap();
        assert_eq!(Done::read(&uri), Some("The user is deleted."));
        assert_eq!(Done::read(&"/users?done=You+won".parse().unwrap()), None);
        assert!(Done::ALL.iter().all(|(done, word, _)| done.word() == *word));
    }
}
