//! Accounts and their virtual accounts.

use super::*;

/// Life of a local account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountStatus {
    Requested,
    Approved,
    Active,
    Inactive,
    Rejected,
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
