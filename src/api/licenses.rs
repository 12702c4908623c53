//! Licenses, page by page, their usage over time, and their transfer between virtual accounts.

use super::extract::{Body, Client, Path, Query, order, window};
use super::incumbent::License;
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::license::{Action, Millis};
use crate::listing::{self, LicenseColumn, LicenseSearch, Needle, Order, Window};
use crate::proto::admin::licenses_server::Licenses;
use crate::proto::admin::{self, LabelLicenseRequest, ShowLicenseRequest, TransferLicenseRequest, UsageRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which licenses are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only names, tags and labels that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    /// Only this virtual account.
    #[param(required = false)]
    virtual_account: String,
    /// Only licenses with this label.
    #[param(required = false)]
    label: String,
    #[param(required = false, inline)]
    status: Option<Compliance>,
    /// `license` (if left out), `tag`, `virtualAccount`, `billing`, `purchased`, `inUse`, `substitution`, `balance` or
    /// `alerts`; with a `-` before it the other way round.
    #[param(required = false, example = "-balance")]
    sort: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

/// Whether what is used is covered.
#[derive(Clone, Copy, Deserialize, Serialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compliance {
    InCompliance,
    OutOfCompliance,
}

impl Default for Search {
    fn default() -> Self {
        let (search, virtual_account, label, status, sort) = Default::default();
        Self { search, virtual_account, label, status, sort, offset: 0, limit: super::PAGE }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicensePage {
    licenses: Vec<License>,
    /// Of all pages.
    total_records: usize,
}

/// The licenses of an account, in each virtual account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/licenses", tag = "licenses",
    params(("account" = String, Path), Search),
    responses((status = 200, body = LicensePage), Problems), security(("bearer" = []))
)]
pub async fn list(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(asked): Query<Search>,
) -> Answer<LicensePage> {
    let wanted = LicenseSearch {
        search: Needle::new(&asked.search),
        label: asked.label,
        in_compliance: asked.status.map(|status| status == Compliance::InCompliance),
        order: order(&asked.sort, LicenseColumn::License)?,
        window: window(asked.offset, asked.limit)?,
    };
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let vas = match asked.virtual_account.as_str() {
        "" => state.virtual_accounts(account.id).collect(),
        name => vec![client.virtual_account(Action::Look, &state, (&account.name, name))?.1],
    };
    let found = listing::licenses(&state, vas, &wanted);
    let licenses = found.rows.iter().map(License::from).collect();
    Ok(axum::Json(LicensePage { licenses, total_records: found.total }))
}

/// A license with the calculation of its substitution.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseShown {
    /// In each virtual account that has or uses any.
    licenses: Vec<License>,
    /// Every loan among the licenses that the vendor's rules connect with it, in the order in which they are made. The
    /// substitution of a license is what it borrows less what it lends.
    loans: Vec<Loan>,
}

/// So many of one license stand in for another one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Loan {
    virtual_account: String,
    from: String,
    to: String,
    /// The lesser of what `to` lacked and what `from` had to spare, after the loans before this one.
    count: u64,
    lacked: u64,
    spare: u64,
    /// From `to` up to `from`: each covers the one before it, by the vendor's rules.
    rules: Vec<String>,
}

/// One license, by tag or name, with who lends what to whom and why.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/licenses/{license}", tag = "licenses",
    params(("account" = String, Path), ("license" = String, Path)),
    responses((status = 200, body = LicenseShown), Problems), security(("bearer" = []))
)]
pub async fn show(app: Api, client: Client, Path((account, license)): Path<(String, String)>) -> Answer<LicenseShown> {
    let state = app.state();
    let of = client.account(Action::Look, &state, &account)?;
    let asked = ShowLicenseRequest { account, license };
    let shown = done(Licenses::show(&app.context.service, app.ask(&client, asked)).await)?;
    let wanted = LicenseSearch {
        search: Needle::default(),
        label: String::new(),
        in_compliance: None,
        order: Order::ascending(LicenseColumn::VirtualAccount),
        window: Window::ALL,
    };
    let tags: Vec<&str> = shown.pools.iter().map(|pool| pool.tag.as_str()).collect();
    let found = listing::licenses(&state, state.virtual_accounts(of.id), &wanted);
    let licenses = found.rows.iter().filter(|row| tags.contains(&row.license.tag.as_str())).map(License::from);
    let loan = |loan: admin::Loan| {
        let admin::Loan { virtual_account, from, to, count, lacked, spare, rules } = loan;
        Loan { virtual_account, from, to, count, lacked, spare, rules }
    };
    let loans = shown.loans.into_iter().map(loan).collect();
    Ok(axum::Json(LicenseShown { licenses: licenses.collect(), loans }))
}

