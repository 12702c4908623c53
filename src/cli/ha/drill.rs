//! `licraft ha drill`.

use super::super::Context;
use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, put};
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::drill_reply::Reply;
use crate::proto::admin::{DrillReport, DrillRequest};
use std::process::ExitCode;

/// Rehearse a failover: hand over to the other node and back, measure both, and compare all replicas.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha drill
  licraft ha drill --yes -o json")]
pub struct Args {
    #[command(flatten)]
    yes: Yes,
    /// Rehearse the fence command; not built yet.
    #[arg(long, hide = true)]
    fence: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    if args.fence {
        return Err(CliError::failed("`licraft ha drill --fence` is not built yet")
            .because("this version has its name reserved but not its function")
            .hint("without --fence it rehearses a hand-over there and back"));
    }
    args.yes.confirm("The service moves to the other node and back; clients wait some milliseconds twice. Go on?")?;
    let client = context.client().await?;
    let replies = client.direct(DrillRequest {}, |c, r| async move { ClusterClient::new(c).drill(r).await }).await?;
    let mut report = None;
    stream::each(replies, "rehearsing", |reply, spinner| match reply.reply {
        Some(Reply::Step(step)) => context.step(spinner, &step.text),
        Some(Reply::Report(done)) => report = Some(done),
        None => {}
    })
    .await?;
    if let Some(DrillReport { other, there_ms, back_ms, digests }) = report {
        match context.format {
            Format::Table => put(&format!(
                "The drill passed: {there_ms} ms to {other}, {back_ms} ms back; {digests} replicas have equal digests.\n"
            )),
            format => {
                let row = Row::new().with("other", cell(other)).with("there_ms", cell(there_ms));
                print_one(format, &row.with("back_ms", cell(back_ms)).with("equal_digests", cell(digests)));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
