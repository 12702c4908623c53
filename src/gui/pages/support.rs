//! The Support Center: checks on demand, and the diagnostic bundle.

use crate::admin::AdminError;
use crate::gui::App;
use crate::gui::act::{Posted, called, status};
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, Shell, Tone, Viewer, page};
use crate::license::{Action, Place};
use crate::proto::admin::doctor_server::Doctor;
use crate::proto::admin::{BundleRequest, CheckResult, DoctorRequest};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use std::sync::Arc;

struct CheckRow {
    name: String,
    result: Badge,
    detail: String,
}

#[derive(Template)]
#[template(path = "support.html")]
struct SupportPage {
    shell: Shell,
    server_uid: String,
    version: String,
    /// None before anything was checked.
    checks: Option<Vec<CheckRow>>,
    error: Option<AdminError>,
    may_bundle: bool,
}

impl SupportPage {
    async fn of(app: &App, viewer: &Viewer, result: Option<Result<Vec<CheckRow>, AdminError>>) -> Response {
        let state = app.state();
        let (checks, error) = match result {
            None => (None, None),
            Some(Ok(checks)) => (Some(checks), None),
            Some(Err(error)) => (None, Some(error)),
        };
        let template = Self {
            shell: Shell::new(&state, viewer, "/support", "Support Center")
                .beside(&Aside::of(app, viewer, &state).await),
            server_uid: state.meta().server_uid.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            may_bundle: viewer.may(Action::ManageCluster, Place::Server, &state),
            checks,
            error,
        };
        page(template.error.as_ref().map_or(StatusCode::OK, status), &template)
    }
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    SupportPage::of(&app, &viewer, None).await
}

/// Checks everything now: a recount of the totals, and the digests of all replicas.
pub async fn check(State(app): State<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let reply = called(Doctor::check(&app.context.service, viewer.ask(&form, DoctorRequest {})).await);
    let row = |check: crate::proto::admin::Check| CheckRow {
        result: match check.result() {
            CheckResult::Passed => Badge(Tone::Good, "Passed"),
            CheckResult::Warning => Badge(Tone::Warn, "Warning"),
            CheckResult::Failed | CheckResult::Unspecified => Badge(Tone::Bad, "Failed"),
        },
        name: check.name,
        detail: check.detail,
    };
    let result = reply.map(|reply| reply.checks.into_iter().map(row).collect());
    SupportPage::of(&app, &viewer, Some(result)).await
}

/// The diagnostic bundle as a file.
pub async fn bundle(State(app): State<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let made = async {
        viewer.require(Action::ManageCluster, Place::Server, &app.state())?;
        called(Doctor::bundle(&app.context.service, viewer.ask(&form, BundleRequest {})).await)
    };
    match made.await {
        Ok(reply) => {
            let attachment = format!("attachment; filename=\"{}\"", reply.name);
            ([(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_DISPOSITION, attachment)], reply.json)
                .into_response()
        }
        Err(error) => SupportPage::of(&app, &viewer, Some(Err(error))).await,
    }
}
