//! The browser pages of central: operators see and do all that servers and request files need; who belongs to a smart
//! account sees that one, and may upload request files for it.

mod accounts;
mod files;
mod guard;
mod lists;
mod servers;
mod sessions;
mod sign_in;

use super::Clock;
use super::admin::{AdminReply, AdminRequest, Caller};
use super::document::MAX_DOCUMENT_BYTES;
use super::problem::Problem;
use super::records::UserRecord;
use super::shared::{Shared, limit};
use crate::web::assets::{self, Assets};
use crate::web::shield;
use crate::web::sign_in::Door;
use crate::web::view::{Link, Shell, problem};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use sessions::Sessions;
use std::convert::Infallible;
use std::sync::Arc;

/// A request file with what the browser puts around it.
const MAX_UPLOAD: usize = MAX_DOCUMENT_BYTES + 64 * 1024;

/// Everything behind the handlers.
struct App {
    shared: Shared,
    door: Door,
    sessions: Sessions,
}

/// The person a request comes from.
#[derive(Clone)]
struct Viewer {
    user: UserRecord,
    token: String,
}

impl Viewer {
    fn caller(&self) -> Caller {
        Caller { actor: self.user.name.clone(), smart_account: self.user.smart_account.clone() }
    }

    const fn is_operator(&self) -> bool {
        self.user.smart_account.is_none()
    }

    /// The frame around a page.
    fn shell(&self, href: &'static str, title: &'static str) -> Shell {
        let mut pages =
            vec![("/", "Accounts"), ("/servers", "Servers"), ("/orders", "Orders"), ("/files", "Request Files")];
        if self.is_operator() {
            pages.extend([("/event-log", "Event Log"), ("/audit", "Audit Log")]);
        }
        // Everything waits until one's own password is set.
        let pages = if self.user.must_change { Vec::new() } else { pages };
        let link = |(link, text)| Link { href: link, text, current: link == href, count: 0 };
        let links = pages.into_iter().map(link).collect();
        Shell { title, user: self.user.name.clone(), links, retired: false, assets: Assets }
    }
}

impl App {
    /// Carries out what the viewer asks for; what goes wrong becomes a page.
    async fn ask(&self, viewer: &Viewer, request: AdminRequest) -> Result<AdminReply, Response> {
        self.shared.admin(viewer.caller(), request).await.map_err(|problem| refused(&problem))
    }
}

/// The routes. Requests carry a [`crate::product::listener::Peer`] extension.
pub fn router(shared: Shared, clock: Clock) -> Router {
    let app = Arc::new(App { shared: shared.clone(), door: Door::default(), sessions: Sessions::new(clock) });
    // As a document over the network, an upload takes an attempt of its source.
    let upload = post(files::answer).layer::<_, Infallible>(from_fn_with_state(shared, limit));
    let upload = upload.layer(DefaultBodyLimit::max(MAX_UPLOAD));
    let signed_in = Router::new()
        .route("/", get(accounts::show))
        .route("/servers", get(servers::show).post(servers::act))
        .route("/servers/confirm", get(servers::confirm))
        .route("/orders", get(lists::orders))
        .route("/files", upload.get(files::form))
        .route("/event-log", get(lists::events))
        .route("/audit", get(lists::audit))
        .route("/password", get(sign_in::password_form).post(sign_in::change_password))
        .route("/sign-out", post(sign_in::sign_out))
        .layer(from_fn_with_state(Arc::clone(&app), guard::require_session));
    Router::new()
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .merge(signed_in)
        .layer(from_fn(shield::same_origin))
        .route("/assets/{file}", get(assets::serve))
        .layer(from_fn(shield::headers))
        .with_state(app)
}

pub fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "There is no such page", "Look for it from the overview.")
}

fn refused(refusal: &Problem) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem(status, "That was refused", &crate::web::sign_in::sentence(&refusal.detail))
}

/// What should not come: another kind of reply than the request has.
fn unexpected() -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made", "Tell us about it.")
}
