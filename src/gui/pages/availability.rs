//! The High Availability page: the cluster in the operators' own words, and its planned changes.

use super::drawing::{Cluster, Timeline};
use super::events::EventRow;
use crate::admin::{
    AdminError, ClusterState, ClusterStatus, FailedAction, Heartbeat, Kind, NodeRole, NodeState, NodeStatus, Progress,
    Switchover, rfc3339,
};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Posted, failed};
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, counted, page, portion};
use crate::license::{Action, Event, Place, State};
use crate::telemetry::Resources;
use crate::web::list::{Asked, List};
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{StatusCode, Uri};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HREF: &str = "/high-availability";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show))
        .route("/high-availability/log", get(log))
        .route("/high-availability/{verb}", get(confirm).post(begin))
}

/// Changes of the active node shown, newest first.
const HISTORY: usize = 10;
/// For so long the page says what became of work: a node that is active again much later has other news.
const TOLD: Duration = Duration::from_secs(300);
/// Failed actions shown, newest first.
const FAILED: usize = 10;

/// The cluster in one word and one sentence.
pub struct Headline {
    pub badge: Badge,
    pub sentence: String,
}

impl Headline {
    /// The table of cases, worst first; `Normal` and the sentences beside it and beside an offline data node are what
    /// operators match on.
    pub fn of(status: &ClusterStatus) -> Self {
        let (tone, word, sentence) = match status.cluster {
            _ if !status.conflict.is_empty() => (
                Tone::Bad,
                "Conflict",
                format!("{} were both promoted. End it with ha resolve.", status.conflict.join(" and ")),
            ),
            ClusterState::Uninitialised => (Tone::Plain, "Uninitialised", "This node holds no data yet.".into()),
            ClusterState::Retired => (Tone::Bad, "Retired", "This node is retired and read-only.".into()),
            ClusterState::Stopped => (Tone::Plain, "Stopped", "The cluster is stopped on this node.".into()),
            ClusterState::NoQuorum => {
                (Tone::Bad, "No quorum", "Too few nodes answer each other, so no licenses are served.".into())
            }
            _ if status.changing_since.is_some() => {
                let since = status.changing_since.map(rfc3339).unwrap_or_default();
                (Tone::Warn, "Changing over", format!("No node has been active since {since}."))
            }
            ClusterState::Standalone => (Tone::Plain, "Stand-alone", "This server runs without a standby.".into()),
            ClusterState::Normal => {
                (Tone::Good, "Normal", "The status of the high availability cluster is normal.".into())
            }
            ClusterState::Degraded => (Tone::Warn, "Degraded", degraded(status)),
        };
        Self { badge: Badge(tone, word), sentence }
    }
}

/// What is missing. The sentence about data nodes is the known one, word for word.
fn degraded(status: &ClusterStatus) -> String {
    let off = |n: &NodeStatus| matches!(n.state, NodeState::Offline | NodeState::Stopped);
    let mut said = Vec::new();
    if status.nodes.iter().any(|n| n.role != NodeRole::Witness && off(n)) {
        said.push("The cluster is degraded One of the cluster nodes is offline".to_owned());
    }
    let newest = newest(status);
    for node in &status.nodes {
        if node.role == NodeRole::Witness && off(node) {
            said.push(format!("The witness {} is offline.", node.name));
        } else if node.state == NodeState::CatchingUp {
            let behind = newest.saturating_sub(node.log_index);
            said.push(format!("{} is catching up: {behind} entries behind.", node.name));
        }
    }
    if said.is_empty() { status.verdict.clone() } else { said.join(" ") }
}

/// The last applied entry of the active node.
fn newest(status: &ClusterStatus) -> u64 {
    status.nodes.iter().find(|n| n.role == NodeRole::Active).map_or(0, |n| n.log_index)
}

/// A node as the page shows it.
pub struct NodeView {
    pub heading: &'static str,
    pub name: String,
    pub public_address: String,
    pub cluster_address: String,
    pub badge: Badge,
    pub state: &'static str,
    pub version: String,
    /// `TERM/INDEX` in hex, as `ha status` prints it; empty when not known.
    pub position: String,
    /// What of the newest entries it lacks, and its lags.
    pub replication: String,
    pub contact: String,
    /// Of its machine, in use.
    pub memory: String,
    pub disk: String,
}

impl NodeView {
    pub fn active(&self) -> bool {
        self.heading == "Active Server"
    }
}

/// The nodes in the order of the page: the active server, standby servers, witnesses.
pub fn nodes(status: &ClusterStatus) -> Vec<NodeView> {
    let rank = |n: &&NodeStatus| match n.role {
        NodeRole::Active => 0,
        NodeRole::Standby => 1,
        NodeRole::Witness => 2,
    };
    let mut nodes: Vec<_> = status.nodes.iter().collect();
    nodes.sort_by_key(rank);
    nodes.into_iter().map(|n| node(status, n)).collect()
}

