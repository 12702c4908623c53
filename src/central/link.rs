//! Documents over HTTPS, by a proxy where one is set: post the request, get the response. Only a server that the vendor
//! root vouches for is spoken to.

use super::document::MAX_DOCUMENT_BYTES;
use super::problem::Problem;
use super::refusal::RefusalReason;
use super::serve::{DOCUMENT_TYPE, DOCUMENTS_PATH};
use super::vendor_root::VendorRoot;
use crate::pki::{PkiError, tls};
use reqwest::header::CONTENT_TYPE;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole exchange; central answers in milliseconds, the rest is for the way.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Not reached, or it broke off: it may or may not have seen the request.
    #[error("central at {url} does not answer: {why}")]
    Unreachable { url: String, why: String },
    /// It said no.
    #[error("central refuses: {detail}")]
    Refused { reason: RefusalReason, detail: String },
    /// It failed itself, or something else answered.
    #[error("central at {url} failed with status {status}: {detail}")]
    Failed { url: String, status: u16, detail: String },
}

impl LinkError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// An HTTPS client that trusts the vendor root alone.
pub(super) struct Link {
    http: reqwest::Client,
    /// Empty without one.
    proxy: String,
    /// Whether the proxy is told a name and a password.
    login: bool,
}

impl Link {
    /// By `proxy` unless that is empty, which is told the `login` (`NAME:PASSWORD`), if there is one.
    pub(super) fn new(root: &VendorRoot, proxy: &str, login: Option<&str>) -> Result<Self, PkiError> {
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config([root.der()], None)?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            // What is set counts, and nothing in the environment of the process.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXCHANGE_TIMEOUT);
        let unusable = |e: reqwest::Error| PkiError::Tls(chain_of(&e));
        if !proxy.is_empty() {
            let mut proxy = reqwest::Proxy::https(proxy).map_err(unusable)?;
            if let Some((name, password)) = login.and_then(|login| login.split_once(':')) {
                proxy = proxy.basic_auth(name, password);
            }
            http = http.proxy(proxy);
        }
        Ok(Self { http: http.build().map_err(unusable)?, proxy: proxy.to_owned(), login: login.is_some() })
    }

    /// Posts `document` to the central at `base`.
    pub(super) async fn post(&self, base: &str, document: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        let url = format!("{}{DOCUMENTS_PATH}", base.trim_end_matches('/'));
        let unreachable = |e: &reqwest::Error| LinkError::Unreachable { url: base.to_owned(), why: self.explain(e) };
        let request = self.http.post(&url).header(CONTENT_TYPE, DOCUMENT_TYPE).body(document);
        let mut response = request.send().await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(&e))? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                let detail = format!("its answer is longer than {MAX_DOCUMENT_BYTES} bytes");
                return Err(LinkError::Failed { url: base.to_owned(), status: status.as_u16(), detail });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(Problem { reason: Some(reason), detail, .. }) => Err(LinkError::Refused { reason, detail }),
            Ok(Problem { status, detail, .. }) => Err(LinkError::Failed { url: base.to_owned(), status, detail }),
            Err(_) => {
                let detail = "the answer is not central's; is the URL right?".to_owned();
                Err(LinkError::Failed { url: base.to_owned(), status: status.as_u16(), detail })
            }
        }
    }
}

impl Link {
    /// Why central was not reached. Behind a proxy it says so, and what a refusal means: the library's words are too short.
    fn explain(&self, error: &reqwest::Error) -> String {
        let (why, proxy) = (chain_of(error), &self.proxy);
        if proxy.is_empty() {
            return why;
        }
        if why.contains("tunnel error: proxy authorization required") {
            return match self.login {
                true => format!("the proxy {proxy} does not take the name and password that are set as `proxy-login`"),
                false => format!(
                    "the proxy {proxy} wants a name and a password: set them with `licraft settings set proxy-login @FILE`"
                ),
            };
        }
        if why.contains("tunnel error: unsuccessful") {
            return format!(
                "the proxy {proxy} opened no connection to it; allow CONNECT to this host and port ({why})"
            );
        }
        if error.is_connect() { format!("by the proxy {proxy}: {why}") } else { why }
    }
}

/// The error with its causes: the first one alone says only that sending failed.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
