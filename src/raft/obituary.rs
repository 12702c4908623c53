//! Word of a leader's death, sent on its behalf by what is left of its host.
//!
//! It is openraft's own message for handing leadership over, with the dead leader's vote: whoever still follows that vote
//! drops its lease, and the heir stands for election at once. Whoever has seen a newer vote ignores it, so it may come
//! late or twice; receivers take it only over a certificate of the very leader.

use super::config::{CAUGHT_UP_WITHIN, Timings};
use super::grpc::GrpcConnect;
use super::peer::{Connect, Header, Lane, Peer, Transfer};
use super::replica::Replica;
use super::status::PeerStatus;
use crate::pki::tls::NodeTls;
use crate::store::{Epoch, NodeInfo, Vote};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A node that has not taken the word within this learns of the death by its time-out.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a leader leaves with its supervisor while it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testament {
    node_id: u64,
    cluster_id: String,
    epoch: Epoch,
    timings: Timings,
    vote: Vote,
    /// The other voters.
    voters: Vec<(u64, NodeInfo)>,
    /// Who shall lead next.
    heir: u64,
}

impl Replica {
    /// Its testament, while it leads and another data node could.
    #[must_use]
    pub fn testament(&self) -> Option<Testament> {
        let (options, status) = (self.options(), self.status());
        let vote = self.vote();
        let leads = vote.committed && vote.leader_id.node_id == options.node_id;
        let voters = status.peers.iter().filter(|peer| peer.voter);
        let data = voters.clone().filter(|peer| !peer.info.witness);
        // The same one as long as it keeps up, not whoever is an entry ahead at this look. One in trouble, which may be
        // old news, is better than none.
        let late = |peer: &PeerStatus| peer.behind.is_none_or(|behind| behind > CAUGHT_UP_WITHIN);
        let heir = data.min_by_key(|peer| (peer.trouble.is_some(), late(peer)))?;
        leads.then(|| Testament {
            node_id: options.node_id,
            cluster_id: options.cluster_id.clone(),
            epoch: options.epoch,
            timings: options.timings,
            vote,
            voters: voters.map(|peer| (peer.node_id, peer.info.clone())).collect(),
            heir: heir.node_id,
        })
    }
}

/// Connections to the voters, kept open so that the word is out within a round trip.
pub struct Obituary {
    testament: Testament,
    voters: Vec<(String, Arc<dyn Peer>)>,
}

impl Obituary {
    /// `tls` is the identity of the leader itself; `local` the address its connections come from.
    #[must_use]
    pub fn new(testament: Testament, tls: NodeTls, local: Option<IpAddr>) -> Self {
        let header = Header {
            from: testament.node_id,
            to: testament.node_id,
            cluster: Arc::from(&*testament.cluster_id),
            epoch: testament.epoch,
            // Nobody has to give way to a node that is dead.
            seal: None,
            timings: testament.timings,
        };
        let connect = GrpcConnect::new(tls, local, header);
        let peers = testament.voters.iter();
        let voters = peers.map(|(id, info)| (info.name.clone(), connect.peer(*id, info, Lane::Main))).collect();
        Self { testament, voters }
    }

    /// Opens the connections; one that fails is opened when the word is sent.
    pub async fn prepare(&self) {
        join_all(self.voters.iter().map(|(_, peer)| tokio::time::timeout(PATIENCE, peer.report()))).await;
    }

    /// Tells all voters that the leader is dead. Gives the names of those that heard it.
    ///
    /// The caller must be sure of the death: a leader that lived on would lose its followers. It must have taken the
    /// virtual address off, too.
    pub async fn tell(&self) -> Vec<String> {
        let told = self.voters.iter().map(|(name, peer)| async move {
            // Without a log id: the dead can promise nothing about their log, the election decides.
            let word = Transfer::new(self.testament.vote, self.testament.heir, None);
            let why = match tokio::time::timeout(PATIENCE, peer.transfer(word)).await {
                Ok(Ok(Ok(()))) => return Some(name.clone()),
                Ok(Ok(Err(newer))) => newer.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(to = name, why, "could not tell of the death of this node's process");
            None
        });
        join_all(told).await.into_iter().flatten().collect()
    }
}
