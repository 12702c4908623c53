//! Synchronization with central: over the network, by files, and by itself.

use super::accounts::{find, sync_badge};
use crate::admin::{AdminError, Kind};
use crate::central::schedule;
use crate::gui::App;
use crate::gui::act::{Done, Entered, Posted, called, failed};
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, MaybeTime, Shell, Viewer, page};
use crate::license::{Account, AccountStatus, Action, Place, Schedule, State};
use crate::proto::admin::sync_server::Sync;
use crate::proto::admin::{
    AccountRef, EntitlementChange, ImportResponseRequest, ScheduleRequest, SyncEvery, SyncSchedule,
};
use crate::web::form::Form;
use askama::Template;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Multipart, Path, State as Of};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{StatusCode, Uri};
use std::sync::Arc;

const HREF: &str = "/synchronization";
/// A response of central with what is around it in the form.
const MAX_UPLOAD: usize = crate::central::document::MAX_DOCUMENT_BYTES + 4 * 1024;

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show))
        .route("/synchronization/import", post(import).layer(DefaultBodyLimit::max(MAX_UPLOAD)))
        .route("/synchronization/take", post(take))
        .route("/synchronization/{id}", get(account))
        .route("/synchronization/{id}/now", post(now))
        .route("/synchronization/{id}/schedule", post(set_schedule))
        .route("/synchronization/{id}/request.json", post(export))
}

struct Row {
    id: u64,
    name: String,
    /// What the incumbent calls the server's name at central.
    satellite: String,
    last: MaybeTime,
    due: MaybeTime,
    next: MaybeTime,
    schedule: String,
    alert: Option<Badge>,
    failure: String,
    seq: u64,
    outstanding: bool,
    may: bool,
}

impl Row {
    fn of(state: &State, viewer: &Viewer, account: &Account) -> Self {
        let sync = &account.sync;
        Self {
            id: account.id.0,
            name: account.name.clone(),
            satellite: format!("{} / {}", account.smart_account, account.virtual_account),
            last: MaybeTime(sync.last_success),
            due: MaybeTime(sync.due),
            next: MaybeTime(schedule::next(state, account)),
            schedule: sync.schedule.to_string(),
            alert: sync_badge(account),
            failure: sync.last_failure.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
            seq: sync.seq,
            outstanding: sync.outstanding.is_some(),
            may: viewer.may(Action::Synchronize, Place::Account(account.id), state),
        }
    }
}

/// Those that have something to synchronize.
fn bound(account: &Account) -> bool {
    !matches!(account.status, AccountStatus::Requested | AccountStatus::Rejected)
}

#[derive(Template)]
#[template(path = "synchronization.html")]
struct SynchronizationPage {
    shell: Shell,
    rows: Vec<Row>,
    central: String,
    may_import: bool,
    error: Option<AdminError>,
}

