//! People who may sign in.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::{find, zones};
use crate::license::{self, AccountId, Command, MAX_NAME, Role, StartPage, State, UserChange, VirtualAccountId};
use crate::pki::PkiError;
use crate::pki::passwords::PasswordError;
use crate::pki::totp::Seed;
use crate::proto::admin::*;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

#[tonic::async_trait]
impl users_server::Users for Service {
    async fn list(&self, _: Request<ListUsersRequest>) -> Result<Response<ListUsersReply>, Status> {
        let state = self.state();
        Ok(Response::new(ListUsersReply { users: state.users().map(|u| user(&state, u)).collect() }))
    }

    async fn create(&self, request: Request<CreateUserRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        check_name(&asked.name)?;
        let (role, accounts, virtual_accounts) = role(&self.state(), asked.role.unwrap_or_default())?;
        let hash = self.hash(&asked.name, asked.password).await?;
        let user = license::User {
            accounts,
            virtual_accounts,
            ..license::User::new(asked.name, role, hash, asked.must_change)
        };
        Ok(Response::new(Changed { id: self.change(&call, Command::CreateUser { user }).await? }))
    }

    async fn set_password(&self, request: Request<SetPasswordRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let hash = self.hash(&asked.name, asked.password).await?;
        let change = UserChange::Password { hash, must_change: asked.must_change };
        Ok(Response::new(self.change_user(&call, asked.name, change).await?))
    }

    async fn set_role(&self, request: Request<SetRoleRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let (role, accounts, virtual_accounts) = role(&self.state(), asked.role.unwrap_or_default())?;
        let change = UserChange::Role { role, accounts, virtual_accounts };
        Ok(Response::new(self.change_user(&call, asked.name, change).await?))
    }

    async fn set_disabled(&self, request: Request<SetDisabledRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        Ok(Response::new(self.change_user(&call, asked.name, UserChange::Disabled(asked.disabled)).await?))
    }

    async fn delete(&self, request: Request<UserRef>) -> Result<Response<Changed>, Status> {
        let (call, UserRef { name }) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.change(&call, Command::DeleteUser { name }).await? }))
    }

    /// A repeated call gives the seed that the first one has made.
    async fn enrol_totp(&self, request: Request<UserRef>) -> Result<Response<TotpSecret>, Status> {
        let (call, UserRef { name }) = Call::split(request)?;
        let sealer = self.need_sealer()?;
        let seed = Seed::generate().seal(&sealer);
        self.change(&call, Command::EnrolTotp { name: name.clone(), seed }).await?;
        let seed = Seed::open(&sealer, &self.totp(&name)?.seed).map_err(sealed)?;
        Ok(Response::new(TotpSecret { secret: seed.secret().to_string(), uri: seed.uri(&name).to_string() }))
    }

    async fn confirm_totp(&self, request: Request<ConfirmTotpRequest>) -> Result<Response<Changed>, Status> {
        let (call, ConfirmTotpRequest { name, code }) = Call::split(request)?;
        let totp = self.totp(&name)?;
        let seed = Seed::open(&self.need_sealer()?, &totp.seed).map_err(sealed)?;
        let Some(step) = seed.step(code.trim(), (self.parts.clock)()) else {
            let error = AdminError::new(Kind::Denied, "the code is wrong");
            return Err(error
                .hint("take the newest one; look whether the clocks of the device and of this server are right")
                .into());
        };
        Ok(Response::new(Changed { id: self.change(&call, Command::UseTotp { name, id: totp.id, step }).await? }))
    }

    async fn reset_totp(&self, request: Request<UserRef>) -> Result<Response<Changed>, Status> {
        let (call, UserRef { name }) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.change(&call, Command::ResetTotp { name }).await? }))
    }

    async fn sign_out(&self, request: Request<UserRef>) -> Result<Response<Changed>, Status> {
        let (call, UserRef { name }) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.change(&call, Command::EndSessions { name }).await? }))
    }

    async fn set_preferences(&self, request: Request<SetPreferencesRequest>) -> Result<Response<Changed>, Status> {
        let (call, SetPreferencesRequest { name, preferences }) = Call::split(request)?;
        let preferences = preferences_of(preferences.unwrap_or_default())?;
        Ok(Response::new(Changed { id: self.change(&call, Command::SetPreferences { name, preferences }).await? }))
    }
}

