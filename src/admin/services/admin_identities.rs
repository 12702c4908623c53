//! Administrators elsewhere: certificates of the cluster CA for keys that never leave their machines.

use super::users;
use crate::admin::caller::ADMIN_URI;
use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::license::{self, ADMIN_IDENTITY_DAYS, CERTIFICATE_BACKDATE, Command, Millis, Role};
use crate::pki::ca::{Authority, Leaf, Purpose, csr_public_key};
use crate::pki::random;
use crate::proto::admin::*;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl admin_identities_server::AdminIdentities for Service {
    async fn list(&self, _: Request<ListAdminIdentitiesRequest>) -> Result<Response<ListAdminIdentitiesReply>, Status> {
        let state = self.state();
        let identity = |identity: &license::AdminIdentity| AdminIdentity {
            name: identity.name.clone(),
            role: identity.role.to_string(),
            created_ms: identity.created.0,
            created_by: identity.created_by.clone(),
            expires_ms: identity.expires.0,
            expired: !identity.live((self.parts.clock)()),
        };
        Ok(Response::new(ListAdminIdentitiesReply { identities: state.admin_identities().map(identity).collect() }))
    }

    /// The record is of the key, so a repeated call for it may give another certificate.
    async fn create(
        &self,
        request: Request<CreateAdminIdentityRequest>,
    ) -> Result<Response<CreateAdminIdentityReply>, Status> {
        let (call, asked) = Call::split(request)?;
        let role = match asked.role.as_str() {
            "" => Role::ReadOnly,
            name => users::role_named(name)?,
        };
        let authority = self.authority()?;
        let unusable = |e: crate::pki::PkiError| {
            AdminError::new(Kind::Invalid, "no certificate can be made").because(e.to_string())
        };
        let key_hash = csr_public_key(&asked.csr).map_err(unusable)?.hash();
        let days = if asked.days == 0 { ADMIN_IDENTITY_DAYS } else { asked.days };
        let now = (self.parts.clock)();
        let expires = now.plus(days.saturating_mul(Millis::DAY));
        let command = Command::CreateAdminIdentity { name: asked.name.clone(), role, key_hash, expires };
        self.change(&call, command).await?;
        // A repeated call has the record of the first one, which may be of another key.
        if self.state().admin_identity(&asked.name).is_some_and(|known| known.key_hash != key_hash) {
            return Err(AdminError::new(Kind::Exists, "the identity was made by this request before, for another key")
                .hint("use what came with that, or revoke it and begin again")
                .into());
        }
        let leaf = Leaf {
            common_name: asked.name.clone(),
            purpose: Purpose::Client,
            hosts: Vec::new(),
            uris: vec![format!("{ADMIN_URI}{}", asked.name)],
            serial: random::bytes(),
            not_before: Millis(now.0.saturating_sub(CERTIFICATE_BACKDATE)),
            not_after: expires,
            crl: None,
        };
        let certificate = authority.issue_leaf(&asked.csr, &leaf).map_err(unusable)?;
        Ok(Response::new(CreateAdminIdentityReply {
            certificate: certificate.into(),
            cluster_ca: authority.cert_der().to_vec().into(),
            expires_ms: expires.0,
        }))
    }

    async fn revoke(&self, request: Request<AdminIdentityRef>) -> Result<Response<Changed>, Status> {
        let (call, AdminIdentityRef { name }) = Call::split(request)?;
        Ok(Response::new(Changed { id: self.change(&call, Command::RevokeAdminIdentity { name }).await? }))
    }
}

impl Service {
    /// The certificate of the cluster's authority, DER: it tells nodes from impostors.
    ///
    /// # Errors
    /// Where this node does not have it.
    pub fn cluster_ca(&self) -> Result<Vec<u8>, AdminError> {
        Ok(self.authority()?.cert_der().to_vec())
    }

    fn authority(&self) -> Result<Authority, AdminError> {
        (self.parts.authority)().ok_or_else(|| {
            AdminError::new(Kind::State, "this node has no key of the cluster's authority")
                .hint("run this on a data node that takes part in the cluster")
        })
    }
}
