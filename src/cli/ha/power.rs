//! `licraft ha stop` and `licraft ha start`.

use super::super::Context;
use super::super::error::CliError;
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::{StartRequest, StopRequest};
use std::process::ExitCode;

/// Leave the cluster orderly: hand over first, then stop. Lasts over a restart, until `licraft ha start`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha stop
  licraft ha stop --force --yes")]
pub struct StopArgs {
    /// Stop also when nobody can take over: products are then answered by nobody.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    yes: Yes,
}

/// Come back after `licraft ha stop`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha start")]
pub struct StartArgs {}

pub async fn stop(args: StopArgs, context: &Context) -> Result<ExitCode, CliError> {
    if args.force {
        args.yes.confirm("When nobody can take over, products are answered by nobody. Stop all the same?")?;
    }
    let client = context.client().await?;
    let request = StopRequest { force: args.force };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).stop(r).await }).await?;
    stream::each(replies, "stopping", |step, spinner| context.step(spinner, &step.text)).await?;
    Ok(ExitCode::SUCCESS)
}

pub async fn start(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let replies = client.direct(StartRequest {}, |c, r| async move { ClusterClient::new(c).start(r).await }).await?;
    stream::each(replies, "starting", |step, spinner| context.step(spinner, &step.text)).await?;
    Ok(ExitCode::SUCCESS)
}
