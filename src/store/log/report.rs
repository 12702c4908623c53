//! What the log in a directory holds, read without changing it.

use super::recover;
use crate::store::error::StoreError;
use crate::store::inspect::shown;
use crate::store::types::{LogId, Vote};
use std::fmt;
use std::path::Path;

/// The log of a node that does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct LogReport {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    pub first: Option<LogId>,
    pub last: Option<LogId>,
    pub entries: u64,
    pub segments: usize,
    /// A write that a crash interrupted is at its end; the next start removes it.
    pub torn: bool,
}

/// Replays the log in `dir` for reading only.
pub(in crate::store) fn report(dir: &Path) -> Result<LogReport, StoreError> {
    let found = recover::read(dir, 0, false)?;
    let index = found.index;
    Ok(LogReport {
        vote: index.vote,
        committed: index.committed,
        purged: index.purged,
        first: index.log_id(index.range().start),
        last: index.last_log_id(),
        entries: index.len() as u64,
        segments: found.last_indexes.len(),
        torn: found.torn,
    })
}

impl fmt::Display for LogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vote         {}", shown(self.vote.as_ref()))?;
        writeln!(f, "committed    {}", shown(self.committed.as_ref()))?;
        writeln!(f, "purged       {}", shown(self.purged.as_ref()))?;
        let (first, last) = (shown(self.first.as_ref()), shown(self.last.as_ref()));
        write!(f, "log          {} entries, {first} to {last}, in {} segments", self.entries, self.segments)?;
        if self.torn {
            write!(f, "; it ends in an interrupted write that the next start removes")?;
        }
        Ok(())
    }
}
