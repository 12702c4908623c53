//! Serves an axum router over TLS, or in the clear, on a listening socket: limits, time-outs, certificates that can be replaced, an
//! orderly end. Used by every port for browsers and products.

use super::message::PROBLEM_JSON;
use super::problem::{Code, Problem};
use crate::pki::tls::ServerTls;
use axum::Router;
use axum::body::Body;
use http::Request;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// The far end of the connection, as an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What one port allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue. Each costs some 30 KiB and one descriptor.
    pub connections: usize,
    /// From the TCP connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// For a request's header to arrive; also how long an idle kept-alive connection is kept.
    pub header_read: Duration,
    /// For connections to finish their requests after a shutdown; then they are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_192,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// Largest request header, and the read buffer of an HTTP/1 connection: what common servers allow.
const MAX_HEADER: usize = 16 * 1024;
/// Streams at once on one HTTP/2 connection: a browser's needs, not a flood.
const MAX_STREAMS: u32 = 64;
/// Pause after a failed `accept` (no descriptors left): long enough for some to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// When less than one place in so many is free, connections end with their answer: whoever is idle must not keep those
/// who wait from theirs until `header_read` is over.
const SCARCE: usize = 4;
/// How much of a plain HTTP request is read to find the host it was meant for.
const MAX_PLAIN_HEAD: usize = 4 * 1024;

/// Accepts connections until `shutdown`, then lets requests under way finish and returns. Certificates are taken from
/// `tls` anew for every connection. The listening socket is closed first.
pub async fn serve_tls(
    listener: TcpListener,
    tls: ServerTls,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    serve(listener, Some(tls), router, limits, shutdown).await;
}

/// As [`serve_tls`] without TLS: for what is public and signed by itself.
pub async fn serve_plain(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    serve(listener, None, router, limits, shutdown).await;
}

async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let (tracker, cut) = (TaskTracker::new(), CancellationToken::new());
    while let Some((stream, peer, place)) = next(&listener, &places, &shutdown).await {
        let (tls, limits) = (tls.clone(), limits.clone());
        let routed = Routed { router: router.clone(), places: places.clone() };
        let (shutdown, cut) = (shutdown.clone(), cut.clone());
        tracker.spawn(async move {
            let _place = place;
            tokio::select! {
                () = cut.cancelled() => {}
                result = connection(stream, peer, tls.as_ref(), routed, &limits, &shutdown) => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                }
            }
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(limits.drain, tracker.wait()).await.is_err() {
        cut.cancel();
        tracker.wait().await;
    }
}

/// What answers, and what tells whether places are scarce.
#[derive(Clone)]
struct Routed {
    router: Router,
    places: Arc<Semaphore>,
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection with its place; `None` at shutdown.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let accept = async {
        // The semaphore is never closed, so a place always comes.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted; the limit of open files may be too low");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => None,
        accepted = accept => accepted,
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&ServerTls>,
    routed: Routed,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return serve_connection(stream, false, peer, routed, limits, shutdown).await };
    let handshake = async {
        if speaks_plain_http(&stream).await? {
            return answer_plain_http(stream).await.map(|()| None);
        }
        TlsAcceptor::from(tls.current()).accept(stream).await.map(Some)
    };
    let stream = tokio::time::timeout(limits.handshake, handshake)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time"))??;
    match stream {
        Some(stream) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_connection(stream, http2, peer, routed, limits, shutdown).await
        }
        None => Ok(()),
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    peer: SocketAddr,
    Routed { router, places }: Routed,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let scarce = limits.connections / SCARCE;
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let (answer, places) = (router.clone().call(request.map(Body::new)), places.clone());
        async move {
            let mut answer = answer.await.unwrap_or_else(|never| match never {});
            // HTTP/2, which browsers speak, has no such header (RFC 9113, 8.2.2).
            if !http2 && places.available_permits() < scarce {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(stream);
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(limits.header_read)
            .max_header_list_size(MAX_HEADER as u32);
        let connection = builder.serve_connection(io, service);
        finish(connection, shutdown, |c| c.graceful_shutdown()).await
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.header_read).max_buf_size(MAX_HEADER);
        let connection = builder.serve_connection(io, service);
        finish(connection, shutdown, |c| c.graceful_shutdown()).await
    }
}

/// Runs a connection to its end, telling it when a shutdown begins.
async fn finish<C>(
    connection: C,
    shutdown: &CancellationToken,
    begin_shutdown: impl FnOnce(std::pin::Pin<&mut C>),
) -> io::Result<()>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result.map_err(io::Error::other),
        () = shutdown.cancelled() => begin_shutdown(connection.as_mut()),
    }
    connection.await.map_err(io::Error::other)
}

/// Whether the first byte is that of an HTTP method. A TLS record begins with 22, which is no letter.
async fn speaks_plain_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first[0].is_ascii_uppercase())
}

/// Says in plain HTTP where the request should have gone.
async fn answer_plain_http(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while head.len() < MAX_PLAIN_HEAD && !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if (&mut stream).take((MAX_PLAIN_HEAD - head.len()) as u64).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let (path, host) = path_and_host(&head);
    let host = host.unwrap_or_else(|| stream.local_addr().map_or_else(|_| "HOST:PORT".to_owned(), |a| a.to_string()));
    let body =
        Problem::new(Code::PlainHttp, format!("this port speaks HTTPS only; use https://{host}{path}")).to_json();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await?;
    // Read what is left of the body: closing with unread data would reset the connection before the answer is read.
    tokio::io::copy(&mut stream.take(super::MAX_BODY as u64), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Path and Host of a plain request's head, as far as they are there.
fn path_and_host(head: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/");
    let path = if target.starts_with('/') { target } else { "/" };
    let host = lines
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("host")))
        .map(|(_, value)| value.trim().to_owned());
    (path.to_owned(), host.filter(|h| !h.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_request_is_read_as_far_as_it_goes() {
        let full = b"POST /SmartTransport HTTP/1.1\r\nhost: vip.example:9443\r\n\r\n";
        assert_eq!(path_and_host(full), ("/SmartTransport".into(), Some("vip.example:9443".into())));
        assert_eq!(path_and_host(b"GET"), ("/".into(), None));
        assert_eq!(path_and_host(b"GET http://x/ HTTP/1.1\r\n\r\nhost: no"), ("/".into(), None));
    }
}
