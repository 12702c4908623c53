//! People, their sessions, and the programs that call the REST API.

use super::*;

impl Apply<'_> {
    pub fn create_user(&mut self, user: &User) -> Done {
        inputs::user(user)?;
        self.check_scope(user.role, &user.accounts, &user.virtual_accounts)?;
        if self.state.user(&user.name).is_some() {
            return Err(refuse(Reason::Exists, format!("There already is a user \"{}\".", user.name)));
        }
        if self.state.users.len() >= MAX_USERS {
            return Err(refuse(Reason::Limit, format!("There are {MAX_USERS} users, the most there can be.")));
        }
        let user = User { created: self.now, password_changed: self.now, totp: None, ..user.clone() };
        self.store_user(User { preferences: Preferences::INITIAL, ..user.clone() });
        let message = format!("User \"{}\" is {}.", user.name, user.role);
        self.event(Severity::Informational, None, "user-created", message);
        Ok(Outcome::Done)
    }

    pub fn change_user(&mut self, name: &str, change: &UserChange) -> Done {
        let mut user = self.known_user(name)?.clone();
        match change {
            UserChange::Password { hash, must_change } => {
                user.password_hash.clone_from(hash);
                user.must_change = *must_change;
                user.password_changed = self.now;
            }
            UserChange::Role { role, accounts, virtual_accounts } => {
                self.check_scope(*role, accounts, virtual_accounts)?;
                user.role = *role;
                user.accounts.clone_from(accounts);
                user.virtual_accounts.clone_from(virtual_accounts);
            }
            UserChange::Disabled(disabled) => user.disabled = *disabled,
        }
        inputs::user(&user)?;
        if !is_administrator(&user) {
            self.keep_an_administrator(name)?;
        }
        let message = match change {
            UserChange::Password { .. } => format!("The password of \"{name}\" was changed."),
            UserChange::Role { role, .. } => format!("User \"{name}\" is {role}."),
            UserChange::Disabled(true) => format!("User \"{name}\" was disabled."),
            UserChange::Disabled(false) => format!("User \"{name}\" may sign in again."),
        };
        self.store_user(user);
        self.end_sessions_of(name);
        self.event(Severity::Informational, None, "user-changed", message);
        Ok(Outcome::Done)
    }

    /// Unlike other changes of a user it ends no session, and is no event.
    pub fn set_preferences(&mut self, name: &str, preferences: &Preferences) -> Done {
        let user = self.known_user(name)?.clone();
        inputs::preferences(preferences)?;
        if user.preferences != *preferences {
            self.store_user(User { preferences: preferences.clone(), ..user });
        }
        Ok(Outcome::Done)
    }

    pub fn delete_user(&mut self, name: &str) -> Done {
        self.known_user(name)?;
        self.keep_an_administrator(name)?;
        self.end_sessions_of(name);
        self.state.users.remove(name);
        self.changes.insert(RecordKey::User(name.to_owned()));
        self.event(Severity::Informational, None, "user-deleted", format!("User \"{name}\" was deleted."));
        Ok(Outcome::Done)
    }

    pub fn store_user(&mut self, user: User) {
        self.changes.insert(RecordKey::User(user.name.clone()));
        self.state.users.insert(user.name.clone(), Arc::new(user));
    }

    /// Ended sessions make room, then the user's stalest one, then the one that would end first.
    pub fn begin_session(&mut self, id: &Digest32, user: &str, source: &str) -> Done {
        inputs::text("source", source, MAX_NAME)?;
        if self.known_user(user)?.disabled {
            return Err(refuse(Reason::State, format!("User \"{user}\" is disabled.")));
        }
        for _ in 0..SESSIONS_PER_APPLY {
            let Some(&(ends, ended)) = self.state.index.session_ends.get_min() else { break };
            if ends > self.now && self.state.sessions.len() < MAX_SESSIONS {
                break;
            }
            self.drop_session(&ended);
        }
        let mine: Vec<(Millis, Digest32)> = self.state.sessions_of(user, self.now).map(|s| (s.used, s.id)).collect();
        if mine.len() >= MAX_SESSIONS_PER_USER
            && let Some((_, stalest)) = mine.iter().min()
        {
            self.drop_session(stalest);
        }
        self.drop_session(id);
        let (user, source) = (user.to_owned(), source.to_owned());
        self.put_session(Session { id: *id, user, source, begun: self.now, used: self.now });
        Ok(Outcome::Done)
    }

    /// An ended session stays ended.
    pub fn touch_session(&mut self, id: &Digest32) -> Done {
        let Some(session) = self.state.session(id, self.now).cloned() else {
            return Err(refuse(Reason::NotFound, "This session has ended."));
        };
        self.drop_session(id);
        self.put_session(Session { used: self.now, ..session });
        Ok(Outcome::Done)
    }

    pub fn end_session(&mut self, id: &Digest32) -> Done {
        self.drop_session(id);
        Ok(Outcome::Done)
    }

    pub fn end_sessions_by_hand(&mut self, name: &str) -> Done {
        self.known_user(name)?;
        self.end_sessions_of(name);
        self.event(Severity::Informational, None, "user-signed-out", format!("\"{name}\" was signed out everywhere."));
        Ok(Outcome::Done)
    }

    pub fn create_api_client(&mut self, command: &Command) -> Done {
        let Command::CreateApiClient { id, account, role, description, secret_hash } = command else {
            unreachable!("dispatched by carry_out")
        };
        inputs::name("client id", id)?;
        inputs::text("description", description, MAX_TEXT)?;
        account.map_or(Ok(()), |account| self.account(account).map(drop))?;
        let fits = match account {
            Some(_) => matches!(role, Role::LocalAccountAdministrator | Role::ReadOnly),
            None => role.is_for_server(),
        };
        if !fits {
            let message = "An account's API client is local-account-administrator or read-only, and one of the server \
                           has one of the server's roles.";
            return Err(refuse(Reason::Invalid, message));
        }
        if self.state.api_client(id).is_some() {
            return Err(refuse(Reason::Exists, format!("There already is an API client \"{id}\".")));
        }
        if self.state.api_clients(*account).count() >= MAX_API_CLIENTS {
            let message = format!("There are {MAX_API_CLIENTS} API clients there, the most there can be; revoke one.");
            return Err(refuse(Reason::Limit, message));
        }
        let client = ApiClient {
            id: id.clone(),
            account: *account,
            role: *role,
            description: description.clone(),
            secret_hash: *secret_hash,
            created: self.now,
            created_by: inputs::cut(self.actor, MAX_NAME).to_owned(),
        };
        self.state.api_clients.insert(id.clone(), Arc::new(client));
        self.changes.insert(RecordKey::ApiClient(id.clone()));
        let message = format!("API client {id} was created.");
        self.event(Severity::Informational, *account, "api-client-created", message);
        Ok(Outcome::Done)
    }

    pub fn revoke_api_client(&mut self, id: &str) -> Done {
        let Some(client) = self.state.api_clients.remove(id) else {
            return Err(refuse(Reason::NotFound, format!("There is no API client \"{id}\".")));
        };
        self.changes.insert(RecordKey::ApiClient(id.to_owned()));
        let message = format!("API client {id} was revoked.");
        self.event(Severity::Informational, client.account, "api-client-revoked", message);
        Ok(Outcome::Done)
    }

    /// What users and programs had of an account that goes.
    pub fn drop_access(&mut self, account: AccountId) {
        let clients: Vec<String> = self.state.api_clients(Some(account)).map(|c| c.id.clone()).collect();
        for id in clients {
            self.state.api_clients.remove(&id);
            self.changes.insert(RecordKey::ApiClient(id));
        }
        self.drop_scope(&[account], &[]);
    }

    /// Accounts and virtual accounts that go leave the lists of those who administered them.
    pub fn drop_scope(&mut self, accounts: &[AccountId], virtual_accounts: &[VirtualAccountId]) {
        let had = |u: &&User| {
            u.accounts.iter().any(|a| accounts.contains(a))
                || u.virtual_accounts.iter().any(|v| virtual_accounts.contains(v))
        };
        let users: Vec<User> = self.state.users().filter(had).cloned().collect();
        for mut user in users {
            user.accounts.retain(|a| !accounts.contains(a));
            user.virtual_accounts.retain(|v| !virtual_accounts.contains(v));
            self.store_user(user);
        }
    }

    pub fn known_user(&self, name: &str) -> Result<&User, Refusal> {
        self.state.user(name).ok_or_else(|| refuse(Reason::NotFound, format!("There is no user \"{name}\".")))
    }

    /// Somebody else than `name` must be left who may do everything.
    fn keep_an_administrator(&self, name: &str) -> Result<(), Refusal> {
        if self.state.users().any(|u| u.name != name && is_administrator(u)) {
            return Ok(());
        }
        let message =
            format!("\"{name}\" is the only system administrator and must remain one; make another one first.");
        Err(refuse(Reason::State, message))
    }

    /// A role for places names them, and no other role does.
    fn check_scope(
        &self,
        role: Role,
        accounts: &[AccountId],
        virtual_accounts: &[VirtualAccountId],
    ) -> Result<(), Refusal> {
        let fits = match role {
            Role::LocalAccountAdministrator => !accounts.is_empty() && virtual_accounts.is_empty(),
            Role::VirtualAccountAdministrator => accounts.is_empty() && !virtual_accounts.is_empty(),
            _ => accounts.is_empty() && virtual_accounts.is_empty(),
        };
        if !fits || accounts.len() > MAX_USER_SCOPE || virtual_accounts.len() > MAX_USER_SCOPE {
            let message = format!(
                "A local account administrator needs 1 to {MAX_USER_SCOPE} accounts, a virtual account administrator so \
                 many virtual accounts, and any other role neither."
            );
            return Err(refuse(Reason::Invalid, message));
        }
        accounts.iter().try_for_each(|id| self.account(*id).map(drop))?;
        virtual_accounts.iter().try_for_each(|id| self.va(*id).map(drop))
    }

    fn put_session(&mut self, session: Session) {
        self.state.index.add_session(&session);
        self.changes.insert(RecordKey::Session(session.id));
        self.state.sessions.insert(session.id, Arc::new(session));
    }

    fn drop_session(&mut self, id: &Digest32) {
        if let Some(session) = self.state.sessions.remove(id) {
            self.state.index.remove_session(&session);
            self.changes.insert(RecordKey::Session(*id));
        }
    }

    /// Signs everybody out.
    pub fn end_sessions(&mut self) {
        let ids: Vec<Digest32> = self.state.sessions.keys().copied().collect();
        ids.iter().for_each(|id| self.drop_session(id));
    }

    pub fn end_sessions_of(&mut self, user: &str) {
        // At the beginning of time none of them has ended.
        let ids: Vec<Digest32> = self.state.sessions_of(user, Millis(0)).map(|s| s.id).collect();
        ids.iter().for_each(|id| self.drop_session(id));
    }
}

fn is_administrator(user: &User) -> bool {
    user.role == Role::SystemAdministrator && !user.disabled
}