fn node(status: &ClusterStatus, n: &NodeStatus) -> NodeView {
    let known = n.log_index > 0;
    let used = |of: fn(Resources) -> (u64, u64)| {
        n.resources.map(of).map_or_else(|| "\u{2013}".into(), |(used, total)| portion(used, total))
    };
    NodeView {
        heading: match n.role {
            NodeRole::Active => "Active Server",
            NodeRole::Standby => "Standby Server",
            NodeRole::Witness => "Witness",
        },
        name: n.name.clone(),
        public_address: n.public_address.clone(),
        cluster_address: n.cluster_address.clone(),
        badge: badge(status, n),
        state: state(n.state),
        version: n.version.clone(),
        position: if known { format!("{:X}/{:X}", n.log_term, n.log_index) } else { String::new() },
        replication: if known && n.role != NodeRole::Active { replication(status, n) } else { String::new() },
        contact: match n.last_contact_ms {
            _ if n.name == status.this_node => "this node".into(),
            Some(ms) => format!("{ms} ms ago"),
            None => "\u{2013}".into(),
        },
        memory: used(|r| (r.memory_used, r.memory_total)),
        disk: used(|r| (r.disk_used, r.disk_total)),
    }
}

fn badge(status: &ClusterStatus, n: &NodeStatus) -> Badge {
    let settled = status.cluster != ClusterState::NoQuorum && status.changing_since.is_none();
    match (n.role, n.state) {
        (_, NodeState::Retired) => Badge(Tone::Plain, "Retired"),
        (NodeRole::Witness, NodeState::Offline | NodeState::Stopped) => Badge(Tone::Bad, "Offline"),
        (_, NodeState::Offline | NodeState::Stopped) => Badge(Tone::Bad, "Degraded"),
        (_, NodeState::CatchingUp) => Badge(Tone::Warn, "Catching up"),
        (NodeRole::Witness, NodeState::Online) => Badge(Tone::Good, "Online"),
        _ if !settled => Badge(Tone::Plain, "\u{2013}"),
        (NodeRole::Active, NodeState::Online) => Badge(Tone::Good, "Active"),
        (NodeRole::Standby, NodeState::Online) => Badge(Tone::Good, "Standby"),
    }
}

pub const fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Online => "Online",
        NodeState::Offline => "Offline",
        NodeState::Stopped => "Stopped",
        NodeState::CatchingUp => "Catching up",
        NodeState::Retired => "Retired",
    }
}

fn replication(status: &ClusterStatus, n: &NodeStatus) -> String {
    let behind = newest(status).saturating_sub(n.log_index);
    if n.state == NodeState::Offline {
        return "lost".into();
    }
    let position = match behind {
        0 => "in sync".to_owned(),
        n => format!("{} behind", counted(usize::try_from(n).unwrap_or(usize::MAX), "entry", "entries")),
    };
    let lags = [("write", n.write_lag_ms), ("flush", n.flush_lag_ms), ("replay", n.replay_lag_ms)];
    let lags: Vec<_> = lags.iter().filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms} ms"))).collect();
    if lags.is_empty() { position } else { format!("{position}; lag: {}", lags.join(", ")) }
}

/// One change of the active node.
struct Change {
    at: Time,
    node: String,
    cause: String,
    term: u64,
}

#[derive(Template)]
#[template(path = "availability.html")]
struct AvailabilityPage {
    shell: Shell,
    headline: Headline,
    verdict: String,
    standalone: bool,
    connection: Badge,
    vip: String,
    holder: String,
    nodes: Vec<NodeView>,
    drawing: Cluster,
    timeline: Option<Timeline>,
    history: Vec<Change>,
    failed: Vec<(Time, FailedAction)>,
    /// What became of the last work that somebody began here.
    work: Option<String>,
    verbs: Vec<(&'static str, &'static str)>,
    /// Whether somebody can take over.
    heir: bool,
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let status = app.context.cluster.status().await;
    let state = app.state();
    let name = |id| state.member(id).map_or_else(|| format!("node {id}"), |m| m.name.clone());
    let changes: Vec<_> = state.role_changes().map(|r| (r.at, name(r.node_id), r.cause.clone())).collect();
    let mut history: Vec<_> = state.role_changes().collect();
    history.reverse();
    history.truncate(HISTORY);
    let change = |r: &crate::license::RoleChange| Change {
        at: Time(r.at),
        node: name(r.node_id),
        cause: r.cause.clone(),
        term: r.term,
    };
    let (nodes, vip) = (nodes(&status), status.vip.addresses.join(", "));
    let holder = status.vip.holder.clone().unwrap_or_else(|| "nobody".into());
    let shell = Shell::new(&state, &viewer, HREF, "High Availability").noting(&uri);
    let template = AvailabilityPage {
        shell: shell.beside(&Aside::of(&app, &viewer, &state).await),
        headline: Headline::of(&status),
        verdict: status.verdict.clone(),
        standalone: status.cluster == ClusterState::Standalone,
        connection: connection(&status),
        drawing: Cluster::of(&nodes, &vip, &holder),
        timeline: Timeline::of(&changes, (app.context.clock)()),
        vip,
        holder,
        nodes,
        history: history.into_iter().map(change).collect(),
        failed: status.failed_actions.iter().rev().take(FAILED).map(|f| (Time(f.at), f.clone())).collect(),
        work: app.work.lock().as_ref().filter(|(at, _)| at.elapsed() < TOLD).map(|(_, said)| said.clone()),
        verbs: if may(&viewer, &state) { VERBS.map(|(word, text, _)| (word, text)).to_vec() } else { Vec::new() },
        heir: status.nodes.iter().any(|n| n.role == NodeRole::Standby && n.state == NodeState::Online),
    };
    page(StatusCode::OK, &template)
}

