//! The calls that the incumbent's scripts and monitoring plug-ins make, in the shapes that they know.

use super::extract::{Body, Client, Path};
use super::problem::{Problem, Problems};
use super::{Answer, Api};
use crate::admin::rfc3339;
use crate::license::{Account, Action, Billing, Instance, InstanceId, Severity, State, Term, VirtualAccount};
use crate::listing::{
    self, AlertColumn, AlertFilter, AlertSearch, InstanceColumn, InstanceSearch, LicenseColumn, LicenseRow,
    LicenseSearch, Needle, Order, Window, Within,
};
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use utoipa::ToSchema;

/// Rows written at once into a streamed answer.
const BATCH: usize = 500;

/// Which rows are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Wanted {
    /// Rows at most; -1: all.
    #[schema(minimum = -1)]
    limit: i64,
    #[schema(minimum = 0)]
    offset: u64,
    /// Names of virtual accounts; empty: all.
    virtual_accounts: Vec<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { limit: 100, offset: 0, virtual_accounts: Vec::new() }
    }
}

impl Wanted {
    fn window(&self) -> Result<Window, Problem> {
        let wrong = |_| Problem::invalid("limit is -1 for all, or a number of rows");
        let limit = if self.limit == -1 { usize::MAX } else { usize::try_from(self.limit).map_err(wrong)? };
        Ok(Window { offset: usize::try_from(self.offset).unwrap_or(usize::MAX), limit })
    }

    fn virtual_accounts<'a>(&self, state: &'a State, account: &Account) -> Result<Vec<&'a VirtualAccount>, Problem> {
        if self.virtual_accounts.is_empty() {
            return Ok(state.virtual_accounts(account.id).collect());
        }
        let named = |name: &String| {
            let missing = || Problem::not_found(format!("account {:?} has no virtual account {name:?}", account.name));
            state.virtual_account_by_name(account.id, name).ok_or_else(missing)
        };
        self.virtual_accounts.iter().map(named).collect()
    }
}

/// One license in one virtual account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct License {
    license: String,
    /// The entitlement tag.
    tag: String,
    virtual_account: String,
    quantity: u64,
    in_use: u64,
    /// Quantity and substitution less what is in use; below zero is out of compliance.
    available: i64,
    /// `In Compliance` or `Out Of Compliance`.
    status: &'static str,
    /// `PREPAID` or `USAGE`.
    billing_type: &'static str,
    /// Lent (negative) or borrowed (positive).
    substitution: i64,
    export_controlled: bool,
    labels: Vec<String>,
    license_details: Vec<LicenseDetail>,
}

/// A purchased quantity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseDetail {
    /// `PERPETUAL` or `TERM`.
    license_type: &'static str,
    quantity: u64,
    start_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date: Option<String>,
}

impl From<&LicenseRow<'_>> for License {
    fn from(row: &LicenseRow<'_>) -> Self {
        let LicenseRow { va, license, pool, .. } = row;
        let detail = |term: &Term| LicenseDetail {
            license_type: if term.end.is_some() { "TERM" } else { "PERPETUAL" },
            quantity: term.quantity,
            start_date: rfc3339(term.start),
            end_date: term.end.map(rfc3339),
        };
        Self {
            license: license.name.clone(),
            tag: license.tag.clone(),
            virtual_account: va.name.clone(),
            quantity: pool.purchased,
            in_use: pool.in_use,
            available: pool.balance(),
            status: if pool.balance() < 0 { "Out Of Compliance" } else { "In Compliance" },
            billing_type: match row.billing() {
                Some(Billing::Usage) => "USAGE",
                _ => "PREPAID",
            },
            substitution: pool.substitution,
            export_controlled: license.export_controlled,
            labels: license.labels.clone(),
            license_details: pool.terms.iter().map(detail).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseList {
    /// `COMPLETE`.
    status: &'static str,
    status_message: String,
    licenses: Vec<License>,
    total_records: usize,
}

/// What an account has and uses.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/licenses", tag = "incumbent",
    params(("account" = String, Path)), request_body = Wanted,
    responses((status = 200, body = LicenseList), Problems), security(("bearer" = []))
)]
pub async fn licenses(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Answer<LicenseList> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let vas = wanted.virtual_accounts(&state, account)?;
    let search = LicenseSearch {
        search: Needle::default(),
        label: String::new(),
        in_compliance: None,
        order: Order::ascending(LicenseColumn::VirtualAccount),
        window: wanted.window()?,
    };
    let found = listing::licenses(&state, vas, &search);
    let (licenses, total_records) = (found.rows.iter().map(License::from).collect(), found.total);
    Ok(axum::Json(LicenseList { status: "COMPLETE", status_message: String::new(), licenses, total_records }))
}

/// An alert.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// The title that people read, e.g. `Insufficient Licenses`.
    message_type: &'static str,
    message: String,
    /// `Major`, `Minor` or `Informational`.
    severity: &'static str,
    source: String,
    action_due: Option<String>,
    raised: String,
    /// What to do about it.
    action: String,
    acknowledged: bool,
    /// When, and by whom.
    acknowledged_at: Option<String>,
    acknowledged_by: Option<String>,
    /// The kind by its stable name.
    kind: &'static str,
}

