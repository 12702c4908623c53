//! Central's errors on the network.

use super::refusal::RefusalReason;
use crate::pki::random;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// The shortest pause asked of a source that sends too much, in milliseconds (up to twice that, so that many do not
/// return together).
const RETRY_MS: u64 = 1_000;

/// An error as RFC 9457 problem details, with the stable `reason` beside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// Absent when central itself failed: the request may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RefusalReason>,
    /// How long to wait before sending again, in milliseconds; `Retry-After` says it in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    pub(super) fn refused(reason: RefusalReason, detail: String) -> Self {
        use RefusalReason as R;
        let status = match reason {
            R::Invalid => StatusCode::BAD_REQUEST,
            R::Signature | R::ServerRevoked | R::ServerSilent | R::Denied => StatusCode::FORBIDDEN,
            R::SmartAccountUnknown | R::AccountUnknown | R::NotFound => StatusCode::NOT_FOUND,
            R::VirtualAccountBound
            | R::AccountExists
            | R::Twin
            | R::Fork
            | R::StaleSequence
            | R::SequenceGap
            | R::Exists
            | R::InUse => StatusCode::CONFLICT,
        };
        Self { title: "Refused".into(), status: status.as_u16(), detail, reason: Some(reason), retry_after_ms: None }
    }

    /// A program without a token that is known here.
    pub(super) fn no_token() -> Self {
        let detail = "an Authorization header with a bearer token is needed; `licraft central token create` makes one";
        let status = StatusCode::UNAUTHORIZED.as_u16();
        Self { title: "No access".into(), status, detail: detail.into(), reason: None, retry_after_ms: None }
    }

    pub(super) fn own(detail: String) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        Self { title: "Central failed".into(), status, detail, reason: None, retry_after_ms: None }
    }

    pub(super) fn too_many(source: IpAddr, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(RETRY_MS);
        Self {
            title: "Too many requests".into(),
            status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
            detail: format!("{source} sends more documents than one source may; nothing was read, send it again later"),
            reason: None,
            retry_after_ms: Some(wait.saturating_add(u64::from(u32::from_le_bytes(random::bytes())) % wait)),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(ms) = self.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}
