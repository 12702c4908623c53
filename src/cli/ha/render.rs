//! The table form of `licraft ha status`. Operators and their scripts match on these sentences: they are an interface.

use super::super::error::CliError;
use crate::admin::{ClusterState, ClusterStatus, NodeRole, NodeState, NodeStatus, Replication, rfc3339};
use std::fmt::Write;
use std::net::SocketAddr;

const NOT_RUNNING: &str = "Error: cluster is not currently running on this node";
const REPLICATION_HEADING: &str = "Database Replication Status:\n============================";
const DB_NOT_RUNNING: &str = "DB service not currently running.";

/// The whole status as text.
pub fn render_status(status: &ClusterStatus) -> String {
    let body = match status.cluster {
        ClusterState::Normal | ClusterState::Degraded | ClusterState::NoQuorum => running(status),
        ClusterState::Stopped | ClusterState::Uninitialised => not_running(DB_NOT_RUNNING),
        ClusterState::Standalone => not_running("HA is not enabled."),
        ClusterState::Retired => not_running("Database is read-only: this node was retired from the cluster."),
    };
    format!("{}{body}\n\n{}\n", failed_actions(status), status.verdict)
}

/// What is shown when no daemon answers.
pub fn render_unreachable(error: &CliError) -> String {
    format!(
        "{}\n\nThe node's daemon does not answer: {}.\nTry: {}\n",
        not_running(DB_NOT_RUNNING),
        error.why,
        error.hint
    )
}

/// `TERM/INDEX` of the last applied entry, in hex as PostgreSQL writes its positions.
pub fn position(node: &NodeStatus) -> String {
    format!("{:X}/{:X}", node.log_term, node.log_index)
}

fn not_running(sentence: &str) -> String {
    format!("{NOT_RUNNING}\n\n{REPLICATION_HEADING}\n{sentence}")
}

fn running(status: &ClusterStatus) -> String {
    let nodes: String = status.nodes.iter().map(|n| format!("  {}: {}\n", n.name, node_state(n.state))).collect();
    let daemons: String = status
        .daemons
        .iter()
        .map(|d| {
            let active = if d.active { "active" } else { "inactive" };
            let enabled = if d.enabled { "enabled" } else { "disabled" };
            format!("  {}: {active}/{enabled}\n", d.name)
        })
        .collect();
    let sentence = replication_sentence(status);
    let to_slave = psql_table(
        &["client_addr", "backend_start", "state", "write_lag", "flush_lag", "replay_lag"],
        &replication_rows(status),
    );
    let here = status.this().map(|node| vec![position(node)]);
    let from_master = psql_table(&["pg_last_xlog_replay_location"], &here.into_iter().collect::<Vec<_>>());
    format!(
        "Node Status:\n{nodes}\nDaemon Status:\n{daemons}\n{REPLICATION_HEADING}\n{sentence}\n\n\
         Replication to slave:\n{to_slave}\n\nReplication from master:\n{from_master}"
    )
}

fn failed_actions(status: &ClusterStatus) -> String {
    if status.failed_actions.is_empty() {
        return String::new();
    }
    let lines = status
        .failed_actions
        .iter()
        .map(|a| format!("  {} {}: {} failed: {}\n", rfc3339(a.at), a.node, a.what, a.why))
        .collect::<String>();
    format!("Failed Actions:\n{lines}\n")
}

fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Online => "Online",
        NodeState::Offline => "Offline",
        NodeState::Stopped => "Stopped",
        NodeState::CatchingUp => "Catching up",
        NodeState::Retired => "Retired",
    }
}

