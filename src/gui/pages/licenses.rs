//! Licenses: what each virtual account has and uses of each, and everything about one.

use super::drawing::Bar;
use super::events::EventRow;
use super::inventory;
use super::license_detail::{Calculation, Rules, history};
use super::usage::{self, UsageChart};
use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Done, Entered, Posted, called, failed};
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Tone, Viewer, page, server_failed};
use crate::license::{Account, Action, Billing, License, LicenseId, Place, Pool, State, Term, VirtualAccount};
use crate::proto::admin::licenses_server::Licenses;
use crate::proto::admin::{LabelLicenseRequest, TransferLicenseRequest, UsageRequest};
use crate::web::form::Form;
use crate::web::likings::blocking;
use crate::web::list::{Asked, Choice, List};
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{StatusCode, Uri};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

const HREF: &str = "/licenses";
/// Further parameters that cut the list.
const FILTERS: &[&str] = &["label"];
/// What an administrator of the incumbent searches for.
const INSUFFICIENT: &str = "Insufficient Licenses";
/// Product instances named on the page of a license, those that use most.
const USERS: usize = 20;

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show))
        .route("/licenses.csv", get(csv))
        .route("/licenses/{id}", get(license))
        .route("/licenses/{id}/transfer", post(transfer))
        .route("/licenses/{id}/labels", post(label))
}

struct LicenseRow {
    id: u64,
    va: u64,
    name: String,
    tag: String,
    labels: Vec<String>,
    account: String,
    virtual_account: String,
    billing: &'static str,
    purchased: u64,
    in_use: u64,
    substitution: i64,
    balance: i64,
    bar: Bar,
    alert: Option<Badge>,
    since: Option<Time>,
}

/// A pool with what it belongs to.
struct Found<'a> {
    account: &'a Account,
    va: &'a VirtualAccount,
    license: &'a License,
    pool: &'a Pool,
}

impl LicenseRow {
    fn of(found: &Found<'_>) -> Self {
        let Found { account, va, license, pool } = found;
        Self {
            id: license.id.0,
            va: va.id.0,
            name: name(license),
            tag: license.tag.clone(),
            labels: license.labels.clone(),
            account: account.name.clone(),
            virtual_account: va.name.clone(),
            billing: billing(pool),
            purchased: pool.purchased,
            in_use: pool.in_use,
            substitution: pool.substitution,
            balance: pool.balance(),
            bar: Bar::of(va, pool),
            alert: (pool.balance() < 0).then_some(Badge(Tone::Bad, INSUFFICIENT)),
            since: pool.out_of_compliance_since.map(Time),
        }
    }
}

pub fn name(license: &License) -> String {
    if license.name.is_empty() { license.tag.clone() } else { license.name.clone() }
}

/// How the terms in force are paid for.
fn billing(pool: &Pool) -> &'static str {
    let has = |billing| pool.terms.iter().any(|t| t.in_force(pool.evaluated) && t.billing == billing);
    match (has(Billing::Prepaid), has(Billing::Usage)) {
        (true, true) => "Prepaid, usage",
        (true, false) => "Prepaid",
        (false, true) => "Usage",
        (false, false) => "\u{2013}",
    }
}

