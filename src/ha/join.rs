//! Both ends of pairing on the wire: the desk that lets a node in, and the joiner that asks.

use super::identity::{NodeFile, NodeIdentity};
use super::pairing::{ALPN, EXPORTER_LABEL, PairingError, proof};
use crate::license::Millis;
use crate::pki::ca::{self, Authority};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::pairing::PairingCode;
use crate::pki::seal::Sealer;
use crate::pki::tls::Identity as TlsIdentity;
use crate::pki::{PkiError, chain, tls};
use crate::proto::pairing::pairing_client::PairingClient;
use crate::proto::pairing::pairing_server::{Pairing, PairingServer};
use crate::proto::pairing::{JoinRequest, JoinResponse};
use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

/// A join is a handful of messages; more than this and the other end has gone.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest join message: a request and a certificate, with room.
const MAX_MESSAGE: usize = 64 * 1024;

/// Decides on joins; implemented where the ledger and the CA are.
#[tonic::async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Lets the node in or refuses; `exporter` binds the proof to this very connection.
    async fn admit(&self, request: JoinRequest, exporter: [u8; 32]) -> Result<JoinResponse, Status>;
}

/// The server's TLS for pairing: no client certificate, and the CA in the chain for the joiner to pin.
///
/// # Errors
/// When the identity is unusable.
pub fn server_config(identity: &TlsIdentity, ca_cert: &[u8]) -> Result<Arc<rustls::ServerConfig>, PkiError> {
    let chain =
        TlsIdentity { chain: vec![identity.chain[0].clone(), ca_cert.to_vec()], key_pkcs8: identity.key_pkcs8.clone() };
    tls::server_config(&chain, &[ALPN])
}

/// Serves one joiner on an accepted connection.
pub async fn serve_one(stream: tokio_rustls::server::TlsStream<TcpStream>, desk: Arc<dyn Desk>) {
    let exporter = stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None);
    let Ok(exporter) = exporter else {
        tracing::warn!("a joiner's TLS connection gives no exporter");
        return;
    };
    let service = PairingServer::new(Counter { desk }).max_decoding_message_size(MAX_MESSAGE);
    let incoming = futures::stream::iter([Ok::<_, std::io::Error>(Channel { stream, exporter })]);
    let serving = Server::builder().timeout(JOIN_TIMEOUT).add_service(service).serve_with_incoming(incoming);
    match tokio::time::timeout(JOIN_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "a joiner's connection failed"),
        Err(_) => tracing::info!("a joiner took too long"),
    }
}

struct Counter {
    desk: Arc<dyn Desk>,
}

#[tonic::async_trait]
impl Pairing for Counter {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let exporter = request.extensions().get::<Exporter>().map(|e| e.0);
        let exporter = exporter.ok_or_else(|| Status::internal("the connection has no exporter"))?;
        self.desk.admit(request.into_inner(), exporter).await.map(Response::new)
    }
}

/// A connection with its exporter value.
struct Channel {
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    exporter: [u8; 32],
}

#[derive(Clone)]
struct Exporter([u8; 32]);

impl Connected for Channel {
    type ConnectInfo = Exporter;

    fn connect_info(&self) -> Exporter {
        Exporter(self.exporter)
    }
}

impl AsyncRead for Channel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct Joiner {
    pub name: String,
    pub public_address: String,
    /// host:port of its Raft listener.
    pub cluster_address: String,
    pub witness: bool,
    pub version: String,
}

/// Joins the cluster behind `address` (host:port): proves the code, gets a certificate, and gives the identity to
/// keep. Nothing is written here.
///
/// # Errors
/// When the address does not answer, the cluster is another one, or the code is refused.
pub async fn join(address: &str, code: &PairingCode, joiner: Joiner) -> Result<(NodeIdentity, String), PairingError> {
    let key = SigningKey::generate(Algorithm::Es256)?;
    let csr = ca::csr(&key, &joiner.name)?;
    let (stream, ca_cert) = connect(address, code).await?;
    let exporter = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(|e| PairingError::Connection(format!("no TLS exporter: {e}")))?;
    let Joiner { name, public_address, cluster_address, witness, version } = joiner;
    let mut request = JoinRequest {
        name: name.clone(),
        public_address,
        cluster_address,
        witness,
        csr: csr.into(),
        version,
        proof: Vec::new().into(),
    };
    request.proof = proof(code, &request, &exporter).to_vec().into();
    let response = ask(stream, request).await?;
    accept(&name, witness, ca_cert, &key, response)
}

