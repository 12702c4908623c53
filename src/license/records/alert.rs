//! Events and alerts.

use super::*;

/// What happened, for the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub seq: EventSeq,
    pub at: Millis,
    pub severity: Severity,
    /// The account it concerns, if one.
    pub account: Option<AccountId>,
    /// Stable name of the kind of event, e.g. `instance-registered`.
    pub kind: String,
    /// Who: a user, `uid N` on the socket, an instance, or a node.
    pub actor: String,
    /// One sentence for people.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    Informational,
    Minor,
    Major,
}

/// The kinds of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertKind {
    InsufficientLicenses,
    SynchronizationOverdue,
    SynchronizationFailed,
    AccountPending,
    ClusterDegraded,
    WitnessLost,
    /// The products' certificate does not have the wanted common name yet.
    CommonNamePending,
    CertificateExpiring,
    LicensesExpiring,
    LicensesExpired,
    FailedToConnect,
    FailedToRenew,
    DiskSpace,
    ClockSkew,
}

/// Identity of an alert: one per kind and source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    pub kind: AlertKind,
    /// What it is about, as shown: a license and virtual account, an account, a node.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub key: AlertKey,
    pub severity: Severity,
    pub account: Option<AccountId>,
    pub raised: Millis,
    pub due: Option<Millis>,
    pub message: String,
    /// What to do about it.
    pub action: String,
    pub acknowledged: bool,
}

/// An alert whose cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAlert {
    /// Counts from 1.
    pub seq: u64,
    /// As it last stood.
    pub alert: Alert,
    pub cleared: Millis,
}
