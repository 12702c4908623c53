//! `licraft cert`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put, time};
use super::terminal::Yes;
use crate::proto::admin::certificates_client::CertificatesClient;
use crate::proto::admin::settings_client::SettingsClient;
use crate::proto::admin::{SetSettingRequest, ShowCertificateReply, ShowCertificateRequest};
use clap::Subcommand;
use std::process::ExitCode;

/// The certificate that products see, and the name in it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft cert show
  licraft cert set-common-name licenses.example.com")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the certificate in force and the one that is on the way.
    #[command(after_help = "Examples:\n  licraft cert show\n  licraft cert show -o json | jq -r .common_name")]
    Show,
    /// Set the name by which products reach this server; it is in the certificate after the next synchronization.
    #[command(after_help = "Examples:
  licraft cert set-common-name licenses.example.com
  licraft cert set-common-name 10.0.0.12 --yes")]
    SetCommonName {
        /// Host name or address, as in the products' URL.
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::Show => show(context).await,
        Verb::SetCommonName { name, yes } => set_common_name(name, &yes, context).await,
    }
}

async fn ask(context: &Context, common_name: &str) -> Result<ShowCertificateReply, CliError> {
    let client = context.client().await?;
    let asked = ShowCertificateRequest { common_name: common_name.to_owned() };
    client.call(asked, |c, r| async move { CertificatesClient::new(c).show(r).await }).await
}

async fn show(context: &Context) -> Result<ExitCode, CliError> {
    let reply = ask(context, "").await?;
    let wanted = reply.wanted.clone().unwrap_or_default();
    let row = Row::new()
        .with("common_name", cell(reply.common_name.as_str()))
        .with("names", cell(reply.hosts.join(", ")))
        .with("signed_by", cell(reply.issuer.as_str()))
        .with("expires", time(reply.not_after_ms))
        .with("pending_common_name", super::output::text_or_none(&wanted.common_name))
        .with("pending_names", super::output::text_or_none(&wanted.hosts.join(", ")))
        .with("pending_since", time(wanted.since_ms));
    print_one(context.format, &row);
    if context.format == Format::Table && reply.wanted.is_some() {
        put(pending(&reply));
    }
    Ok(ExitCode::SUCCESS)
}

fn pending(reply: &ShowCertificateReply) -> &'static str {
    match reply.issuer.as_str() {
        "central" => "Central signs the pending one in its next response: `licraft sync now`.\n",
        _ => {
            "Central signs one in its first response to a synchronization: `licraft sync now`. Until then the cluster CA's is served.\n"
        }
    }
}

async fn set_common_name(name: String, yes: &Yes, context: &Context) -> Result<ExitCode, CliError> {
    let reply = ask(context, &name).await?;
    if reply.set_common_name == name {
        context.done(&format!("The common name is {name} already."), 0);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(warning) = warning(&reply, &name) {
        eprintln!("WARNING: {warning}");
        yes.confirm("Go on?")?;
    }
    let client = context.client().await?;
    let asked = SetSettingRequest { key: "host-common-name".into(), value: name.clone() };
    client.call(asked, |c, r| async move { SettingsClient::new(c).set(r).await }).await?;
    let when = match reply.issuer.as_str() {
        "central" => "It is in the certificate after the next synchronization of any account: `licraft sync now`.",
        _ => "It is in the certificate of the cluster CA now, and in central's after the first synchronization.",
    };
    context.done(&format!("The common name is {name}. {when}"), 0);
    Ok(ExitCode::SUCCESS)
}

/// What breaks, and for whom; none: nothing.
fn warning(reply: &ShowCertificateReply, name: &str) -> Option<String> {
    if reply.lost.is_empty() || reply.instances == 0 {
        return None;
    }
    let more = reply.instances - reply.first_instances.len() as u64;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "With {name} the certificate has {} no more. Products whose URL has that cannot connect from then on, until their \
         URL is changed; registered are {}{more}.",
        reply.lost.join(", "),
        reply.first_instances.join(", ")
    ))
}
