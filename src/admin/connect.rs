//! Client side of an admin connection: a channel over a Unix socket or mutual TLS.

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// A machine on the same network accepts within milliseconds; a dead one never does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A channel to the socket at `path`; connects when first used.
#[must_use]
pub fn socket_channel(path: PathBuf) -> Channel {
    endpoint().connect_with_connector_lazy(tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    }))
}

/// A channel to `host:port` whose certificate must be for `name`; connects when first used.
#[must_use]
pub fn channel(address: String, name: ServerName<'static>, tls: Arc<rustls::ClientConfig>) -> Channel {
    endpoint().connect_with_connector_lazy(tower::service_fn(move |_| {
        let (address, name, connector) = (address.clone(), name.clone(), TlsConnector::from(tls.clone()));
        async move {
            let connect = async {
                let tcp = TcpStream::connect(&address).await?;
                tcp.set_nodelay(true)?;
                connector.connect(name, tcp).await
            };
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")))??;
            io::Result::Ok(TokioIo::new(stream))
        }
    }))
}

fn endpoint() -> Endpoint {
    // The name is a placeholder that HTTP/2 asks for: the connectors above decide where to.
    Endpoint::from_static("http://licraft.invalid").http2_keep_alive_interval(Duration::from_secs(10))
}

/// An error with what is below it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let cause_text = cause.to_string();
        // Wrappers often repeat what they wrap.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        below = cause.source();
    }
    text
}
