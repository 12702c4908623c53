//! `licraft ha switchover`.

use super::super::Context;
use super::super::checks::Checks;
use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, put};
use super::super::stream;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::switchover_reply::Reply;
use crate::proto::admin::{SwitchoverReport, SwitchoverRequest};
use std::process::ExitCode;

/// Hand the active role over as planned, and print the gap that was measured.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha switchover
  licraft ha switchover --to secondary-node --dry-run")]
pub struct Args {
    /// The node that becomes active; by default the fittest other data node.
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// Only check whether it would go.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let request = SwitchoverRequest { to: args.to.unwrap_or_default(), dry_run: args.dry_run };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).switchover(r).await }).await?;
    // The report, not the checks, is the data of a real switchover.
    let mut checks = Checks::new(if args.dry_run { context.format } else { Format::Table });
    let mut report = None;
    let ended = stream::each(replies, "switching over", |reply, spinner| match reply.reply {
        Some(Reply::Step(step)) => context.step(spinner, &step.text),
        Some(Reply::Check(check)) if args.dry_run || context.format == Format::Table => {
            spinner.aside(|| checks.add(check));
        }
        Some(Reply::Report(done)) => report = Some(done),
        Some(Reply::Check(_)) | None => {}
    })
    .await;
    checks.finish();
    ended?;
    if let Some(SwitchoverReport { from, to, gap_ms }) = report {
        match context.format {
            Format::Table => put(&format!("{to} is active now, {from} is standby. Measured gap: {gap_ms} ms.\n")),
            format => {
                let row = Row::new().with("from", cell(from)).with("to", cell(to)).with("gap_ms", cell(gap_ms));
                print_one(format, &row);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
