//! The REST API: what the command line does, for programs with a bearer token. Answers are JSON; times are milliseconds
//! since 1970; errors are problem details (RFC 9457).

use super::admin::{AdminReply, AdminRequest, Caller, Entitle};
use super::document::MAX_DOCUMENT_BYTES;
use super::problem::Problem;
use super::refusal::RefusalReason;
use super::serve::DOCUMENT_TYPE;
use super::shared::Shared;
use crate::product::listener::Peer;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Instant;

/// Where the API begins.
pub const BASE: &str = "/api/v1";
/// Orders in one answer unless said otherwise, and at most.
const ORDERS: u64 = 100;
const MAX_ORDERS: u64 = 10_000;

type Answer = Result<Json<AdminReply>, Problem>;

/// The routes, for who comes with a token.
pub fn router(shared: Shared) -> Router {
    let at = |path: &str| format!("{BASE}{path}");
    Router::new()
        .route(&at("/accounts"), get(accounts).post(create_account))
        .route(&at("/accounts/{smart_account}"), patch(rename_account).delete(delete_account))
        .route(
            &at("/accounts/{smart_account}/virtual-accounts/{virtual_account}"),
            patch(rename_virtual_account).delete(delete_virtual_account),
        )
        .route(&at("/entitlements"), post(entitle))
        .route(&at("/orders"), get(orders))
        .route(&at("/servers"), get(servers))
        .route(&at("/servers/{server}/readopt"), post(readopt))
        .route(&at("/servers/{server}/revoke"), post(revoke))
        .route(&at("/servers/{server}/accounts/{account}"), delete(release))
        .route(&at("/events"), get(events))
        .route(&at("/audit"), get(audit))
        .route(&at("/answer"), post(answer))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT_BYTES))
        .with_state(shared)
}

/// Lets who has a token through. Who has none takes attempts of its source, as a document does.
async fn admit(
    State(shared): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let found = match bearer(request.headers()) {
        Some(secret) => shared.run(move |service| service.token(&secret)).await,
        None => Ok(None),
    };
    let token = match found {
        Ok(token) => token,
        Err(problem) => return problem.into_response(),
    };
    let Some(token) = token else {
        let limited = shared.limiter.take(peer.ip(), Instant::now());
        return limited
            .map_or_else(|wait| Problem::too_many(peer.ip(), wait), |()| Problem::no_token())
            .into_response();
    };
    let caller = Caller { actor: format!("token {}", token.id), smart_account: token.smart_account };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
}

/// One call: who makes it and where it goes.
struct Call {
    shared: Shared,
    caller: Caller,
}

impl FromRequestParts<Shared> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, shared: &Shared) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::no_token)?;
        Ok(Self { shared: shared.clone(), caller })
    }
}

impl Call {
    async fn ask(self, request: AdminRequest) -> Answer {
        self.shared.admin(self.caller, request).await.map(Json)
    }
}

fn invalid(why: impl std::fmt::Display) -> Problem {
    Problem::refused(RefusalReason::Invalid, why.to_string())
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| invalid(format!("the body is not the JSON that is expected: {e}")))
}

async fn wrong_method() -> Problem {
    let detail = "this method is not for this path; the operator's guide lists them".to_owned();
    Problem { status: StatusCode::METHOD_NOT_ALLOWED.as_u16(), ..Problem::refused(RefusalReason::Invalid, detail) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    smart_account: String,
    #[serde(default)]
    virtual_accounts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewName {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedOrders {
    smart_account: Option<String>,
    virtual_account: Option<String>,
    license: Option<String>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedServers {
    #[serde(default)]
    closed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedAudit {
    #[serde(default)]
    after: u64,
}

type Named<T> = Result<Path<T>, PathRejection>;
type Wanted<T> = Result<Query<T>, QueryRejection>;

async fn accounts(call: Call) -> Answer {
    call.ask(AdminRequest::ListAccounts).await
}

async fn create_account(call: Call, body: Bytes) -> Answer {
    let NewAccount { smart_account, virtual_accounts } = read(&body)?;
    call.ask(AdminRequest::CreateAccount { smart_account, virtual_accounts }).await
}

async fn rename_account(call: Call, path: Named<String>, body: Bytes) -> Answer {
    let (Path(smart_account), NewName { name }) = (path.map_err(invalid)?, read(&body)?);
    call.ask(AdminRequest::RenameAccount { smart_account, name }).await
}

async fn delete_account(call: Call, path: Named<String>) -> Answer {
    let Path(smart_account) = path.map_err(invalid)?;
    call.ask(AdminRequest::DeleteAccount { smart_account }).await
}

async fn rename_virtual_account(call: Call, path: Named<(String, String)>, body: Bytes) -> Answer {
    let Path((smart_account, virtual_account)) = path.map_err(invalid)?;
    let NewName { name } = read(&body)?;
    call.ask(AdminRequest::RenameVirtualAccount { smart_account, virtual_account, name }).await
}

async fn delete_virtual_account(call: Call, path: Named<(String, String)>) -> Answer {
    let Path((smart_account, virtual_account)) = path.map_err(invalid)?;
    call.ask(AdminRequest::DeleteVirtualAccount { smart_account, virtual_account }).await
}

async fn entitle(call: Call, body: Bytes) -> Answer {
    let entitle: Entitle = read(&body)?;
    call.ask(AdminRequest::Entitle(entitle)).await
}

async fn orders(call: Call, query: Wanted<WantedOrders>) -> Answer {
    let Query(WantedOrders { smart_account, virtual_account, license: tag, limit }) = query.map_err(invalid)?;
    let limit = limit.unwrap_or(ORDERS).min(MAX_ORDERS);
    call.ask(AdminRequest::Orders { smart_account, virtual_account, tag, limit }).await
}

async fn servers(call: Call, query: Wanted<WantedServers>) -> Answer {
    let Query(WantedServers { closed }) = query.map_err(invalid)?;
    call.ask(AdminRequest::ListServers { closed }).await
}

async fn readopt(call: Call, path: Named<String>) -> Answer {
    let Path(server) = path.map_err(invalid)?;
    call.ask(AdminRequest::Readopt { server }).await
}

async fn revoke(call: Call, path: Named<String>) -> Answer {
    let Path(server) = path.map_err(invalid)?;
    call.ask(AdminRequest::Revoke { server }).await
}

async fn release(call: Call, path: Named<(String, String)>) -> Answer {
    let Path((server, account)) = path.map_err(invalid)?;
    call.ask(AdminRequest::Release { server, account }).await
}

async fn events(call: Call) -> Answer {
    call.ask(AdminRequest::Events).await
}

async fn audit(call: Call, query: Wanted<WantedAudit>) -> Answer {
    let Query(WantedAudit { after }) = query.map_err(invalid)?;
    call.ask(AdminRequest::Audit { after }).await
}

/// The body is the request file as it is; so is the answer.
async fn answer(call: Call, body: Bytes) -> Result<Response, Problem> {
    let document = String::from_utf8(body.to_vec()).map_err(|_| invalid("the body is no request file"))?;
    match call.ask(AdminRequest::Answer { document }).await?.0 {
        AdminReply::Document(response) => Ok(([(header::CONTENT_TYPE, DOCUMENT_TYPE)], response).into_response()),
        _ => Err(Problem::own("the answer is no document".into())),
    }
}
