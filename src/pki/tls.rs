//! TLS by rustls: node-to-node mTLS and the server side of product and GUI ports, all replaceable while running.

use super::PkiError;
use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// URI names in a node certificate: which node of which cluster it is.
pub const NODE_URI: &str = "licraft:node:";
pub const CLUSTER_URI: &str = "licraft:cluster:";

/// A certificate chain with its key.
pub struct Identity {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, DER.
    pub key_pkcs8: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

impl Identity {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = self.chain.iter().map(|c| CertificateDer::from(c.clone())).collect();
        (chain, PrivatePkcs8KeyDer::from(self.key_pkcs8.to_vec()).into())
    }
}

/// Both directions of node-to-node TLS; swapped as a whole when the certificate is renewed.
#[derive(Clone, Debug)]
pub struct NodeTls {
    current: Arc<ArcSwap<(Arc<ServerConfig>, Arc<ClientConfig>)>>,
}

impl NodeTls {
    /// mTLS in which both ends must hold a certificate of the cluster CA `ca_der`.
    ///
    /// # Errors
    /// When the identity or the CA is unusable.
    pub fn new(ca_der: &[u8], identity: &Identity) -> Result<Self, PkiError> {
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(Self::configs(ca_der, identity)?)) })
    }

    /// Replaces the certificate for connections made from now on.
    ///
    /// # Errors
    /// When the new one is unusable; the old one stays.
    pub fn renew(&self, ca_der: &[u8], identity: &Identity) -> Result<(), PkiError> {
        self.current.store(Arc::new(Self::configs(ca_der, identity)?));
        Ok(())
    }

    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        self.current.load().0.clone()
    }

    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        self.current.load().1.clone()
    }

    fn configs(ca_der: &[u8], identity: &Identity) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), PkiError> {
        let roots = Arc::new(roots([ca_der])?);
        let (chain, key) = identity.parts();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build().map_err(tls)?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(tls)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(tls)?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok((Arc::new(server), Arc::new(client)))
    }
}

/// The server side of an HTTPS port, replaceable while it runs.
#[derive(Clone, Debug)]
pub struct ServerTls {
    current: Arc<ArcSwap<ServerConfig>>,
}

impl ServerTls {
    /// # Errors
    /// When the identity is unusable.
    pub fn new(identity: &Identity, alpn: &[&[u8]]) -> Result<Self, PkiError> {
        Ok(Self { current: Arc::new(ArcSwap::new(server_config(identity, alpn)?)) })
    }

    /// # Errors
    /// When the new identity is unusable; the old one stays.
    pub fn renew(&self, identity: &Identity, alpn: &[&[u8]]) -> Result<(), PkiError> {
        self.current.store(server_config(identity, alpn)?);
        Ok(())
    }

    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

/// TLS 1.2 and 1.3 without client certificates.
///
/// # Errors
/// When the identity is unusable.
pub fn server_config(identity: &Identity, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, PkiError> {
    let (chain, key) = identity.parts();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(tls)?;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client that trusts exactly `roots` (DER), and shows `identity` when it has one.
///
/// # Errors
/// When a root or the identity is unusable.
pub fn client_config<'a>(
    trusted: impl IntoIterator<Item = &'a [u8]>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots(trusted)?);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let (chain, key) = identity.parts();
            builder.with_client_auth_cert(chain, key).map_err(tls)
        }
    }
}

/// The URI names in a certificate.
///
/// # Errors
/// When it does not parse.
pub fn uris_of_certificate(cert_der: &[u8]) -> Result<Vec<String>, PkiError> {
    use x509_parser::extensions::GeneralName;
    let (_, cert) = x509_parser::parse_x509_certificate(cert_der).map_err(|e| PkiError::Certificate(e.to_string()))?;
    let names = cert.subject_alternative_name().map_err(|e| PkiError::Certificate(e.to_string()))?;
    let names = names.iter().flat_map(|n| &n.value.general_names);
    Ok(names.filter_map(|n| if let GeneralName::URI(uri) = n { Some((*uri).to_owned()) } else { None }).collect())
}

/// The node id and cluster id in a node certificate's URI names.
///
/// # Errors
/// When the certificate does not parse or names no node.
pub fn node_of_certificate(cert_der: &[u8]) -> Result<(u64, String), PkiError> {
    let uris = uris_of_certificate(cert_der)?;
    let node = uris.iter().find_map(|u| u.strip_prefix(NODE_URI)?.parse().ok());
    let cluster = uris.iter().find_map(|u| u.strip_prefix(CLUSTER_URI));
    match (node, cluster) {
        (Some(node), Some(cluster)) => Ok((node, cluster.to_owned())),
        _ => Err(PkiError::Certificate("it does not name a node of a cluster".into())),
    }
}

/// The one cryptographic provider of the program.
#[must_use]
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<RootCertStore, PkiError> {
    let mut store = RootCertStore::empty();
    for der in ders {
        store.add(CertificateDer::from(der.to_vec())).map_err(tls)?;
    }
    Ok(store)
}

fn tls(e: impl std::fmt::Display) -> PkiError {
    PkiError::Tls(e.to_string())
}
