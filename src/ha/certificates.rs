//! The certificates of the HTTPS ports: which one products see.

use super::identity::NodeIdentity;
use super::ports::Ports;
use crate::central::VendorRoot;
use crate::license::{Millis, ServerCertificate, Settings, State};
use crate::pki::PkiError;
use crate::pki::tls::Identity as TlsIdentity;
use std::net::IpAddr;

/// What products see: central's certificate where that has the addresses that products come to, else one of the cluster
/// CA. It has those when a virtual address was changed and no account was synchronized since.
///
/// # Errors
/// When no certificate can be made.
pub(super) fn for_products(
    identity: &NodeIdentity,
    address: IpAddr,
    state: &State,
    now: Millis,
) -> Result<TlsIdentity, PkiError> {
    let settings = state.settings();
    let own = [address.to_string()];
    let reached = if settings.vip.is_empty() { own.as_slice() } else { settings.vip.as_slice() };
    if let (Some(current), Some(sealer)) = (&state.server_certificate().current, &identity.sealer)
        && reached.iter().all(|host| current.names.hosts.contains(host))
        && now < current.not_after
    {
        match sealer.open(ServerCertificate::KEY_CONTEXT, &current.key) {
            Ok(key_pkcs8) => return Ok(TlsIdentity { chain: current.chain.clone(), key_pkcs8 }),
            Err(error) => tracing::error!(%error, "the key of central's certificate cannot be opened"),
        }
    }
    Ports::certificate(identity, address, settings, now)
}

/// The authorities that this server's own certificates come from.
pub(super) fn authorities(cluster_ca: &[u8], settings: &Settings) -> Vec<Vec<u8>> {
    let root = VendorRoot::from_pem(settings.vendor_root.as_bytes()).ok();
    std::iter::once(cluster_ca.to_vec()).chain(root.map(|root| root.der().to_vec())).collect()
}
