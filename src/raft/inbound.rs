//! What other nodes ask of this one: checked, then handed to openraft.

use super::core::{Core, MetricsWatch};
use super::epoch::{EpochMet, epoch_is_sealed};
use super::parts::StoreView;
use super::peer::{Append, Appended, Ballot, BallotReply, Header, NodeReport, PeerError, Refusal, SnapshotReader};
use super::peer::{Transfer, TransferReply};
use crate::store::codec::BatchAuth;
use crate::store::{SnapshotMeta, Vote};
use openraft::base::BoxStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The receiving side of a node.
pub struct Inbound {
    core: Arc<dyn Core>,
    state: Arc<dyn StoreView>,
    metrics: MetricsWatch,
    /// Who this node is: `from` is itself.
    identity: Header,
    /// Until then this node takes part in no election. A voter that forgot in a restart to whom it had promised the
    /// lease could otherwise elect a second leader within it.
    hold_until: Instant,
    /// The highest node id that any membership known here has named. Ids are given in ascending order and never
    /// again, so an unknown id above it is a node that this one has not heard of yet, and one below it has left.
    highest_id: AtomicU64,
    /// Told when a ballot was refused to a shorter log.
    shorter_log: mpsc::Sender<()>,
    /// Knows the seals of epochs; none on a witness.
    auth: Option<Arc<dyn BatchAuth>>,
    /// The newest other epoch met.
    met: watch::Sender<Option<EpochMet>>,
    report: Arc<dyn Fn() -> NodeReport + Send + Sync>,
}

/// What an [`Inbound`] is made of.
pub(super) struct InboundParts {
    pub core: Arc<dyn Core>,
    pub state: Arc<dyn StoreView>,
    pub identity: Header,
    pub hold_until: Instant,
    pub shorter_log: mpsc::Sender<()>,
    pub auth: Option<Arc<dyn BatchAuth>>,
    pub met: watch::Sender<Option<EpochMet>>,
    pub report: Arc<dyn Fn() -> NodeReport + Send + Sync>,
}

impl Inbound {
    pub(super) fn new(parts: InboundParts) -> Self {
        let InboundParts { core, state, identity, hold_until, shorter_log, auth, met, report } = parts;
        let metrics = core.metrics();
        let highest_id = AtomicU64::new(0);
        Self { core, state, metrics, identity, hold_until, highest_id, shorter_log, auth, met, report }
    }

