//! Local accounts and their virtual accounts.

use super::sync::sync_status;
use crate::admin::find;
use crate::admin::service::{Call, Service};
use crate::admin::wire;
use crate::license::{Command, Finding, State};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl accounts_server::Accounts for Service {
    async fn list(&self, _: Request<ListAccountsRequest>) -> Result<Response<ListAccountsReply>, Status> {
        let state = self.state();
        let accounts = state.accounts().map(|a| message(&state, a)).collect();
        Ok(Response::new(ListAccountsReply { accounts }))
    }

    async fn show(&self, request: Request<AccountRef>) -> Result<Response<Account>, Status> {
        let state = self.state();
        let account = find::account(&state, &request.get_ref().account)?;
        Ok(Response::new(message(&state, account)))
    }

    async fn request(&self, request: Request<RequestAccountRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let RequestAccountRequest { name, smart_account, virtual_account, requested_by } = asked;
        let requested_by = if requested_by.is_empty() { call.caller.actor.clone() } else { requested_by };
        let command = Command::RequestAccount { name, requested_by, smart_account, virtual_account };
        Ok(Response::new(Changed { id: self.change(&call, command).await? }))
    }

    async fn approve(&self, request: Request<AccountRef>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let account = find::account(&self.state(), &asked.account)?.id;
        self.parts.sync.approve(account, &call.caller.actor).await?;
        Ok(Response::new(Changed { id: 0 }))
    }

    async fn reject(&self, request: Request<AccountReasonRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let account = find::account(&self.state(), &asked.account)?.id;
        let id = self.change(&call, Command::RejectAccount { account, reason: asked.reason }).await?;
        Ok(Response::new(Changed { id }))
    }

    async fn deactivate(&self, request: Request<AccountReasonRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let account = find::account(&self.state(), &asked.account)?.id;
        let id = self.change(&call, Command::DeactivateAccount { account, reason: asked.reason }).await?;
        Ok(Response::new(Changed { id }))
    }

    async fn activate(&self, request: Request<AccountRef>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let account = find::account(&self.state(), &asked.account)?.id;
        Ok(Response::new(Changed { id: self.change(&call, Command::ReactivateAccount { account }).await? }))
    }

    async fn check(&self, request: Request<AccountRef>) -> Result<Response<AccountDeletion>, Status> {
        let state = self.state();
        let account = find::account(&state, &request.get_ref().account)?.id;
        let finding = |f: Finding| DeletionFinding { in_the_way: f.in_the_way, what: f.what, next: f.next };
        let findings = state.before_deletion(account).into_iter().map(finding).collect();
        Ok(Response::new(AccountDeletion { findings }))
    }

    async fn delete(&self, request: Request<DeleteAccountRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.delete_account(&call, asked).await? }))
    }
}

fn message(state: &State, account: &crate::license::Account) -> Account {
    Account {
        id: account.id.0,
        name: account.name.clone(),
        requested_by: account.requested_by.clone(),
        smart_account: account.smart_account.clone(),
        virtual_account: account.virtual_account.clone(),
        status: wire::account_status(account.status).into(),
        status_reason: account.status_reason.clone(),
        requested_ms: account.requested_at.0,
        changed_ms: account.changed_at.0,
        instances: account.instances,
        default_virtual_account: state.virtual_account(account.default_va).map(|v| v.name.clone()).unwrap_or_default(),
        sync: Some(sync_status(state, account)),
    }
}

#[tonic::async_trait]
impl virtual_accounts_server::VirtualAccounts for Service {
    async fn list(&self, request: Request<AccountRef>) -> Result<Response<ListVirtualAccountsReply>, Status> {
        let state = self.state();
        let named = VirtualAccountRef { account: request.into_inner().account, ..Default::default() };
        let virtual_accounts = find::virtual_accounts(&state, Some(&named))?
            .into_iter()
            .map(|(account, va)| VirtualAccount {
                id: va.id.0,
                account: account.name.clone(),
                name: va.name.clone(),
                default: va.id == account.default_va,
                created_ms: va.created.0,
                instances: va.instances,
                licenses: state.pools(va.id).count() as u64,
            })
            .collect();
        Ok(Response::new(ListVirtualAccountsReply { virtual_accounts }))
    }

    async fn create(&self, request: Request<VirtualAccountRef>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let account = find::account(&self.state(), &asked.account)?.id;
        let command = Command::CreateVirtualAccount { account, name: asked.virtual_account };
        Ok(Response::new(Changed { id: self.change(&call, command).await? }))
    }

    async fn rename(&self, request: Request<RenameVirtualAccountRequest>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let va = find::virtual_account(&self.state(), &asked.virtual_account.unwrap_or_default())?.id;
        let id = self.change(&call, Command::RenameVirtualAccount { va, name: asked.name }).await?;
        Ok(Response::new(Changed { id }))
    }

    async fn delete(&self, request: Request<VirtualAccountRef>) -> Result<Response<Changed>, Status> {
        let (call, asked) = Call::split(request)?;
        let va = find::virtual_account(&self.state(), &asked)?.id;
        Ok(Response::new(Changed { id: self.change(&call, Command::DeleteVirtualAccount { va }).await? }))
    }
}
