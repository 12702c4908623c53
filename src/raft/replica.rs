//! One replica: Raft with its network, proposer, lease, membership and role, put together.

use super::clock::{CLOCK_TOLERANCE_MS, Clock, Stamper, SystemClock};
use super::config::{Timings, openraft_config};
use super::core::{Core, Engine, MetricsWatch};
use super::grpc::GrpcConnect;
use super::inbound::{Inbound, InboundParts};
use super::lease::LeaseGuard;
use super::membership::Membership;
use super::network::Network;
use super::parts::{StoreParts, StoreView};
use super::peer::{Connect, Header, NodeReport};
use super::peers::Peers;
use super::proposer::{Proposer, ProposerParts, ProposerStats};
use super::role::{RoleState, watch_role};
use super::status::{ReplicaStatus, peer_statuses};
use super::thread::RaftThread;
use super::{Ledger, server, witness};
use crate::pki::tls::NodeTls;
use crate::store::codec::{BatchAuth, Epoch};
use crate::store::{NodeInfo, TypeConfig};
use openraft::Raft;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a hand-over waits for commands in flight before it removes the address.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// Who a replica is.
#[derive(Clone)]
pub struct ReplicaOptions {
    pub node_id: u64,
    pub cluster_id: String,
    pub epoch: Epoch,
    /// Must be what the membership says of this node; `witness` decides the role.
    pub info: NodeInfo,
    pub timings: Timings,
    /// Seals batches; none on a witness.
    pub auth: Option<Arc<dyn BatchAuth>>,
    pub clock: Arc<dyn Clock>,
    /// Shown to the other nodes.
    pub version: String,
}

impl ReplicaOptions {
    /// Options with the machine's clock, default timing and this program's version.
    #[must_use]
    pub fn new(node_id: u64, cluster_id: String, epoch: Epoch, info: NodeInfo) -> Self {
        Self {
            node_id,
            cluster_id,
            epoch,
            info,
            timings: Timings::default(),
            auth: None,
            clock: Arc::new(SystemClock),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn header(&self) -> Header {
        Header {
            from: self.node_id,
            to: self.node_id,
            cluster: Arc::from(&*self.cluster_id),
            epoch: self.epoch,
            timings: self.timings,
        }
    }
}

/// How a replica talks to others.
pub enum Transport {
    /// gRPC over mTLS; outgoing connections come from `local`.
    Grpc { listener: TcpListener, tls: NodeTls, local: Option<IpAddr> },
    /// Inside one process, for tests: whoever made `connect` also delivers to [`Replica::inbound`].
    InProcess { connect: Arc<dyn Connect> },
}

/// Why a replica does not start or does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error("the Raft timing is contradictory: {0}")]
    Config(#[from] openraft::ConfigError),
    #[error("Raft cannot start: {0}")]
    Start(String),
}

/// Why leadership was not handed over. In every case this node serves again if it still leads.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("this node is not the active one")]
    NotActive,
    #[error("node {0} cannot take over: {1}")]
    Unfit(u64, String),
    #[error("node {0} did not take over in time")]
    NotTaken(u64),
    #[error("{0}")]
    Raft(String),
}

/// A running replica.
pub struct Replica {
    options: ReplicaOptions,
    core: Arc<dyn Core>,
    view: Arc<dyn StoreView>,
    proposer: Arc<Proposer>,
    guard: LeaseGuard,
    membership: Membership,
    roles: watch::Receiver<RoleState>,
    met: watch::Receiver<Option<(u64, Epoch)>>,
    peers: Arc<Peers>,
    inbound: Arc<Inbound>,
    stop: CancellationToken,
    tasks: tokio_util::task::TaskTracker,
    _thread: Option<RaftThread>,
}

impl Replica {
    /// As [`Self::start`], on a thread of its own, which ends with the replica.
    ///
    /// # Errors
    /// See [`ReplicaError`].
    pub async fn start_apart<L, M>(
        options: ReplicaOptions,
        store: StoreParts<L, M>,
        transport: Transport,
    ) -> Result<Arc<Self>, ReplicaError>
    where
        L: RaftLogStorage<TypeConfig>,
        M: RaftStateMachine<TypeConfig>,
    {
        let failed = |error: &dyn std::fmt::Display| ReplicaError::Start(error.to_string());
        let thread = RaftThread::start().map_err(|e| failed(&e))?;
        let handle = thread.handle().clone();
        let starting = handle.spawn(Self::start_on(options, store, transport, Some(thread)));
        starting.await.map_err(|e| failed(&e))?
    }

