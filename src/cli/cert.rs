//! `licraft cert`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put, time};
use super::terminal::{Yes, ask_secret, is_interactive};
use crate::proto::admin::certificates_client::CertificatesClient;
use crate::proto::admin::settings_client::SettingsClient;
use crate::proto::admin::{
    BrowserCertificate, ImportBrowserRequest, ResetBrowserRequest, RotateSealingKeyRequest, SetSettingRequest,
    ShowCertificateReply, ShowCertificateRequest,
};
use clap::Subcommand;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// How PEM begins (RFC 7468).
const BEGIN: &[u8] = b"-----BEGIN";
/// A chain of four with its key is some 20 KiB.
const MAX_FILE: u64 = 64 * 1024;

/// The certificates that products and browsers see.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft cert show
  licraft cert set-common-name licenses.example.com
  licraft cert import-browser browser.p12")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show the certificates in force and the one that is on the way.
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
    /// Take a certificate for browsers, apart from the one that products see.
    ///
    /// It is checked first: its key, the chain and its order, the dates, and that it covers the host common name.
    #[command(after_help = "Examples:
  licraft cert import-browser browser.pem --key browser.key
  licraft cert import-browser browser.p12 --password-file password")]
    ImportBrowser(Import),
    /// Give up the certificate for browsers: they see the cluster CA's again.
    #[command(after_help = "Examples:\n  licraft cert reset-browser --yes")]
    ResetBrowser {
        #[command(flatten)]
        yes: Yes,
    },
    /// Make a new key for the secrets that the nodes keep, and seal everything under it.
    ///
    /// Every data node must be up to get it. Backups made before keep their own key. Access tokens of the REST API end.
    #[command(after_help = "Examples:\n  licraft cert rotate-sealing-key --yes")]
    RotateSealingKey {
        #[command(flatten)]
        yes: Yes,
    },
}

#[derive(clap::Args, Debug)]
struct Import {
    /// PEM with the server's certificate and then each one's issuer, or PKCS#12.
    file: PathBuf,
    /// PEM with the private key, where FILE has none.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with the password of the PKCS#12 file, - for standard input; without it the password is asked for on a
    /// terminal.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::Show => show(context).await,
        Verb::SetCommonName { name, yes } => set_common_name(name, &yes, context).await,
        Verb::ImportBrowser(import) => import_browser(import, context).await,
        Verb::ResetBrowser { yes } => reset_browser(&yes, context).await,
        Verb::RotateSealingKey { yes } => rotate_sealing_key(&yes, context).await,
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
    let browser = reply.browser.clone().unwrap_or_default();
    let row = Row::new()
        .with("common_name", cell(reply.common_name.as_str()))
        .with("names", cell(reply.hosts.join(", ")))
        .with("signed_by", cell(reply.issuer.as_str()))
        .with("expires", time(reply.not_after_ms))
        .with("pending_common_name", super::output::text_or_none(&wanted.common_name))
        .with("pending_names", super::output::text_or_none(&wanted.hosts.join(", ")))
        .with("pending_since", time(wanted.since_ms))
        .with("browsers_see", browsers_see(reply.browser.as_ref()))
        .with("browser_names", super::output::text_or_none(&browser.hosts.join(", ")))
        .with("browser_expires", time(browser.not_after_ms))
        .with("browser_imported", time(browser.imported_ms));
    print_one(context.format, &row);
    if context.format == Format::Table && reply.wanted.is_some() {
        put(pending(&reply));
    }
    if !browser.not_covered.is_empty() {
        eprintln!(
            "WARNING: the certificate for browsers does not cover {}, the name of this server: bring one that does.",
            browser.not_covered
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose certificate browsers see.
fn browsers_see(brought: Option<&BrowserCertificate>) -> serde_json::Value {
    brought.map_or_else(|| cell("cluster CA"), |certificate| cell(format!("imported, {}", certificate.common_name)))
}

async fn import_browser(import: Import, context: &Context) -> Result<ExitCode, CliError> {
    let file = read(&import.file)?;
    let key = import.key.as_deref().map(read).transpose()?.unwrap_or_default();
    let pem = file.windows(BEGIN.len()).any(|text| text == BEGIN);
    let password = match &import.password_file {
        Some(file) => super::password::read("password", file)?,
        None if !pem && is_interactive() => ask_secret("Password of the PKCS#12 file: ")?,
        None => Zeroizing::default(),
    };
    let client = context.client().await?;
    let asked = ImportBrowserRequest { file: file.into(), key: key.into(), password: password.to_string() };
    let taken = client.call(asked, |c, r| async move { CertificatesClient::new(c).import_browser(r).await }).await?;
    let names = taken.hosts.join(", ");
    context.done(&format!("Browsers see the certificate of {} now, for {names}.", taken.common_name), 0);
    Ok(ExitCode::SUCCESS)
}

/// At most [`MAX_FILE`] bytes of a file that may hold a key.
fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    let not_read = |why: String| CliError::failed(format!("{} cannot be read", file.display())).because(why);
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes));
    opened.map_err(|e| not_read(e.to_string()))?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(not_read(format!("it has more than {MAX_FILE} bytes, so it is no certificate"))),
        false => Ok(bytes),
    }
}

async fn reset_browser(yes: &Yes, context: &Context) -> Result<ExitCode, CliError> {
    eprintln!(
        "WARNING: Browsers see the certificate of the cluster CA from now on, and warn where that is not trusted."
    );
    yes.confirm("Go on?")?;
    let client = context.client().await?;
    let asked = ResetBrowserRequest {};
    client.call(asked, |c, r| async move { CertificatesClient::new(c).reset_browser(r).await }).await?;
    context.done("Browsers see the certificate of the cluster CA.", 0);
    Ok(ExitCode::SUCCESS)
}

async fn rotate_sealing_key(yes: &Yes, context: &Context) -> Result<ExitCode, CliError> {
    yes.confirm("Change the sealing key on all data nodes?")?;
    let client = context.client().await?;
    let asked = RotateSealingKeyRequest {};
    let replies =
        client.direct(asked, |c, r| async move { CertificatesClient::new(c).rotate_sealing_key(r).await }).await?;
    super::stream::each(replies, "changing the key", |step, spinner| context.step(spinner, &step.text)).await?;
    context.done("The new sealing key is in force.", 0);
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
