//! Request files: uploaded here, answered with the response file. The same bytes as over the network.

use super::{App, Viewer, unexpected};
use crate::central::admin::{AdminReply, AdminRequest};
use crate::central::serve::DOCUMENT_TYPE;
use crate::web::sign_in::sentence;
use crate::web::view::{Shell, page};
use askama::Template;
use axum::Extension;
use axum::extract::multipart::MultipartError;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "central_files.html")]
struct FilesPage {
    shell: Shell,
    error: Option<String>,
}

fn show(viewer: &Viewer, status: StatusCode, error: Option<String>) -> Response {
    page(status, &FilesPage { shell: viewer.shell("/files", "Request Files"), error })
}

pub async fn form(Extension(viewer): Extension<Viewer>) -> Response {
    show(&viewer, StatusCode::OK, None)
}

pub async fn answer(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    mut upload: Multipart,
) -> Response {
    let document = match read(&mut upload).await {
        Ok(document) => document,
        Err(error) => return show(&viewer, error.status(), Some(sentence(&error.body_text()))),
    };
    if document.is_empty() {
        let error = "No file was chosen. Choose the one that the on-prem server exported.".to_owned();
        return show(&viewer, StatusCode::UNPROCESSABLE_ENTITY, Some(error));
    }
    // What is no text is no request either; central's own check says so.
    let document = String::from_utf8_lossy(&document).into_owned();
    match app.shared.admin(viewer.caller(), AdminRequest::Answer { document }).await {
        Ok(AdminReply::Document(response)) => {
            let headers =
                [(CONTENT_TYPE, DOCUMENT_TYPE), (CONTENT_DISPOSITION, "attachment; filename=\"response.json\"")];
            (headers, response).into_response()
        }
        Ok(_) => unexpected(),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            show(&viewer, status, Some(sentence(&problem.detail)))
        }
    }
}

/// The field with the file.
async fn read(upload: &mut Multipart) -> Result<Vec<u8>, MultipartError> {
    while let Some(field) = upload.next_field().await? {
        if field.name() == Some("request") {
            return Ok(field.bytes().await?.to_vec());
        }
    }
    Ok(Vec::new())
}
