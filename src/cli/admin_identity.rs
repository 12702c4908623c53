//! `licraft admin-identity`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_list, print_one, put, time};
use super::terminal::Yes;
use crate::license::{ADMIN_IDENTITY_DAYS, MAX_ADMIN_IDENTITY_DAYS};
use crate::pki::ca::{certificates_pem, csr, identity_pem};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::seal::write_secret;
use crate::proto::admin::admin_identities_client::AdminIdentitiesClient;
use crate::proto::admin::{AdminIdentity, AdminIdentityRef, CreateAdminIdentityRequest, ListAdminIdentitiesRequest};
use anyhow::Context as _;
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Certificates for this program on other machines.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft admin-identity create ops --role system-operator
  licraft admin-identity list
  licraft admin-identity revoke ops
  Elsewhere, with the two files that `create` has written:
  licraft --endpoint https://10.0.0.5:7440,https://10.0.0.10:7440 --identity ops.pem \\
          --cluster-ca cluster-ca.pem ha status")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List admin identities with their roles and ends.
    #[command(after_help = "Examples:\n  licraft admin-identity list -o json")]
    List,
    /// Make a key here and have the cluster certify it.
    #[command(after_help = "Examples:
  licraft admin-identity create ops --role system-operator
  licraft admin-identity create monitoring --days 365 --out /etc/monitoring/licraft.pem")]
    Create(Create),
    /// End an admin identity at once, also on connections that are open.
    #[command(after_help = "Examples:\n  licraft admin-identity revoke ops --yes")]
    Revoke(Revoke),
}

#[derive(clap::Args, Debug)]
struct Create {
    /// Letters, digits, -, _ and .
    name: String,
    /// system-administrator, system-operator or read-only.
    #[arg(long, default_value = "read-only")]
    role: String,
    /// How long it is valid.
    #[arg(long, default_value_t = ADMIN_IDENTITY_DAYS, value_parser = clap::value_parser!(u64).range(1..=MAX_ADMIN_IDENTITY_DAYS))]
    days: u64,
    /// File for the certificate and the key; NAME.pem unless given. Must not exist.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// File for the cluster's CA certificate, which tells the nodes from impostors. Overwritten.
    #[arg(long, value_name = "FILE", default_value = "cluster-ca.pem")]
    ca_out: PathBuf,
}

#[derive(clap::Args, Debug)]
struct Revoke {
    name: String,
    #[command(flatten)]
    yes: Yes,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::List => {
            let client = context.client().await?;
            let asked = ListAdminIdentitiesRequest {};
            let reply = client.call(asked, |c, r| async move { AdminIdentitiesClient::new(c).list(r).await }).await?;
            print_list(context.format, "admin identities", &reply.identities.iter().map(row).collect::<Vec<_>>());
        }
        Verb::Create(args) => create(args, context).await?,
        Verb::Revoke(args) => {
            args.yes.confirm(&format!("Revoke admin identity {}?", args.name))?;
            let client = context.client().await?;
            let asked = AdminIdentityRef { name: args.name.clone() };
            client.call(asked, |c, r| async move { AdminIdentitiesClient::new(c).revoke(r).await }).await?;
            context.done(&format!("Admin identity {} is revoked.", args.name), 0);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: Create, context: &Context) -> Result<(), CliError> {
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("{}.pem", args.name)));
    // Before anything is made that would then have no file.
    if out.exists() {
        return Err(CliError::failed(format!("{} exists", out.display())).hint("name another file with --out"));
    }
    let client = context.client().await?;
    let key = SigningKey::generate(Algorithm::Es256).context("making the key")?;
    let csr = csr(&key, &args.name).context("making the request")?;
    let asked = CreateAdminIdentityRequest {
        name: args.name.clone(),
        role: args.role.clone(),
        days: args.days,
        csr: csr.into(),
    };
    let made = client.call(asked, |c, r| async move { AdminIdentitiesClient::new(c).create(r).await }).await?;
    write(&out, &made.certificate, &key)?;
    std::fs::write(&args.ca_out, certificates_pem([&made.cluster_ca[..]]))
        .with_context(|| format!("writing {}", args.ca_out.display()))?;
    let (out, ca_out) = (out.display().to_string(), args.ca_out.display().to_string());
    match context.format {
        Format::Table => put(&format!(
            "Admin identity {} is {}. Certificate and key: {out} (keep it secret). The cluster's CA: {ca_out}\n\
             Elsewhere: `licraft --endpoint https://NODE:{} --identity {out} --cluster-ca {ca_out} ha status`\n",
            args.name,
            args.role,
            crate::config::ADMIN_PORT
        )),
        format => print_one(
            format,
            &Row::new()
                .with("name", cell(args.name))
                .with("role", cell(args.role))
                .with("expires", time(made.expires_ms))
                .with("identity", cell(out))
                .with("cluster_ca", cell(ca_out)),
        ),
    }
    Ok(())
}

/// Certificate and key in one PEM file that only its owner may read.
fn write(file: &Path, certificate: &[u8], key: &SigningKey) -> Result<(), CliError> {
    let pem = identity_pem(certificate, &key.to_pkcs8_der().context("encoding the key")?);
    // In the working folder where no other is named.
    let file =
        if file.parent().is_some_and(|p| p.as_os_str().is_empty()) { Path::new(".").join(file) } else { file.into() };
    Ok(write_secret(&file, pem.as_bytes()).context("keeping the identity")?)
}

fn row(identity: &AdminIdentity) -> Row {
    Row::new()
        .with("name", cell(identity.name.as_str()))
        .with("role", cell(identity.role.as_str()))
        .with("status", cell(if identity.expired { "expired" } else { "valid" }))
        .with("expires", time(identity.expires_ms))
        .with("created", time(identity.created_ms))
        .with("created_by", cell(identity.created_by.as_str()))
}
