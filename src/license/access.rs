//! Who may do what: the roles, each with its list of actions, in one table.

use super::*;
use serde::{Deserialize, Serialize};

/// What a person, a program or a node's administrator may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    SystemAdministrator,
    SystemOperator,
    /// Sees everything, changes nothing, and sees no secret.
    ReadOnly,
    /// Administers the accounts named in its record, and sees no other.
    LocalAccountAdministrator,
    /// Administers the virtual accounts named in its record, and sees no other.
    VirtualAccountAdministrator,
}

/// A kind of thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look at accounts, licenses, instances, alerts, events and the cluster's status.
    Look,
    /// Make, see and revoke registration tokens.
    ManageTokens,
    /// Move and remove product instances.
    ManageInstances,
    /// Move purchased licenses between virtual accounts.
    ManageLicenses,
    ManageVirtualAccounts,
    Synchronize,
    AcknowledgeAlerts,
    /// Make and revoke the API clients of an account.
    ManageApiClients,
    /// Request, approve, reject, deactivate and delete accounts.
    ManageAccounts,
    ManageUsers,
    ManageSettings,
    ReadAudit,
    /// Everything about nodes: pairing, switchover, stop, teardown.
    ManageCluster,
}

/// Where something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The server as a whole.
    Server,
    Account(AccountId),
    VirtualAccount(VirtualAccountId),
}

impl Role {
    pub const ALL: [Self; 5] = [
        Self::SystemAdministrator,
        Self::SystemOperator,
        Self::LocalAccountAdministrator,
        Self::VirtualAccountAdministrator,
        Self::ReadOnly,
    ];

    /// All that the role may do, in the places that are its own.
    #[must_use]
    pub const fn actions(self) -> &'static [Action] {
        use Action::*;
        match self {
            Self::SystemAdministrator => &[
                Look,
                ManageTokens,
                ManageInstances,
                ManageLicenses,
                ManageVirtualAccounts,
                Synchronize,
                AcknowledgeAlerts,
                ManageApiClients,
                ManageAccounts,
                ManageUsers,
                ManageSettings,
                ReadAudit,
                ManageCluster,
            ],
            Self::SystemOperator => &[
                Look,
                ManageTokens,
                ManageInstances,
                ManageLicenses,
                ManageVirtualAccounts,
                Synchronize,
                AcknowledgeAlerts,
                ManageAccounts,
            ],
            Self::LocalAccountAdministrator => &[
                Look,
                ManageTokens,
                ManageInstances,
                ManageLicenses,
                ManageVirtualAccounts,
                Synchronize,
                AcknowledgeAlerts,
                ManageApiClients,
            ],
            Self::VirtualAccountAdministrator => &[Look, ManageTokens, ManageInstances],
            Self::ReadOnly => &[Look],
        }
    }

    /// Whether the role may do this at all, somewhere.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        self.actions().contains(&action)
    }

    /// Whether the role is for the whole server, not for places named in a user's record.
    #[must_use]
    pub const fn is_for_server(self) -> bool {
        matches!(self, Self::SystemAdministrator | Self::SystemOperator | Self::ReadOnly)
    }

    /// The role with this stable name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl User {
    /// A user for the whole server; the dates are set when it is created.
    #[must_use]
    pub const fn new(name: String, role: Role, password_hash: String, must_change: bool) -> Self {
        Self {
            name,
            role,
            accounts: Vec::new(),
            virtual_accounts: Vec::new(),
            password_hash,
            must_change,
            disabled: false,
            created: Millis(0),
            password_changed: Millis(0),
            totp: None,
            preferences: Preferences::INITIAL,
        }
    }

    /// Whether this user may do `action` in `place`.
    #[must_use]
    pub fn may(&self, action: Action, place: Place, state: &State) -> bool {
        if self.disabled || !self.role.may(action) {
            return false;
        }
        match (self.role, place) {
            (role, _) if role.is_for_server() => true,
            (_, Place::Server) => false,
            (Role::LocalAccountAdministrator, Place::Account(account)) => self.accounts.contains(&account),
            (Role::LocalAccountAdministrator, Place::VirtualAccount(va)) => {
                state.virtual_account(va).is_some_and(|va| self.accounts.contains(&va.account))
            }
            (_, Place::VirtualAccount(va)) => self.virtual_accounts.contains(&va),
            (_, Place::Account(_)) => false,
        }
    }
}

