//! Registration tokens: made here, kept as a hash for look-up and sealed for display.

use crate::admin::error::{AdminError, Kind};
use crate::admin::find;
use crate::admin::service::{Call, Service};
use crate::license::{self, Action, Command, Millis, TOKEN_DAYS, TokenId};
use crate::listing;
use crate::pki::{random, seal::Sealer, sha256};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl tokens_server::Tokens for Service {
    async fn create(&self, request: Request<CreateTokenRequest>) -> Result<Response<CreateTokenReply>, Status> {
        let (call, asked) = Call::split(request)?;
        let va = find::virtual_account(&self.state(), &asked.virtual_account.unwrap_or_default())?.id;
        let sealer = self.needed_sealer()?;
        let text = random::token();
        let command = Command::CreateToken {
            va,
            hash: sha256(text.as_bytes()),
            sealed: sealer.seal(license::Token::CONTEXT, text.as_bytes()),
            description: asked.description,
            expires_days: if asked.expires_days == 0 { TOKEN_DAYS } else { asked.expires_days },
            max_uses: asked.max_uses,
            export_controlled: asked.export_controlled,
        };
        let id = self.change(&call, command).await?;
        // A repeated call made another text, but the token on record is the first one's.
        let state = self.state();
        let token = state.token(TokenId(id));
        let token = token.ok_or_else(|| AdminError::new(Kind::NotFound, "the token was removed meanwhile"))?;
        let reply = CreateTokenReply { id, token: reveal(&sealer, token)?, expires_ms: token.expires.0 };
        Ok(Response::new(reply))
    }

    async fn list(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensReply>, Status> {
        let (call, asked) = Call::split(request)?;
        if asked.reveal && !call.caller.role.may(Action::ManageTokens) {
            let denied = AdminError::new(Kind::Denied, "a read-only caller may not see the tokens themselves");
            return Err(denied.hint("leave --reveal out").into());
        }
        let sealer = if asked.reveal { Some(self.needed_sealer()?) } else { None };
        let state = self.state();
        let mut tokens = Vec::new();
        for (account, va) in find::virtual_accounts(&state, asked.virtual_account.as_ref())? {
            for token in state.tokens(va.id) {
                tokens.push(Token {
                    id: token.id.0,
                    account: account.name.clone(),
                    virtual_account: va.name.clone(),
                    description: token.description.clone(),
                    status: status(token, state.meta().now).into(),
                    created_ms: token.created.0,
                    created_by: token.created_by.clone(),
                    expires_ms: token.expires.0,
                    uses: token.uses,
                    max_uses: token.max_uses,
                    export_controlled: token.export_controlled,
                    token: sealer.as_ref().map(|s| reveal(s, token)).transpose()?.unwrap_or_default(),
                });
            }
        }
        Ok(Response::new(ListTokensReply { tokens }))
    }

    async fn revoke(&self, request: Request<RevokeTokenRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let id = self.change(&call, Command::RevokeToken { token: TokenId(asked.id) }).await?;
        Ok(Response::new(Changed { id }))
    }
}

impl Service {
    pub(super) fn needed_sealer(&self) -> Result<Sealer, AdminError> {
        self.sealer().ok_or_else(|| {
            AdminError::new(Kind::State, "this node has no sealing key").hint("ask a data node of the cluster")
        })
    }
}

fn reveal(sealer: &Sealer, token: &license::Token) -> Result<String, AdminError> {
    let damaged = |why: String| {
        AdminError::new(Kind::Internal, format!("token {} cannot be unsealed", token.id))
            .because(why)
            .hint("revoke it and create another")
    };
    let text = sealer.open(license::Token::CONTEXT, &token.sealed).map_err(|e| damaged(e.to_string()))?;
    String::from_utf8(text.to_vec()).map_err(|e| damaged(e.to_string()))
}

fn status(token: &license::Token, now: Millis) -> TokenStatus {
    match listing::TokenStatus::of(token, now) {
        listing::TokenStatus::Active => TokenStatus::Active,
        listing::TokenStatus::Expired => TokenStatus::Expired,
        listing::TokenStatus::Exhausted => TokenStatus::Exhausted,
        listing::TokenStatus::Revoked => TokenStatus::Revoked,
    }
}
