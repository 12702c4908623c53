//! What runs while a node takes part in its cluster: the replica, and on a data node the HTTPS ports, the virtual
//! address and synchronization. All of it ends when `ha stop` or the process ends it.

use super::address::{self, Address};
use super::alerts;
use super::certificates;
use super::digests::{self, Compare};
use super::epoch::{self, Conflict};
use super::failed::Failed;
use super::fence;
use super::finding::Teller;
use super::follow_settings::FollowSettings;
use super::gray::{self, SelfProbe, Trouble};
use super::identity::NodeIdentity;
use super::leave::{self, StoodDown};
use super::node_certificate;
use super::ports::{Ports, own_address};
use super::sealing::Keeper;
use super::shared::Shared;
use super::supervisor;
use super::upstream::UpstreamKeeper;
use crate::admin;
use crate::config::{Config, NodeRole};
use crate::license::Command;
use crate::pki::random;
use crate::pki::seal::Sealer;
use crate::pki::tls::NodeTls;
use crate::product::{self, ProductContext, Serving, ServingGuard};
use crate::raft::{LeaseGuard, Ledger, Replica, ReplicaOptions, StoreParts, Timings, Transport};
use crate::store::{BatchAuth, Epoch, NodeInfo, Store, StoreHandle, StoreOptions};
use crate::vip::{Guard, Holding, Stage};
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

/// How often the level-triggered tasks look: becoming active is noticed within this.
const LOOK: Duration = Duration::from_millis(5);
/// The pause before a take-over that could not be recorded is tried again.
const RECORD_AGAIN: Duration = Duration::from_secs(1);
/// How long the end of everything may take before it is cut.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// The running part of a node.
pub struct Running {
    pub identity: Arc<NodeIdentity>,
    pub node_tls: NodeTls,
    pub replica: Arc<Replica>,
    pub store: StoreHandle,
    pub holding: watch::Receiver<Holding>,
    pub active: watch::Receiver<bool>,
    /// What does not work now.
    pub(super) failed: Arc<Failed>,
    /// None on a witness.
    pub upstream: Option<Arc<UpstreamKeeper>>,
    pub(super) stood_down: Arc<StoodDown>,
    /// The other node that was promoted beside this one.
    pub(super) conflict: watch::Receiver<Option<Conflict>>,
    /// The node of a later epoch that this one cannot rejoin.
    pub(super) stranded: watch::Sender<Option<String>>,
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
    guard: LeaseGuard,
    replica: Arc<Replica>,
}

impl Served {
    #[must_use]
    pub fn new(replica: Arc<Replica>) -> Self {
        Self { guard: replica.guard(), replica }
    }
}

impl Guard for Served {
    fn serving_until(&self) -> Option<Instant> {
        self.guard.serving_until()
    }
}

impl ServingGuard for Served {
    fn serving(&self) -> Serving {
        match self.guard.serving_until() {
            Some(_) => Serving::Active,
            None => Serving::Standby { active: active_name(&self.replica) },
        }
    }
}

/// The data node that leads, if another one does.
#[must_use]
pub fn active_name(replica: &Replica) -> Option<String> {
    let leader = replica.roles().borrow().leader?;
    replica.membership().members().remove(&leader).filter(|info| !info.witness).map(|info| info.name)
}

/// To the admin service of the member called `name`.
pub(super) fn member_channel(config: &Config, replica: &Replica, tls: &NodeTls, name: &str) -> Option<Channel> {
    let info = replica.membership().members().into_values().find(|info| info.name == name)?;
    let address: IpAddr = info.public_address.parse().ok()?;
    // Every node uses the same admin port.
    let address = SocketAddr::new(address, config.admin.listen.port());
    let name = rustls_pki_types::ServerName::from(address.ip());
    Some(admin::channel(address.to_string(), name, tls.client()))
}

