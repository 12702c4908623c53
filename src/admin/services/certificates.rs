//! What products see of this server.

use crate::admin::service::Service;
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

/// Instances that a warning names.
const NAMED: usize = 10;

#[tonic::async_trait]
impl certificates_server::Certificates for Service {
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
        }))
    }
}
