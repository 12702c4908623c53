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
    /// What it is about within the account, at most [`crate::license::MAX_SUBJECTS`].
    pub concerns: Vec<Subject>,
}

impl Event {
    /// Whether it is about this, too.
    #[must_use]
    pub fn is_about(&self, subject: Subject) -> bool {
        self.concerns.contains(&subject)
    }
}

/// What an event may be about; it may be gone since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    VirtualAccount(VirtualAccountId),
    License(LicenseId),
    Instance(InstanceId),
    Token(TokenId),
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
    /// It stays until its cause is gone, but no longer as news.
    pub acknowledged: Option<Acknowledgement>,
}

/// Somebody has seen an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub at: Millis,
    /// As in [`Event::actor`].
    pub by: String,
}

/// An alert whose cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAlert {
    /// Counts from 1.
    pub seq: u64,
    /// As it last stood.
    pub alert: Alert,
    pub cleared: Millis,
    /// By whose request the cause went, as in [`Event::actor`].
    pub cleared_by: String,
}
