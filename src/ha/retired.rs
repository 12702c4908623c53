//! A node that its cluster has retired. It has lost the keys of the cluster, shows what it knows on its own address, and
//! changes nothing.

use super::control::{Control, internal, sync_folder};
use super::identity::{self, IdentityError, NodeFile, NodeIdentity};
use super::ports::{Ports, listen, own_address};
use super::set_aside;
use crate::admin::AdminError;
use crate::config::{Config, NodeRole};
use crate::license::{Settings, State};
use crate::pki::tls::Identity as TlsIdentity;
use crate::product::listener::{Limits, serve_tls};
use crate::product::{self, Code, Problem};
use crate::raft::Ledger;
use crate::store::{Store, StoreOptions};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const WHY: &str = "this node is retired; provision it afresh to use it again";
/// Open connections are cut after this when the pages end.
const CLOSE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// The pages of a retired node.
pub(super) struct Pages {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Pages {
    pub(super) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(CLOSE, self.tasks.wait()).await.is_err() {
            tracing::warn!("the pages of the retired node did not close within {CLOSE:?}");
        }
    }
}

impl Control {
    pub(super) fn retired_file(&self) -> PathBuf {
        self.data_dir().join("retired")
    }

    /// Whether this node is retired and knows what it knew.
    #[must_use]
    pub fn shows_last_state(&self) -> bool {
        self.retired_pages.lock().is_some()
    }

    /// Ends this node's part for good: what it has may be read, but it has lost the keys of the cluster.
    pub(super) async fn retire(&self) -> Result<(), AdminError> {
        if let Some(running) = self.current() {
            let kept = self.keep_certificate(&running.identity);
            if let Err(error) = kept {
                tracing::error!(error = format!("{error:#}"), "this node will show no pages");
            }
        }
        std::fs::write(self.retired_file(), b"").and_then(|()| sync_folder(self.data_dir())).map_err(internal)?;
        self.stop_running(WHY).await;
        self.stay_retired().await.map_err(internal)
    }

    /// Puts the keys of the cluster away, those in old copies too, and shows the pages.
    pub(super) async fn stay_retired(&self) -> Result<()> {
        self.shared.ledger.off(WHY);
        self.forget_keys()?;
        if self.shared.config.role == NodeRole::Data
            && let Err(error) = self.show().await
        {
            tracing::error!(error = format!("{error:#}"), "this retired node shows no pages");
        }
        Ok(())
    }

    fn forget_keys(&self) -> Result<(), IdentityError> {
        set_aside::forget_keys(self.data_dir(), &NodeFile::load(self.data_dir())?.cluster_id)?;
        identity::forget_keys(self.data_dir())
    }

    /// A last certificate of the cluster's CA for the pages, which names this node alone.
    fn keep_certificate(&self, identity: &NodeIdentity) -> Result<()> {
        let config = &self.shared.config;
        if config.role == NodeRole::Witness {
            return Ok(());
        }
        let alone = Settings { vip: Vec::new(), host_common_name: String::new(), ..Settings::default() };
        let cert = Ports::certificate(identity, config.address, &alone, (self.shared.clock)())?;
        Ok(identity::keep_page_key(self.data_dir(), &cert)?)
    }

    async fn show(&self) -> Result<()> {
        let config = &self.shared.config;
        let cert = identity::page_key(self.data_dir()).context("the certificate of the pages")?;
        self.shared.ledger.keep(last_state(config).await?);
        let ports = self.serve(&cert).await?;
        if let Some(before) = self.retired_pages.lock().replace(ports) {
            before.stop.cancel();
        }
        tracing::info!(address = %config.address, "this retired node shows what it has");
        Ok(())
    }

    async fn serve(&self, cert: &TlsIdentity) -> Result<Pages> {
        let config = &self.shared.config;
        let tls = Ports::tls(cert)?;
        let pages = Pages { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let vip = self.shared.ledger.state().settings().vip.join(", ");
        let products = product::out_of_service(Problem::new(
            Code::Unavailable,
            match vip.as_str() {
                "" => "this node is retired and issues no licenses".to_owned(),
                vip => format!("this node is retired and issues no licenses; the virtual address was {vip}"),
            },
        ));
        let mut listeners = Vec::new();
        for (port, router) in [(config.https.product, products), (config.https.gui, self.shared.pages(None))] {
            let address = (own_address(port.ip(), config.address), port.port());
            listeners.push((listen_when_free(address.into()).await?, router));
        }
        for (listener, router) in listeners {
            pages.tasks.spawn(serve_tls(listener, tls.clone(), router, Limits::default(), pages.stop.child_token()));
        }
        Ok(pages)
    }
}

/// The running part has let go of its ports a moment ago.
async fn listen_when_free(address: SocketAddr) -> std::io::Result<TcpListener> {
    let until = Instant::now() + CLOSE;
    loop {
        match listen(address) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
            }
            listening => return listening,
        }
    }
}

/// What the store of this node has: it was closed in order when the node was retired.
async fn last_state(config: &Config) -> Result<Arc<State>> {
    let dir = config.data_dir.join(set_aside::STORE);
    let opened = tokio::task::spawn_blocking(move || {
        let (_log, _machine, store) = Store::open(&dir, StoreOptions::default())?;
        let state = store.state();
        store.close();
        Ok::<_, crate::store::StoreError>(state)
    });
    opened.await?.context("opening the store")
}
