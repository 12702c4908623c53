//! The gRPC service behind the command line: who asks, what they may, and how each call becomes commands of the
//! ledger or verbs of the cluster.

mod cluster;
mod error;
mod status;

pub use cluster::{
    Check, CheckResult, ClusterControl, Deploy, Initialize, Initialized, NodeDigest, PairingCode, Progress, Provision,
    Switchover, SwitchoverReport, SyncControl, Told,
};
pub use error::{AdminError, EXIT_KEY, HINT_KEY, KIND_KEY, Kind, WHY_KEY};
pub use status::{
    ClusterState, ClusterStatus, Daemon, FailedAction, Heartbeat, NodeRole, NodeState, NodeStatus, Replication,
    VipStatus, rfc3339,
};
