//! The HTTPS ports of a data node: opened on its own address while it runs, and on the virtual address while it holds
//! that.

use super::identity::NodeIdentity;
use crate::license::{Millis, Settings};
use crate::pki::ca::{self, Leaf, Purpose};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::tls::{Identity as TlsIdentity, ServerTls};
use crate::pki::{PkiError, random};
use crate::product::listener::{Limits, serve_plain, serve_tls};
use crate::vip::Stage;
use axum::Router;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// HTTP/1.1 and HTTP/2, as browsers offer them.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];
/// The certificate that the cluster CA issues for these ports; renewed at every start and change of names…
const CERTIFICATE_DAYS: u64 = 90;
/// … and once in each of these periods, so that two thirds of its life are left at least.
pub(super) const CERTIFICATE_RENEWAL: u64 = CERTIFICATE_DAYS / 3 * Millis::DAY;
/// Connections that wait to be accepted: a burst of products that come back at once.
const BACKLOG: i32 = 4096;

/// Of the port for revocation lists: one is fetched by a verifier once a day, and may be some megabytes.
const LISTS: Limits = Limits {
    connections: 256,
    handshake: Duration::from_secs(10),
    header_read: Duration::from_secs(10),
    drain: Duration::from_secs(1),
};

/// What is served, and where.
pub struct Ports {
    pub product: u16,
    pub gui: u16,
    /// Where revocation lists are served in the clear.
    pub crl: Option<u16>,
    pub crl_router: Router,
    pub product_router: Router,
    pub gui_router: Router,
    pub product_tls: ServerTls,
    pub gui_tls: ServerTls,
}

impl Ports {
    /// A certificate for everything this node may be called: its address, the virtual addresses, the common name.
    ///
    /// # Errors
    /// When the node has no CA, or a name is not allowed in a certificate.
    pub fn certificate(
        identity: &NodeIdentity,
        address: IpAddr,
        settings: &Settings,
        now: Millis,
    ) -> Result<TlsIdentity, PkiError> {
        let authority = identity.ca.as_ref().ok_or(PkiError::Key("a witness has no CA"))?;
        let mut hosts = settings.vip.clone();
        hosts.push(address.to_string());
        hosts.push(identity.file.name.clone());
        if !settings.host_common_name.is_empty() {
            hosts.push(settings.host_common_name.clone());
        }
        hosts.sort();
        hosts.dedup();
        let common_name = match settings.host_common_name.as_str() {
            "" => address.to_string(),
            name => name.to_owned(),
        };
        let key = SigningKey::generate(Algorithm::Es256)?;
        let leaf = Leaf {
            common_name: common_name.clone(),
            purpose: Purpose::Server,
            hosts,
            uris: Vec::new(),
            crl: None,
            serial: random::bytes(),
            not_before: Millis(now.0.saturating_sub(ca::BACKDATE_MS)),
            not_after: now.plus(CERTIFICATE_DAYS * Millis::DAY),
        };
        let cert = authority.issue_leaf(&ca::csr(&key, &common_name)?, &leaf)?;
        Ok(TlsIdentity { chain: vec![cert, identity.ca_cert.clone()], key_pkcs8: key.to_pkcs8_der()? })
    }

    /// # Errors
    /// When the certificate is unusable.
    pub fn tls(identity: &TlsIdentity) -> Result<ServerTls, PkiError> {
        ServerTls::new(identity, ALPN)
    }

    /// # Errors
    /// When a certificate is unusable; the old one stays.
    pub fn renew(&self, products: &TlsIdentity, pages: &TlsIdentity) -> Result<(), PkiError> {
        self.product_tls.renew(products, ALPN)?;
        self.gui_tls.renew(pages, ALPN)
    }
}

impl Stage for Ports {
    fn open(&self, addresses: &[IpAddr], until: CancellationToken) -> io::Result<()> {
        let mut listeners = Vec::new();
        for address in addresses {
            let products = (self.product, &self.product_tls, &self.product_router);
            for (port, tls, router) in [products, (self.gui, &self.gui_tls, &self.gui_router)] {
                listeners.push((listen(SocketAddr::new(*address, port))?, tls.clone(), router.clone()));
            }
        }
        let lists = self.crl.iter().flat_map(|port| addresses.iter().map(|address| SocketAddr::new(*address, *port)));
        for listener in lists.map(listen).collect::<io::Result<Vec<_>>>()? {
            tokio::spawn(serve_plain(listener, self.crl_router.clone(), LISTS, until.clone()));
        }
        for (listener, tls, router) in listeners {
            tokio::spawn(serve_tls(listener, tls, router, Limits::default(), until.clone()));
        }
        Ok(())
    }
}

/// A wildcard in the node file means the node's own address: the virtual one is opened when it is held.
pub(super) fn own_address(listen: IpAddr, address: IpAddr) -> IpAddr {
    if listen.is_unspecified() { address } else { listen }
}

pub(super) fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let with_address = |e: io::Error| io::Error::new(e.kind(), format!("listening on {address}: {e}"));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(with_address)?;
    // Lets a new holder listen while old connections linger; two listeners on one address stay impossible.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).map_err(with_address)?;
    socket.listen(BACKLOG).map_err(with_address)?;
    tokio::net::TcpListener::from_std(socket.into())
}