async fn connect(
    address: &str,
    code: &PairingCode,
) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, Vec<u8>), PairingError> {
    let failed = |e: std::io::Error| PairingError::Connection(format!("{address} does not answer: {e}"));
    let verifier = Arc::new(PinnedByCode { code: code.clone() });
    let mut config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| PairingError::Connection(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let connecting = async {
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        // The name is not looked at: the code pins the CA.
        let name = ServerName::try_from("pairing.invalid").expect("a constant and valid DNS name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| match e.get_ref() {
            Some(inner) if inner.to_string().contains(WRONG_CLUSTER) => PairingError::WrongCluster,
            _ => PairingError::Connection(format!(
                "{address} does not take a pairing connection ({e}); is a code open there, and is this its admin address?"
            )),
        })
    };
    let stream = tokio::time::timeout(JOIN_TIMEOUT, connecting)
        .await
        .map_err(|_| PairingError::Connection(format!("{address} does not answer within {JOIN_TIMEOUT:?}")))??;
    let ca_cert = stream.get_ref().1.peer_certificates().and_then(|c| c.last()).map(|c| c.to_vec());
    let ca_cert = ca_cert.ok_or(PairingError::WrongCluster)?;
    Ok((stream, ca_cert))
}

async fn ask(
    stream: tokio_rustls::client::TlsStream<TcpStream>,
    request: JoinRequest,
) -> Result<JoinResponse, PairingError> {
    let failed = |e: tonic::transport::Error| PairingError::Connection(e.to_string());
    let mut once = Some(TokioIo::new(stream));
    let channel = Endpoint::from_static("http://pairing.invalid")
        .timeout(JOIN_TIMEOUT)
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = once.take().ok_or_else(|| std::io::Error::other("the pairing connection was lost"));
            async move { stream }
        }))
        .await
        .map_err(failed)?;
    let reply = PairingClient::new(channel).max_decoding_message_size(MAX_MESSAGE).join(request).await;
    reply.map(Response::into_inner).map_err(|status| PairingError::Connection(status.message().to_owned()))
}

/// Checks that what came back belongs together.
fn accept(
    name: &str,
    witness: bool,
    ca_cert: Vec<u8>,
    key: &SigningKey,
    response: JoinResponse,
) -> Result<(NodeIdentity, String), PairingError> {
    let damaged = || PairingError::Connection("the cluster's answer is incomplete; try again with a new code".into());
    let cert = response.node_certificate.to_vec();
    if ca::certificate_key(&cert)? != key.public_key() || response.ca_certificate != ca_cert {
        return Err(damaged());
    }
    let (ca, sealer) = if witness {
        (None, None)
    } else {
        let sealer = Sealer::from_bytes(&response.sealing_key).map_err(|_| damaged())?;
        let ca_key = Zeroizing::new(response.ca_key.to_vec());
        (Some(Authority::from_parts(ca_cert.clone(), ca_key)?), Some(sealer))
    };
    let file = NodeFile {
        node_id: response.node_id,
        name: name.to_owned(),
        witness,
        cluster_id: response.cluster_id,
        epoch_counter: response.epoch_counter,
        epoch_id: hex::encode(&response.epoch_id),
        heartbeat_ms: response.heartbeat_ms,
        election_min_ms: response.election_min_ms,
        election_max_ms: response.election_max_ms,
    };
    let tls = TlsIdentity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der()? };
    Ok((NodeIdentity { file, ca_cert, ca, sealer, tls: ArcSwap::from_pointee(tls) }, response.peer_name))
}

const WRONG_CLUSTER: &str = "not the cluster of this pairing code";

/// Trusts a server whose chain ends in the CA that the pairing code names, and nothing else.
#[derive(Debug)]
struct PinnedByCode {
    code: PairingCode,
}

impl ServerCertVerifier for PinnedByCode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let wrong = || rustls::Error::General(WRONG_CLUSTER.into());
        let ca = intermediates.last().ok_or_else(wrong)?;
        let hash = ca::certificate_key(ca).map_err(|_| wrong())?.hash();
        if !self.code.matches_ca(&hash) {
            return Err(wrong());
        }
        let now = Millis(now.as_secs() * 1000);
        chain::verify(end_entity, &[], &[ca.to_vec()], now, chain::Use::Server)
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("pairing needs TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
