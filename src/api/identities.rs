//! Certificates of administrators elsewhere.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::admin::rfc3339;
use crate::license::{Action, Millis, Place};
use crate::pki::ca::certificates_pem;
use crate::proto::admin::admin_identities_server::AdminIdentities;
use crate::proto::admin::{AdminIdentityRef, CreateAdminIdentityRequest, ListAdminIdentitiesRequest};
use http::StatusCode;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A certificate with which the command line administers this cluster from elsewhere.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminIdentity {
    name: String,
    role: String,
    created: String,
    created_by: String,
    expires: String,
    expired: bool,
}

/// A key that shall be certified.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// Letters, digits, `-`, `_` and `.`.
    name: String,
    /// A role for the whole server; `read-only` if left out.
    #[serde(default)]
    role: String,
    /// How long it is valid; 90 days if left out.
    #[serde(default)]
    days: u64,
    /// PKCS#10 request in PEM, for a key that stays where it is.
    csr: String,
}

/// What goes with the key on the other machine, in PEM.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityMade {
    certificate: String,
    /// Tells the nodes from impostors.
    cluster_ca: String,
    expires: String,
}

/// All admin identities.
#[utoipa::path(
    get, path = "/api/v1/admin-identities", tag = "people and programs",
    responses((status = 200, body = Vec<AdminIdentity>), Problems), security(("bearer" = []))
)]
pub async fn list(app: Api, client: Client) -> Answer<Vec<AdminIdentity>> {
    client.require(Action::Look, Place::Server, &app.state())?;
    let asked = app.ask(&client, ListAdminIdentitiesRequest {});
    let reply = done(AdminIdentities::list(&app.context.service, asked).await)?;
    let row = |identity: crate::proto::admin::AdminIdentity| AdminIdentity {
        name: identity.name,
        role: identity.role,
        created: rfc3339(Millis(identity.created_ms)),
        created_by: identity.created_by,
        expires: rfc3339(Millis(identity.expires_ms)),
        expired: identity.expired,
    };
    Ok(axum::Json(reply.identities.into_iter().map(row).collect()))
}

/// Certify a key for administration from elsewhere.
#[utoipa::path(
    post, path = "/api/v1/admin-identities", tag = "people and programs", request_body = NewIdentity,
    responses((status = 200, body = IdentityMade), Problems), security(("bearer" = []))
)]
pub async fn create(app: Api, client: Client, Body(new): Body<NewIdentity>) -> Answer<IdentityMade> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    let csr = CertificateSigningRequestDer::from_pem_slice(new.csr.as_bytes())
        .map_err(|error| Problem::invalid(format!("csr is no PKCS#10 request in PEM: {error}")))?;
    let (name, role, days, csr) = (new.name, new.role, new.days, csr.to_vec().into());
    let asked = app.ask(&client, CreateAdminIdentityRequest { name, role, days, csr });
    let made = done(AdminIdentities::create(&app.context.service, asked).await)?;
    Ok(axum::Json(IdentityMade {
        certificate: certificates_pem([&*made.certificate]),
        cluster_ca: certificates_pem([&*made.cluster_ca]),
        expires: rfc3339(Millis(made.expires_ms)),
    }))
}

/// End an admin identity at once, also on connections that are open.
#[utoipa::path(
    delete, path = "/api/v1/admin-identities/{name}", tag = "people and programs", params(("name" = String, Path)),
    responses((status = 204, description = "Revoked"), Problems), security(("bearer" = []))
)]
pub async fn revoke(app: Api, client: Client, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    client.require(Action::ManageUsers, Place::Server, &app.state())?;
    done(AdminIdentities::revoke(&app.context.service, app.ask(&client, AdminIdentityRef { name })).await)?;
    Ok(StatusCode::NO_CONTENT)
}