/// The pools that match and are this person's, as they are to be sorted.
fn found<'a>(
    state: &'a State,
    viewer: &Viewer,
    asked: &Asked,
    only: Option<&[crate::license::VirtualAccountId]>,
) -> Vec<Found<'a>> {
    let mut all = Vec::new();
    let vas = viewer.virtual_accounts(state).into_iter().filter(|(_, va)| only.is_none_or(|ids| ids.contains(&va.id)));
    for (account, va) in vas {
        for pool in state.pools(va.id) {
            let Some(license) = state.license(pool.license) else { continue };
            let alert = if pool.balance() < 0 { INSUFFICIENT } else { "" };
            let label = asked.filter("label");
            if !label.is_empty() && !license.labels.iter().any(|known| known == label) {
                continue;
            }
            let texts = [license.name.as_str(), &license.tag, &account.name, &va.name, alert];
            if asked.matches(texts.into_iter().chain(license.labels.iter().map(String::as_str))) {
                all.push(Found { account, va, license, pool });
            }
        }
    }
    all.sort_by_key(|f| (&f.license.name, &f.license.tag, &f.account.name, &f.va.name));
    let (column, largest_first) = asked.sort();
    let by = |compare: fn(&Found<'_>, &Found<'_>) -> Ordering, all: &mut Vec<Found<'_>>| {
        // Stable: by name within.
        all.sort_by(|a, b| if largest_first { compare(b, a) } else { compare(a, b) });
    };
    match column {
        "license" => by(|a, b| (&a.license.name, &a.license.tag).cmp(&(&b.license.name, &b.license.tag)), &mut all),
        "account" => by(|a, b| (&a.account.name, &a.va.name).cmp(&(&b.account.name, &b.va.name)), &mut all),
        "billing" => by(|a, b| billing(a.pool).cmp(billing(b.pool)), &mut all),
        "purchased" => by(|a, b| a.pool.purchased.cmp(&b.pool.purchased), &mut all),
        "in-use" => by(|a, b| a.pool.in_use.cmp(&b.pool.in_use), &mut all),
        "substitution" => by(|a, b| a.pool.substitution.cmp(&b.pool.substitution), &mut all),
        "balance" => by(|a, b| a.pool.balance().cmp(&b.pool.balance()), &mut all),
        _ => {}
    }
    all
}

#[derive(Template)]
#[template(path = "licenses.html")]
struct LicensesPage {
    shell: Shell,
    vas: Vec<(u64, String)>,
    choices: Vec<Choice>,
    /// Whether this person may change licenses somewhere.
    may_change: bool,
    list: List<LicenseRow>,
}

/// Cuts the list to one of the labels that licenses of this person have.
fn label_choice(state: &State, viewer: &Viewer) -> Choice {
    let licenses = viewer.seen_accounts(state).into_iter().flat_map(|account| state.licenses(account.id));
    let labels: BTreeSet<&String> = licenses.flat_map(|license| &license.labels).collect();
    let named = labels.into_iter().map(|label| (label.clone(), label.clone()));
    let options = std::iter::once((String::new(), "All labels".to_owned())).chain(named).collect();
    Choice { name: "label", label: "Label", options }
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let asked = Asked::read(&uri).filtered(&uri, FILTERS);
    let (vas, only) = inventory::filter(&state, &viewer, &uri);
    let all = found(&state, &viewer, &asked, only.as_deref());
    let list = asked.page(|| all.iter(), LicenseRow::of);
    let choices = vec![label_choice(&state, &viewer)];
    let may_change = !viewer.retired && viewer.user.role.may(Action::ManageLicenses);
    let shell = Shell::new(&state, &viewer, HREF, "Licenses").noting(&uri);
    page(StatusCode::OK, &LicensesPage { shell, vas, choices, may_change, list })
}

/// All that the list shows, as a table for a spreadsheet (RFC 4180).
async fn csv(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let (asked, (_, only)) = (Asked::read(&uri).filtered(&uri, FILTERS), inventory::filter(&state, &viewer, &uri));
    let mut text = String::from(
        "License,Tag,Account,Virtual Account,Billing,Purchased,In Use,Substitution,Balance,Alerts,Labels\r\n",
    );
    for row in found(&state, &viewer, &asked, only.as_deref()).iter().map(LicenseRow::of) {
        let alert = row.alert.map_or("", |badge| badge.1);
        let billing = if row.billing == "\u{2013}" { "" } else { row.billing };
        let texts = [&row.name, &row.tag, &row.account, &row.virtual_account].map(|text| field(text));
        let numbers = format!("{},{},{},{}", row.purchased, row.in_use, row.substitution, row.balance);
        let labels = field(&row.labels.join(", "));
        text.push_str(&format!("{},{},{numbers},{alert},{labels}\r\n", texts.join(","), field(billing)));
    }
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, "attachment; filename=\"licenses.csv\"")];
    (headers, text).into_response()
}

/// A text as a field. One that a spreadsheet would take for a formula is led by an apostrophe.
pub fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

struct TermRow {
    va: String,
    quantity: u64,
    start: Time,
    end: MaybeTime,
    billing: &'static str,
    state: Badge,
}

