//! The records that make up the state. Every record is small, and every list in one is bounded by a named limit.

use super::ids::*;
use super::{
    AUDIT_BLOCK, AuditEntry, BrowserCertificate, EVENT_BLOCK, LICENSES_EXPIRED_SHOWN, LICENSES_EXPIRING_DAYS,
    MAX_AUDIT, MAX_EVENTS, MAX_PAST_ALERTS, MIN_PASSWORD_BYTES, RevocationList, RevokedBlock, Role, SYNC_DROPPED,
    SYNC_DUE, Sealing, ServerCertificate, ServerNames,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

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
    /// Above [`super::RESTORE_MARK_SHIFT`] stands the random mark of the last restore, 0 before any: central takes no
    /// life of another mark by itself.
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
    /// this server was restored, for each restore: the newest [`super::MAX_RESTORES_KEPT`].
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
        }
    }
}

impl Settings {
    /// How long before a term ends an alert says so.
    pub(super) const fn licenses_expiring(&self) -> u64 {
        self.licenses_expiring_days * Millis::DAY
    }
}

/// Life of a local account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountStatus {
    Requested,
    Approved,
    Active,
    Inactive,
    Rejected,
}

/// A secret sealed under the data nodes' sealing key (see `pki::seal`); opaque here and to the witness.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The keys of an account: its CA (which signs ID certificates) and its answer signer, made at approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountKeys {
    /// PKCS#10 request of the account CA, DER; what central certifies.
    pub ca_csr: Vec<u8>,
    pub ca_key: Sealed,
    pub signer_key: Sealed,
    /// From central, once registered: account CA, issuing CA, vendor root; DER, leaf first.
    pub ca_chain: Vec<Vec<u8>>,
    /// Certificate of the answer signer, issued by the account CA; DER, empty until registered.
    pub signer_cert: Vec<u8>,
}

impl AccountKeys {
    /// What the CA key and the signer key are sealed for (the context of `pki::seal`).
    pub const CA_KEY_CONTEXT: &str = "account ca key";
    pub const SIGNER_KEY_CONTEXT: &str = "account signer key";
}

/// When an account synchronizes by itself, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    Off,
    /// At this minute of each day.
    Daily {
        minute: u16,
    },
    /// 0 is Monday.
    Weekly {
        weekday: u8,
        minute: u16,
    },
    /// The 1st to the 28th, which each month has.
    Monthly {
        day: u8,
        minute: u16,
    },
}

impl Default for Schedule {
    /// In the night to Sunday: often enough that no account becomes overdue after one failure.
    fn default() -> Self {
        Self::Weekly { weekday: 6, minute: 120 }
    }
}

impl Schedule {
    const WEEKDAYS: [&str; 7] = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

    /// Whether there is such a day and such a minute.
    #[must_use]
    pub const fn is_sound(self) -> bool {
        match self {
            Self::Off => true,
            Self::Daily { minute } => minute < 1440,
            Self::Weekly { weekday, minute } => weekday < 7 && minute < 1440,
            Self::Monthly { day, minute } => day >= 1 && day <= 28 && minute < 1440,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minute = match *self {
            Self::Off => return f.write_str("only when asked"),
            Self::Daily { minute } => {
                f.write_str("daily")?;
                minute
            }
            Self::Weekly { weekday, minute } => {
                write!(f, "on {}", Self::WEEKDAYS.get(usize::from(weekday)).unwrap_or(&"no day"))?;
                minute
            }
            Self::Monthly { day, minute } => {
                write!(f, "on day {day} of each month")?;
                minute
            }
        };
        write!(f, " at {:02}:{:02} UTC", minute / 60, minute % 60)
    }
}

/// Where synchronization with central stands, per account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncState {
    /// The newest sequence number begun; 0 before the first.
    pub seq: u64,
    /// SHA-256 of the payload of central's last applied response (at first: to the registration).
    pub last_response: Digest32,
    /// A begun synchronization whose response has not been applied.
    pub outstanding: Option<SyncOutstanding>,
    pub last_success: Option<Millis>,
    /// Last success + 30 days.
    pub due: Option<Millis>,
    pub last_failure: Option<(Millis, String)>,
    /// `due` has passed and the alert says so.
    pub overdue: bool,
    pub schedule: Schedule,
    /// When `schedule` was set.
    pub scheduled_since: Millis,
    /// Central has heard that the account ends, and has freed the virtual account that it was bound to.
    pub closed: bool,
    /// So long overdue that central drops the server.
    pub dropped: bool,
    /// The next synchronization asks central to certify the account CA again.
    pub certify: bool,
}

