//! The pages themselves: each reads the state once and renders it, and makes the changes that its forms ask for.

mod accounts;
mod activity;
mod administration;
mod alerts;
mod api_toolkit;
mod availability;
mod backups;
mod browser_certificate;
mod drawing;
mod events;
mod identities;
mod instance_changes;
mod instances;
mod inventory;
mod license_changes;
mod license_detail;
mod licenses;
mod network;
mod overview;
mod preferences;
mod sealing_key;
mod security;
mod settings;
mod standby;
mod support;
mod synchronization;
mod usage;
mod users;

pub use availability::Headline;
pub use sealing_key::Rotation;
pub use standby::show as standby;

use super::App;
pub use super::view::problem;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use std::sync::Arc;

/// The pages of people who are signed in.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/administration", get(administration::show))
        .route("/network", get(network::show))
        .route("/support", get(support::show).post(support::check))
        .route("/support/bundle", post(support::bundle))
        .merge(accounts::routes())
        .merge(activity::routes())
        .merge(alerts::routes())
        .merge(api_toolkit::routes())
        .merge(availability::routes())
        .merge(backups::routes())
        .merge(browser_certificate::routes())
        .merge(events::routes())
        .merge(identities::routes())
        .merge(instance_changes::routes())
        .merge(instances::routes())
        .merge(inventory::routes())
        .merge(license_changes::routes())
        .merge(licenses::routes())
        .merge(sealing_key::routes())
        .merge(preferences::routes())
        .merge(security::routes())
        .merge(settings::routes())
        .merge(synchronization::routes())
        .merge(users::routes())
}

pub async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "There is no such page", "Look for it from the overview.")
}
