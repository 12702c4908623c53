//! Synchronization with the vendor's central service.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::{Imported, find, wire};
use crate::central::{self, Asked};
use crate::license::{self, Account, AccountId, Command, Schedule, State};
use crate::proto::admin::{
    AccountRef, EntitlementChange, ExportRequestReply, ImportResponseReply, ImportResponseRequest, ScheduleRequest,
    SyncEvery, SyncSchedule, SyncStatus, SyncStatusReply, sync_server,
};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl sync_server::Sync for Service {
    async fn now(&self, request: Request<AccountRef>) -> Result<Response<SyncStatus>, Status> {
        let account = find::account(&self.state(), &request.get_ref().account)?.id;
        self.parts.sync.sync_now(account).await?;
        Ok(Response::new(self.sync_status(account)?))
    }

    async fn status(&self, request: Request<AccountRef>) -> Result<Response<SyncStatusReply>, Status> {
        let state = self.state();
        let accounts = match request.get_ref().account.as_str() {
            "" => state.accounts().map(|account| sync_status(&state, account)).collect(),
            name => vec![sync_status(&state, find::account(&state, name)?)],
        };
        Ok(Response::new(SyncStatusReply { accounts }))
    }

    async fn schedule(&self, request: Request<ScheduleRequest>) -> Result<Response<SyncStatus>, Status> {
        let (call, asked) = Call::split(request)?;
        let id = find::account(&self.state(), &asked.account)?.id;
        let schedule = schedule(&asked.schedule.unwrap_or_default())?;
        self.change(&call, Command::SetSyncSchedule { account: id, schedule }).await?;
        Ok(Response::new(self.sync_status(id)?))
    }

    async fn export_request(&self, request: Request<AccountRef>) -> Result<Response<ExportRequestReply>, Status> {
        let (call, asked) = Call::split(request)?;
        let state = self.state();
        let account = find::account(&state, &asked.account)?;
        let Asked { seq, document } = self.parts.sync.export_request(account.id, &call.caller.actor).await?;
        let (account, seq) = (account.name.clone(), seq.unwrap_or_default());
        Ok(Response::new(ExportRequestReply { account, seq, document: document.into() }))
    }

    async fn import_response(
        &self,
        request: Request<ImportResponseRequest>,
    ) -> Result<Response<ImportResponseReply>, Status> {
        let (call, ImportResponseRequest { document, dry_run }) = Call::split(request)?;
        let imported = self.parts.sync.import_response(&document, dry_run, &call.caller.actor).await?;
        let Imported { account, changes } = imported;
        let account = self.state().account(account).map(|account| account.name.clone()).unwrap_or_default();
        let change = |change: license::EntitlementChange| EntitlementChange {
            tag: change.tag,
            license: change.name,
            new: change.new,
            purchased: change.purchased,
            purchased_after: change.purchased_after,
            in_use: change.in_use,
        };
        Ok(Response::new(ImportResponseReply { account, changes: changes.into_iter().map(change).collect() }))
    }
}

impl Service {
    fn sync_status(&self, account: AccountId) -> Result<SyncStatus, AdminError> {
        let state = self.state();
        let account = state.account(account);
        let account = account.ok_or_else(|| AdminError::new(Kind::NotFound, "the account was deleted meanwhile"))?;
        Ok(sync_status(&state, account))
    }
}

/// Whether there are such a day and time is for the command to say.
fn schedule(wire: &SyncSchedule) -> Result<Schedule, AdminError> {
    let (minute, day) = (u16::try_from(wire.minute).unwrap_or(u16::MAX), u8::try_from(wire.day).unwrap_or(u8::MAX));
    match wire.every() {
        SyncEvery::Off => Ok(Schedule::Off),
        SyncEvery::Daily => Ok(Schedule::Daily { minute }),
        SyncEvery::Weekly => Ok(Schedule::Weekly { weekday: day, minute }),
        SyncEvery::Monthly => Ok(Schedule::Monthly { day, minute }),
        SyncEvery::Unspecified => Err(AdminError::new(Kind::Invalid, "it is not said how often to synchronize")),
    }
}

pub fn sync_status(state: &State, account: &Account) -> SyncStatus {
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
        schedule: sync.schedule.to_string(),
        next_ms: wire::some_ms(central::schedule::next(state, account)),
    }
}
