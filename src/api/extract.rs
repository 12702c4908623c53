//! What handlers take out of a request: the client behind it, and its parts, with our own words where they do not fit.

use super::problem::Problem;
use super::{App, MAX_PAGE, PAGE, token};
use crate::license::{Account, Action, ApiClient, Place, State, VirtualAccount};
use crate::listing::{Column, Order, Window};
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use utoipa::IntoParams;

/// A client may name its request, so that a repeat is recognised.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const MAX_IDEMPOTENCY_KEY: usize = 128;

/// The program behind a request, proven by its access token.
pub struct Client {
    pub record: ApiClient,
    pub idempotency_key: Option<String>,
}

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, text) = header.and_then(|value| value.split_once(' ')).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::unauthorized("the request has no access token"));
        }
        let record = token::client(app, text.trim())
            .ok_or_else(|| Problem::unauthorized("the access token has expired, or its client was revoked"))?;
        let key = parts.headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default().to_owned());
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY) {
            let detail = format!("an Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} printable characters");
            return Err(Problem::invalid(detail));
        }
        Ok(Self { record, idempotency_key: key })
    }
}

impl Client {
    /// As recorded in events and the audit log.
    pub fn actor(&self) -> String {
        format!("api client {}", self.record.id)
    }

    /// # Errors
    /// When the client may not do `action` in `place`.
    pub fn require(&self, action: Action, place: Place, state: &State) -> Result<(), Problem> {
        if self.record.may(action, place, state) {
            return Ok(());
        }
        let role = self.record.role;
        Err(match (self.record.account, place) {
            (Some(_), Place::Server) => {
                Problem::forbidden("this is a call about the server, and the client's is one account")
            }
            _ if !role.may(action) => Problem::forbidden(format!("the role {role} does not allow this")),
            _ => Problem::forbidden("the client's account is another one"),
        })
    }

    /// The account `name`, if the client may do `action` there. A client of one account is not told which others exist.
    pub fn account<'a>(&self, action: Action, state: &'a State, name: &str) -> Result<&'a Account, Problem> {
        let found = state.account_by_name(name);
        match (found, self.record.account) {
            (Some(account), _) => self.require(action, Place::Account(account.id), state).map(|()| account),
            (None, Some(_)) => Err(Problem::forbidden("the client's account is another one")),
            (None, None) => Err(Problem::not_found(format!("there is no account {name:?}"))),
        }
    }

    /// The account and its virtual account.
    pub fn virtual_account<'a>(
        &self,
        action: Action,
        state: &'a State,
        (account, va): (&str, &str),
    ) -> Result<(&'a Account, &'a VirtualAccount), Problem> {
        let account = self.account(action, state, account)?;
        let missing = || Problem::not_found(format!("account {:?} has no virtual account {va:?}", account.name));
        Ok((account, state.virtual_account_by_name(account.id, va).ok_or_else(missing)?))
    }
}

/// A JSON body; every failure says what is wrong with it.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::media_type()),
            Err(JsonRejection::BytesRejection(BytesRejection::FailedToBufferBody(_))) => Err(Problem::too_large()),
            Err(other) => Err(Problem::invalid(other.body_text())),
        }
    }
}

/// Path parameters.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// Query parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// Which part of a list is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Rows at most; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Only what comes after the row with this number.
    #[serde(default)]
    #[param(minimum = 0, required = false)]
    pub after: u64,
}

impl Page {
    pub fn limit(&self) -> Result<usize, Problem> {
        window(0, self.limit.unwrap_or(PAGE)).map(|window| window.limit)
    }
}

/// The rows that a query asks for.
pub fn window(offset: usize, limit: usize) -> Result<Window, Problem> {
    match limit {
        1..=MAX_PAGE => Ok(Window { offset, limit }),
        _ => Err(Problem::invalid(format!("limit is 1 to {MAX_PAGE}"))),
    }
}

/// The order that a query asks for; empty: `usual`.
pub fn order<C: Column>(text: &str, usual: C) -> Result<Order<C>, Problem> {
    if text.is_empty() { Ok(Order::ascending(usual)) } else { Order::parse(text).map_err(Problem::invalid) }
}

/// A part of a list, with how many rows the whole of it has in a header.
pub fn part<T: serde::Serialize>(total: usize, rows: Vec<T>) -> Part<T> {
    ([(TOTAL_COUNT, total)], axum::Json(rows))
}

/// See [`part`].
pub type Part<T> = ([(&'static str, usize); 1], axum::Json<Vec<T>>);
/// Rows of all pages; the descriptions of the API name it too.
const TOTAL_COUNT: &str = "x-total-count";