impl TermRow {
    fn of(va: &VirtualAccount, term: &Term, state: &State) -> Self {
        let badge = match term.end {
            Some(end) if end <= state.now() => Badge(Tone::Plain, "Ended"),
            _ if state.now() < term.start => Badge(Tone::Plain, "To come"),
            _ => Badge(Tone::Good, "In force"),
        };
        let billing = if term.billing == Billing::Usage { "Usage" } else { "Prepaid" };
        Self {
            va: va.name.clone(),
            quantity: term.quantity,
            start: Time(term.start),
            end: MaybeTime(term.end),
            billing,
            state: badge,
        }
    }
}

#[derive(Template)]
#[template(path = "license.html")]
struct LicensePage {
    shell: Shell,
    id: u64,
    name: String,
    tag: String,
    account: String,
    export_controlled: bool,
    pools: Vec<LicenseRow>,
    chart: Option<UsageChart>,
    terms: Vec<TermRow>,
    users: Vec<(u64, String, String, u64)>,
    more_users: usize,
    may_transfer: bool,
    labels: Vec<String>,
    rules: Rules,
    calculations: Vec<Calculation>,
    history: Vec<EventRow>,
    vas: Vec<String>,
    entered: Entered,
}

async fn license(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<u64>,
    uri: Uri,
) -> Response {
    page_of(app, viewer, uri, id, Entered::default()).await
}

async fn page_of(app: Arc<App>, viewer: Viewer, uri: Uri, id: u64, entered: Entered) -> Response {
    let usage = usage_of(&app, &viewer, &uri, id).await;
    // It looks at all instances of its virtual accounts: not on a thread that serves.
    let rendered = blocking(move || {
        let state = app.state();
        match usage.and_then(|chart| LicensePage::of(&state, &viewer, &uri, id, entered, chart)) {
            Ok(template) => page(template.entered.status(), &template),
            Err(error) => failed(&app, &viewer, error, HREF, HREF),
        }
    });
    rendered.await.unwrap_or_else(|error| server_failed(&error))
}

/// A license with the virtual accounts of its account that this person sees, at least one.
type Seen<'a> = (&'a License, &'a Account, Vec<(&'a Account, &'a VirtualAccount)>);

fn seen<'a>(state: &'a State, viewer: &Viewer, id: u64) -> Result<Seen<'a>, AdminError> {
    let missing = || AdminError::new(Kind::NotFound, "there is no such license here").hint("the page Licenses has all");
    let license = state.license(LicenseId(id)).ok_or_else(missing)?;
    let vas: Vec<_> =
        viewer.virtual_accounts(state).into_iter().filter(|(account, _)| account.id == license.account).collect();
    let Some((account, _)) = vas.first().copied() else { return Err(missing()) };
    Ok((license, account, vas))
}

/// The chart of its usage over the days that the address asks for.
async fn usage_of(app: &App, viewer: &Viewer, uri: &Uri, id: u64) -> Result<Option<UsageChart>, AdminError> {
    let (asked, today) = {
        let state = app.state();
        let (license, account, vas) = seen(&state, viewer, id)?;
        let asked = UsageRequest {
            account: account.name.clone(),
            virtual_accounts: vas.iter().map(|(_, va)| va.name.clone()).collect(),
            license: license.tag.clone(),
            days: usage::span(uri),
        };
        (asked, state.now())
    };
    let span = asked.days;
    let usage = called(Licenses::usage(&app.context.service, viewer.look(asked)).await)?;
    Ok(UsageChart::of(&usage.days, span, today))
}

impl LicensePage {
    fn of(
        state: &State,
        viewer: &Viewer,
        uri: &Uri,
        id: u64,
        entered: Entered,
        chart: Option<UsageChart>,
    ) -> Result<Self, AdminError> {
        let (license, account, vas) = seen(state, viewer, id)?;
        let pools: Vec<_> = vas
            .iter()
            .filter_map(|(account, va)| Some(Found { account, va, license, pool: state.pool(va.id, license.id)? }))
            .collect();
        let terms = pools.iter().flat_map(|f| f.pool.terms.iter().map(|term| TermRow::of(f.va, term, state)));
        let mut users = users(state, &vas, license.id);
        let more_users = users.len().saturating_sub(USERS);
        users.truncate(USERS);
        let may_transfer = viewer.may(Action::ManageLicenses, Place::Account(account.id), state);
        Ok(Self {
            shell: Shell::new(state, viewer, HREF, "License").noting(uri),
            id,
            name: name(license),
            tag: license.tag.clone(),
            account: account.name.clone(),
            export_controlled: license.export_controlled,
            chart,
            terms: terms.collect(),
            users,
            more_users,
            may_transfer,
            labels: license.labels.clone(),
            rules: Rules::of(state, license),
            calculations: vas.iter().filter_map(|(_, va)| Calculation::of(state, va, license)).collect(),
            history: history(state, viewer, &vas, license),
            vas: vas.iter().map(|(_, va)| va.name.clone()).collect(),
            pools: pools.iter().map(LicenseRow::of).collect(),
            entered,
        })
    }
}

