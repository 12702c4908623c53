//! `licraft ha deploy`.

use super::super::Context;
use super::super::checks::Checks;
use super::super::error::CliError;
use super::super::stream;
use crate::proto::admin::DeployRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::deploy_reply::Reply;
use std::process::ExitCode;

/// On the primary: check everything, form the cluster with the nodes that have joined, and raise the virtual address.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha deploy --vip 10.0.0.12
  licraft ha deploy --vip 10.0.0.12,2001:db8::12 --interface ens192
  licraft ha deploy --vip 10.0.0.12 --dry-run")]
pub struct Args {
    /// Virtual address; an IPv4 and an IPv6 one with a comma between.
    #[arg(long, value_name = "ADDR[,ADDR6]", value_delimiter = ',', required = true)]
    vip: Vec<std::net::IpAddr>,
    /// Network interface for the address; by default the one that reaches it.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Only check.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let request = DeployRequest {
        vip: args.vip.iter().map(ToString::to_string).collect(),
        interface: args.interface.unwrap_or_default(),
        dry_run: args.dry_run,
    };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).deploy(r).await }).await?;
    let mut checks = Checks::new(context.format);
    let ended = stream::each(replies, "deploying", |reply, spinner| match reply.reply {
        Some(Reply::Step(step)) => context.step(spinner, &step.text),
        Some(Reply::Check(check)) => spinner.aside(|| checks.add(check)),
        None => {}
    })
    .await;
    checks.finish();
    ended?;
    if !args.dry_run {
        context.say("The cluster is deployed. Look at it with `licraft ha status`.");
    }
    Ok(ExitCode::SUCCESS)
}
