//! What products and browsers see of this server.

use super::extract::{Body, Client};
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::admin::{AdminError, rfc3339};
use crate::license::{Action, Millis, Place};
use crate::proto::admin::certificates_server::Certificates as Service;
use crate::proto::admin::{
    self, ImportBrowserRequest, ResetBrowserRequest, RotateSealingKeyRequest, ShowCertificateRequest,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The certificates in force and on the way.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// Who has signed what products see: `central` or `cluster CA`.
    signed_by: String,
    common_name: String,
    names: Vec<String>,
    /// None: the nodes renew it by themselves.
    expires: Option<String>,
    /// What central is to sign in its next response.
    pending: Option<Pending>,
    /// What was brought for browsers; none: they see what the cluster CA issues.
    browsers: Option<BrowserCertificate>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    common_name: String,
    names: Vec<String>,
    since: String,
}

/// What browsers see.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrowserCertificate {
    common_name: String,
    names: Vec<String>,
    expires: String,
    imported: String,
    /// The name by which browsers reach this server, where the certificate does not cover it any more.
    not_covered: Option<String>,
}

impl From<admin::BrowserCertificate> for BrowserCertificate {
    fn from(certificate: admin::BrowserCertificate) -> Self {
        Self {
            common_name: certificate.common_name,
            names: certificate.hosts,
            expires: rfc3339(Millis(certificate.not_after_ms)),
            imported: rfc3339(Millis(certificate.imported_ms)),
            not_covered: Some(certificate.not_covered).filter(|name| !name.is_empty()),
        }
    }
}

/// A certificate for browsers: `pem`, or `pkcs12` with its password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Brought {
    /// The server's certificate first, then each one's issuer; the private key may be among them.
    pem: Option<String>,
    /// The private key, PEM, where `pem` has none.
    key: Option<String>,
    /// Base64 of a PKCS#12 file.
    pkcs12: Option<String>,
    /// Of the PKCS#12 file.
    #[serde(default)]
    password: String,
}

/// The certificates that products and browsers see.
#[utoipa::path(
    get, path = "/api/v1/certificates", tag = "server",
    responses((status = 200, body = Certificates), Problems), security(("bearer" = []))
)]
pub async fn show(app: Api, client: Client) -> Answer<Certificates> {
    client.require(Action::Look, Place::Server, &app.state())?;
    let asked = ShowCertificateRequest { common_name: String::new() };
    let reply = done(Service::show(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(axum::Json(Certificates {
        signed_by: reply.issuer,
        common_name: reply.common_name,
        names: reply.hosts,
        expires: (reply.not_after_ms > 0).then(|| rfc3339(Millis(reply.not_after_ms))),
        pending: reply.wanted.map(|wanted| Pending {
            common_name: wanted.common_name,
            names: wanted.hosts,
            since: rfc3339(Millis(wanted.since_ms)),
        }),
        browsers: reply.browser.map(Into::into),
    }))
}

/// Take a certificate for browsers. It is checked first; one that is not fit is refused, and nothing changes.
#[utoipa::path(
    put, path = "/api/v1/certificates/browser", tag = "server", request_body = Brought,
    responses((status = 200, body = BrowserCertificate), Problems), security(("bearer" = []))
)]
pub async fn import(app: Api, client: Client, Body(brought): Body<Brought>) -> Answer<BrowserCertificate> {
    client.require(Action::ManageSettings, Place::Server, &app.state())?;
    let file = match (brought.pem, brought.pkcs12) {
        (Some(pem), None) => pem.into_bytes(),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map_err(|error| Problem::invalid(format!("pkcs12 is no base64: {error}")))?
        }
        _ => return Err(Problem::invalid("give either pem or pkcs12")),
    };
    let key = brought.key.unwrap_or_default().into_bytes();
    let asked = ImportBrowserRequest { file: file.into(), key: key.into(), password: brought.password };
    let taken = done(Service::import_browser(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(axum::Json(taken.into()))
}

/// Give up the certificate for browsers: they see what the cluster CA issues again.
#[utoipa::path(
    delete, path = "/api/v1/certificates/browser", tag = "server",
    responses((status = 204, description = "Given up"), Problems), security(("bearer" = []))
)]
pub async fn reset(app: Api, client: Client) -> Result<StatusCode, Problem> {
    client.require(Action::ManageSettings, Place::Server, &app.state())?;
    done(Service::reset_browser(&app.context.service, app.ask(&client, ResetBrowserRequest {})).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// How the sealing key was changed.
#[derive(Serialize, ToSchema)]
pub struct Rotated {
    /// What was done, in words.
    steps: Vec<String>,
}

/// Make a new key for the secrets that the nodes keep, and seal everything under it. Answers when that is done.
///
/// Every data node must be up; if one cannot take the key, the old one stays. Access tokens end with the old key.
#[utoipa::path(
    post, path = "/api/v1/certificates/sealing-key", tag = "server",
    responses((status = 200, body = Rotated), Problems), security(("bearer" = []))
)]
pub async fn rotate_sealing_key(app: Api, client: Client) -> Answer<Rotated> {
    client.require(Action::ManageCluster, Place::Server, &app.state())?;
    let asked = app.ask(&client, RotateSealingKeyRequest {});
    let replies = done(Service::rotate_sealing_key(&app.context.service, asked).await)?;
    let steps = replies.map_ok(|step| step.text).try_collect().await.map_err(AdminError::from)?;
    Ok(axum::Json(Rotated { steps }))
}
