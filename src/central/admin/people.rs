//! Who may come in: people who sign in to the pages, and programs that call the REST API.

use super::{AdminReply, TokenRow, UserRow};
use crate::central::change::Change;
use crate::central::document::Digest;
use crate::central::records::*;
use crate::central::refusal::{RefusalReason, Result, check_name, refused};
use crate::central::service::Service;
use crate::license::MAX_TEXT;
use subtle::ConstantTimeEq;

impl Service {
    /// Somebody who may sign in.
    pub(in crate::central) fn user(&self, name: &str) -> Result<Option<UserRecord>> {
        // A name with a separator would be another record's key.
        if check_name("user", name).is_err() {
            return Ok(None);
        }
        Ok(self.store.get(&UserRecord::key(name))?)
    }

    /// The program with this secret.
    pub(in crate::central) fn token(&self, secret: &str) -> Result<Option<TokenRecord>> {
        let hash = Digest::of(secret.as_bytes());
        let tokens = self.store.scan::<TokenRecord>(&["token"])?;
        Ok(tokens.into_iter().find(|token| token.hash.0.ct_eq(&hash.0).into()))
    }

    pub(super) fn create_user(
        &self,
        name: &str,
        smart_account: Option<String>,
        password_hash: String,
        must_change: bool,
        change: &mut Change,
    ) -> Result<AdminReply> {
        check_name("user", name)?;
        if self.user(name)?.is_some() {
            return Err(refused(RefusalReason::Exists, format!("there already is a user {name:?}")));
        }
        if let Some(smart_account) = &smart_account {
            self.smart_account(smart_account)?;
        }
        if self.store.keys(&["user"])?.len() >= UserRecord::MAX {
            let message = format!("there are {} users, the most there can be", UserRecord::MAX);
            return Err(refused(RefusalReason::Invalid, message));
        }
        let may = match &smart_account {
            Some(smart_account) => format!("sees smart account {smart_account}"),
            None => "is an operator".into(),
        };
        let (created, password_changed) = (change.now, change.now);
        let name = name.to_owned();
        let user = UserRecord { name, smart_account, password_hash, must_change, created, password_changed };
        change.batch.put(&UserRecord::key(&user.name), &user);
        Ok(AdminReply::Done(format!("User {} {may}.", user.name)))
    }

    pub(super) fn list_users(&self) -> Result<AdminReply> {
        let users = self.store.scan::<UserRecord>(&["user"])?;
        let row = |user: UserRecord| {
            let UserRecord { name, smart_account, must_change, created, .. } = user;
            UserRow { name, smart_account, must_change, created }
        };
        Ok(AdminReply::Users(users.into_iter().map(row).collect()))
    }

    /// Sessions end with the old password.
    pub(super) fn set_password(
        &self,
        name: &str,
        password_hash: String,
        must_change: bool,
        change: &mut Change,
    ) -> Result<AdminReply> {
        let user = self.known_user(name)?;
        let user = UserRecord { password_hash, must_change, password_changed: change.now, ..user };
        change.batch.put(&UserRecord::key(name), &user);
        Ok(AdminReply::Done(format!("The password of user {name} is set.")))
    }

    pub(super) fn delete_user(&self, name: &str, change: &mut Change) -> Result<AdminReply> {
        self.known_user(name)?;
        change.batch.remove(&UserRecord::key(name));
        Ok(AdminReply::Done(format!("User {name} is deleted.")))
    }

    fn known_user(&self, name: &str) -> Result<UserRecord> {
        let unknown =
            || refused(RefusalReason::NotFound, format!("there is no user {name:?}; see `licraft central user list`"));
        self.user(name)?.ok_or_else(unknown)
    }

    pub(super) fn create_token(
        &self,
        id: &str,
        description: String,
        smart_account: Option<String>,
        hash: Digest,
        change: &mut Change,
    ) -> Result<AdminReply> {
        check_name("token", id)?;
        if description.len() > MAX_TEXT || description.chars().any(char::is_control) {
            let message = format!("the description must have at most {MAX_TEXT} bytes and no control characters");
            return Err(refused(RefusalReason::Invalid, message));
        }
        if let Some(smart_account) = &smart_account {
            self.smart_account(smart_account)?;
        }
        let ids = self.store.keys(&["token"])?;
        if ids.contains(&TokenRecord::key(id)) {
            return Err(refused(RefusalReason::Exists, format!("there already is a token {id:?}")));
        }
        if ids.len() >= TokenRecord::MAX {
            let message = format!("there are {} tokens, the most there can be", TokenRecord::MAX);
            return Err(refused(RefusalReason::Invalid, message));
        }
        let (created, created_by) = (change.now, change.actor.clone());
        let token = TokenRecord { id: id.to_owned(), description, smart_account, hash, created, created_by };
        change.batch.put(&TokenRecord::key(id), &token);
        Ok(AdminReply::Done(format!("Token {id} is made.")))
    }

    pub(super) fn list_tokens(&self) -> Result<AdminReply> {
        let tokens = self.store.scan::<TokenRecord>(&["token"])?;
        let row = |token: TokenRecord| {
            let TokenRecord { id, description, smart_account, created, created_by, .. } = token;
            TokenRow { id, description, smart_account, created, created_by }
        };
        Ok(AdminReply::Tokens(tokens.into_iter().map(row).collect()))
    }

    pub(super) fn revoke_token(&self, id: &str, change: &mut Change) -> Result<AdminReply> {
        let key = TokenRecord::key(id);
        if !self.store.keys(&["token"])?.contains(&key) {
            let message = format!("there is no token {id:?}; see `licraft central token list`");
            return Err(refused(RefusalReason::NotFound, message));
        }
        change.batch.remove(&key);
        Ok(AdminReply::Done(format!("Token {id} is revoked: it opens nothing any more.")))
    }

    pub(super) fn users_of(&self, smart_account: &str) -> Result<Vec<UserRecord>> {
        let mut users = self.store.scan::<UserRecord>(&["user"])?;
        users.retain(|user| user.smart_account.as_deref() == Some(smart_account));
        Ok(users)
    }

    pub(super) fn tokens_of(&self, smart_account: &str) -> Result<Vec<TokenRecord>> {
        let mut tokens = self.store.scan::<TokenRecord>(&["token"])?;
        tokens.retain(|token| token.smart_account.as_deref() == Some(smart_account));
        Ok(tokens)
    }
}
