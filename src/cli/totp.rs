//! `licraft user totp`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put};
use super::terminal::{Yes, ask, is_interactive};
use crate::proto::admin::users_client::UsersClient;
use crate::proto::admin::{ConfirmTotpRequest, UserRef};
use clap::Subcommand;

/// A second factor: a code of an authenticator beside the password (RFC 6238).
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft user totp enrol ann
  licraft user totp reset ann")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a secret for the user's authenticator; codes are asked for once one was confirmed.
    #[command(after_help = "Examples:\n  licraft user totp enrol ann")]
    Enrol(Named),
    /// Confirm with a code that the authenticator has the secret; ends the user's sessions.
    #[command(after_help = "Examples:\n  licraft user totp confirm ann 123456")]
    Confirm(Confirm),
    /// Take the second factor away, for somebody who has lost it; ends the user's sessions.
    #[command(after_help = "Examples:\n  licraft user totp reset ann --yes")]
    Reset(Reset),
}

#[derive(clap::Args, Debug)]
struct Named {
    name: String,
}

#[derive(clap::Args, Debug)]
struct Confirm {
    name: String,
    /// What the authenticator shows now.
    code: String,
}

#[derive(clap::Args, Debug)]
struct Reset {
    name: String,
    #[command(flatten)]
    yes: Yes,
}

pub async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    match args.verb {
        Verb::Enrol(args) => enrol(args.name, context).await,
        Verb::Confirm(args) => confirm(args.name, args.code, context).await,
        Verb::Reset(args) => {
            args.yes.confirm(&format!("Take the second factor of user {} away?", args.name))?;
            let client = context.client().await?;
            let asked = UserRef { name: args.name.clone() };
            client.call(asked, |c, r| async move { UsersClient::new(c).reset_totp(r).await }).await?;
            context.done(&format!("User {} signs in with the password alone.", args.name), 0);
            Ok(())
        }
    }
}

async fn enrol(name: String, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let asked = UserRef { name: name.clone() };
    let made = client.call(asked, |c, r| async move { UsersClient::new(c).enrol_totp(r).await }).await?;
    if context.format != Format::Table {
        let row = Row::new().with("user", cell(name)).with("secret", cell(made.secret)).with("uri", cell(made.uri));
        print_one(context.format, &row);
        return Ok(());
    }
    put(&format!("Secret: {} (shown once)\nURI:    {}\n", made.secret, made.uri));
    if !is_interactive() {
        put(&format!("Next: `licraft user totp confirm {name} CODE` with a code of the authenticator.\n"));
        return Ok(());
    }
    let code = ask("Code of the authenticator: ")?;
    confirm(name, code, context).await
}

async fn confirm(name: String, code: String, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let asked = ConfirmTotpRequest { name: name.clone(), code };
    client.call(asked, |c, r| async move { UsersClient::new(c).confirm_totp(r).await }).await?;
    context.done(&format!("User {name} is asked for a code from now on; open sessions have ended."), 0);
    Ok(())
}
