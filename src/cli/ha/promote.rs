//! `licraft ha promote` and `licraft ha resolve`.

use super::super::Context;
use super::super::error::CliError;
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::promote_reply::Reply;
use crate::proto::admin::{PromoteRequest, PromotionStakes, ResolveRequest};
use std::process::ExitCode;

/// Go on without a quorum, when the other nodes are gone. They set their data aside and rejoin when they come back.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha promote
  licraft ha promote --accept-data-loss")]
pub struct Args {
    /// Also where licenses that the other nodes have granted may be unknown here.
    #[arg(long)]
    accept_data_loss: bool,
    #[command(flatten)]
    yes: Yes,
}

/// After two nodes were both promoted: decide whose data counts. The other one sets its data aside and rejoins.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha resolve --keep primary-node")]
pub struct ResolveArgs {
    /// The node whose data counts.
    #[arg(long, value_name = "NODE")]
    keep: String,
    #[command(flatten)]
    yes: Yes,
}

pub async fn promote(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let accept_data_loss = args.accept_data_loss;
    let stakes = ask_for(PromoteRequest { only_look: true, accept_data_loss }, context).await?;
    eprintln!("WARNING: {}", warning(&stakes, accept_data_loss));
    args.yes.insist("Promote this node? Enter 'yes' to continue: ")?;
    ask_for(PromoteRequest { only_look: false, accept_data_loss }, context).await?;
    context.done("This node is active. Whoever comes back from the old cluster gives way to it.", 0);
    Ok(ExitCode::SUCCESS)
}

async fn ask_for(request: PromoteRequest, context: &Context) -> Result<PromotionStakes, CliError> {
    let client = context.client().await?;
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).promote(r).await }).await?;
    let mut stakes = PromotionStakes::default();
    stream::each(replies, "promoting", |reply, spinner| match reply.reply {
        Some(Reply::Step(step)) => context.step(spinner, &step.text),
        Some(Reply::Stakes(told)) => stakes = told,
        None => {}
    })
    .await?;
    Ok(stakes)
}

fn warning(stakes: &PromotionStakes, accept_data_loss: bool) -> String {
    let others = stakes.others.join(" and ");
    let off = format!(
        "This node will serve alone, without asking {others}. That is safe only when {others} cannot serve now: powered \
         off, or cut off from all products. What {others} may still grant is lost when the nodes meet again."
    );
    match stakes.lacks.as_str() {
        "" => off,
        lacks if accept_data_loss => format!("{off}\nYou accept the loss of data: {lacks}."),
        lacks => format!("{off}\nWithout --accept-data-loss it will be refused: {lacks}."),
    }
}

pub async fn resolve(args: ResolveArgs, context: &Context) -> Result<ExitCode, CliError> {
    let keep = args.keep;
    args.yes.insist(&format!(
        "{keep} goes on; the other node sets its data aside, and the licenses that it alone has granted are lost. Enter \
         'yes' to continue: "
    ))?;
    let client = context.client().await?;
    let request = ResolveRequest { keep: keep.clone() };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).resolve(r).await }).await?;
    stream::each(replies, "resolving", |step, spinner| context.step(spinner, &step.text)).await?;
    context.done(&format!("{keep} goes on. The other node rejoins as its standby."), 0);
    Ok(ExitCode::SUCCESS)
}
