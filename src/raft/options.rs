//! Who a replica is and how it talks.

use super::clock::{Clock, SystemClock};
use super::config::Timings;
use super::epoch::seal_epoch;
use super::peer::{Connect, Header};
use crate::pki::tls::NodeTls;
use crate::store::NodeInfo;
use crate::store::codec::{BatchAuth, Epoch};
use crate::telemetry::Resources;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

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
    /// Whether this node is a member whose store was taken away. While it learns the log anew, old entries name it as a
    /// voter that it is no more, so it takes no part in elections before it knows the newest membership.
    pub rejoining: bool,
    /// Shown to the other nodes.
    pub version: String,
    /// What keeps this node from serving well, beside what Raft and the store know; told to the other nodes, so that
    /// none hands over to it.
    pub trouble: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// What the machine has left; told to the other nodes, whose pages show it.
    pub resources: Arc<dyn Fn() -> Option<Resources> + Send + Sync>,
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
            rejoining: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trouble: Arc::new(|| None),
            resources: Arc::new(|| None),
        }
    }

    pub(super) fn header(&self) -> Header {
        Header {
            from: self.node_id,
            to: self.node_id,
            cluster: Arc::from(&*self.cluster_id),
            epoch: self.epoch,
            seal: self.auth.as_ref().map(|auth| seal_epoch(&**auth, &self.cluster_id, self.epoch)),
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
