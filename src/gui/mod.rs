//! The browser pages: server-rendered, read-only but for one's own password, on the node that serves.
//!
//! A node that does not serve answers every page with 503, and says who does; a retired one shows what it knew.

mod assets;
mod attempts;
mod form;
mod guard;
mod list;
mod pages;
mod sessions;
mod sign_in;
mod tickets;
mod view;

use crate::admin::ClusterControl;
use crate::pki::passwords::Passwords;
use crate::pki::seal::Sealer;
use crate::product::Clock;
use crate::raft::Ledger;
use attempts::Attempts;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use sessions::Sessions;
use std::sync::Arc;
use tickets::Tickets;

/// What the pages need from the node around them.
#[derive(Clone)]
pub struct GuiContext {
    pub ledger: Arc<dyn Ledger>,
    pub cluster: Arc<dyn ClusterControl>,
    /// Whether this node is active under a valid lease; asked once a request.
    pub serving: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether the cluster has retired this node: then it shows what it has, whoever serves.
    pub retired: bool,
    pub clock: Clock,
    /// Base URL of the pages at the virtual address, as in `https://10.0.0.12:8443`; None without one.
    pub vip_url: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// The sealing key; a retired node has none any more.
    pub sealer: Arc<dyn Fn() -> Option<Sealer> + Send + Sync>,
}

impl std::fmt::Debug for GuiContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuiContext")
    }
}

/// Everything behind the handlers.
struct App {
    context: GuiContext,
    sessions: Sessions,
    attempts: Attempts,
    tickets: Tickets,
    passwords: Passwords,
}

/// The routes of the GUI port. Requests carry a [`crate::product::listener::Peer`] extension, as
/// [`crate::product::listener::serve_tls`] adds it. Only for TLS: the session cookie is never sent without.
pub fn router(context: GuiContext) -> Router {
    let sessions = Sessions::new(context.ledger.clone(), context.clock.clone(), context.retired);
    let (attempts, tickets, passwords) = (Attempts::default(), Tickets::default(), Passwords::default());
    let app = Arc::new(App { context, sessions, attempts, tickets, passwords });
    let signed_in = Router::new()
        .route("/", get(pages::overview))
        .route("/high-availability", get(pages::availability))
        .route("/licenses", get(pages::licenses))
        .route("/product-instances", get(pages::instances))
        .route("/accounts", get(pages::accounts))
        .route("/alerts", get(pages::alerts))
        .route("/event-log", get(pages::events))
        .route("/password", get(sign_in::password_form).post(sign_in::change_password))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/sign-out-everywhere", post(sign_in::sign_out_everywhere))
        .fallback(pages::not_found)
        .layer(from_fn_with_state(Arc::clone(&app), guard::require_session));
    Router::new()
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .merge(signed_in)
        .layer(from_fn(guard::same_origin))
        .layer(from_fn_with_state(Arc::clone(&app), guard::serving))
        .route("/assets/{file}", get(assets::serve))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(guard::ready))
        .layer(from_fn(guard::headers))
        .with_state(app)
}
