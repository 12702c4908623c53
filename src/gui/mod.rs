//! The browser pages: server-rendered, on the node that serves. They make the same calls as the command line and REST: no
//! rule lives in a page.
//!
//! A node that does not serve answers every page with 503, and says who does; a retired one shows what it knew.

mod act;
mod aside;
mod guard;
mod live;
mod nav;
mod pages;
mod qr;
mod sessions;
mod several;
mod sign_in;
mod tickets;
mod two_factor;
mod upload;
mod view;
mod viewer;

use crate::admin::{ClusterControl, Service};
use crate::license::State;
use crate::listing::Lists;
use crate::pki::seal::Sealer;
use crate::product::Clock;
use crate::raft::Ledger;
use crate::telemetry::Host;
use crate::web::sign_in::Door;
use crate::web::{assets, shield};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use parking_lot::Mutex;
use sessions::Sessions;
use std::sync::Arc;
use std::time::Instant;
use tickets::Tickets;
use tokio::sync::Semaphore;

/// What the pages need from the node around them.
#[derive(Clone)]
pub struct GuiContext {
    pub ledger: Arc<dyn Ledger>,
    pub cluster: Arc<dyn ClusterControl>,
    /// What changes are asked of.
    pub service: Service,
    /// The machine that this node runs on.
    pub host: Arc<Host>,
    /// What finds product instances.
    pub lists: Arc<Lists>,
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
    door: Door,
    tickets: Tickets,
    /// Places for pages that are told of news.
    streams: Arc<Semaphore>,
    /// What became of the last work on the cluster that was begun from the pages, and when that was known.
    work: Mutex<Option<(Instant, String)>>,
    rotation: Mutex<Option<pages::Rotation>>,
}

impl App {
    fn state(&self) -> Arc<State> {
        self.context.ledger.state()
    }
}

/// The routes of the GUI port. Requests carry a [`crate::product::listener::Peer`] extension, as
/// [`crate::product::listener::serve_tls`] adds it. Only for TLS: the session cookie is never sent without.
pub fn router(context: GuiContext) -> Router {
    let sessions = Sessions::new(context.ledger.clone(), context.clock.clone(), context.retired);
    let (door, tickets) = (Door::default(), Tickets::default());
    let streams = Arc::new(Semaphore::new(live::MAX_STREAMS));
    let (work, rotation) = (Mutex::default(), Mutex::default());
    let app = Arc::new(App { context, sessions, door, tickets, streams, work, rotation });
    let signed_in = pages::routes()
        .route("/live", get(live::events))
        .route("/password", get(sign_in::password_form).post(sign_in::change_password))
        .route("/two-factor", get(two_factor::show))
        .route("/two-factor/enrol", post(two_factor::enrol))
        .route("/two-factor/confirm", post(two_factor::confirm))
        .route("/two-factor/remove", post(two_factor::remove))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/sign-out-elsewhere", post(sign_in::sign_out_elsewhere))
        .route("/sign-out-everywhere", post(sign_in::sign_out_everywhere))
        .fallback(pages::not_found)
        .layer(from_fn_with_state(Arc::clone(&app), guard::require_session));
    Router::new()
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .merge(signed_in)
        .layer(from_fn(shield::same_origin))
        .layer(from_fn_with_state(Arc::clone(&app), guard::serving))
        .route("/assets/{file}", get(assets::serve))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(guard::ready))
        .layer(from_fn(shield::headers))
        .with_state(app)
}
