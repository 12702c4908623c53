//! Every change there is.

use super::ids::*;
use super::records::*;
use super::{BrowserCertificate, Resealed, Role, SealingKeyId, ServerNames, SignedCertificate};
use serde::{Deserialize, Serialize};

/// What the leader adds to a batch of commands: the time, made by its checked clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub at: Millis,
    /// What the leader's wall clock says. Far ahead of `at` when nothing has confirmed that it is right.
    pub wall: Millis,
}

impl Stamp {
    /// A stamp by a clock that is in no doubt.
    #[must_use]
    pub const fn at(at: Millis) -> Self {
        Self { at, wall: at }
    }
}

/// A command with who asks for it and the id under which a repeat is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Random, chosen by the first asker; 0 for commands that are idempotent by themselves (products' requests).
    pub id: u128,
    /// Who, for events and the audit log: `admin`, `uid 0`, `instance 12`, `node primary-node`.
    pub actor: String,
    pub command: Command,
}

/// A change. Ids that name existing things are checked by `apply`; names, counts and lengths too, so that a bad
/// command is refused the same way on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// First command of a fresh server: identity and first administrator.
    Initialize {
        server_uid: String,
        administrator: User,
    },
    SetSettings {
        settings: Settings,
    },
    /// A node became active and serves again; `expiry` rules wait 24 h if the outage was total.
    Resume {
        node_id: u64,
        term: u64,
        cause: String,
    },
    /// Applied by every replica at the same index: each takes its digest there.
    DigestMark {
        nonce: u64,
    },
    /// Raises the incarnation (teardown, promote, restore).
    RaiseIncarnation,

    PutMember {
        member: Member,
    },
    RetireMember {
        node_id: u64,
    },
    RaiseAlert {
        alert: Alert,
    },
    ClearAlert {
        key: AlertKey,
    },
    AcknowledgeAlert {
        key: AlertKey,
    },
    /// An event that did not come from another command (address lost, failed action, …).
    NoteEvent {
        event: NewEvent,
    },

    CreateUser {
        user: User,
    },

    RequestAccount {
        name: String,
        requested_by: String,
        smart_account: String,
        virtual_account: String,
    },
    /// Approved with the keys the leader made; the account becomes active when central has certified it.
    ApproveAccount {
        account: AccountId,
        keys: AccountKeys,
    },
    RejectAccount {
        account: AccountId,
        reason: String,
    },
    /// Central certified the account CA: chain, signer certificate, catalog and entitlements.
    ActivateAccount {
        account: AccountId,
        ca_chain: Vec<Vec<u8>>,
        signer_cert: Vec<u8>,
        entitlements: Vec<Entitlement>,
        /// SHA-256 of the payload of central's response.
        response: Digest32,
    },
    DeactivateAccount {
        account: AccountId,
        reason: String,
    },
    ReactivateAccount {
        account: AccountId,
    },
    /// Only when empty of instances and, where it was registered, closed at central.
    DeleteAccount {
        account: AccountId,
    },

    CreateVirtualAccount {
        account: AccountId,
        name: String,
    },
    RenameVirtualAccount {
        va: VirtualAccountId,
        name: String,
    },
    /// Only when empty and not the default.
    DeleteVirtualAccount {
        va: VirtualAccountId,
    },
    /// Moves purchased quantity between two virtual accounts of one account.
    TransferLicense {
        license: LicenseId,
        from: VirtualAccountId,
        to: VirtualAccountId,
        quantity: u64,
    },

    CreateToken {
        va: VirtualAccountId,
        hash: Digest32,
        sealed: Sealed,
        description: String,
        expires_days: u64,
        max_uses: u64,
        export_controlled: bool,
    },
    RevokeToken {
        token: TokenId,
    },

    /// Freezes what the next synchronization will send.
    BeginSync {
        account: AccountId,
    },
    /// Central's verified answer to `seq`.
    CompleteSync {
        account: AccountId,
        seq: u64,
        entitlements: Vec<Entitlement>,
        /// SHA-256 of the payload of central's response.
        response: Digest32,
        /// The products' certificate, if the request had one to sign and central did.
        signed: Option<SignedCertificate>,
    },
    /// An attempt failed; the request stays outstanding and is sent again.
    FailSync {
        account: AccountId,
        seq: u64,
        reason: String,
    },

    /// A product registers with a token; repeated with the same token and key it is the same instance.
    Register {
        token_hash: Digest32,
        udi: Udi,
        host_name: Option<String>,
        product_type: String,
        software_version: String,
        certificate: IdCertificate,
        /// Of a product that is a cluster itself: those it registers for beside its own.
        devices: Vec<Device>,
    },
    /// A registered product's numbered request; see [`LastRequest`].
    Numbered {
        instance: InstanceId,
        number: u64,
        // At once, not byte by byte: every authorization carries one.
        #[serde(with = "serde_bytes")]
        digest: Digest32,
        action: InstanceAction,
    },
    /// An administrator removes an instance; its licenses are free at once.
    RemoveInstance {
        instance: InstanceId,
    },
    TransferInstance {
        instance: InstanceId,
        to: VirtualAccountId,
    },

    SetSyncSchedule {
        account: AccountId,
        schedule: Schedule,
    },

    ChangeUser {
        name: String,
        change: UserChange,
    },
    DeleteUser {
        name: String,
    },
    /// Somebody signed in.
    BeginSession {
        id: Digest32,
        user: String,
        source: String,
    },
    /// The session is in use.
    TouchSession {
        id: Digest32,
    },
    EndSession {
        id: Digest32,
    },
    CreateApiClient {
        id: String,
        account: Option<AccountId>,
        role: Role,
        description: String,
        secret_hash: Digest32,
    },
    RevokeApiClient {
        id: String,
    },
    /// A product that had registered after the backup from which this server was restored, as its ID certificate says:
    /// it is a new instance, in the default virtual account.
    Readmit {
        /// The instance that it was.
        former: InstanceId,
        account: AccountId,
        udi: Udi,
        host_name: Option<String>,
        product_type: String,
        software_version: String,
        certificate: IdCertificate,
        devices: Vec<Device>,
    },
    /// Central is to sign a certificate for the products' ports.
    WantServerCertificate {
        names: ServerNames,
        csr: Vec<u8>,
        key: Sealed,
    },
    /// Freezes the last synchronization of an inactive, empty account: it tells central that the account ends.
    CloseAccount {
        account: AccountId,
    },
    /// Deletes an inactive, empty account though central has not heard of its end.
    AbandonAccount {
        account: AccountId,
    },
    /// Time passes: what is due by now happens, though nobody asks for anything.
    PassTime,
    /// The leader's wall clock, which is in doubt, is right; it said about `time` when that was confirmed.
    AcceptClock {
        time: Millis,
    },
    /// The revocation list with this number is in force from now on; the dates come from state time.
    IssueRevocationList {
        number: u64,
    },
    /// What browsers see from now on; none: what the cluster CA issues.
    SetBrowserCertificate {
        certificate: Option<BrowserCertificate>,
    },
    /// Central is to certify the account CA again, before its certificate ends.
    WantAccountCertificate {
        account: AccountId,
    },
    /// New certificates for the keys that the account has.
    CertifyAccount {
        account: AccountId,
        ca_chain: Vec<Vec<u8>>,
        signer_cert: Vec<u8>,
    },
    /// Every data node has this sealing key; it is in force from now on, in the place of the previous one.
    BeginResealing {
        key: SealingKeyId,
        previous: SealingKeyId,
    },
    /// Secrets sealed anew under the key in force.
    Reseal {
        secrets: Vec<Resealed>,
    },
    /// Nothing is sealed under the previous key any more.
    EndResealing {
        key: SealingKeyId,
    },
    /// A new second factor for a user, who is not asked for codes before one was given right.
    EnrolTotp {
        name: String,
        seed: Sealed,
    },
    /// A right code of this time step was given; a step counts once. The first one puts the second factor in force.
    UseTotp {
        name: String,
        /// The enrolment whose seed made the code.
        id: u64,
        step: u64,
    },
    ResetTotp {
        name: String,
    },
    /// Signs a user out everywhere.
    EndSessions {
        name: String,
    },
    /// Changes the labels of a license: what is in both lists is removed.
    LabelLicense {
        license: LicenseId,
        add: Vec<String>,
        remove: Vec<String>,
    },
    CreateAdminIdentity {
        name: String,
        role: Role,
        key_hash: Digest32,
        expires: Millis,
    },
    RevokeAdminIdentity {
        name: String,
    },
    /// A person sets how they like the pages.
    SetPreferences {
        name: String,
        preferences: Preferences,
    },
}

/// What changes of a user. Each of them ends the user's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserChange {
    Password {
        /// Argon2id, PHC string format.
        hash: String,
        /// Somebody else chose it: it must be changed at the next sign-in.
        must_change: bool,
    },
    Role {
        role: Role,
        accounts: Vec<AccountId>,
        virtual_accounts: Vec<VirtualAccountId>,
    },
    Disabled(bool),
}

/// What a registered product may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceAction {
    /// The counts it uses from now on, by entitlement tag; an absent license is released.
    Authorize {
        usage: Vec<(String, u64)>,
    },
    /// As before, only the date moves.
    RenewAuthorization,
    /// A new ID certificate, perhaps for a new key.
    RenewCertificate {
        certificate: IdCertificate,
    },
    Deregister,
}

/// What central says is purchased of one license in the account's default virtual account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    pub tag: String,
    pub name: String,
    pub export_controlled: bool,
    /// Empty: known to the catalog, nothing purchased.
    pub terms: Vec<Term>,
    /// See [`License::covered_by`].
    pub covered_by: Vec<String>,
}

/// An event before it has a place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    pub severity: Severity,
    pub account: Option<AccountId>,
    pub kind: String,
    pub message: String,
}
