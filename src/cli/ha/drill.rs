//! `licraft ha drill`.

use super::super::Context;
use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, put};
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::drill_reply::Reply;
use crate::proto::admin::{DrillReport, DrillRequest, FenceDrillReport};
use std::process::ExitCode;

/// Rehearse a failover: hand over to the other node and back, measure both, and compare all replicas.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha drill
  licraft ha drill --yes -o json
  licraft ha drill --fence")]
pub struct Args {
    #[command(flatten)]
    yes: Yes,
    /// Rehearse the fence command instead: it turns the other one of two nodes off, which must then come back.
    #[arg(long)]
    fence: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    args.yes.confirm(match args.fence {
        false => "The service moves to the other node and back; clients wait some milliseconds twice. Go on?",
        true => "The fence command turns the other node off; until it is back, no failure is covered. Go on?",
    })?;
    let client = context.client().await?;
    let request = DrillRequest { fence: args.fence };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).drill(r).await }).await?;
    let mut done = None;
    stream::each(replies, "rehearsing", |reply, spinner| match reply.reply {
        Some(Reply::Step(step)) => context.step(spinner, &step.text),
        reply => done = reply,
    })
    .await?;
    let (sentence, row) = match done {
        Some(Reply::Report(report)) => handed_over(report),
        Some(Reply::Fenced(report)) => fenced(report),
        _ => return Ok(ExitCode::SUCCESS),
    };
    match context.format {
        Format::Table => put(&sentence),
        format => print_one(format, &row),
    }
    Ok(ExitCode::SUCCESS)
}

fn handed_over(DrillReport { other, there_ms, back_ms, digests }: DrillReport) -> (String, Row) {
    let sentence = format!(
        "The drill passed: {there_ms} ms to {other}, {back_ms} ms back; {digests} replicas have equal digests.\n"
    );
    let row = Row::new().with("other", cell(other)).with("there_ms", cell(there_ms));
    (sentence, row.with("back_ms", cell(back_ms)).with("equal_digests", cell(digests)))
}

fn fenced(FenceDrillReport { fenced, off_ms, back_ms, digests }: FenceDrillReport) -> (String, Row) {
    let sentence = format!(
        "The drill passed: {fenced} was off after {off_ms} ms and back after {back_ms} ms; {digests} replicas have equal \
         digests.\n"
    );
    let row = Row::new().with("fenced", cell(fenced)).with("off_ms", cell(off_ms));
    (sentence, row.with("back_ms", cell(back_ms)).with("equal_digests", cell(digests)))
}
