//! `licraft ha`: the life of the cluster.

mod depart;
mod deploy;
mod drill;
mod history;
mod keys;
mod power;
mod provision;
mod render;
mod status;
mod switchover;

use super::Context;
use super::error::CliError;
use super::later::Later;
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
    #[command(hide = true)]
    Promote(Later),
    #[command(hide = true)]
    Resolve(Later),
    Remove(depart::RemoveArgs),
    Teardown(depart::TeardownArgs),
    #[command(hide = true)]
    SetAside(Later),
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
        Verb::Promote(later) => {
            Err(later.refuse("ha promote", "bring another voter back; `licraft ha status` says which"))
        }
        Verb::Resolve(later) => Err(later.refuse("ha resolve", "`licraft ha status` shows what each node has")),
        Verb::Remove(args) => depart::remove(args, context).await,
        Verb::Teardown(args) => depart::teardown(args, context).await,
        Verb::SetAside(later) => Err(later.refuse("ha set-aside", "look into the node's data_dir")),
        Verb::Drill(args) => drill::run(args, context).await,
    }
}
