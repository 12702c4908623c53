//! The service behind all admin calls: what it stands on, and how it is served.

use super::caller::{Caller, request_id};
use super::cluster::{ClusterControl, SyncControl};
use super::error::{AdminError, Kind};
use super::guard::{Forwarder, Guard};
use super::listen::Incoming;
use super::status::ClusterStatus;
use crate::central::document::MAX_DOCUMENT_BYTES;
use crate::license::{Command, Outcome, State};
use crate::pki::ca::Authority;
use crate::pki::passwords::Passwords;
use crate::pki::random;
use crate::pki::seal::Sealer;
use crate::product::Clock;
use crate::proto::admin::{
    accounts_server::AccountsServer, admin_identities_server::AdminIdentitiesServer, alerts_server::AlertsServer,
    api_clients_server::ApiClientsServer, audit_server::AuditServer, certificates_server::CertificatesServer,
    clock_server::ClockServer, cluster_server::ClusterServer, doctor_server::DoctorServer, events_server::EventsServer,
    instances_server::InstancesServer, licenses_server::LicensesServer, settings_server::SettingsServer,
    sync_server::SyncServer, tokens_server::TokensServer, users_server::UsersServer,
    virtual_accounts_server::VirtualAccountsServer,
};
use crate::raft::Ledger;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::Request;
use tonic::service::Routes;
use tonic::transport::Server;

/// Streams open at once on one connection.
const MAX_STREAMS: u32 = 32;

/// What the service stands on.
#[derive(Clone)]
pub struct Parts {
    pub ledger: Arc<dyn Ledger>,
    pub cluster: Arc<dyn ClusterControl>,
    pub sync: Arc<dyn SyncControl>,
    pub forwarder: Arc<dyn Forwarder>,
    /// The sealing key, once the node has one; a witness never does.
    pub sealer: Arc<dyn Fn() -> Option<Sealer> + Send + Sync>,
    /// The cluster's authority, once the node has its key; a witness never does.
    pub authority: Arc<dyn Fn() -> Option<Authority> + Send + Sync>,
    pub clock: Clock,
}

/// All admin services.
#[derive(Clone)]
pub struct Service {
    pub(super) parts: Arc<Parts>,
    pub(super) passwords: Passwords,
    /// Held by whoever looks through a backup: each takes memory for its key.
    pub(super) looking: Arc<Semaphore>,
}

/// Answers calls that come in over `incoming` until `stop` is done; open calls are then finished first.
///
/// # Errors
/// When the transport fails as a whole; single connections that fail are only logged.
pub async fn serve(
    parts: Parts,
    incoming: Incoming,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let guard = Guard::new(parts.forwarder.clone(), parts.ledger.clone());
    let service = Service::new(parts);
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .layer(guard)
        .add_routes(service.routes())
        .serve_with_incoming_shutdown(incoming, stop)
        .await
}

/// A response of central with what is around it in the message.
const MAX_IMPORT: usize = MAX_DOCUMENT_BYTES + 1024;

impl Service {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), passwords: Passwords::default(), looking: Arc::new(Semaphore::new(1)) }
    }

    fn routes(&self) -> Routes {
        Routes::new(ClusterServer::new(self.clone()))
            .add_service(AccountsServer::new(self.clone()))
            .add_service(VirtualAccountsServer::new(self.clone()))
            .add_service(TokensServer::new(self.clone()))
            .add_service(LicensesServer::new(self.clone()))
            .add_service(InstancesServer::new(self.clone()))
            .add_service(SyncServer::new(self.clone()).max_decoding_message_size(MAX_IMPORT))
            .add_service(EventsServer::new(self.clone()))
            .add_service(AlertsServer::new(self.clone()))
            .add_service(SettingsServer::new(self.clone()))
            .add_service(CertificatesServer::new(self.clone()))
            .add_service(UsersServer::new(self.clone()))
            .add_service(ApiClientsServer::new(self.clone()))
            .add_service(AdminIdentitiesServer::new(self.clone()))
            .add_service(AuditServer::new(self.clone()))
            .add_service(ClockServer::new(self.clone()))
            .add_service(DoctorServer::new(self.clone()))
    }

    /// The records that this service reads and changes.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.parts.ledger
    }

    /// The sealing key, once the node has one.
    #[must_use]
    pub fn sealer(&self) -> Option<Sealer> {
        (self.parts.sealer)()
    }

    pub(super) fn need_sealer(&self) -> Result<Sealer, AdminError> {
        self.sealer().ok_or_else(|| AdminError::new(Kind::State, "this node has no sealing key"))
    }

    /// What the cluster looks like from this node.
    pub async fn cluster_status(&self) -> ClusterStatus {
        self.parts.cluster.status().await
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.parts.ledger.state()
    }

    /// Commits `command` for the caller of `call`; the id of what was made, or 0.
    pub(super) async fn change(&self, call: &Call, command: Command) -> Result<u64, AdminError> {
        self.commit(call.request_id, call, command).await
    }

    /// Commits a step before the last one, which alone has the call's request id. Carried out again it must do no harm.
    pub(super) async fn step(&self, call: &Call, command: Command) -> Result<u64, AdminError> {
        self.commit(random::u128(), call, command).await
    }

    async fn commit(&self, request_id: u128, call: &Call, command: Command) -> Result<u64, AdminError> {
        match self.parts.ledger.propose(request_id, &call.caller.actor, command).await? {
            Outcome::Done => Ok(0),
            Outcome::Created(id) => Ok(id),
            Outcome::SyncBegun { seq } => Ok(seq),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(AdminError::new(Kind::Internal, format!("unexpected outcome {other:?}"))),
        }
    }
}

/// For whom a call is made and under which id.
pub(super) struct Call {
    pub caller: Caller,
    pub request_id: u128,
}

impl Call {
    /// Splits a request into who asks and what.
    pub fn split<T>(request: Request<T>) -> Result<(Self, T), AdminError> {
        let request_id = request_id(request.metadata())?;
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| AdminError::new(Kind::Internal, "the call did not pass the guard"))?;
        Ok((Self { caller, request_id }, request.into_inner()))
    }
}