impl Running {
    /// Starts everything for an initialised node.
    ///
    /// # Errors
    /// When the store does not open, a port is taken, or the identity is unusable.
    pub async fn start(shared: &Arc<Shared>, identity: Arc<NodeIdentity>) -> Result<Self> {
        let config = &shared.config;
        node_certificate::renew_own(shared, &identity).context("renewing this node's certificate")?;
        let node_tls = NodeTls::new(&identity.ca_cert, &identity.tls.load())?;
        let (active_tx, active) = watch::channel(false);
        let (report, holding) = watch::channel(Holding::default());
        let (silent, heard) = watch::channel(None);
        let failed = Arc::<Failed>::default();
        let trouble = Trouble::new(holding.clone(), heard);
        let (store, replica) = start_replica(shared, &identity, node_tls.clone(), trouble).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let known = Conflict::load(&config.data_dir)?;
        if known.as_ref().is_some_and(|conflict| conflict.yields) {
            replica.guard().bar();
        }
        let (conflict_tx, conflict) = watch::channel(known);
        let stood_down = Arc::default();
        shared.ledger.on(replica.ledger());
        let mut running = Self {
            identity,
            node_tls,
            replica,
            store,
            holding,
            active,
            failed,
            upstream: None,
            stood_down,
            conflict,
            stranded: watch::channel(None).0,
            stop,
            tasks,
        };
        if config.role == NodeRole::Data {
            running.serve(shared, active_tx, report)?;
            running.probe_self(shared, silent);
        }
        let (replica, holding, stop) = (running.replica.clone(), running.holding.clone(), running.stop.child_token());
        running.tasks.spawn(gray::watch_trouble(shared.clone(), replica, holding, running.failed.clone(), stop));
        let teller = Teller::new(running.identity.clone(), shared.findings.clone());
        running.compare(shared, teller.clone());
        let (replica, stop) = (running.replica.clone(), running.stop.child_token());
        running.tasks.spawn(leave::watch_retirement(replica, teller.clone(), stop));
        let (identity, node_tls) = (running.identity.clone(), running.node_tls.clone());
        let (replica, stop) = (running.replica.clone(), running.stop.child_token());
        running.tasks.spawn(node_certificate::keep(shared.clone(), identity, node_tls, replica, stop));
        if running.replica.options().rejoining {
            let (data_dir, replica) = (config.data_dir.clone(), running.replica.clone());
            running.tasks.spawn(epoch::rejoined(data_dir, replica, running.stop.child_token()));
        }
        let (data_dir, replica) = (config.data_dir.clone(), running.replica.clone());
        running.tasks.spawn(epoch::watch(data_dir, replica, conflict_tx, teller, running.stop.child_token()));
        shared.measure(&running);
        running.watch_store(shared);
        Ok(running)
    }

