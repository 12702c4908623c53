//! Why central refuses, and the checks of a request that need nothing but the request.

use super::document::{DocumentError, RegistrationRequest, SyncRequest};
use super::records::AccountRecord;
use super::store::StoreError;
use crate::license::{MAX_LICENSES_PER_ACCOUNT, MAX_NAME};
use crate::pki::PkiError;
use crate::pki::jws::PublicKey;
use serde::{Deserialize, Serialize};

/// Why a request was refused. The names are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// Not a document, or one with impossible content.
    Invalid,
    Signature,
    SmartAccountUnknown,
    /// The upstream virtual account belongs to another on-prem account.
    VirtualAccountBound,
    AccountUnknown,
    /// The account is registered with another key.
    AccountExists,
    ServerRevoked,
    /// It was not heard of for too long.
    ServerSilent,
    /// Another copy of this server speaks for it.
    Twin,
    /// Two different requests under one sequence number.
    Fork,
    StaleSequence,
    SequenceGap,
    NotFound,
    Exists,
    /// Somebody draws on it, or it holds something.
    InUse,
    /// The caller may not do this.
    Denied,
}

impl RefusalReason {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A refused request: changed nothing but, for twins and forks, what an operator reads about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub reason: RefusalReason,
    pub message: String,
}

/// What a request can end in, other than a response.
#[derive(Debug, thiserror::Error)]
pub enum CentralError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing more may be acknowledged: the service must stop.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl From<DocumentError> for CentralError {
    fn from(e: DocumentError) -> Self {
        let reason = match e {
            DocumentError::Signature(_) => RefusalReason::Signature,
            _ => RefusalReason::Invalid,
        };
        refused(reason, e.to_string())
    }
}

pub(super) type Result<T> = std::result::Result<T, CentralError>;

pub(super) fn refused(reason: RefusalReason, message: impl Into<String>) -> CentralError {
    Refusal { reason, message: message.into() }.into()
}

pub(super) fn account_exists(body: &RegistrationRequest) -> CentralError {
    refused(
        RefusalReason::AccountExists,
        format!(
            "account {:?} of server {} is registered with another key; when it was deleted there, the vendor runs \
             `licraft central server release {} --account {:?}` first",
            body.account, body.server, body.server, body.account
        ),
    )
}

pub(super) fn account_unknown(body: &SyncRequest) -> CentralError {
    refused(
        RefusalReason::AccountUnknown,
        format!("server {} has no account {:?} here; was it released? register it again", body.server, body.account),
    )
}

pub(super) fn account_closed(account: &AccountRecord) -> CentralError {
    refused(
        RefusalReason::AccountUnknown,
        format!(
            "account {:?} has ended, by a request of its server; delete it there with `licraft account delete {:?} \
             --without-central` and request it anew",
            account.name, account.name
        ),
    )
}

/// Names go into keys, certificates and tables; `/` separates them there.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.contains('/') {
        return Err(refused(RefusalReason::Invalid, format!("the {what} must not contain \"/\"")));
    }
    check_text(what, name)
}

/// One line without spaces around it.
pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.trim() != text || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(refused(
            RefusalReason::Invalid,
            format!("the {what} must have 1 to {MAX_NAME} bytes, no control characters, and no space at its ends"),
        ));
    }
    Ok(())
}

pub(super) fn check_registration(body: &RegistrationRequest) -> Result<()> {
    check_name("server", &body.server)?;
    check_name("account", &body.account)?;
    check_name("smart account", &body.smart_account)?;
    check_name("virtual account", &body.virtual_account)?;
    PublicKey::from_jwk(&body.signer_key).map_err(DocumentError::from)?;
    Ok(())
}

pub(super) fn check_sync(body: &SyncRequest) -> Result<()> {
    if body.seq == 0 {
        return Err(refused(RefusalReason::Invalid, "synchronizations are numbered from 1"));
    }
    if body.closing && (body.instances > 0 || !body.usage.is_empty()) {
        return Err(refused(RefusalReason::Invalid, "an account ends when it is empty; this one still uses licenses"));
    }
    if body.usage.len() > MAX_LICENSES_PER_ACCOUNT || !body.usage.is_sorted_by(|a, b| a.tag < b.tag) {
        let message =
            format!("the usage must have at most {MAX_LICENSES_PER_ACCOUNT} licenses, each once, sorted by tag");
        return Err(refused(RefusalReason::Invalid, message));
    }
    body.usage.iter().try_for_each(|u| check_text("license tag", &u.tag))
}
