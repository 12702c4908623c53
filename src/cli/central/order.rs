//! `licraft central entitle` and `licraft central order`.

use super::super::error::CliError;
use super::super::output::Format;
use super::ask;
use super::print::{done, list};
use crate::central::admin::{AdminRequest, Entitle};
use crate::central::document::BillingKind;
use crate::license::Millis;
use clap::{Subcommand, ValueEnum};
use std::path::Path;

/// Set what a virtual account purchased of a license.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_BASE --name \"Base License\" --quantity 100 --term-end 2028-12-31
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_LAB --name \"Lab License\" --quantity 0
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_BASE --name \"Base License\" --quantity 100 --covered-by LIC_PREMIUM

A quantity replaces that of the term with the same billing and end; 0 leaves the catalog entry only.")]
pub struct EntitleArgs {
    #[arg(long, value_name = "NAME")]
    smart_account: String,
    #[arg(long, value_name = "NAME")]
    virtual_account: String,
    /// Entitlement tag that products ask for.
    #[arg(long, value_name = "TAG")]
    license: String,
    /// What people read.
    #[arg(long)]
    name: String,
    #[arg(long, value_name = "N")]
    quantity: u64,
    /// First day it counts (YYYY-MM-DD, UTC). Without: now.
    #[arg(long, value_name = "DATE", value_parser = first_moment)]
    term_start: Option<Millis>,
    /// Last day it counts (YYYY-MM-DD, UTC). Without: it is perpetual.
    #[arg(long, value_name = "DATE", value_parser = last_moment)]
    term_end: Option<Millis>,
    #[arg(long, value_enum, default_value_t = BillingArg::Prepaid)]
    billing: BillingArg,
    /// Spare ones of this license cover what lacks of it; may be repeated, the preferred first. Without: as it is.
    #[arg(long, value_name = "TAG")]
    covered_by: Vec<String>,
    /// Nothing covers it any more.
    #[arg(long, conflicts_with = "covered_by")]
    no_cover: bool,
    /// The license may only go to tokens that allow export-controlled functionality.
    #[arg(long)]
    export_controlled: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BillingArg {
    Prepaid,
    Usage,
}

/// What was purchased, changed and taken back.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central order list --smart-account Example")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List each change of an entitlement, the newest first: when, who, and what it was before and after.
    #[command(after_help = "Examples:
  licraft central order list
  licraft central order list --smart-account Example --virtual-account Default --license LIC_BASE -o json")]
    List {
        #[arg(long, value_name = "NAME")]
        smart_account: Option<String>,
        #[arg(long, value_name = "NAME")]
        virtual_account: Option<String>,
        /// Entitlement tag.
        #[arg(long, value_name = "TAG")]
        license: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    let Verb::List { smart_account, virtual_account, license: tag, limit } = args.verb;
    list(format, ask(dir, AdminRequest::Orders { smart_account, virtual_account, tag, limit }).await?)
}

pub async fn entitle(dir: &Path, args: EntitleArgs, format: Format) -> Result<(), CliError> {
    done(format, ask(dir, AdminRequest::Entitle(args.into())).await?)
}

impl From<EntitleArgs> for Entitle {
    fn from(args: EntitleArgs) -> Self {
        Self {
            smart_account: args.smart_account,
            virtual_account: args.virtual_account,
            tag: args.license,
            name: args.name,
            quantity: args.quantity,
            term_start: args.term_start,
            term_end: args.term_end,
            billing: match args.billing {
                BillingArg::Prepaid => BillingKind::Prepaid,
                BillingArg::Usage => BillingKind::Usage,
            },
            export_controlled: args.export_controlled,
            covered_by: match args.no_cover {
                true => Some(Vec::new()),
                false => Some(args.covered_by).filter(|tags| !tags.is_empty()),
            },
        }
    }
}

fn first_moment(date: &str) -> Result<Millis, String> {
    day(date, 0)
}

/// The end of the day is the beginning of the next one.
fn last_moment(date: &str) -> Result<Millis, String> {
    day(date, 1)
}

fn day(date: &str, plus_days: i64) -> Result<Millis, String> {
    let date: jiff::civil::Date = date.parse().map_err(|_| "expected a date like 2028-12-31".to_owned())?;
    let moment = date
        .checked_add(jiff::Span::new().days(plus_days))
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|e| e.to_string())?;
    let ms = moment.timestamp().as_millisecond();
    u64::try_from(ms).map(Millis).map_err(|_| "expected a date after 1970".to_owned())
}
