//! Errors as problem details (RFC 9457).

use crate::admin::{AdminError, Kind};
use crate::license::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// When to come back after "too much" or "not now", in seconds: a change of the active node is over by then.
const RETRY_SECONDS: u16 = 1;

/// Why a call failed, and what to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The kind of failure, stable.
    #[schema(example = "not-found")]
    pub code: String,
    #[schema(example = "There is no such thing")]
    pub title: String,
    /// The HTTP status it travels with.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// What to do next; absent where nothing is to be said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Problem {
    fn new(code: &str, status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        let (code, title, detail) = (code.to_owned(), title.to_owned(), detail.into());
        Self { code, title, status: status.as_u16(), detail, hint: String::new() }
    }

    /// A request that cannot be read or is not allowed to say this.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new("invalid", StatusCode::BAD_REQUEST, "The request is not valid", detail)
    }

    pub fn too_large() -> Self {
        let detail = format!("a request body has at most {} bytes", super::MAX_BODY);
        Self::new("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large", detail)
    }

    pub fn media_type() -> Self {
        let detail = "send the body as JSON, with Content-Type: application/json";
        Self::new("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON", detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new("not-found", StatusCode::NOT_FOUND, "There is no such thing", detail)
    }

    pub fn method_not_allowed() -> Self {
        let detail = "this path takes other methods; /api/v1/openapi.json lists all";
        Self::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed", detail)
    }

    /// No token, or none that holds.
    pub fn unauthorized(detail: &str) -> Self {
        let mut problem = Self::new("unauthorized", StatusCode::UNAUTHORIZED, "An access token is needed", detail);
        problem.hint = "get one at /oauth/token with the id and the secret of an API client".into();
        problem
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new("denied", StatusCode::FORBIDDEN, "This is not allowed", detail)
    }

    /// A fault of ours.
    pub fn failed(detail: &str) -> Self {
        Self::new("internal", StatusCode::INTERNAL_SERVER_ERROR, "The server failed", detail)
    }

    /// This node does not serve.
    pub fn standby(state: &State) -> Self {
        let detail = match state.settings().vip.first() {
            Some(vip) => format!("this node is Standby; call the virtual address {vip}"),
            None => "this node is Standby; call the active node".into(),
        };
        Self::new("standby", StatusCode::SERVICE_UNAVAILABLE, "Another node serves", detail)
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let (status, title) = match error.kind {
            Kind::Invalid => (StatusCode::BAD_REQUEST, "The request is not valid"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
            Kind::Exists => (StatusCode::CONFLICT, "It exists already"),
            Kind::State | Kind::NotEmpty | Kind::Limit | Kind::ClusterState => {
                (StatusCode::CONFLICT, "Its state does not allow this")
            }
            Kind::Denied => (StatusCode::FORBIDDEN, "This is not allowed"),
            Kind::NotBuilt => (StatusCode::NOT_IMPLEMENTED, "This version does not have it"),
            Kind::Busy => (StatusCode::TOO_MANY_REQUESTS, "Too much waits already"),
            Kind::Unreachable => (StatusCode::BAD_GATEWAY, "Another machine did not answer"),
            Kind::NotActive
            | Kind::NoActiveNode
            | Kind::NoQuorum
            | Kind::NotRunning
            | Kind::Uninitialised
            | Kind::Unknown => (StatusCode::SERVICE_UNAVAILABLE, "Not now"),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
        };
        let detail = if error.why.is_empty() { error.message } else { format!("{}: {}", error.message, error.why) };
        Self { hint: error.hint, ..Self::new(error.kind.as_str(), status, title, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], json).into_response();
        match status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
            }
            _ => {}
        }
        response
    }
}

/// The errors that any call may answer with, for the description of the API.
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> std::collections::BTreeMap<String, RefOr<utoipa::openapi::response::Response>> {
        let problem = |description: &str| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            ResponseBuilder::new().description(description).content("application/problem+json", content).build().into()
        };
        [
            ("400", "The request is not valid"),
            ("401", "No access token, or one that does not hold"),
            ("403", "The client may not do this"),
            ("404", "There is no such thing"),
            ("409", "The state of the thing does not allow this"),
            ("413", "The request is too large"),
            ("415", "The body is not JSON"),
            ("429", "Too much waits already; come back"),
            ("502", "The vendor's central service did not answer"),
            ("503", "Not now, or not on this node; come back"),
        ]
        .map(|(status, description)| (status.to_owned(), problem(description)))
        .into()
    }
}
