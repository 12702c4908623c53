//! Carries request bodies to a license server over HTTPS, by a proxy where there is one.

use super::AgentError;
use super::record::Record;
use crate::pki::ca::certificates_from_pem;
use crate::pki::tls::client_config;
use crate::product::MAX_BODY;
use crate::product::message::JOSE_JSON;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use std::error::Error;
use std::time::Duration;
use url::Url;

/// For a connection, and for the first byte of an answer on one: short, so that after a failover a dead connection is
/// given up while the virtual address already answers elsewhere.
const FIRST_BYTE: Duration = Duration::from_secs(2);
/// For the whole of one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Largest answer read: an answer of 64 licenses with a chain is about 30 KiB.
const MAX_ANSWER: usize = 4 * MAX_BODY;

/// What came back, before anything in it is believed.
#[derive(Debug)]
pub(super) struct Received {
    pub signed: bool,
    pub status: u16,
    pub body: Bytes,
}

/// A client for the stored URLs.
#[derive(Debug)]
pub(super) struct Transport {
    client: Option<reqwest::Client>,
    /// Host and port, without a password.
    proxy: Option<String>,
    urls: Vec<Url>,
    next: usize,
}

impl Transport {
    pub(super) fn new(record: &Record) -> Result<Self, AgentError> {
        for url in &record.urls {
            if url.scheme() != "https" || url.host().is_none() {
                let why = "expected https://HOST:PORT/SmartTransport".to_owned();
                return Err(AgentError::Invalid { what: format!("the URL {url}"), why });
            }
        }
        let client = client(record)?;
        let proxy = record.proxy.as_ref().map(|p| p[url::Position::BeforeHost..url::Position::AfterPort].to_owned());
        Ok(Self { client, proxy, urls: record.urls.clone(), next: 0 })
    }

    /// Posts `body` to the next URL. The error is a sentence about the network, never about licenses.
    pub(super) async fn post(&mut self, body: Vec<u8>) -> Result<Received, String> {
        let url = self.urls[self.next % self.urls.len()].clone();
        let attempt = async {
            let client = self.client.as_ref().ok_or_else(|| "no TLS authority is configured".to_owned())?;
            let request = client.post(url.clone()).header(CONTENT_TYPE, JOSE_JSON).body(body);
            read(request.send().await.map_err(|e| self.explain(&e))?).await
        };
        let result = tokio::time::timeout(ATTEMPT, attempt).await.unwrap_or_else(|_| Err("it took too long".into()));
        if result.as_ref().map_or(true, |received| !received.signed) {
            self.next += 1;
        }
        result.map_err(|why| format!("{url}: {why}"))
    }

    /// An error of sending. Behind a proxy it says so, and what a refusal means: the library's words are too short.
    fn explain(&self, error: &reqwest::Error) -> String {
        let why = chain(error);
        match &self.proxy {
            Some(proxy) if why.contains("tunnel error: proxy authorization required") => {
                format!("the proxy {proxy} wants a name and a password: --proxy http://NAME:PASSWORD@{proxy}")
            }
            Some(proxy) if why.contains("tunnel error: unsuccessful") => {
                format!(
                    "the proxy {proxy} did not open a connection to it; allow CONNECT to this host and port ({why})"
                )
            }
            Some(proxy) if error.is_connect() => format!("by the proxy {proxy}: {why}"),
            _ => why,
        }
    }

    /// Whether there is somewhere to send to.
    pub(super) fn check(&self) -> Result<(), AgentError> {
        if self.urls.is_empty() {
            return Err(AgentError::Incomplete { what: "the URL of the license server (--url)" });
        }
        if self.client.is_none() {
            return Err(AgentError::Incomplete { what: "the authority of the server's TLS certificate (--ca)" });
        }
        Ok(())
    }
}

/// None while it is not known which authorities to trust: those that were given, and the vendor root, from which the
/// server's certificate comes once the server has synchronized.
fn client(record: &Record) -> Result<Option<reqwest::Client>, AgentError> {
    let mut roots = match record.tls_ca_pem.as_str() {
        "" => Vec::new(),
        pem => certificates_from_pem(pem.as_bytes())?,
    };
    roots.extend(record.trust.root()?);
    if roots.is_empty() {
        return Ok(None);
    }
    let mut tls = client_config(roots.iter().map(Vec::as_slice), None)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(FIRST_BYTE)
        .read_timeout(FIRST_BYTE);
    let invalid = |what: String, e: reqwest::Error| AgentError::Invalid { what, why: chain(&e) };
    if let Some(proxy) = &record.proxy {
        let proxy = reqwest::Proxy::https(proxy.clone()).map_err(|e| invalid(format!("the proxy {proxy}"), e))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map(Some).map_err(|e| invalid("the HTTPS client".into(), e))
}

async fn read(mut response: reqwest::Response) -> Result<Received, String> {
    let status = response.status().as_u16();
    let signed = response.headers().get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(JOSE_JSON.as_bytes()));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("the answer is larger than {MAX_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received { signed, status, body: body.freeze() })
}

/// An error with its causes: the innermost one of a TLS failure names both host names.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = error.source();
    }
    text
}