impl SyncState {
    /// Whether central has heard, or may have heard, that the account ends.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.closed || self.outstanding.as_ref().is_some_and(|o| o.closing)
    }

    /// When it becomes overdue or, after that, so long overdue that central drops the server.
    pub(super) fn watched(&self) -> Option<Millis> {
        match (self.overdue, self.dropped) {
            (false, _) => self.due,
            (true, false) => self.due.map(|due| due.plus(SYNC_DROPPED - SYNC_DUE)),
            (true, true) => None,
        }
    }
}

/// The one request that may be outstanding: all that its document says, so that any later leader sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOutstanding {
    pub seq: u64,
    pub begun: Millis,
    /// Which life of the server began it ([`Meta::incarnation`], [`Meta::incarnation_since`]).
    pub incarnation: u64,
    pub incarnation_since: Millis,
    /// [`SyncState::last_response`] when it was begun.
    pub previous: Digest32,
    /// Usage per license frozen at the cut, sorted by tag: (tag, in use, borrowed or, below zero, lent).
    pub usage: Vec<(String, u64, i64)>,
    pub instances: u64,
    /// The certificate for the products' ports that was wanted then.
    pub server: Option<ServerRequest>,
    /// It is the account's last one.
    pub closing: bool,
    /// [`SyncState::certify`] then.
    pub certify: bool,
}

/// What central is asked to sign for the products' ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRequest {
    pub names: ServerNames,
    /// PKCS#10 (RFC 2986), DER.
    pub csr: Vec<u8>,
}

/// A local account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    /// Unique local name.
    pub name: String,
    pub requested_by: String,
    /// Upstream smart account and virtual account it is, or wants to be, bound to.
    pub smart_account: String,
    pub virtual_account: String,
    pub status: AccountStatus,
    pub status_reason: String,
    pub requested_at: Millis,
    pub changed_at: Millis,
    /// The local virtual account used when none is named.
    pub default_va: VirtualAccountId,
    pub keys: Option<AccountKeys>,
    pub sync: SyncState,
    /// Totals kept, not recounted.
    pub instances: u64,
}

/// A local virtual account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualAccount {
    pub id: VirtualAccountId,
    pub account: AccountId,
    /// Unique within the account.
    pub name: String,
    pub created: Millis,
    /// Totals kept, not recounted.
    pub instances: u64,
}

/// How a quantity is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Billing {
    Prepaid,
    Usage,
}

/// One purchased quantity. `end` none: perpetual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub quantity: u64,
    pub start: Millis,
    pub end: Option<Millis>,
    pub billing: Billing,
}

impl Term {
    /// Whether it counts at `at`.
    #[must_use]
    pub fn in_force(&self, at: Millis) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// A license known to this server. Comes from central's catalog; a tag not in it is an unknown license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    pub id: LicenseId,
    pub account: AccountId,
    /// The entitlement tag products ask for, unique within the account.
    pub tag: String,
    /// What people read.
    pub name: String,
    pub export_controlled: bool,
    /// Entitlement tags of the licenses whose spare ones cover what lacks of this one, the preferred first.
    pub covered_by: Vec<String>,
    /// What operators call it by to find it again, sorted; at most [`super::MAX_LABELS`]. Central knows nothing of them.
    pub labels: Vec<String>,
}

/// What one virtual account has and uses of one license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub va: VirtualAccountId,
    pub license: LicenseId,
    /// At most [`super::MAX_TERMS`] terms.
    pub terms: Vec<Term>,
    /// Sum of the terms in force when the pool was last evaluated; kept.
    pub purchased: u64,
    /// When `purchased` was computed; the next term boundary after it is where it changes.
    pub evaluated: Millis,
    /// Sum over the instances of this virtual account; kept.
    pub in_use: u64,
    /// Net count lent (negative) or borrowed (positive) by substitution.
    pub substitution: i64,
    /// Since when `in_use` exceeds what covers it.
    pub out_of_compliance_since: Option<Millis>,
}

