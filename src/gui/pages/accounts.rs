//! Local accounts: those there are, those that are asked for, what happened to them, and each one's own page.

use super::events::EventRow;
use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Entered, Posted, called, failed, finish};
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Tone, Viewer, page};
use crate::license::{self, Account, AccountId, AccountStatus, Action, Finding, Place, State};
use crate::proto::admin::accounts_server::Accounts;
use crate::proto::admin::{AccountReasonRequest, AccountRef, DeleteAccountRequest, RequestAccountRequest};
use crate::web::list::{Asked, List};
use crate::web::sign_in::sentence;
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{StatusCode, Uri};
use std::sync::Arc;

const HREF: &str = "/accounts";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show))
        .route("/accounts/requests", get(requests).post(request))
        .route("/accounts/log", get(log))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/{verb}", get(confirm).post(change))
}

/// The tabs of the page, as operators know them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tab {
    Accounts,
    Requests,
    Log,
}

struct AccountRow {
    id: u64,
    name: String,
    requested_by: String,
    requested: Time,
    smart_account: String,
    virtual_account: String,
    status: Badge,
    reason: String,
    last: MaybeTime,
    due: MaybeTime,
    alert: Option<Badge>,
    failure: String,
    verbs: Vec<Verb>,
}

impl AccountRow {
    fn of(account: &Account, viewer: &Viewer, state: &State) -> Self {
        let sync = &account.sync;
        Self {
            id: account.id.0,
            name: account.name.clone(),
            requested_by: account.requested_by.clone(),
            requested: Time(account.requested_at),
            smart_account: account.smart_account.clone(),
            virtual_account: account.virtual_account.clone(),
            status: status(account.status),
            reason: account.status_reason.clone(),
            last: MaybeTime(sync.last_success),
            due: MaybeTime(sync.due),
            alert: sync_badge(account),
            failure: sync.last_failure.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
            verbs: Verb::of(account, viewer, state),
        }
    }
}

/// Where the synchronization of an account stands, in the words that operators know.
pub fn sync_badge(account: &Account) -> Option<Badge> {
    let sync = &account.sync;
    match (&sync.last_failure, sync.last_success) {
        _ if sync.overdue => Some(Badge(Tone::Bad, "Synchronization Overdue")),
        (Some(_), _) => Some(Badge(Tone::Bad, "Synchronization Failed")),
        (None, Some(_)) => Some(Badge(Tone::Good, "Synchronization Successful")),
        (None, None) => None,
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

/// What can be done to an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Approve,
    Reject,
    Deactivate,
    Activate,
    Delete,
}

impl Verb {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Approve, "approve", "Approve"),
        (Self::Reject, "reject", "Reject"),
        (Self::Deactivate, "deactivate", "Deactivate"),
        (Self::Activate, "activate", "Activate"),
        (Self::Delete, "delete", "Delete"),
    ];

    fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == word).map(|(verb, ..)| *verb)
    }

    pub fn word(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub fn text(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// Those that fit the account's status and are this person's.
    fn of(account: &Account, viewer: &Viewer, state: &State) -> Vec<Self> {
        if !viewer.may(Action::ManageAccounts, Place::Server, state) {
            return Vec::new();
        }
        match account.status {
            AccountStatus::Requested => vec![Self::Approve, Self::Reject],
            AccountStatus::Approved => vec![Self::Reject],
            AccountStatus::Active => vec![Self::Deactivate, Self::Delete],
            AccountStatus::Inactive => vec![Self::Activate, Self::Delete],
            AccountStatus::Rejected => vec![Self::Delete],
        }
    }

    /// What it means.
    fn says(self, account: &Account, state: &State) -> Vec<String> {
        let name = &account.name;
        match self {
            Self::Approve => vec![format!(
                "Account {name} gets its keys and is registered with central for {}/{}. If central cannot be reached now, that \
                 is tried again.",
                account.smart_account, account.virtual_account
            )],
            Self::Reject => vec![format!("Account {name} will not be made. Who asked for it sees the reason.")],
            Self::Deactivate => vec![
                format!("Products of account {name} get no new licenses until it is activated again."),
                "What they have stays theirs for the time that they were given.".into(),
            ],
            Self::Activate => vec![format!("Products of account {name} are served again.")],
            Self::Delete => {
                let said =
                    format!("Account {name} is deleted with its virtual accounts and tokens. This cannot be undone.");
                std::iter::once(said).chain(state.before_deletion(account.id).iter().map(finding)).collect()
            }
        }
    }

    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Reject | Self::Deactivate => Some("Reason"),
            Self::Approve | Self::Activate | Self::Delete => None,
        }
    }

    const fn done(self) -> Done {
        match self {
            Self::Approve => Done::AccountApproved,
            Self::Reject => Done::AccountRejected,
            Self::Deactivate => Done::AccountDeactivated,
            Self::Activate => Done::AccountActivated,
            Self::Delete => Done::AccountDeleted,
        }
    }
}

