//! Backups: the whole server as a file to keep, and what is in one. Restoring is not for a page: it ends the server that
//! shows the page.

use crate::admin::{AdminError, Kind, backup_data, backup_name};
use crate::backup::{MAX_PASSPHRASE_BYTES, MIN_PASSPHRASE_BYTES};
use crate::gui::App;
use crate::gui::act::{Posted, called, failed, status};
use crate::gui::aside::Aside;
use crate::gui::view::{Shell, Time, Viewer, page};
use crate::license::{Action, Event, Millis, Place, State};
use crate::proto::admin::cluster_server::Cluster;
use crate::proto::admin::{BackupLag, BackupManifest, SaveBackupRequest};
use crate::store::MAX_SNAPSHOT_BYTES;
use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, Multipart, State as Of};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use zeroize::Zeroizing;

const HREF: &str = "/backups";
/// Backups that the page tells of.
const SHOWN: usize = 10;
/// The largest snapshot with what is around it in a backup and in the form: a chunk of 64 KiB has 20 bytes more.
const MAX_UPLOAD: u64 = MAX_SNAPSHOT_BYTES + MAX_SNAPSHOT_BYTES / 1024;
/// How long an upload may take, and its next part.
const UPLOAD: Duration = Duration::from_secs(15 * 60);
const NEXT_PART: Duration = Duration::from_secs(30);
/// Parts that wait for being looked at; the browser waits with the next one.
const WAITING: usize = 4;

pub fn routes() -> Router<Arc<App>> {
    let largest = usize::try_from(MAX_UPLOAD).unwrap_or(usize::MAX);
    Router::new()
        .route(HREF, get(show))
        .route("/backups/save", post(save))
        .route("/backups/verify", post(verify).layer(DefaultBodyLimit::max(largest)))
}

/// The events that tell of backups, newest first.
pub fn saved(state: &State) -> impl Iterator<Item = &Event> {
    let mut events: Vec<_> = state.events(0).filter(|event| event.kind == "backup-saved").collect();
    events.reverse();
    events.into_iter()
}

/// A backup that was looked through.
struct Checked {
    manifest: BackupManifest,
    /// Whether it is of this server.
    own: bool,
    as_of: Time,
    written: Time,
    lag: String,
}

impl Checked {
    fn of(state: &State, manifest: BackupManifest) -> Self {
        Self {
            own: manifest.server_uid == state.meta().server_uid,
            as_of: Time(Millis(manifest.as_of_ms)),
            written: Time(Millis(manifest.written_ms)),
            lag: lag(&manifest),
            manifest,
        }
    }
}

fn lag(manifest: &BackupManifest) -> String {
    match manifest.lag {
        None => "nothing: it was saved on the active node".into(),
        Some(BackupLag { silence_ms: None, .. }) => {
            "what other nodes acknowledged may be missing: no node was active".into()
        }
        Some(BackupLag { entries: 0, .. }) => "nothing that its standby knew of".into(),
        Some(BackupLag { entries, .. }) => format!("{entries} log entries of the active node"),
    }
}

/// What somebody asked for here came to.
#[derive(Default)]
enum Outcome {
    #[default]
    None,
    NotSaved(AdminError),
    Checked(Box<Checked>),
    NotChecked(AdminError),
}

#[derive(Template)]
#[template(path = "backups.html")]
struct BackupsPage {
    shell: Shell,
    saved: Vec<(Time, String, String)>,
    shortest: usize,
    longest: usize,
    outcome: Outcome,
}