impl From<&crate::license::Alert> for Alert {
    fn from(alert: &crate::license::Alert) -> Self {
        Self {
            message_type: alert.key.kind.title(),
            message: alert.message.clone(),
            severity: match alert.severity {
                Severity::Major => "Major",
                Severity::Minor => "Minor",
                Severity::Informational => "Informational",
            },
            source: alert.key.source.clone(),
            action_due: alert.due.map(rfc3339),
            raised: rfc3339(alert.raised),
            action: alert.action.clone(),
            acknowledged: alert.acknowledged.is_some(),
            acknowledged_at: alert.acknowledged.as_ref().map(|a| rfc3339(a.at)),
            acknowledged_by: alert.acknowledged.as_ref().map(|a| a.by.clone()),
            kind: alert.key.kind.as_str(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertList {
    /// `COMPLETE`.
    status: &'static str,
    status_message: String,
    alerts: Vec<Alert>,
    total_records: usize,
}

/// What is wrong in an account.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/alerts", tag = "incumbent",
    params(("account" = String, Path)), request_body = Wanted,
    responses((status = 200, body = AlertList), Problems), security(("bearer" = []))
)]
pub async fn alerts(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Answer<AlertList> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let search = AlertSearch {
        filter: AlertFilter { account: Some(account.id), ..AlertFilter::default() },
        acknowledged: None,
        order: Order::ascending(AlertColumn::Kind),
        window: wanted.window()?,
    };
    let found = listing::alerts(&state, &search);
    let (alerts, total_records) = (found.rows.into_iter().map(Alert::from).collect(), found.total);
    Ok(axum::Json(AlertList { status: "COMPLETE", status_message: String::new(), alerts, total_records }))
}

/// A product instance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    host_name: Option<String>,
    sudi: Sudi,
    product_name: String,
    product_type: String,
    software_version: String,
    virtual_account: String,
    /// `In Compliance` or `Out Of Compliance`.
    status: &'static str,
    registration_date: String,
    last_contact_date: String,
    license_usage: Vec<LicenseUsage>,
}

/// The device's identity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sudi {
    udi_pid: String,
    udi_serial_number: String,
}

#[derive(Serialize, ToSchema)]
pub struct LicenseUsage {
    license: String,
    quantity: u64,
}

impl Device {
    fn of(state: &State, instance: &Instance) -> Self {
        let va = state.virtual_account(instance.va).map(|va| va.name.clone());
        let usage = instance.usage.iter().filter_map(|(id, quantity)| {
            Some(LicenseUsage { license: state.license(*id)?.name.clone(), quantity: *quantity })
        });
        let fine = state.authorization(instance.id).is_none_or(|a| a.in_compliance());
        Self {
            host_name: instance.host_name.as_deref().map(str::to_owned),
            sudi: Sudi { udi_pid: instance.udi.pid.clone(), udi_serial_number: instance.udi.sn.clone() },
            product_name: instance.name(),
            product_type: instance.product_type.to_string(),
            software_version: instance.software_version.to_string(),
            virtual_account: va.unwrap_or_default(),
            status: if fine { "In Compliance" } else { "Out Of Compliance" },
            registration_date: rfc3339(instance.registered),
            last_contact_date: rfc3339(instance.last_contact),
            license_usage: usage.collect(),
        }
    }
}

/// The shape of the streamed answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)] // Written piece by piece; this describes it.
pub struct DeviceList {
    /// `COMPLETE`.
    status: String,
    status_message: String,
    devices: Vec<Device>,
    total_records: u64,
}

/// The product instances of an account; streamed, so that all of them can be asked for at once.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/devices", tag = "incumbent",
    params(("account" = String, Path)), request_body = Wanted,
    responses((status = 200, body = DeviceList), Problems), security(("bearer" = []))
)]
pub async fn devices(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Problem> {
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let vas: Vec<_> = wanted.virtual_accounts(&state, account)?.into_iter().map(|va| va.id).collect();
    let window = wanted.window()?;
    let lists = app.context.lists.clone();
    let (state, found) = app
        .apart(move || {
            lists.instances(&InstanceSearch {
                within: Within::VirtualAccounts(&vas),
                search: Needle::default(),
                product_type: None,
                in_compliance: None,
                order: Order::ascending(InstanceColumn::Registered),
                after: None,
                window,
            })
        })
        .await?;
    let total = found.total;
    let rows = Rows { state, ids: found.rows.into_iter(), first: true };
    let head = stream::iter([Ok::<_, Infallible>(Bytes::from_static(
        br#"{"status":"COMPLETE","statusMessage":"","devices":["#,
    ))]);
    let tail = stream::iter([Ok(Bytes::from(format!(r#"],"totalRecords":{total}}}"#)))]);
    let rows = stream::unfold(rows, |mut rows| async move { Some((Ok(rows.next_batch()?), rows)) });
    let body = axum::body::Body::from_stream(futures::StreamExt::chain(futures::StreamExt::chain(head, rows), tail));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Rows of devices still to be written, of one state.
struct Rows {
    state: Arc<State>,
    ids: std::vec::IntoIter<InstanceId>,
    first: bool,
}

impl Rows {
    fn next_batch(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        for instance in self.ids.by_ref().take(BATCH).filter_map(|id| self.state.instance(id)) {
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            // A struct of texts and numbers always serialises.
            serde_json::to_writer(&mut out, &Device::of(&self.state, instance)).ok()?;
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }
}