    /// Starts Raft on `store` and everything around it. It joins whatever cluster its log knows; a fresh node waits to
    /// be initialised ([`Membership::initialize`]) or added by a leader.
    ///
    /// # Errors
    /// See [`ReplicaError`].
    pub async fn start<L, M>(
        options: ReplicaOptions,
        store: StoreParts<L, M>,
        transport: Transport,
    ) -> Result<Arc<Self>, ReplicaError>
    where
        L: RaftLogStorage<TypeConfig>,
        M: RaftStateMachine<TypeConfig>,
    {
        Self::start_on(options, store, transport, None).await
    }

    async fn start_on<L, M>(
        options: ReplicaOptions,
        store: StoreParts<L, M>,
        transport: Transport,
        thread: Option<RaftThread>,
    ) -> Result<Arc<Self>, ReplicaError>
    where
        L: RaftLogStorage<TypeConfig>,
        M: RaftStateMachine<TypeConfig>,
    {
        let me = options.node_id;
        let is_witness = options.info.witness;
        let StoreParts { log, machine, view, snapshots } = store;
        let identity = options.header();
        let (connect, listen): (Arc<dyn Connect>, _) = match transport {
            Transport::Grpc { listener, tls, local } => {
                (Arc::new(GrpcConnect::new(tls.clone(), local, identity.clone())), Some((listener, tls)))
            }
            Transport::InProcess { connect } => (connect, None),
        };
        let config = openraft_config(&options.cluster_id, options.timings)?;
        let network = Network { me, connect: connect.clone(), snapshots: snapshots.clone() };
        let raft =
            Raft::new(me, config, network, log, machine).await.map_err(|e| ReplicaError::Start(e.to_string()))?;
        let core: Arc<dyn Core> = Arc::new(Engine { raft, snapshots });
        let guard = LeaseGuard::new(core.metrics(), view.clone(), options.timings, me, is_witness);
        let peers = Peers::new();
        let proposer = Proposer::new(ProposerParts {
            core: core.clone(),
            guard: guard.clone(),
            stamper: Stamper::new(options.clock.clone(), peers.clone()),
            auth: options.auth.clone().filter(|_| !is_witness),
            epoch: options.epoch,
            me,
            state: view.clone(),
            active_name: active_name(&core, me),
        });
        let hold_until = Instant::now() + options.timings.lease();
        let (shorter_tx, shorter_log) = mpsc::channel(1);
        let (met_tx, met) = watch::channel(None);
        let report = reporter(&options, &core, &guard, &view);
        let inbound = Arc::new(Inbound::new(InboundParts {
            core: core.clone(),
            state: view.clone(),
            identity,
            hold_until,
            shorter_log: shorter_tx,
            met: met_tx,
            report,
        }));
        let (roles_tx, roles) = watch::channel(RoleState::initial());
        let replica = Arc::new(Self {
            membership: Membership::new(core.clone(), me),
            options,
            core,
            view,
            proposer,
            guard,
            roles,
            met,
            peers,
            inbound,
            stop: CancellationToken::new(),
            tasks: tokio_util::task::TaskTracker::new(),
            _thread: thread,
        });
        replica.spawn(connect, listen, roles_tx, hold_until, shorter_log);
        Ok(replica)
    }

    fn spawn(
        &self,
        connect: Arc<dyn Connect>,
        listen: Option<(TcpListener, NodeTls)>,
        roles: watch::Sender<RoleState>,
        hold_until: Instant,
        shorter_log: mpsc::Receiver<()>,
    ) {
        let (me, is_witness) = (self.options.node_id, self.options.info.witness);
        if let Some((listener, tls)) = listen {
            let (inbound, stop) = (self.inbound.clone(), self.stop.clone());
            self.tasks.spawn(async move {
                if let Err(error) = server::serve(listener, tls, inbound, stop).await {
                    tracing::error!(%error, "the Raft listener ended");
                }
            });
        }
        let watching = watch_role(self.core.clone(), self.guard.clone(), roles, is_witness, me, self.stop.clone());
        self.tasks.spawn(watching);
        let metrics = self.core.metrics();
        let others = move || {
            let metrics = metrics.borrow();
            let nodes = metrics.membership_config.nodes().filter(|(id, _)| **id != me);
            nodes.map(|(id, info)| (*id, info.clone())).collect()
        };
        let clock = self.options.clock.clone();
        let asking = self.peers.clone().ask(connect, clock, others, CLOCK_TOLERANCE_MS, self.stop.clone());
        self.tasks.spawn(asking);
        if is_witness {
            let timings = self.options.timings;
            self.tasks.spawn(witness::play(self.core.clone(), me, timings, hold_until, shorter_log, self.stop.clone()));
        } else {
            self.tasks.spawn(hold_elections(self.core.clone(), me, hold_until, self.stop.clone()));
        }
    }

