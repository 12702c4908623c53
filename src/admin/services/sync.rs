//! Synchronization with the vendor's central service.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::Service;
use crate::admin::{find, wire};
use crate::license::Account;
use crate::proto::admin::{AccountRef, SyncStatus, SyncStatusReply, sync_server};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl sync_server::Sync for Service {
    async fn now(&self, request: Request<AccountRef>) -> Result<Response<SyncStatus>, Status> {
        let account = find::account(&self.state(), &request.get_ref().account)?.id;
        self.parts.sync.sync_now(account).await?;
        let state = self.state();
        let account = state.account(account);
        let account = account.ok_or_else(|| AdminError::new(Kind::NotFound, "the account was deleted meanwhile"))?;
        Ok(Response::new(sync_status(account)))
    }

    async fn status(&self, request: Request<AccountRef>) -> Result<Response<SyncStatusReply>, Status> {
        let state = self.state();
        let accounts = match request.get_ref().account.as_str() {
            "" => state.accounts().map(sync_status).collect(),
            name => vec![sync_status(find::account(&state, name)?)],
        };
        Ok(Response::new(SyncStatusReply { accounts }))
    }
}

pub fn sync_status(account: &Account) -> SyncStatus {
    let sync = &account.sync;
    let (failed_at, failure) = sync.last_failure.clone().unzip();
    SyncStatus {
        account: account.name.clone(),
        seq: sync.seq,
        outstanding: sync.outstanding.is_some(),
        last_success_ms: wire::some_ms(sync.last_success),
        due_ms: wire::some_ms(sync.due),
        last_failure_ms: wire::some_ms(failed_at),
        last_failure: failure.unwrap_or_default(),
    }
}
