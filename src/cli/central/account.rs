//! `licraft central account`.

use super::super::error::CliError;
use super::super::output::Format;
use super::super::terminal::Yes;
use super::ask;
use super::print::{done, list};
use crate::central::admin::AdminRequest;
use clap::Subcommand;
use std::path::Path;

/// Keep smart accounts and their virtual accounts.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central account create Example --virtual-account Default
  licraft central account list")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a smart account, or further virtual accounts in it.
    #[command(after_help = "Examples:
  licraft central account create Example --virtual-account Default --virtual-account Lab")]
    Create {
        /// Name of the smart account.
        smart_account: String,
        /// A virtual account to make in it; may be repeated.
        #[arg(long = "virtual-account", value_name = "NAME")]
        virtual_accounts: Vec<String>,
    },
    /// List smart accounts, virtual accounts and what they purchased.
    #[command(after_help = "Examples:
  licraft central account list -o json")]
    List,
    /// Give a smart account or a virtual account another name, while no on-prem account draws on it.
    #[command(after_help = "Examples:
  licraft central account rename Example Sample
  licraft central account rename Example --virtual-account Lab Laboratory")]
    Rename {
        /// Name of the smart account.
        smart_account: String,
        /// The virtual account in it that is renamed; without, the smart account itself.
        #[arg(long, value_name = "NAME")]
        virtual_account: Option<String>,
        /// The new name.
        name: String,
    },
    /// Delete an empty smart account or virtual account: nothing draws on it, and nothing is purchased.
    #[command(after_help = "Examples:
  licraft central account delete Example --virtual-account Lab --yes
  licraft central account delete Example --yes")]
    Delete {
        /// Name of the smart account.
        smart_account: String,
        /// The virtual account in it that is deleted; without, the smart account itself.
        #[arg(long, value_name = "NAME")]
        virtual_account: Option<String>,
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    let request = match args.verb {
        Verb::Create { smart_account, virtual_accounts } => {
            AdminRequest::CreateAccount { smart_account, virtual_accounts }
        }
        Verb::List => return list(format, ask(dir, AdminRequest::ListAccounts).await?),
        Verb::Rename { smart_account, virtual_account: None, name } => {
            AdminRequest::RenameAccount { smart_account, name }
        }
        Verb::Rename { smart_account, virtual_account: Some(virtual_account), name } => {
            AdminRequest::RenameVirtualAccount { smart_account, virtual_account, name }
        }
        Verb::Delete { smart_account, virtual_account: None, yes } => {
            yes.confirm(&format!("Delete smart account {smart_account}?"))?;
            AdminRequest::DeleteAccount { smart_account }
        }
        Verb::Delete { smart_account, virtual_account: Some(virtual_account), yes } => {
            yes.confirm(&format!("Delete virtual account {smart_account}/{virtual_account}?"))?;
            AdminRequest::DeleteVirtualAccount { smart_account, virtual_account }
        }
    };
    done(format, ask(dir, request).await?)
}