async fn page_of(app: &App, viewer: &Viewer, uri: &Uri, error: Option<AdminError>) -> Response {
    let state = app.state();
    let accounts = viewer.accounts(&state);
    let rows: Vec<_> = accounts.into_iter().filter(|a| bound(a)).map(|a| Row::of(&state, viewer, a)).collect();
    let template = SynchronizationPage {
        shell: Shell::new(&state, viewer, HREF, "Synchronization")
            .noting(uri)
            .beside(&Aside::of(app, viewer, &state).await),
        may_import: rows.iter().any(|row| row.may),
        rows,
        central: state.settings().central_url.clone(),
        error,
    };
    page(template.error.as_ref().map_or(StatusCode::OK, crate::gui::act::status), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    page_of(&app, &viewer, &uri, None).await
}

const EVERY: [(&str, &str); 4] =
    [("off", "Only when asked"), ("daily", "Daily"), ("weekly", "Weekly"), ("monthly", "Monthly")];

#[derive(Template)]
#[template(path = "synchronize_account.html")]
struct AccountPage {
    shell: Shell,
    row: Row,
    /// How often it may be: word, text, and whether it is so.
    every: [(&'static str, &'static str, bool); 4],
    at: String,
    day: u8,
    entered: Entered,
}

async fn account_page(app: &App, viewer: &Viewer, uri: &Uri, id: u64, entered: Entered) -> Response {
    let state = app.state();
    let account = match find(&state, viewer, id) {
        Ok(account) => account,
        Err(error) => return failed(app, viewer, error, HREF, HREF),
    };
    let (every, minute, day) = match account.sync.schedule {
        Schedule::Off => ("off", 120, 1),
        Schedule::Daily { minute } => ("daily", minute, 1),
        Schedule::Weekly { weekday, minute } => ("weekly", minute, weekday + 1),
        Schedule::Monthly { day, minute } => ("monthly", minute, day),
    };
    let template = AccountPage {
        shell: Shell::new(&state, viewer, HREF, "Synchronize account")
            .noting(uri)
            .beside(&Aside::of(app, viewer, &state).await),
        row: Row::of(&state, viewer, account),
        every: EVERY.map(|(word, text)| (word, text, word == every)),
        at: format!("{:02}:{:02}", minute / 60, minute % 60),
        day,
        entered,
    };
    page(template.entered.status(), &template)
}

async fn account(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<u64>,
    uri: Uri,
) -> Response {
    account_page(&app, &viewer, &uri, id, Entered::default()).await
}

/// The reference by which the service knows the account, if this person may synchronize it.
fn allowed(app: &App, viewer: &Viewer, id: u64) -> Result<AccountRef, AdminError> {
    let state = app.state();
    let account = find(&state, viewer, id)?;
    viewer.require(Action::Synchronize, Place::Account(account.id), &state)?;
    Ok(AccountRef { account: format!("#{id}") })
}

async fn now(Of(app): Of<Arc<App>>, Path(id): Path<u64>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        let asked = allowed(&app, &viewer, id)?;
        called(Sync::now(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => Done::Synchronized.at(HREF),
        Err(error) => page_of(&app, &viewer, &uri, Some(error)).await,
    }
}

async fn set_schedule(
    Of(app): Of<Arc<App>>,
    Path(id): Path<u64>,
    uri: Uri,
    Posted { viewer, form }: Posted,
) -> Response {
    let result = async {
        let AccountRef { account } = allowed(&app, &viewer, id)?;
        let asked = ScheduleRequest { account, schedule: Some(schedule_of(&form)?) };
        called(Sync::schedule(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => Done::Scheduled.at(&format!("{HREF}/{id}")),
        Err(error) => account_page(&app, &viewer, &uri, id, Entered::refused(form, error)).await,
    }
}

fn schedule_of(form: &Form) -> Result<SyncSchedule, AdminError> {
    let time = form.get("at");
    let minute = time.split_once(':').and_then(|(h, m)| Some(h.parse::<u32>().ok()? * 60 + m.parse::<u32>().ok()?));
    let minute = minute.ok_or_else(|| AdminError::new(Kind::Invalid, "the time is not like 03:30"))?;
    let day = form.number("day", "the day")?.and_then(|day| u32::try_from(day).ok()).unwrap_or(1);
    let (every, day) = match form.get("every").as_str() {
        "off" => (SyncEvery::Off, 0),
        "daily" => (SyncEvery::Daily, 0),
        // People count the days of the week from 1, Monday.
        "weekly" => (SyncEvery::Weekly, day.wrapping_sub(1)),
        "monthly" => (SyncEvery::Monthly, day),
        _ => (SyncEvery::Unspecified, 0),
    };
    Ok(SyncSchedule { every: every.into(), minute, day })
}

/// The request document, as a file to carry to central.
async fn export(Of(app): Of<Arc<App>>, Path(id): Path<u64>, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        let asked = allowed(&app, &viewer, id)?;
        called(Sync::export_request(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(reply) => {
            let name = format!("attachment; filename=\"request-{id}-{}.json\"", reply.seq);
            ([(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_DISPOSITION, name)], reply.document)
                .into_response()
        }
        Err(error) => failed(&app, &viewer, error, HREF, HREF),
    }
}

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage {
    shell: Shell,
    account: String,
    changes: Vec<EntitlementChange>,
    /// The response, base64: taken only when it is confirmed.
    document: String,
}

/// Shows what a response of central would change.
async fn import(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri, upload: Multipart) -> Response {
    let looked = async {
        let document = file_of(upload).await?;
        let asked = ImportResponseRequest { document: document.clone(), dry_run: true };
        let reply = called(Sync::import_response(&app.context.service, viewer.look(asked)).await)?;
        allowed_name(&app, &viewer, &reply.account)?;
        Ok((document, reply))
    };
    match looked.await {
        Ok((document, reply)) => {
            let shell = Shell::new(&app.state(), &viewer, HREF, "Response of central");
            let document = STANDARD.encode(document);
            page(StatusCode::OK, &ImportPage { shell, account: reply.account, changes: reply.changes, document })
        }
        Err(error) => page_of(&app, &viewer, &uri, Some(error)).await,
    }
}

fn allowed_name(app: &App, viewer: &Viewer, name: &str) -> Result<(), AdminError> {
    let state = app.state();
    let place = state.account_by_name(name).map_or(Place::Server, |account| Place::Account(account.id));
    viewer.require(Action::Synchronize, place, &state)
}

async fn file_of(mut upload: Multipart) -> Result<Bytes, AdminError> {
    let unreadable = |e: axum::extract::multipart::MultipartError| {
        AdminError::new(Kind::Invalid, "the file could not be read").because(e.body_text())
    };
    while let Some(part) = upload.next_field().await.map_err(unreadable)? {
        if part.name() == Some("file") {
            let bytes = part.bytes().await.map_err(unreadable)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }
    Err(AdminError::new(Kind::Invalid, "no file was chosen").hint("choose the file that central answered with"))
}

/// Takes a response that was shown before.
async fn take(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri, upload: Multipart) -> Response {
    let taken = async {
        let text = file_of(upload).await?;
        let document: Bytes = STANDARD.decode(text).map(Into::into).map_err(|e| {
            AdminError::new(Kind::Invalid, "the response did not come back as it was").because(e.to_string())
        })?;
        let look = ImportResponseRequest { document: document.clone(), dry_run: true };
        let reply = called(Sync::import_response(&app.context.service, viewer.look(look)).await)?;
        allowed_name(&app, &viewer, &reply.account)?;
        let asked = ImportResponseRequest { document, dry_run: false };
        called(Sync::import_response(&app.context.service, viewer.look(asked)).await)
    };
    match taken.await {
        Ok(_) => Done::Imported.at(HREF),
        Err(error) => page_of(&app, &viewer, &uri, Some(error)).await,
    }
}
