//! The certificates of the HTTPS ports: which one products see.

use super::identity::NodeIdentity;
use super::ports::Ports;
use crate::central::VendorRoot;
use crate::license::{Account, BrowserCertificate, Command, Millis, ServerCertificate, Settings, State};
use crate::pki::PkiError;
use crate::pki::tls::Identity as TlsIdentity;
use crate::product::Clock;
use crate::raft::Ledger;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the revocation list is looked at; it is issued once a day.
const LOOK: Duration = Duration::from_millis(500);

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

/// What browsers see: what an administrator has brought, until it ends, else one of the cluster CA.
///
/// # Errors
/// When no certificate can be made.
pub(super) fn for_browsers(
    identity: &NodeIdentity,
    address: IpAddr,
    state: &State,
    now: Millis,
) -> Result<TlsIdentity, PkiError> {
    if let (Some(brought), Some(sealer)) = (state.browser_certificate(), &identity.sealer)
        && now < brought.not_after
    {
        match sealer.open(BrowserCertificate::KEY_CONTEXT, &brought.key) {
            Ok(key_pkcs8) => return Ok(TlsIdentity { chain: brought.chain.clone(), key_pkcs8 }),
            Err(error) => tracing::error!(%error, "the key of the certificate for browsers cannot be opened"),
        }
    }
    Ports::certificate(identity, address, state.settings(), now)
}

/// The authorities that this server's own certificates come from.
pub(super) fn authorities(cluster_ca: &[u8], settings: &Settings) -> Vec<Vec<u8>> {
    let root = VendorRoot::from_pem(settings.vendor_root.as_bytes()).ok();
    std::iter::once(cluster_ca.to_vec()).chain(root.map(|root| root.der().to_vec())).collect()
}

/// Has the revocation list issued anew once a day, while this node is active and some account may certify products.
pub(super) async fn keep(
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    active: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if *active.borrow() {
            list_revoked(&*ledger, clock()).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn list_revoked(ledger: &dyn Ledger, now: Millis) {
    let state = ledger.state();
    let certifies = |a: &Account| a.keys.as_ref().is_some_and(|keys| !keys.ca_chain.is_empty());
    let list = state.revocation_list();
    if !list.due(now) || !state.accounts().any(certifies) {
        return;
    }
    let command = Command::IssueRevocationList { number: list.number + 1 };
    if let Err(error) = super::control::commit(ledger, "cluster", command).await {
        tracing::warn!(%error, "the revocation list could not be issued anew; trying again");
    }
}
