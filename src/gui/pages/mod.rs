//! The pages themselves: each reads the state once and renders it.

mod accounts;
mod alerts;
mod availability;
mod events;
mod instances;
mod licenses;
mod overview;
mod standby;

pub use accounts::show as accounts;
pub use alerts::show as alerts;
pub use availability::show as availability;
pub use events::show as events;
pub use instances::show as instances;
pub use licenses::show as licenses;
pub use overview::show as overview;
pub use standby::show as standby;

use super::assets::Assets;
use super::view::page;
use askama::Template;
use axum::response::Response;
use http::StatusCode;

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    assets: Assets,
    title: &'static str,
    text: &'static str,
}

/// A page that says what went wrong and what to do.
pub fn problem(status: StatusCode, title: &'static str, text: &'static str) -> Response {
    page(status, &ProblemPage { assets: Assets, title, text })
}

pub async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "There is no such page", "Look for it from the overview.")
}
