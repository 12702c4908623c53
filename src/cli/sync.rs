//! `licraft sync`.

use super::Context;
use super::error::CliError;
use super::later::Later;
use super::output::{Row, cell, print_list, text_or_none, time};
use super::terminal::Spinner;
use crate::proto::admin::sync_client::SyncClient;
use crate::proto::admin::{AccountRef, SyncStatus};
use clap::Subcommand;
use std::process::ExitCode;

/// Synchronization with the vendor's central service.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft sync now --account TEST
  licraft sync status")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Synchronize an account now and wait for the answer.
    #[command(after_help = "Examples:\n  licraft sync now --account TEST")]
    Now(Of),
    /// Show when each account was synchronized and when it is due.
    #[command(after_help = "Examples:\n  licraft sync status -o json")]
    Status(Of),
    #[command(hide = true)]
    Schedule(Later),
    #[command(hide = true)]
    ExportRequest(Later),
    #[command(hide = true)]
    ImportResponse(Later),
}

#[derive(clap::Args, Debug)]
struct Of {
    /// Name or #ID of the account; `now` needs it only where there are several.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

impl From<Of> for AccountRef {
    fn from(of: Of) -> Self {
        Self { account: of.account.unwrap_or_default() }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    const ONLINE: &str = "`licraft sync now`, with central reachable";
    let accounts = match args.verb {
        Verb::Now(of) => {
            let client = context.client().await?;
            let spinner = Spinner::new("synchronizing");
            let status = client.call(AccountRef::from(of), |c, r| async move { SyncClient::new(c).now(r).await }).await;
            drop(spinner);
            vec![status?]
        }
        Verb::Status(of) => {
            let client = context.client().await?;
            let asked = AccountRef::from(of);
            client.call(asked, |c, r| async move { SyncClient::new(c).status(r).await }).await?.accounts
        }
        Verb::Schedule(later) => return Err(later.refuse("sync schedule", "`licraft sync now` from cron(8)")),
        Verb::ExportRequest(later) => return Err(later.refuse("sync export-request", ONLINE)),
        Verb::ImportResponse(later) => return Err(later.refuse("sync import-response", ONLINE)),
    };
    print_list(context.format, "accounts", &accounts.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

fn row(status: &SyncStatus) -> Row {
    let failed_last = status.last_failure_ms > status.last_success_ms;
    let result = match (status.last_success_ms, failed_last) {
        (_, true) => cell("Synchronization Failed"),
        (0, false) => serde_json::Value::Null,
        (_, false) => cell("Synchronization Successful"),
    };
    let failure = if failed_last { text_or_none(&status.last_failure) } else { serde_json::Value::Null };
    Row::new()
        .with("name", cell(status.account.as_str()))
        .with("last_synchronization", time(status.last_success_ms))
        .with("synchronization_due", time(status.due_ms))
        .with("alerts", result)
        .with("reason", failure)
        .json_only("sequence", cell(status.seq))
        .json_only("outstanding", cell(status.outstanding))
        .json_only("last_failure", time(status.last_failure_ms))
}