/// Whose usage over time is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageSearch {
    /// Only this license: its name or entitlement tag.
    #[param(required = false)]
    license: String,
    /// Only this virtual account.
    #[param(required = false)]
    virtual_account: String,
    /// So many days up to today; 30 if left out.
    #[param(minimum = 1, maximum = 400, required = false)]
    days: u32,
}

impl Default for UsageSearch {
    fn default() -> Self {
        let (license, virtual_account) = Default::default();
        Self { license, virtual_account, days: 30 }
    }
}

#[derive(Serialize, ToSchema)]
pub struct UsageOverTime {
    /// Oldest first, from the first one on of which something is known, up to today.
    days: Vec<UsageDay>,
}

/// A day in UTC.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    #[schema(format = Date)]
    date: String,
    /// At the end of the day; of today, by now.
    purchased: u64,
    /// At the end of the day; of today, by now.
    in_use: u64,
    /// The most in use at any time of the day. Of several licenses or virtual accounts it is added up, and need not have
    /// been at one time.
    peak_in_use: u64,
    /// Lent (negative) or borrowed (positive), at the end of the day.
    substitution: i64,
    /// The lowest balance that any of the licenses had in any of the virtual accounts at any time of the day.
    lowest_balance: i64,
    /// So many of the licenses in virtual accounts were out of compliance at any time of the day.
    out_of_compliance: u64,
}

/// What an account had and used day by day: one license or all, in one virtual account or all.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/usage", tag = "licenses",
    params(("account" = String, Path), UsageSearch),
    responses((status = 200, body = UsageOverTime), Problems), security(("bearer" = []))
)]
pub async fn usage(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(UsageSearch { license, virtual_account, days }): Query<UsageSearch>,
) -> Answer<UsageOverTime> {
    let virtual_accounts = match virtual_account.as_str() {
        "" => client.account(Action::Look, &app.state(), &account).map(|_| Vec::new())?,
        name => {
            client.virtual_account(Action::Look, &app.state(), (&account, name))?;
            vec![virtual_account]
        }
    };
    let asked = UsageRequest { account, virtual_accounts, license, days };
    let shown = done(Licenses::usage(&app.context.service, app.ask(&client, asked)).await)?;
    let day = |day: admin::UsageDay| UsageDay {
        date: crate::admin::date(Millis(day.day_ms)),
        purchased: day.purchased,
        in_use: day.in_use,
        peak_in_use: day.peak_in_use,
        substitution: day.substitution,
        lowest_balance: day.lowest_balance,
        out_of_compliance: day.out_of_compliance,
    };
    Ok(axum::Json(UsageOverTime { days: shown.days.into_iter().map(day).collect() }))
}

/// What moves from where to where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Name or entitlement tag.
    license: String,
    /// Virtual accounts.
    from: String,
    to: String,
    #[schema(minimum = 1)]
    quantity: u64,
}

/// Move purchased licenses to another virtual account.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/licenses/transfer", tag = "licenses",
    params(("account" = String, Path)), request_body = Transfer,
    responses((status = 204, description = "Moved"), Problems), security(("bearer" = []))
)]
pub async fn transfer(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(Transfer { license, from, to, quantity }): Body<Transfer>,
) -> Result<StatusCode, Problem> {
    client.account(Action::ManageLicenses, &app.state(), &account)?;
    let asked = TransferLicenseRequest { account, license, from, to, quantity };
    done(Licenses::transfer(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Labels to put on a license and to take off.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Name or entitlement tag.
    license: String,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

/// Change the labels of a license.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/licenses/labels", tag = "licenses",
    params(("account" = String, Path)), request_body = Labels,
    responses((status = 204, description = "Changed"), Problems), security(("bearer" = []))
)]
pub async fn label(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(Labels { license, add, remove }): Body<Labels>,
) -> Result<StatusCode, Problem> {
    client.account(Action::ManageLicenses, &app.state(), &account)?;
    let asked = LabelLicenseRequest { account, license, add, remove };
    done(Licenses::label(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}
