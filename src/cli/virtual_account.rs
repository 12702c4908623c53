//! `licraft virtual-account`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, print_list, time};
use super::terminal::Yes;
use crate::proto::admin::virtual_accounts_client::VirtualAccountsClient;
use crate::proto::admin::{AccountRef, RenameVirtualAccountRequest, VirtualAccount, VirtualAccountRef};
use clap::Subcommand;
use std::process::ExitCode;

/// Virtual accounts: subdivisions of an account that own licenses, tokens and product instances.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft virtual-account list
  licraft va create Lab --account TEST
  licraft va rename Lab Laboratory --account TEST")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List virtual accounts.
    #[command(after_help = "Examples:\n  licraft va list --account TEST")]
    List(Of),
    /// Make a virtual account.
    #[command(after_help = "Examples:\n  licraft va create Lab --account TEST")]
    Create(Named),
    /// Rename a virtual account.
    #[command(after_help = "Examples:\n  licraft va rename Lab Laboratory --account TEST")]
    Rename(Renamed),
    /// Delete an empty virtual account.
    #[command(after_help = "Examples:\n  licraft va delete Lab --account TEST --yes")]
    Delete(Deleted),
}

/// Which account it is about.
#[derive(clap::Args, Debug)]
struct Of {
    /// Name or #ID of the account; needed only where there are several.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

#[derive(clap::Args, Debug)]
struct Named {
    /// Name of the virtual account.
    name: String,
    #[command(flatten)]
    of: Of,
}

#[derive(clap::Args, Debug)]
struct Renamed {
    /// Present name, or #ID.
    name: String,
    /// New name.
    new_name: String,
    #[command(flatten)]
    of: Of,
}

#[derive(clap::Args, Debug)]
struct Deleted {
    /// Name, or #ID.
    name: String,
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    yes: Yes,
}

impl Of {
    fn named(self, virtual_account: String) -> VirtualAccountRef {
        VirtualAccountRef { account: self.account.unwrap_or_default(), virtual_account }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::List(of) => {
            let asked = AccountRef { account: of.account.unwrap_or_default() };
            let client = context.client().await?;
            let reply = client.call(asked, |c, r| async move { VirtualAccountsClient::new(c).list(r).await }).await?;
            let rows: Vec<Row> = reply.virtual_accounts.iter().map(row).collect();
            print_list(context.format, "virtual accounts", &rows);
        }
        Verb::Create(args) => {
            let done = format!("Virtual account {} is there.", args.name);
            let asked = args.of.named(args.name);
            let client = context.client().await?;
            let changed =
                client.call(asked, |c, r| async move { VirtualAccountsClient::new(c).create(r).await }).await?;
            context.done(&done, changed.id);
        }
        Verb::Rename(args) => {
            let done = format!("Virtual account {} is now {}.", args.name, args.new_name);
            let virtual_account = Some(args.of.named(args.name));
            let asked = RenameVirtualAccountRequest { virtual_account, name: args.new_name };
            let client = context.client().await?;
            client.call(asked, |c, r| async move { VirtualAccountsClient::new(c).rename(r).await }).await?;
            context.done(&done, 0);
        }
        Verb::Delete(args) => {
            args.yes.confirm(&format!("Delete virtual account {}?", args.name))?;
            let done = format!("Virtual account {} is deleted.", args.name);
            let asked = args.of.named(args.name);
            let client = context.client().await?;
            client.call(asked, |c, r| async move { VirtualAccountsClient::new(c).delete(r).await }).await?;
            context.done(&done, 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(va: &VirtualAccount) -> Row {
    Row::new()
        .with("id", cell(va.id))
        .with("account", cell(va.account.as_str()))
        .with("virtual_account", cell(va.name.as_str()))
        .with("default", cell(va.default))
        .with("instances", cell(va.instances))
        .with("licenses", cell(va.licenses))
        .json_only("created", time(va.created_ms))
}