fn may(viewer: &Viewer, state: &State) -> bool {
    viewer.may(Action::ManageCluster, Place::Server, state)
}

#[derive(Template)]
#[template(path = "availability_log.html")]
struct LogPage {
    shell: Shell,
    list: List<EventRow>,
}

/// What happened to the cluster.
async fn log(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let asked = Asked::read(&uri);
    let found = |e: &&Event| e.account.is_none() && asked.matches([e.message.as_str(), &e.kind, &e.actor]);
    let events: Vec<_> = state.events(0).filter(found).collect();
    let shell = Shell::new(&state, &viewer, HREF, "High Availability").beside(&Aside::of(&app, &viewer, &state).await);
    let list = asked.page(|| events.iter().rev(), |e| EventRow::of(&state, e));
    page(StatusCode::OK, &LogPage { shell, list })
}

/// Planned changes: word, button, and what they mean.
const VERBS: [(&str, &str, &[&str]); 3] = [
    (
        "switchover",
        "Switch over",
        &[
            "The standby takes the virtual address and serves; the node that is active now becomes standby.",
            "Products wait some hundredths of a second. Nobody registers again, and your session goes on.",
            "If the standby is not fit to serve, nothing is changed.",
        ],
    ),
    (
        "drill",
        "Rehearse a failover",
        &[
            "The service goes to the standby and comes back to this node; the replicas are compared afterwards.",
            "Products wait twice some hundredths of a second.",
        ],
    ),
    (
        "stop",
        "Stop the cluster here",
        &[
            "The node that is active now hands over and takes no part any more, until somebody runs “licraft ha start” on it. It \
             stays stopped over a restart.",
            "Until then one failure less is tolerated: with two data nodes, nobody stands by.",
            "If nobody can take over, nothing is changed.",
        ],
    ),
];

async fn confirm(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, Path(word): Path<String>) -> Response {
    let state = app.state();
    let Some((_, text, says)) = VERBS.iter().find(|(known, ..)| *known == word) else {
        return super::not_found().await;
    };
    if let Err(error) = viewer.require(Action::ManageCluster, Place::Server, &state) {
        return failed(&app, &viewer, error, HREF, HREF);
    }
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, text),
        says: says.iter().map(|sentence| (*sentence).to_owned()).collect(),
        button: text,
        reason: None,
        fields: Vec::new(),
        back: HREF.into(),
    }
    .page()
}

/// Begins the work and shows the page at once: whoever is active afterwards answers there.
async fn begin(Of(app): Of<Arc<App>>, Path(word): Path<String>, Posted { viewer, .. }: Posted) -> Response {
    if let Err(error) = viewer.require(Action::ManageCluster, Place::Server, &app.state()) {
        return failed(&app, &viewer, error, HREF, HREF);
    }
    if !VERBS.iter().any(|(known, ..)| *known == word) {
        return super::not_found().await;
    }
    tracing::info!(user = viewer.user.name, word, "begun from the pages");
    *app.work.lock() = None;
    tokio::spawn(async move {
        let result = work(&app, &word).await;
        let said = match result {
            Ok(said) => said,
            Err(error) => format!("It was not done: {error}. {} {}", error.why, error.hint),
        };
        *app.work.lock() = Some((Instant::now(), said.trim_end().to_owned()));
    });
    Done::WorkBegun.at(HREF)
}

async fn work(app: &App, word: &str) -> Result<String, AdminError> {
    let cluster = &app.context.cluster;
    let (progress, _told) = Progress::channel();
    match word {
        "switchover" => {
            let report = cluster.switchover(Switchover { to: None, dry_run: false }, progress).await?;
            Ok(report.map_or_else(String::new, |r| {
                format!("{} took over from {}: {} ms without service.", r.to, r.from, r.gap_ms)
            }))
        }
        "drill" => {
            let r = cluster.drill(progress).await?;
            Ok(format!(
                "The rehearsal went well: {} ms without service on the way to {}, {} ms on the way back, {} equal replicas.",
                r.there_ms, r.other, r.back_ms, r.digests
            ))
        }
        "stop" => cluster.stop(false, progress).await.map(|()| "The cluster is stopped on this node.".into()),
        _ => Err(AdminError::new(Kind::NotFound, "there is no such work")),
    }
}

/// Of the data nodes with each other, where there is more than one.
fn connection(status: &ClusterStatus) -> Badge {
    if status.nodes.iter().filter(|n| n.role != NodeRole::Witness).count() < 2 {
        return Badge(Tone::Plain, "No standby");
    }
    match status.heartbeat {
        Heartbeat::Connected => Badge(Tone::Good, "Connected"),
        Heartbeat::Disconnected => Badge(Tone::Bad, "Disconnected"),
    }
}
