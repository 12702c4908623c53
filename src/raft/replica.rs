//! One replica: Raft with its network, proposer, lease, membership and role, put together.

use super::agreement::{Agreement, Taken};
use super::clock::{Stamper, Watch};
use super::config::openraft_config;
use super::core::{Core, Engine, Metrics, MetricsWatch};
use super::epoch::EpochMet;
use super::grpc::GrpcConnect;
use super::inbound::{Inbound, InboundParts};
use super::lease::{DISK_STALL, LeaseGuard};
use super::membership::Membership;
use super::network::Network;
use super::options::{ReplicaError, ReplicaOptions, Transport};
use super::parts::{StoreParts, StoreView};
use super::peer::{Connect, Lane, NodeReport, PeerError};
use super::peers::Peers;
use super::proposer::{Proposer, ProposerParts, ProposerStats};
use super::role::{RoleState, watch_role};
use super::status::{PeerStatus, ReplicaStatus, peer_statuses};
use super::thread::RaftThread;
use super::{Ledger, peers, server, witness};
use crate::pki::tls::NodeTls;
use crate::store::{NodeInfo, TypeConfig};
use futures::{FutureExt, future};
use openraft::Raft;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A running replica.
pub struct Replica {
    pub(super) options: ReplicaOptions,
    pub(super) core: Arc<dyn Core>,
    pub(super) proposer: Arc<Proposer>,
    pub(super) guard: LeaseGuard,
    membership: Membership,
    roles: watch::Receiver<RoleState>,
    met: watch::Receiver<Option<EpochMet>>,
    /// See [`Self::learning`].
    learning: AtomicBool,
    view: Arc<dyn StoreView>,
    peers: Arc<Peers>,
    connect: Arc<dyn Connect>,
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
        let network = Network { me, connect: connect.clone(), snapshots: snapshots.clone(), standby: Arc::default() };
        let raft =
            Raft::new(me, config, network, log, machine).await.map_err(|e| ReplicaError::Start(e.to_string()))?;
        let core: Arc<dyn Core> = Arc::new(Engine { raft, snapshots });
        let guard = LeaseGuard::new(core.metrics(), view.clone(), options.timings, me, is_witness);
        let (peers, watch) = (Peers::new(), Watch::new(options.clock.clone()));
        let proposer = Proposer::new(ProposerParts {
            core: core.clone(),
            guard: guard.clone(),
            stamper: Stamper::new(watch.clone(), peers.clone()),
            auth: options.auth.clone().filter(|_| !is_witness),
            epoch: options.epoch,
            me,
            state: view.clone(),
            active_name: active_name(&core, me),
        });
        let hold_until = Instant::now() + options.timings.lease();
        let (shorter_tx, shorter_log) = mpsc::channel(1);
        let (met_tx, met) = watch::channel(None);
        let report = reporter(&options, &core, &guard, &view, &peers, watch);
        let inbound = Arc::new(Inbound::new(InboundParts {
            core: core.clone(),
            state: view.clone(),
            identity,
            hold_until,
            shorter_log: shorter_tx,
            auth: options.auth.clone(),
            met: met_tx,
            report,
        }));
        let (roles_tx, roles) = watch::channel(RoleState::initial());
        let replica = Arc::new(Self {
            membership: Membership::new(core.clone(), me),
            learning: AtomicBool::new(options.rejoining),
            options,
            core,
            proposer,
            guard,
            roles,
            met,
            view,
            peers,
            connect: connect.clone(),
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
        let asking = self.peers.clone().ask(connect, clock, others, self.stop.clone());
        self.tasks.spawn(asking);
        let (core, timings, stop) = (self.core.clone(), self.options.timings, self.stop.clone());
        let learnt = until_learnt(self.core.clone()).map(|_| ());
        let learnt = if self.options.rejoining { learnt.boxed() } else { future::ready(()).boxed() };
        self.tasks.spawn(async move {
            tokio::select! {
                () = learnt => {}
                () = stop.cancelled() => return,
            }
            if is_witness {
                witness::play(core, me, timings, hold_until, shorter_log, stop).await;
            } else {
                hold_elections(core, me, hold_until, stop).await;
            }
        });
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

    /// Waits until this node votes by a membership that it has learnt from a leader since its start.
    ///
    /// # Errors
    /// When Raft has stopped before.
    pub async fn until_votes(&self) -> Result<(), String> {
        until_learnt(self.core.clone()).await?;
        let me = self.options.node_id;
        let votes = |m: &Metrics| m.membership_config.voter_ids().any(|id| id == me);
        self.core.metrics().wait_for(votes).await?;
        self.learning.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether this is a member whose store was taken away, and [`Self::until_votes`] has not ended. The membership that
    /// it knows may then be one of long ago.
    #[must_use]
    pub fn learning(&self) -> bool {
        self.learning.load(Ordering::Acquire)
    }

    /// The newest other epoch of this cluster that spoke to this node.
    #[must_use]
    pub fn epoch_met(&self) -> watch::Receiver<Option<EpochMet>> {
        self.met.clone()
    }

    /// Asks another node, which need not be a member yet, for its report. Gives it with its clock minus ours in
    /// milliseconds. There is no time-out.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ask(&self, id: u64, info: &NodeInfo) -> Result<(NodeReport, i64), PeerError> {
        let peer = self.connect.peer(id, info, Lane::Main);
        let answer = peers::ask(&*peer, &*self.options.clock).await?;
        Ok((answer.report, answer.clock_offset_ms))
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

    /// Whether this node's clock has come into doubt, or out of it, and no command since has said so.
    #[must_use]
    pub fn clock_news(&self) -> bool {
        self.proposer.clock_news()
    }

    /// Free bytes on the disk of the store, if these are few.
    #[must_use]
    pub fn disk_low(&self) -> Option<u64> {
        self.view.disk_low()
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
            trouble: trouble(&metrics, &self.guard, &self.options, &self.peers),
            peers: peer_statuses(&metrics, &self.peers, me),
        }
    }

    /// Whether the replicas have the same state, as far as their digests tell.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        let (status, digests) = (self.status(), self.view.digests());
        let here = Taken { node_id: status.node_id, voter: status.voter, digests: &digests };
        let peers = status.peers.iter();
        let peers =
            peers.map(|PeerStatus { node_id, voter, digests, .. }| Taken { node_id: *node_id, voter: *voter, digests });
        Agreement::of(here, &peers.collect::<Vec<_>>(), status.voters.len())
    }

    /// The names of the members whose state differs from that here.
    #[must_use]
    pub fn differing(&self) -> Vec<String> {
        match self.agreement() {
            Agreement::Differs { peers, .. } => self.names(&peers),
            Agreement::Equal | Agreement::Outvoted { .. } => Vec::new(),
        }
    }

    /// The names of these members.
    #[must_use]
    pub fn names(&self, ids: &[u64]) -> Vec<String> {
        let members = self.membership().members();
        ids.iter().filter_map(|id| members.get(id)).map(|info| info.name.clone()).collect()
    }

    /// The newest vote of this node.
    pub(super) fn vote(&self) -> crate::store::Vote {
        self.core.metrics().borrow().vote
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

/// Waits until an entry of the present leader's own term is applied: what comes before it is known here, too.
async fn until_learnt(core: Arc<dyn Core>) -> Result<(), String> {
    let learnt =
        |m: &Metrics| m.vote.committed && m.last_applied.is_some_and(|applied| applied.leader_id == m.vote.leader_id);
    core.metrics().wait_for(learnt).await.map(drop)
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

/// What keeps this node from serving well.
fn trouble(metrics: &Metrics, guard: &LeaseGuard, options: &ReplicaOptions, peers: &Peers) -> Option<String> {
    let store = guard.store();
    let stalled = || {
        let waited = store.stalled_for();
        (waited >= DISK_STALL).then(|| format!("the disk has passed no barrier for {} s", waited.as_secs()))
    };
    let raft = metrics.running_state.as_ref().err().map(ToString::to_string);
    let clock = || peers.clocks(options.clock.now()).disagreement();
    let here = raft.or_else(|| store.failed()).or_else(|| store.refuses()).or_else(stalled);
    here.or_else(|| (options.trouble)()).or_else(clock)
}

fn reporter(
    options: &ReplicaOptions,
    core: &Arc<dyn Core>,
    guard: &LeaseGuard,
    view: &Arc<dyn StoreView>,
    peers: &Arc<Peers>,
    watch: Arc<Watch>,
) -> Arc<dyn Fn() -> NodeReport + Send + Sync> {
    let (metrics, core, guard, view) = (core.metrics(), core.clone(), guard.clone(), view.clone());
    let (me, options, peers) = (options.node_id, options.clone(), peers.clone());
    Arc::new(move || {
        let serving = guard.serving_until().is_some();
        let reading = watch.read(&view.state());
        let metrics = metrics.borrow();
        NodeReport {
            node_id: me,
            version: options.version.clone(),
            wall: reading.wall,
            steady: reading.steady,
            disk_low: view.disk_low(),
            resources: (options.resources)(),
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log: core.last_log(),
            last_applied: metrics.last_applied,
            voter: metrics.membership_config.voter_ids().any(|id| id == me),
            serving,
            trouble: trouble(&metrics, &guard, &options, &peers),
            digests: view.digests(),
        }
    })
}