    /// Where commands go and state is read.
    #[must_use]
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(self.proposer.clone())
    }

    /// Tells until when this node may serve.
    #[must_use]
    pub fn guard(&self) -> LeaseGuard {
        self.guard.clone()
    }

    /// The role now, and every change of it.
    #[must_use]
    pub fn roles(&self) -> watch::Receiver<RoleState> {
        self.roles.clone()
    }

    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The newest other epoch that spoke to this node: (its node, its epoch).
    #[must_use]
    pub fn epoch_met(&self) -> watch::Receiver<Option<(u64, Epoch)>> {
        self.met.clone()
    }

    /// The receiving side, for in-process transports.
    #[must_use]
    pub fn inbound(&self) -> Arc<Inbound> {
        self.inbound.clone()
    }

    #[must_use]
    pub fn options(&self) -> &ReplicaOptions {
        &self.options
    }

    /// Counters of the proposer.
    #[must_use]
    pub fn proposer_stats(&self) -> &ProposerStats {
        &self.proposer.stats
    }

    /// Commands waiting or in flight.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.proposer.pending()
    }

    /// openraft's own metrics, for diagnosis.
    #[must_use]
    pub fn raft_metrics(&self) -> MetricsWatch {
        self.core.metrics()
    }

    /// Takes a snapshot soon, whatever the policy says.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn take_snapshot(&self) -> Result<(), ReplicaError> {
        self.core.take_snapshot().await.map_err(ReplicaError::Start)
    }

    /// How this replica and its peers stand.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let metrics = self.core.metrics().borrow().clone();
        let me = self.options.node_id;
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        ReplicaStatus {
            node_id: me,
            role: self.roles.borrow().clone(),
            last_log: metrics.last_log_index,
            last_applied: metrics.last_applied.map(Into::into),
            committed: metrics.local_committed.map(Into::into),
            snapshot: metrics.snapshot.map(Into::into),
            voter: voters.contains(&me),
            voters,
            quorum_ack_age: metrics.last_quorum_acked.map(|at| openraft::Instant::elapsed(&*at)),
            serving: self.guard.serving_until().is_some(),
            draining: self.guard.draining(),
            trouble: metrics.running_state.as_ref().err().map(ToString::to_string).or_else(|| self.view.failed()),
            peers: peer_statuses(&metrics, &self.peers, me),
        }
    }

    /// Hands over to `node_id`: stops accepting, waits up to [`DRAIN_TIMEOUT`] for what is in flight, lets
    /// `remove_address` finish, transfers, and waits until that node leads. Returns how long nobody served, as far as
    /// this node can see.
    ///
    /// # Errors
    /// See [`TransferError`]; the caller brings the address back when [`LeaseGuard::serving_until`] says so.
    pub async fn transfer_to<F>(&self, node_id: u64, remove_address: F) -> Result<Duration, TransferError>
    where
        F: Future<Output = ()> + Send,
    {
        if self.guard.serving_until().is_none() {
            return Err(TransferError::NotActive);
        }
        self.fit_to_lead(node_id)?;
        self.guard.drain(true);
        let result = self.hand_over(node_id, remove_address).await;
        self.guard.drain(false);
        result
    }

    /// A transfer to a node that cannot take over would leave the cluster without a leader for an election.
    fn fit_to_lead(&self, node_id: u64) -> Result<(), TransferError> {
        let status = self.status();
        let unfit = |why: &str| Err(TransferError::Unfit(node_id, why.to_owned()));
        let Some(peer) = status.peers.iter().find(|p| p.node_id == node_id) else {
            return unfit("it is not another member");
        };
        match (peer.voter, peer.info.witness, peer.last_contact, peer.behind) {
            (false, ..) => unfit("it is no voter"),
            (_, true, ..) => unfit("a witness never serves"),
            (_, _, None, _) => unfit("there is no contact with it"),
            (_, _, Some(age), _) if age > self.options.timings.lease() => unfit("there is no contact with it"),
            (_, _, _, None) => unfit("it has acknowledged nothing yet"),
            (_, _, _, Some(behind)) if behind > super::config::CAUGHT_UP_WITHIN * 10 => unfit("it is catching up"),
            _ if peer.trouble.is_some() => unfit(peer.trouble.as_deref().unwrap_or_default()),
            _ => Ok(()),
        }
    }

    async fn hand_over<F>(&self, node_id: u64, remove_address: F) -> Result<Duration, TransferError>
    where
        F: Future<Output = ()> + Send,
    {
        let lease = self.options.timings.lease();
        let started = Instant::now();
        while self.proposer.pending() > 0 && started.elapsed() < DRAIN_TIMEOUT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        remove_address.await;
        // Within one lease it either leads or will not: its vote needs one round trip and one barrier.
        match self.try_transfer(node_id, lease).await {
            Ok(()) => return Ok(started.elapsed()),
            Err(TransferError::NotTaken(_)) => {}
            Err(error) => return Err(error),
        }
        // openraft keeps a leader that began a transfer silent for good. Any other voter may lead next; a witness
        // hands back at once.
        tracing::warn!(node_id, "did not take over; asking another voter to hold an election");
        let me = self.options.node_id;
        let others = self.status().peers.into_iter().filter(|p| p.voter && p.node_id != node_id);
        for other in others.map(|p| p.node_id) {
            if self.try_transfer(other, lease).await.is_ok() {
                break;
            }
        }
        let mut metrics = self.core.metrics();
        let settled = metrics.wait_for(|m| m.current_leader.is_some_and(|l| l != me));
        if tokio::time::timeout(lease * 4, settled).await.is_err() {
            tracing::error!("no voter took leadership; waiting for an election");
        }
        Err(TransferError::NotTaken(node_id))
    }

    /// Ok says nothing, so the leader's name decides.
    async fn try_transfer(&self, node_id: u64, patience: Duration) -> Result<(), TransferError> {
        self.core.transfer_to(node_id).await.map_err(TransferError::Raft)?;
        let mut metrics = self.core.metrics();
        let taken = metrics.wait_for(|m| m.current_leader == Some(node_id) || m.running_state.is_err());
        let taken = tokio::time::timeout(patience, taken).await;
        match taken {
            Ok(Ok(m)) if m.current_leader == Some(node_id) => Ok(()),
            Ok(_) => Err(TransferError::Raft("Raft has stopped".to_owned())),
            Err(_) => Err(TransferError::NotTaken(node_id)),
        }
    }

    /// Ends everything; the store may be closed afterwards. Callers still waiting learn that their outcome is unknown.
    pub async fn shutdown(&self) {
        self.guard.drain(true);
        self.proposer.stop("the node stops");
        self.stop.cancel();
        if let Err(error) = self.core.shutdown().await {
            tracing::error!(error, "Raft did not end cleanly");
        }
        self.tasks.close();
        // The listener waits for its connections; the other side ends those when Raft answers no more.
        if tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await.is_err() {
            tracing::debug!("some connections of other nodes are still open");
        }
    }
}

