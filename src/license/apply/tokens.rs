//! Registration tokens.

use super::*;

impl Apply<'_> {
    pub fn create_token(&mut self, command: &Command) -> Done {
        let Command::CreateToken { va, hash, sealed, description, expires_days, max_uses, export_controlled } = command
        else {
            unreachable!("dispatched by carry_out")
        };
        let account = self.va(*va)?.account;
        self.active_account(account)?;
        inputs::text("description", description, MAX_TEXT)?;
        self.check_sealed("token", sealed)?;
        if !(MIN_TOKEN_DAYS..=MAX_TOKEN_DAYS).contains(expires_days) || *max_uses > MAX_TOKEN_USES {
            let message =
                format!("A token is valid for {MIN_TOKEN_DAYS} to {MAX_TOKEN_DAYS} days; max. uses 0 is no limit.");
            return Err(refuse(Reason::Invalid, message));
        }
        if self.state.token_by_hash(hash).is_some() {
            return Err(refuse(Reason::Exists, "This token already exists; make another."));
        }
        if self.state.tokens(*va).count() >= MAX_TOKENS_PER_VIRTUAL_ACCOUNT {
            let spent = self.state.tokens(*va).find(|t| t.refusal(self.now).is_some()).map(|t| t.id);
            let full = || {
                let message = format!("All {MAX_TOKENS_PER_VIRTUAL_ACCOUNT} tokens are valid; revoke one first.");
                refuse(Reason::Limit, message)
            };
            self.drop_token(spent.ok_or_else(full)?);
        }
        let id = TokenId(self.next_id());
        let token = Token {
            id,
            va: *va,
            hash: *hash,
            sealed: sealed.clone(),
            description: description.clone(),
            created: self.now,
            expires: self.now.plus(expires_days * Millis::DAY),
            max_uses: *max_uses,
            uses: 0,
            export_controlled: *export_controlled,
            revoked: false,
            created_by: inputs::cut(self.actor, MAX_NAME).to_owned(),
        };
        self.state.index.add_token(&token);
        self.state.tokens.insert(id, Arc::new(token));
        self.changes.insert(RecordKey::Token(id));
        let message = format!("Token {id} was created, valid for {expires_days} days.");
        let concerns = vec![Subject::VirtualAccount(*va), Subject::Token(id)];
        self.inform_about(account, "token-created", message, concerns);
        Ok(Outcome::Created(id.0))
    }

    /// Revoking again is done already. Products registered with the token stay registered.
    pub fn revoke_token(&mut self, id: TokenId) -> Done {
        let missing = || refuse(Reason::NotFound, format!("There is no token {id}."));
        let token = self.state.token(id).ok_or_else(missing)?;
        if token.revoked {
            return Ok(Outcome::Done);
        }
        let va = self.va(token.va)?;
        let (account, concerns) = (va.account, vec![Subject::VirtualAccount(va.id), Subject::Token(id)]);
        self.change_token(id, |t| t.revoked = true);
        self.inform_about(account, "token-revoked", format!("Token {id} was revoked."), concerns);
        Ok(Outcome::Done)
    }

    pub fn change_token(&mut self, id: TokenId, change: impl FnOnce(&mut Token)) {
        if let Some(token) = self.state.tokens.get_mut(&id) {
            change(Arc::make_mut(token));
            self.changes.insert(RecordKey::Token(id));
        }
    }

    pub fn drop_token(&mut self, id: TokenId) {
        if let Some(token) = self.state.tokens.remove(&id) {
            self.state.index.remove_token(&token);
            self.changes.insert(RecordKey::Token(id));
        }
    }
}

impl Token {
    /// Why it registers nobody at `now`; none when it does.
    #[must_use]
    pub fn refusal(&self, now: Millis) -> Option<Reason> {
        if self.revoked {
            Some(Reason::TokenRevoked)
        } else if now >= self.expires {
            Some(Reason::TokenExpired)
        } else if self.max_uses > 0 && self.uses >= self.max_uses {
            Some(Reason::TokenExhausted)
        } else {
            None
        }
    }
}
