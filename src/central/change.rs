//! One change of central's records: all that it writes goes into the store together, with its line in the audit log.

use super::document::Digest;
use super::records::*;
use super::refusal::Result;
use super::service::Service;
use super::store::Batch;
use crate::license::{AuditEntry, Millis};

/// A change that is being made.
pub(super) struct Change {
    pub batch: Batch,
    pub meta: Meta,
    pub now: Millis,
    /// Who asked, for orders and the audit log; empty: an on-prem server.
    pub actor: String,
}

impl Service {
    /// Begins a change; the caller holds `writer`.
    pub(super) fn begin(&self, actor: &str) -> Result<Change> {
        Ok(Change { batch: Batch::default(), meta: self.meta()?, now: (self.clock)(), actor: actor.to_owned() })
    }

    /// Makes it durable.
    pub(super) fn finish(&self, mut change: Change) -> Result<()> {
        change.batch.put(Meta::KEY, &change.meta);
        Ok(self.store.commit(change.batch)?)
    }
}

impl Change {
    /// Notes an event.
    pub fn note(&mut self, kind: &str, server: &str, account: &str, message: String) {
        self.meta.last_event += 1;
        let (kind, server, account) = (kind.to_owned(), server.to_owned(), account.to_owned());
        let event = CentralEvent { at: self.now, kind, server, account, message };
        self.batch.put(&CentralEvent::key(self.meta.last_event), &event);
    }

    /// Writes a line of the audit log.
    pub fn audit(&mut self, action: &str, detail: &str) {
        self.meta.last_audit += 1;
        let mut entry = AuditEntry {
            seq: self.meta.last_audit,
            at: self.now,
            actor: self.actor.clone(),
            action: action.to_owned(),
            detail: detail.to_owned(),
            hash: [0; 32],
        };
        entry.hash = entry.expected_hash(&self.meta.audit_head.0);
        self.meta.audit_head = Digest(entry.hash);
        self.batch.put(&Audit::key(entry.seq), &entry);
    }

    /// Keeps what an order changed.
    pub fn order(&mut self, before: Option<&EntitlementRecord>, after: Option<&EntitlementRecord>) {
        let Some(either) = after.or(before) else { return };
        self.meta.last_order += 1;
        let order = Order {
            seq: self.meta.last_order,
            at: self.now,
            actor: self.actor.clone(),
            smart_account: either.smart_account.clone(),
            virtual_account: either.virtual_account.clone(),
            tag: either.license.tag.clone(),
            before: before.map(|record| record.license.clone()),
            after: after.map(|record| record.license.clone()),
        };
        self.batch.put(&Order::key(order.seq), &order);
    }
}
