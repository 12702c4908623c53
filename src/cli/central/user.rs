//! `licraft central user`.

use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, put};
use super::super::password::{Password, PasswordFile};
use super::super::terminal::Yes;
use super::print::{done, list};
use super::{ask, unexpected};
use crate::central::admin::{AdminReply, AdminRequest};
use crate::license::MIN_PASSWORD_BYTES;
use crate::pki::passwords::Passwords;
use clap::Subcommand;
use std::path::Path;

/// People who sign in to central's pages: operators, and those who see one smart account.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central user create ann
  licraft central user create bob --smart-account Example
  licraft central user list")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Let somebody sign in. A password that is made here is printed once, and to be changed at the first sign-in.
    #[command(after_help = "Examples:
  licraft central user create ann
  licraft central user create bob --smart-account Example --password-file password.txt")]
    Create {
        /// The name to sign in with.
        name: String,
        /// They see only this smart account, and may upload request files for it. Without: an operator.
        #[arg(long, value_name = "NAME")]
        smart_account: Option<String>,
        #[command(flatten)]
        password: PasswordFile,
    },
    /// List them.
    #[command(after_help = "Examples:
  licraft central user list -o json")]
    List,
    /// Set somebody's password; they are signed out everywhere.
    #[command(after_help = "Examples:
  licraft central user passwd ann
  licraft central user passwd ann --password-file -")]
    Passwd {
        /// The name they sign in with.
        name: String,
        #[command(flatten)]
        password: PasswordFile,
    },
    /// Delete a user; they are signed out at once.
    #[command(after_help = "Examples:
  licraft central user delete ann --yes")]
    Delete {
        /// The name they sign in with.
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    match args.verb {
        Verb::List => list(format, ask(dir, AdminRequest::ListUsers).await?),
        Verb::Create { name, smart_account, password } => {
            let password = password.password(&name)?;
            let (password_hash, must_change) = (hash(&name, &password).await?, password.made);
            let request = AdminRequest::CreateUser { name: name.clone(), smart_account, password_hash, must_change };
            said(format, ask(dir, request).await?, &name, &password)
        }
        Verb::Passwd { name, password } => {
            let password = password.password(&name)?;
            let (password_hash, must_change) = (hash(&name, &password).await?, password.made);
            let request = AdminRequest::SetPassword { name: name.clone(), password_hash, must_change };
            said(format, ask(dir, request).await?, &name, &password)
        }
        Verb::Delete { name, yes } => {
            yes.confirm(&format!("Delete user {name}?"))?;
            done(format, ask(dir, AdminRequest::DeleteUser { name }).await?)
        }
    }
}

/// Here and not at central: the password itself goes nowhere.
async fn hash(name: &str, password: &Password) -> Result<String, CliError> {
    let hashed = Passwords::default().hash(name, password.text.clone(), MIN_PASSWORD_BYTES).await;
    hashed.map_err(|e| CliError::failed("the password is not taken").because(e.to_string()))
}

fn said(format: Format, reply: AdminReply, name: &str, password: &Password) -> Result<(), CliError> {
    let AdminReply::Done(sentence) = reply else { return Err(unexpected()) };
    match format {
        Format::Table => put(&format!("{sentence}\n{}", password.line())),
        _ => print_one(format, &Row::new().with("name", cell(name)).with("password", password.cell())),
    }
    Ok(())
}
