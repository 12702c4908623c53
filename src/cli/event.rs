//! `licraft event`.

use super::Context;
use super::client::{Client, passes};
use super::error::CliError;
use super::output::{Row, cell, enum_word, print_streamed, text_or_none, time};
use crate::proto::admin::events_client::EventsClient;
use crate::proto::admin::{Event, ListEventsRequest};
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Duration;
use tonic::{Code, Status};

/// Wait before following again after the active node changed.
const AGAIN: Duration = Duration::from_millis(500);

/// The event log.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft event list --last 20
  licraft event list --follow -o json")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List events, oldest first; JSON is one object a line.
    #[command(after_help = "Examples:\n  licraft event list --account TEST\n  licraft event list --follow")]
    List(ListArgs),
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    /// Only events of this account.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only the newest N.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    last: Option<u64>,
    /// Go on with new events until Ctrl-C, through changes of the active node.
    #[arg(short, long)]
    follow: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Verb::List(args) = args.verb;
    let client = context.client().await?;
    let mut asked = ListEventsRequest {
        account: args.account.unwrap_or_default(),
        after: 0,
        last: args.last.unwrap_or(0),
        follow: args.follow,
    };
    loop {
        match list(&client, &mut asked, context).await {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(status) if args.follow && asked.after > 0 && interrupted(&status) => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// Prints events until the stream ends, and notes in `asked` where to go on.
async fn list(client: &Client, asked: &mut ListEventsRequest, context: &Context) -> Result<(), Status> {
    let mut events = client.stream(asked.clone(), |c, r| async move { EventsClient::new(c).list(r).await }).await?;
    while let Some(event) = events.message().await? {
        asked.after = event.seq;
        asked.last = 0;
        print_streamed(context.format, &row(&event), &line(&event));
    }
    Ok(())
}

/// The active node changed, or the connection to it broke: the next one goes on where this one ended.
fn interrupted(status: &Status) -> bool {
    passes(status) || matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}

fn line(event: &Event) -> String {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let severity = word(enum_word(event.severity().as_str_name(), "SEVERITY_"));
    let account = if event.account.is_empty() { String::new() } else { format!(" [{}]", event.account) };
    format!("{}  {severity:<13}  {}{account}  ({})", word(time(event.at_ms)), event.message, event.actor)
}

fn row(event: &Event) -> Row {
    Row::new()
        .with("seq", cell(event.seq))
        .with("time", time(event.at_ms))
        .with("severity", enum_word(event.severity().as_str_name(), "SEVERITY_"))
        .with("kind", cell(event.kind.as_str()))
        .with("account", text_or_none(&event.account))
        .with("actor", cell(event.actor.as_str()))
        .with("message", cell(event.message.as_str()))
}
