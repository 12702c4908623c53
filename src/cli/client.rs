//! The connection to a node: which one, over what, and how a call is repeated.

use super::error::CliError;
use crate::admin::{self, KIND_KEY, Kind, REQUEST_ID_KEY};
use crate::pki::{ca, random, tls};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

/// Port of remote administration where the endpoint names none.
const ADMIN_PORT: u16 = crate::config::ADMIN_PORT;
/// A change of the active node is over by then, or it is not an ordinary one.
const RETRY_FOR: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Where the node is.
#[derive(clap::Args, Debug)]
pub struct Connect {
    /// The node to ask: unix:PATH or https://HOST[:PORT]; several by commas are tried in turn.
    #[arg(long, env = "LICRAFT_ENDPOINT", global = true, value_name = "ENDPOINT", help_heading = "Connection")]
    endpoint: Option<String>,
    /// The node's admin socket; short for --endpoint unix:PATH.
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "endpoint", help_heading = "Connection")]
    socket: Option<PathBuf>,
    /// Certificate and key (PEM) of the admin identity, for https.
    #[arg(long, env = "LICRAFT_IDENTITY", global = true, value_name = "FILE", help_heading = "Connection")]
    identity: Option<PathBuf>,
    /// The cluster's CA certificate (PEM), for https.
    #[arg(long, env = "LICRAFT_CLUSTER_CA", global = true, value_name = "FILE", help_heading = "Connection")]
    cluster_ca: Option<PathBuf>,
}

/// One place to find a node at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Socket(PathBuf),
    Https { host: String, port: u16 },
}

/// A connected node.
pub struct Client {
    channel: Channel,
    /// One for each run of the program: it makes one change at most.
    request_id: u128,
    /// Over the network, with an admin identity.
    remote: bool,
}

impl Connect {
    /// The first endpoint that answers.
    pub async fn open(&self) -> Result<Client, CliError> {
        let endpoints = self.endpoints()?;
        let mut failures = Vec::new();
        for endpoint in &endpoints {
            match self.try_open(endpoint).await {
                Ok(channel) => {
                    let remote = matches!(endpoint, Endpoint::Https { .. });
                    return Ok(Client { channel, request_id: random::u128(), remote });
                }
                Err(error) => failures.push(error),
            }
        }
        match <[CliError; 1]>::try_from(failures) {
            Ok([only]) => Err(only),
            Err(all) => {
                let why: Vec<String> = all.into_iter().map(|e| format!("{}: {}", e.what, e.why)).collect();
                Err(CliError::cluster("none of the nodes answers").because(why.join("\n     ")))
            }
        }
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, CliError> {
        if let Some(path) = &self.socket {
            return Ok(vec![Endpoint::Socket(path.clone())]);
        }
        match &self.endpoint {
            None => Ok(vec![Endpoint::Socket(crate::config::DEFAULT_SOCKET.into())]),
            Some(list) => list.split(',').map(parse_endpoint).collect(),
        }
    }

    async fn try_open(&self, endpoint: &Endpoint) -> Result<Channel, CliError> {
        match endpoint {
            Endpoint::Socket(path) => {
                // Tried once by hand: the channel would only say that it could not connect.
                UnixStream::connect(path).await.map_err(|e| socket_error(path, &e))?;
                Ok(admin::socket_channel(path.clone()))
            }
            Endpoint::Https { host, port } => self.open_https(host, *port).await,
        }
    }

    async fn open_https(&self, host: &str, port: u16) -> Result<Channel, CliError> {
        let (Some(identity), Some(ca)) = (&self.identity, &self.cluster_ca) else {
            return Err(CliError::usage("an https endpoint needs --identity FILE and --cluster-ca FILE")
                .hint("copy the admin identity and the cluster's CA here, or run the command on a node"));
        };
        let config = client_config(identity, ca)?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| CliError::usage(format!("`{host}` is neither a host name nor an address")))?;
        let address = format!("{host}:{port}");
        tokio::net::TcpStream::connect(&address).await.map_err(|e| {
            CliError::cluster(format!("{address} does not answer"))
                .because(e.to_string())
                .hint("name other nodes too, with commas between: any of them passes commands on to the active one")
        })?;
        Ok(admin::channel(address, name, Arc::new(config)))
    }
}

impl Client {
    /// A call to the node that is asked, made once.
    pub async fn direct<Q, T, F>(&self, message: Q, call: impl Fn(Channel, Request<Q>) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = call(self.channel.clone(), self.request(message)).await;
        Ok(answer.map_err(|status| self.error(status))?.into_inner())
    }