async fn page_of(app: &App, viewer: &Viewer, outcome: Outcome) -> Response {
    let state = app.state();
    let saved = saved(&state).take(SHOWN);
    let template = BackupsPage {
        shell: Shell::new(&state, viewer, HREF, "Backups").beside(&Aside::of(app, viewer, &state).await),
        saved: saved.map(|event| (Time(event.at), event.actor.clone(), event.message.clone())).collect(),
        shortest: MIN_PASSPHRASE_BYTES,
        longest: MAX_PASSPHRASE_BYTES,
        outcome,
    };
    let code = match &template.outcome {
        Outcome::NotSaved(error) | Outcome::NotChecked(error) => status(error),
        Outcome::None | Outcome::Checked(_) => StatusCode::OK,
    };
    page(code, &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    page_of(&app, &viewer, Outcome::None).await
}

/// The backup as a download. It breaks off, for the browser to tell, when the backup cannot be written to its end.
async fn save(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let begun = async {
        viewer.require(Action::ManageCluster, Place::Server, &app.state())?;
        let passphrase = form.get("passphrase");
        if passphrase != form.get("repeated") {
            return Err(AdminError::new(Kind::Invalid, "the passphrase and its repetition differ"));
        }
        let asked = SaveBackupRequest { passphrase: passphrase.to_string() };
        called(Cluster::save_backup(&app.context.service, viewer.ask(&form, asked)).await)
    };
    let replies = match begun.await {
        Ok(replies) => replies,
        Err(error) => return page_of(&app, &viewer, Outcome::NotSaved(error)).await,
    };
    let name = format!("attachment; filename=\"{}\"", backup_name((app.context.clock)()));
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, name)];
    (headers, Body::from_stream(backup_data(replies))).into_response()
}

/// Says what is in a file that is sent here; nothing of it is kept.
async fn verify(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, upload: Multipart) -> Response {
    if let Err(error) = viewer.require(Action::ManageCluster, Place::Server, &app.state()) {
        return failed(&app, &viewer, error, HREF, HREF);
    }
    let outcome = match timeout(UPLOAD, looked_through(&app, upload)).await {
        Ok(Ok(manifest)) => Outcome::Checked(Box::new(Checked::of(&app.state(), manifest))),
        Ok(Err(error)) => Outcome::NotChecked(error),
        Err(_) => Outcome::NotChecked(
            unreadable(format!("it had not arrived after {} minutes", UPLOAD.as_secs() / 60))
                .hint("check it where it lies, with `licraft backup verify`"),
        ),
    };
    page_of(&app, &viewer, outcome).await
}

async fn looked_through(app: &App, mut upload: Multipart) -> Result<BackupManifest, AdminError> {
    let mut passphrase = Zeroizing::new(String::new());
    while let Some(mut part) = upload.next_field().await.map_err(|error| unreadable(error.body_text()))? {
        match part.name() {
            Some("passphrase") => passphrase = text(&mut part).await?,
            Some("file") => {
                let (tx, rx) = mpsc::channel(WAITING);
                let look = app.context.service.look_through_backup(passphrase, ReceiverStream::new(rx));
                let (looked, ()) = tokio::join!(look, pass_on(part, tx));
                return looked;
            }
            _ => {}
        }
    }
    Err(AdminError::new(Kind::Invalid, "no file was chosen").hint("choose the file that a backup was saved to"))
}

/// A short field.
async fn text(part: &mut Field<'_>) -> Result<Zeroizing<String>, AdminError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES));
    while let Some(more) = part.chunk().await.map_err(|error| unreadable(error.body_text()))? {
        if bytes.len() + more.len() > MAX_PASSPHRASE_BYTES {
            return Err(AdminError::new(Kind::Invalid, "the passphrase is longer than any")
                .because(format!("at most {MAX_PASSPHRASE_BYTES} bytes are taken")));
        }
        bytes.extend_from_slice(&more);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| AdminError::new(Kind::Invalid, "the passphrase is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Passes the file on, part by part. What nobody looks at any more is read all the same: a browser shows the answer only
/// when it could send everything.
async fn pass_on(mut file: Field<'_>, to: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let part = match timeout(NEXT_PART, file.chunk()).await {
            Ok(Ok(Some(part))) => Ok(part),
            Ok(Ok(None)) => return,
            Ok(Err(error)) => Err(io::Error::other(error.body_text())),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the next part did not come")),
        };
        let broken = part.is_err();
        // Whoever looked may have seen enough.
        let _ = to.send(part).await;
        if broken {
            return;
        }
    }
}

fn unreadable(why: String) -> AdminError {
    AdminError::new(Kind::Invalid, "the file could not be read").because(why)
}
