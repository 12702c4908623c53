//! `licraft account`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, enum_word, print_list, print_one, text_or_none, time};
use super::terminal::{Spinner, Yes};
use crate::proto::admin::accounts_client::AccountsClient;
use crate::proto::admin::{
    Account, AccountReasonRequest, AccountRef, AccountStatus, DeleteAccountRequest, ListAccountsRequest,
    RequestAccountRequest,
};
use clap::Subcommand;
use std::process::ExitCode;

/// Local accounts: each is bound to one virtual account at the vendor's central service.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft account list
  licraft account request TEST --smart-account example.com --virtual-account DEFAULT
  licraft account approve TEST")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List all accounts.
    #[command(after_help = "Examples:\n  licraft account list -o json")]
    List,
    /// Show one account.
    #[command(after_help = "Examples:\n  licraft account show TEST")]
    Show(Named),
    /// Ask for a new account.
    #[command(
        after_help = "Examples:\n  licraft account request TEST --smart-account example.com --virtual-account DEFAULT"
    )]
    Request(RequestArgs),
    /// Approve a requested account and register it with central.
    #[command(after_help = "Examples:\n  licraft account approve TEST")]
    Approve(Named),
    /// Reject a requested account.
    #[command(after_help = "Examples:\n  licraft account reject TEST --reason 'wrong smart account'")]
    Reject(Reasoned),
    /// Take an account out of service; its products keep what they have.
    #[command(after_help = "Examples:\n  licraft account deactivate TEST --reason 'contract ended' --yes")]
    Deactivate(Reasoned),
    /// Put a deactivated account back into service.
    #[command(after_help = "Examples:\n  licraft account activate TEST")]
    Activate(Named),
    /// Delete an account without instances: says all that is in the way, or takes it out of service, tells central that it
    /// ends, and deletes it. Without a way to central it has a last request for it; run it again once that is answered.
    #[command(after_help = "Examples:
  licraft account delete TEST --yes
  licraft account delete TEST --reason 'contract ended' --yes
  licraft account delete TEST --without-central --yes")]
    Delete(Deleted),
}

#[derive(clap::Args, Debug)]
struct Named {
    /// Name, or #ID.
    account: String,
}

#[derive(clap::Args, Debug)]
struct Deleted {
    /// Name, or #ID.
    account: String,
    /// Why it is taken out of service, for the event log.
    #[arg(long, default_value = "")]
    reason: String,
    /// Delete it though central cannot be told; the vendor must release it there.
    #[arg(long)]
    without_central: bool,
    #[command(flatten)]
    yes: Yes,
}

#[derive(clap::Args, Debug)]
struct Reasoned {
    /// Name, or #ID.
    account: String,
    /// Why, for the event log and the pages.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    yes: Yes,
}

