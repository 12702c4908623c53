//! The replicated settings, and the time by which the cluster goes.

use crate::admin::{AdminError, Kind, rfc3339};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Posted, called, failed, finish, status};
use crate::gui::aside::Aside;
use crate::gui::view::{Shell, Time, Viewer, page};
use crate::license::{Action, Millis, Place, State as Records};
use crate::proto::admin::AcceptClockRequest;
use crate::proto::admin::clock_server::Clock as ClockService;
use crate::proto::admin::settings_server::Settings;
use crate::proto::admin::{GetSettingsRequest, SetSettingRequest, Setting};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{StatusCode, Uri};
use std::sync::Arc;

const HREF: &str = "/settings";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route(HREF, get(show).post(set)).route("/settings/clock", get(confirm_clock).post(accept_clock))
}

/// What belongs together, in the order of the page; settings that no group names are in the last one.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Central", &["central-url", "proxy", "proxy-login", "vendor-root"]),
    ("Names and addresses", &["host-common-name", "vip"]),
    ("Timing of the cluster", &["heartbeat-ms", "election-min-ms", "election-max-ms"]),
    ("People and licenses", &[]),
];

struct Row {
    setting: Setting,
    /// A text of many lines: a certificate.
    long: bool,
    /// A password, which is not shown.
    secret: bool,
    /// A text for people.
    text: bool,
    /// Set by other means.
    fixed: bool,
    /// What was typed and not taken, and why.
    refused: Option<(String, AdminError)>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    clock: Clock,
    groups: Vec<(&'static str, Vec<Row>)>,
}

/// Time of the cluster's records, and of the active node's clock while that is in doubt.
struct Clock {
    now: Time,
    doubted: Option<Time>,
    may_accept: bool,
}

impl Clock {
    fn of(state: &Records, viewer: &Viewer, now: Millis) -> Self {
        Self {
            now: Time(state.time(now)),
            doubted: doubted(state).map(Time),
            may_accept: viewer.may(Action::ManageCluster, Place::Server, state),
        }
    }
}

/// What the clock said at the last change, if nothing has confirmed that.
fn doubted(state: &Records) -> Option<Millis> {
    let ahead = state.meta().clock_ahead;
    (ahead > 0).then(|| state.now().plus(ahead))
}

async fn page_of(app: &App, viewer: &Viewer, uri: &Uri, refused: Option<(String, String, AdminError)>) -> Response {
    let state = app.state();
    let all = called(Settings::get(&app.context.service, viewer.look(GetSettingsRequest::default())).await);
    let code = refused.as_ref().map_or(StatusCode::OK, |(.., error)| status(error));
    let row = |setting: Setting| Row {
        long: setting.key == "vendor-root",
        secret: setting.key == "proxy-login",
        text: setting.key == "message-of-the-day",
        // Part of the cluster's life; the certificate's page changes the other one, with what that breaks.
        fixed: matches!(setting.key.as_str(), "vip" | "host-common-name"),
        refused: refused
            .as_ref()
            .filter(|(key, ..)| *key == setting.key)
            .map(|(_, value, e)| (value.clone(), e.clone())),
        setting,
    };
    let mut rows: Vec<Row> = all.map(|reply| reply.settings.into_iter().map(row).collect()).unwrap_or_default();
    let groups = GROUPS.map(|(title, keys)| {
        let mine = |row: &mut Row| keys.is_empty() || keys.contains(&row.setting.key.as_str());
        (title, rows.extract_if(.., mine).collect())
    });
    let template = SettingsPage {
        clock: Clock::of(&state, viewer, (app.context.clock)()),
        shell: Shell::new(&state, viewer, HREF, "Settings").noting(uri).beside(&Aside::of(app, viewer, &state).await),
        groups: groups.into(),
    };
    page(code, &template)
}

async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    page_of(&app, &viewer, &uri, None).await
}

async fn set(State(app): State<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let (key, value) = (form.get("key").to_string(), form.get("value").to_string());
    let result = async {
        viewer.require(Action::ManageSettings, Place::Server, &app.state())?;
        let asked = SetSettingRequest { key: key.clone(), value: value.clone() };
        called(Settings::set(&app.context.service, viewer.ask(&form, asked)).await)
    };
    match result.await {
        Ok(_) => Done::SettingSet.at(HREF),
        Err(error) => page_of(&app, &viewer, &uri, Some((key, value, error))).await,
    }
}

async fn confirm_clock(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let state = app.state();
    let refused = viewer.require(Action::ManageCluster, Place::Server, &state).err();
    let error = refused.or_else(|| {
        let error =
            || AdminError::new(Kind::State, "the active node's clock is in no doubt").hint("nothing is to be done");
        doubted(&state).is_none().then(error)
    });
    if let Some(error) = error {
        return failed(&app, &viewer, error, HREF, HREF);
    }
    let clock = doubted(&state).unwrap_or(state.now());
    let hours = state.meta().clock_ahead / Millis::HOUR;
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, "Accept the clock"),
        says: vec![
            format!(
                "The active node's clock says {}, {} days and {} hours ahead of where it should be.",
                rfc3339(clock),
                hours / 24,
                hours % 24
            ),
            "If that is wrong, terms and authorizations end too early, and it cannot be taken back: set the clock right \
             instead."
                .into(),
        ],
        button: "The clock is right",
        reason: None,
        fields: vec![("time", clock.0.to_string())],
        back: HREF.into(),
    }
    .page()
}

async fn accept_clock(State(app): State<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let accepted = async {
        viewer.require(Action::ManageCluster, Place::Server, &app.state())?;
        let asked = AcceptClockRequest { time_ms: form.number("time", "the time")?.unwrap_or_default() };
        called(ClockService::accept(&app.context.service, viewer.ask(&form, asked)).await).map(drop)
    };
    finish(&app, &viewer, accepted.await, Done::ClockAccepted, HREF, HREF)
}