impl Service {
    /// The hash of a password that somebody chose for the user `name`.
    pub(super) async fn hash(&self, name: &str, password: String) -> Result<String, AdminError> {
        let shortest = self.state().settings().min_password_bytes;
        self.passwords.hash(name, Zeroizing::new(password), shortest).await.map_err(|error| {
            let kind = match error {
                PasswordError::Busy => Kind::Busy,
                PasswordError::Length { .. } | PasswordError::Name => Kind::Invalid,
                PasswordError::Failed(_) => Kind::Internal,
            };
            AdminError::new(kind, error.to_string())
        })
    }

    fn totp(&self, name: &str) -> Result<license::Totp, AdminError> {
        let state = self.state();
        let user =
            state.user(name).ok_or_else(|| AdminError::new(Kind::NotFound, format!("there is no user \"{name}\"")))?;
        user.totp.clone().ok_or_else(|| {
            AdminError::new(Kind::NotFound, format!("user \"{name}\" has no second factor"))
                .hint(format!("`licraft user totp enrol {name}`"))
        })
    }

    async fn change_user(&self, call: &Call, name: String, change: UserChange) -> Result<Changed, AdminError> {
        Ok(Changed { id: self.change(call, Command::ChangeUser { name, change }).await? })
    }
}

fn sealed(error: PkiError) -> AdminError {
    AdminError::new(Kind::Internal, "the second factor cannot be opened").because(error.to_string())
}

/// A name that can be typed at the sign-in without doubt.
pub fn check_name(name: &str) -> Result<(), AdminError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(AdminError::new(Kind::Invalid, "the user's name is empty, too long or has spaces")
            .hint(format!("use 1 to {MAX_NAME} bytes, as in `admin`")));
    }
    Ok(())
}

fn role(state: &State, asked: UserRole) -> Result<(Role, Vec<AccountId>, Vec<VirtualAccountId>), AdminError> {
    let role = match asked.role.as_str() {
        "" => Role::ReadOnly,
        name => role_named(name)?,
    };
    let accounts = asked.accounts.iter().map(|name| Ok(find::account(state, name)?.id));
    let accounts = accounts.collect::<Result<_, AdminError>>()?;
    let vas = asked.virtual_accounts.iter();
    let vas = vas.map(|named| Ok(find::virtual_account(state, named)?.id)).collect::<Result<_, AdminError>>()?;
    Ok((role, accounts, vas))
}

pub fn role_named(name: &str) -> Result<Role, AdminError> {
    Role::named(name).ok_or_else(|| {
        let all: Vec<&str> = Role::ALL.iter().map(Role::as_str).collect();
        AdminError::new(Kind::Invalid, format!("there is no role `{name}`")).hint(format!("use {}", all.join(", ")))
    })
}

fn user(state: &State, user: &license::User) -> User {
    let place = |id: &VirtualAccountId| {
        let va = state.virtual_account(*id)?;
        let account = find::account_name(state, Some(va.account));
        Some(VirtualAccountRef { account, virtual_account: va.name.clone() })
    };
    let role = UserRole {
        role: user.role.to_string(),
        accounts: user.accounts.iter().map(|id| find::account_name(state, Some(*id))).collect(),
        virtual_accounts: user.virtual_accounts.iter().filter_map(place).collect(),
    };
    User {
        name: user.name.clone(),
        role: Some(role),
        disabled: user.disabled,
        must_change: user.must_change,
        created_ms: user.created.0,
        password_changed_ms: user.password_changed.0,
        sessions: state.sessions_of(&user.name, state.now()).count() as u64,
        totp: user.totp.as_ref().is_some_and(|t| t.confirmed),
        preferences: Some(Preferences {
            rows: user.preferences.rows,
            start: user.preferences.start.to_string(),
            time_zone: user.preferences.time_zone.clone(),
            live: user.preferences.live,
        }),
    }
}

/// Whether the words are known; the numbers are checked where they are stored.
fn preferences_of(asked: Preferences) -> Result<license::Preferences, AdminError> {
    let Preferences { rows, start, time_zone, live } = asked;
    let known = StartPage::ALL.into_iter().find(|page| page.as_str() == start);
    let start = known.ok_or_else(|| {
        AdminError::new(Kind::Invalid, format!("there is no workspace `{start}`"))
            .hint("it is `licensing` or `administration`")
    })?;
    if zones::time_zone(&time_zone).is_none() {
        return Err(AdminError::new(Kind::Invalid, format!("there is no time zone `{time_zone}`"))
            .hint("name it as the IANA database does, as in `Europe/Berlin`"));
    }
    Ok(license::Preferences { rows, start, time_zone, live })
}
