//! Activity: who changed what in the accounts that one sees, newest first.

use super::licenses::field;
use crate::admin::rfc3339;
use crate::gui::App;
use crate::gui::view::{Shell, Time, Viewer, account_choice, page};
use crate::license::{AccountId, Action, Place, State};
use crate::listing::{self, Activity, ActivityKind, ActivitySearch, Needle};
use crate::web::list::{Asked, Choice, List};
use askama::Template;
use axum::extract::State as Of;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{StatusCode, Uri};
use std::sync::Arc;

const HREF: &str = "/activity";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route(HREF, get(show)).route("/activity.csv", get(csv))
}

struct ActivityRow {
    at: Time,
    kind: &'static str,
    name: String,
    text: String,
    account: String,
    actor: String,
}

impl ActivityRow {
    fn of(activity: &Activity<'_>, state: &State) -> Self {
        Self {
            at: Time(activity.at),
            kind: activity.kind.title(),
            name: activity.name.to_owned(),
            text: activity.text.to_owned(),
            account: activity.account.and_then(|id| state.account(id)).map(|a| a.name.clone()).unwrap_or_default(),
            actor: activity.actor.to_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    choices: Vec<Choice>,
    list: List<ActivityRow>,
}

/// What the address asks for, and the changes that it finds.
fn found<'a>(state: &'a State, viewer: &Viewer, uri: &Uri) -> (Asked, Vec<Activity<'a>>) {
    let asked = Asked::read(uri).filtered(uri, &["kind", "account", "by"]);
    let wanted = ActivitySearch {
        search: Needle::new(&asked.search),
        by: Needle::new(asked.filter("by")),
        kind: ActivityKind::ALL.iter().find(|(_, name, _)| *name == asked.filter("kind")).map(|(kind, ..)| *kind),
        account: asked.filter("account").parse().ok().map(AccountId),
        audit: viewer.may(Action::ReadAudit, Place::Server, state),
    };
    let found = listing::activity(state, &wanted, |event| viewer.sees_event(event, state));
    (asked, found)
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let (asked, found) = found(&state, &viewer, &uri);
    let list = asked.page(|| found.iter(), |activity| ActivityRow::of(activity, &state));
    let kinds = ActivityKind::ALL.iter().map(|(_, name, title)| ((*name).to_owned(), (*title).to_owned()));
    let options = std::iter::once((String::new(), "All kinds".to_owned())).chain(kinds).collect();
    let choices = vec![Choice { name: "kind", label: "Kind", options }, account_choice(&state, &viewer)];
    page(StatusCode::OK, &ActivityPage { shell: Shell::new(&state, &viewer, HREF, "Activity"), choices, list })
}

/// All that the list shows, as a table for a spreadsheet (RFC 4180); times in UTC.
async fn csv(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let (_, found) = found(&state, &viewer, &uri);
    let mut text = String::from("Time,Kind,Event,Account,By,What\r\n");
    for activity in &found {
        let row = ActivityRow::of(activity, &state);
        let texts = [row.kind, &row.name, &row.account, &row.actor, &row.text].map(field);
        text.push_str(&format!("{},{}\r\n", rfc3339(activity.at), texts.join(",")));
    }
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, "attachment; filename=\"activity.csv\"")];
    (headers, text).into_response()
}
