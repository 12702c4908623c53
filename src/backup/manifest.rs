//! What a backup holds and as of when.

use crate::license::{Millis, State};
use crate::store::{LeaderId, LogId};
use serde::{Deserialize, Serialize};

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Identity of the server: the same on all nodes and in every restored copy.
    pub server_uid: String,
    /// Name of the node that wrote it.
    pub node: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// When it was written, by the clock of that node.
    pub written: Millis,
    /// State time of the newest change in it.
    pub as_of: Millis,
    /// The newest log entry in it.
    pub term: u64,
    pub leader: u64,
    pub index: u64,
    pub accounts: u64,
    pub instances: u64,
    /// Licenses in use, over all accounts.
    pub in_use: u64,
    pub users: u64,
    /// None: it was taken on the active node and lacks nothing.
    pub lag: Option<Lag>,
}

/// What a standby may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// Log entries that it knew of and had not applied.
    pub entries: u64,
    /// Milliseconds since it had heard of the active node; none: there was none.
    pub silence_ms: Option<u64>,
}

impl Manifest {
    /// Of `state`, in which `applied` is the newest entry.
    #[must_use]
    pub fn of(state: &State, applied: LogId, node: String, written: Millis, lag: Option<Lag>) -> Self {
        let virtual_accounts = state.accounts().flat_map(|account| state.virtual_accounts(account.id));
        Self {
            server_uid: state.meta().server_uid.clone(),
            node,
            version: env!("CARGO_PKG_VERSION").into(),
            written,
            as_of: state.now(),
            term: applied.leader_id.term,
            leader: applied.leader_id.node_id,
            index: applied.index,
            accounts: state.accounts().count() as u64,
            instances: state.instance_count(),
            in_use: virtual_accounts.flat_map(|va| state.pools(va.id)).map(|pool| pool.in_use).sum(),
            users: state.users().count() as u64,
            lag,
        }
    }

    pub(super) fn leader(&self) -> LeaderId {
        LeaderId { term: self.term, node_id: self.leader }
    }
}
