//! Programs that call the REST API: an id and a secret each, for one account.

use crate::admin::find;
use crate::admin::service::{Call, Service};
use crate::license::{self, Command};
use crate::pki::{random, sha256};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl api_clients_server::ApiClients for Service {
    async fn list(&self, request: Request<AccountRef>) -> Result<Response<ListApiClientsReply>, Status> {
        let state = self.state();
        let accounts: Vec<&license::Account> = match request.get_ref().account.as_str() {
            "" => state.accounts().collect(),
            name => vec![find::account(&state, name)?],
        };
        let client = |account: &license::Account, client: &license::ApiClient| ApiClient {
            id: client.id.clone(),
            account: account.name.clone(),
            description: client.description.clone(),
            created_ms: client.created.0,
            created_by: client.created_by.clone(),
        };
        let clients = accounts.into_iter().flat_map(|a| state.api_clients(a.id).map(move |c| client(a, c)));
        Ok(Response::new(ListApiClientsReply { clients: clients.collect() }))
    }

    /// The secret is not kept, so a repeated call could not give it again: each call makes another client.
    async fn create(&self, request: Request<CreateApiClientRequest>) -> Result<Response<CreateApiClientReply>, Status> {
        let (mut call, asked) = Call::split(request)?;
        call.request_id = random::u128();
        let account = find::account(&self.state(), &asked.account)?.id;
        let (id, secret) = (format!("{:032x}", random::u128()), random::token());
        let secret_hash = sha256(secret.as_bytes());
        let command = Command::CreateApiClient { id: id.clone(), account, description: asked.description, secret_hash };
        self.change(&call, command).await?;
        Ok(Response::new(CreateApiClientReply { id, secret }))
    }

    async fn revoke(&self, request: Request<ApiClientRef>) -> Result<Response<Changed>, Status> {
        let (call, ApiClientRef { id }) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.change(&call, Command::RevokeApiClient { id }).await? }))
    }
}