#[derive(clap::Args, Debug)]
struct RequestArgs {
    /// Name of the new account.
    name: String,
    /// The smart account at central that it is bound to.
    #[arg(long, value_name = "NAME")]
    smart_account: String,
    /// The virtual account at central that it is bound to.
    #[arg(long, value_name = "NAME")]
    virtual_account: String,
    /// Who asks for it; by default you.
    #[arg(long, value_name = "WHO")]
    requested_by: Option<String>,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let named = |account: String| AccountRef { account };
    match args.verb {
        Verb::List => return list(context).await,
        Verb::Show(args) => return show(args.account, context).await,
        Verb::Request(args) => {
            let done = format!("Account {} is requested; approve it with `licraft account approve`.", args.name);
            let request = RequestAccountRequest {
                name: args.name,
                smart_account: args.smart_account,
                virtual_account: args.virtual_account,
                requested_by: args.requested_by.unwrap_or_default(),
            };
            let client = context.client().await?;
            let changed = client.call(request, |c, r| async move { AccountsClient::new(c).request(r).await }).await?;
            context.done(&done, changed.id);
        }
        Verb::Approve(args) => {
            let done = format!("Account {} is approved.", args.account);
            let client = context.client().await?;
            let spinner = Spinner::new("approving and registering with central");
            let named = named(args.account);
            client.call(named.clone(), |c, r| async move { AccountsClient::new(c).approve(r).await }).await?;
            let account = client.call(named, |c, r| async move { AccountsClient::new(c).show(r).await }).await?;
            drop(spinner);
            context.done(&done, 0);
            if account.status() == AccountStatus::Approved {
                context.say(
                    "It becomes active when central has answered: by itself, once central is set and reachable, or by files, \
                     with `licraft sync export-request`.",
                );
            }
        }
        Verb::Reject(args) => reject(args, context).await?,
        Verb::Deactivate(args) => deactivate(args, context).await?,
        Verb::Activate(args) => {
            let done = format!("Account {} is active again.", args.account);
            let client = context.client().await?;
            client.call(named(args.account), |c, r| async move { AccountsClient::new(c).activate(r).await }).await?;
            context.done(&done, 0);
        }
        Verb::Delete(args) => delete(args, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn delete(args: Deleted, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let named = AccountRef { account: args.account.clone() };
    let findings = client.call(named, |c, r| async move { AccountsClient::new(c).check(r).await }).await?.findings;
    let lines: Vec<String> = findings.iter().map(|f| format!("- {}: {}\n", f.what, f.next)).collect();
    // What is in the way is the server's refusal; it needs no confirmation.
    if !args.without_central && findings.iter().any(|f| f.in_the_way) {
        context.say(&format!("Between account {} and its deletion:\n{}", args.account, lines.concat().trim_end()));
    } else {
        let question = match args.without_central {
            true => format!("Delete account {} without telling central?", args.account),
            false => format!("{}Delete account {}?", lines.concat(), args.account),
        };
        args.yes.confirm(&question)?;
    }
    let done = match args.without_central {
        true => format!("Account {} is deleted; have the vendor release it at central.", args.account),
        false => format!("Account {} is deleted.", args.account),
    };
    let spinner = Spinner::new("closing the account at central");
    let Deleted { account, reason, without_central, .. } = args;
    let request = DeleteAccountRequest { account, reason, without_central };
    let deleted = client.call(request, |c, r| async move { AccountsClient::new(c).delete(r).await }).await;
    drop(spinner);
    deleted?;
    context.done(&done, 0);
    Ok(())
}

async fn list(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let reply = client.call(ListAccountsRequest {}, |c, r| async move { AccountsClient::new(c).list(r).await }).await?;
    print_list(context.format, "accounts", &reply.accounts.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn show(account: String, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let account =
        client.call(AccountRef { account }, |c, r| async move { AccountsClient::new(c).show(r).await }).await?;
    print_one(context.format, &row(&account));
    Ok(ExitCode::SUCCESS)
}

async fn reject(args: Reasoned, context: &Context) -> Result<(), CliError> {
    args.yes.confirm(&format!("Reject account {}?", args.account))?;
    let done = format!("Account {} is rejected.", args.account);
    let client = context.client().await?;
    let request = AccountReasonRequest { account: args.account, reason: args.reason };
    client.call(request, |c, r| async move { AccountsClient::new(c).reject(r).await }).await?;
    context.done(&done, 0);
    Ok(())
}

async fn deactivate(args: Reasoned, context: &Context) -> Result<(), CliError> {
    args.yes.confirm(&format!("Take account {} out of service?", args.account))?;
    let done = format!("Account {} is inactive.", args.account);
    let client = context.client().await?;
    let request = AccountReasonRequest { account: args.account, reason: args.reason };
    client.call(request, |c, r| async move { AccountsClient::new(c).deactivate(r).await }).await?;
    context.done(&done, 0);
    Ok(())
}

fn row(account: &Account) -> Row {
    let sync = account.sync.clone().unwrap_or_default();
    Row::new()
        .with("id", cell(account.id))
        .with("account", cell(account.name.as_str()))
        .with("requested_by", cell(account.requested_by.as_str()))
        .with("smart_account", cell(account.smart_account.as_str()))
        .with("virtual_account", cell(account.virtual_account.as_str()))
        .with("account_status", enum_word(account.status().as_str_name(), "ACCOUNT_STATUS_"))
        .json_only("status_reason", text_or_none(&account.status_reason))
        .json_only("requested", time(account.requested_ms))
        .json_only("changed", time(account.changed_ms))
        .json_only("instances", cell(account.instances))
        .json_only("default_virtual_account", text_or_none(&account.default_virtual_account))
        .json_only("last_synchronization", time(sync.last_success_ms))
        .json_only("synchronization_due", time(sync.due_ms))
}
