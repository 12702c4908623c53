//! The High Availability page: the cluster in the operators' own words.

use super::problem;
use crate::admin::{ClusterState, ClusterStatus, FailedAction, Heartbeat, NodeRole, NodeState, NodeStatus, rfc3339};
use crate::gui::App;
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, counted, page, see_other};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;

/// Changes of the active node shown, newest first.
const HISTORY: usize = 10;
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
    history: Vec<Change>,
    failed: Vec<(Time, FailedAction)>,
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    if viewer.retired {
        return see_other("/");
    }
    let state = app.context.ledger.state();
    if !viewer.sees_server(&state) {
        let text = "Your role is for some accounts; ask a system administrator about the cluster.";
        return problem(StatusCode::FORBIDDEN, "This page is about the whole server", text);
    }
    let status = app.context.cluster.status().await;
    let name = |id| state.member(id).map_or_else(|| format!("node {id}"), |m| m.name.clone());
    let mut history: Vec<_> = state.role_changes().collect();
    history.reverse();
    history.truncate(HISTORY);
    let change = |r: &crate::license::RoleChange| Change {
        at: Time(r.at),
        node: name(r.node_id),
        cause: r.cause.clone(),
        term: r.term,
    };
    let template = AvailabilityPage {
        shell: Shell::new(&state, &viewer, "/high-availability", "High Availability"),
        headline: Headline::of(&status),
        verdict: status.verdict.clone(),
        standalone: status.cluster == ClusterState::Standalone,
        connection: connection(status.heartbeat),
        vip: status.vip.addresses.join(", "),
        holder: status.vip.holder.clone().unwrap_or_else(|| "nobody".into()),
        nodes: nodes(&status),
        history: history.into_iter().map(change).collect(),
        failed: status.failed_actions.iter().rev().take(FAILED).map(|f| (Time(f.at), f.clone())).collect(),
    };
    page(StatusCode::OK, &template)
}

const fn connection(heartbeat: Heartbeat) -> Badge {
    match heartbeat {
        Heartbeat::Connected => Badge(Tone::Good, "Connected"),
        Heartbeat::Disconnected => Badge(Tone::Bad, "Disconnected"),
    }
}
