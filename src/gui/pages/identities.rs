//! Admin identities: certificates with which the command line administers this cluster from elsewhere.

use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Entered, Posted, called, failed, finish};
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, page};
use crate::license::{ADMIN_IDENTITY_DAYS, Action, MAX_ADMIN_IDENTITY_DAYS, Millis, Place, Role};
use crate::pki::PkiError;
use crate::pki::ca::{certificates_pem, csr, identity_pem};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::proto::admin::admin_identities_server::AdminIdentities;
use crate::proto::admin::{AdminIdentity, AdminIdentityRef, CreateAdminIdentityRequest, ListAdminIdentitiesRequest};
use crate::web::form::Form;
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use std::sync::Arc;
use zeroize::Zeroizing;

const HREF: &str = "/security/identities";
/// Where it stands in the navigation.
const UNDER: &str = "/security";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show).post(create))
        .route("/security/cluster-ca.pem", get(cluster_ca))
        .route("/security/identities/{name}/revoke", get(confirm).post(revoke))
}

struct Row {
    name: String,
    role: String,
    status: Badge,
    created: Time,
    created_by: String,
    expires: Time,
}

impl From<AdminIdentity> for Row {
    fn from(identity: AdminIdentity) -> Self {
        Self {
            status: match identity.expired {
                true => Badge(Tone::Plain, "Expired"),
                false => Badge(Tone::Good, "Valid"),
            },
            name: identity.name,
            role: identity.role,
            created: Time(Millis(identity.created_ms)),
            created_by: identity.created_by,
            expires: Time(Millis(identity.expires_ms)),
        }
    }
}

#[derive(Template)]
#[template(path = "identities.html")]
struct IdentitiesPage {
    shell: Shell,
    rows: Vec<Row>,
    roles: Vec<&'static str>,
    may: bool,
    days: u64,
    longest: u64,
    port: u16,
    entered: Entered,
}

async fn page_of(app: &App, viewer: &Viewer, uri: &Uri, entered: Entered) -> Response {
    let state = app.state();
    let asked = viewer.look(ListAdminIdentitiesRequest {});
    let listed = called(AdminIdentities::list(&app.context.service, asked).await);
    let shell = Shell::new(&state, viewer, UNDER, "Admin identities").noting(uri);
    let template = IdentitiesPage {
        shell: shell.beside(&Aside::of(app, viewer, &state).await),
        rows: listed.unwrap_or_default().identities.into_iter().map(Row::from).collect(),
        roles: Role::ALL.iter().filter(|role| role.is_for_server()).map(Role::as_str).collect(),
        may: viewer.may(Action::ManageUsers, Place::Server, &state),
        days: ADMIN_IDENTITY_DAYS,
        longest: MAX_ADMIN_IDENTITY_DAYS,
        port: crate::config::ADMIN_PORT,
        entered,
    };
    page(template.entered.status(), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    page_of(&app, &viewer, &uri, Entered::default()).await
}

/// Makes a key and has it certified. Both go into the answer, and stay nowhere.
async fn create(Of(app): Of<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    match made(&app, &viewer, &form).await {
        Ok((name, identity)) => {
            let name = format!("attachment; filename=\"{name}.pem\"");
            let headers = [(CONTENT_TYPE, "application/x-pem-file".to_owned()), (CONTENT_DISPOSITION, name)];
            (headers, identity.to_string()).into_response()
        }
        Err(error) => page_of(&app, &viewer, &uri, Entered::refused(form, error)).await,
    }
}

async fn made(app: &App, viewer: &Viewer, form: &Form) -> Result<(String, Zeroizing<String>), AdminError> {
    viewer.require(Action::ManageUsers, Place::Server, &app.state())?;
    let days = form.number("days", "the number of days")?.unwrap_or_default();
    let (name, role) = (form.get("name").trim().to_owned(), form.get("role").to_string());
    let not_made = |error: PkiError| AdminError::new(Kind::Internal, "no key can be made").because(error.to_string());
    let key = SigningKey::generate(Algorithm::Es256).map_err(not_made)?;
    let csr = csr(&key, &name).map_err(not_made)?.into();
    let asked = viewer.ask(form, CreateAdminIdentityRequest { name: name.clone(), role, days, csr });
    let made = called(AdminIdentities::create(&app.context.service, asked).await)?;
    Ok((name, identity_pem(&made.certificate, &key.to_pkcs8_der().map_err(not_made)?)))
}

/// By which the command line tells the nodes from impostors.
async fn cluster_ca(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    match app.context.service.cluster_ca() {
        Ok(ca) => {
            let headers = [
                (CONTENT_TYPE, "application/x-pem-file"),
                (CONTENT_DISPOSITION, "attachment; filename=\"cluster-ca.pem\""),
            ];
            (headers, certificates_pem([&*ca])).into_response()
        }
        Err(error) => failed(&app, &viewer, error, UNDER, HREF),
    }
}

async fn confirm(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, Path(name): Path<String>) -> Response {
    let state = app.state();
    if let Err(error) = viewer.require(Action::ManageUsers, Place::Server, &state) {
        return failed(&app, &viewer, error, UNDER, HREF);
    }
    Confirm {
        shell: Shell::new(&state, &viewer, UNDER, "Revoke admin identity"),
        says: vec![format!(
            "Whoever has the file of {name} can do nothing with it from now on, on open connections neither."
        )],
        button: "Revoke",
        reason: None,
        fields: Vec::new(),
        back: HREF.into(),
    }
    .page()
}

async fn revoke(Of(app): Of<Arc<App>>, Path(name): Path<String>, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        viewer.require(Action::ManageUsers, Place::Server, &app.state())?;
        let asked = viewer.ask(&form, AdminIdentityRef { name });
        called(AdminIdentities::revoke(&app.context.service, asked).await).map(drop)
    };
    finish(&app, &viewer, result.await, Done::IdentityRevoked, UNDER, HREF)
}
