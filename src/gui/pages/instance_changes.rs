//! What is done to several product instances at once: transferred to a virtual account.

use super::instances::{HREF, find, named};
use crate::admin::AdminError;
use crate::gui::App;
use crate::gui::act::{Posted, called, failed};
use crate::gui::several::{Fate, Item, Plan, report, target, ticked};
use crate::gui::view::{Shell, Viewer};
use crate::license::{Action, Command, State};
use crate::proto::admin::TransferInstanceRequest;
use crate::proto::admin::instances_server::Instances;
use crate::web::form::{Form, query};
use axum::extract::State as Of;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use std::sync::Arc;

pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/product-instances/transfer", get(plan).post(transfer))
}

async fn plan(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let ticked = match ticked(&uri, "id") {
        Ok(ticked) => ticked,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let to = match target(&state, &viewer, &query(&uri, "to"), Action::ManageInstances) {
        Ok(to) => to,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let mut commands = Vec::new();
    let mut item = |key: String| match find(&state, &viewer, number(&key), Action::ManageInstances) {
        Err(error) => Item::missing(key, error),
        Ok(instance) => {
            commands.push(Command::TransferInstance { instance: instance.id, to: to.id });
            let what = match instance.va == to.id {
                true => "It is there already.".to_owned(),
                false => format!("It moves to {} with what it uses.", to.name),
            };
            Item { key, name: instance.name(), place: place(&state, instance.va), what, most: None, refused: None }
        }
    };
    let mut items: Vec<Item> = ticked.into_iter().map(&mut item).collect();
    Plan::rehearsed(&mut items, state.rehearse(commands));
    Plan {
        shell: Shell::new(&state, &viewer, HREF, "Transfer product instances"),
        says: vec![
            "The licenses that they use are those of the new virtual account from then on: look at its balances.",
        ],
        items,
        named: "id",
        fields: vec![("to", to.id.to_string())],
        button: "Transfer",
        back: HREF,
    }
    .page()
}

async fn transfer(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let mut fates = Vec::new();
    for key in form.all("id") {
        fates.push(transfer_one(&app, &viewer, &form, &key).await);
    }
    report(Shell::new(&app.state(), &viewer, HREF, "Transfer product instances"), fates, HREF)
}

async fn transfer_one(app: &App, viewer: &Viewer, form: &Form, key: &str) -> Fate {
    let state = app.state();
    let instance = find(&state, viewer, number(key), Action::ManageInstances);
    let to = target(&state, viewer, &form.get("to"), Action::ManageInstances);
    let (instance, to) = match (instance, to) {
        (Ok(instance), Ok(to)) => (instance, to),
        (Err(error), _) | (_, Err(error)) => {
            return Fate { name: key.to_owned(), what: String::new(), error: Some(error) };
        }
    };
    let asked =
        TransferInstanceRequest { instance: Some(named(instance.id.0)), to_virtual_account: format!("#{}", to.id) };
    let result: Result<_, AdminError> =
        called(Instances::transfer(&app.context.service, viewer.ask_each(form, key, asked)).await);
    Fate { name: instance.name(), what: format!("to {}", to.name), error: result.err() }
}

/// No instance has the number 0.
fn number(key: &str) -> u64 {
    key.parse().unwrap_or_default()
}

fn place(state: &State, va: crate::license::VirtualAccountId) -> String {
    let va = state.virtual_account(va);
    let account = va.and_then(|va| state.account(va.account));
    account.zip(va).map(|(account, va)| format!("{} / {}", account.name, va.name)).unwrap_or_default()
}
