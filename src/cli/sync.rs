//! `licraft sync`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_list, print_one, text_or_none, time};
use super::terminal::Spinner;
use crate::central::document::MAX_DOCUMENT_BYTES;
use crate::proto::admin::sync_client::SyncClient;
use crate::proto::admin::{
    AccountRef, EntitlementChange, ExportRequestReply, ImportResponseRequest, ScheduleRequest, SyncEvery, SyncSchedule,
    SyncStatus,
};
use clap::Subcommand;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Synchronization with the vendor's central service.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft sync now --account TEST
  licraft sync status
  licraft sync export-request request.json --account TEST
  licraft sync import-response response.json --dry-run")]
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
    /// Say when an account synchronizes by itself, or show it.
    #[command(after_help = "Examples:
  licraft sync schedule
  licraft sync schedule --every daily --at 03:30
  licraft sync schedule --account TEST --every weekly --on sunday --at 02:00
  licraft sync schedule --every monthly --on 15
  licraft sync schedule --every off")]
    Schedule(When),
    /// Write the request that central has to answer to a file: an approved account's registration, or a synchronization,
    /// which begins with it. While that is outstanding, the same request again.
    #[command(after_help = "Examples:\n  licraft sync export-request request.json --account TEST")]
    ExportRequest(Export),
    /// Take central's answer from a file.
    #[command(after_help = "Examples:
  licraft sync import-response response.json --dry-run
  licraft sync import-response response.json")]
    ImportResponse(Import),
}

