//! Who administers: people and programs.

use super::*;

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
    pub preferences: Preferences,
}

/// How a person likes the pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Rows of one page of a list, one of [`crate::license::LIST_ROWS`].
    pub rows: u64,
    /// Where they come after signing in.
    pub start: StartPage,
    /// The time zone in which times are shown, by its name in the IANA database; empty: UTC.
    pub time_zone: String,
    /// Whether open pages bring themselves up to date.
    pub live: bool,
}

impl Preferences {
    /// Of somebody who has set nothing.
    pub const INITIAL: Self =
        Self { rows: DEFAULT_LIST_ROWS, start: StartPage::Licensing, time_zone: String::new(), live: true };
}

impl Default for Preferences {
    fn default() -> Self {
        Self::INITIAL
    }
}

impl StartPage {
    pub const ALL: [Self; 2] = [Self::Licensing, Self::Administration];
}

/// The overview of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartPage {
    Licensing,
    Administration,
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
    /// The last use known here; use within [`crate::license::SESSION_TOUCH`] of it is not recorded.
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