    /// A call to the active node. Repeated under one request id while roles change or the outcome is unknown, so a
    /// change is made once.
    pub async fn call<Q: Clone, T, F>(&self, message: Q, call: impl Fn(Channel, Request<Q>) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            match call(self.channel.clone(), self.request(message.clone())).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if passes(&status) && Instant::now() < deadline => tokio::time::sleep(RETRY_EVERY).await,
                Err(status) => return Err(self.error(status)),
            }
        }
    }

    /// A stream from the active node, begun once; the caller knows how to go on after a break.
    pub async fn stream<Q, T, F>(&self, message: Q, call: impl FnOnce(Channel, Request<Q>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        Ok(call(self.channel.clone(), self.request(message)).await?.into_inner())
    }

    /// A node says nothing to who comes with the certificate of nobody known: it closes the connection.
    fn error(&self, status: Status) -> CliError {
        let closed = self.remote && status.metadata().get(KIND_KEY).is_none();
        let error = CliError::from(status);
        if !closed {
            return error;
        }
        error
            .hint("look on a node at `licraft admin-identity list`: the identity may have been revoked or have expired")
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        let id = format!("{:032x}", self.request_id);
        request.metadata_mut().insert(REQUEST_ID_KEY, id.parse().expect("hex digits are metadata"));
        request
    }
}

/// Whether the same call may do better in a moment.
pub fn passes(status: &Status) -> bool {
    let kind = status.metadata().get(KIND_KEY).and_then(|v| v.to_str().ok());
    [Kind::NotActive, Kind::Unknown, Kind::Busy].iter().any(|k| kind == Some(k.as_str()))
}

fn parse_endpoint(text: &str) -> Result<Endpoint, CliError> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("unix:").filter(|p| !p.is_empty()) {
        return Ok(Endpoint::Socket(path.into()));
    }
    let url = url::Url::parse(text).ok().filter(|u| u.scheme() == "https" && u.path() == "/");
    match url.as_ref().and_then(|u| u.host_str()) {
        Some(host) => {
            // 443 is what the URL parser takes for "none"; nobody administers there.
            let port = url.as_ref().and_then(url::Url::port).unwrap_or(ADMIN_PORT);
            Ok(Endpoint::Https { host: host.to_owned(), port })
        }
        None => Err(CliError::usage(format!("`{text}` is no endpoint"))
            .hint("write unix:/run/licraft/admin.sock or https://10.0.0.5:7440")),
    }
}

/// Why the socket does not answer.
fn socket_error(path: &Path, error: &io::Error) -> CliError {
    let place = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CliError::cluster("no node answers on this machine").because(format!("nothing listens on {place}")).hint(
                "start it (`systemctl start licraft`, or `licraft node --config FILE`), or name another with --socket",
            )
        }
        io::ErrorKind::PermissionDenied => CliError::failed(format!("you may not open {place}"))
            .because(format!("it is for root and group {}", admin::GROUP))
            .hint(format!("use sudo, or have yourself added to group {}", admin::GROUP)),
        _ => CliError::failed(format!("{place} cannot be opened")).because(error.to_string()),
    }
}

fn client_config(identity: &Path, ca_file: &Path) -> Result<rustls::ClientConfig, CliError> {
    let unusable = |path: &Path, why: String| {
        CliError::failed(format!("{} cannot be used", path.display())).because(why).hint("give a PEM file")
    };
    let pem = Zeroizing::new(std::fs::read(identity).map_err(|e| unusable(identity, e.to_string()))?);
    let chain = ca::certificates_from_pem(&pem).map_err(|e| unusable(identity, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| unusable(identity, e.to_string()))?;
    let PrivateKeyDer::Pkcs8(key) = key else {
        return Err(unusable(identity, "its key is not in PKCS#8 form (BEGIN PRIVATE KEY)".into()));
    };
    let identity_parts = tls::Identity { chain, key_pkcs8: Zeroizing::new(key.secret_pkcs8_der().to_vec()) };
    let ca_pem = std::fs::read(ca_file).map_err(|e| unusable(ca_file, e.to_string()))?;
    let roots = ca::certificates_from_pem(&ca_pem).map_err(|e| unusable(ca_file, e.to_string()))?;
    let mut config = tls::client_config(roots.iter().map(Vec::as_slice), Some(&identity_parts))
        .map_err(|e| unusable(identity, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_sockets_or_https() {
        assert_eq!(parse_endpoint("unix:/a/b").unwrap(), Endpoint::Socket("/a/b".into()));
        let https = |host: &str, port| Endpoint::Https { host: host.into(), port };
        assert_eq!(parse_endpoint("https://10.0.0.5").unwrap(), https("10.0.0.5", 7440));
        assert_eq!(parse_endpoint("https://[fe80::1]:99").unwrap(), https("[fe80::1]", 99));
        for bad in ["", "unix:", "http://10.0.0.5", "10.0.0.5:7440", "https://a/b"] {
            assert_eq!(parse_endpoint(bad).unwrap_err().exit, 2, "{bad}");
        }
    }
}