/// Who uses it, those that use most first: id, name, virtual account and count.
fn users(state: &State, vas: &[(&Account, &VirtualAccount)], license: LicenseId) -> Vec<(u64, String, String, u64)> {
    let mut users = Vec::new();
    for (_, va) in vas {
        if state.pool(va.id, license).is_none_or(|pool| pool.in_use == 0) {
            continue;
        }
        for instance in state.instances_of(va.id, None) {
            let count = instance.usage.iter().find(|(used, _)| *used == license).map_or(0, |(_, count)| *count);
            if count > 0 {
                users.push((instance, va, count));
            }
        }
    }
    users.sort_by_key(|(instance, _, count)| (std::cmp::Reverse(*count), instance.id));
    users.into_iter().map(|(i, va, count)| (i.id.0, i.name(), va.name.clone(), count)).collect()
}

async fn transfer(Of(app): Of<Arc<App>>, Path(id): Path<u64>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    match carry_out(&app, &viewer, &form, id).await {
        Ok(()) => Done::LicenseTransferred.at(&format!("/licenses/{id}")),
        Err(error) => page_of(app, viewer, uri, id, Entered::refused(form, error)).await,
    }
}

/// Puts a label on a license, or takes one off.
async fn label(Of(app): Of<Arc<App>>, Path(id): Path<u64>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let (add, remove) = (labels(&form.get("add")), form.all("remove"));
    match set_labels(&app, &viewer, &form, id, (add, remove)).await {
        Ok(()) => Done::LicenseLabelled.at(&format!("/licenses/{id}")),
        Err(error) => page_of(app, viewer, uri, id, Entered::refused(form, error)).await,
    }
}

/// The labels in a text that separates them by commas.
pub fn labels(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

/// Changes the labels of one license: those to put on, and those to take off.
pub async fn set_labels(
    app: &App,
    viewer: &Viewer,
    form: &Form,
    id: u64,
    (add, remove): (Vec<String>, Vec<String>),
) -> Result<(), AdminError> {
    if add.is_empty() && remove.is_empty() {
        return Err(AdminError::new(Kind::Invalid, "no label was given").hint("type a word to find the license by"));
    }
    let state = app.state();
    let license = state.license(LicenseId(id));
    let license = license.ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such license here"))?;
    viewer.require(Action::ManageLicenses, Place::Account(license.account), &state)?;
    let (account, named) = (format!("#{}", license.account), format!("#{id}"));
    let asked = LabelLicenseRequest { account, license: named.clone(), add, remove };
    called(Licenses::label(&app.context.service, viewer.ask_each(form, &named, asked)).await).map(drop)
}

async fn carry_out(app: &App, viewer: &Viewer, form: &Form, id: u64) -> Result<(), AdminError> {
    let state = app.state();
    let license = state.license(LicenseId(id));
    let license = license.ok_or_else(|| AdminError::new(Kind::NotFound, "there is no such license here"))?;
    viewer.require(Action::ManageLicenses, Place::Account(license.account), &state)?;
    let asked = TransferLicenseRequest {
        account: format!("#{}", license.account),
        license: format!("#{id}"),
        from: form.get("from").to_string(),
        to: form.get("to").to_string(),
        quantity: form.number("quantity", "the quantity")?.unwrap_or_default(),
    };
    called(Licenses::transfer(&app.context.service, viewer.ask(form, asked)).await).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_table_is_a_text_and_no_formula() {
        assert_eq!(field("Base"), "Base");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(field("=1+1"), "'=1+1");
    }

    #[test]
    fn labels_are_separated_by_commas() {
        assert_eq!(labels(" voice, cost center 7 ,,"), ["voice", "cost center 7"]);
    }
}
