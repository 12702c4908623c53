//! `licraft audit`.

use super::Context;
use super::error::CliError;
use super::output::{Row, cell, print_one, put, time};
use crate::license::{self, Millis};
use crate::proto::admin::audit_client::AuditClient;
use crate::proto::admin::{AuditEntry, ExportAuditRequest, VerifyAuditRequest};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
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

/// An entry as it is written to a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    at_ms: u64,
    time: serde_json::Value,
    actor: String,
    action: String,
    detail: String,
    hash: String,
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::Verify(Verify { file: None }) => verify(context).await,
        Verb::Verify(Verify { file: Some(file) }) => verify_file(&file, context),
        Verb::Export(args) => export(args, context).await,
    }
}

async fn verify(context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let reply = client.call(VerifyAuditRequest {}, |c, r| async move { AuditClient::new(c).verify(r).await }).await?;
    if reply.fault > 0 {
        return Err(broken(reply.fault, &reply.why));
    }
    say(context, reply.first, reply.last, &reply.head);
    Ok(ExitCode::SUCCESS)
}

fn verify_file(file: &Path, context: &Context) -> Result<ExitCode, CliError> {
    let unusable = |why: String| CliError::failed(format!("{} is no exported audit log", file.display())).because(why);
    let reader = BufReader::new(File::open(file).map_err(|e| unusable(e.to_string()))?);
    let mut entries = Vec::new();
    for (n, line) in reader.lines().enumerate() {
        let line = line.map_err(|e| unusable(e.to_string()))?;
        let line: Line = serde_json::from_str(&line).map_err(|e| unusable(format!("line {}: {e}", n + 1)))?;
        let mut hash = [0; 32];
        hex::decode_to_slice(&line.hash, &mut hash).map_err(|e| unusable(format!("line {}: {e}", n + 1)))?;
        let Line { seq, at_ms, actor, action, detail, .. } = line;
        entries.push(license::AuditEntry { seq, at: Millis(at_ms), actor, action, detail, hash });
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Err(unusable("it is empty".into()));
    };
    let before = (first.seq == 1).then_some((0, [0; 32]));
    if let Some((seq, why)) = license::AuditEntry::first_fault(&entries, before) {
        return Err(broken(seq, why));
    }
    say(context, first.seq, last.seq, &hex::encode(last.hash));
    Ok(ExitCode::SUCCESS)
}

fn broken(seq: u64, why: &str) -> CliError {
    CliError::failed(format!("the audit log does not hold at entry {seq}"))
        .because(why.to_owned())
        .hint("compare it with an earlier export, and with those of the other nodes")
}

fn say(context: &Context, first: u64, last: u64, head: &str) {
    if context.format == super::output::Format::Table {
        put(&format!("Entries {first} to {last} hold. The newest has the hash {head}.\n"));
    } else {
        let row = Row::new().with("first", cell(first)).with("last", cell(last)).with("head", cell(head));
        print_one(context.format, &row);
    }
}

async fn export(args: Export, context: &Context) -> Result<ExitCode, CliError> {
    let client = context.client().await?;
    let asked = ExportAuditRequest { after: args.after };
    let mut entries = client.stream(asked, |c, r| async move { AuditClient::new(c).export(r).await }).await?;
    let mut out: Box<dyn Write> = match &args.file {
        None => Box::new(std::io::stdout()),
        Some(file) => Box::new(BufWriter::new(File::create_new(file).map_err(|e| not_written(file, &e))?)),
    };
    let place = args.file.clone().unwrap_or_else(|| "standard output".into());
    let mut count = 0u64;
    while let Some(entry) = entries.message().await? {
        let mut line = serde_json::to_vec(&line(entry)).map_err(|e| CliError::failed(e.to_string()))?;
        line.push(b'\n');
        out.write_all(&line).map_err(|e| not_written(&place, &e))?;
        count += 1;
    }
    out.flush().map_err(|e| not_written(&place, &e))?;
    if let Some(file) = &args.file {
        context.say(&format!("{count} entries are in {}.", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn not_written(file: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("the audit log cannot be written to {}", file.display()))
        .because(error.to_string())
        .hint("name a new file in a folder that you may write to")
}

fn line(entry: AuditEntry) -> Line {
    let AuditEntry { seq, at_ms, actor, action, detail, hash } = entry;
    Line { seq, at_ms, time: time(at_ms), actor, action, detail, hash }
}
