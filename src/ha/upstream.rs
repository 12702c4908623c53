//! The way to central, made anew when the imported vendor root or the proxy changes.

use crate::admin::{AdminError, Imported, Kind};
use crate::central::{Asked, SyncService, Upstream, UpstreamError, VendorRoot};
use crate::license::{AccountId, Sealed, Settings};
use crate::pki::seal::Sealer;
use crate::product::Clock;
use crate::raft::Ledger;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the vendor root and the server's names are looked at: they change by hand.
const LOOK: Duration = Duration::from_millis(500);

/// The vendor root (PEM), the proxy and its sealed login.
type Way = (String, String, Option<Sealed>);

/// Keeps one [`Upstream`] for the vendor root and the proxy in force.
pub struct UpstreamKeeper {
    ledger: Arc<dyn Ledger>,
    sealer: Sealer,
    clock: Clock,
    current: Mutex<Option<(Way, Arc<Upstream>)>>,
}

impl UpstreamKeeper {
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, sealer: Sealer, clock: Clock) -> Self {
        Self { ledger, sealer, clock, current: Mutex::new(None) }
    }

    /// # Errors
    /// When no vendor root was imported, or it is unusable.
    pub fn get(&self) -> Result<Arc<Upstream>, AdminError> {
        let state = self.ledger.state();
        let Settings { vendor_root: pem, proxy, proxy_login, .. } = state.settings().clone();
        if pem.is_empty() {
            return Err(AdminError::new(Kind::State, "no vendor root was imported, so central cannot be trusted")
                .hint("run `licraft settings set vendor-root @FILE` with the file the vendor gave you"));
        }
        let mut current = self.current.lock();
        if let Some((known, upstream)) = &*current
            && *known == (pem.clone(), proxy.clone(), proxy_login.clone())
        {
            return Ok(upstream.clone());
        }
        let made = VendorRoot::from_pem(pem.as_bytes()).map_err(UpstreamError::from).and_then(|root| {
            Upstream::new(self.ledger.clone(), self.sealer.clone(), root, self.clock.clone()).map(Arc::new)
        });
        let upstream =
            made.map_err(|e| AdminError::new(Kind::Internal, "central cannot be reached").because(e.to_string()))?;
        *current = Some(((pem, proxy, proxy_login), upstream.clone()));
        Ok(upstream)
    }

    /// Runs the synchronization service for the vendor root in force, and while this node is active keeps the products'
    /// certificate wanted that the names ask for, until `stop`.
    pub async fn run(self: Arc<Self>, active: watch::Receiver<bool>, stop: CancellationToken) {
        let mut running: Option<(Arc<Upstream>, tokio::task::JoinHandle<()>)> = None;
        while !stop.is_cancelled() {
            if let Ok(upstream) = self.get()
                && running.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, &upstream))
            {
                let service = SyncService::new(upstream.clone(), active.clone());
                let task = tokio::spawn(service.run());
                if let Some((_, old)) = running.replace((upstream, task)) {
                    old.abort();
                }
            }
            let upstream = running.as_ref().map(|(upstream, _)| upstream).filter(|_| *active.borrow());
            if let Some(upstream) = upstream
                && let Err(error) = upstream.want_certificate().await
            {
                tracing::warn!(%error, "no other certificate could be asked for; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Some((_, task)) = running {
            task.abort();
        }
    }

    /// # Errors
    /// See [`UpstreamError`].
    pub async fn synchronize(&self, account: AccountId) -> Result<(), AdminError> {
        self.get()?.synchronize(account, "sync now").await.map(drop).map_err(|e| failed("synchronized", e))
    }

    /// # Errors
    /// See [`UpstreamError`]. The closing request stays outstanding then; it can go by files.
    pub async fn close(&self, account: AccountId, actor: &str) -> Result<(), AdminError> {
        let name = self.ledger.state().account(account).map(|a| a.name.clone()).unwrap_or_default();
        self.get()?.close(account, actor).await.map_err(|e| {
            let what = format!("account {name:?} is not deleted yet: central has not answered that it ends");
            not_exchanged(&what, e).hint(format!(
                "run the same command again when central answers; or exchange files, with `licraft sync export-request \
                 FILE --account {name:?}` and `licraft sync import-response`, and run it then; where central is gone for \
                 good, or has released the account, add --without-central"
            ))
        })
    }

    /// # Errors
    /// See [`UpstreamError`].
    pub async fn export(&self, account: AccountId, actor: &str) -> Result<Asked, AdminError> {
        self.get()?.request(account, actor).await.map_err(|e| not_exchanged("nothing was exported", e))
    }

    /// Takes a response of central, or only says what that would change.
    ///
    /// # Errors
    /// See [`UpstreamError`]; nothing has changed then.
    pub async fn import(&self, response: &[u8], dry_run: bool, actor: &str) -> Result<Imported, AdminError> {
        let refused = |e| not_exchanged("the response was not taken, and nothing has changed", e);
        let (account, changes) = self.get()?.import(response, dry_run, actor).await.map_err(refused)?;
        Ok(Imported { account, changes })
    }

    /// # Errors
    /// See [`UpstreamError`]. That central is not reached or not set is none: the account stays approved, and is registered
    /// later, over the network or by files.
    pub async fn approve(&self, account: AccountId, actor: &str) -> Result<(), AdminError> {
        match self.get()?.approve_account(account, actor).await {
            Err(UpstreamError::NoCentral) => Ok(()),
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, account = account.0, "central did not answer; the registration is tried again");
                Ok(())
            }
            other => other.map_err(|e| failed("registered with central", e)),
        }
    }
}

fn failed(what: &str, error: UpstreamError) -> AdminError {
    not_exchanged(&format!("the account was not {what}"), error)
}

fn not_exchanged(what: &str, error: UpstreamError) -> AdminError {
    let kind = match &error {
        UpstreamError::AccountUnknown(_) => Kind::NotFound,
        UpstreamError::Status { .. } | UpstreamError::NoCentral => Kind::State,
        UpstreamError::Propose(inner) => return inner.clone().into(),
        UpstreamError::Link(link) if link.may_pass() => Kind::Unreachable,
        UpstreamError::Response(_) => Kind::Invalid,
        _ => Kind::State,
    };
    AdminError::new(kind, what).because(error.to_string())
}
