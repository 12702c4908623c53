//! The model's users, sessions and API clients.

use super::*;

const IDLE: u64 = HOUR / 2;
const LIFE: u64 = 12 * HOUR;

pub(super) struct UserModel {
    role: Role,
    disabled: bool,
    accounts: Vec<AccountId>,
    virtual_accounts: Vec<VirtualAccountId>,
    /// Enrolment, whether it was confirmed, the newest step.
    totp: Option<(u64, bool, u64)>,
    preferences: Preferences,
}

#[derive(Clone)]
pub(super) struct SessionModel {
    id: Digest32,
    user: String,
    begun: u64,
    used: u64,
}

#[derive(Default)]
pub(super) struct People {
    pub users: BTreeMap<String, UserModel>,
    sessions: Vec<SessionModel>,
    /// The account of each client.
    clients: BTreeMap<String, Option<AccountId>>,
    /// Role, key and end of each admin identity.
    identities: BTreeMap<String, (Role, Digest32, u64)>,
}

impl People {
    pub fn administrator(&mut self, name: &str) {
        let (role, disabled) = (Role::SystemAdministrator, false);
        let user = UserModel {
            role,
            disabled,
            accounts: vec![],
            virtual_accounts: vec![],
            totp: None,
            preferences: Preferences::INITIAL,
        };
        self.users.insert(name.to_owned(), user);
    }

    fn others(&self, name: &str) -> bool {
        let full = |u: &UserModel| u.role == Role::SystemAdministrator && !u.disabled;
        self.users.iter().any(|(n, u)| n != name && full(u))
    }

    /// Neither the account nor its virtual accounts are there any more.
    pub fn account_gone(&mut self, account: u64) {
        self.clients.retain(|_, a| *a != Some(AccountId(account)));
        self.users.values_mut().for_each(|u| u.accounts.retain(|a| a.0 != account));
    }

    pub fn va_gone(&mut self, va: u64) {
        self.users.values_mut().for_each(|u| u.virtual_accounts.retain(|v| v.0 != va));
    }
}

impl Auditor {
    fn check_places(&self, role: Role, accounts: &[AccountId], vas: &[VirtualAccountId]) -> Result<(), Reason> {
        let counts = (accounts.is_empty(), vas.is_empty());
        let wanted = match role {
            Role::LocalAccountAdministrator => (false, true),
            Role::VirtualAccountAdministrator => (true, false),
            _ => (true, true),
        };
        ensure(counts == wanted, Reason::Invalid)?;
        ensure(accounts.iter().all(|a| self.accounts.contains_key(&a.0)), Reason::NotFound)?;
        ensure(vas.iter().all(|v| self.vas.contains_key(&v.0)), Reason::NotFound)
    }

    pub(super) fn create_user(&mut self, user: &User) -> Result<(), Reason> {
        self.check_places(user.role, &user.accounts, &user.virtual_accounts)?;
        ensure(!self.people.users.contains_key(&user.name), Reason::Exists)?;
        let User { role, disabled, accounts, virtual_accounts, .. } = user.clone();
        let model =
            UserModel { role, disabled, accounts, virtual_accounts, totp: None, preferences: Preferences::INITIAL };
        self.people.users.insert(user.name.clone(), model);
        Ok(())
    }