/// Lets the node stand for election once the first lease after its start is over; a sole voter at once, since there
/// is nobody whose lease it could break. See [`Inbound`].
async fn hold_elections(core: Arc<dyn Core>, me: u64, hold_until: Instant, stop: CancellationToken) {
    let mut metrics = core.metrics();
    let sole = metrics.wait_for(|m| {
        let configs = m.membership_config.membership().get_joint_config();
        !configs.is_empty() && configs.iter().all(|voters| voters.len() == 1 && voters.contains(&me))
    });
    tokio::select! {
        _ = sole => {}
        () = tokio::time::sleep_until(hold_until) => {}
        () = stop.cancelled() => return,
    }
    core.enable_elections(true);
}

fn active_name(core: &Arc<dyn Core>, me: u64) -> Arc<dyn Fn() -> Option<String> + Send + Sync> {
    let metrics = core.metrics();
    Arc::new(move || {
        let metrics = metrics.borrow();
        let leader = metrics.current_leader.filter(|leader| *leader != me)?;
        metrics.membership_config.get_node(&leader).filter(|info| !info.witness).map(|info| info.name.clone())
    })
}

fn reporter(
    options: &ReplicaOptions,
    core: &Arc<dyn Core>,
    guard: &LeaseGuard,
    view: &Arc<dyn StoreView>,
) -> Arc<dyn Fn() -> NodeReport + Send + Sync> {
    let (metrics, core, guard, view) = (core.metrics(), core.clone(), guard.clone(), view.clone());
    let (me, version, clock) = (options.node_id, options.version.clone(), options.clock.clone());
    Arc::new(move || {
        let serving = guard.serving_until().is_some();
        let metrics = metrics.borrow();
        let raft_trouble = metrics.running_state.as_ref().err().map(ToString::to_string);
        NodeReport {
            node_id: me,
            version: version.clone(),
            wall: clock.now(),
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log: core.last_log(),
            last_applied: metrics.last_applied,
            voter: metrics.membership_config.voter_ids().any(|id| id == me),
            serving,
            trouble: raft_trouble.or_else(|| view.failed()).or_else(|| view.refuses()),
            digests: view.digests(),
        }
    })
}
