//! The network of this node. Changing it stays with the operating system.

use crate::gui::App;
use crate::gui::aside::Aside;
use crate::gui::view::{Shell, Viewer, page, size};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;

struct InterfaceRow {
    name: String,
    addresses: Vec<String>,
    hardware: String,
    received: String,
    sent: String,
}

#[derive(Template)]
#[template(path = "network.html")]
struct NetworkPage {
    shell: Shell,
    node: String,
    interfaces: Vec<InterfaceRow>,
    vip: Vec<String>,
    holder: String,
    common_name: String,
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let state = app.state();
    let status = app.context.cluster.status().await;
    let rate = |rate: Option<u64>| rate.map_or_else(|| "\u{2013}".to_owned(), |bytes| format!("{}/s", size(bytes)));
    let interfaces = app.context.host.load().interfaces.into_iter().map(|i| InterfaceRow {
        name: i.name,
        addresses: i.addresses,
        hardware: i.hardware,
        received: rate(i.rates.map(|rates| rates.0)),
        sent: rate(i.rates.map(|rates| rates.1)),
    });
    let template = NetworkPage {
        shell: Shell::new(&state, &viewer, "/network", "Network").beside(&Aside::of(&app, &viewer, &state).await),
        node: status.this_node,
        interfaces: interfaces.collect(),
        vip: status.vip.addresses,
        holder: status.vip.holder.unwrap_or_else(|| "nobody".into()),
        common_name: state.settings().host_common_name.clone(),
    };
    page(StatusCode::OK, &template)
}