#[derive(clap::Args, Debug)]
struct When {
    #[command(flatten)]
    of: Of,
    /// How often; up to half an hour is added, so that not all sites come to central at once.
    #[arg(long)]
    every: Option<Every>,
    /// Time of the day in UTC.
    #[arg(long, value_name = "HH:MM", default_value = "02:00", value_parser = minute_of_day, requires = "every")]
    at: u32,
    /// Weekday, as `sunday`, or day of the month, 1 to 28.
    #[arg(long, value_name = "DAY", requires = "every")]
    on: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Every {
    Daily,
    Weekly,
    Monthly,
    Off,
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

fn minute_of_day(text: &str) -> Result<u32, String> {
    let time = text.split_once(':').and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
    match time {
        Some((hour @ 0..=23, minute @ 0..=59)) => Ok(hour * 60 + minute),
        _ => Err("a time of the day is from 00:00 to 23:59".into()),
    }
}

impl When {
    /// None: only show it.
    fn schedule(&self) -> Result<Option<SyncSchedule>, CliError> {
        let Some(every) = self.every else { return Ok(None) };
        let on = self.on.as_deref();
        let usage = |what: &str, hint: &str| CliError::usage(what).hint(hint);
        let (every, day) = match (every, on) {
            (Every::Off, None) => (SyncEvery::Off, 0),
            (Every::Daily, None) => (SyncEvery::Daily, 0),
            (Every::Off | Every::Daily, Some(_)) => {
                return Err(usage("--on goes with `--every weekly` or `--every monthly`", "leave it out"));
            }
            (Every::Weekly, on) => {
                let day = on.unwrap_or("sunday").to_lowercase();
                let day = WEEKDAYS.iter().position(|name| *name == day);
                let day = day.and_then(|day| u32::try_from(day).ok());
                (SyncEvery::Weekly, day.ok_or_else(|| usage("there is no such weekday", "say it as in `--on sunday`"))?)
            }
            (Every::Monthly, on) => {
                let day = on.unwrap_or("1").parse().ok().filter(|day| (1..=28).contains(day));
                let hint = "take one from 1 to 28, which each month has";
                (SyncEvery::Monthly, day.ok_or_else(|| usage("that is no day of each month", hint))?)
            }
        };
        Ok(Some(SyncSchedule { every: every.into(), minute: self.at, day }))
    }
}

#[derive(clap::Args, Debug)]
struct Export {
    /// The file to write; it must not be there yet.
    file: PathBuf,
    #[command(flatten)]
    of: Of,
}

#[derive(clap::Args, Debug)]
struct Import {
    /// The file that central gave.
    file: PathBuf,
    /// Only say what it would change.
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct Of {
    /// Name or #ID of the account; needed only where there are several, and not by `status`.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

impl From<Of> for AccountRef {
    fn from(of: Of) -> Self {
        Self { account: of.account.unwrap_or_default() }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
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
        Verb::Schedule(args) => return schedule(args, context).await,
        Verb::ExportRequest(args) => return export(args, context).await,
        Verb::ImportResponse(args) => return import(args, context).await,
    };
    print_list(context.format, "accounts", &accounts.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn schedule(args: When, context: &Context) -> Result<ExitCode, CliError> {
    let wanted = args.schedule()?;
    let client = context.client().await?;
    let asked = AccountRef::from(args.of);
    let accounts = match wanted {
        None => client.call(asked, |c, r| async move { SyncClient::new(c).status(r).await }).await?.accounts,
        Some(wanted) => {
            let request = ScheduleRequest { account: asked.account, schedule: Some(wanted) };
            vec![client.call(request, |c, r| async move { SyncClient::new(c).schedule(r).await }).await?]
        }
    };
    let row = |status: &SyncStatus| {
        let row = Row::new().with("name", cell(status.account.as_str()));
        row.with("schedule", cell(status.schedule.as_str())).with("next_synchronization", time(status.next_ms))
    };
    print_list(context.format, "accounts", &accounts.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn export(Export { file, of }: Export, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    // Before the request: a synchronization begins with it.
    let mut out = File::create_new(&file).map_err(|e| not_written(&file, &e))?;
    let asked =
        client.call(AccountRef::from(of), |c, r| async move { SyncClient::new(c).export_request(r).await }).await;
    let written = match asked {
        Ok(asked) => {
            let written = out.write_all(&asked.document).and_then(|()| out.sync_all());
            written.map(|()| asked).map_err(|e| not_written(&file, &e))
        }
        Err(error) => Err(error),
    };
    let ExportRequestReply { account, seq, .. } = written.inspect_err(|_| {
        // What is left of it would only be in the way of the next try.
        let _ = std::fs::remove_file(&file);
    })?;
    let what = if seq == 0 { "registration".to_owned() } else { format!("synchronization {seq}") };
    let file = file.display();
    context.say(&format!(
        "The request for the {what} of account {account} is in {file}.\nHave central answer it with `licraft central \
         answer {file} RESPONSE`; then run `licraft sync import-response RESPONSE`."
    ));
    if context.format != Format::Table {
        let row = Row::new().with("account", cell(account)).with("kind", cell(what)).with("sequence", cell(seq));
        print_one(context.format, &row);
    }
    Ok(ExitCode::SUCCESS)
}

fn not_written(file: &Path, error: &std::io::Error) -> CliError {
    let hint = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "choose another name, or remove it first",
        _ => "choose a place where you may write",
    };
    CliError::failed(format!("{} cannot be written", file.display())).because(error.to_string()).hint(hint)
}

async fn import(Import { file, dry_run }: Import, context: &Context) -> Result<ExitCode, CliError> {
    let not_read = |why: String| CliError::failed(format!("{} cannot be read", file.display())).because(why);
    let mut document = Vec::new();
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    let read = File::open(&file).and_then(|opened| opened.take(limit).read_to_end(&mut document));
    read.map_err(|e| not_read(e.to_string()))?;
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(not_read(format!("it has more than {MAX_DOCUMENT_BYTES} bytes, so it is no response of central")));
    }
    let client = context.client().await?;
    let request = ImportResponseRequest { document: document.into(), dry_run };
    let reply = client.call(request, |c, r| async move { SyncClient::new(c).import_response(r).await }).await?;
    if context.format != Format::Table || !reply.changes.is_empty() {
        print_list(context.format, "changes", &reply.changes.iter().map(change).collect::<Vec<_>>());
    }
    let account = &reply.account;
    context.say(&match (dry_run, reply.changes.len()) {
        (true, 0) => {
            format!("The response for account {account} is sound and would change no license. Nothing is changed yet.")
        }
        (true, _) => {
            format!("The response for account {account} is sound and would make these changes. Nothing is changed yet.")
        }
        (false, 0) => format!("Account {account} is synchronized; no license has changed."),
        (false, _) => format!("Account {account} is synchronized; these licenses have changed."),
    });
    Ok(ExitCode::SUCCESS)
}

fn change(change: &EntitlementChange) -> Row {
    let balance = i128::from(change.purchased_after) - i128::from(change.in_use);
    Row::new()
        .with("license", cell(change.license.as_str()))
        .with("purchased", cell(change.purchased))
        .with("purchased_after", cell(change.purchased_after))
        .with("in_use", cell(change.in_use))
        .with("balance_after", cell(i64::try_from(balance).unwrap_or(i64::MIN)))
        .json_only("tag", cell(change.tag.as_str()))
        .json_only("new", cell(change.new))
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
        .json_only("schedule", cell(status.schedule.as_str()))
        .json_only("next_synchronization", time(status.next_ms))
}
