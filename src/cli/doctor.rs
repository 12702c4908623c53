//! `licraft doctor`.

use super::Context;
use super::checks::Checks;
use super::error::{CliError, FAILED};
use super::terminal::Spinner;
use crate::proto::admin::DoctorRequest;
use crate::proto::admin::doctor_client::DoctorClient;
use std::process::ExitCode;

/// Check the data and the cluster: kept totals against a recount, replicas against each other. Ends with 1 when a
/// check failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft doctor
  licraft doctor -o json")]
pub struct Args {}

pub async fn run(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let spinner = Spinner::new("checking");
    let reply = client.call(DoctorRequest {}, |c, r| async move { DoctorClient::new(c).check(r).await }).await?;
    drop(spinner);
    let mut checks = Checks::new(context.format);
    for check in reply.checks {
        checks.add(check);
    }
    Ok(if checks.finish() == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
