//! The audit log: read, and checked from end to end.

use super::{AdminReply, AuditRow};
use crate::central::document::Digest;
use crate::central::records::{Audit, Meta};
use crate::central::refusal::Result;
use crate::central::service::Service;
use crate::license::AuditEntry;

/// Entries in one answer, some 300 KB.
const AT_ONCE: u64 = 1_000;

impl Service {
    pub(super) fn list_audit(&self, after: u64) -> Result<AdminReply> {
        let meta = self.meta()?;
        let first = first_held(&meta).max(after.saturating_add(1));
        let last = meta.last_audit.min(first.saturating_add(AT_ONCE - 1));
        let row = |entry: AuditEntry| {
            let AuditEntry { seq, at, actor, action, detail, hash } = entry;
            AuditRow { seq, at, actor, action, detail, hash: Digest(hash) }
        };
        Ok(AdminReply::Audit(self.audit_entries(first, last)?.into_iter().map(row).collect()))
    }

    /// The newest entry, which is the first one on the page.
    pub(in crate::central) fn last_audit(&self) -> Result<u64> {
        Ok(self.meta()?.last_audit)
    }

    pub(super) fn verify_audit(&self) -> Result<AdminReply> {
        let meta = self.meta()?;
        let (first, last) = (first_held(&meta), meta.last_audit);
        let entries = self.audit_entries(first, last)?;
        // What is before the oldest entry held is not known here, unless that is the first one.
        let before = (first <= 1).then_some((0, [0; 32]));
        let fault = AuditEntry::first_fault(&entries, before);
        // The chain's end is held apart, so that cutting the newest entries off shows as well.
        let cut = || match entries.last().map_or([0; 32], |newest| newest.hash) {
            hash if hash == meta.audit_head.0 => None,
            _ => Some((last, "it, or more of the newest entries, is missing")),
        };
        let (fault, why) = fault.or_else(cut).unwrap_or_default();
        Ok(AdminReply::AuditVerdict { first, last, head: meta.audit_head, fault, why: why.to_owned() })
    }

    /// Those that are there: that one is missing shows in the chain.
    fn audit_entries(&self, first: u64, last: u64) -> Result<Vec<AuditEntry>> {
        let mut entries = Vec::new();
        for seq in first..=last {
            entries.extend(self.store.get(&Audit::key(seq))?);
        }
        Ok(entries)
    }
}

fn first_held(meta: &Meta) -> u64 {
    meta.last_audit.saturating_sub(Audit::RING) + 1
}
