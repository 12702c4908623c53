//! `licraft init`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put};
use super::terminal::{ask_secret, is_interactive};
use crate::proto::admin::InitializeRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// A password file is one line; more is some other file.
const MAX_PASSWORD_FILE_BYTES: u64 = 4 * 1024;

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
    /// File with the administrator's password, - for standard input. Without it the password is asked for on a
    /// terminal; left empty, or without a terminal, one is made and printed once.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    // First, so that nobody types a password for a node that does not answer.
    let client = context.client().await?;
    let chosen = match &args.password_file {
        Some(file) => Some(read_password(file)?),
        None if is_interactive() => ask_password(&args.administrator)?,
        None => None,
    };
    let made = chosen.is_none();
    let password = chosen.unwrap_or_else(|| Zeroizing::new(crate::pki::random::token()));
    let request = InitializeRequest {
        administrator: args.administrator.clone(),
        password: password.to_string(),
        must_change: made,
    };
    let reply = client.direct(request, |c, r| async move { ClusterClient::new(c).initialize(r).await }).await?;
    if context.format == Format::Table {
        put(&format!("This node is initialised and serves stand-alone. Server identity: {}\n", reply.server_uid));
        put(&format!("Administrator: {}\n", args.administrator));
        if made {
            put(&format!("Password: {} (shown once; to be changed at the first sign-in)\n", *password));
        }
        put("Next: `licraft account request`, or `licraft ha generate-keys` to make a cluster.\n");
    } else {
        let shown = if made { cell(password.as_str()) } else { serde_json::Value::Null };
        let row = Row::new()
            .with("server_uid", cell(reply.server_uid))
            .with("administrator", cell(args.administrator))
            .with("password", shown);
        print_one(context.format, &row);
    }
    Ok(ExitCode::SUCCESS)
}

fn read_password(file: &Path) -> Result<Zeroizing<String>, CliError> {
    let failed = |e: std::io::Error| {
        CliError::failed(format!("the password cannot be read from {}", file.display())).because(e.to_string())
    };
    let mut text = Zeroizing::new(String::new());
    let source: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    source.take(MAX_PASSWORD_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// None: left empty.
fn ask_password(name: &str) -> Result<Option<Zeroizing<String>>, CliError> {
    let first = ask_secret(&format!("Password for {name} (empty: one is made): "))?;
    if first.is_empty() {
        return Ok(None);
    }
    let second = ask_secret("Again: ")?;
    if first != second {
        return Err(CliError::failed("the two passwords differ").hint("run it again"));
    }
    Ok(Some(first))
}
