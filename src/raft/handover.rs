//! Handing leadership over on purpose.

use super::Replica;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How long a hand-over waits for commands in flight before it removes the address.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

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

impl Replica {
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
}
