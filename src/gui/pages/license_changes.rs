//! What is done to several licenses at once: transferred to a virtual account, and labelled.

use super::licenses::{labels, name, set_labels};
use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Posted, called, failed};
use crate::gui::several::{Fate, Item, Plan, report, target, ticked};
use crate::gui::view::{Shell, Viewer};
use crate::license::{
    Account, Action, Command, License, LicenseId, Place, Pool, State, VirtualAccount, VirtualAccountId,
};
use crate::proto::admin::TransferLicenseRequest;
use crate::proto::admin::licenses_server::Licenses;
use crate::web::form::{Form, query};
use axum::extract::State as Of;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use std::collections::BTreeSet;
use std::sync::Arc;

const HREF: &str = "/licenses";
/// What forms call a license in a virtual account.
const POOL: &str = "pool";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/licenses/transfer", get(plan_transfer).post(transfer))
        .route("/licenses/label", get(plan_label).post(label))
}

/// A license in a virtual account.
struct Found<'a> {
    account: &'a Account,
    va: &'a VirtualAccount,
    license: &'a License,
    pool: &'a Pool,
}

/// The license in a virtual account that `key` names: `VIRTUAL ACCOUNT-LICENSE`, by their numbers.
fn find<'a>(state: &'a State, viewer: &Viewer, key: &str) -> Result<Found<'a>, AdminError> {
    let missing = || AdminError::new(Kind::NotFound, "there is no such license here");
    let (va, license) = key.split_once('-').ok_or_else(missing)?;
    let numbers = va.parse().ok().zip(license.parse().ok());
    let (va, license) = numbers.map(|(va, license)| (VirtualAccountId(va), LicenseId(license))).ok_or_else(missing)?;
    let found = || {
        let pool = state.pool(va, license)?;
        let (va, license) = (state.virtual_account(va)?, state.license(license)?);
        let account = state.account(va.account)?;
        Some(Found { account, va, license, pool })
    };
    let found = found().filter(|f| viewer.may(Action::Look, Place::VirtualAccount(f.va.id), state));
    let found = found.ok_or_else(missing)?;
    viewer.require(Action::ManageLicenses, Place::Account(found.account.id), state)?;
    Ok(found)
}

async fn plan_transfer(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let ticked = match ticked(&uri, POOL) {
        Ok(ticked) => ticked,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let to = match target(&state, &viewer, &query(&uri, "to"), Action::ManageLicenses) {
        Ok(to) => to,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let mut commands = Vec::new();
    let mut items: Vec<Item> = ticked
        .into_iter()
        .map(|key| match find(&state, &viewer, &key) {
            Err(error) => Item::missing(key, error),
            Ok(Found { account, va, license, pool }) => {
                let (quantity, from, to_id) = (pool.purchased, va.id, to.id);
                commands.push(Command::TransferLicense { license: license.id, from, to: to_id, quantity });
                let what = format!("They move from {} to {}.", va.name, to.name);
                Item {
                    key,
                    name: name(license),
                    place: format!("{} / {}", account.name, va.name),
                    what,
                    most: Some(quantity),
                    refused: None,
                }
            }
        })
        .collect();
    Plan::rehearsed(&mut items, state.rehearse(commands));
    Plan {
        shell: Shell::new(&state, &viewer, HREF, "Transfer licenses"),
        says: vec!["What product instances use of them stays where it is: look at the balances."],
        items,
        named: POOL,
        fields: vec![("to", to.id.to_string())],
        button: "Transfer",
        back: HREF,
    }
    .page()
}

async fn transfer(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let quantities = form.all("quantity");
    let mut fates = Vec::new();
    for (n, key) in form.all(POOL).into_iter().enumerate() {
        let quantity = quantities.get(n).map_or("", String::as_str);
        fates.push(transfer_one(&app, &viewer, &form, &key, quantity).await);
    }
    report(Shell::new(&app.state(), &viewer, HREF, "Transfer licenses"), fates, HREF)
}

async fn transfer_one(app: &App, viewer: &Viewer, form: &Form, key: &str, quantity: &str) -> Fate {
    let state = app.state();
    let (found, to) = (find(&state, viewer, key), target(&state, viewer, &form.get("to"), Action::ManageLicenses));
    let (found, to) = match (found, to) {
        (Ok(found), Ok(to)) => (found, to),
        (Err(error), _) | (_, Err(error)) => {
            return Fate { name: key.to_owned(), what: String::new(), error: Some(error) };
        }
    };
    let what = format!("{quantity} from {} to {}", found.va.name, to.name);
    let result = async {
        let quantity = quantity.trim().parse().map_err(|_| {
            AdminError::new(Kind::Invalid, "the quantity is no whole number").because(format!("it is `{quantity}`"))
        })?;
        let asked = TransferLicenseRequest {
            account: format!("#{}", found.account.id),
            license: format!("#{}", found.license.id),
            from: format!("#{}", found.va.id),
            to: format!("#{}", to.id),
            quantity,
        };
        called(Licenses::transfer(&app.context.service, viewer.ask_each(form, key, asked)).await).map(drop)
    };
    Fate { name: name(found.license), what, error: result.await.err() }
}

async fn plan_label(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let ticked = match ticked(&uri, POOL) {
        Ok(ticked) => ticked,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let add = labels(&query(&uri, "label"));
    if add.is_empty() {
        let error = AdminError::new(Kind::Invalid, "no label was given").hint("go back and type one");
        return failed(&app, &viewer, error, HREF, HREF);
    }
    let (mut commands, mut items, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for key in ticked {
        let Found { account, license, .. } = match find(&state, &viewer, &key) {
            Ok(found) => found,
            Err(error) => {
                items.push(Item::missing(key, error));
                continue;
            }
        };
        // A license has its labels in all virtual accounts.
        if !seen.insert(license.id) {
            continue;
        }
        let new: Vec<&str> = add.iter().filter(|label| !license.labels.contains(label)).map(String::as_str).collect();
        let what = match new.is_empty() {
            true => "It has that already.".to_owned(),
            false => format!("It gets {}.", new.join(", ")),
        };
        commands.push(Command::LabelLicense { license: license.id, add: add.clone(), remove: vec![] });
        items.push(Item { key, name: name(license), place: account.name.clone(), what, most: None, refused: None });
    }
    Plan::rehearsed(&mut items, state.rehearse(commands));
    Plan {
        shell: Shell::new(&state, &viewer, HREF, "Label licenses"),
        says: vec![
            "A label is the license\u{2019}s in all virtual accounts of its account. Central knows nothing of it.",
        ],
        items,
        named: POOL,
        fields: vec![("label", add.join(", "))],
        button: "Put the label on",
        back: HREF,
    }
    .page()
}

async fn label(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    let add = labels(&form.get("label"));
    let mut fates = Vec::new();
    for key in form.all(POOL) {
        let state = app.state();
        let what = add.join(", ");
        fates.push(match find(&state, &viewer, &key) {
            Err(error) => Fate { name: key, what, error: Some(error) },
            Ok(found) => {
                let result = set_labels(&app, &viewer, &form, found.license.id.0, (add.clone(), vec![])).await;
                Fate { name: name(found.license), what, error: result.err() }
            }
        });
    }
    report(Shell::new(&app.state(), &viewer, HREF, "Label licenses"), fates, HREF)
}
