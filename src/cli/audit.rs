//! `licraft audit`.

use super::Context;
use super::audit_file::{Exported, Line, broken, holds, verify_file};
use super::error::CliError;
use super::output::time;
use crate::proto::admin::audit_client::AuditClient;
use crate::proto::admin::{AuditEntry, ExportAuditRequest, VerifyAuditRequest};
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// The audit log: every administrative change, chained by hashes.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft audit verify
  licraft audit export audit.jsonl
  licraft audit verify --file audit.jsonl")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Check that no entry was altered, left out or put in: of the server, or of a file exported before.
    #[command(after_help = "Examples:\n  licraft audit verify\n  licraft audit verify --file audit.jsonl")]
    Verify(Verify),
    /// Write the entries, oldest first, one JSON object a line.
    #[command(after_help = "Examples:
  licraft audit export audit.jsonl
  licraft audit export --after 1200 | jq -r .detail")]
    Export(Export),
}

#[derive(clap::Args, Debug)]
struct Verify {
    /// An exported file, checked without a node.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct Export {
    /// A new file; standard output if left out.
    file: Option<PathBuf>,
    /// Only entries after this number.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::Verify(Verify { file: None }) => verify(context).await,
        Verb::Verify(Verify { file: Some(file) }) => verify_file(&file, context.format).map(|()| ExitCode::SUCCESS),
        Verb::Export(args) => export(args, context).await,
    }
}

async fn verify(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let reply = client.call(VerifyAuditRequest {}, |c, r| async move { AuditClient::new(c).verify(r).await }).await?;
    if reply.fault > 0 {
        return Err(broken(reply.fault, &reply.why));
    }
    holds(context.format, reply.first, reply.last, &reply.head);
    Ok(ExitCode::SUCCESS)
}

async fn export(args: Export, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let asked = ExportAuditRequest { after: args.after };
    let mut entries = client.stream(asked, |c, r| async move { AuditClient::new(c).export(r).await }).await?;
    let mut file = Exported::create(args.file)?;
    while let Some(entry) = entries.message().await? {
        let AuditEntry { seq, at_ms, actor, action, detail, hash } = entry;
        file.write(&Line { seq, at_ms, time: time(at_ms), actor, action, detail, hash })?;
    }
    file.finish(context.format)?;
    Ok(ExitCode::SUCCESS)
}