impl Pool {
    /// Purchased plus substituted minus in use: below zero is out of compliance.
    #[must_use]
    pub const fn balance(&self) -> i64 {
        // Counts are limited to MAX_COUNT (2^40), so these casts are exact.
        self.purchased as i64 + self.substitution - self.in_use as i64
    }

    /// Sum of the terms in force at `at`: a term is in force from its start up to, not including, its end.
    #[must_use]
    pub fn purchased_at(&self, at: Millis) -> u64 {
        self.terms.iter().filter(|t| t.in_force(at)).map(|t| t.quantity).sum()
    }

    /// When, after the last evaluation, something follows from the terms: one starts or ends, ends within `lead`, or its
    /// end is no news any more.
    pub(super) fn next_boundary(&self, lead: u64) -> Option<Millis> {
        let starts = self.terms.iter().map(|t| t.start);
        let ends = self.terms.iter().filter_map(|t| t.end);
        let ends = ends.flat_map(|end| [Millis(end.0.saturating_sub(lead)), end, end.plus(LICENSES_EXPIRED_SHOWN)]);
        starts.chain(ends).filter(|b| *b > self.evaluated).min()
    }

    /// The next end of a term, at most `lead` after the last evaluation, that leaves fewer licenses, and how many fewer.
    #[must_use]
    pub fn expiring(&self, lead: u64) -> Option<(Millis, u64)> {
        let ends = self.terms.iter().filter_map(|t| t.end);
        let soon = ends.filter(|end| *end > self.evaluated && *end <= self.evaluated.plus(lead));
        let fewer = |end: Millis| self.purchased_before(end).saturating_sub(self.purchased_at(end));
        soon.map(|end| (end, fewer(end))).filter(|(_, fewer)| *fewer > 0).min()
    }

    /// The newest end of a term that is still news, and how many licenses fewer there are since.
    #[must_use]
    pub fn expired(&self) -> Option<(Millis, u64)> {
        let ends = self.terms.iter().filter_map(|t| t.end);
        let news = ends.filter(|end| *end <= self.evaluated && self.evaluated < end.plus(LICENSES_EXPIRED_SHOWN));
        let fewer = |end: Millis| self.purchased_before(end).saturating_sub(self.purchased);
        news.map(|end| (end, fewer(end))).filter(|(_, fewer)| *fewer > 0).max()
    }

    fn purchased_before(&self, at: Millis) -> u64 {
        self.purchased_at(Millis(at.0.saturating_sub(1)))
    }
}

/// A registration token. The token itself is stored sealed (for display) and hashed (for look-up).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub va: VirtualAccountId,
    pub hash: Digest32,
    pub sealed: Sealed,
    pub description: String,
    pub created: Millis,
    pub expires: Millis,
    /// 0: unlimited.
    pub max_uses: u64,
    pub uses: u64,
    pub export_controlled: bool,
    pub revoked: bool,
    pub created_by: String,
}

impl Token {
    /// What a token is sealed for (the context of `pki::seal`).
    pub const CONTEXT: &str = "registration token";
}

/// Unique device identity: product id and serial number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Udi {
    pub pid: String,
    pub sn: String,
}

/// One more device of a product that is a cluster itself and registers once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub udi: Arc<Udi>,
    /// None: the product asked not to share it.
    pub host_name: Option<Arc<str>>,
}

/// What is kept of an issued ID certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdCertificate {
    /// X.509 serial number, 16 random bytes made by the leader.
    pub serial: [u8; 16],
    /// SHA-256 of the certified SubjectPublicKeyInfo.
    pub key_hash: Digest32,
    pub not_before: Millis,
    pub not_after: Millis,
}

/// The last numbered request of an instance with its outcome, so that a lost answer can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRequest {
    pub number: u64,
    /// SHA-256 of the request payload: the same number with another payload is refused.
    pub digest: Digest32,
    /// State time of the first answer; with the usage it names every date in it.
    pub at: Millis,
    pub answer: LastAnswer,
}

/// What was answered, as compactly as it can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastAnswer {
    Authorized {
        /// Bit n is set when the nth license of the usage was not covered
        /// (at most [`super::MAX_LICENSES_PER_INSTANCE`] = 64).
        uncovered: u64,
        enforce_from: Option<Millis>,
    },
    CertificateRenewed,
    Refused(Box<super::Refusal>),
}

