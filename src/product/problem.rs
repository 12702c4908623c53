//! Errors as products see them: a stable code, an HTTP status and a sentence that says what to do.

use crate::license::Reason;
use crate::pki::random;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Every error of the protocol. [`Code::as_str`] is stable; sentences are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    MalformedRequest,
    UnsupportedProtocol,
    BodyTooLarge,
    BodyTimeout,
    WrongPath,
    WrongMethod,
    PlainHttp,
    BadSignature,
    WrongKey,
    ClockSkew,
    TooManyRequests,
    Standby,
    Unavailable,
    OutcomeUnknown,
    AccountNotReady,
    Internal,
    /// A command was refused by the license store.
    Refused(Reason),
}

impl Code {
    /// The name under which programs know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status it travels with.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// A short description, the same for every occurrence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MalformedRequest => ("malformed-request", 400, "The request is malformed"),
            Self::UnsupportedProtocol => ("unsupported-protocol", 400, "The protocol version is not supported"),
            Self::BodyTooLarge => ("body-too-large", 413, "The request body is too large"),
            Self::BodyTimeout => ("body-timeout", 408, "The request body did not arrive in time"),
            Self::WrongPath => ("wrong-path", 404, "Nothing is served at this path"),
            Self::WrongMethod => ("wrong-method", 405, "This path takes POST only"),
            Self::PlainHttp => ("plain-http", 400, "Plain HTTP was sent to an HTTPS port"),
            Self::BadSignature => ("bad-signature", 403, "The signature does not match the request"),
            Self::WrongKey => ("wrong-key", 403, "The key is not the instance's key"),
            Self::ClockSkew => ("clock-skew", 403, "The product's clock is off"),
            Self::TooManyRequests => ("too-many-requests", 429, "Too many requests"),
            Self::Standby => ("standby", 503, "This node is Standby"),
            Self::Unavailable => ("unavailable", 503, "This node does not serve licenses"),
            Self::OutcomeUnknown => ("outcome-unknown", 503, "The outcome is unknown"),
            Self::AccountNotReady => ("account-not-ready", 503, "The account cannot answer yet"),
            Self::Internal => ("internal", 500, "The server failed"),
            Self::Refused(reason) => Self::reason_row(reason),
        }
    }

    const fn reason_row(reason: Reason) -> (&'static str, u16, &'static str) {
        match reason {
            Reason::Invalid => ("invalid", 400, "A value is not allowed"),
            Reason::NotFound => ("not-found", 404, "Not found"),
            Reason::Exists => ("exists", 409, "It exists already"),
            Reason::State => ("state", 409, "The state does not allow it"),
            Reason::NotEmpty => ("not-empty", 409, "It is still in use"),
            Reason::Limit => ("limit", 422, "A limit is reached"),
            Reason::TokenUnknown => ("token-unknown", 403, "The registration token is unknown"),
            Reason::TokenExpired => ("token-expired", 403, "The registration token has expired"),
            Reason::TokenExhausted => ("token-exhausted", 403, "The registration token is used up"),
            Reason::TokenRevoked => ("token-revoked", 403, "The registration token is revoked"),
            Reason::AccountInactive => ("account-inactive", 403, "The account is not active"),
            Reason::LicenseUnknown => ("license-unknown", 422, "A license is unknown"),
            Reason::ExportControlled => ("export-controlled", 403, "Export-controlled functionality is not allowed"),
            Reason::InstanceUnknown => ("instance-unknown", 404, "The product instance is unknown"),
            Reason::StaleRequest { .. } => ("stale-request", 409, "The request number is stale"),
            Reason::RequestMismatch { .. } => {
                ("request-mismatch", 409, "The request number was used for another request")
            }
            Reason::CertificateExpired => ("certificate-expired", 403, "The ID certificate has expired"),
            Reason::NotInitialized => ("not-initialized", 503, "The server is not initialised"),
        }
    }
}

/// An unsigned error: problem details (RFC 9457) with a `code`. Products take it for a hint, never for authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{title}: {detail} ({code})")]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    pub title: Cow<'static, str>,
    pub status: u16,
    pub detail: String,
    pub code: Cow<'static, str>,
    /// How long to wait before trying again, in milliseconds; `Retry-After` says it in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: Cow::Owned(format!("urn:licraft:problem:{}", code.as_str())),
            title: Cow::Borrowed(code.title()),
            status: code.status(),
            detail: detail.into(),
            code: Cow::Borrowed(code.as_str()),
            retry_after_ms: None,
        }
    }

    /// Says when to come back: between `base_ms` and twice that, at random, so that those who were refused together do
    /// not return together.
    #[must_use]
    pub fn retry_after(mut self, base_ms: u64) -> Self {
        let base = base_ms.max(1);
        self.retry_after_ms = Some(base + u64::from(u32::from_le_bytes(random::bytes())) % base);
        self
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_over_once_to_twice_the_base() {
        let waits: Vec<u64> = (0..200)
            .map(|_| Problem::new(Code::TooManyRequests, "x").retry_after(1_000).retry_after_ms.unwrap())
            .collect();
        assert!(waits.iter().all(|w| (1_000..2_000).contains(w)));
        assert!(waits.iter().any(|w| *w < 1_500) && waits.iter().any(|w| *w >= 1_500));
    }

    #[test]
    fn every_code_that_a_product_can_meet_is_documented() {
        let current = 1;
        let codes = [
            Code::MalformedRequest,
            Code::UnsupportedProtocol,
            Code::BodyTooLarge,
            Code::BodyTimeout,
            Code::WrongPath,
            Code::WrongMethod,
            Code::PlainHttp,
            Code::BadSignature,
            Code::WrongKey,
            Code::ClockSkew,
            Code::TooManyRequests,
            Code::Standby,
            Code::Unavailable,
            Code::OutcomeUnknown,
            Code::AccountNotReady,
            Code::Internal,
            Code::Refused(Reason::Invalid),
            Code::Refused(Reason::State),
            Code::Refused(Reason::Limit),
            Code::Refused(Reason::TokenUnknown),
            Code::Refused(Reason::TokenExpired),
            Code::Refused(Reason::TokenExhausted),
            Code::Refused(Reason::TokenRevoked),
            Code::Refused(Reason::AccountInactive),
            Code::Refused(Reason::LicenseUnknown),
            Code::Refused(Reason::ExportControlled),
            Code::Refused(Reason::InstanceUnknown),
            Code::Refused(Reason::StaleRequest { current }),
            Code::Refused(Reason::RequestMismatch { current }),
            Code::Refused(Reason::CertificateExpired),
        ];
        let page = include_str!("../../proto/product.md");
        for code in codes {
            let (name, status) = (format!("`{}`", code.as_str()), code.status().to_string());
            let documented = page.lines().any(|l| l.starts_with('|') && l.contains(&name) && l.contains(&status));
            assert!(documented, "{name} with status {status} is not in proto/product.md");
        }
    }
}
