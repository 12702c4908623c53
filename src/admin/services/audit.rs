//! The audit log, as far as the state holds it: the newest entries, and the hash that they end in.

use super::{REPLY_BUFFER, Replies};
use crate::admin::service::Service;
use crate::license;
use crate::proto::admin::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl audit_server::Audit for Service {
    type ExportStream = Replies<AuditEntry>;

    async fn verify(&self, _: Request<VerifyAuditRequest>) -> Result<Response<VerifyAuditReply>, Status> {
        let state = self.state();
        let meta = state.meta();
        // What is before the oldest entry held is not known here, unless that is the first one.
        let before = (meta.first_audit <= 1).then_some((0, [0; 32]));
        let (fault, why) = license::AuditEntry::first_fault(state.audit(0), before).unwrap_or_default();
        Ok(Response::new(VerifyAuditReply {
            first: meta.first_audit,
            last: meta.last_audit,
            head: hex::encode(meta.audit_head),
            fault,
            why: why.to_owned(),
        }))
    }

    async fn export(&self, request: Request<ExportAuditRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let (state, after) = (self.state(), request.get_ref().after);
        let (tx, rx) = mpsc::channel(REPLY_BUFFER);
        tokio::spawn(async move {
            for entry in state.audit(after) {
                // A caller who goes away has enough.
                if tx.send(Ok(wire(entry))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}

fn wire(entry: &license::AuditEntry) -> AuditEntry {
    AuditEntry {
        seq: entry.seq,
        at_ms: entry.at.0,
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        detail: entry.detail.clone(),
        hash: hex::encode(entry.hash),
    }
}
