//! The certificate that browsers see, where an administrator brings one of their own.

use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Posted, called, failed, finish, status};
use crate::gui::aside::Aside;
use crate::gui::upload::Uploaded;
use crate::gui::view::{Shell, Time, Viewer, page};
use crate::license::{Action, Millis, Place};
use crate::proto::admin::certificates_server::Certificates;
use crate::proto::admin::{BrowserCertificate, ImportBrowserRequest, ResetBrowserRequest, ShowCertificateRequest};
use askama::Template;
use axum::extract::{DefaultBodyLimit, State as Of};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::StatusCode;
use std::sync::Arc;

const BACK: &str = "/security";
/// A chain of four with its key is some 20 KiB.
const MAX_FILE: usize = 64 * 1024;
/// Two files with what is around them in the form.
const MAX_UPLOAD: usize = 2 * MAX_FILE + 4 * 1024;

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/security/browser-certificate", get(show).post(import).layer(DefaultBodyLimit::max(MAX_UPLOAD)))
        .route("/security/browser-certificate/reset", get(confirm).post(reset))
}

/// What browsers see, as pages show it.
pub struct Brought {
    pub common_name: String,
    pub names: String,
    pub until: Time,
    pub imported: Time,
    /// The name of this server, where the certificate does not cover it any more; else empty.
    pub not_covered: String,
}

impl From<BrowserCertificate> for Brought {
    fn from(certificate: BrowserCertificate) -> Self {
        Self {
            common_name: certificate.common_name,
            names: certificate.hosts.join(", "),
            until: Time(Millis(certificate.not_after_ms)),
            imported: Time(Millis(certificate.imported_ms)),
            not_covered: certificate.not_covered,
        }
    }
}

#[derive(Template)]
#[template(path = "browser_certificate.html")]
struct ImportPage {
    shell: Shell,
    /// None: what the cluster CA issues.
    brought: Option<Brought>,
    error: Option<AdminError>,
}

fn allowed(app: &App, viewer: &Viewer) -> Result<(), AdminError> {
    viewer.require(Action::ManageSettings, Place::Server, &app.state())
}

async fn page_of(app: &App, viewer: &Viewer, error: Option<AdminError>) -> Response {
    let state = app.state();
    let shown = called(Certificates::show(&app.context.service, viewer.look(ShowCertificateRequest::default())).await);
    let shell = Shell::new(&state, viewer, BACK, "Certificate for browsers");
    let template = ImportPage {
        shell: shell.beside(&Aside::of(app, viewer, &state).await),
        brought: shown.unwrap_or_default().browser.map(Brought::from),
        error,
    };
    page(template.error.as_ref().map_or(StatusCode::OK, status), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    match allowed(&app, &viewer) {
        Ok(()) => page_of(&app, &viewer, None).await,
        Err(error) => failed(&app, &viewer, error, BACK, BACK),
    }
}

async fn import(Of(app): Of<Arc<App>>, upload: Uploaded) -> Response {
    let viewer = &upload.viewer;
    let taken = async {
        allowed(&app, viewer)?;
        let (file, key) = (upload.get("file"), upload.get("key"));
        if file.is_empty() {
            return Err(AdminError::new(Kind::Invalid, "no file was chosen")
                .hint("choose a PEM file with the certificates, or a PKCS#12 file"));
        }
        let password = upload.text("password", "the password")?.to_owned();
        let asked = ImportBrowserRequest { file: file.to_vec().into(), key: key.to_vec().into(), password };
        called(Certificates::import_browser(&app.context.service, viewer.look(asked)).await)
    };
    match taken.await {
        Ok(_) => Done::CertificateImported.at(BACK),
        Err(error) => page_of(&app, viewer, Some(error)).await,
    }
}

async fn confirm(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    if let Err(error) = allowed(&app, &viewer) {
        return failed(&app, &viewer, error, BACK, BACK);
    }
    Confirm {
        shell: Shell::new(&app.state(), &viewer, BACK, "Give up the certificate for browsers"),
        says: vec![
            "Browsers see what the cluster CA issues from now on, and warn where that is not trusted.".into(),
            "The imported certificate and its key are removed from all nodes.".into(),
        ],
        button: "Give it up",
        reason: None,
        fields: Vec::new(),
        back: BACK.into(),
    }
    .page()
}

async fn reset(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        allowed(&app, &viewer)?;
        let asked = viewer.ask(&form, ResetBrowserRequest {});
        called(Certificates::reset_browser(&app.context.service, asked).await).map(drop)
    };
    finish(&app, &viewer, result.await, Done::CertificateReset, BACK, BACK)
}
