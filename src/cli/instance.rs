//! `licraft instance`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_list, print_one, put, text_or_none, time};
use super::place::Place;
use super::terminal::{Spinner, Yes};
use crate::proto::admin::instances_client::InstancesClient;
use crate::proto::admin::{
    Device, Instance, InstanceDetail, InstanceRef, LicenseCount, ListInstancesRequest, TransferInstanceRequest,
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Product instances: the registered devices and programs.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft instance list
  licraft instance show router-7
  licraft instance remove 1042")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List product instances.
    #[command(after_help = "Examples:\n  licraft instance list --account TEST --limit 50")]
    List(ListArgs),
    /// Show one product instance with its licenses.
    #[command(after_help = "Examples:\n  licraft instance show router-7\n  licraft instance show PI-SOFTWARE:AB12")]
    Show(Named),
    /// Move a product instance, with what it uses, to another virtual account.
    #[command(after_help = "Examples:\n  licraft instance transfer router-7 --to Lab")]
    Transfer(TransferArgs),
    /// Remove a product instance; its licenses are free at once.
    #[command(after_help = "Examples:\n  licraft instance remove 1042 --yes")]
    Remove(RemoveArgs),
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

#[derive(clap::Args, Debug)]
struct Named {
    /// ID, host name, PID:SN, or the name that `list` shows.
    instance: String,
    /// Name or #ID of the account; needed only where names are not unique.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

#[derive(clap::Args, Debug)]
struct TransferArgs {
    #[command(flatten)]
    named: Named,
    /// The virtual account that takes it.
    #[arg(long, value_name = "VIRTUAL_ACCOUNT")]
    to: String,
}

#[derive(clap::Args, Debug)]
struct RemoveArgs {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    yes: Yes,
}

impl From<Named> for InstanceRef {
    fn from(named: Named) -> Self {
        Self { account: named.account.unwrap_or_default(), instance: named.instance }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::List(args) => list(args, context).await,
        Verb::Show(named) => {
            let client = context.client().await?;
            let detail = client
                .call(InstanceRef::from(named), |c, r| async move { InstancesClient::new(c).show(r).await })
                .await?;
            show(&detail, context.format);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Transfer(args) => {
            let done = format!("{} is in virtual account {} now.", args.named.instance, args.to);
            let asked = TransferInstanceRequest { instance: Some(args.named.into()), to_virtual_account: args.to };
            let client = context.client().await?;
            client.call(asked, |c, r| async move { InstancesClient::new(c).transfer(r).await }).await?;
            context.done(&done, 0);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Remove(args) => {
            args.yes.confirm(&format!("Remove product instance {}?", args.named.instance))?;
            let done = format!("{} is removed; its licenses are free.", args.named.instance);
            let client = context.client().await?;
            client
                .call(InstanceRef::from(args.named), |c, r| async move { InstancesClient::new(c).remove(r).await })
                .await?;
            context.done(&done, 0);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(args: ListArgs, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let asked = ListInstancesRequest { virtual_account: Some(args.place.into()), limit: args.limit.unwrap_or(0) };
    let mut replies = client.call(asked, |c, r| async move { InstancesClient::new(c).list(r).await }).await?;
    let spinner = Spinner::new("listing");
    let mut rows = Vec::new();
    while let Some(instance) = replies.message().await? {
        rows.push(row(&instance));
    }
    drop(spinner);
    print_list(context.format, "product instances", &rows);
    Ok(ExitCode::SUCCESS)
}

fn show(detail: &InstanceDetail, format: Format) {
    let instance = detail.instance.clone().unwrap_or_default();
    let one = row(&instance)
        .json_only("next_contact", time(detail.next_contact_ms))
        .json_only("authorized_until", time(instance.authorized_until_ms))
        .json_only("enforce_from", time(detail.enforce_from_ms))
        .json_only("certificate_expires", time(detail.certificate_expires_ms));
    if format != Format::Table {
        let licenses = detail.licenses.iter().map(
            |l| json!({ "tag": l.tag, "license": l.name, "count": l.count, "status": compliance(l.in_compliance) }),
        );
        let devices =
            detail.devices.iter().map(|d| json!({ "pid": d.pid, "sn": d.sn, "host_name": text_or_none(&d.host_name) }));
        let devices = Value::Array(devices.collect());
        print_one(format, &one.json_only("licenses", Value::Array(licenses.collect())).json_only("devices", devices));
        return;
    }
    print_one(format, &one);
    put("\n");
    let rows: Vec<Row> = detail.licenses.iter().map(license_row).collect();
    print_list(format, "licenses in use", &rows);
    if !detail.devices.is_empty() {
        put("\n");
        print_list(format, "further devices", &detail.devices.iter().map(device_row).collect::<Vec<_>>());
    }
}

fn device_row(device: &Device) -> Row {
    Row::new()
        .with("device", cell(format!("{}:{}", device.pid, device.sn)))
        .with("host_name", text_or_none(&device.host_name))
}

fn license_row(license: &LicenseCount) -> Row {
    Row::new()
        .with("license", cell(license.name.as_str()))
        .with("count", cell(license.count))
        .with("status", cell(compliance(license.in_compliance)))
}

fn compliance(covered: bool) -> &'static str {
    if covered { "In Compliance" } else { "Out Of Compliance" }
}

fn row(instance: &Instance) -> Row {
    Row::new()
        .with("id", cell(instance.id))
        .with("name", cell(instance.name.as_str()))
        .with("product_type", cell(instance.product_type.as_str()))
        .with("account", cell(instance.account.as_str()))
        .with("virtual_account", cell(instance.virtual_account.as_str()))
        .with("last_contact", time(instance.last_contact_ms))
        .with("status", cell(compliance(instance.in_compliance)))
        .json_only("pid", cell(instance.pid.as_str()))
        .json_only("sn", cell(instance.sn.as_str()))
        .json_only("software_version", cell(instance.software_version.as_str()))
        .json_only("registered", time(instance.registered_ms))
        .json_only("export_controlled", cell(instance.export_controlled))
        .json_only("alerts", json!(instance.alerts))
}
