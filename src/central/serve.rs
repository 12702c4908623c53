//! Central on the network: documents, pages and the REST API over HTTPS, the operator's requests over a Unix socket in
//! central's folder.

use super::admin::{AdminReply, AdminRequest, Caller};
use super::document::MAX_DOCUMENT_BYTES;
use super::problem::Problem;
use super::refusal::{CentralError, Refusal, RefusalReason};
use super::service::Service;
use super::shared::{Shared, limit};
use super::{Clock, StoreError};
use super::{pages, rest};
use crate::pki::tls::{self, ServerTls};
use crate::product::listener::Peer;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where documents are posted.
pub const DOCUMENTS_PATH: &str = "/v1/documents";
/// The media type of a document (RFC 7515, 9.2.1: a JWS in a JSON serialisation).
pub const DOCUMENT_TYPE: &str = "application/jose+json";
const ADMIN_PATH: &str = "/v1/admin";
const SOCKET: &str = "central.sock";
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Each on-prem server needs one for a moment; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// A connection that says nothing for so long is closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A whole request with its document; see [`MAX_DOCUMENT_BYTES`].
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Well before the certificate's 30 days are over.
const RENEW_CERTIFICATE: Duration = Duration::from_secs(24 * 3600);
/// After a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why central does not serve, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Central(#[from] CentralError),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    /// The store failed while serving, so that nothing more may be acknowledged; or a part of central broke.
    #[error("central stopped: {0}; look at its disk and its log, then start it again")]
    Stopped(String),
}

/// A running central.
#[derive(Debug)]
pub struct Running {
    /// Where HTTPS listens; of use when the port asked for was 0.
    pub address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    failure: Arc<parking_lot::Mutex<Option<String>>>,
    socket: PathBuf,
}

impl Running {
    /// Waits until it is stopped, or ends by itself because something failed.
    ///
    /// # Errors
    /// With the reason.
    pub async fn wait(mut self) -> Result<(), ServeError> {
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = self.tasks.join_next() => {
                if !self.stop.is_cancelled() {
                    *self.failure.lock() = Some("a part of it ended unexpectedly".into());
                    self.stop.cancel();
                }
            }
        }
        self.end().await
    }

    /// Ends it; requests in progress are dropped, which their senders repeat.
    ///
    /// # Errors
    /// When it had failed before.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.stop.cancel();
        self.end().await
    }

    /// Ends it when this token is cancelled.
    #[must_use]
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    async fn end(&mut self) -> Result<(), ServeError> {
        while self.tasks.join_next().await.is_some() {}
        if let Err(source) = std::fs::remove_file(&self.socket) {
            tracing::warn!(%source, socket = %self.socket.display(), "the socket could not be removed");
        }
        match self.failure.lock().take() {
            Some(why) => Err(ServeError::Stopped(why)),
            None => Ok(()),
        }
    }
}

/// Serves `service` at `listen`, under a certificate for `hosts`, until stopped.
///
/// # Errors
/// When the address or the socket cannot be bound, or a host is no name for a certificate.
pub async fn start(
    service: Service,
    dir: &Path,
    listen: SocketAddr,
    hosts: &[String],
    clock: Clock,
) -> Result<Running, ServeError> {
    let identity = service.keys().tls_identity(hosts, clock()).map_err(CentralError::from)?;
    let tls = ServerTls::new(&identity, ALPN).map_err(CentralError::from)?;
    let tcp = TcpListener::bind(listen).await.map_err(io(|| format!("listening on {listen}")))?;
    let address = tcp.local_addr().map_err(io(|| format!("listening on {listen}")))?;
    let socket = socket_path(dir);
    let unix = bind_socket(&socket)?;

    let stop = CancellationToken::new();
    let failure = Arc::default();
    let shared = Shared {
        service: Arc::new(service),
        stop: stop.clone(),
        failure: Arc::clone(&failure),
        limiter: Arc::default(),
        rolled_over: Arc::default(),
    };
    let documents = Router::new()
        .route(DOCUMENTS_PATH, post(answer).layer(middleware::from_fn_with_state(shared.clone(), limit)))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT_BYTES))
        .with_state(shared.clone())
        .merge(rest::router(shared.clone()))
        .merge(pages::router(shared.clone(), clock.clone()));
    let admin = Router::new()
        .route(ADMIN_PATH, post(administer))
        // A document inside JSON: every quote of it is escaped.
        .layer(DefaultBodyLimit::max(2 * MAX_DOCUMENT_BYTES))
        .with_state(shared.clone());

    let mut tasks = JoinSet::new();
    tasks.spawn(accept_tls(tcp, tls.clone(), documents, stop.clone()));
    tasks.spawn(renew_certificate(shared, tls, hosts.to_vec(), clock, stop.clone()));
    let stopped = stop.clone();
    tasks.spawn(async move {
        let serving = axum::serve(unix, admin.into_make_service_with_connect_info::<SocketUser>())
            .with_graceful_shutdown(stopped.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "the operator's socket failed");
        }
    });
    Ok(Running { address, stop, tasks, failure, socket })
}

