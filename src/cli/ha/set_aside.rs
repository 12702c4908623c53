//! `licraft ha set-aside`.

use super::super::Context;
use super::super::error::CliError;
use super::super::output::{Row, cell, print_list, text_or_none};
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::{ListSetAsideRequest, SetAsideRef};
use clap::Subcommand;
use std::process::ExitCode;

/// Old data that this node keeps: from before it was provisioned afresh, promoted, or gave way to another node.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha set-aside list
  licraft ha set-aside delete 2026-11-23T10:00:00Z")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    List(ListArgs),
    Restore(RestoreArgs),
    Delete(DeleteArgs),
}

/// Show what is kept.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha set-aside list
  licraft ha set-aside list -o json")]
pub struct ListArgs {}

/// Put old data back in its place; what is there now is set aside.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha set-aside restore 2026-11-23T10:00:00Z")]
pub struct RestoreArgs {
    /// As `licraft ha set-aside list` shows it.
    name: String,
    #[command(flatten)]
    yes: Yes,
}

/// Delete old data for good.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha set-aside delete 2026-11-23T10:00:00Z --yes")]
pub struct DeleteArgs {
    /// As `licraft ha set-aside list` shows it.
    name: String,
    #[command(flatten)]
    yes: Yes,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::List(_) => list(context).await,
        Verb::Restore(args) => restore(args, context).await,
        Verb::Delete(args) => delete(args, context).await,
    }
}

async fn list(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let asked =
        client.direct(ListSetAsideRequest {}, |c, r| async move { ClusterClient::new(c).list_set_aside(r).await });
    let rows: Vec<Row> = asked
        .await?
        .kept
        .into_iter()
        .map(|kept| {
            Row::new()
                .with("name", cell(kept.name))
                .with("node", text_or_none(&kept.node))
                .with("epoch", cell(kept.epoch))
                .with("bytes", cell(kept.bytes))
                .with("why", cell(kept.why))
        })
        .collect();
    print_list(context.format, "data set aside", &rows);
    Ok(ExitCode::SUCCESS)
}

async fn restore(RestoreArgs { name, yes }: RestoreArgs, context: &Context) -> Result<ExitCode, CliError> {
    yes.confirm(&format!(
        "This node ends what it does and goes on with the data of {name}; what it has now is set aside. Go on?"
    ))?;
    let client = context.client().await?;
    let request = SetAsideRef { name: name.clone() };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).restore_set_aside(r).await });
    stream::each(replies.await?, "restoring", |step, spinner| context.step(spinner, &step.text)).await?;
    context.done(&format!("This node goes on with the data of {name}."), 0);
    Ok(ExitCode::SUCCESS)
}

async fn delete(DeleteArgs { name, yes }: DeleteArgs, context: &Context) -> Result<ExitCode, CliError> {
    yes.confirm(&format!("The data of {name} is deleted for good. Go on?"))?;
    let client = context.client().await?;
    let request = SetAsideRef { name: name.clone() };
    client.direct(request, |c, r| async move { ClusterClient::new(c).delete_set_aside(r).await }).await?;
    context.done(&format!("{name} is deleted."), 0);
    Ok(ExitCode::SUCCESS)
}
