//! Who looks: the session of a request.

use super::{App, Viewer};
use crate::web::shield::{session_token, sign_in_first};
use crate::web::view::see_other;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// Lets only people with a session through, and those who must change their password only to that page.
pub async fn require_session(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let viewer = match viewer(&app, request.headers()).await {
        Ok(Some(viewer)) => viewer,
        Ok(None) => return sign_in_first(&request),
        Err(page) => return page,
    };
    if viewer.user.must_change && !matches!(request.uri().path(), "/password" | "/sign-out") {
        return see_other("/password");
    }
    request.extensions_mut().insert(viewer);
    next.run(request).await
}

/// Who sends this request, by its session cookie: a user who is still there, with the password of then.
pub async fn viewer(app: &App, headers: &HeaderMap) -> Result<Option<Viewer>, Response> {
    let Some(token) = session_token(headers).map(str::to_owned) else { return Ok(None) };
    let Some(session) = app.sessions.touch(&token) else { return Ok(None) };
    let name = session.user.clone();
    let found = app.shared.run(move |service| service.user(&name)).await;
    let user = found.map_err(|problem| super::refused(&problem))?;
    Ok(user.filter(|user| session.begun >= user.password_changed).map(|user| Viewer { user, token }))
}
