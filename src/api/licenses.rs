//! Licenses, page by page, and their transfer between virtual accounts.

use super::extract::{Body, Client, Path, Query};
use super::incumbent::License;
use super::problem::{Problem, Problems};
use super::{Answer, Api, done};
use crate::license::Action;
use crate::proto::admin::licenses_server::Licenses;
use crate::proto::admin::{LabelLicenseRequest, TransferLicenseRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which licenses are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only names and tags that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    /// Only this virtual account.
    #[param(required = false)]
    virtual_account: String,
    /// Only licenses with this label.
    #[param(required = false)]
    label: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for Search {
    fn default() -> Self {
        let (search, virtual_account, label) = Default::default();
        Self { search, virtual_account, label, offset: 0, limit: super::PAGE }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicensePage {
    licenses: Vec<License>,
    /// Of all pages.
    total_records: usize,
}

/// The licenses of an account, by virtual account and age.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/licenses", tag = "licenses",
    params(("account" = String, Path), Search),
    responses((status = 200, body = LicensePage), Problems), security(("bearer" = []))
)]
pub async fn list(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(wanted): Query<Search>,
) -> Answer<LicensePage> {
    if !(1..=super::MAX_PAGE).contains(&wanted.limit) {
        return Err(Problem::invalid(format!("limit is 1 to {}", super::MAX_PAGE)));
    }
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let vas = match wanted.virtual_account.as_str() {
        "" => state.virtual_accounts(account.id).collect(),
        name => vec![client.virtual_account(Action::Look, &state, (&account.name, name))?.1],
    };
    let text = wanted.search.to_lowercase();
    let found = vas.iter().flat_map(|va| state.pools(va.id).map(move |pool| (va, pool))).filter(|(_, pool)| {
        let Some(license) = state.license(pool.license) else { return false };
        let holds = |part: &str| part.to_lowercase().contains(&text);
        (wanted.label.is_empty() || license.labels.contains(&wanted.label))
            && (text.is_empty() || holds(&license.name) || holds(&license.tag))
    });
    let found: Vec<_> = found.collect();
    let page = found.iter().skip(wanted.offset).take(wanted.limit);
    let licenses = page.filter_map(|(va, pool)| License::of(&state, va, pool)).collect();
    Ok(axum::Json(LicensePage { licenses, total_records: found.len() }))
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
