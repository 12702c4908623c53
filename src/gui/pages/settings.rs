//! The replicated settings.

use crate::admin::AdminError;
use crate::gui::App;
use crate::gui::act::{Done, Posted, called, status};
use crate::gui::aside::Aside;
use crate::gui::view::{Shell, Viewer, page};
use crate::license::{Action, Place};
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
    Router::new().route(HREF, get(show).post(set))
}

struct Row {
    setting: Setting,
    /// A text of many lines: a certificate.
    long: bool,
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
    rows: Vec<Row>,
}

async fn page_of(app: &App, viewer: &Viewer, uri: &Uri, refused: Option<(String, String, AdminError)>) -> Response {
    let state = app.state();
    let all = called(Settings::get(&app.context.service, viewer.look(GetSettingsRequest::default())).await);
    let code = refused.as_ref().map_or(StatusCode::OK, |(.., error)| status(error));
    let row = |setting: Setting| Row {
        long: setting.key == "vendor-root",
        text: setting.key == "message-of-the-day",
        // Part of the cluster's life; the certificate's page changes the other one, with what that breaks.
        fixed: matches!(setting.key.as_str(), "vip" | "host-common-name"),
        refused: refused
            .as_ref()
            .filter(|(key, ..)| *key == setting.key)
            .map(|(_, value, e)| (value.clone(), e.clone())),
        setting,
    };
    let template = SettingsPage {
        shell: Shell::new(&state, viewer, HREF, "Settings").noting(uri).beside(&Aside::of(app, viewer, &state).await),
        rows: all.map(|reply| reply.settings.into_iter().map(row).collect()).unwrap_or_default(),
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