    /// The ledger of this replica.
    #[must_use]
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        self.replica.ledger()
    }

    fn probe_self(&self, shared: &Shared, silent: watch::Sender<Option<String>>) {
        let probe = SelfProbe {
            ca: self.identity.ca_cert.clone(),
            ledger: self.ledger(),
            port: shared.config.https.product.port(),
            holding: self.holding.clone(),
            silent,
        };
        self.tasks.spawn(probe.run(self.stop.child_token()));
    }

    fn compare(&self, shared: &Shared, teller: Teller) {
        let compare = Compare {
            name: shared.config.name.clone(),
            replica: self.replica.clone(),
            holding: self.holding.clone(),
            failed: self.failed.clone(),
            teller,
            clock: shared.clock.clone(),
        };
        self.tasks.spawn(compare.run(self.stop.child_token()));
    }

    fn serve(
        &mut self,
        shared: &Arc<Shared>,
        active: watch::Sender<bool>,
        report: watch::Sender<Holding>,
    ) -> Result<()> {
        let config = &shared.config;
        let sealer = self.identity.sealer.clone().context("a data node without its sealing key")?;
        let keeper = Keeper {
            ledger: self.ledger(),
            sealer: sealer.clone(),
            data_dir: config.data_dir.clone(),
            active: self.active.clone(),
        };
        self.tasks.spawn(keeper.run(self.stop.child_token()));
        let served = Served::new(self.replica.clone());
        let upstream = Arc::new(UpstreamKeeper::new(self.ledger(), sealer.clone(), shared.clock.clone()));
        self.upstream = Some(upstream.clone());
        let ports = Arc::new(self.ports(shared, sealer, &served)?);
        let own = own_address(config.https.product.ip(), config.address);
        ports.open(&[own], self.stop.child_token()).context("opening the HTTPS ports")?;

        let (vip_tx, wanted) = watch::channel(Vec::new());
        if let Some(socket) = shared.supervisor.clone() {
            let (replica, stop) = (self.replica.clone(), self.stop.child_token());
            self.tasks.spawn(supervisor::inform(socket, replica, wanted.clone(), stop));
        }
        let address = Address { wanted, report, stop: self.stop.child_token() };
        let (off, findings) = address::hold(config, served, ports.clone(), address)?;
        self.tasks.spawn(async move {
            // Without a sender the thread has ended, which is what is waited for.
            let _ = off.await;
        });
        self.tasks.spawn(address::note(config.name.clone(), self.ledger(), findings));
        self.tasks.spawn(upstream.run(self.active.clone(), self.stop.child_token()));
        let (ledger, clock, stop) = (self.ledger(), shared.clock.clone(), self.stop.child_token());
        self.tasks.spawn(certificates::keep(ledger, clock, self.active.clone(), stop));
        let readmit = leave::readmit(self.replica.clone(), self.stood_down.clone(), self.stop.child_token());
        self.tasks.spawn(readmit);
        let watch = alerts::Watch::new(config.name.clone(), self.replica.clone());
        self.tasks.spawn(watch.run(self.stop.child_token()));
        self.tasks.spawn(digests::mark(self.replica.clone(), self.store.clone(), self.stop.child_token()));
        let raised = epoch::to_be_raised(&config.data_dir);
        self.tasks.spawn(follow_role(self.replica.clone(), active, raised, self.stop.child_token()));
        let (data_dir, stop) = (config.data_dir.clone(), self.stop.child_token());
        self.tasks.spawn(epoch::conclude(data_dir, self.ledger(), self.active.clone(), stop));
        if let Some(fence) = config.fence.clone() {
            let teller = Teller::new(self.identity.clone(), shared.findings.clone());
            let watch = fence::Watch {
                fence,
                replica: self.replica.clone(),
                failed: self.failed.clone(),
                teller,
                clock: shared.clock.clone(),
            };
            self.tasks.spawn(watch.run(self.stop.child_token()));
        }
        let follow = FollowSettings { shared: shared.clone(), identity: self.identity.clone(), ports, vip: vip_tx };
        self.tasks.spawn(follow.run(self.ledger(), self.stop.child_token()));
        Ok(())
    }

    fn ports(&self, shared: &Arc<Shared>, sealer: Sealer, served: &Served) -> Result<Ports> {
        let config = &shared.config;
        let state = self.ledger().state();
        let now = state.time((shared.clock)());
        let products = certificates::for_products(&self.identity, config.address, &state, now)?;
        let pages = certificates::for_browsers(&self.identity, config.address, &state, now)?;
        let context = ProductContext {
            ledger: shared.ledger.clone(),
            serving: Arc::new(served.clone()),
            sealer,
            metrics: shared.metrics.clone(),
            clock: shared.clock.clone(),
        };
        let routers = product::routers(context);
        Ok(Ports {
            crl: config.https.crl.map(|listen| listen.port()),
            crl_router: routers.crl,
            product: config.https.product.port(),
            gui: config.https.gui.port(),
            product_router: routers.product,
            gui_router: shared.pages(Some(served.clone())),
            product_tls: Ports::tls(&products)?,
            gui_tls: Ports::tls(&pages)?,
        })
    }

    /// A failed store ends the process: the address drops at once, the peers take over, and a restart may heal it.
    fn watch_store(&self, shared: &Arc<Shared>) {
        let (mut failed, stop, fatal) = (self.store.failed(), self.stop.clone(), shared.fatal.clone());
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
            self.replica.shutdown().await;
            // Blocks for the last write of the image.
            let store = self.store.clone();
            if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
                tracing::error!("the store did not close cleanly");
            }
        };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::error!("the running part did not end within {SHUTDOWN:?}");
        }
    }
}

