//! The whole server in one sealed file.

use super::extract::{Body, Client};
use super::problem::{Problem, Problems};
use super::{Api, done};
use crate::admin::{backup_data, backup_name};
use crate::license::{Action, Place};
use crate::proto::admin::SaveBackupRequest;
use crate::proto::admin::cluster_server::Cluster;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use utoipa::ToSchema;

/// How a backup is sealed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBackup {
    /// Nobody can open the backup without it.
    passphrase: String,
}

/// Save a backup: the file of `licraft backup save`, which `licraft backup verify` and `restore` take.
#[utoipa::path(
    post, path = "/api/v1/backups", tag = "server", request_body = NewBackup,
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), Problems),
    security(("bearer" = []))
)]
pub async fn save(app: Api, client: Client, Body(new): Body<NewBackup>) -> Result<Response, Problem> {
    client.require(Action::ManageCluster, Place::Server, &app.state())?;
    let asked = app.ask(&client, SaveBackupRequest { passphrase: new.passphrase });
    let replies = done(Cluster::save_backup(&app.context.service, asked).await)?;
    let name = format!("attachment; filename=\"{}\"", backup_name((app.context.clock)()));
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, axum::body::Body::from_stream(backup_data(replies))).into_response())
}
