//! `licraft ha remove` and `licraft ha teardown`.

use super::super::Context;
use super::super::error::CliError;
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::{ClusterState, NodeRole, RemoveRequest, StatusRequest, TeardownRequest};
use std::process::ExitCode;

/// Remove a member for good: it is retired, and another node may be provisioned under its name.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha remove secondary-node
  licraft ha remove witness --yes")]
pub struct RemoveArgs {
    /// The node's name, as `licraft ha status` shows it.
    node: String,
    #[command(flatten)]
    yes: Yes,
}

/// End this node's part in the cluster. The active node ends the cluster and serves on alone; another one is retired.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha teardown")]
pub struct TeardownArgs {
    #[command(flatten)]
    yes: Yes,
}

pub async fn remove(args: RemoveArgs, context: &Context) -> Result<ExitCode, CliError> {
    args.yes.confirm(&format!(
        "{} will be retired and never be a member again, unless it is provisioned afresh. Remove it?",
        args.node
    ))?;
    let client = context.client().await?;
    let request = RemoveRequest { node: args.node.clone() };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).remove(r).await }).await?;
    stream::each(replies, "removing", |step, spinner| context.step(spinner, &step.text)).await?;
    context.done(&format!("{} is no member any more.", args.node), 0);
    Ok(ExitCode::SUCCESS)
}

pub async fn teardown(args: TeardownArgs, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let status = client.direct(StatusRequest {}, |c, r| async move { ClusterClient::new(c).status(r).await }).await?;
    if status.cluster() == ClusterState::Standalone {
        return Err(
            CliError::failed("HA is not enabled.").because("this node serves alone: there is no cluster to end")
        );
    }
    let others = status.nodes.iter().filter(|n| n.name != status.this_node);
    let others: Vec<&str> = others.map(|n| n.name.as_str()).collect();
    let others = others.join(" and ");
    let active = status.nodes.iter().find(|n| n.role() == NodeRole::Active);
    let truth = match active {
        Some(active) if active.name == status.this_node => format!(
            "{others} will be retired: read-only, without the cluster's keys, and of no use until provisioned afresh. \
             This node goes on alone, without the virtual address."
        ),
        Some(active) => format!(
            "This node will be retired: read-only, without the cluster's keys, and of no use until provisioned afresh. \
             {} goes on with the virtual address.",
            active.name
        ),
        None => "No node is active now, so nothing can be agreed on.".to_owned(),
    };
    eprintln!(
        "WARNING: You are about to destroy the HA cluster configuration and convert this service node into stand-alone \
         mode without a cluster.\n{truth}"
    );
    args.yes.insist("Destroy HA cluster and convert to stand-alone? Enter 'yes' to continue: ")?;
    let replies = client.direct(TeardownRequest {}, |c, r| async move { ClusterClient::new(c).teardown(r).await });
    stream::each(replies.await?, "tearing down", |step, spinner| context.step(spinner, &step.text)).await?;
    // Operators' scripts wait for this sentence.
    context.done("HA cluster has been destroyed. SSM is now in stand-alone mode.", 0);
    Ok(ExitCode::SUCCESS)
}
