//! What happened: orders, events, the audit log; the newest first.

use super::{App, Viewer, unexpected};
use crate::central::admin::{AdminReply, AdminRequest, AuditRow, CentralEvent, Order};
use crate::web::list::{Asked, List};
use crate::web::view::{Shell, Time, page};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use std::sync::Arc;

/// Looked through by a page; older ones are for the command line.
const NEWEST: u64 = 1_000;

struct Row {
    time: Time,
    who: String,
    what: String,
    about: String,
}

#[derive(Template)]
#[template(path = "central_list.html")]
struct ListPage {
    shell: Shell,
    list: List<Row>,
    /// Headings of the columns after the time.
    columns: [&'static str; 3],
    /// What is said where there is none.
    nothing: &'static str,
}

fn show(
    viewer: &Viewer,
    uri: &Uri,
    frame: (&'static str, &'static str),
    columns: [&'static str; 3],
    rows: Vec<Row>,
) -> Response {
    let asked = Asked::read(uri);
    let found = |row: &&Row| asked.matches([row.who.as_str(), &row.what, &row.about]);
    let rows: Vec<&Row> = rows.iter().filter(found).collect();
    let copy =
        |row: &&Row| Row { time: row.time, who: row.who.clone(), what: row.what.clone(), about: row.about.clone() };
    let list = asked.page(|| rows.iter(), copy);
    page(StatusCode::OK, &ListPage { shell: viewer.shell(frame.0, frame.1), list, columns, nothing: "Nothing yet." })
}

pub async fn orders(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let request = AdminRequest::Orders { smart_account: None, virtual_account: None, tag: None, limit: NEWEST };
    match app.ask(&viewer, request).await {
        Ok(AdminReply::Orders(orders)) => {
            let columns = ["By", "License", "Change"];
            show(&viewer, &uri, ("/orders", "Orders"), columns, orders.into_iter().map(order).collect())
        }
        Ok(_) => unexpected(),
        Err(page) => page,
    }
}

fn order(order: Order) -> Row {
    let words = |license: Option<&crate::central::document::LicenseTerms>| {
        license.map_or_else(|| "not known".to_owned(), |license| license.in_words())
    };
    Row {
        time: Time(order.at),
        what: format!("{} of {}/{}", order.tag, order.smart_account, order.virtual_account),
        about: format!("{} → {}", words(order.before.as_ref()), words(order.after.as_ref())),
        who: order.actor,
    }
}

pub async fn events(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    match app.ask(&viewer, AdminRequest::Events).await {
        Ok(AdminReply::Events(events)) => {
            let row = |event: CentralEvent| {
                let of = [event.account.as_str(), &event.server].join(" ").trim().to_owned();
                Row { time: Time(event.at), who: of, what: event.kind, about: event.message }
            };
            let columns = ["Account and Server", "Event", "Message"];
            show(&viewer, &uri, ("/event-log", "Event Log"), columns, events.into_iter().rev().map(row).collect())
        }
        Ok(_) => unexpected(),
        Err(page) => page,
    }
}

pub async fn audit(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let last = match app.shared.run(|service| service.last_audit()).await {
        Ok(last) => last,
        Err(problem) => return super::refused(&problem),
    };
    match app.ask(&viewer, AdminRequest::Audit { after: last.saturating_sub(NEWEST) }).await {
        Ok(AdminReply::Audit(entries)) => {
            let row = |entry: AuditRow| Row {
                time: Time(entry.at),
                who: entry.actor,
                what: entry.action,
                about: entry.detail,
            };
            let columns = ["Who", "Action", "Detail"];
            show(&viewer, &uri, ("/audit", "Audit Log"), columns, entries.into_iter().rev().map(row).collect())
        }
        Ok(_) => unexpected(),
        Err(page) => page,
    }
}
