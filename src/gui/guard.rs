//! What every request passes: headers, the question whether this node serves, the origin of posts, and the session.

use super::App;
use super::pages;
use super::view::{Viewer, see_other};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use std::sync::Arc;
use url::form_urlencoded::byte_serialize;

/// The prefix binds the cookie to this host, to TLS and to the path `/`; the browser enforces it.
pub const COOKIE_NAME: &str = "__Host-licraft";
/// Sent by the live refresh of an open page, which must not keep a session alive.
const LIVE: HeaderName = HeaderName::from_static("x-live");

/// Only our own files; nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the security headers to every answer.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: with it browsers send `Origin: null` with our own forms.
    set(REFERRER_POLICY, "same-origin");
    set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

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

/// Refuses posts that another site's page sends.
pub async fn same_origin(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || from_here(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    tracing::warn!(path = request.uri().path(), "a post from another origin was refused");
    pages::problem(
        StatusCode::FORBIDDEN,
        "The request came from another site",
        "It was refused to protect you. Open this server's own page and try again there.",
    )
}

/// Whether the request's origin is the host it was sent to. Browsers send `Origin` with every post.
fn from_here(headers: &HeaderMap, uri: &Uri) -> bool {
    let host = headers.get(HOST).and_then(|h| h.to_str().ok()).or_else(|| uri.authority().map(|a| a.as_str()));
    let origin = headers.get(ORIGIN).and_then(|o| o.to_str().ok()).and_then(|o| o.strip_prefix("https://"));
    matches!((host, origin), (Some(host), Some(origin)) if host.eq_ignore_ascii_case(origin))
}

/// Lets only people with a session through, and those who must change their password only to that page.
pub async fn require_session(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let touch = !request.headers().contains_key(LIVE);
    let Some(viewer) = viewer(&app, request.headers(), touch) else {
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let wanted = request.method() == Method::GET && target != "/";
        let next: String = byte_serialize(target.as_bytes()).collect();
        return see_other(&if wanted { format!("/sign-in?next={next}") } else { "/sign-in".to_owned() });
    };
    if viewer.must_change() && !matches!(request.uri().path(), "/password" | "/sign-out" | "/sign-out-everywhere") {
        return see_other("/password");
    }
    request.extensions_mut().insert(viewer);
    next.run(request).await
}

/// Who sends this request, by its session cookie.
pub fn viewer(app: &App, headers: &HeaderMap, touch: bool) -> Option<Viewer> {
    let token = session_token(headers)?;
    let user = app.sessions.user(token, touch)?;
    Some(Viewer { user, token: token.to_owned(), retired: app.context.retired })
}

fn session_token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|c| c.to_str().ok());
    let mut pairs = cookies.flat_map(|c| c.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        from_here(&headers, &Uri::from_static("/sign-in"))
    }

    #[test]
    fn only_our_own_origin_may_post() {
        assert!(check("10.0.0.12:8443", Some("https://10.0.0.12:8443")));
        assert!(check("[2001:db8::1]:8443", Some("https://[2001:db8::1]:8443")));
        assert!(!check("10.0.0.12:8443", Some("https://10.0.0.12")));
        assert!(!check("10.0.0.12:8443", Some("http://10.0.0.12:8443")));
        assert!(!check("10.0.0.12:8443", Some("null")));
        assert!(!check("10.0.0.12:8443", None));
    }

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; licraft=2"));
        assert_eq!(session_token(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("b=3; __Host-licraft=tok"));
        assert_eq!(session_token(&headers), Some("tok"));
    }
}