/// One thing between an account and its deletion, as a sentence.
fn finding(finding: &Finding) -> String {
    let what = sentence(&finding.what);
    match finding.in_the_way {
        true => format!("{what} See to it first: {}.", finding.next),
        false => format!("{what} Then {}.", finding.next),
    }
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    shell: Shell,
    tab: Tab,
    waiting: usize,
    list: List<AccountRow>,
    may_request: bool,
    entered: Entered,
}

impl AccountsPage {
    async fn of(app: &App, viewer: &Viewer, uri: &Uri, tab: Tab, entered: Entered) -> Response {
        let state = app.state();
        let asked = Asked::read(uri);
        let pending = |a: &&Account| matches!(a.status, AccountStatus::Requested | AccountStatus::Approved);
        let mut accounts = viewer.accounts(&state);
        let waiting = accounts.iter().filter(|a| pending(a)).count();
        accounts.retain(|a| {
            let found = asked.matches([a.name.as_str(), &a.requested_by, &a.smart_account, &a.virtual_account]);
            found && (tab == Tab::Accounts || pending(a))
        });
        let status = entered.status();
        let shell =
            Shell::new(&state, viewer, HREF, "Accounts").noting(uri).beside(&Aside::of(app, viewer, &state).await);
        let list = asked.page(|| accounts.iter(), |a| AccountRow::of(a, viewer, &state));
        let may_request = viewer.may(Action::ManageAccounts, Place::Server, &state);
        page(status, &Self { shell, tab, waiting, list, may_request, entered })
    }
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    AccountsPage::of(&app, &viewer, &uri, Tab::Accounts, Entered::default()).await
}

async fn requests(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    AccountsPage::of(&app, &viewer, &uri, Tab::Requests, Entered::default()).await
}

async fn request(Of(app): Of<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let field = |name| form.get(name).trim().to_owned();
    let asked = RequestAccountRequest {
        name: field("name"),
        smart_account: field("smart-account"),
        virtual_account: field("virtual-account"),
        requested_by: viewer.user.name.clone(),
    };
    let allowed = viewer.require(Action::ManageAccounts, Place::Server, &app.state());
    let result = match allowed {
        Ok(()) => called(Accounts::request(&app.context.service, viewer.ask(&form, asked)).await),
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Done::AccountRequested.at("/accounts/requests"),
        Err(error) => AccountsPage::of(&app, &viewer, &uri, Tab::Requests, Entered::refused(form, error)).await,
    }
}

#[derive(Template)]
#[template(path = "account_log.html")]
struct LogPage {
    shell: Shell,
    tab: Tab,
    waiting: usize,
    list: List<EventRow>,
}

/// What happened to accounts.
async fn log(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let asked = Asked::read(&uri);
    let about = |e: &&license::Event| e.kind.starts_with("account-") && viewer.sees_event(e, &state);
    let found = |e: &&license::Event| asked.matches([e.message.as_str(), &e.actor]);
    let events: Vec<_> = state.events(0).filter(about).filter(found).collect();
    let pending = |a: &&Account| matches!(a.status, AccountStatus::Requested | AccountStatus::Approved);
    let waiting = viewer.accounts(&state).iter().filter(|a| pending(a)).count();
    let shell = Shell::new(&state, &viewer, HREF, "Accounts").beside(&Aside::of(&app, &viewer, &state).await);
    let list = asked.page(|| events.iter().rev(), |e| EventRow::of(&state, e));
    page(StatusCode::OK, &LogPage { shell, tab: Tab::Log, waiting, list })
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    row: AccountRow,
    instances: u64,
    virtual_accounts: Vec<(u64, String, bool, u64)>,
    schedule: String,
    seq: u64,
    events: Vec<EventRow>,
}

