//! The certificates of the HTTPS ports: which one products see, and asking central for it.

use super::identity::NodeIdentity;
use super::ports::Ports;
use crate::central::VendorRoot;
use crate::license::{Command, Millis, ServerCertificate, ServerNames, Settings, State};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::seal::Sealer;
use crate::pki::tls::Identity as TlsIdentity;
use crate::pki::{PkiError, ca};
use crate::product::Clock;
use crate::raft::Ledger;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the names are looked at: they change by hand.
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

/// The authorities that this server's own certificates come from.
pub(super) fn authorities(cluster_ca: &[u8], settings: &Settings) -> Vec<Vec<u8>> {
    let root = VendorRoot::from_pem(settings.vendor_root.as_bytes()).ok();
    std::iter::once(cluster_ca.to_vec()).chain(root.map(|root| root.der().to_vec())).collect()
}

/// Has central asked for another certificate whenever the names have changed or the one in force ends, while this node is
/// active; without a vendor root nobody could check it.
pub(super) async fn keep(
    ledger: Arc<dyn Ledger>,
    sealer: Sealer,
    clock: Clock,
    active: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if *active.borrow() {
            let state = ledger.state();
            let names = state.server_names().filter(|_| !state.settings().vendor_root.is_empty());
            if let Some(names) = names.filter(|names| state.server_certificate().lacks(names, state.time(clock())))
                && let Err(error) = want(&*ledger, &sealer, names).await
            {
                tracing::warn!(error = format!("{error:#}"), "no other certificate could be asked for; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn want(ledger: &dyn Ledger, sealer: &Sealer, names: ServerNames) -> anyhow::Result<()> {
    let key = SigningKey::generate(Algorithm::Es256)?;
    let csr = ca::csr(&key, &names.common_name)?;
    let key = sealer.seal(ServerCertificate::KEY_CONTEXT, &key.to_pkcs8_der()?);
    super::control::commit(ledger, "cluster", Command::WantServerCertificate { names, csr, key }).await?;
    Ok(())
}
