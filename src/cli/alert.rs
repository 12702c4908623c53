//! `licraft alert`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, enum_word, print_list, text_or_none, time};
use crate::proto::admin::alerts_client::AlertsClient;
use crate::proto::admin::{self, Alert, AlertRef, ListAlertsRequest};
use clap::Subcommand;
use std::process::ExitCode;

/// Alerts: what is wrong now and what to do.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft alert list
  licraft alert ack cluster-degraded secondary-node")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List alerts.
    #[command(
        after_help = "Examples:\n  licraft alert list --account TEST -o json\n  licraft alert list --history --severity major"
    )]
    List(ListArgs),
    /// Acknowledge an alert: it stays until its cause is gone, but no longer as news.
    #[command(after_help = "Examples:\n  licraft alert ack cluster-degraded secondary-node")]
    Ack(AckArgs),
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    /// Only alerts of this account.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Those whose cause is gone, the newest first.
    #[arg(long)]
    history: bool,
    /// Only those of this severity.
    #[arg(long, value_enum)]
    severity: Option<Severity>,
    /// Only those whose title, source or message holds this text.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Severity {
    Informational,
    Minor,
    Major,
}

impl From<Severity> for admin::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Informational => Self::Informational,
            Severity::Minor => Self::Minor,
            Severity::Major => Self::Major,
        }
    }
}

#[derive(clap::Args, Debug)]
struct AckArgs {
    /// Kind, as `list` shows it.
    kind: String,
    /// Source, as `list` shows it.
    source: String,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    match args.verb {
        Verb::List(args) => {
            let ListArgs { account, history, severity, search } = args;
            let severity = severity.map_or(admin::Severity::Unspecified, Into::into).into();
            let asked = ListAlertsRequest { account: account.unwrap_or_default(), history, severity, search };
            let reply = client.call(asked, |c, r| async move { AlertsClient::new(c).list(r).await }).await?;
            let row = if history { past_row } else { row };
            print_list(context.format, "alerts", &reply.alerts.iter().map(row).collect::<Vec<_>>());
        }
        Verb::Ack(AckArgs { kind, source }) => {
            let done = format!("The alert {kind} about {source} is acknowledged.");
            let asked = AlertRef { kind, source };
            client.call(asked, |c, r| async move { AlertsClient::new(c).acknowledge(r).await }).await?;
            context.done(&done, 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn past_row(alert: &Alert) -> Row {
    Row::new()
        .with("kind", cell(alert.kind.as_str()))
        .with("source", cell(alert.source.as_str()))
        .with("severity", enum_word(alert.severity().as_str_name(), "SEVERITY_"))
        .with("raised", time(alert.raised_ms))
        .with("cleared", time(alert.cleared_ms))
        .with("cleared_by", cell(alert.cleared_by.as_str()))
        .with("message", cell(alert.message.as_str()))
        .json_only("acknowledged", cell(alert.acknowledged))
        .json_only("acknowledged_at", time(alert.acknowledged_ms))
        .json_only("acknowledged_by", text_or_none(&alert.acknowledged_by))
        .json_only("account", text_or_none(&alert.account))
        .json_only("due", time(alert.due_ms))
}

fn row(alert: &Alert) -> Row {
    Row::new()
        .with("kind", cell(alert.kind.as_str()))
        .with("source", cell(alert.source.as_str()))
        .with("severity", enum_word(alert.severity().as_str_name(), "SEVERITY_"))
        .with("raised", time(alert.raised_ms))
        .with("acknowledged", cell(alert.acknowledged))
        .with("message", cell(alert.message.as_str()))
        .with("action", cell(alert.action.as_str()))
        .json_only("acknowledged_at", time(alert.acknowledged_ms))
        .json_only("acknowledged_by", text_or_none(&alert.acknowledged_by))
        .json_only("account", text_or_none(&alert.account))
        .json_only("due", time(alert.due_ms))
}
