//! What runs while a node takes part in its cluster: the replica, and on a data node the HTTPS ports, the virtual
//! address and synchronization. All of it ends when `ha stop` or the process ends it.

use super::identity::NodeIdentity;
use super::ports::Ports;
use super::shared::Shared;
use super::upstream::UpstreamKeeper;
use crate::config::{NodeRole, VipDriver};
use crate::license::{Command, Settings};
use crate::pki::seal::Sealer;
use crate::pki::tls::NodeTls;
use crate::product::{self, ProductContext, Serving, ServingGuard};
use crate::raft::{Ledger, Replica, ReplicaOptions, Timings};
use crate::store::{BatchAuth, Epoch, NodeInfo, StoreOptions};
use crate::vip::{self, Guard, Holding, Stage};
use anyhow::{Context, Result};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often the level-triggered tasks look: becoming active and changed settings are noticed within this.
const LOOK: Duration = Duration::from_millis(5);
const SETTINGS_LOOK: Duration = Duration::from_millis(200);
/// How long the end of everything may take before it is cut.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// The running part of a node.
pub struct Running {
    pub identity: Arc<NodeIdentity>,
    pub node_tls: NodeTls,
    pub replica: Arc<Replica>,
    pub holding: watch::Receiver<Holding>,
    pub active: watch::Receiver<bool>,
    /// None on a witness.
    pub upstream: Option<Arc<UpstreamKeeper>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The batch MAC under the sealing key.
struct SealerAuth(Sealer);

impl BatchAuth for SealerAuth {
    fn mac(&self, body: &[u8]) -> [u8; 32] {
        self.0.mac(body)
    }

    fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
        self.0.verify_mac(body, mac)
    }
}

/// Serving as the virtual address and the product handlers ask for it.
#[derive(Clone)]
pub struct Served {
    replica: Arc<Replica>,
}

impl Guard for Served {
    fn serving_until(&self) -> Option<Instant> {
        self.replica.guard().serving_until()
    }
}

impl ServingGuard for Served {
    fn serving(&self) -> Serving {
        match self.replica.guard().serving_until() {
            Some(_) => Serving::Active,
            None => Serving::Standby { active: self.replica.active_name() },
        }
    }
}

impl Running {
    /// Starts everything for an initialised node.
    ///
    /// # Errors
    /// When the store does not open, a port is taken, or the identity is unusable.
    pub async fn start(shared: &Arc<Shared>, identity: Arc<NodeIdentity>) -> Result<Self> {
        let config = &shared.config;
        let node_tls = NodeTls::new(&identity.ca_cert, &identity.tls)?;
        let options = replica_options(shared, &identity, node_tls.clone())?;
        let replica = Replica::start(options).await.context("starting the replica")?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (active_tx, active) = watch::channel(false);
        let (report, holding) = watch::channel(Holding::default());
        let mut running =
            Self { identity, node_tls, replica, holding, active, upstream: None, stop, tasks };
        if config.role == NodeRole::Data {
            running.serve(shared, active_tx, report).await?;
        }
        shared.ledger.on(running.ledger());
        shared.measure(&running);
        running.watch_store(shared);
        Ok(running)
    }

    /// The ledger of this replica.
    #[must_use]
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        self.replica.ledger()
    }

    async fn serve(
        &mut self,
        shared: &Arc<Shared>,
        active: watch::Sender<bool>,
        report: watch::Sender<Holding>,
    ) -> Result<()> {
        let config = &shared.config;
        if config.vip.driver != VipDriver::Bind {
            anyhow::bail!(
                "the VIP drivers \"netlink\" and \"hook\" are not built yet; set `[vip] driver = \"bind\"` and use an \
                 address that this machine answers for"
            );
        }
        let sealer = self.identity.sealer.clone().context("a data node without its sealing key")?;
        let served = Served { replica: self.replica.clone() };
        let upstream = Arc::new(UpstreamKeeper::new(self.ledger(), sealer.clone(), shared.clock.clone()));
        self.upstream = Some(upstream.clone());
        let ports = Arc::new(self.ports(shared, sealer, &served)?);
        let own = own_address(config.https.product.ip(), config.address);
        ports.open(&[own], self.stop.child_token()).context("opening the HTTPS ports")?;

        let (vip_tx, vip_addresses) = watch::channel(Vec::new());
        let (wake_tx, wake) = watch::channel(0);
        let hold = vip::hold(
            Arc::new(served.clone()),
            ports.clone(),
            vip_addresses,
            wake,
            report,
            self.stop.child_token(),
        );
        self.tasks.spawn(hold);
        self.tasks.spawn(upstream.run(self.active.clone(), self.stop.child_token()));
        self.tasks.spawn(follow_role(self.replica.clone(), active, wake_tx, self.stop.child_token()));
        let follow = FollowSettings { shared: shared.clone(), identity: self.identity.clone(), ports, vip: vip_tx };
        self.tasks.spawn(follow.run(self.ledger(), self.stop.child_token()));
        Ok(())
    }

    fn ports(&self, shared: &Arc<Shared>, sealer: Sealer, served: &Served) -> Result<Ports> {
        let config = &shared.config;
        let settings = self.ledger().state().settings().clone();
        let cert = Ports::certificate(&self.identity, config.address, &settings, (shared.clock)())?;
        let context = ProductContext {
            ledger: self.ledger(),
            serving: Arc::new(served.clone()),
            sealer,
            metrics: shared.metrics.clone(),
            clock: shared.clock.clone(),
        };
        Ok(Ports {
            product: config.https.product.port(),
            gui: config.https.gui.port(),
            product_router: product::router(context),
            gui_router: shared.pages(served.clone()),
            tls: Ports::tls(&cert)?,
        })
    }

    /// A failed store ends the process: the address drops at once, the peers take over, and a restart may heal it.
    fn watch_store(&self, shared: &Arc<Shared>) {
        let (mut failed, stop, fatal) = (self.replica.failed(), self.stop.clone(), shared.fatal.clone());
        self.tasks.spawn(async move {
            let why = tokio::select! {
                () = stop.cancelled() => return,
                why = failed.wait_for(Option::is_some) => why.ok().and_then(|w| w.clone()),
            };
            if let Some(why) = why {
                tracing::error!(%why, "the store failed; this node stops serving");
                stop.cancel();
                fatal.send_replace(Some(why.to_string()));
            }
        });
    }

    /// Ends everything, address first, and waits for it.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            if let Err(error) = self.replica.shutdown().await {
                tracing::error!(%error, "the replica did not end cleanly");
            }
        };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::error!("the running part did not end within {SHUTDOWN:?}");
        }
    }
}

