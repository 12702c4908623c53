//! Which epoch of the cluster a caller may claim: one that a data node has sealed. A node gives way to a higher epoch,
//! so a witness, which has no key, must not be able to name one.

use crate::store::codec::{BatchAuth, Epoch};

/// Set before what is sealed, so that the seal fits nothing else.
const LABEL: &[u8] = b"licraft epoch\0";

/// Another epoch of this cluster, and the node that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochMet {
    pub node_id: u64,
    pub epoch: Epoch,
}

fn sealed(cluster: &str, epoch: Epoch) -> Vec<u8> {
    let (counter, id) = (epoch.counter.to_be_bytes(), epoch.id.to_be_bytes());
    [LABEL, cluster.as_bytes(), b"\0", &counter, &id].concat()
}

/// What a data node shows for its epoch.
#[must_use]
pub fn seal_epoch(auth: &dyn BatchAuth, cluster: &str, epoch: Epoch) -> [u8; 32] {
    auth.mac(&sealed(cluster, epoch))
}

/// Whether a data node of the cluster has been in `epoch`.
pub(super) fn epoch_is_sealed(auth: &dyn BatchAuth, cluster: &str, epoch: Epoch, seal: &[u8; 32]) -> bool {
    auth.verify(&sealed(cluster, epoch), seal)
}
