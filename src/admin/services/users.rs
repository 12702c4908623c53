//! People who may sign in.

use crate::admin::error::{AdminError, Kind};
use crate::admin::find;
use crate::admin::service::{Call, Service};
use crate::license::{self, AccountId, Command, MAX_NAME, Role, State, UserChange, VirtualAccountId};
use crate::pki::passwords::PasswordError;
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

    async fn change_user(&self, call: &Call, name: String, change: UserChange) -> Result<Changed, AdminError> {
        Ok(Changed { id: self.change(call, Command::ChangeUser { name, change }).await? })
    }
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
    }
}