/// The one sentence under the replication heading.
fn replication_sentence(status: &ClusterStatus) -> String {
    if !status.conflict.is_empty() {
        return format!(
            "Database replication is in conflict - {} were both promoted; `licraft ha resolve --keep NODE` ends it",
            status.conflict.join(" and ")
        );
    }
    if let Some(since) = status.changing_since {
        return format!("Database roles are changing since {} - no node is master at this moment", rfc3339(since));
    }
    let Some(this) = status.this() else { return DB_NOT_RUNNING.to_owned() };
    let master = status.nodes.iter().find(|n| n.replication == Replication::Master);
    match (this.replication, master) {
        (Replication::Master, _) => master_sentence(status, this),
        (Replication::Slave, Some(master)) => {
            format!("Database is currently the replication slave - Replicating from {}", named(master))
        }
        (Replication::None, Some(master)) if this.role == NodeRole::Witness => {
            format!("Database is not served by a witness - Log replicating from {}", named(master))
        }
        (_, Some(master)) => format!("Database is not replicating here - {} is the replication master", named(master)),
        (_, None) => "Database is currently without a replication master - no quorum".to_owned(),
    }
}

fn master_sentence(status: &ClusterStatus, this: &NodeStatus) -> String {
    let (up, down): (Vec<_>, Vec<_>) = data_peers(status, this).partition(|peer| is_connected(peer));
    let list = |peers: &[&NodeStatus]| peers.iter().map(|p| named(p)).collect::<Vec<_>>().join(", ");
    let sentence = "Database is currently the replication master";
    if !up.is_empty() {
        return format!("{sentence} - Replicating to {}", list(&up));
    }
    if down.is_empty() {
        return format!("{sentence} - There is no other data node to replicate to");
    }
    let states: Vec<String> = down.iter().map(|p| format!("{} is {}", named(p), node_state(p.state))).collect();
    format!("{sentence} - Not replicating: {}", states.join(", "))
}

fn named(node: &NodeStatus) -> String {
    format!("{} ({})", node.name, node.public_address)
}

fn is_connected(node: &NodeStatus) -> bool {
    matches!(node.state, NodeState::Online | NodeState::CatchingUp)
}

/// The other members that hold the database. A witness is none: it keeps the log without serving it.
fn data_peers<'a>(status: &'a ClusterStatus, this: &'a NodeStatus) -> impl Iterator<Item = &'a NodeStatus> {
    let is_peer = |n: &&NodeStatus| n.role != NodeRole::Witness && n.state != NodeState::Retired;
    status.nodes.iter().filter(move |n| n.name != this.name).filter(is_peer)
}

/// A row a data peer on the master; none elsewhere.
fn replication_rows(status: &ClusterStatus) -> Vec<Vec<String>> {
    let Some(this) = status.this().filter(|n| n.replication == Replication::Master) else { return Vec::new() };
    let rows = data_peers(status, this).map(|peer| {
        let state = match peer.state {
            NodeState::Online => "streaming",
            NodeState::CatchingUp => "catchup",
            _ => "lost",
        };
        vec![
            host(&peer.cluster_address),
            peer.connected_since.map(rfc3339).unwrap_or_default(),
            state.to_owned(),
            interval(peer.write_lag_ms),
            interval(peer.flush_lag_ms),
            interval(peer.replay_lag_ms),
        ]
    });
    rows.collect()
}

/// The address without its port, as PostgreSQL's `client_addr`.
fn host(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned(),
    }
}

/// `HH:MM:SS.mmm`, as PostgreSQL writes an interval; empty when not known.
fn interval(ms: Option<u64>) -> String {
    let Some(ms) = ms else { return String::new() };
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A table as psql prints it: centred headings over a rule, then the rows and their count.
fn psql_table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(i, heading)| rows.iter().map(|r| r[i].chars().count()).fold(heading.len(), usize::max))
        .collect();
    let mut out = String::new();
    let mut line = |cells: Vec<String>, between: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}", cells.join(between).trim_end());
    };
    line(headings.iter().zip(&widths).map(|(h, w)| format!(" {h:^w$} ", w = *w)).collect(), "|");
    line(widths.iter().map(|w| "-".repeat(w + 2)).collect(), "+");
    for row in rows {
        line(row.iter().zip(&widths).map(|(c, w)| format!(" {c:<w$} ", w = *w)).collect(), "|");
    }
    let count = if rows.len() == 1 { "(1 row)".to_owned() } else { format!("({} rows)", rows.len()) };
    out + &count
}

#[cfg(test)]
mod tests;