    /// Whether `header` may speak to this node at all.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self, header: &Header) -> Result<(), Refusal> {
        let me = &self.identity;
        if header.cluster != me.cluster {
            let (theirs, ours) = (header.cluster.to_string(), me.cluster.to_string());
            return Err(Refusal::Cluster { theirs, ours });
        }
        if header.to != me.from {
            return Err(Refusal::NotMe { to: header.to, me: me.from });
        }
        if header.epoch != me.epoch {
            if self.believes(header) {
                self.met.send_replace(Some(EpochMet { node_id: header.from, epoch: header.epoch }));
            }
            return Err(Refusal::Epoch { theirs: header.epoch, ours: me.epoch });
        }
        if header.timings != me.timings {
            return Err(Refusal::Timing { theirs: header.timings, ours: me.timings });
        }
        self.check_member(header.from)
    }

    /// Whether the caller's epoch is one of this cluster. A witness cannot tell, and takes the word of data nodes that it
    /// knows; of any node, while it knows none.
    fn believes(&self, header: &Header) -> bool {
        if let Some(auth) = &self.auth {
            return header.seal.is_some_and(|seal| epoch_is_sealed(&**auth, &header.cluster, header.epoch, &seal));
        }
        let metrics = self.metrics.borrow();
        let members = &metrics.membership_config;
        members.get_node(&header.from).map_or_else(|| members.nodes().next().is_none(), |info| !info.witness)
    }

    /// A member by the newest or the committed membership, or a node newer than this one's knowledge.
    fn check_member(&self, node: u64) -> Result<(), Refusal> {
        let metrics = self.metrics.borrow();
        let known = [&metrics.membership_config, &metrics.committed_membership_config];
        let seen = known.iter().flat_map(|m| m.nodes()).map(|(id, _)| *id).max().unwrap_or(0);
        let before = self.highest_id.fetch_max(seen, Ordering::Relaxed);
        if known.iter().any(|m| m.get_node(&node).is_some()) {
            return Ok(());
        }
        // The state remembers those that left, also over a restart.
        let recorded = self.state.state().members().map(|m| m.node_id).max().unwrap_or(0);
        let highest = before.max(seen).max(recorded);
        // Without any membership this node is new itself and knows nobody; the certificate has to do.
        if seen == 0 || node > highest { Ok(()) } else { Err(Refusal::NotMember { node }) }
    }

    /// # Errors
    /// A refusal, or that this node has stopped.
    pub async fn append(&self, from: u64, request: Append) -> Result<Appended, PeerError> {
        self.check_leader(from, &request.vote)?;
        self.core.append(request).await
    }

    /// Takes appends until one is refused.
    #[must_use]
    pub fn append_stream(
        self: &Arc<Self>,
        from: u64,
        requests: BoxStream<'static, Result<Append, PeerError>>,
    ) -> BoxStream<'static, Result<Appended, PeerError>> {
        let inbound = self.clone();
        let checked = tokio_stream::StreamExt::map_while(requests, move |request| {
            let checked = request.and_then(|r| {
                inbound.check_member(from)?;
                inbound.check_leader(from, &r.vote)?;
                Ok(r)
            });
            // Ending the stream makes the caller ask anew and get the reason.
            checked.inspect_err(|error| tracing::warn!(from, %error, "ended an append stream")).ok()
        });
        self.core.append_stream(Box::pin(checked))
    }

    /// Only the leader itself replicates: a node that could speak for another could append in its name.
    fn check_leader(&self, from: u64, vote: &Vote) -> Result<(), Refusal> {
        let claimed = vote.leader_id.node_id;
        if claimed == from { Ok(()) } else { Err(Refusal::NotYours { node: from, claimed }) }
    }

    /// # Errors
    /// A refusal, or that this node has stopped.
    pub async fn vote(&self, from: u64, ballot: Ballot) -> Result<BallotReply, PeerError> {
        self.check_leader(from, &ballot.vote)?;
        self.check_hold(&ballot)?;
        let last = ballot.last_log_id;
        let reply = self.core.vote(ballot).await?;
        self.note_shorter(last, &reply);
        Ok(reply)
    }

    /// # Errors
    /// A refusal, or that this node has stopped.
    pub async fn pre_vote(&self, from: u64, ballot: Ballot) -> Result<BallotReply, PeerError> {
        self.check_leader(from, &ballot.vote)?;
        self.check_hold(&ballot)?;
        let last = ballot.last_log_id;
        let reply = self.core.pre_vote(ballot).await?;
        self.note_shorter(last, &reply);
        Ok(reply)
    }

    /// A ballot that the leader itself asked for breaks no promise.
    fn check_hold(&self, ballot: &Ballot) -> Result<(), Refusal> {
        if ballot.leadership_transfer || Instant::now() >= self.hold_until { Ok(()) } else { Err(Refusal::JustStarted) }
    }

    fn note_shorter(&self, last: Option<crate::store::LogId>, reply: &BallotReply) {
        if !reply.vote_granted && last < reply.last_log_id {
            // Full means that the message is there already.
            let _ = self.shorter_log.try_send(());
        }
    }

    /// # Errors
    /// A refusal, or that this node has stopped.
    pub async fn transfer(&self, from: u64, transfer: Transfer) -> Result<TransferReply, PeerError> {
        self.check_leader(from, transfer.from_leader())?;
        self.core.transfer(transfer).await
    }

    /// # Errors
    /// A refusal, damaged data, or that this node has stopped.
    pub async fn snapshot(
        &self,
        from: u64,
        vote: Vote,
        meta: SnapshotMeta,
        data: SnapshotReader,
    ) -> Result<Vote, PeerError> {
        self.check_leader(from, &vote)?;
        tracing::info!(from, "receiving a snapshot");
        self.core.snapshot(vote, meta, data).await
    }

    /// This node's own account of itself.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        (self.report)()
    }
}
