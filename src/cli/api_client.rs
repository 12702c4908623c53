//! `licraft api-client`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_list, print_one, put, text_or_none, time};
use super::terminal::Yes;
use crate::proto::admin::api_clients_client::ApiClientsClient;
use crate::proto::admin::{AccountRef, ApiClientRef, CreateApiClientRequest};
use clap::Subcommand;
use std::process::ExitCode;

/// Programs that may call the REST API, each for one account or for the server.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft api-client create --account TEST --description monitoring
  licraft api-client list
  licraft api-client revoke 4f0c8a52e7d94c0d8a1b3a6f5d2e9b17")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List API clients.
    #[command(after_help = "Examples:\n  licraft api-client list --account TEST -o json")]
    List(Of),
    /// Make an API client; its secret is shown once.
    #[command(after_help = "Examples:
  licraft api-client create --account TEST --description monitoring
  licraft api-client create --server --role system-operator
  Then get an access token for an hour:
  curl --cacert ca.pem -d grant_type=client_credentials -d client_id=ID -d client_secret=SECRET \\
       https://10.0.0.12:8443/oauth/token")]
    Create(Create),
    /// End an API client; tokens it has got end at once.
    #[command(after_help = "Examples:\n  licraft api-client revoke ID --yes")]
    Revoke(Revoke),
}

#[derive(clap::Args, Debug)]
struct Of {
    /// Account; all, or for `create` the only one, if left out.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

#[derive(clap::Args, Debug)]
struct Create {
    #[command(flatten)]
    of: Of,
    /// For the whole server instead of an account.
    #[arg(long, conflicts_with = "account")]
    server: bool,
    /// What it may do: local-account-administrator or read-only for an account; a role of the server, read-only if left
    /// out, for that.
    #[arg(long, value_name = "ROLE", default_value = "", hide_default_value = true)]
    role: String,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
}

#[derive(clap::Args, Debug)]
struct Revoke {
    /// ID of the API client.
    id: String,
    #[command(flatten)]
    yes: Yes,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::List(of) => {
            let client = context.client().await?;
            let asked = AccountRef { account: of.account.unwrap_or_default() };
            let reply = client.call(asked, |c, r| async move { ApiClientsClient::new(c).list(r).await }).await?;
            let row = |client: &crate::proto::admin::ApiClient| {
                Row::new()
                    .with("id", cell(client.id.as_str()))
                    .with("account", text_or_none(&client.account))
                    .with("role", cell(client.role.as_str()))
                    .with("description", text_or_none(&client.description))
                    .with("created", time(client.created_ms))
                    .with("created_by", cell(client.created_by.as_str()))
            };
            print_list(context.format, "API clients", &reply.clients.iter().map(row).collect::<Vec<_>>());
        }
        Verb::Create(args) => {
            let client = context.client().await?;
            let account = args.of.account.clone().unwrap_or_default();
            let Create { server, role, description, .. } = args;
            let asked = CreateApiClientRequest { account, description, server, role };
            let made = client.direct(asked, |c, r| async move { ApiClientsClient::new(c).create(r).await }).await?;
            match context.format {
                Format::Table => {
                    put(&format!("Client ID:     {}\nClient secret: {} (shown once)\n", made.id, made.secret));
                }
                format => {
                    print_one(format, &Row::new().with("id", cell(made.id)).with("secret", cell(made.secret)));
                }
            }
        }
        Verb::Revoke(args) => {
            args.yes.confirm(&format!("Revoke API client {}?", args.id))?;
            let client = context.client().await?;
            let asked = ApiClientRef { id: args.id.clone() };
            client.call(asked, |c, r| async move { ApiClientsClient::new(c).revoke(r).await }).await?;
            context.done(&format!("API client {} is revoked.", args.id), 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}
