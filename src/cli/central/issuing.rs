//! `licraft central issuing-ca`.

use super::super::error::CliError;
use super::super::output::{Format, Row, cell, print_one, time};
use super::super::terminal::Yes;
use super::print::done;
use super::{ask, unexpected};
use crate::central::admin::{AdminReply, AdminRequest, IssuingRow};
use crate::central::{Keys, system_clock};
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// The issuing CA, which stands between the vendor root and everything that central signs.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central issuing-ca show
  licraft central issuing-ca rollover --root-key /media/safe/root-key.pem")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the one in force.
    #[command(after_help = "Examples:
  licraft central issuing-ca show")]
    Show,
    /// Let a new one sign from now on. What the old one signed stays good: servers and products know the vendor root.
    #[command(after_help = "Examples:
  licraft central issuing-ca rollover --root-key /media/safe/root-key.pem")]
    Rollover {
        /// File with the vendor root's private key. It is read by this command alone.
        #[arg(long, value_name = "FILE")]
        root_key: PathBuf,
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    let AdminReply::Issuing(now) = ask(dir, AdminRequest::ShowIssuing).await? else { return Err(unexpected()) };
    match args.verb {
        Verb::Show => {
            print_one(format, &row(now));
            Ok(())
        }
        Verb::Rollover { root_key, yes } => {
            let unusable = |e: crate::pki::PkiError| {
                CliError::failed(format!("{} is not taken", root_key.display()))
                    .because(e.to_string())
                    .hint(format!("name the file that `licraft central init` made with {}", now.root_fingerprint))
            };
            let root = Keys::root_authority(dir, &root_key).map_err(unusable)?;
            let number = now.number + 1;
            yes.confirm(&format!("Let issuing CA {number} sign in place of number {}?", now.number))?;
            let made = Keys::issue(dir, &root, number, &now.vendor, system_clock()());
            made.map_err(|e| CliError::failed("the new issuing CA was not made").because(e.to_string()))?;
            done(format, ask(dir, AdminRequest::UseIssuing { number }).await?)
        }
    }
}

fn row(issuing: IssuingRow) -> Row {
    Row::new()
        .with("number", cell(issuing.number))
        .with("fingerprint", cell(issuing.fingerprint))
        .with("ends", time(issuing.not_after.0))
        .with("vendor_root", cell(issuing.root_fingerprint))
}
