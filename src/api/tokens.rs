//! Registration tokens of a virtual account, in the incumbent's shapes.

use super::extract::{Body, Client, Path, Query, order, window};
use super::problem::Problems;
use super::{Answer, Api, MAX_PAGE, done};
use crate::admin::rfc3339;
use crate::license::{Action, Millis};
use crate::listing::{self, Needle, TokenColumn, TokenSearch, TokenStatus};
use crate::proto::admin::tokens_server::Tokens;
use crate::proto::admin::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, Token, VirtualAccountRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A registration token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    id: u64,
    token: String,
    description: String,
    /// RFC 3339.
    expiration_date: String,
    /// `ACTIVE`, `EXPIRED`, `EXHAUSTED` or `REVOKED`.
    status: String,
    uses: u64,
    /// 0: unlimited.
    max_uses: u64,
    export_controlled: bool,
    created_by: String,
}

impl From<Token> for TokenInfo {
    fn from(token: Token) -> Self {
        let status = token.status().as_str_name().trim_start_matches("TOKEN_STATUS_").to_owned();
        Self {
            id: token.id,
            token: token.token,
            description: token.description,
            expiration_date: rfc3339(Millis(token.expires_ms)),
            status,
            uses: token.uses,
            max_uses: token.max_uses,
            export_controlled: token.export_controlled,
            created_by: token.created_by,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenList {
    /// `COMPLETE`.
    status: &'static str,
    status_message: String,
    tokens: Vec<TokenInfo>,
    /// Of all pages.
    total_records: usize,
}

/// What a token is good for.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Active,
    Expired,
    Exhausted,
    Revoked,
}

impl From<Status> for TokenStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Expired => Self::Expired,
            Status::Exhausted => Self::Exhausted,
            Status::Revoked => Self::Revoked,
        }
    }
}

/// Which tokens are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only descriptions and makers that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    #[param(required = false, inline)]
    status: Option<Status>,
    /// `created` (if left out), `expirationDate`, `description`, `status`, `uses` or `createdBy`; with a `-` before it the
    /// other way round.
    #[param(required = false, example = "-expirationDate")]
    sort: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most; all if left out, since a virtual account has no more.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { search: String::new(), status: None, sort: String::new(), offset: 0, limit: MAX_PAGE }
    }
}

const _: () = assert!(MAX_PAGE >= crate::license::MAX_TOKENS_PER_VIRTUAL_ACCOUNT);

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewToken {
    description: String,
    /// Days, 1 to 365.
    #[schema(minimum = 1, maximum = 365)]
    expires_after_days: u64,
    /// 0: unlimited.
    max_uses: u64,
    export_controlled: Allowed,
}

impl Default for NewToken {
    fn default() -> Self {
        let (description, export_controlled) = (String::new(), Allowed::Flag(false));
        Self { description, expires_after_days: crate::license::TOKEN_DAYS, max_uses: 0, export_controlled }
    }
}

/// As a flag, or in the words of existing scripts: `Allowed` or `Not Allowed`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Allowed {
    Flag(bool),
    Word(AllowedWord),
}

#[derive(Deserialize, Serialize, ToSchema)]
pub enum AllowedWord {
    Allowed,
    #[serde(rename = "Not Allowed")]
    NotAllowed,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenMade {
    status: &'static str,
    status_message: String,
    token_info: TokenInfo,
}

/// The tokens to revoke: the texts of tokens, or their ids.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokensToRevoke {
    tokens: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokensRevoked {
    tokens_revoke_status: Vec<TokenRevoked>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRevoked {
    /// `COMPLETE` or `ERROR`.
    status: &'static str,
    status_message: String,
    token: String,
}

/// The tokens of a virtual account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/virtual-accounts/{va}/tokens", tag = "incumbent",
    params(("account" = String, Path), ("va" = String, Path), Search),
    responses((status = 200, body = TokenList), Problems), security(("bearer" = []))
)]
pub async fn list(
    app: Api,
    client: Client,
    Path((account, va)): Path<(String, String)>,
    Query(asked): Query<Search>,
) -> Answer<TokenList> {
    let wanted = TokenSearch {
        search: Needle::new(&asked.search),
        status: asked.status.map(Into::into),
        order: order(&asked.sort, TokenColumn::Created)?,
        window: window(asked.offset, asked.limit)?,
    };
    let state = app.state();
    let id = client.virtual_account(Action::ManageTokens, &state, (&account, &va))?.1.id;
    let found = listing::tokens(&state, id, &wanted);
    let named = VirtualAccountRef { account, virtual_account: va };
    let all = ListTokensRequest { virtual_account: Some(named), reveal: true };
    let revealed = done(Tokens::list(&app.context.service, app.ask(&client, all)).await)?.tokens;
    let mut revealed: BTreeMap<u64, _> = revealed.into_iter().map(|token| (token.id, token)).collect();
    let tokens = found.rows.iter().filter_map(|token| revealed.remove(&token.id.0)).map(TokenInfo::from).collect();
    let (status, status_message) = ("COMPLETE", String::new());
    Ok(axum::Json(TokenList { status, status_message, tokens, total_records: found.total }))
}