/// Where the operator's socket of the central in `dir` is.
#[must_use]
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join(SOCKET)
}

/// Sends an operator's request to the central that serves `dir`.
///
/// # Errors
/// When it refuses, or does not answer.
pub async fn ask(dir: &Path, request: &AdminRequest) -> Result<AdminReply, ServeError> {
    let failed = |e: &dyn std::fmt::Display| ServeError::Io {
        what: format!("asking the central that serves {}", dir.display()),
        source: std::io::Error::other(e.to_string()),
    };
    // No TLS on the socket, but the client will not be built without a configuration for it.
    let tls = tls::client_config([], None).map_err(CentralError::from)?;
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).unix_socket(socket_path(dir)).no_proxy();
    let client = builder.build().map_err(|e| failed(&e))?;
    let url = format!("http://central{ADMIN_PATH}");
    let response = client.post(url).json(request).send().await.map_err(|e| failed(&e))?;
    if response.status().is_success() {
        return response.json().await.map_err(|e| failed(&e));
    }
    let problem: Problem = response.json().await.map_err(|e| failed(&e))?;
    match problem.reason {
        Some(reason) => Err(CentralError::from(Refusal { reason, message: problem.detail }).into()),
        None => Err(failed(&problem.detail)),
    }
}

async fn answer(State(shared): State<Shared>, request: Bytes) -> Result<Response, Problem> {
    let response = shared.run(move |service| service.answer(&request)).await?;
    Ok(([(header::CONTENT_TYPE, DOCUMENT_TYPE)], response).into_response())
}

async fn administer(
    State(shared): State<Shared>,
    ConnectInfo(SocketUser(uid)): ConnectInfo<SocketUser>,
    body: Bytes,
) -> Result<axum::Json<AdminReply>, Problem> {
    let request: AdminRequest = serde_json::from_slice(&body)
        .map_err(|e| Problem::refused(RefusalReason::Invalid, format!("not a request to central: {e}")))?;
    shared.admin(Caller::uid(uid), request).await.map(axum::Json)
}

/// Who is at the other end of the operator's socket.
#[derive(Clone)]
struct SocketUser(u32);

impl Connected<IncomingStream<'_, UnixListener>> for SocketUser {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        // It was there a moment ago; if the system no longer knows, nobody is named.
        Self(stream.io().peer_cred().map_or(u32::MAX, |peer| peer.uid()))
    }
}

async fn unknown_path(headers: HeaderMap) -> Response {
    let browser = headers.get(header::ACCEPT).and_then(|types| types.to_str().ok()).is_some_and(|t| t.contains("html"));
    if browser {
        return pages::not_found();
    }
    let detail =
        format!("there is nothing here; documents are posted to {DOCUMENTS_PATH}, programs call {}", rest::BASE);
    Problem::refused(RefusalReason::NotFound, detail).into_response()
}

/// Made with mode 0600: only who may read the vendor's keys may ask.
fn bind_socket(path: &Path) -> Result<UnixListener, ServeError> {
    use std::os::unix::fs::PermissionsExt;
    let what = || format!("making the socket {}", path.display());
    // The store's lock is ours, so a socket that is there was left by a process that is gone.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(what)(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(io(what))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io(what))?;
    Ok(listener)
}

async fn accept_tls(listener: TcpListener, tls: ServerTls, router: Router, stop: CancellationToken) {
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed, so acquiring cannot fail; if it did there would be nothing to serve.
        let Ok(permit) = limit.clone().acquire_owned().await else { return };
        tokio::select! {
            () = stop.cancelled() => return connections.shutdown().await,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let router = router.clone().layer(Extension(Peer(peer)));
                    connections.spawn(connection(stream, tls.clone(), router, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, tls: ServerTls, router: Router, _permit: OwnedSemaphorePermit) {
    let serve = async {
        let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| "handshake timed out")??;
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, serve).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error, "a connection ended"),
        Err(_) => tracing::debug!("a connection was closed: it lasted too long"),
    }
}

async fn renew_certificate(shared: Shared, tls: ServerTls, hosts: Vec<String>, clock: Clock, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RENEW_CERTIFICATE) => {}
            () = shared.rolled_over.notified() => {}
        }
        let renewed =
            shared.service.keys().tls_identity(&hosts, clock()).and_then(|identity| tls.renew(&identity, ALPN));
        if let Err(error) = renewed {
            tracing::error!(%error, "central's HTTPS certificate could not be renewed; tried again tomorrow");
        }
    }
}

fn io(what: impl Fn() -> String) -> impl Fn(std::io::Error) -> ServeError {
    move |source| ServeError::Io { what: what(), source }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Central(error.into())
    }
}
