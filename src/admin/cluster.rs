//! What the admin service asks of the rooms it does not know: the cluster's verbs and synchronization. The composition
//! root wires them.

use super::error::AdminError;
use super::status::ClusterStatus;
use crate::backup::Backup;
use crate::central::Asked;
use crate::license::{AccountId, EntitlementChange, Millis, User};
use async_trait::async_trait;
use std::net::{IpAddr, SocketAddr};
use tokio::sync::mpsc;

/// The cluster's life, as the operator drives it. Every method says in its error what forbids it and what to do; kinds
/// of [`super::Kind`] give the exit code.
#[async_trait]
pub trait ClusterControl: Send + Sync + 'static {
    /// Works always: also without quorum, stopped, retired and uninitialised.
    async fn status(&self) -> ClusterStatus;

    /// Makes a fresh stand-alone node of an uninitialised one: sealing key, identity, first administrator.
    async fn initialize(&self, request: Initialize) -> Result<Initialized, AdminError>;

    /// Makes the cluster CA where there is none and opens pairing: a fresh one-time code replaces an older one.
    async fn generate_keys(&self, progress: Progress) -> Result<PairingCode, AdminError>;

    /// Joins this uninitialised node to the one that made the code.
    async fn provision(&self, request: Provision, progress: Progress) -> Result<(), AdminError>;

    /// Checks everything first, telling each check through `progress`; a failed one ends it with an error before
    /// anything is changed. Then makes the joined nodes voters and raises the address.
    async fn deploy(&self, request: Deploy, progress: Progress) -> Result<(), AdminError>;

    /// Planned change of the active node. `dry_run` only tells the checks and returns None.
    async fn switchover(&self, request: Switchover, progress: Progress)
    -> Result<Option<SwitchoverReport>, AdminError>;

    /// Leaves orderly, handing over first; `force` also when nobody can take over. Tells `Stopping Cluster (vip)...`
    /// and `Stopping Cluster (raft)...`. Stays stopped over a restart.
    async fn stop(&self, force: bool, progress: Progress) -> Result<(), AdminError>;

    /// Comes back after [`Self::stop`]. Tells `Starting Cluster (raft)...` and `Starting Cluster (vip)...`.
    async fn start(&self, progress: Progress) -> Result<(), AdminError>;

    /// Removes a member for good, on the active node: it is retired, and another may take its name.
    async fn remove(&self, node: String, progress: Progress) -> Result<(), AdminError>;

    /// Takes the vote of a member that is about to be away for a while, on the active node.
    async fn stand_down_member(&self, node: String) -> Result<(), AdminError>;

    /// Ends this node's part in the cluster: the active node ends the cluster and serves on alone, another one retires.
    async fn teardown(&self, progress: Progress) -> Result<(), AdminError>;

    /// Rehearses a failover: hands over to the fittest other data node and back.
    async fn drill(&self, progress: Progress) -> Result<DrillReport, AdminError>;

    /// Rehearses the fence command: turns the other one of two nodes off, and waits until it is back.
    ///
    /// # Errors
    /// When there is no such command, or it does not turn the other node off.
    async fn drill_fence(&self, progress: Progress) -> Result<FenceDrillReport, AdminError>;

    /// Looks, for the active node's `deploy`, whether this node can be made a voter.
    async fn preflight(&self, request: Preflight) -> Result<Vec<Check>, AdminError>;

    /// Changes the key that the secrets in the state are sealed under; answered by the active node.
    async fn rotate_sealing_key(&self, actor: &str, progress: Progress) -> Result<(), AdminError>;

    /// Keeps a sealing key that the active node is about to put in force.
    async fn take_sealing_key(&self, key: &[u8]) -> Result<(), AdminError>;

    /// Certifies the member called `name`, which asks for itself, for the key in a PKCS#10 request; DER.
    async fn certify_node(&self, name: &str, csr: &[u8]) -> Result<Vec<u8>, AdminError>;

    /// Goes on without a quorum, in a new epoch, because the operator says that the others are off. `only_look` only
    /// tells what that puts at stake.
    async fn promote(&self, request: Promote, progress: Progress) -> Result<PromotionStakes, AdminError>;

    /// Ends a conflict of two nodes that were both promoted: `keep` goes on, and the other one gives way.
    async fn resolve(&self, keep: String, progress: Progress) -> Result<(), AdminError>;

    /// Old data that this node keeps, oldest first.
    async fn list_set_aside(&self) -> Result<Vec<SetAside>, AdminError>;

    /// Puts old data back in its place, and sets aside what is there.
    async fn restore_set_aside(&self, name: String, progress: Progress) -> Result<(), AdminError>;

    /// Deletes old data.
    async fn delete_set_aside(&self, name: String) -> Result<(), AdminError>;

    /// All that this node knows, for a backup.
    async fn backup(&self) -> Result<Backup, AdminError>;

    /// Begins this node anew with a backup; `replace` sets data that is there aside instead of refusing.
    async fn restore(&self, backup: Backup, replace: bool, progress: Progress) -> Result<(), AdminError>;

    /// Commits a digest mark and collects each reachable replica's digest there, for `doctor`.
    async fn digests(&self) -> Result<Vec<NodeDigest>, AdminError>;
}

