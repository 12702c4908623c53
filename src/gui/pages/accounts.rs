//! Local accounts and where their synchronization stands.

use crate::gui::App;
use crate::gui::list::{Asked, List};
use crate::gui::view::{Badge, MaybeTime, Shell, Tone, Viewer, page};
use crate::license::{Account, AccountStatus};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;

struct AccountRow {
    name: String,
    requested_by: String,
    smart_account: String,
    virtual_account: String,
    status: Badge,
    reason: String,
    last: MaybeTime,
    due: MaybeTime,
    alert: Option<Badge>,
    failure: String,
}

impl AccountRow {
    fn of(account: &Account) -> Self {
        let sync = &account.sync;
        Self {
            name: account.name.clone(),
            requested_by: account.requested_by.clone(),
            smart_account: account.smart_account.clone(),
            virtual_account: account.virtual_account.clone(),
            status: status(account.status),
            reason: account.status_reason.clone(),
            last: MaybeTime(sync.last_success),
            due: MaybeTime(sync.due),
            alert: match (&sync.last_failure, sync.last_success) {
                _ if sync.overdue => Some(Badge(Tone::Bad, "Synchronization Overdue")),
                (Some(_), _) => Some(Badge(Tone::Bad, "Synchronization Failed")),
                (None, Some(_)) => Some(Badge(Tone::Good, "Synchronization Successful")),
                (None, None) => None,
            },
            failure: sync.last_failure.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
        }
    }
}

const fn status(status: AccountStatus) -> Badge {
    match status {
        AccountStatus::Requested => Badge(Tone::Warn, "Requested"),
        AccountStatus::Approved => Badge(Tone::Warn, "Approved"),
        AccountStatus::Active => Badge(Tone::Good, "Active"),
        AccountStatus::Inactive => Badge(Tone::Plain, "Inactive"),
        AccountStatus::Rejected => Badge(Tone::Plain, "Rejected"),
    }
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    shell: Shell,
    list: List<AccountRow>,
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.context.ledger.state();
    let asked = Asked::read(&uri);
    let found = |a: &&Account| asked.matches([a.name.as_str(), &a.requested_by, &a.smart_account, &a.virtual_account]);
    let mut accounts: Vec<_> = state.accounts().filter(|a| viewer.sees_account(a.id, &state)).filter(found).collect();
    accounts.sort_by_key(|a| &a.name);
    let list = asked.page(|| accounts.iter(), |a| AccountRow::of(a));
    page(StatusCode::OK, &AccountsPage { shell: Shell::new(&state, &viewer, "/accounts", "Accounts"), list })
}
