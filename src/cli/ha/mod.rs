//! `licraft ha`: the life of the cluster.

mod depart;
mod deploy;
mod drill;
mod history;
mod keys;
mod power;
mod promote;
mod provision;
mod render;
mod set_aside;
mod status;
mod switchover;

use super::Context;
use super::error::CliError;
use clap::Subcommand;
use std::process::ExitCode;

/// The cluster: form it, look at it, move the active role.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft ha status
  licraft ha switchover --to secondary-node")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    GenerateKeys(keys::Args),
    ProvisionStandby(provision::Args),
    ProvisionWitness(provision::Args),
    Deploy(deploy::Args),
    Status(status::Args),
    Stop(power::StopArgs),
    Start(power::StartArgs),
    Switchover(switchover::Args),
    History(history::Args),
    Promote(promote::Args),
    Resolve(promote::ResolveArgs),
    Remove(depart::RemoveArgs),
    Teardown(depart::TeardownArgs),
    SetAside(set_aside::Args),
    Drill(drill::Args),
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::GenerateKeys(_) => keys::run(context).await,
        Verb::ProvisionStandby(args) => provision::run(args, false, context).await,
        Verb::ProvisionWitness(args) => provision::run(args, true, context).await,
        Verb::Deploy(args) => deploy::run(args, context).await,
        Verb::Status(_) => status::run(context).await,
        Verb::Stop(args) => power::stop(args, context).await,
        Verb::Start(_) => power::start(context).await,
        Verb::Switchover(args) => switchover::run(args, context).await,
        Verb::History(_) => history::run(context).await,
        Verb::Promote(args) => promote::promote(args, context).await,
        Verb::Resolve(args) => promote::resolve(args, context).await,
        Verb::Remove(args) => depart::remove(args, context).await,
        Verb::Teardown(args) => depart::teardown(args, context).await,
        Verb::SetAside(args) => set_aside::run(args, context).await,
        Verb::Drill(args) => drill::run(args, context).await,
    }
}
