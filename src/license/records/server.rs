//! The server as a whole: its counters, settings and members.

use super::*;

/// Counters and cluster-wide facts: one record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The newest stamp applied; state time.
    pub now: Millis,
    /// The highest id given out so far, one counter for all kinds of id.
    pub last_id: u64,
    /// The oldest and newest event still held.
    pub first_event: u64,
    pub last_event: u64,
    /// Which life of this server this is (raised at teardown, promote and restore); signed into requests to central.
    /// Above [`crate::license::RESTORE_MARK_SHIFT`] stands the random mark of the last restore, 0 before any: central
    /// takes no life of another mark by itself.
    pub incarnation: u64,
    /// State time at which this life began: twins raised to the same number differ here.
    pub incarnation_since: Millis,
    /// Random 128-bit identity of the server, as hex; the same on all nodes and through failovers.
    pub server_uid: String,
    /// Term, node and number of the last batch of commands; the next one must be higher.
    pub last_batch: (u64, u64, u64),
    /// When licenses became servable again after an outage; expiry rules wait 24 h from here.
    pub resumed_at: Millis,
    /// The oldest and newest audit entry still held, and the hash of the newest.
    pub first_audit: u64,
    pub last_audit: u64,
    pub audit_head: Digest32,
    /// Ids above the first number up to the second one that the original may have given out after the backup from which
    /// this server was restored, for each restore: the newest [`crate::license::MAX_RESTORES_KEPT`].
    pub lost_ids: Vec<(u64, u64)>,
    /// By how much the leader's wall clock is ahead of state time while that is in doubt; else 0.
    pub clock_ahead: u64,
    /// What lapses and ends goes by this time: state time, but it stands still while the clock is in doubt.
    pub expiry: Millis,
    /// A new leader has begun, and has not resumed yet.
    pub resuming: bool,
    /// The last time before the outage that the newest resumption ended.
    pub left_at: Millis,
    /// Up to where instances are noted as failed.
    pub marks: Marks,
    /// The newest cleared alert.
    pub last_past_alert: u64,
}

/// Up to where, in the order of their days, instances are noted as failed to connect or to renew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// By the day of release: not heard of, and authorization lapsed.
    pub silent: (u64, InstanceId),
    pub lapsed: (u64, InstanceId),
    /// By the day on which the ID certificate ends.
    pub certificates: (u64, InstanceId),
}

/// Replicated settings (`licraft settings`). Times are in milliseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Host common name of the product-facing certificate: the VIP or an FQDN. Empty until deployed.
    pub host_common_name: String,
    /// The virtual addresses, first one preferred. Empty when stand-alone.
    pub vip: Vec<String>,
    /// Base URL of the vendor's central service; empty when only files are used.
    pub central_url: String,
    /// The vendor root certificate (PEM), imported from a file; empty until then.
    pub vendor_root: String,
    /// Raft timing, equal on all voters.
    pub heartbeat_ms: u64,
    pub election_min_ms: u64,
    pub election_max_ms: u64,
    /// Shorter passwords are not taken.
    pub min_password_bytes: u64,
    /// So many days before a term ends an alert says so.
    pub licenses_expiring_days: u64,
    /// URL of the HTTP proxy on the way to central, without a name or a password; empty without one.
    pub proxy: String,
    /// `NAME:PASSWORD` for that proxy (RFC 7617), sealed; none where it wants none.
    pub proxy_login: Option<Sealed>,
    /// Shown before and after signing in; empty without one.
    pub message_of_the_day: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host_common_name: String::new(),
            vip: Vec::new(),
            central_url: String::new(),
            vendor_root: String::new(),
            heartbeat_ms: 50,
            election_min_ms: 150,
            election_max_ms: 300,
            min_password_bytes: MIN_PASSWORD_BYTES,
            licenses_expiring_days: LICENSES_EXPIRING_DAYS,
            proxy: String::new(),
            proxy_login: None,
            message_of_the_day: String::new(),
        }
    }
}

impl Settings {
    /// What [`Settings::proxy_login`] is sealed for.
    pub const PROXY_LOGIN_CONTEXT: &str = "proxy login";

    /// How long before a term ends an alert says so.
    pub(in crate::license) const fn licenses_expiring(&self) -> u64 {
        self.licenses_expiring_days * Millis::DAY
    }
}

/// A member of the cluster as the state knows it: who may speak to us, under which certificate node id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Raft node id, never reused.
    pub node_id: u64,
    pub name: String,
    pub public_address: String,
    /// host:port of the Raft listener.
    pub cluster_address: String,
    pub witness: bool,
    pub joined: Millis,
    pub retired: bool,
}

/// A change of the active node, for `ha history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChange {
    pub at: Millis,
    pub term: u64,
    pub node_id: u64,
    pub cause: String,
}

/// An administrative request already carried out, so that a repeated one gets the same outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    pub id: u128,
    pub at: Millis,
    pub outcome: Outcome,
}
