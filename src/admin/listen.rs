//! The two doors of administration: the Unix socket, where the kernel says who asks, and mutual TLS, where a
//! certificate does.

use super::caller::Peer;
use futures::Stream;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};
use tokio_util::either::Either;

/// Members of this group may administer the machine's node.
pub const GROUP: &str = "licraft";
/// Open connections of one door: people and scripts, not products.
const MAX_CONNECTIONS: usize = 64;
/// A stranger who opens a connection and says nothing gives way after this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait before accepting again after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Says whose certificate it is (DER, leaf); None refuses the connection.
pub type Identify = Arc<dyn Fn(&[u8]) -> Option<Peer> + Send + Sync>;
/// The server's current TLS configuration; it must ask for client certificates and offer `h2`.
pub type TlsSource = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// Takes connections on the admin port that ask for another protocol by ALPN (RFC 7301), before their handshake.
pub trait Aside: Send + Sync + 'static {
    /// The protocol's ALPN name.
    fn alpn(&self) -> &'static [u8];
    /// Ends the handshake in its own way and serves the connection.
    fn take(&self, hello: StartHandshake<TcpStream>);
}

/// An accepted admin connection with a proven other end.
pub struct Connection {
    io: Either<UnixStream, Box<TlsStream<TcpStream>>>,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

/// What is accepted from now on.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// The bound socket file; removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced it; nothing is lost if it stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on the socket at `path`, for root, this process's user and, where it exists, group [`GROUP`].
///
/// # Errors
/// When another process answers there, or the file cannot be made.
pub fn unix(path: &Path) -> io::Result<(Incoming, SocketFile)> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let why = format!("another process answers on {}; stop it or name another socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    remove(&fresh)?;
    // Bound under another name until its mode is right, then renamed over a stale one.
    let listener = bind_private(&fresh)?;
    if let Some(gid) = group_id(GROUP)
        && chown(&fresh, None, Some(gid)).is_ok()
    {
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660))?;
    }
    std::fs::rename(&fresh, path)?;
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(accept_unix(listener, tx));
    Ok((Box::pin(tokio_stream::wrappers::ReceiverStream::new(rx)), SocketFile(path.to_owned())))
}

/// Binds at `path` with mode 0600 from the start, as far as the directory allows anybody in at all.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The id of a group in `/etc/group` (group(5)).
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

async fn accept_unix(listener: UnixListener, tx: mpsc::Sender<io::Result<Connection>>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = tokio::select! {
            () = tx.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting on the admin socket failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Without credentials there is nobody to hold to account.
        let Ok(credentials) = stream.peer_cred() else { continue };
        let peer = Peer::Local { uid: credentials.uid() };
        if tx.send(Ok(Connection { io: Either::Left(stream), peer, _place: place })).await.is_err() {
            return;
        }
    }
}

/// Accepts mutual TLS on `listener` from whom `identify` knows; what asks for `aside`'s protocol goes there.
pub fn tls(listener: TcpListener, config: TlsSource, identify: Identify, aside: Option<Arc<dyn Aside>>) -> Incoming {
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(accept_tls(listener, config, identify, aside, tx));
    Box::pin(tokio_stream::wrappers::ReceiverStream::new(rx))
}

async fn accept_tls(
    listener: TcpListener,
    config: TlsSource,
    identify: Identify,
    aside: Option<Arc<dyn Aside>>,
    tx: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let (stream, from) = tokio::select! {
            () = tx.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting on the admin port failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (config, identify, aside, tx) = (config(), identify.clone(), aside.clone(), tx.clone());
        tokio::spawn(async move {
            let shaken = handshake(config, stream, &identify, aside.as_deref());
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaken).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some((io, peer)))) => {
                    // The service may be ending.
                    let _ = tx.send(Ok(Connection { io: Either::Right(io), peer, _place: place })).await;
                }
                // Somebody looked whether the port answers, as `ha deploy` does.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::debug!(%from, "an admin connection was closed at once");
                }
                Ok(Err(error)) => tracing::info!(%from, %error, "an admin connection was refused"),
                Err(_) => tracing::info!(%from, "an admin connection was refused: the handshake took too long"),
            }
        });
    }
}

/// The connection with whose it is; none when it was taken aside.
async fn handshake(
    config: Arc<rustls::ServerConfig>,
    stream: TcpStream,
    identify: &Identify,
    aside: Option<&dyn Aside>,
) -> io::Result<Option<(Box<TlsStream<TcpStream>>, Peer)>> {
    stream.set_nodelay(true)?;
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    if let Some(aside) = aside
        && hello.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == aside.alpn()))
    {
        aside.take(hello);
        return Ok(None);
    }
    let stream = hello.into_stream(config).await?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = leaf.and_then(|leaf| identify(leaf));
    let peer =
        peer.ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the certificate is of nobody known"))?;
    Ok(Some((Box::new(stream), peer)))
}

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
