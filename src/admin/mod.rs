//! The gRPC service behind the command line: who asks, what they may, and how each call becomes commands of the
//! ledger or verbs of the cluster.

mod caller;
mod cluster;
mod connect;
mod error;
mod find;
mod guard;
mod listen;
mod service;
mod services;
mod status;
mod wire;
mod zones;

pub use caller::{Caller, Peer, REQUEST_ID_KEY, on_behalf};
pub use cluster::{
    Check, CheckResult, ClusterControl, Deploy, DrillReport, FenceDrillReport, Imported, Initialize, Initialized,
    NodeDigest, PairingCode, Preflight, Progress, Promote, PromotionStakes, Provision, SetAside, Switchover,
    SwitchoverReport, SyncControl, Told,
};
pub use connect::{channel, socket_channel};
pub use error::{AdminError, EXIT_KEY, HINT_KEY, KIND_KEY, Kind, WHY_KEY};
pub use guard::{Forwarder, Route};
pub use listen::{Aside, GROUP, Identify, Incoming, SocketFile, TlsSource, tls, unix};
pub use service::{Parts, Service, serve};
pub use services::{backup_data, backup_name};
pub use status::{
    ClusterState, ClusterStatus, Daemon, FailedAction, Heartbeat, NodeRole, NodeState, NodeStatus, Replication,
    VipStatus, date, rfc3339,
};
pub use zones::{time_zone, time_zones};
