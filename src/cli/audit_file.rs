//! Audit logs as files, one JSON object a line: of a server, and of central.

use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put};
use crate::license::{AuditEntry, Millis};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// An entry as it is written to a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub seq: u64,
    pub at_ms: u64,
    pub time: serde_json::Value,
    pub actor: String,
    pub action: String,
    pub detail: String,
    pub hash: String,
}

/// A file, or standard output, to which entries are written.
pub struct Exported {
    file: Option<PathBuf>,
    out: Box<dyn Write>,
    count: u64,
}

impl Exported {
    /// A new file; standard output without one.
    pub fn create(file: Option<PathBuf>) -> Result<Self, CliError> {
        let out: Box<dyn Write> = match &file {
            None => Box::new(std::io::stdout()),
            Some(file) => Box::new(BufWriter::new(File::create_new(file).map_err(|e| not_written(file, &e))?)),
        };
        Ok(Self { file, out, count: 0 })
    }

    pub fn write(&mut self, line: &Line) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(line).map_err(|e| CliError::failed(e.to_string()))?;
        line.push(b'\n');
        self.count += 1;
        self.out.write_all(&line).map_err(|e| not_written(&self.place(), &e))
    }

    /// Says where they are, to people, when that is a file.
    pub fn finish(mut self, format: Format) -> Result<(), CliError> {
        self.out.flush().map_err(|e| not_written(&self.place(), &e))?;
        if let (Some(file), Format::Table) = (&self.file, format) {
            put(&format!("{} entries are in {}.\n", self.count, file.display()));
        }
        Ok(())
    }

    fn place(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| "standard output".into())
    }
}

/// Checks an exported file.
pub fn verify_file(file: &Path, format: Format) -> Result<(), CliError> {
    let unusable = |why: String| CliError::failed(format!("{} is no exported audit log", file.display())).because(why);
    let reader = BufReader::new(File::open(file).map_err(|e| unusable(e.to_string()))?);
    let mut entries = Vec::new();
    for (n, line) in reader.lines().enumerate() {
        let line = line.map_err(|e| unusable(e.to_string()))?;
        let line: Line = serde_json::from_str(&line).map_err(|e| unusable(format!("line {}: {e}", n + 1)))?;
        let mut hash = [0; 32];
        hex::decode_to_slice(&line.hash, &mut hash).map_err(|e| unusable(format!("line {}: {e}", n + 1)))?;
        let Line { seq, at_ms, actor, action, detail, .. } = line;
        entries.push(AuditEntry { seq, at: Millis(at_ms), actor, action, detail, hash });
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Err(unusable("it is empty".into()));
    };
    let before = (first.seq == 1).then_some((0, [0; 32]));
    if let Some((seq, why)) = AuditEntry::first_fault(&entries, before) {
        return Err(broken(seq, why));
    }
    holds(format, first.seq, last.seq, &hex::encode(last.hash));
    Ok(())
}

pub fn broken(seq: u64, why: &str) -> CliError {
    CliError::failed(format!("the audit log does not hold at entry {seq}"))
        .because(why.to_owned())
        .hint("compare it with an earlier export and, in a cluster, with those of the other nodes")
}

/// Says that the entries hold.
pub fn holds(format: Format, first: u64, last: u64, head: &str) {
    if format == Format::Table {
        put(&format!("Entries {first} to {last} hold. The newest has the hash {head}.\n"));
    } else {
        print_one(format, &Row::new().with("first", cell(first)).with("last", cell(last)).with("head", cell(head)));
    }
}

fn not_written(file: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("the audit log cannot be written to {}", file.display()))
        .because(error.to_string())
        .hint("name a new file in a folder that you may write to")
}
