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

pub use super::view::problem;
use axum::response::Response;
use http::StatusCode;

pub async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "There is no such page", "Look for it from the overview.")
}
