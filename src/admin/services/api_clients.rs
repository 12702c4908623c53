//! Programs that call the REST API: an id and a secret each, for one account or for the server.

use super::users;
use crate::admin::find;
use crate::admin::service::{Call, Service};
use crate::license::{self, Command, Role};
use crate::pki::{random, sha256};
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl api_clients_server::ApiClients for Service {
    /// Of all accounts and of the server, unless one account is named.
    async fn list(&self, request: Request<AccountRef>) -> Result<Response<ListApiClientsReply>, Status> {
        let state = self.state();
        let places = match request.get_ref().account.as_str() {
            "" => std::iter::once(None).chain(state.accounts().map(|a| Some(a.id))).collect(),
            name => vec![Some(find::account(&state, name)?.id)],
        };
        let client = |client: &license::ApiClient| ApiClient {
            id: client.id.clone(),
            account: find::account_name(&state, client.account),
            role: client.role.to_string(),
            description: client.description.clone(),
            created_ms: client.created.0,
            created_by: client.created_by.clone(),
        };
        let clients = places.into_iter().flat_map(|place| state.api_clients(place)).map(client).collect();
        Ok(Response::new(ListApiClientsReply { clients }))
    }

    /// The secret is not kept, so a repeated call could not give it again: each call makes another client.
    async fn create(&self, request: Request<CreateApiClientRequest>) -> Result<Response<CreateApiClientReply>, Status> {
        let (mut call, asked) = Call::split(request)?;
        call.request_id = random::u128();
        let (account, role) = match asked.server {
            true => (None, asked.role.as_str()),
            false => (Some(find::account(&self.state(), &asked.account)?.id), asked.role.as_str()),
        };
        let role = match role {
            "" if account.is_some() => Role::LocalAccountAdministrator,
            "" => Role::ReadOnly,
            name => users::role_named(name)?,
        };
        let (id, secret) = (format!("{:032x}", random::u128()), random::token());
        let (description, secret_hash) = (asked.description, sha256(secret.as_bytes()));
        let command = Command::CreateApiClient { id: id.clone(), account, role, description, secret_hash };
        self.change(&call, command).await?;
        Ok(Response::new(CreateApiClientReply { id, secret }))
    }

    async fn revoke(&self, request: Request<ApiClientRef>) -> Result<Response<Changed>, Status> {
        let (call, ApiClientRef { id }) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.change(&call, Command::RevokeApiClient { id }).await? }))
    }
}
