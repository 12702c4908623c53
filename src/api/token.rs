//! Access tokens by client credentials (RFC 6749, 4.4). A token is the client's id and the end of its life, sealed under
//! the key that all data nodes hold: every node can check it, and nothing is kept.

use super::{Api, App};
use crate::license::{ApiClient, Millis, Sealed};
use crate::pki::{equal_secrets, sha256};
use crate::product::listener::Peer;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// How long a token holds.
const LIFE: u64 = Millis::HOUR;
/// What tokens are sealed for (the context of `pki::seal`).
const CONTEXT: &str = "api access token";

/// The id and the secret of an API client; as JSON, as a form, or as the query.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct Credentials {
    #[schema(example = "client_credentials")]
    grant_type: String,
    client_id: String,
    client_secret: String,
}

/// An access token (RFC 6749, 5.1).
#[derive(Serialize, ToSchema)]
struct AccessToken {
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
}

/// Why there is no token (RFC 6749, 5.2).
#[derive(Serialize, ToSchema)]
struct TokenError {
    #[schema(example = "invalid_client")]
    error: &'static str,
    error_description: String,
}

fn refuse(status: StatusCode, error: &'static str, description: impl Into<String>) -> Response {
    let body = axum::Json(TokenError { error, error_description: description.into() });
    let mut response = (status, body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"licraft\""));
    }
    response
}

/// Get an access token.
#[utoipa::path(
    post, path = "/oauth/token", tag = "token", request_body = Credentials, security(()),
    responses(
        (status = 200, body = AccessToken),
        (status = 400, body = TokenError, description = "The request is not one for client credentials"),
        (status = 401, body = TokenError, description = "The id or the secret is wrong"),
        (status = 413, description = "The request is too large"),
        (status = 429, body = TokenError, description = "Too many failed attempts from this address"),
        (status = 503, body = super::Problem, content_type = "application/problem+json", description = "Not on this node"),
    )
)]
pub async fn issue(
    app: Api,
    peer: Extension<Peer>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    grant(&app, &peer, &headers, query.as_deref(), &body)
}

/// Get an access token, as older scripts ask for it.
#[utoipa::path(
    post, path = "/backend/oauth/token", tag = "token", request_body = Credentials, security(()),
    responses(
        (status = 200, body = AccessToken),
        (status = 400, body = TokenError, description = "The request is not one for client credentials"),
        (status = 401, body = TokenError, description = "The id or the secret is wrong"),
        (status = 413, description = "The request is too large"),
        (status = 429, body = TokenError, description = "Too many failed attempts from this address"),
        (status = 503, body = super::Problem, content_type = "application/problem+json", description = "Not on this node"),
    )
)]
pub async fn issue_backend(
    app: Api,
    peer: Extension<Peer>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    grant(&app, &peer, &headers, query.as_deref(), &body)
}

fn grant(app: &App, peer: &Peer, headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Response {
    let mut asked = match credentials(headers, query, body) {
        Ok(asked) => asked,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, "invalid_request", why),
    };
    if asked.grant_type != "client_credentials" {
        let why = "grant_type must be client_credentials";
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", why);
    }
    let secret = Zeroizing::new(std::mem::take(&mut asked.client_secret));
    let state = app.state();
    let known = state.api_client(&asked.client_id);
    // An unknown client costs the same comparison.
    let expected = known.map_or([0; 32], |client| client.secret_hash);
    let right = equal_secrets(&expected, &sha256(secret.as_bytes()));
    let Some(client) = known.filter(|_| right) else {
        return match app.limiter.take(peer.0.ip(), Instant::now()) {
            Ok(()) => {
                tracing::warn!(source = %peer.0.ip(), "a wrong client id or secret was given");
                refuse(StatusCode::UNAUTHORIZED, "invalid_client", "the client id or the client secret is wrong")
            }
            Err(wait) => too_many(wait),
        };
    };
    let Some(sealer) = app.context.service.sealer() else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "this node has no key to make tokens with");
    };
    let expires = (app.context.clock)().max(state.now()).plus(LIFE);
    let plain = [&expires.0.to_be_bytes()[..], client.id.as_bytes()].concat();
    let access_token = B64.encode(sealer.seal(CONTEXT, &plain).0);
    axum::Json(AccessToken { access_token, token_type: "Bearer", expires_in: LIFE / 1_000 }).into_response()
}

fn too_many(wait: Duration) -> Response {
    let why = "too many failed attempts from this address";
    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "invalid_client", why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response
}

/// The credentials, wherever they are: the body by its type, else the query; and the header of RFC 6749, 2.3.1.
fn credentials(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Result<Credentials, &'static str> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut asked = if body.is_empty() {
        form(query.unwrap_or_default().as_bytes())
    } else if kind.starts_with("application/json") {
        serde_json::from_slice(body)
            .map_err(|_| "the body is not a JSON object with grant_type, client_id, client_secret")?
    } else {
        form(body)
    };
    if asked.client_id.is_empty()
        && let Some((id, secret)) = basic(headers)
    {
        (asked.client_id, asked.client_secret) = (id, secret);
    }
    Ok(asked)
}

fn form(text: &[u8]) -> Credentials {
    let mut asked = Credentials::default();
    for (name, value) in url::form_urlencoded::parse(text) {
        match name.as_ref() {
            "grant_type" => asked.grant_type = value.into_owned(),
            "client_id" => asked.client_id = value.into_owned(),
            "client_secret" => asked.client_secret = value.into_owned(),
            _ => {}
        }
    }
    asked
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

/// The client whose token this is, while it holds and the client exists.
pub fn client(app: &App, token: &str) -> Option<ApiClient> {
    let sealed = Sealed(B64.decode(token).ok()?);
    let plain = app.context.service.sealer()?.open(CONTEXT, &sealed).ok()?;
    let (expires, id) = plain.split_first_chunk::<8>()?;
    if (app.context.clock)().0 >= u64::from_be_bytes(*expires) {
        return None;
    }
    app.state().api_client(std::str::from_utf8(id).ok()?).cloned()
}
