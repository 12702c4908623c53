//! `licraft central audit`.

use super::super::audit_file::{Exported, Line, broken, holds, verify_file};
use super::super::error::CliError;
use super::super::output::{Format, time};
use super::{ask, unexpected};
use crate::central::admin::{AdminReply, AdminRequest};
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// The audit log of central: every change that people and programs made, chained by hashes.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central audit verify
  licraft central audit export audit.jsonl")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Check that no entry was altered, left out or put in: of central, or of a file exported before.
    #[command(after_help = "Examples:
  licraft central audit verify
  licraft central audit verify --file audit.jsonl")]
    Verify {
        /// An exported file, checked without central.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write the entries, oldest first, one JSON object a line.
    #[command(after_help = "Examples:
  licraft central audit export audit.jsonl
  licraft central audit export --after 1200")]
    Export {
        /// A new file; standard output if left out.
        file: Option<PathBuf>,
        /// Only entries after this number.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
    },
}

pub async fn run(dir: &Path, args: Args, format: Format) -> Result<(), CliError> {
    match args.verb {
        Verb::Verify { file: Some(file) } => verify_file(&file, format),
        Verb::Verify { file: None } => match ask(dir, AdminRequest::VerifyAudit).await? {
            AdminReply::AuditVerdict { first, last, head, fault: 0, .. } => {
                holds(format, first, last, &head.to_string());
                Ok(())
            }
            AdminReply::AuditVerdict { fault, why, .. } => Err(broken(fault, &why)),
            _ => Err(unexpected()),
        },
        Verb::Export { file, after } => export(dir, file, after, format).await,
    }
}

async fn export(dir: &Path, file: Option<PathBuf>, mut after: u64, format: Format) -> Result<(), CliError> {
    let mut file = Exported::create(file)?;
    loop {
        let AdminReply::Audit(entries) = ask(dir, AdminRequest::Audit { after }).await? else {
            return Err(unexpected());
        };
        let Some(last) = entries.last() else { break };
        after = last.seq;
        for entry in entries {
            let (at_ms, hash) = (entry.at.0, entry.hash.to_string());
            let (seq, actor, action, detail) = (entry.seq, entry.actor, entry.action, entry.detail);
            file.write(&Line { seq, at_ms, time: time(at_ms), actor, action, detail, hash })?;
        }
    }
    file.finish(format)
}
