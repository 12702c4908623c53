//! The event log, newest first.

use crate::gui::App;
use crate::gui::list::{Asked, List};
use crate::gui::view::{Badge, Shell, Time, Viewer, page, severity};
use crate::license::{Event, State};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;

struct EventRow {
    at: Time,
    severity: Badge,
    account: String,
    kind: String,
    message: String,
    actor: String,
}

impl EventRow {
    fn of(state: &State, event: &Event) -> Self {
        Self {
            at: Time(event.at),
            severity: severity(event.severity),
            account: account(state, event).to_owned(),
            kind: event.kind.clone(),
            message: event.message.clone(),
            actor: event.actor.clone(),
        }
    }
}

fn account<'a>(state: &'a State, event: &Event) -> &'a str {
    event.account.and_then(|id| state.account(id)).map_or("", |a| &a.name)
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    shell: Shell,
    list: List<EventRow>,
}

pub async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.context.ledger.state();
    let asked = Asked::read(&uri);
    let found = |e: &&Event| asked.matches([account(&state, e), &e.kind, &e.message, &e.actor]);
    let events: Vec<_> = state.events(0).filter(|e| viewer.sees_about(e.account, &state)).filter(found).collect();
    let list = asked.page(|| events.iter().rev(), |e| EventRow::of(&state, e));
    page(StatusCode::OK, &EventsPage { shell: Shell::new(&state, &viewer, "/event-log", "Event Log"), list })
}
