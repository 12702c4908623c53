//! REST for scripts: the incumbent's calls with their shapes, and everything else of licensing under `/api/v1`. Each
//! handler checks who asks and what they may, then reads the state or makes the call that the command line makes.
//!
//! Errors are problem details (RFC 9457); `/api/v1/openapi.json` is made from the code (OpenAPI 3.1).

mod accounts;
mod backups;
mod certificates;
mod events;
mod extract;
mod identities;
mod incumbent;
mod instances;
mod licenses;
mod people;
mod problem;
mod server;
mod sync;
mod token;
mod tokens;

use crate::admin::{AdminError, Caller, REQUEST_ID_KEY, Service};
use crate::central::document::MAX_DOCUMENT_BYTES;
use crate::license::State;
use crate::listing::Lists;
use crate::pki::sha256;
use crate::product::Clock;
use crate::product::limiter::Limiter;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use extract::Client;
use http::header::{CACHE_CONTROL, HeaderValue};
use problem::Problem;
use std::sync::Arc;
use tonic::metadata::MetadataValue;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The largest body: a list of tokens to revoke, or a certificate with its chain.
const MAX_BODY: usize = 64 * 1024;
/// A response of central as a JSON string, in which quotation marks take two bytes.
const MAX_RESPONSE: usize = 2 * MAX_DOCUMENT_BYTES;
/// Rows of an answer unless asked otherwise, and the most there can be in one that is not streamed.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// What the API needs from the node around it.
#[derive(Clone)]
pub struct ApiContext {
    pub service: Service,
    pub lists: Arc<Lists>,
    pub clock: Clock,
    /// Whether this node is active under a valid lease; asked once a request.
    pub serving: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for ApiContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiContext")
    }
}

/// Everything behind the handlers.
struct App {
    context: ApiContext,
    /// What failed attempts to get a token may cost.
    limiter: Limiter,
}

type Api = axum::extract::State<Arc<App>>;
type Answer<T> = Result<axum::Json<T>, Problem>;

impl App {
    fn state(&self) -> Arc<State> {
        self.context.service.ledger().state()
    }

    /// Does what takes milliseconds on a thread that serves nobody.
    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "a list could not be made");
            Problem::failed("the list could not be made; the node's log says why")
        })
    }

    /// `message` as `client` asks it. The same `Idempotency-Key` from the same client is the same request.
    fn ask<T>(&self, client: &Client, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(key) = &client.idempotency_key {
            let hash = sha256(format!("{}\n{key}", client.record.id).as_bytes());
            let id = hex::encode(&hash[..16]);
            // Hexadecimal digits are always a metadata value.
            if let Ok(value) = MetadataValue::try_from(id) {
                request.metadata_mut().insert(REQUEST_ID_KEY, value);
            }
        }
        request.extensions_mut().insert(Caller { actor: client.actor(), role: client.record.role });
        request
    }
}

/// What a call of the admin service came to.
fn done<T>(result: Result<tonic::Response<T>, tonic::Status>) -> Result<T, Problem> {
    Ok(result.map_err(AdminError::from)?.into_inner())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "licraft",
        description = "Licensing on this server. Get an access token at `/oauth/token` with the id and the secret of an \
                       API client, and send it as `Authorization: Bearer`. A client of an account sees that account alone.",
        license(name = "Apache-2.0")
    ),
    modifiers(&Bearer),
    tags(
        (name = "token", description = "Access tokens (RFC 6749, 4.4)"),
        (name = "incumbent", description = "Calls with the shapes that existing scripts know"),
        (name = "accounts"),
        (name = "licenses"),
        (name = "instances"),
        (name = "synchronization"),
        (name = "alerts and events"),
        (name = "people and programs"),
        (name = "server")
    )
)]
struct Doc;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// The routes of the API, for the GUI port. Requests carry a [`crate::product::listener::Peer`] extension.
pub fn router(context: ApiContext) -> Router {
    let app = Arc::new(App { context, limiter: Limiter::default() });
    let (routes, openapi) = OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(token::issue))
        .routes(routes!(token::issue_backend))
        .routes(routes!(incumbent::licenses, licenses::list))
        .routes(routes!(incumbent::alerts, events::alerts_of_account))
        .routes(routes!(incumbent::devices))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(accounts::list, accounts::request))
        .routes(routes!(accounts::show, accounts::delete))
        .routes(routes!(accounts::approve))
        .routes(routes!(accounts::reject))
        .routes(routes!(accounts::activate))
        .routes(routes!(accounts::deactivate))
        .routes(routes!(accounts::virtual_accounts, accounts::create_virtual_account))
        .routes(routes!(accounts::rename_virtual_account, accounts::delete_virtual_account))
        .routes(routes!(licenses::show))
        .routes(routes!(licenses::usage))
        .routes(routes!(licenses::transfer))
        .routes(routes!(licenses::label))
        .routes(routes!(instances::list))
        .routes(routes!(instances::show, instances::remove))
        .routes(routes!(instances::transfer))
        .routes(routes!(sync::show, sync::now))
        .routes(routes!(sync::all))
        .routes(routes!(sync::schedule))
        .routes(routes!(sync::export))
        .merge(OpenApiRouter::new().routes(routes!(sync::import)).layer(DefaultBodyLimit::max(MAX_RESPONSE)))
        .routes(routes!(events::of_account))
        .routes(routes!(events::all))
        .routes(routes!(events::alerts))
        .routes(routes!(events::past_alerts))
        .routes(routes!(events::past_of_account))
        .routes(routes!(events::acknowledge))
        .routes(routes!(events::audit))
        .routes(routes!(people::clients_of_account, people::create_client_of_account))
        .routes(routes!(people::clients, people::create_client))
        .routes(routes!(people::revoke_client))
        .routes(routes!(people::users, people::create_user))
        .routes(routes!(people::delete_user))
        .routes(routes!(people::set_password))
        .routes(routes!(people::set_role))
        .routes(routes!(people::set_disabled))
        .routes(routes!(people::enrol, people::confirm, people::reset))
        .routes(routes!(people::sign_out))
        .routes(routes!(identities::list, identities::create))
        .routes(routes!(identities::revoke))
        .routes(routes!(people::set_preferences))
        .routes(routes!(server::settings))
        .routes(routes!(server::set))
        .routes(routes!(server::cluster))
        .routes(routes!(server::clock))
        .routes(routes!(server::accept_clock))
        .routes(routes!(server::doctor))
        .routes(routes!(server::diagnostics))
        .routes(routes!(backups::save))
        .routes(routes!(certificates::show))
        .routes(routes!(certificates::import, certificates::reset))
        .routes(routes!(certificates::rotate_sealing_key))
        .split_for_parts();
    let openapi = Arc::new(openapi);
    routes
        .route("/api/v1/openapi.json", get(move || std::future::ready(axum::Json(openapi.clone()))))
        .route("/api/{*path}", axum::routing::any(no_such_call))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(app.clone(), only_where_active))
        .with_state(app)
}

async fn no_such_call() -> Problem {
    Problem::not_found("there is no such call; /api/v1/openapi.json lists all")
}

/// A node that does not serve says who does; and no answer is kept by anybody.
async fn only_where_active(app: Api, request: Request, next: Next) -> Response {
    let mut response = match (app.context.serving)() {
        true => next.run(request).await,
        false => Problem::standby(&app.state()).into_response(),
    };
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
