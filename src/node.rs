//! The composition root of `licraft node`: the one place that sees every room.

use crate::admin::{self, AdminError, Kind, Peer, Route};
use crate::api;
use crate::config::{Config, NodeRole};
use crate::gui;
use crate::ha::control::Control;
use crate::ha::desk::JoinDesk;
use crate::ha::running::Served;
use crate::ha::shared::Shared;
use crate::ha::supervisor;
use crate::listing::Lists;
use crate::pki::tls::{self, NodeTls};
use crate::product::wall_clock;
use crate::raft::Ledger;
use crate::service_manager;
use crate::telemetry::{self, LogFormat};
use crate::vip::Guard;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Runs the node that the file describes until it is told to stop, a data node under a supervisor; `check` only validates the file.
///
/// # Errors
/// When the file is unusable, or the node cannot start.
pub fn run(path: &Path, check: bool) -> Result<ExitCode> {
    let config = Config::load(path)?;
    if check {
        println!("{} is a usable node file for {}.", path.display(), config.name);
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init_logs(LogFormat::Text);
    if supervisor::wanted(&config) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.context("starting the supervisor")?.block_on(supervisor::supervise(&config, path));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<ExitCode> {
    let (findings, found) = mpsc::unbounded_channel();
    let shared = Shared::new(config, wall_clock(), supervisor::socket()?, findings);
    let config = &shared.config;
    let control = Control::new(shared.clone());
    // The pages are set once, before anything runs.
    let _ = shared.pages.set(pages(&shared, &control));
    let stop = CancellationToken::new();
    let metrics = telemetry::serve_metrics(config.metrics.listen, shared.metrics.clone(), stop.child_token());
    let metrics = tokio::spawn(metrics);
    if let Some(folder) = config.admin.socket.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let (incoming, _socket) = admin::unix(&config.admin.socket).context("opening the admin socket")?;
    let parts = admin_parts(&shared, &control);
    let service = tokio::spawn(admin::serve(parts.clone(), incoming, stop.clone().cancelled_owned()));
    control.begin().await.context("starting this node's part in the cluster")?;
    let follower = control.clone();
    tokio::spawn(async move { follower.follow(found).await });
    let door = tokio::spawn(door(shared.clone(), control.clone(), parts, stop.child_token()));
    tracing::info!(node = config.name, version = env!("CARGO_PKG_VERSION"), "ready");
    service_manager::ready();
    tokio::spawn(service_manager::keep_told(control.clone(), stop.child_token()));

    let why = wait_for_end(&shared).await?;
    service_manager::stopping();
    control.shutdown().await;
    stop.cancel();
    service.await.context("ending the admin service")?.context("serving the admin socket")?;
    door.await.context("ending the admin port")?;
    metrics.await.context("ending the metrics listener")?.context("serving metrics")?;
    match why {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => anyhow::bail!("{why}"),
    }
}

/// Waits for a signal to end, or for something that leaves no other way; gives why in that case.
async fn wait_for_end(shared: &Shared) -> Result<Option<String>> {
    let mut fatal = shared.fatal.subscribe();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(None),
        _ = interrupt.recv() => Ok(None),
        why = fatal.wait_for(Option::is_some) => Ok(why.ok().and_then(|w| w.clone())),
    }
}

fn admin_parts(shared: &Arc<Shared>, control: &Arc<Control>) -> admin::Parts {
    let sealer = {
        let control = control.clone();
        move || control.current().and_then(|running| running.identity.sealer.clone())
    };
    let authority = {
        let control = control.clone();
        move || control.current().and_then(|running| running.identity.authority())
    };
    admin::Parts {
        ledger: shared.ledger.clone(),
        cluster: control.clone(),
        sync: control.clone(),
        forwarder: Arc::new(Forward { control: control.clone() }),
        sealer: Arc::new(sealer),
        authority: Arc::new(authority),
        clock: shared.clock.clone(),
    }
}

/// What the GUI port answers: the pages, and on a node that takes part REST beside them.
fn pages(shared: &Arc<Shared>, control: &Arc<Control>) -> crate::ha::shared::Pages {
    let lists = Lists::new(shared.ledger.clone());
    let current = control.clone();
    let active = move || current.current().is_some_and(|r| r.replica.guard().serving_until().is_some());
    tokio::spawn(lists.clone().keep(active));
    let (shared, control) = (Arc::downgrade(shared), control.clone());
    Box::new(move |served: Option<Served>| {
        let Some(shared) = shared.upgrade() else { return axum::Router::new() };
        let retired = served.is_none();
        let serving = Arc::new(move || served.as_ref().is_some_and(|served| served.serving_until().is_some()));
        let (ledger, clock) = (shared.ledger.clone(), shared.clock.clone());
        let parts = admin_parts(&shared, &control);
        let (sealer, service) = (parts.sealer.clone(), admin::Service::new(parts));
        let (lists, host) = (lists.clone(), shared.host.clone());
        let api = api::ApiContext {
            service: service.clone(),
            lists: lists.clone(),
            clock: clock.clone(),
            serving: serving.clone(),
        };
        let cluster = control.clone();
        let vip_url = Arc::new(move || vip_url(&shared));
        let gui = gui::router(gui::GuiContext {
            ledger,
            cluster,
            service,
            host,
            lists,
            serving,
            retired,
            clock,
            vip_url,
            sealer,
        });
        if retired { gui } else { gui.merge(api::router(api)) }
    })
}

/// Base URL of the pages at the virtual address.
fn vip_url(shared: &Shared) -> Option<String> {
    let state = shared.ledger.state();
    let address = state.settings().vip.first()?.parse::<std::net::IpAddr>().ok()?;
    Some(format!("https://{}", std::net::SocketAddr::new(address, shared.config.https.gui.port())))
}

/// Serves the admin port (mutual TLS) and pairing on it, while this node takes part in a cluster.
async fn door(shared: Arc<Shared>, control: Arc<Control>, parts: admin::Parts, stop: CancellationToken) {
    let mut running = control.watch();
    while !stop.is_cancelled() {
        let now = running.borrow_and_update().clone();
        if let Some(now) = now {
            let (cluster_id, tls) = (now.identity.file.cluster_id.clone(), now.node_tls.clone());
            let desk = Arc::new(JoinDesk::new(&shared, now.identity.clone()));
            drop(now);
            let ended = stop.child_token();
            let served = admin_port(shared.clone(), parts.clone(), cluster_id, tls, desk, ended.clone());
            let task = tokio::spawn(served);
            tokio::select! {
                _ = running.changed() => {}
                () = stop.cancelled() => {}
            }
            ended.cancel();
            if let Ok(Err(error)) = task.await {
                tracing::error!(%error, "the admin port does not work; other nodes cannot pass calls on to this one");
            }
        } else {
            tokio::select! {
                _ = running.changed() => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn admin_port(
    shared: Arc<Shared>,
    parts: admin::Parts,
    cluster_id: String,
    tls: NodeTls,
    desk: Arc<JoinDesk>,
    stop: CancellationToken,
) -> Result<()> {
    let listen = shared.config.admin.listen;
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let source = Arc::new(move || tls.server());
    let identify = Arc::new(move |leaf: &[u8]| identify(&shared, &cluster_id, leaf));
    let incoming = admin::tls(listener, source, identify, Some(desk));
    admin::serve(parts, incoming, stop.cancelled_owned()).await.context("serving the admin port")
}

/// Where calls about licensing are answered now.
struct Forward {
    control: Arc<Control>,
}

impl admin::Forwarder for Forward {
    fn route(&self) -> Route {
        let Some(running) = self.control.current() else {
            // A retired node answers with what it knows, and has no ledger to change it.
            return match self.control.shows_last_state() {
                true => Route::Here,
                false => Route::Nowhere(self.control.not_running()),
            };
        };
        if running.replica.guard().serving_until().is_some() {
            return Route::Here;
        }
        let nobody = || {
            Route::Nowhere(
                AdminError::new(Kind::NoActiveNode, "no node is active now")
                    .hint("look at `licraft ha status`; while roles change, repeat the command in a second"),
            )
        };
        self.control.active_node(&running).map_or_else(nobody, Route::To)
    }
}

/// Whose certificate it is that opens an admin connection: a node's of this cluster, or an admin identity's.
#[must_use]
pub fn identify(shared: &Shared, cluster_id: &str, leaf: &[u8]) -> Option<Peer> {
    let state = shared.ledger.state();
    if let Some(peer) = Peer::remote(leaf) {
        return peer.is_known(&state).then_some(peer);
    }
    let (node_id, cluster) = tls::node_of_certificate(leaf).ok()?;
    if cluster != cluster_id {
        return None;
    }
    if state.members().next().is_none() {
        return Some(Peer::Founder { node: node_id });
    }
    let member = state.member(node_id).filter(|m| !m.retired)?;
    let role_fits = !member.witness || shared.config.role == NodeRole::Data;
    role_fits.then(|| Peer::Node { name: member.name.clone(), witness: member.witness })
}
