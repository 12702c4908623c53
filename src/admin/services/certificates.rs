//! What products and browsers see of this server.

use super::cluster::step;
use super::{Replies, stream_work};
use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::license::{self, Command, State};
use crate::pki::import;
use crate::product::wall_clock;
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

/// Instances that a warning names.
const NAMED: usize = 10;

#[tonic::async_trait]
impl certificates_server::Certificates for Service {
    type RotateSealingKeyStream = Replies<Step>;

    async fn rotate_sealing_key(
        &self,
        request: Request<RotateSealingKeyRequest>,
    ) -> Result<Response<Self::RotateSealingKeyStream>, Status> {
        let (call, _) = Call::split(request)?;
        let (cluster, actor) = (self.parts.cluster.clone(), call.caller.actor);
        Ok(stream_work(|progress| async move { cluster.rotate_sealing_key(&actor, progress).await }, step, |()| None))
    }

    async fn show(&self, request: Request<ShowCertificateRequest>) -> Result<Response<ShowCertificateReply>, Status> {
        let state = self.state();
        let certificate = state.server_certificate();
        let set = state.settings().host_common_name.clone();
        let asked = match request.into_inner().common_name {
            name if name.is_empty() => set.clone(),
            name => name,
        };
        let wanted = certificate.wanted.as_ref().map(|wanted| WantedCertificate {
            common_name: wanted.names.common_name.clone(),
            hosts: wanted.names.hosts.clone(),
            since_ms: wanted.since.0,
        });
        let current = certificate.current.as_ref();
        let names = current.map(|current| current.names.clone()).or_else(|| state.server_names());
        let (common_name, hosts) = names.map(|names| (names.common_name, names.hosts)).unwrap_or_default();
        Ok(Response::new(ShowCertificateReply {
            issuer: if current.is_some() { "central" } else { "cluster CA" }.into(),
            common_name,
            hosts,
            not_after_ms: current.map_or(0, |current| current.not_after.0),
            wanted,
            set_common_name: set,
            lost: state.names_lost(&asked),
            instances: state.instance_count(),
            first_instances: state.instances(None).take(NAMED).map(|instance| instance.name()).collect(),
            browser: state.browser_certificate().map(|certificate| message(&state, certificate)),
        }))
    }

    async fn import_browser(
        &self,
        request: Request<ImportBrowserRequest>,
    ) -> Result<Response<BrowserCertificate>, Status> {
        let (call, asked) = Call::split(request)?;
        let sealer = self.needed_sealer()?;
        let (names, now) = (browser_names(&self.state()), wall_clock()().max(self.state().now()));
        // A PKCS#12 file says how often its password is hashed.
        let read = tokio::task::spawn_blocking(move || {
            let key = (!asked.key.is_empty()).then_some(&*asked.key);
            import::brought(&asked.file, key, &asked.password, &names, now)
        });
        let brought = read.await.map_err(|error| Status::internal(error.to_string()))?.map_err(not_taken)?;
        let certificate = license::BrowserCertificate {
            common_name: brought.common_name,
            hosts: brought.hosts,
            chain: brought.chain,
            key: sealer.seal(license::BrowserCertificate::KEY_CONTEXT, &brought.key_pkcs8),
            not_after: brought.not_after,
            imported: now,
        };
        self.change(&call, Command::SetBrowserCertificate { certificate: Some(certificate) }).await?;
        let state = self.state();
        let taken = state.browser_certificate().map(|certificate| message(&state, certificate));
        Ok(Response::new(taken.unwrap_or_default()))
    }

    async fn reset_browser(&self, request: Request<ResetBrowserRequest>) -> Result<Response<Changed>, Status> {
        let (call, _) = Call::split(request)?;
        let id = self.change(&call, Command::SetBrowserCertificate { certificate: None }).await?;
        Ok(Response::new(Changed { id }))
    }
}

fn not_taken(error: import::ImportError) -> AdminError {
    AdminError::new(Kind::Invalid, "the certificate is not taken, and nothing has changed").because(error.to_string())
}

/// How browsers reach this server: its common name, or the virtual addresses where none is set.
fn browser_names(state: &State) -> Vec<String> {
    let settings = state.settings();
    match settings.host_common_name.as_str() {
        "" => settings.vip.clone(),
        name => vec![name.to_owned()],
    }
}

fn message(state: &State, certificate: &license::BrowserCertificate) -> BrowserCertificate {
    let leaf = certificate.chain.first().map(Vec::as_slice).unwrap_or_default();
    let uncovered = browser_names(state).into_iter().find(|name| !import::covers(leaf, name));
    BrowserCertificate {
        common_name: certificate.common_name.clone(),
        hosts: certificate.hosts.clone(),
        not_after_ms: certificate.not_after.0,
        imported_ms: certificate.imported.0,
        not_covered: uncovered.unwrap_or_default(),
    }
}
