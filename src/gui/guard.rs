//! What every request passes here: the question whether this node serves, and the session.

use super::App;
use super::nav::Access;
use super::pages;
use super::view::{Viewer, see_other};
use crate::web::likings::Likings;
use crate::web::shield::{session_token, sign_in_first};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Sent by the live refresh of an open page, which must not keep a session alive; nor may its stream of events.
const LIVE: HeaderName = HeaderName::from_static("x-live");

/// Answers 503 in place of every page while this node does not serve and is not retired.
pub async fn serving(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.context.retired || (app.context.serving)() { next.run(request).await } else { pages::standby(&app).await }
}

pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if (app.context.serving)() {
        "serving\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n").into_response()
    }
}

/// Lets only people with a session through, and those who must change their password only to that page.
pub async fn require_session(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let touch = !request.headers().contains_key(LIVE) && request.uri().path() != "/live";
    let Some(viewer) = viewer(&app, request.headers(), touch) else {
        return sign_in_first(&request);
    };
    if viewer.must_change() && !matches!(request.uri().path(), "/password" | "/sign-out" | "/sign-out-everywhere") {
        return see_other("/password");
    }
    match Access::of(&app.state(), &viewer, request.uri().path()) {
        Access::Open => {}
        Access::Missing => return see_other("/"),
        Access::Denied => {
            let text = "Ask a system administrator for the role that you need.";
            return pages::problem(StatusCode::FORBIDDEN, "This page is not for your role", text);
        }
    }
    let likings = Likings::of(&viewer.user.preferences);
    request.extensions_mut().insert(viewer);
    likings.around(next.run(request)).await
}

/// Who sends this request, by its session cookie.
pub fn viewer(app: &App, headers: &HeaderMap, touch: bool) -> Option<Viewer> {
    let token = session_token(headers)?;
    let user = app.sessions.user(token, touch)?;
    Some(Viewer { user, token: token.to_owned(), retired: app.context.retired })
}