impl AdminIdentity {
    /// Whether it still counts at `now`.
    #[must_use]
    pub fn live(&self, now: Millis) -> bool {
        now < self.expires
    }
}

impl ApiClient {
    /// Whether this program may do `action` in `place`.
    #[must_use]
    pub fn may(&self, action: Action, place: Place, state: &State) -> bool {
        let here = match (self.account, place) {
            (None, _) => true,
            (Some(_), Place::Server) => false,
            (Some(own), Place::Account(account)) => own == account,
            (Some(own), Place::VirtualAccount(va)) => state.virtual_account(va).is_some_and(|va| va.account == own),
        };
        here && self.role.may(action)
    }
}

impl Session {
    /// When it ends unless it is used.
    #[must_use]
    pub fn ends(&self) -> Millis {
        self.begun.plus(SESSION_LIFE).min(self.used.plus(SESSION_IDLE))
    }

    /// Whether it has not ended by `now`.
    #[must_use]
    pub fn live(&self, now: Millis) -> bool {
        now < self.ends()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(role: Role) -> User {
        User {
            accounts: vec![AccountId(1)],
            virtual_accounts: vec![VirtualAccountId(2)],
            ..User::new("ann".into(), role, String::new(), false)
        }
    }

    #[test]
    fn a_role_for_places_holds_there_and_nowhere_else() {
        let state = State::default();
        let (here, there) = (Place::Account(AccountId(1)), Place::Account(AccountId(9)));
        let account = user(Role::LocalAccountAdministrator);
        assert!(account.may(Action::Synchronize, here, &state) && !account.may(Action::Look, there, &state));
        assert!(!account.may(Action::ManageUsers, here, &state) && !account.may(Action::Look, Place::Server, &state));
        let va = user(Role::VirtualAccountAdministrator);
        assert!(va.may(Action::ManageTokens, Place::VirtualAccount(VirtualAccountId(2)), &state));
        assert!(!va.may(Action::ManageTokens, Place::VirtualAccount(VirtualAccountId(3)), &state));
        assert!(!va.may(Action::Look, here, &state) && !va.may(Action::ManageLicenses, here, &state));
    }

    #[test]
    fn a_disabled_user_may_nothing_and_a_reader_only_look() {
        let state = State::default();
        let disabled = User { disabled: true, ..user(Role::SystemAdministrator) };
        assert!(!disabled.may(Action::Look, Place::Server, &state));
        let reader = user(Role::ReadOnly);
        assert!(reader.may(Action::Look, Place::Account(AccountId(9)), &state));
        assert!(!reader.may(Action::ManageTokens, Place::Account(AccountId(1)), &state));
    }

    #[test]
    fn an_accounts_program_sees_that_account_alone() {
        let client = |account, role| ApiClient {
            id: "1".into(),
            account,
            role,
            description: String::new(),
            secret_hash: [0; 32],
            created: Millis(0),
            created_by: String::new(),
        };
        let (state, here) = (State::default(), Place::Account(AccountId(1)));
        let own = client(Some(AccountId(1)), Role::ReadOnly);
        assert!(own.may(Action::Look, here, &state) && !own.may(Action::ManageTokens, here, &state));
        assert!(!own.may(Action::Look, Place::Account(AccountId(2)), &state));
        assert!(!own.may(Action::Look, Place::Server, &state));
        let server = client(None, Role::SystemOperator);
        assert!(server.may(Action::ManageAccounts, Place::Server, &state) && server.may(Action::Look, here, &state));
        assert!(!server.may(Action::ManageUsers, Place::Server, &state));
    }

    #[test]
    fn every_action_is_an_administrators_and_every_role_has_its_name() {
        for role in Role::ALL {
            assert!(role.actions().iter().all(|action| Role::SystemAdministrator.may(*action)), "{role}");
            assert_eq!(Role::named(role.as_str()), Some(role));
        }
        assert_eq!(Role::named("root"), None);
    }
}
