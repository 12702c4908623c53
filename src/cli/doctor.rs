//! `licraft doctor`.

use super::Context;
use super::checks::Checks;
use super::error::{CliError, FAILED};
use super::terminal::Spinner;
use crate::proto::admin::doctor_client::DoctorClient;
use crate::proto::admin::{BundleRequest, DoctorRequest};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check the data and the cluster: kept totals against a recount, replicas against each other. Ends with 1 when a
/// check failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft doctor
  licraft doctor -o json
  licraft doctor --bundle diagnostics.json")]
pub struct Args {
    /// Also write all that whoever helps from afar has to know, without secrets, into a new file
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    if let Some(file) = &args.bundle {
        // Before the checks, so that a name that cannot be had is said at once.
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| {
            let error = CliError::failed(format!("{} cannot be written", file.display())).because(error.to_string());
            error.hint("name a new file")
        })?;
        let bundled = async {
            let asked = BundleRequest {};
            let reply = client.call(asked, |c, r| async move { DoctorClient::new(c).bundle(r).await }).await?;
            out.write_all(reply.json.as_bytes()).and_then(|()| out.sync_all()).map_err(|error| {
                CliError::failed(format!("{} cannot be written", file.display())).because(error.to_string())
            })
        };
        if let Err(error) = bundled.await {
            // What is not whole must not pass for it.
            drop(fs::remove_file(file));
            return Err(error);
        }
        eprintln!("{} holds the diagnostics of the active node.", file.display());
    }
    let spinner = Spinner::new("checking");
    let reply = client.call(DoctorRequest {}, |c, r| async move { DoctorClient::new(c).check(r).await }).await?;
    drop(spinner);
    let mut checks = Checks::new(context.format);
    for check in reply.checks {
        checks.add(check);
    }
    Ok(if checks.finish() == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