/// Make a token.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/virtual-accounts/{va}/tokens", tag = "incumbent",
    params(("account" = String, Path), ("va" = String, Path)), request_body = NewToken,
    responses((status = 200, body = TokenMade), Problems), security(("bearer" = []))
)]
pub async fn create(
    app: Api,
    client: Client,
    Path((account, va)): Path<(String, String)>,
    Body(new): Body<NewToken>,
) -> Answer<TokenMade> {
    let named = place(&app, &client, account, va)?;
    let export_controlled = matches!(new.export_controlled, Allowed::Flag(true) | Allowed::Word(AllowedWord::Allowed));
    if new.expires_after_days == 0 {
        return Err(super::Problem::invalid("expiresAfterDays is 1 to 365"));
    }
    let asked = CreateTokenRequest {
        virtual_account: Some(named.clone()),
        description: new.description,
        expires_days: new.expires_after_days,
        max_uses: new.max_uses,
        export_controlled,
    };
    let made = done(Tokens::create(&app.context.service, app.ask(&client, asked)).await)?;
    let asked = ListTokensRequest { virtual_account: Some(named), reveal: true };
    let listed = done(Tokens::list(&app.context.service, app.ask(&client, asked)).await)?;
    let token = listed.tokens.into_iter().find(|token| token.id == made.id);
    let token = token.ok_or_else(|| super::Problem::not_found("the token was removed meanwhile"))?;
    Ok(axum::Json(TokenMade { status: "COMPLETE", status_message: String::new(), token_info: token.into() }))
}

/// Revoke tokens; products registered with them are not affected.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/virtual-accounts/{va}/tokens/revoke", tag = "incumbent",
    params(("account" = String, Path), ("va" = String, Path)), request_body = TokensToRevoke,
    responses((status = 200, body = TokensRevoked), Problems), security(("bearer" = []))
)]
pub async fn revoke(
    app: Api,
    mut client: Client,
    Path((account, va)): Path<(String, String)>,
    Body(asked): Body<TokensToRevoke>,
) -> Answer<TokensRevoked> {
    let named = place(&app, &client, account, va)?;
    // Each is a request of its own, and revoking twice is revoking once.
    client.idempotency_key = None;
    let all = ListTokensRequest { virtual_account: Some(named), reveal: true };
    let listed = done(Tokens::list(&app.context.service, app.ask(&client, all)).await)?.tokens;
    let mut outcomes = Vec::with_capacity(asked.tokens.len());
    for token in asked.tokens {
        let known = listed.iter().find(|known| known.token == token || known.id.to_string() == token);
        let (status, status_message) = match known {
            None => ("ERROR", "there is no such token in this virtual account".to_owned()),
            Some(known) => {
                let revoke = app.ask(&client, RevokeTokenRequest { id: known.id });
                done(Tokens::revoke(&app.context.service, revoke).await)?;
                ("COMPLETE", String::new())
            }
        };
        outcomes.push(TokenRevoked { status, status_message, token });
    }
    Ok(axum::Json(TokensRevoked { tokens_revoke_status: outcomes }))
}

fn place(app: &Api, client: &Client, account: String, va: String) -> Result<VirtualAccountRef, super::Problem> {
    client.virtual_account(Action::ManageTokens, &app.state(), (&account, &va))?;
    Ok(VirtualAccountRef { account, virtual_account: va })
}
