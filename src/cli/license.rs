//! `licraft license`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, print_list, time};
use super::place::Place;
use crate::license::Millis;
use crate::proto::admin::licenses_client::LicensesClient;
use crate::proto::admin::{
    LabelLicenseRequest, ListLicensesRequest, Loan, Pool, ShowLicenseRequest, TransferLicenseRequest, UsageDay,
    UsageRequest, VirtualAccountRef,
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Licenses: purchased, in use, balance.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft license list
  licraft license show 'UC Manager Enhanced'
  licraft license usage 'UC Manager Enhanced' --days 90
  licraft license transfer 'UC Manager Enhanced' --from Default --to Lab --quantity 5")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List licenses by virtual account.
    #[command(
        after_help = "Examples:\n  licraft license list --account TEST -o json\n  licraft license list --label voice"
    )]
    List(ListArgs),
    /// Show one license in every virtual account.
    #[command(after_help = "Examples:\n  licraft license show 'UC Manager Enhanced' --account TEST")]
    Show(ShowArgs),
    /// Show what was purchased and used, day by day (UTC).
    #[command(after_help = "Examples:
  licraft license usage
  licraft license usage 'UC Manager Enhanced' --virtual-account Lab --days 365 -o json")]
    Usage(UsageArgs),
    /// Move purchased quantity from one virtual account to another.
    #[command(after_help = "Examples:
  licraft license transfer 'UC Manager Enhanced' --from Default --to Lab --quantity 5")]
    Transfer(TransferArgs),
    /// Put labels on a license, to find it again, or take them off.
    #[command(after_help = "Examples:
  licraft license tag 'UC Manager Enhanced' --add voice --add 'cost center 7'
  licraft license tag 'UC Manager Enhanced' --remove voice")]
    Tag(TagArgs),
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Only licenses with this label.
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
}

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["add", "remove"]))]
struct TagArgs {
    /// Name, entitlement tag or #ID.
    license: String,
    /// Name or #ID of the account; needed only where there are several.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// A label to put on; repeat it for several.
    #[arg(long, value_name = "LABEL")]
    add: Vec<String>,
    /// A label to take off; repeat it for several.
    #[arg(long, value_name = "LABEL")]
    remove: Vec<String>,
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
struct UsageArgs {
    /// Name, entitlement tag or #ID; all licenses if left out.
    license: Option<String>,
    #[command(flatten)]
    place: Place,
    /// So many days up to today.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=400))]
    days: u32,
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
        Verb::List(args) => {
            let asked = ListLicensesRequest { virtual_account: Some(args.place.into()), label: args.label };
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
        Verb::Usage(args) => return usage(args, context).await,
        Verb::Transfer(args) => return transfer(args, context).await,
        Verb::Tag(args) => return tag(args, context).await,
    };
    print_list(context.format, "licenses", &pools.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn usage(args: UsageArgs, context: &Context) -> Result<ExitCode, CliError> {
    let VirtualAccountRef { account, virtual_account } = args.place.into();
    let virtual_accounts = if virtual_account.is_empty() { Vec::new() } else { vec![virtual_account] };
    let asked = UsageRequest { account, virtual_accounts, license: args.license.unwrap_or_default(), days: args.days };
    let client = context.client().await?;
    let reply = client.call(asked, |c, r| async move { LicensesClient::new(c).usage(r).await }).await?;
    print_list(
        context.format,
        "days on which anything was purchased or used",
        &reply.days.iter().map(day).collect::<Vec<_>>(),
    );
    Ok(ExitCode::SUCCESS)
}

fn day(day: &UsageDay) -> Row {
    let status = if day.out_of_compliance > 0 { "Out Of Compliance" } else { "In Compliance" };
    Row::new()
        .with("date", cell(crate::admin::date(Millis(day.day_ms))))
        .with("purchased", cell(day.purchased))
        .with("in_use", cell(day.in_use))
        .with("peak_in_use", cell(day.peak_in_use))
        .with("substitution", cell(day.substitution))
        .with("lowest_balance", cell(day.lowest_balance))
        .with("status", cell(status))
        .json_only("out_of_compliance", cell(day.out_of_compliance))
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

async fn tag(args: TagArgs, context: &Context) -> Result<ExitCode, CliError> {
    let TagArgs { license, account, add, remove } = args;
    let done = format!("The labels of {license} are changed.");
    let asked = LabelLicenseRequest { account: account.unwrap_or_default(), license, add, remove };
    let client = context.client().await?;
    client.call(asked, |c, r| async move { LicensesClient::new(c).label(r).await }).await?;
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
        .with("labels", super::output::text_or_none(&pool.labels.join(", ")))
        .json_only("id", cell(pool.license_id))
        .json_only("tag", cell(pool.tag.as_str()))
        .json_only("export_controlled", cell(pool.export_controlled))
        .json_only("out_of_compliance_since", time(pool.out_of_compliance_since_ms))
        .json_only("terms", Value::Array(terms))
}
