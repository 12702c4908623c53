//! What a person sets for themselves.

use crate::admin::{AdminError, Kind, time_zones};
use crate::gui::App;
use crate::gui::act::{Done, Entered, Posted, called};
use crate::gui::nav::Nav;
use crate::gui::view::{Shell, Viewer, page};
use crate::license::{LIST_ROWS, StartPage};
use crate::proto::admin::users_server::Users;
use crate::proto::admin::{Preferences, SetPreferencesRequest};
use crate::web::form::Form;
use askama::Template;
use axum::extract::State as Of;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use std::sync::Arc;

const HREF: &str = "/preferences";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route(HREF, get(show).post(set))
}

#[derive(Template)]
#[template(path = "preferences.html")]
struct PreferencesPage {
    shell: Shell,
    rows: Vec<(u64, bool)>,
    /// The workspaces to begin in; only where there is a choice.
    starts: Vec<(&'static str, &'static str, bool)>,
    zones: Vec<String>,
    zone: String,
    live: bool,
    entered: Entered,
}

fn rendered(app: &App, viewer: &Viewer, uri: &Uri, entered: Entered) -> Response {
    let state = app.state();
    let own = &viewer.user.preferences;
    let start = |page: StartPage| {
        let text = match page {
            StartPage::Licensing => "Licensing",
            StartPage::Administration => "Administration",
        };
        (page.as_str(), text, own.start == page)
    };
    let choice = Nav::start(&state, viewer, StartPage::Administration) != "/";
    let template = PreferencesPage {
        shell: Shell::new(&state, viewer, HREF, "Preferences").noting(uri),
        rows: LIST_ROWS.map(|rows| (rows, own.rows == rows)).to_vec(),
        starts: if choice { StartPage::ALL.map(start).to_vec() } else { Vec::new() },
        zones: time_zones(),
        zone: own.time_zone.clone(),
        live: own.live,
        entered,
    };
    page(template.entered.status(), &template)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    rendered(&app, &viewer, &uri, Entered::default())
}

async fn set(Of(app): Of<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    match carry_out(&app, &viewer, &form).await {
        Ok(()) => Done::PreferencesSet.at(HREF),
        Err(error) => rendered(&app, &viewer, &uri, Entered::refused(form, error)),
    }
}

async fn carry_out(app: &App, viewer: &Viewer, form: &Form) -> Result<(), AdminError> {
    let rows = form.number("rows", "the number of rows")?;
    let start = form.get("start");
    let preferences = Preferences {
        rows: rows.ok_or_else(|| AdminError::new(Kind::Invalid, "no number of rows was chosen"))?,
        // Where there is no choice it stays.
        start: if start.is_empty() { viewer.user.preferences.start.to_string() } else { start.to_string() },
        time_zone: form.get("zone").to_string(),
        live: form.get("live").as_str() == "yes",
    };
    let asked = SetPreferencesRequest { name: viewer.user.name.clone(), preferences: Some(preferences) };
    called(Users::set_preferences(&app.context.service, viewer.ask(form, asked)).await).map(drop)
}
