//! `licraft token`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, enum_word, print_list, print_one, put, text_or_none, time};
use super::place::Place;
use super::terminal::Yes;
use crate::proto::admin::tokens_client::TokensClient;
use crate::proto::admin::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, Token};
use clap::Subcommand;
use std::process::ExitCode;

/// Registration tokens, with which products register.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft token create --account TEST --description 'branch routers' --max-uses 20
  licraft token list
  licraft token revoke 42")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a token and print it.
    #[command(after_help = "Examples:
  licraft token create --account TEST --virtual-account Lab --expires-days 7
  TOKEN=$(licraft token create --account TEST -o plain | cut -f2)")]
    Create(CreateArgs),
    /// List tokens.
    #[command(after_help = "Examples:\n  licraft token list --account TEST --reveal -o json")]
    List(ListArgs),
    /// End a token; products already registered with it are not affected.
    #[command(after_help = "Examples:\n  licraft token revoke 42 --yes")]
    Revoke(RevokeArgs),
}

#[derive(clap::Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    /// Days for which products can register with it.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=365))]
    expires_days: u64,
    /// How many products can register with it; unlimited by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_uses: Option<u64>,
    /// Allow export-controlled functionality on products registered with it.
    #[arg(long)]
    export_controlled: bool,
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Show the tokens themselves too.
    #[arg(long)]
    reveal: bool,
}

#[derive(clap::Args, Debug)]
struct RevokeArgs {
    /// ID of the token.
    id: u64,
    #[command(flatten)]
    yes: Yes,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::Create(args) => create(args, context).await,
        Verb::List(args) => list(args, context).await,
        Verb::Revoke(args) => {
            args.yes.confirm(&format!("Revoke token {}?", args.id))?;
            let client = context.client().await?;
            let asked = RevokeTokenRequest { id: args.id };
            client.call(asked, |c, r| async move { TokensClient::new(c).revoke(r).await }).await?;
            context.done(&format!("Token {} is revoked.", args.id), 0);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn create(args: CreateArgs, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let asked = CreateTokenRequest {
        virtual_account: Some(args.place.into()),
        description: args.description,
        expires_days: args.expires_days,
        max_uses: args.max_uses.unwrap_or(0),
        export_controlled: args.export_controlled,
    };
    let made = client.call(asked, |c, r| async move { TokensClient::new(c).create(r).await }).await?;
    let row = Row::new()
        .with("id", cell(made.id))
        .with("token", cell(made.token.as_str()))
        .with("expires", time(made.expires_ms));
    match context.format {
        // Alone on its line, ready to be copied.
        Format::Table => put(&format!("{}\n", made.token)),
        format => print_one(format, &row),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let asked = ListTokensRequest { virtual_account: Some(args.place.into()), reveal: args.reveal };
    let reply = client.call(asked, |c, r| async move { TokensClient::new(c).list(r).await }).await?;
    let rows: Vec<Row> = reply.tokens.iter().map(|token| row(token, args.reveal)).collect();
    print_list(context.format, "tokens", &rows);
    Ok(ExitCode::SUCCESS)
}

fn row(token: &Token, reveal: bool) -> Row {
    let row = Row::new()
        .with("id", cell(token.id))
        .with("account", cell(token.account.as_str()))
        .with("virtual_account", cell(token.virtual_account.as_str()))
        .with("status", enum_word(token.status().as_str_name(), "TOKEN_STATUS_"))
        .with("expires", time(token.expires_ms))
        .with("uses", cell(token.uses))
        .with("max_uses", if token.max_uses == 0 { cell("unlimited") } else { cell(token.max_uses) })
        .with("export_controlled", cell(token.export_controlled))
        .with("description", text_or_none(&token.description))
        .json_only("created", time(token.created_ms))
        .json_only("created_by", cell(token.created_by.as_str()));
    if reveal { row.with("token", cell(token.token.as_str())) } else { row }
}
