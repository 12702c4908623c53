//! `licraft ha history`.

use super::super::Context;
use super::super::error::CliError;
use super::super::output::{Row, cell, print_list, time};
use crate::proto::admin::HistoryRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use std::process::ExitCode;

/// Show past changes of the active node with their causes.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha history
  licraft ha history -o json")]
pub struct Args {}

pub async fn run(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let reply = client.direct(HistoryRequest {}, |c, r| async move { ClusterClient::new(c).history(r).await }).await?;
    let rows: Vec<Row> = reply
        .changes
        .into_iter()
        .map(|change| {
            Row::new()
                .with("time", time(change.at_ms))
                .with("active_node", cell(change.node))
                .with("term", cell(change.term))
                .with("cause", cell(change.cause))
        })
        .collect();
    print_list(context.format, "changes of the active node yet", &rows);
    Ok(ExitCode::SUCCESS)
}
