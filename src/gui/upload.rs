//! Small files that people send by forms. They are held in memory, since some are keys, and cleared after use.

use super::App;
use super::pages;
use super::view::{Viewer, see_other};
use crate::admin::{AdminError, Kind};
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a form with small files may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A form with files that somebody who is signed in has sent. Its route limits its size.
pub struct Uploaded {
    pub viewer: Viewer,
    fields: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl FromRequest<Arc<App>> for Uploaded {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        // The session check before has put it there.
        let viewer = request.extensions().get::<Viewer>().cloned();
        let Some(viewer) = viewer else { return Err(see_other("/sign-in")) };
        let again = "Go back and send it again, with smaller files.";
        let unreadable = |status| pages::problem(status, "The form could not be read", again);
        let upload = Multipart::from_request(request, app).await.map_err(|error| unreadable(error.status()))?;
        match tokio::time::timeout(PATIENCE, fields(upload)).await {
            Ok(Ok(fields)) => Ok(Self { viewer, fields }),
            Ok(Err(error)) => Err(unreadable(error.status())),
            Err(_) => Err(unreadable(StatusCode::REQUEST_TIMEOUT)),
        }
    }
}

async fn fields(mut upload: Multipart) -> Result<Vec<(String, Zeroizing<Vec<u8>>)>, MultipartError> {
    let mut fields = Vec::new();
    while let Some(field) = upload.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        fields.push((name, Zeroizing::new(field.bytes().await?.into())));
    }
    Ok(fields)
}

impl Uploaded {
    /// What a field or a file holds; empty when it is not there.
    pub fn get(&self, name: &str) -> &[u8] {
        self.fields.iter().find(|(known, _)| known == name).map_or(&[], |(_, content)| content)
    }

    /// # Errors
    /// When the field is no text.
    pub fn text(&self, name: &str, what: &str) -> Result<&str, AdminError> {
        std::str::from_utf8(self.get(name)).map_err(|_| AdminError::new(Kind::Invalid, format!("{what} is no text")))
    }
}