/// A product instance. Texts that never change are shared, so that a new version of the record is a cheap copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub va: VirtualAccountId,
    pub udi: Arc<Udi>,
    /// None: the product asked not to share it.
    pub host_name: Option<Arc<str>>,
    pub product_type: Arc<str>,
    pub software_version: Arc<str>,
    pub registered: Millis,
    pub last_contact: Millis,
    pub certificate: IdCertificate,
    /// Registered with this token: a repeated registration with the same token and key gets the same instance.
    pub token: TokenId,
    pub export_controlled: bool,
    /// (license, count), sorted by license, no zero counts; at most [`super::MAX_LICENSES_PER_INSTANCE`].
    pub usage: Arc<[(LicenseId, u64)]>,
    /// None before the first authorization.
    pub authorized_until: Option<Millis>,
    pub last_request: Option<LastRequest>,
    /// Further devices, at most [`super::MAX_DEVICES`]; None for the many that are one device.
    pub devices: Option<Arc<[Device]>>,
}

impl Instance {
    /// The further devices that it registered for.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        self.devices.as_deref().unwrap_or_default()
    }

    /// The identities of all its devices, its own first.
    pub fn udis(&self) -> impl Iterator<Item = &Arc<Udi>> {
        std::iter::once(&self.udi).chain(self.devices().iter().map(|d| &d.udi))
    }

    /// When its authorization and the grace after it have passed without contact.
    #[must_use]
    pub fn lapses_at(&self) -> Millis {
        self.last_contact.plus(super::AUTHORIZATION_LIFE + super::LAPSE_GRACE)
    }

    /// The first whole day (since the epoch) after [`Self::lapses_at`]: when it is released.
    pub(super) fn lapse_day(&self) -> u64 {
        self.lapses_at().0 / Millis::DAY + 1
    }

    /// The day on which its ID certificate ends.
    pub(super) const fn certificate_day(&self) -> u64 {
        self.certificate.not_after.0 / Millis::DAY
    }

    /// The day on which it is released or its certificate ends, unless it renews.
    pub(super) fn lost_day(&self) -> u64 {
        self.lapse_day().min(self.certificate_day())
    }
}

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

/// A person who may sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub role: Role,
    /// The accounts of a local account administrator.
    pub accounts: Vec<AccountId>,
    /// The virtual accounts of a virtual account administrator.
    pub virtual_accounts: Vec<VirtualAccountId>,
    /// Argon2id, PHC string format.
    pub password_hash: String,
    pub must_change: bool,
    /// May not sign in.
    pub disabled: bool,
    pub created: Millis,
    pub password_changed: Millis,
    /// None: a password is enough.
    pub totp: Option<Totp>,
}

/// A second factor (RFC 6238): what the user's authenticator and this server know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// Tells one enrolment from another.
    pub id: u64,
    pub seed: Sealed,
    /// A first code has shown that the authenticator has the seed: from then on codes are asked for.
    pub confirmed: bool,
    /// The newest time step of which a code was used; those up to it are used up.
    pub last_step: u64,
}

impl Totp {
    /// What the seed is sealed for (the context of `pki::seal`).
    pub const SEED_CONTEXT: &str = "totp seed";
}

/// An administrator elsewhere, known by the key of a certificate of the cluster CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminIdentity {
    /// Unique.
    pub name: String,
    /// One for the whole server.
    pub role: Role,
    /// SHA-256 of the certified SubjectPublicKeyInfo.
    pub key_hash: Digest32,
    pub created: Millis,
    pub created_by: String,
    pub expires: Millis,
}

/// A browser signed in: found by the hash of its token, replicated so that it outlives the active node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// SHA-256 of the token in the cookie.
    pub id: Digest32,
    pub user: String,
    /// The address it was begun from.
    pub source: String,
    pub begun: Millis,
    /// The last use known here; use within [`super::SESSION_TOUCH`] of it is not recorded.
    pub used: Millis,
}

/// A program that may call the REST API, for one account or for the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiClient {
    /// Public, random, unique.
    pub id: String,
    /// None: the whole server.
    pub account: Option<AccountId>,
    pub role: Role,
    pub description: String,
    /// SHA-256 of the secret, which has 256 random bits.
    pub secret_hash: Digest32,
    pub created: Millis,
    pub created_by: String,
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