/// A wildcard in the node file means the node's own address: the virtual one is opened when it is held.
fn own_address(listen: IpAddr, address: IpAddr) -> IpAddr {
    if listen.is_unspecified() { address } else { listen }
}

fn replica_options(shared: &Shared, identity: &NodeIdentity, tls: NodeTls) -> Result<ReplicaOptions> {
    let (config, file) = (&shared.config, &identity.file);
    let epoch_id = u128::from_str_radix(&file.epoch_id, 16).context("the epoch in node.json is not hexadecimal")?;
    let auth = identity.sealer.clone().map(|s| Arc::new(SealerAuth(s)) as Arc<dyn BatchAuth>);
    Ok(ReplicaOptions {
        node_id: file.node_id,
        cluster_id: file.cluster_id.as_str().into(),
        epoch: Epoch { counter: file.epoch_counter, id: epoch_id },
        info: NodeInfo {
            name: file.name.clone(),
            public_address: config.address.to_string(),
            cluster_address: config.raft.listen.to_string(),
            witness: file.witness,
        },
        dir: config.data_dir.join("raft"),
        store: StoreOptions { auth: auth.clone(), ..StoreOptions::default() },
        auth,
        tls,
        timings: Timings {
            heartbeat_ms: file.heartbeat_ms,
            election_min_ms: file.election_min_ms,
            election_max_ms: file.election_max_ms,
        },
        listen: config.raft.listen,
    })
}

/// Publishes whether this node serves, wakes the address holder, and records each take-over.
async fn follow_role(
    replica: Arc<Replica>,
    active: watch::Sender<bool>,
    wake: watch::Sender<u64>,
    stop: CancellationToken,
) {
    let mut led_term = None;
    while !stop.is_cancelled() {
        let serving = replica.guard().serving_until().is_some();
        if *active.borrow() != serving {
            active.send_replace(serving);
            wake.send_modify(|n| *n += 1);
        }
        let term = replica.term();
        if serving && led_term != Some(term) {
            led_term = Some(term);
            tracing::info!(term, "this node is active");
            let command = Command::Resume { node_id: replica.node_id(), term, cause: replica.cause() };
            let ledger = replica.ledger();
            tokio::spawn(async move {
                if let Err(error) = ledger.propose(crate::pki::random::u128(), "cluster", command).await {
                    tracing::warn!(%error, "the change of roles could not be recorded");
                }
            });
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
    active.send_replace(false);
}

/// Brings the virtual addresses and the certificate's names in line with the replicated settings.
struct FollowSettings {
    shared: Arc<Shared>,
    identity: Arc<NodeIdentity>,
    ports: Arc<Ports>,
    vip: watch::Sender<Vec<IpAddr>>,
}

impl FollowSettings {
    async fn run(self, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
        let mut seen: Option<Settings> = None;
        while !stop.is_cancelled() {
            let settings = ledger.state().settings().clone();
            if seen.as_ref() != Some(&settings) {
                self.apply(&settings);
                seen = Some(settings);
            }
            tokio::select! {
                () = tokio::time::sleep(SETTINGS_LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn apply(&self, settings: &Settings) {
        let now = (self.shared.clock)();
        let renewed = Ports::certificate(&self.identity, self.shared.config.address, settings, now)
            .and_then(|cert| self.ports.renew(&cert));
        if let Err(error) = renewed {
            tracing::error!(%error, "the server certificate could not be renewed; the old one stays");
        }
        let addresses: Vec<IpAddr> = settings.vip.iter().filter_map(|a| a.parse().ok()).collect();
        self.vip.send_if_modified(|current| {
            let change = *current != addresses;
            *current = addresses;
            change
        });
    }
}
