//! TCP and TLS under gRPC between nodes.

use crate::pki::tls::{NodeTls, node_of_certificate};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Uri;
use tonic::transport::server::Connected;

/// For the TCP and TLS handshake of one connection. Longer than an election, so that a slow start does not prevent
/// one; short enough that dead connections do not pile up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// After a call that failed, until the next one: a heartbeat, so that a peer that comes back is found at once.
const REDIAL: Duration = Duration::from_millis(50);
/// Handshakes going on at once; peers are few, so more are strangers.
const MAX_HANDSHAKES: usize = 64;

/// The node that a verified certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    pub node: u64,
    pub cluster: String,
}

/// One accepted connection, with who is at its other end.
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    certified: Certified,
}

impl Connected for Secured {
    type ConnectInfo = Certified;

    fn connect_info(&self) -> Certified {
        self.certified.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts until `stop`; a connection that is no node of any cluster gets no further than its handshake.
pub(super) async fn accept(
    listener: TcpListener,
    tls: NodeTls,
    accepted: mpsc::Sender<io::Result<Secured>>,
    stop: CancellationToken,
) {
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_HANDSHAKES));
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = stop.cancelled() => return,
        };
        let (stream, from) = match connection {
            Ok(connection) => connection,
            Err(error) => {
                // Out of descriptors, for instance: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a node's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!(%from, "too many connections at once; closed one");
            continue;
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        tokio::spawn(async move {
            let _slot = slot;
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, secure_incoming(stream, &tls)).await {
                // The server has ended when nobody takes it.
                Ok(Ok(secured)) => drop(accepted.send(Ok(secured)).await),
                // Somebody looked whether the port answers, as `ha deploy` does.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::debug!(%from, "a connection to the Raft port was closed at once");
                }
                Ok(Err(error)) => tracing::warn!(%from, %error, "refused a connection to the Raft port"),
                Err(_) => tracing::warn!(%from, "a connection to the Raft port did not finish its handshake"),
            }
        });
    }
}

async fn secure_incoming(stream: TcpStream, tls: &NodeTls) -> io::Result<Secured> {
    stream.set_nodelay(true)?;
    let stream: TlsStream<TcpStream> = TlsAcceptor::from(tls.server()).accept(stream).await?.into();
    let certified = peer_of(&stream)?;
    Ok(Secured { stream, certified })
}

fn peer_of(stream: &TlsStream<TcpStream>) -> io::Result<Certified> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let leaf = leaf.ok_or_else(|| io::Error::other("the peer shows no certificate"))?;
    let (node, cluster) = node_of_certificate(leaf).map_err(io::Error::other)?;
    Ok(Certified { node, cluster })
}

/// Where to connect, and whom to expect there.
#[derive(Clone)]
pub(super) struct Dialer {
    pub tls: NodeTls,
    /// Own cluster address: also the virtual address may be on this host, and must not be the source.
    pub local: Option<IpAddr>,
    pub expected: Certified,
    /// host:port.
    pub address: String,
    /// When a call last failed.
    pub failed: Arc<Mutex<Option<Instant>>>,
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            // openraft calls again at once, so the pause is here.
            let pause = dialer.failed.lock().map(|at| at + REDIAL);
            if let Some(until) = pause {
                tokio::time::sleep_until(until.into()).await;
            }
            let dialled = tokio::time::timeout(HANDSHAKE_TIMEOUT, dialer.dial()).await;
            let dialled = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            *dialer.failed.lock() = dialled.is_err().then(Instant::now);
            dialled.map(TokioIo::new)
        })
    }
}

impl Dialer {
    async fn dial(&self) -> io::Result<TlsStream<TcpStream>> {
        let mut refused = io::Error::other(format!("{} has no address", self.address));
        for address in lookup_host(&self.address).await? {
            match self.dial_one(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn dial_one(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = self.local.filter(|local| local.is_ipv4() == address.is_ipv4() && !local.is_unspecified())
        {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        // TLS checks the host dialled, as the certificate has it; which node it is comes next.
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = rustls_pki_types::ServerName::try_from(name).map_err(io::Error::other)?;
        let stream: TlsStream<TcpStream> = TlsConnector::from(self.tls.client()).connect(name, stream).await?.into();
        let found = peer_of(&stream)?;
        if found != self.expected {
            return Err(io::Error::other(format!(
                "{address} is node {} of cluster {}, not node {} of cluster {}; check the cluster addresses",
                found.node, found.cluster, self.expected.node, self.expected.cluster
            )));
        }
        Ok(stream)
    }
}
