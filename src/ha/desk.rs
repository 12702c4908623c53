//! Lets new nodes in: checks the code, gives a fresh node id by a command, and issues the certificate.

use super::identity::NodeIdentity;
use super::join;
use super::pairing::{Desk, node_certificate, node_hosts, node_life};
use super::shared::Shared;
use crate::admin::Aside;
use crate::license::{Command, Member, Millis, Outcome};
use crate::product::Clock;
use crate::proto::pairing::{JoinRequest, JoinResponse};
use crate::raft::Ledger;
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tonic::Status;

/// Longest name of a node: a DNS label (RFC 1035, 2.3.4), as in the node file.
const MAX_NAME: usize = 63;
/// What a wrong code costs before it is answered: nothing to a person who mistyped.
const AFTER_WRONG_CODE: Duration = Duration::from_secs(1);

/// The desk of a data node that leads.
#[derive(Clone)]
pub struct JoinDesk {
    codes: Arc<Mutex<Desk>>,
    identity: Arc<NodeIdentity>,
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    /// Node ids are given out one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl JoinDesk {
    /// The desk of the node with `identity`.
    #[must_use]
    pub fn new(shared: &Shared, identity: Arc<NodeIdentity>) -> Self {
        Self {
            codes: shared.codes.clone(),
            identity,
            ledger: shared.ledger.clone(),
            clock: shared.clock.clone(),
            turn: Arc::default(),
        }
    }
}

impl Aside for JoinDesk {
    fn alpn(&self) -> &'static [u8] {
        super::pairing::ALPN
    }

    fn take(&self, hello: StartHandshake<TcpStream>) {
        if !self.codes.lock().is_open() {
            tracing::info!("a pairing connection was refused: no code is open");
            return;
        }
        let config = match join::server_config(&self.identity.tls.load(), &self.identity.ca_cert) {
            Ok(config) => config,
            Err(error) => return tracing::error!(%error, "pairing cannot be served"),
        };
        let desk: Arc<dyn join::Desk> = Arc::new(self.clone());
        tokio::spawn(async move {
            match hello.into_stream(config).await {
                Ok(stream) => join::serve_one(stream, desk).await,
                Err(error) => tracing::info!(%error, "a pairing connection failed"),
            }
        });
    }
}

#[tonic::async_trait]
impl join::Desk for JoinDesk {
    async fn admit(&self, request: JoinRequest, exporter: [u8; 32]) -> Result<JoinResponse, Status> {
        let (public, cluster) = addresses(&request).map_err(Status::invalid_argument)?;
        let _turn = self.turn.lock().await;
        self.check_name(&request)?;
        let checked = self.codes.lock().check(&request, &exporter);
        if let Err(error) = checked {
            // Under the turn: whoever guesses on many connections waits for each of them.
            tokio::time::sleep(AFTER_WRONG_CODE).await;
            return Err(Status::permission_denied(error.to_string()));
        }
        let node_id = self.fresh_id();
        let now = (self.clock)();
        let member = Member {
            node_id,
            name: request.name.clone(),
            public_address: request.public_address.clone(),
            cluster_address: request.cluster_address.clone(),
            witness: request.witness,
            joined: now,
            retired: false,
        };
        let actor = format!("node {}", self.identity.file.name);
        match self.ledger.propose(crate::pki::random::u128(), &actor, Command::PutMember { member }).await {
            Ok(Outcome::Refused(refusal)) => return Err(Status::failed_precondition(refusal.message)),
            Ok(_) => {}
            Err(error) => return Err(Status::unavailable(error.to_string())),
        }
        tracing::info!(node = request.name, node_id, witness = request.witness, "a node joined");
        self.answer(&request, node_id, node_hosts(public, cluster.ip(), &request.name), now)
    }
}

impl JoinDesk {
    fn check_name(&self, request: &JoinRequest) -> Result<(), Status> {
        let state = self.ledger.state();
        if state.members().any(|m| !m.retired && m.name == request.name) {
            return Err(Status::already_exists(format!(
                "the cluster already has a node called {}; give this one another name, or remove the old one first",
                request.name
            )));
        }
        if request.version != env!("CARGO_PKG_VERSION") {
            return Err(Status::failed_precondition(format!(
                "this node runs version {} and the joining one {}; install the same on both",
                env!("CARGO_PKG_VERSION"),
                request.version
            )));
        }
        Ok(())
    }

    /// Ids are never reused: retired members keep their record.
    fn fresh_id(&self) -> u64 {
        let highest = self.ledger.state().members().map(|m| m.node_id).max().unwrap_or(0);
        highest.max(self.identity.file.node_id) + 1
    }

    fn answer(
        &self,
        request: &JoinRequest,
        node_id: u64,
        hosts: Vec<String>,
        now: Millis,
    ) -> Result<JoinResponse, Status> {
        let internal = |e: crate::pki::PkiError| Status::internal(e.to_string());
        let file = &self.identity.file;
        let (Some(ca), Some(sealer)) = (&self.identity.ca, &self.identity.sealer) else {
            return Err(Status::failed_precondition("a witness lets nobody in; ask the primary node"));
        };
        let cert =
            node_certificate(ca, &request.csr, node_id, &file.cluster_id, &request.name, hosts, node_life(now, now));
        let (sealing_key, ca_key) = match request.witness {
            true => (Vec::new(), Vec::new()),
            false => (sealer.to_bytes().to_vec(), ca.key_pkcs8().to_vec()),
        };
        let epoch_id = hex::decode(&file.epoch_id).map_err(|e| Status::internal(e.to_string()))?;
        Ok(JoinResponse {
            node_id,
            cluster_id: file.cluster_id.clone(),
            epoch_counter: file.epoch_counter,
            epoch_id: epoch_id.into(),
            ca_certificate: self.identity.ca_cert.clone().into(),
            node_certificate: cert.map_err(internal)?.into(),
            sealing_key: sealing_key.into(),
            ca_key: ca_key.into(),
            heartbeat_ms: file.heartbeat_ms,
            election_min_ms: file.election_min_ms,
            election_max_ms: file.election_max_ms,
            peer_name: file.name.clone(),
        })
    }
}

fn addresses(request: &JoinRequest) -> Result<(IpAddr, SocketAddr), String> {
    let JoinRequest { name, public_address, cluster_address, .. } = request;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a node's name has 1 to {MAX_NAME} characters"));
    }
    let public = public_address.parse().map_err(|_| format!("{public_address:?} is not an IP address"))?;
    let cluster = cluster_address.parse().map_err(|_| format!("{cluster_address:?} is not an address with a port"))?;
    Ok((public, cluster))
}
