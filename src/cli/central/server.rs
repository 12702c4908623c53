//! `licraft central server`.

use super::super::error::CliError;
use super::super::output::Format;
use super::super::terminal::Yes;
use super::ask;
use super::print::{done, list};
use crate::central::admin::AdminRequest;
use clap::Subcommand;
use std::path::Path;

/// Keep the on-prem servers.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central server list
  licraft central server readopt 6f1c…")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List on-prem servers and their accounts.
    #[command(after_help = "Examples:
  licraft central server list
  licraft central server list --closed")]
    List {
        /// With the accounts that have ended.
        #[arg(long)]
        closed: bool,
    },
    /// Take back a server that was dropped after 90 days of silence; else let the copy of it that was refused last speak for
    /// it: every other copy is refused from then on.
    #[command(after_help = "Examples:
  licraft central server readopt 6f1c…")]
    Readopt {
        /// Server uid, see `server list`.
        server: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Refuse a server from now on.
    #[command(after_help = "Examples:
  licraft central server revoke 6f1c…")]
    Revoke {
        server: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Forget an account that its server can not close any more, so that its virtual account is free again.
    #[command(after_help = "Examples:
  licraft central server release 6f1c… --account TEST")]
    Release {
        server: String,
        /// The account's name on the server.
        #[arg(long, value_name = "NAME")]
        account: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Show what happened: registrations, refused copies, what operators did.
    #[command(after_help = "Examples:
  licraft central server events")]
    Events,
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    match args.verb {
        Verb::List { closed } => list(format, ask(dir, AdminRequest::ListServers { closed }).await?),
        Verb::Events => list(format, ask(dir, AdminRequest::Events).await?),
        Verb::Readopt { server, yes } => {
            yes.confirm(&format!("Take server {server} back? If a copy of it was refused, that one speaks for it, and the other is refused."))?;
            done(format, ask(dir, AdminRequest::Readopt { server }).await?)
        }
        Verb::Revoke { server, yes } => {
            yes.confirm(&format!("Refuse server {server} from now on?"))?;
            done(format, ask(dir, AdminRequest::Revoke { server }).await?)
        }
        Verb::Release { server, account, yes } => {
            yes.confirm(&format!("Forget account {account} of server {server}?"))?;
            done(format, ask(dir, AdminRequest::Release { server, account }).await?)
        }
    }
}
