//! What every request of a browser passes: security headers, the origin of posts, the session's cookie.

use super::view::{problem, see_other};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use url::form_urlencoded::byte_serialize;

/// The prefix binds the cookie to this host, to TLS and to the path `/`; the browser enforces it.
const COOKIE_NAME: &str = "__Host-licraft";
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

/// Refuses posts that another site's page sends.
pub async fn same_origin(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || from_here(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    tracing::warn!(path = request.uri().path(), "a post from another origin was refused");
    problem(
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

/// Leads to the sign-in, and from there back to what was asked for.
pub fn sign_in_first(request: &Request) -> Response {
    let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let wanted = request.method() == Method::GET && target != "/";
    let next: String = byte_serialize(target.as_bytes()).collect();
    see_other(&if wanted { format!("/sign-in?next={next}") } else { "/sign-in".to_owned() })
}

/// Keeps `token` in the browser, out of reach of scripts and of other sites.
pub fn session_cookie(token: &str) -> String {
    format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Strict")
}

/// Removes it there.
pub fn no_session_cookie() -> String {
    format!("{COOKIE_NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// The token that the browser sends.
pub fn session_token(headers: &HeaderMap) -> Option<&str> {
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