/// The name of a record: its table and its key there. Also the order of records in images and snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    Meta,
    Settings,
    Account(AccountId),
    VirtualAccount(VirtualAccountId),
    License(LicenseId),
    Pool(VirtualAccountId, LicenseId),
    Token(TokenId),
    Instance(InstanceId),
    /// A block of the ring of events: its places from this number times [`EVENT_BLOCK`], an event's
    /// place being its number modulo [`MAX_EVENTS`].
    Events(u64),
    Alert(AlertKey),
    User(String),
    Member(u64),
    RoleChange(Millis, u64),
    Request(u128),
    Session(Digest32),
    ApiClient(String),
    /// A block of the ring of audit entries, as [`Self::Events`] with [`AUDIT_BLOCK`] and [`MAX_AUDIT`].
    Audit(u64),
    Readmitted(InstanceId),
    ServerCertificate,
    /// A place in the ring of cleared alerts: their number modulo [`MAX_PAST_ALERTS`].
    PastAlert(u64),
    /// Day and block.
    Revoked(u64, u64),
    RevocationList,
    BrowserCertificate,
    Sealing,
    AdminIdentity(String),
}

/// A record with its value. `State` is exactly the set of its records; indexes are rebuilt from them.
// Records pass one at a time; a box around each would cost more than the space it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    Meta(Meta),
    Settings(Settings),
    Account(Account),
    VirtualAccount(VirtualAccount),
    License(License),
    Pool(Pool),
    Token(Token),
    Instance(Instance),
    Events(Vec<Event>),
    Alert(Alert),
    User(User),
    Member(Member),
    RoleChange(RoleChange),
    Request(RequestRecord),
    Session(Session),
    ApiClient(ApiClient),
    Audit(Vec<AuditEntry>),
    /// A product that was this instance after the backup is another one now: its old certificate has served.
    Readmitted(InstanceId),
    ServerCertificate(ServerCertificate),
    PastAlert(PastAlert),
    Revoked(RevokedBlock),
    RevocationList(RevocationList),
    BrowserCertificate(BrowserCertificate),
    Sealing(Sealing),
    AdminIdentity(AdminIdentity),
}

impl Record {
    /// The name of this record.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Meta(_) => RecordKey::Meta,
            Self::Settings(_) => RecordKey::Settings,
            Self::Account(r) => RecordKey::Account(r.id),
            Self::VirtualAccount(r) => RecordKey::VirtualAccount(r.id),
            Self::License(r) => RecordKey::License(r.id),
            Self::Pool(r) => RecordKey::Pool(r.va, r.license),
            Self::Token(r) => RecordKey::Token(r.id),
            Self::Instance(r) => RecordKey::Instance(r.id),
            // A block without events has no record.
            Self::Events(r) => RecordKey::Events(r.first().map_or(0, |e| e.seq.0 % MAX_EVENTS / EVENT_BLOCK)),
            Self::Alert(r) => RecordKey::Alert(r.key.clone()),
            Self::User(r) => RecordKey::User(r.name.clone()),
            Self::Member(r) => RecordKey::Member(r.node_id),
            Self::RoleChange(r) => RecordKey::RoleChange(r.at, r.term),
            Self::Request(r) => RecordKey::Request(r.id),
            Self::Session(r) => RecordKey::Session(r.id),
            Self::ApiClient(r) => RecordKey::ApiClient(r.id.clone()),
            Self::Audit(r) => RecordKey::Audit(r.first().map_or(0, |e| e.seq % MAX_AUDIT / AUDIT_BLOCK)),
            Self::Readmitted(id) => RecordKey::Readmitted(*id),
            Self::ServerCertificate(_) => RecordKey::ServerCertificate,
            Self::PastAlert(r) => RecordKey::PastAlert(r.seq % MAX_PAST_ALERTS),
            Self::Revoked(r) => RecordKey::Revoked(r.day, r.block),
            Self::RevocationList(_) => RecordKey::RevocationList,
            Self::BrowserCertificate(_) => RecordKey::BrowserCertificate,
            Self::Sealing(_) => RecordKey::Sealing,
            Self::AdminIdentity(r) => RecordKey::AdminIdentity(r.name.clone()),
        }
    }
}

/// An administrative request already carried out, so that a repeated one gets the same outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    pub id: u128,
    pub at: Millis,
    pub outcome: super::Outcome,
}
