//! The on-prem servers, and what operators do about them. Each deed is asked about on a page of its own.

use super::{App, Viewer, unexpected};
use crate::central::admin::{AdminReply, AdminRequest, ServerRow};
use crate::web::form::{Form, query};
use crate::web::list::{Asked, List};
use crate::web::sign_in::unreadable;
use crate::web::view::{Badge, MaybeTime, Shell, Time, Tone, page, problem};
use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use std::sync::Arc;
use url::form_urlencoded;

struct Row {
    server: String,
    status: Badge,
    account: String,
    place: String,
    instances: u64,
    synchronized: MaybeTime,
    contact: Time,
    deeds: Vec<(String, &'static str)>,
}

#[derive(Template)]
#[template(path = "central_servers.html")]
struct ServersPage {
    shell: Shell,
    list: List<Row>,
    operator: bool,
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let rows = match app.ask(&viewer, AdminRequest::ListServers { closed: false }).await {
        Ok(AdminReply::Servers(rows)) => rows,
        Ok(_) => return unexpected(),
        Err(page) => return page,
    };
    let asked = Asked::read(&uri);
    let texts = |row: &ServerRow| {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        [row.server.clone(), of(&row.account), of(&row.smart_account), of(&row.virtual_account)]
    };
    let found = |row: &&ServerRow| asked.matches(texts(row).iter().map(String::as_str));
    let rows: Vec<&ServerRow> = rows.iter().filter(found).collect();
    let list = asked.page(|| rows.iter(), |row| server_row(row, viewer.is_operator()));
    let shell = viewer.shell("/servers", "Servers");
    page(StatusCode::OK, &ServersPage { shell, list, operator: viewer.is_operator() })
}

fn server_row(row: &ServerRow, operator: bool) -> Row {
    let status = match row.status.as_str() {
        "active" => Badge(Tone::Good, "Active"),
        "silent" => Badge(Tone::Bad, "Silent"),
        "contested" => Badge(Tone::Bad, "Contested"),
        _ => Badge(Tone::Plain, "Revoked"),
    };
    let account = row.account.clone().unwrap_or_default();
    let mut deeds = Vec::new();
    if operator && matches!(row.status.as_str(), "silent" | "contested") {
        deeds.push(Deed::Readopt);
    }
    if operator && row.status != "revoked" {
        deeds.push(Deed::Revoke);
    }
    if operator && !account.is_empty() {
        deeds.push(Deed::Release);
    }
    let place = match (&row.smart_account, &row.virtual_account) {
        (Some(smart), Some(va)) => format!("{smart}/{va}"),
        _ => "–".into(),
    };
    Row {
        server: row.server.clone(),
        status,
        place,
        instances: row.instances,
        synchronized: MaybeTime(row.synchronized),
        contact: Time(row.last_contact),
        deeds: deeds.into_iter().map(|deed| (deed.href(&row.server, &account), deed.word())).collect(),
        account,
    }
}

/// What an operator can do about a server.
#[derive(Clone, Copy)]
enum Deed {
    Readopt,
    Revoke,
    Release,
}

impl Deed {
    const ALL: [Self; 3] = [Self::Readopt, Self::Revoke, Self::Release];

    const fn word(self) -> &'static str {
        match self {
            Self::Readopt => "Re-adopt",
            Self::Revoke => "Revoke",
            Self::Release => "Release",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.word() == word)
    }

    fn href(self, server: &str, account: &str) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.append_pair("deed", self.word()).append_pair("server", server).append_pair("account", account);
        format!("/servers/confirm?{}", pairs.finish())
    }

    fn question(self, server: &str, account: &str) -> String {
        match self {
            Self::Readopt => format!(
                "Take server {server} back? If a copy of it was refused, that one speaks for it, and the other is refused."
            ),
            Self::Revoke => format!("Refuse server {server} from now on, for good?"),
            Self::Release => {
                format!("Forget account {account} of server {server}? It must register again to get licenses.")
            }
        }
    }

    fn request(self, server: String, account: String) -> AdminRequest {
        match self {
            Self::Readopt => AdminRequest::Readopt { server },
            Self::Revoke => AdminRequest::Revoke { server },
            Self::Release => AdminRequest::Release { server, account },
        }
    }
}

#[derive(Template)]
#[template(path = "central_confirm.html")]
struct ConfirmPage {
    shell: Shell,
    question: String,
    deed: &'static str,
    server: String,
    account: String,
}

pub async fn confirm(Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let Some(deed) = Deed::named(&query(&uri, "deed")) else { return no_deed() };
    let (server, account) = (query(&uri, "server"), query(&uri, "account"));
    let question = deed.question(&server, &account);
    let shell = viewer.shell("/servers", deed.word());
    page(StatusCode::OK, &ConfirmPage { shell, question, deed: deed.word(), server, account })
}

#[derive(Template)]
#[template(path = "central_done.html")]
struct DonePage {
    shell: Shell,
    sentence: String,
}

pub async fn act(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, request: Request) -> Response {
    let form = match Form::read(request.into_body()).await {
        Ok(form) => form,
        Err(status) => return unreadable(status),
    };
    let Some(deed) = Deed::named(&form.get("deed")) else { return no_deed() };
    let request = deed.request(form.get("server").to_string(), form.get("account").to_string());
    match app.ask(&viewer, request).await {
        Ok(AdminReply::Done(sentence)) => {
            page(StatusCode::OK, &DonePage { shell: viewer.shell("/servers", deed.word()), sentence })
        }
        Ok(_) => unexpected(),
        Err(page) => page,
    }
}

fn no_deed() -> Response {
    problem(StatusCode::BAD_REQUEST, "That is not known here", "Choose it from the list of servers.")
}
