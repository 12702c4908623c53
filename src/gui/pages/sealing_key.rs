//! The change of the sealing key: begun here, and told step by step on the page Security.

use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Posted, called, failed};
use crate::gui::view::{Shell, Viewer};
use crate::license::{Action, Place};
use crate::proto::admin::RotateSealingKeyRequest;
use crate::proto::admin::certificates_server::Certificates;
use axum::extract::State as Of;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use futures::StreamExt;
use std::sync::Arc;

const BACK: &str = "/security";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/security/sealing-key", get(confirm).post(begin))
}

/// How the change goes that was begun here last.
#[derive(Clone, Default)]
pub struct Rotation {
    pub steps: Vec<String>,
    /// What it came to, once it has ended.
    pub ended: Option<Result<(), AdminError>>,
}

fn allowed(app: &App, viewer: &Viewer) -> Result<(), AdminError> {
    viewer.require(Action::ManageCluster, Place::Server, &app.state())
}

async fn confirm(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    if let Err(error) = allowed(&app, &viewer) {
        return failed(&app, &viewer, error, BACK, BACK);
    }
    Confirm {
        shell: Shell::new(&app.state(), &viewer, BACK, "Change the sealing key"),
        says: vec![
            "A new key is made and handed to every data node; everything is sealed anew under it, and then the old one \
             is forgotten."
                .into(),
            "Every data node must be up. If one cannot take the key, the old one stays.".into(),
            "Access tokens of the REST API end: programs ask for new ones with their id and secret. Nobody is signed \
             out, and products notice nothing."
                .into(),
            "Backups that were saved before keep the key that is in them.".into(),
        ],
        button: "Change the key",
        reason: None,
        fields: Vec::new(),
        back: BACK.into(),
    }
    .page()
}

async fn begin(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let begun = async {
        allowed(&app, &viewer)?;
        {
            let mut rotation = app.rotation.lock();
            if rotation.as_ref().is_some_and(|rotation| rotation.ended.is_none()) {
                return Err(AdminError::new(Kind::State, "the sealing key is being changed already"));
            }
            *rotation = Some(Rotation::default());
        }
        let asked = viewer.ask(&form, RotateSealingKeyRequest {});
        called(Certificates::rotate_sealing_key(&app.context.service, asked).await).inspect_err(|_| {
            *app.rotation.lock() = None;
        })
    };
    let mut replies = match begun.await {
        Ok(replies) => replies,
        Err(error) => return failed(&app, &viewer, error, BACK, BACK),
    };
    let told = Arc::clone(&app);
    tokio::spawn(async move {
        let mut ended = Ok(());
        while let Some(reply) = replies.next().await {
            match reply {
                Ok(step) => told.rotation.lock().iter_mut().for_each(|r| r.steps.push(step.text.clone())),
                Err(status) => ended = Err(AdminError::from(status)),
            }
        }
        told.rotation.lock().iter_mut().for_each(|rotation| rotation.ended = Some(ended.clone()));
    });
    Done::WorkBegun.at(BACK)
}