    pub(super) fn change_user(&mut self, name: &str, change: &UserChange) -> Result<(), Reason> {
        let known = self.people.users.get(name).ok_or(Reason::NotFound)?;
        let full = match change {
            UserChange::Password { .. } => known.role == Role::SystemAdministrator && !known.disabled,
            UserChange::Role { role, accounts, virtual_accounts } => {
                self.check_places(*role, accounts, virtual_accounts)?;
                *role == Role::SystemAdministrator && !known.disabled
            }
            UserChange::Disabled(disabled) => known.role == Role::SystemAdministrator && !disabled,
        };
        ensure(full || self.people.others(name), Reason::State)?;
        let user = self.people.users.get_mut(name).unwrap();
        match change {
            UserChange::Password { .. } => {}
            UserChange::Role { role, accounts, virtual_accounts } => {
                user.role = *role;
                user.accounts.clone_from(accounts);
                user.virtual_accounts.clone_from(virtual_accounts);
            }
            UserChange::Disabled(disabled) => user.disabled = *disabled,
        }
        self.people.sessions.retain(|s| s.user != name);
        Ok(())
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Result<(), Reason> {
        ensure(self.people.users.contains_key(name), Reason::NotFound)?;
        ensure(self.people.others(name), Reason::State)?;
        let gone = self.people.users.remove(name).and_then(|user| user.totp);
        self.unseal_totp(gone);
        self.people.sessions.retain(|s| s.user != name);
        Ok(())
    }

    pub(super) fn enrol_totp(&mut self, name: &str, seed: &Sealed) -> Result<(), Reason> {
        self.openable(seed)?;
        let user = self.people.users.get(name).ok_or(Reason::NotFound)?;
        ensure(!user.totp.is_some_and(|(_, confirmed, _)| confirmed), Reason::State)?;
        let id = self.id();
        let before = self.people.users.get_mut(name).unwrap().totp.replace((id, false, 0));
        self.unseal_totp(before);
        self.seal_totp(id, seed);
        Ok(())
    }

    pub(super) fn use_totp(&mut self, name: &str, id: u64, step: u64) -> Result<(), Reason> {
        let user = self.people.users.get_mut(name).ok_or(Reason::NotFound)?;
        let (current, confirmed, newest) = user.totp.ok_or(Reason::NotFound)?;
        ensure(current == id, Reason::NotFound)?;
        ensure(step > newest, Reason::State)?;
        user.totp = Some((id, true, step));
        self.people.sessions.retain(|s| confirmed || s.user != name);
        Ok(())
    }

    pub(super) fn reset_totp(&mut self, name: &str) -> Result<(), Reason> {
        let user = self.people.users.get_mut(name).ok_or(Reason::NotFound)?;
        let gone = user.totp.take().ok_or(Reason::NotFound)?;
        self.unseal_totp(Some(gone));
        self.people.sessions.retain(|s| s.user != name);
        Ok(())
    }

    pub(super) fn sign_out(&mut self, name: &str) -> Result<(), Reason> {
        ensure(self.people.users.contains_key(name), Reason::NotFound)?;
        self.people.sessions.retain(|s| s.user != name);
        Ok(())
    }

    pub(super) fn create_identity(
        &mut self,
        name: &str,
        role: Role,
        key: Digest32,
        expires: u64,
    ) -> Result<(), Reason> {
        let of_server = [Role::SystemAdministrator, Role::SystemOperator, Role::ReadOnly];
        ensure(of_server.contains(&role), Reason::Invalid)?;
        ensure(self.now < expires && expires <= self.now + 367 * DAY, Reason::Invalid)?;
        let lives = self.people.identities.get(name).is_some_and(|(_, _, end)| self.now < *end);
        ensure(!lives, Reason::Exists)?;
        self.people.identities.insert(name.to_owned(), (role, key, expires));
        Ok(())
    }

    pub(super) fn revoke_identity(&mut self, name: &str) -> Result<(), Reason> {
        self.people.identities.remove(name).map(drop).ok_or(Reason::NotFound)
    }

    pub(super) fn set_preferences(&mut self, name: &str, preferences: &Preferences) -> Result<(), Reason> {
        let user = self.people.users.get_mut(name).ok_or(Reason::NotFound)?;
        ensure([25, 50, 100, 250].contains(&preferences.rows), Reason::Invalid)?;
        let zone = &preferences.time_zone;
        ensure(zone.len() <= 64 && !zone.contains('\n'), Reason::Invalid)?;
        user.preferences = preferences.clone();
        Ok(())
    }

    fn live(&self) -> Vec<SessionModel> {
        let live = |s: &&SessionModel| self.now < s.begun + LIFE && self.now < s.used + IDLE;
        self.people.sessions.iter().filter(live).cloned().collect()
    }

    pub(super) fn begin_session(&mut self, id: &Digest32, user: &str) -> Result<(), Reason> {
        ensure(!self.people.users.get(user).ok_or(Reason::NotFound)?.disabled, Reason::State)?;
        self.people.sessions = self.live();
        let mine = || self.people.sessions.iter().filter(|s| s.user == user);
        if mine().count() >= 10 {
            let stalest = mine().map(|s| (s.used, s.id)).min().unwrap().1;
            self.people.sessions.retain(|s| s.id != stalest);
        }
        self.people.sessions.retain(|s| s.id != *id);
        let (begun, used) = (self.now, self.now);
        self.people.sessions.push(SessionModel { id: *id, user: user.to_owned(), begun, used });
        Ok(())
    }

    pub(super) fn touch_session(&mut self, id: &Digest32) -> Result<(), Reason> {
        self.people.sessions = self.live();
        let session = self.people.sessions.iter_mut().find(|s| s.id == *id);
        session.ok_or(Reason::NotFound)?.used = self.now;
        Ok(())
    }

    pub(super) fn end_session(&mut self, id: &Digest32) {
        self.people.sessions.retain(|s| s.id != *id);
    }

    pub(super) fn create_client(&mut self, id: &str, account: Option<AccountId>, role: Role) -> Result<(), Reason> {
        ensure(account.is_none_or(|a| self.accounts.contains_key(&a.0)), Reason::NotFound)?;
        let of_accounts = [Role::LocalAccountAdministrator, Role::ReadOnly];
        let of_server = [Role::SystemAdministrator, Role::SystemOperator, Role::ReadOnly];
        let fits = if account.is_some() { of_accounts.contains(&role) } else { of_server.contains(&role) };
        ensure(fits, Reason::Invalid)?;
        ensure(!self.people.clients.contains_key(id), Reason::Exists)?;
        self.people.clients.insert(id.to_owned(), account);
        Ok(())
    }

    pub(super) fn revoke_client(&mut self, id: &str) -> Result<(), Reason> {
        self.people.clients.remove(id).map(drop).ok_or(Reason::NotFound)
    }

    pub(super) fn compare_people(&self, state: &State) -> Result<(), String> {
        let model: Vec<_> = self.people.users.iter().map(|(name, u)| (name.clone(), u.role, u.disabled)).collect();
        compare::same("users", model, state.users().map(|u| (u.name.clone(), u.role, u.disabled)).collect())?;
        for (name, model) in &self.people.users {
            let user = state.user(name).unwrap();
            let totp = user.totp.as_ref().map(|t| (t.id, t.confirmed, t.last_step));
            compare::same("second factor", model.totp, totp)?;
            compare::same("preferences", &model.preferences, &user.preferences)?;
            compare::same(
                "places",
                (&model.accounts, &model.virtual_accounts),
                (&user.accounts, &user.virtual_accounts),
            )?;
            let mut live: Vec<_> =
                self.live().into_iter().filter(|s| s.user == *name).map(|s| (s.id, s.used)).collect();
            live.sort_unstable();
            compare::same("sessions", live, state.sessions_of(name, state.now()).map(|s| (s.id, s.used.0)).collect())?;
        }
        let identities: BTreeMap<_, _> =
            state.admin_identities().map(|i| (i.name.clone(), (i.role, i.key_hash, i.expires.0))).collect();
        compare::same("admin identities", &self.people.identities, &identities)?;
        let model: Vec<_> = self.people.clients.iter().map(|(id, account)| (id.clone(), *account)).collect();
        let places = std::iter::once(None).chain(state.accounts().map(|a| Some(a.id)));
        let mut clients: Vec<_> =
            places.flat_map(|place| state.api_clients(place)).map(|c| (c.id.clone(), c.account)).collect();
        clients.sort_unstable();
        compare::same("API clients", model, clients)
    }
}