/// Events of an account on its page, newest first.
const EVENTS: usize = 20;

async fn account(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<u64>,
    uri: Uri,
) -> Response {
    let state = app.state();
    let account = match find(&state, &viewer, id) {
        Ok(account) => account,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let mine = |e: &&license::Event| e.account == Some(account.id);
    let mut events: Vec<_> = state.events(0).filter(mine).collect();
    events.reverse();
    events.truncate(EVENTS);
    let of_account = state.virtual_accounts(account.id);
    let template = AccountPage {
        shell: Shell::new(&state, &viewer, HREF, "Account")
            .noting(&uri)
            .beside(&Aside::of(&app, &viewer, &state).await),
        row: AccountRow::of(account, &viewer, &state),
        instances: account.instances,
        virtual_accounts: of_account
            .map(|va| (va.id.0, va.name.clone(), va.id == account.default_va, va.instances))
            .collect(),
        schedule: account.sync.schedule.to_string(),
        seq: account.sync.seq,
        events: events.into_iter().map(|e| EventRow::of(&state, e)).collect(),
    };
    page(StatusCode::OK, &template)
}

/// The account, if this person sees it; who does not is not told whether it exists.
pub fn find<'a>(state: &'a State, viewer: &Viewer, id: u64) -> Result<&'a Account, AdminError> {
    let account = state.account(AccountId(id)).filter(|a| viewer.may(Action::Look, Place::Account(a.id), state));
    account.ok_or_else(|| {
        AdminError::new(Kind::NotFound, "there is no such account here").hint("the page Accounts has all")
    })
}

async fn confirm(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path((id, word)): Path<(u64, String)>,
) -> Response {
    let state = app.state();
    let Some(verb) = Verb::named(&word) else { return super::not_found().await };
    let account = match find(&state, &viewer, id) {
        Ok(account) => account,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, verb.text()),
        says: verb.says(account, &state),
        button: verb.text(),
        reason: verb.reason(),
        fields: Vec::new(),
        back: format!("/accounts/{id}"),
    }
    .page()
}

async fn change(
    Of(app): Of<Arc<App>>,
    Path((id, word)): Path<(u64, String)>,
    Posted { viewer, form }: Posted,
) -> Response {
    let Some(verb) = Verb::named(&word) else { return super::not_found().await };
    let result = carry_out(&app, &viewer, &form, id, verb).await;
    let after = if verb == Verb::Delete { HREF.to_owned() } else { format!("/accounts/{id}") };
    match result {
        Ok(()) => verb.done().at(&after),
        Err(error) => finish(&app, &viewer, Err(error), verb.done(), HREF, &format!("/accounts/{id}")),
    }
}

async fn carry_out(
    app: &App,
    viewer: &Viewer,
    form: &crate::web::form::Form,
    id: u64,
    verb: Verb,
) -> Result<(), AdminError> {
    let state = app.state();
    viewer.require(Action::ManageAccounts, Place::Server, &state)?;
    find(&state, viewer, id)?;
    let (service, account) = (&app.context.service, format!("#{id}"));
    let named = || viewer.ask(form, AccountRef { account: account.clone() });
    let because = || {
        let reason = form.get("reason").trim().to_owned();
        viewer.ask(form, AccountReasonRequest { account: account.clone(), reason })
    };
    let result = match verb {
        Verb::Approve => Accounts::approve(service, named()).await,
        Verb::Reject => Accounts::reject(service, because()).await,
        Verb::Deactivate => Accounts::deactivate(service, because()).await,
        Verb::Activate => Accounts::activate(service, named()).await,
        Verb::Delete => {
            let asked = DeleteAccountRequest { account: account.clone(), ..DeleteAccountRequest::default() };
            Accounts::delete(service, viewer.ask(form, asked)).await
        }
    };
    called(result).map(drop)
}
