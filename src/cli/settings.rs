//! `licraft settings`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, print_list};
use crate::proto::admin::settings_client::SettingsClient;
use crate::proto::admin::{GetSettingsRequest, SetSettingRequest, Setting};
use clap::Subcommand;
use std::process::ExitCode;

/// Replicated settings of the whole cluster.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft settings get
  licraft settings set central-url https://central.example.com:8444")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show one setting or all.
    #[command(after_help = "Examples:\n  licraft settings get\n  licraft settings get central-url -o plain | cut -f2")]
    Get {
        /// Name of the setting.
        key: Option<String>,
    },
    /// Change a setting.
    #[command(after_help = "Examples:
  licraft settings set host-common-name licenses.example.com
  licraft settings set vendor-root @vendor-root.pem
  licraft settings set proxy-login @login        # a file with NAME:PASSWORD")]
    Set {
        /// Name of the setting.
        key: String,
        /// New value; '' empties it, @FILE takes it from a file.
        value: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    match args.verb {
        Verb::Get { key } => {
            let asked = GetSettingsRequest { key: key.unwrap_or_default() };
            let reply = client.call(asked, |c, r| async move { SettingsClient::new(c).get(r).await }).await?;
            print_list(context.format, "settings", &reply.settings.iter().map(row).collect::<Vec<_>>());
        }
        Verb::Set { key, value } => {
            let done = match key.as_str() {
                "proxy-login" => format!("{key} is {} now.", if value.is_empty() { "empty" } else { "set" }),
                _ => format!("{key} is `{value}` now."),
            };
            let value = match value.strip_prefix('@') {
                None => value,
                Some(file) => std::fs::read_to_string(file)
                    .map_err(|e| CliError::failed(format!("{file} cannot be read")).because(e.to_string()))?,
            };
            let asked = SetSettingRequest { key, value };
            client.call(asked, |c, r| async move { SettingsClient::new(c).set(r).await }).await?;
            context.done(&done, 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(setting: &Setting) -> Row {
    Row::new()
        .with("setting", cell(setting.key.as_str()))
        .with("value", cell(setting.value.as_str()))
        .with("description", cell(setting.description.as_str()))
}
