//! One kept-alive HTTP/1 connection over TLS, with as little around it as possible: the load generator's.

use crate::product::message::JOSE_JSON;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// Where and how to connect.
#[derive(Clone)]
pub(super) struct Target {
    pub address: SocketAddr,
    pub tls: Arc<rustls::ClientConfig>,
    server: ServerName<'static>,
    host: HeaderValue,
    path: http::Uri,
}

impl Target {
    /// Resolves the URL once, so that look-ups are no part of what is measured.
    pub(super) async fn resolve(url: &Url, tls: Arc<rustls::ClientConfig>) -> Result<Self, String> {
        let host = url.host_str().ok_or("the URL has no host")?;
        let port = url.port_or_known_default().ok_or("the URL has no port")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut found = tokio::net::lookup_host((bare, port)).await.map_err(|e| format!("{host}: {e}"))?;
        Ok(Self {
            address: found.next().ok_or_else(|| format!("{host} has no address"))?,
            tls,
            server: ServerName::try_from(bare.to_owned()).map_err(|e| format!("{host}: {e}"))?,
            host: HeaderValue::from_str(&format!("{host}:{port}")).map_err(|e| e.to_string())?,
            path: url.path().parse().map_err(|e| format!("{}: {e}", url.path()))?,
        })
    }
}

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer as it came.
pub(super) struct Reply {
    pub status: u16,
    pub signed: bool,
    /// The server closes the connection.
    pub last: bool,
    pub body: Bytes,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, String> {
        let stream = TcpStream::connect(target.address).await.map_err(|e| format!("connect: {}", e.kind()))?;
        stream.set_nodelay(true).map_err(|e| format!("connect: {}", e.kind()))?;
        let tls = TlsConnector::from(Arc::clone(&target.tls)).connect(target.server.clone(), stream);
        let stream = tls.await.map_err(|e| format!("TLS: {e}"))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("HTTP: {e}"))?;
        // Its error is also that of the request under way.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    pub(super) async fn post(&mut self, target: &Target, body: Vec<u8>) -> Result<Reply, String> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = target.path.clone();
        request.headers_mut().insert(HOST, target.host.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JOSE_JSON));
        self.sender.ready().await.map_err(|e| format!("HTTP: {e}"))?;
        let response = self.sender.send_request(request).await.map_err(|e| format!("HTTP: {e}"))?;
        let status = response.status().as_u16();
        let says = |name, value: &str| response.headers().get(name).is_some_and(|t| t == value);
        let (signed, last) = (says(CONTENT_TYPE, JOSE_JSON), says(CONNECTION, "close"));
        let body = response.into_body().collect().await.map_err(|e| format!("HTTP: {e}"))?.to_bytes();
        Ok(Reply { status, signed, last, body })
    }
}
