//! `licraft license`.

use super::Context;
use super::error::CliError;
use super::later::Later;
use super::output::{Row, cell, print_list, time};
use super::place::Place;
use crate::proto::admin::licenses_client::LicensesClient;
use crate::proto::admin::{ListLicensesRequest, Loan, Pool, ShowLicenseRequest, TransferLicenseRequest};
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Licenses: purchased, in use, balance.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft license list
  licraft license show 'UC Manager Enhanced'
  licraft license transfer 'UC Manager Enhanced' --from Default --to Lab --quantity 5")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List licenses by virtual account.
    #[command(after_help = "Examples:\n  licraft license list --account TEST -o json")]
    List(Place),
    /// Show one license in every virtual account.
    #[command(after_help = "Examples:\n  licraft license show 'UC Manager Enhanced' --account TEST")]
    Show(ShowArgs),
    /// Move purchased quantity from one virtual account to another.
    #[command(after_help = "Examples:
  licraft license transfer 'UC Manager Enhanced' --from Default --to Lab --quantity 5")]
    Transfer(TransferArgs),
    #[command(hide = true)]
    Tag(Later),
}

#[derive(clap::Args, Debug)]
struct ShowArgs {
    /// Name, entitlement tag or #ID.
    license: String,
    /// Name or #ID of the account; needed only where there are several.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

#[derive(clap::Args, Debug)]
struct TransferArgs {
    /// Name, entitlement tag or #ID.
    license: String,
    /// Name or #ID of the account; needed only where there are several.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The virtual account that gives.
    #[arg(long, value_name = "VIRTUAL_ACCOUNT")]
    from: String,
    /// The virtual account that takes.
    #[arg(long, value_name = "VIRTUAL_ACCOUNT")]
    to: String,
    /// How many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    quantity: u64,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let pools = match args.verb {
        Verb::List(place) => {
            let asked = ListLicensesRequest { virtual_account: Some(place.into()) };
            let client = context.client().await?;
            client.call(asked, |c, r| async move { LicensesClient::new(c).list(r).await }).await?.pools
        }
        Verb::Show(args) => {
            let asked = ShowLicenseRequest { account: args.account.unwrap_or_default(), license: args.license };
            let client = context.client().await?;
            let reply = client.call(asked, |c, r| async move { LicensesClient::new(c).show(r).await }).await?;
            let rows: Vec<Row> =
                reply.pools.iter().map(|pool| row(pool).json_only("loans", loans(pool, &reply.loans))).collect();
            print_list(context.format, "licenses", &rows);
            for loan in &reply.loans {
                context.say(&sentence(loan));
            }
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Transfer(args) => return transfer(args, context).await,
        Verb::Tag(later) => return Err(later.refuse("license tag", "`licraft license list`")),
    };
    print_list(context.format, "licenses", &pools.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn transfer(args: TransferArgs, context: &Context) -> Result<ExitCode, CliError> {
    let TransferArgs { license, account, from, to, quantity } = args;
    let done = format!("{quantity} of {license} moved from {from} to {to}.");
    let asked = TransferLicenseRequest { account: account.unwrap_or_default(), license, from, to, quantity };
    let client = context.client().await?;
    client.call(asked, |c, r| async move { LicensesClient::new(c).transfer(r).await }).await?;
    context.done(&done, 0);
    Ok(ExitCode::SUCCESS)
}

/// A loan with its calculation.
fn sentence(loan: &Loan) -> String {
    let Loan { virtual_account, from, to, count, lacked, spare, rules } = loan;
    let rule = match rules.as_slice() {
        [_, between @ .., _] if !between.is_empty() => {
            format!("as the vendor's rules allow by way of {}", between.join(" and "))
        }
        _ => "as the vendor's rule allows".to_owned(),
    };
    format!(
        "In {virtual_account} {count} of {from} cover {to}, {rule}: {to} lacked {lacked}, {from} had {spare} to spare."
    )
}

/// The loans in a pool's virtual account.
fn loans(pool: &Pool, loans: &[Loan]) -> Value {
    let here = loans.iter().filter(|loan| loan.virtual_account == pool.virtual_account);
    let member = |l: &Loan| {
        let Loan { from, to, count, lacked, spare, rules, .. } = l;
        json!({ "from": from, "to": to, "count": count, "lacked": lacked, "spare": spare, "rules": rules })
    };
    here.map(member).collect()
}

fn row(pool: &Pool) -> Row {
    let terms: Vec<Value> = pool
        .terms
        .iter()
        .map(|t| json!({ "quantity": t.quantity, "start": time(t.start_ms), "end": time(t.end_ms), "billing": t.billing }))
        .collect();
    let status = if pool.balance < 0 { "Insufficient Licenses" } else { "In Compliance" };
    Row::new()
        .with("license", cell(pool.license.as_str()))
        .with("account", cell(pool.account.as_str()))
        .with("virtual_account", cell(pool.virtual_account.as_str()))
        .with("billing", cell(pool.billing.as_str()))
        .with("purchased", cell(pool.purchased))
        .with("in_use", cell(pool.in_use))
        .with("substitution", cell(pool.substitution))
        .with("balance", cell(pool.balance))
        .with("status", cell(status))
        .json_only("id", cell(pool.license_id))
        .json_only("tag", cell(pool.tag.as_str()))
        .json_only("export_controlled", cell(pool.export_controlled))
        .json_only("out_of_compliance_since", time(pool.out_of_compliance_since_ms))
        .json_only("terms", Value::Array(terms))
}