async fn start_replica(
    shared: &Shared,
    identity: &NodeIdentity,
    tls: NodeTls,
    trouble: Trouble,
) -> Result<(StoreHandle, Arc<Replica>)> {
    let (config, file) = (&shared.config, &identity.file);
    let epoch_id = u128::from_str_radix(&file.epoch_id, 16).context("the epoch in node.json is not hexadecimal")?;
    let auth = identity.sealer.clone().map(|s| Arc::new(SealerAuth(s)) as Arc<dyn BatchAuth>);
    let info = NodeInfo {
        name: file.name.clone(),
        public_address: config.address.to_string(),
        cluster_address: config.raft.listen.to_string(),
        witness: file.witness,
    };
    let epoch = Epoch { counter: file.epoch_counter, id: epoch_id };
    let mut options = ReplicaOptions::new(file.node_id, file.cluster_id.clone(), epoch, info);
    options.timings = Timings {
        heartbeat_ms: file.heartbeat_ms,
        election_min_ms: file.election_min_ms,
        election_max_ms: file.election_max_ms,
    };
    options.auth.clone_from(&auth);
    options.rejoining = epoch::rejoining(&config.data_dir);
    options.trouble = Arc::new(move || trouble.here());
    let host = shared.host.clone();
    options.resources = Arc::new(move || Some(host.load().resources));
    let listener = tokio::net::TcpListener::bind(config.raft.listen).await;
    let listener = listener.with_context(|| format!("listening for the other nodes on {}", config.raft.listen))?;
    NodeIdentity::check_store(&config.data_dir, &config.data_dir.join("raft"))?;
    let (dir, store_options) = (config.data_dir.join("raft"), StoreOptions { auth, ..StoreOptions::default() });
    // Blocks for the replay of the log's tail.
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir, store_options)).await?;
    let (log, machine, store) = opened.context("opening the store")?;
    NodeIdentity::note_store(&config.data_dir)?;
    let transport = Transport::Grpc { listener, tls, local: Some(config.raft.listen.ip()) };
    let parts = StoreParts::new(log, machine, store.clone());
    Ok((store, Replica::start_apart(options, parts, transport).await.context("starting the replica")?))
}

/// Publishes whether this node serves, and records each take-over; the first one with `why`, where there is a reason.
async fn follow_role(
    replica: Arc<Replica>,
    active: watch::Sender<bool>,
    mut why: Option<String>,
    stop: CancellationToken,
) {
    let guard = replica.guard();
    let mut led_term = None;
    let mut before = None;
    while !stop.is_cancelled() {
        let serving = guard.serving_until().is_some();
        if *active.borrow() != serving {
            active.send_replace(serving);
        }
        let role = replica.roles().borrow().clone();
        let term = role.term;
        if serving && led_term != Some(term) {
            led_term = Some(term);
            tracing::info!(term, "this node is active");
            let cause = why.take().unwrap_or_else(|| cause(&replica, before));
            let command = Command::Resume { node_id: replica.options().node_id, term, cause };
            tokio::spawn(record(replica.clone(), command, term, stop.clone()));
        }
        before = active_node(&replica, serving, role.leader).or(before);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
    active.send_replace(false);
}

/// Records the take-over in `term`. Until then nothing lapses, so it is tried until it is done or the term is over.
async fn record(replica: Arc<Replica>, command: Command, term: u64, stop: CancellationToken) {
    let (ledger, id) = (replica.ledger(), random::u128());
    while replica.roles().borrow().term == term && !stop.is_cancelled() {
        match ledger.propose(id, "cluster", command.clone()).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "the change of roles could not be recorded yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(RECORD_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// The data node that is active. One that leads is that only once it serves, and a witness never.
fn active_node(replica: &Replica, serving: bool, leader: Option<u64>) -> Option<u64> {
    let (leader, me) = (leader?, replica.options().node_id);
    let witness = || replica.membership().members().get(&leader).is_some_and(|info| info.witness);
    (if leader == me { serving } else { !witness() }).then_some(leader)
}

/// Why this node is active now, as far as it saw it happen.
fn cause(replica: &Replica, before: Option<u64>) -> String {
    let me = replica.options().node_id;
    let name = |id| replica.membership().members().remove(&id).map_or_else(|| format!("node {id}"), |info| info.name);
    match before {
        Some(other) if other != me => format!("took over from {}", name(other)),
        Some(_) => "elected again".into(),
        None => "start".into(),
    }
}
