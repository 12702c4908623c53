//! The requests and their replies.

use super::rows::{AccountRow, AuditRow, IssuingRow, ServerRow, TokenRow, UserRow};
use crate::central::document::{BillingKind, Digest};
use crate::central::records::{CentralEvent, Order};
use crate::license::Millis;
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRequest {
    /// Makes the smart account if it is new, and the virtual accounts that are.
    CreateAccount {
        smart_account: String,
        virtual_accounts: Vec<String>,
    },
    /// Only while no on-prem account draws on it.
    RenameAccount {
        smart_account: String,
        name: String,
    },
    /// Only when it is empty.
    DeleteAccount {
        smart_account: String,
    },
    RenameVirtualAccount {
        smart_account: String,
        virtual_account: String,
        name: String,
    },
    DeleteVirtualAccount {
        smart_account: String,
        virtual_account: String,
    },
    ListAccounts,
    Entitle(Entitle),
    /// The newest orders first, those of the names that are given.
    Orders {
        smart_account: Option<String>,
        virtual_account: Option<String>,
        tag: Option<String>,
        limit: u64,
    },
    ListServers {
        /// With the accounts that have ended.
        closed: bool,
    },
    /// Takes back a server that was dropped for its silence; else lets the copy of it that was refused last speak for it
    /// from now on.
    Readopt {
        server: String,
    },
    Revoke {
        server: String,
    },
    /// Forgets an account, and frees what it is bound to.
    Release {
        server: String,
        account: String,
    },
    Events,
    /// A request document; answered as over HTTPS.
    Answer {
        document: String,
    },
    /// Somebody who signs in to the pages.
    CreateUser {
        name: String,
        /// None: an operator.
        smart_account: Option<String>,
        /// Argon2id, PHC string format.
        password_hash: String,
        must_change: bool,
    },
    ListUsers,
    SetPassword {
        name: String,
        password_hash: String,
        must_change: bool,
    },
    DeleteUser {
        name: String,
    },
    /// A program that calls the REST API.
    CreateToken {
        id: String,
        description: String,
        smart_account: Option<String>,
        /// SHA-256 of the secret.
        hash: Digest,
    },
    ListTokens,
    RevokeToken {
        id: String,
    },
    VerifyAudit,
    /// Entries after that number, the oldest first, so many that an answer stays small.
    Audit {
        after: u64,
    },
    ShowIssuing,
    /// The keys with this number, which are in central's folder, sign from now on.
    UseIssuing {
        number: u32,
    },
}

/// Sets what a virtual account purchased of one license.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entitle {
    pub smart_account: String,
    pub virtual_account: String,
    pub tag: String,
    pub name: String,
    /// 0: known to the catalog, nothing purchased.
    pub quantity: u64,
    #[serde(default)]
    pub term_start: Option<Millis>,
    #[serde(default)]
    pub term_end: Option<Millis>,
    pub billing: BillingKind,
    #[serde(default)]
    pub export_controlled: bool,
    /// Tags of the licenses that cover this one, the preferred first; none: as they are.
    #[serde(default)]
    pub covered_by: Option<Vec<String>>,
}

/// What a request came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminReply {
    /// Done; one sentence for people.
    Done(String),
    Accounts(Vec<AccountRow>),
    Orders(Vec<Order>),
    Servers(Vec<ServerRow>),
    Events(Vec<CentralEvent>),
    Document(String),
    Users(Vec<UserRow>),
    Tokens(Vec<TokenRow>),
    Audit(Vec<AuditRow>),
    /// The entries held, the newest one's hash, and the first that does not hold (0: none) with what is wrong.
    AuditVerdict {
        first: u64,
        last: u64,
        head: Digest,
        fault: u64,
        why: String,
    },
    Issuing(IssuingRow),
}

impl AdminRequest {
    /// What the audit log says of a change that was carried out; None of what changes nothing or says it itself.
    pub(super) fn audit_line(&self) -> Option<(&'static str, String)> {
        let of = |name: &str, smart_account: &Option<String>| match smart_account {
            Some(smart_account) => format!("{name} for {smart_account}"),
            None => format!("{name}, operator"),
        };
        Some(match self {
            Self::CreateAccount { smart_account, virtual_accounts } => {
                let names = virtual_accounts.iter().map(|name| format!(", {smart_account}/{name}"));
                ("account-create", format!("{smart_account}{}", names.collect::<String>()))
            }
            Self::RenameAccount { smart_account, name } => ("account-rename", format!("{smart_account} to {name}")),
            Self::DeleteAccount { smart_account } => ("account-delete", smart_account.clone()),
            Self::RenameVirtualAccount { smart_account, virtual_account, name } => {
                ("virtual-account-rename", format!("{smart_account}/{virtual_account} to {name}"))
            }
            Self::DeleteVirtualAccount { smart_account, virtual_account } => {
                ("virtual-account-delete", format!("{smart_account}/{virtual_account}"))
            }
            Self::Entitle(e) => {
                let what = format!("{}/{}: {} of {}", e.smart_account, e.virtual_account, e.quantity, e.tag);
                ("entitle", what)
            }
            Self::Readopt { server } => ("server-readopt", server.clone()),
            Self::Revoke { server } => ("server-revoke", server.clone()),
            Self::Release { server, account } => ("account-release", format!("{account} of server {server}")),
            Self::CreateUser { name, smart_account, .. } => ("user-create", of(name, smart_account)),
            Self::SetPassword { name, .. } => ("user-password", name.clone()),
            Self::DeleteUser { name } => ("user-delete", name.clone()),
            Self::CreateToken { id, smart_account, .. } => ("token-create", of(id, smart_account)),
            Self::RevokeToken { id } => ("token-revoke", id.clone()),
            // Those that change something write their lines themselves: an answer given again is no change.
            Self::Answer { .. } | Self::UseIssuing { .. } => return None,
            Self::ListAccounts
            | Self::Orders { .. }
            | Self::ListServers { .. }
            | Self::Events
            | Self::ListUsers
            | Self::ListTokens
            | Self::VerifyAudit
            | Self::Audit { .. }
            | Self::ShowIssuing => return None,
        })
    }
}
