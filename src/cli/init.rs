//! `licraft init`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put};
use super::password::PasswordFile;
use crate::proto::admin::InitializeRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use std::process::ExitCode;

/// Make a fresh stand-alone node of an uninitialised one: sealing key, identity and first administrator.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft init
  licraft init --administrator ops --password-file ops.password
  echo -n 'secret words' | licraft init --password-file -")]
pub struct Args {
    /// Name of the first administrator.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    administrator: String,
    #[command(flatten)]
    password: PasswordFile,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    // First, so that nobody types a password for a node that does not answer.
    let client = context.client().await?;
    let password = args.password.password(&args.administrator)?;
    let request = InitializeRequest {
        administrator: args.administrator.clone(),
        password: password.text.to_string(),
        must_change: password.made,
    };
    let reply = client.direct(request, |c, r| async move { ClusterClient::new(c).initialize(r).await }).await?;
    if context.format == Format::Table {
        put(&format!("This node is initialised and serves stand-alone. Server identity: {}\n", reply.server_uid));
        put(&format!("Administrator: {}\n{}", args.administrator, password.line()));
        put("Next: `licraft account request`, or `licraft ha generate-keys` to make a cluster.\n");
    } else {
        let row = Row::new()
            .with("server_uid", cell(reply.server_uid))
            .with("administrator", cell(args.administrator))
            .with("password", password.cell());
        print_one(context.format, &row);
    }
    Ok(ExitCode::SUCCESS)
}