/// Synchronization with the vendor's central service, on the active node.
#[async_trait]
pub trait SyncControl: Send + Sync + 'static {
    /// Synchronizes now and returns once central's answer is committed.
    async fn sync_now(&self, account: AccountId) -> Result<(), AdminError>;

    /// Makes the account's keys, commits the approval as `actor` and registers the account with central. An unreachable
    /// central is no error: the account stays approved and registration is tried again.
    async fn approve(&self, account: AccountId, actor: &str) -> Result<(), AdminError>;

    /// Tells central that an inactive, empty account ends, and returns once its answer is committed.
    async fn close(&self, account: AccountId, actor: &str) -> Result<(), AdminError>;

    /// The document that central has to answer for an account; a synchronization begins with it.
    async fn export_request(&self, account: AccountId, actor: &str) -> Result<Asked, AdminError>;

    /// Takes central's answer to that; `dry_run` only says what it would change.
    async fn import_response(&self, document: &[u8], dry_run: bool, actor: &str) -> Result<Imported, AdminError>;
}

/// What a response of central has changed, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub account: AccountId,
    pub changes: Vec<EntitlementChange>,
}

/// The first administrator, password already hashed.
#[derive(Clone, Debug)]
pub struct Initialize {
    pub administrator: User,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialized {
    /// Random identity of the server, hex.
    pub server_uid: String,
}

/// Lets one node join.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode {
    pub code: String,
    pub expires: Millis,
    /// host:port for `--join`.
    pub join_address: String,
}

#[derive(Clone)]
pub struct Provision {
    /// host:port of the node that made the code.
    pub join: String,
    pub code: String,
    pub witness: bool,
    /// Sets data that is there aside instead of refusing.
    pub replace: bool,
}

#[derive(Clone, Debug)]
pub struct Deploy {
    /// At most one of each family, preferred first; not empty.
    pub vip: Vec<IpAddr>,
    pub interface: Option<String>,
    /// Only the checks.
    pub dry_run: bool,
}

#[derive(Clone, Debug)]
pub struct Switchover {
    /// None: the fittest other data node.
    pub to: Option<String>,
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchoverReport {
    pub from: String,
    pub to: String,
    /// Between the last answer of the old active node and readiness of the new one.
    pub gap_ms: u64,
}

/// What a node that has joined is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Addresses of the active node that it must reach.
    pub reach: Vec<SocketAddr>,
    /// Addresses that it must be able to put on.
    pub vip: Vec<IpAddr>,
    /// The interface that the operator named.
    pub interface: Option<String>,
}

/// Going on without a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promote {
    pub only_look: bool,
    /// Also where licenses that the others have granted may be unknown here.
    pub accept_data_loss: bool,
}

/// What a promotion puts at stake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionStakes {
    /// Names of the members that must be off and stay off until they rejoin.
    pub others: Vec<String>,
    /// Why licenses that the others have granted may be unknown here; none where that cannot be.
    pub lacks: Option<String>,
}

/// Old data of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Time when it was set aside, as RFC 3339, and a number where there are more.
    pub name: String,
    /// The name that the node had; empty when that is not known.
    pub node: String,
    /// Its epoch; 0 when that is not known.
    pub epoch: u64,
    pub bytes: u64,
    pub why: String,
}

/// What a drill measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillReport {
    /// The node that was active for a moment.
    pub other: String,
    /// What clients waited on the way there and back.
    pub there_ms: u64,
    pub back_ms: u64,
    /// How many replicas had the same digest afterwards.
    pub digests: usize,
}

/// What a drill of the fence command measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceDrillReport {
    /// The node that was turned off.
    pub fenced: String,
    /// From the start of the command until that was off, and until it was back with its vote.
    pub off_ms: u64,
    pub back_ms: u64,
    /// How many replicas had the same digest afterwards.
    pub digests: usize,
}

/// One check of a preflight or of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub result: CheckResult,
    /// What was found and, unless it passed, what to do.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Passed,
    Warning,
    Failed,
}

/// A replica's digest of the state at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDigest {
    pub node: String,
    /// None: the node did not answer.
    pub digest: Option<String>,
}

/// Tells the caller how long work goes on. A caller who has gone away does not end the work.
#[derive(Clone, Debug)]
pub struct Progress(mpsc::UnboundedSender<Told>);

/// What is told underway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Step(String),
    Check(Check),
}

impl Progress {
    /// A teller with its listener. Unbounded: a verb tells a few dozen lines at most.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), rx)
    }

    /// The next step, as shown to people: `Starting Cluster (raft)...`.
    pub fn step(&self, text: impl Into<String>) {
        // The listener may be gone; the work goes on.
        let _ = self.0.send(Told::Step(text.into()));
    }

    /// The result of one preflight check.
    pub fn check(&self, check: Check) {
        let _ = self.0.send(Told::Check(check));
    }
}
