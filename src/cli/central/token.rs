//! `licraft central token`.

use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, put};
use super::super::terminal::Yes;
use super::print::{done, list};
use super::{ask, unexpected};
use crate::central::admin::{AdminReply, AdminRequest};
use crate::central::document::Digest;
use crate::pki::random;
use clap::Subcommand;
use std::path::Path;

/// Secrets for programs that call central's REST API.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central token create --description 'order system'
  licraft central token list")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a bearer token; it is printed once.
    #[command(after_help = "Examples:
  licraft central token create --description 'order system'
  licraft central token create --smart-account Example")]
    Create {
        /// It sees only this smart account, and may have request files answered for it. Without: all that operators may.
        #[arg(long, value_name = "NAME")]
        smart_account: Option<String>,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List them, without their secrets.
    #[command(after_help = "Examples:
  licraft central token list -o json")]
    List,
    /// Let a token open nothing any more.
    #[command(after_help = "Examples:
  licraft central token revoke 5f0c… --yes")]
    Revoke {
        /// ID of the token, see `token list`.
        id: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    match args.verb {
        Verb::List => list(format, ask(dir, AdminRequest::ListTokens).await?),
        Verb::Create { smart_account, description } => {
            let (id, secret) = (format!("{:032x}", random::u128()), random::token());
            let hash = Digest::of(secret.as_bytes());
            let request = AdminRequest::CreateToken { id: id.clone(), description, smart_account, hash };
            let AdminReply::Done(_) = ask(dir, request).await? else { return Err(unexpected()) };
            match format {
                Format::Table => put(&format!("Token ID:     {id}\nBearer token: {secret} (shown once)\n")),
                _ => print_one(format, &Row::new().with("id", cell(id)).with("token", cell(secret))),
            }
            Ok(())
        }
        Verb::Revoke { id, yes } => {
            yes.confirm(&format!("Revoke token {id}?"))?;
            done(format, ask(dir, AdminRequest::RevokeToken { id }).await?)
        }
    }
}
