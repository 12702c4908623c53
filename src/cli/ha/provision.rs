//! `licraft ha provision-standby` and `licraft ha provision-witness`.

use super::super::Context;
use super::super::error::CliError;
use super::super::stream;
use super::super::terminal::Yes;
use crate::proto::admin::ProvisionRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use std::process::ExitCode;

/// On the joining node: join the cluster of the node that made the code.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha provision-standby --join 10.0.0.5:7440 --code CODE
  licraft ha provision-witness --join 10.0.0.5:7440 --code CODE --replace --yes")]
pub struct Args {
    /// Where the node that made the code is joined, as `generate-keys` printed it.
    #[arg(long, value_name = "ADDR")]
    join: String,
    /// The code that `licraft ha generate-keys` printed.
    #[arg(long, value_name = "CODE")]
    code: String,
    /// Set data that is on this node aside instead of refusing.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    yes: Yes,
}

pub async fn run(args: Args, witness: bool, context: &Context) -> Result<ExitCode, CliError> {
    if args.replace {
        args.yes.confirm("This sets the data on this node aside. Go on?")?;
    }
    let client = context.client().await?;
    let request = ProvisionRequest { join: args.join, code: args.code, witness, replace: args.replace };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).provision(r).await }).await?;
    stream::each(replies, "joining", |step, spinner| context.step(spinner, &step.text)).await?;
    let role = if witness { "witness" } else { "standby" };
    context.done(
        &format!("This node has joined as {role}. On the primary, run `licraft ha deploy` when all nodes have joined."),
        0,
    );
    Ok(ExitCode::SUCCESS)
}
