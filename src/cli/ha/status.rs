//! `licraft ha status`.

use super::super::Context;
use super::super::error::{CLUSTER_FORBIDS, CliError};
use super::super::output::{Format, Row, cell, print_json, print_list, put, text_or_none};
use super::render::{render_status, render_unreachable};
use crate::admin::{ClusterState, ClusterStatus, NodeStatus};
use crate::proto::admin::StatusRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use std::process::ExitCode;

/// Show the cluster as this node sees it. Works also without quorum, stopped and without a daemon; ends with 3 where
/// the cluster does not run on this node.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha status
  licraft ha status -o json
  licraft ha status -o plain | cut -f1,4")]
pub struct Args {}

pub async fn run(context: &Context) -> Result<ExitCode, CliError> {
    let client = match context.client().await {
        Err(error) if error.exit == CLUSTER_FORBIDS && context.format == Format::Table => {
            put(&render_unreachable(&error));
            return Ok(ExitCode::from(CLUSTER_FORBIDS));
        }
        client => client?,
    };
    let reply = client.direct(StatusRequest {}, |c, r| async move { ClusterClient::new(c).status(r).await }).await?;
    let status = ClusterStatus::from(reply);
    match context.format {
        Format::Table => put(&render_status(&status)),
        Format::Json => print_json(&status),
        Format::Plain => print_list(Format::Plain, "nodes", &status.nodes.iter().map(row).collect::<Vec<_>>()),
    }
    Ok(match status.cluster {
        ClusterState::Normal | ClusterState::Degraded | ClusterState::NoQuorum => ExitCode::SUCCESS,
        ClusterState::Stopped | ClusterState::Standalone | ClusterState::Retired | ClusterState::Uninitialised => {
            ExitCode::from(CLUSTER_FORBIDS)
        }
    })
}

/// Plain form: a node a line.
fn row(node: &NodeStatus) -> Row {
    let word = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
    Row::new()
        .with("name", cell(node.name.as_str()))
        .with("role", word(serde_json::to_value(node.role)))
        .with("replication", word(serde_json::to_value(node.replication)))
        .with("state", word(serde_json::to_value(node.state)))
        .with("public_address", cell(node.public_address.as_str()))
        .with("cluster_address", cell(node.cluster_address.as_str()))
        .with("version", text_or_none(&node.version))
        .with("position", cell(super::render::position(node)))
}
