//! What a node that does not serve shows to everyone: what it is, who is active, and the way there.

use super::availability::{Headline, NodeView, nodes};
use crate::admin::{ClusterState, ClusterStatus, NodeRole};
use crate::gui::App;
use crate::gui::assets::Assets;
use crate::gui::view::page;
use askama::Template;
use axum::response::Response;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

/// When to ask again, in seconds: a change of the active node takes about one.
const RETRY_SECONDS: u64 = 2;

#[derive(Template)]
#[template(path = "standby.html")]
struct StandbyPage {
    assets: Assets,
    title: String,
    active: Option<String>,
    vip_url: Option<String>,
    headline: Headline,
    verdict: String,
    nodes: Vec<NodeView>,
}

pub async fn show(app: &App) -> Response {
    let status = app.context.cluster.status().await;
    let active = active(&status);
    let template = StandbyPage {
        assets: Assets,
        title: title(&status, active.as_deref()),
        vip_url: active.as_ref().and_then(|_| (app.context.vip_url)()),
        active,
        headline: Headline::of(&status),
        verdict: status.verdict.clone(),
        nodes: nodes(&status),
    };
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, &template);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    response
}

/// The active node, if it is another one: this one does not serve, whatever it believes.
fn active(status: &ClusterStatus) -> Option<String> {
    let active = status.nodes.iter().find(|n| n.role == NodeRole::Active && n.name != status.this_node);
    active.map(|n| n.name.clone())
}

fn title(status: &ClusterStatus, active: Option<&str>) -> String {
    match status.cluster {
        ClusterState::Uninitialised => "This node is uninitialised".into(),
        ClusterState::Retired => "This node is retired".into(),
        ClusterState::Stopped => format!("The cluster is stopped on {}", status.this_node),
        _ if active.is_some() => format!("{} is Standby", status.this_node),
        _ => format!("{} does not serve now", status.this_node),
    }
}
