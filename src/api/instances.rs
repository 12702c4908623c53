//! Product instances.

use super::extract::{Body, Client, Path, Query, order, window};
use super::licenses::Compliance;
use super::problem::{Problem, Problems};
use super::{Answer, Api, PAGE, done};
use crate::admin::rfc3339;
use crate::license::{self, Action, InstanceId, State};
use crate::listing::{InstanceColumn, InstanceSearch, Needle, Order, Window, Within};
use crate::proto::admin::instances_server::Instances;
use crate::proto::admin::{InstanceRef, TransferInstanceRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A product instance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    id: u64,
    name: String,
    pid: String,
    serial_number: String,
    virtual_account: String,
    product_type: String,
    software_version: String,
    registered: String,
    last_contact: String,
    authorized_until: Option<String>,
    certificate_expires: String,
    export_controlled: bool,
    in_compliance: bool,
    /// What it failed to do, as in `Product Instance Failed to Connect`.
    alerts: Vec<&'static str>,
    licenses: Vec<LicenseInUse>,
    /// Further devices of a product that is a cluster itself.
    devices: Vec<FurtherDevice>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FurtherDevice {
    pid: String,
    serial_number: String,
    /// Absent: not shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_name: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseInUse {
    tag: String,
    license: String,
    count: u64,
    in_compliance: bool,
}

impl Instance {
    fn of(state: &State, instance: &license::Instance) -> Self {
        let licenses = state.authorization(instance.id).map(|a| a.licenses).unwrap_or_default();
        Self {
            id: instance.id.0,
            name: instance.name(),
            pid: instance.udi.pid.clone(),
            serial_number: instance.udi.sn.clone(),
            virtual_account: state.virtual_account(instance.va).map(|va| va.name.clone()).unwrap_or_default(),
            product_type: instance.product_type.to_string(),
            software_version: instance.software_version.to_string(),
            registered: rfc3339(instance.registered),
            last_contact: rfc3339(instance.last_contact),
            authorized_until: state.in_force_until(instance).map(rfc3339),
            certificate_expires: rfc3339(instance.certificate.not_after),
            export_controlled: instance.export_controlled,
            in_compliance: licenses.iter().all(|l| l.in_compliance),
            alerts: state.failures(instance).map(|kind| kind.title()).collect(),
            devices: instance.devices().iter().map(FurtherDevice::of).collect(),
            licenses: licenses
                .into_iter()
                .map(|l| LicenseInUse { tag: l.tag, license: l.name, count: l.count, in_compliance: l.in_compliance })
                .collect(),
        }
    }
}

impl FurtherDevice {
    fn of(device: &license::Device) -> Self {
        let license::Device { udi, host_name } = device;
        Self { pid: udi.pid.clone(), serial_number: udi.sn.clone(), host_name: host_name.as_deref().map(str::to_owned) }
    }
}

/// Which instances are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only host names, device identities and product types that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    /// Only this virtual account.
    #[param(required = false)]
    virtual_account: String,
    /// Only this type, word for word.
    #[param(required = false)]
    product_type: String,
    #[param(required = false, inline)]
    status: Option<Compliance>,
    /// `registered` (if left out), `name`, `productType`, `virtualAccount`, `lastContact` or `alerts`; with a `-` before
    /// it the other way round.
    #[param(required = false, example = "-lastContact")]
    sort: String,
    /// Where the page before ended: its `next`. It goes with the usual order alone, and loses and repeats nothing when
    /// instances come and go meanwhile.
    #[param(required = false)]
    after: String,
    #[param(minimum = 0, required = false)]
    offset: usize,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for Search {
    fn default() -> Self {
        let (search, virtual_account, product_type, status, sort, after) = Default::default();
        Self { search, virtual_account, product_type, status, sort, after, offset: 0, limit: PAGE }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstancePage {
    product_instances: Vec<Instance>,
    /// To be sent as `after` for the next page; absent on the last one, and in another order than the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Of all pages.
    total_records: usize,
}

/// The product instances of an account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/product-instances", tag = "instances",
    params(("account" = String, Path), Search),
    responses((status = 200, body = InstancePage), Problems), security(("bearer" = []))
)]
pub async fn list(
    app: Api,
    client: Client,
    Path(account): Path<String>,
    Query(asked): Query<Search>,
) -> Answer<InstancePage> {
    let (window, order) = (window(asked.offset, asked.limit)?, order(&asked.sort, InstanceColumn::Registered)?);
    let usual = order == Order::ascending(InstanceColumn::Registered);
    let after = cursor(&asked.after, usual)?;
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let va = match asked.virtual_account.as_str() {
        "" => None,
        name => Some([client.virtual_account(Action::Look, &state, (&account.name, name))?.1.id]),
    };
    let (lists, account) = (app.context.lists.clone(), account.id);
    let page = app.apart(move || {
        let (state, mut found) = lists.instances(&InstanceSearch {
            within: va.as_ref().map_or(Within::Account(account), |va| Within::VirtualAccounts(va)),
            search: Needle::new(&asked.search),
            product_type: Some(asked.product_type.as_str()).filter(|wanted| !wanted.is_empty()),
            in_compliance: asked.status.map(|status| status == Compliance::InCompliance),
            order,
            after,
            // One more tells whether there is another page.
            window: Window { limit: window.limit + 1, ..window },
        });
        let more = found.rows.len() > window.limit;
        found.rows.truncate(window.limit);
        let next = found.rows.last().filter(|_| usual && more).map(ToString::to_string);
        let rows = found.rows.iter().filter_map(|id| Some(Instance::of(&state, state.instance(*id)?)));
        InstancePage { product_instances: rows.collect(), next, total_records: found.total }
    });
    Ok(axum::Json(page.await?))
}

/// After which instance to go on.
fn cursor(text: &str, usual: bool) -> Result<Option<InstanceId>, Problem> {
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(id) if usual => Ok(Some(InstanceId(id))),
        Ok(_) => Err(Problem::invalid("after goes with the usual order; leave out sort, or use offset")),
        Err(_) => Err(Problem::invalid("after must be the `next` of the page before")),
    }
}

/// One product instance.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/product-instances/{id}", tag = "instances",
    params(("account" = String, Path), ("id" = u64, Path)),
    responses((status = 200, body = Instance), Problems), security(("bearer" = []))
)]
pub async fn show(app: Api, client: Client, Path((account, id)): Path<(String, u64)>) -> Answer<Instance> {
    let state = app.state();
    let instance = find(&client, Action::Look, &state, &account, id)?;
    Ok(axum::Json(Instance::of(&state, instance)))
}

/// Remove a product instance; its licenses are free at once.
#[utoipa::path(
    delete, path = "/api/v1/accounts/{account}/product-instances/{id}", tag = "instances",
    params(("account" = String, Path), ("id" = u64, Path)),
    responses((status = 204, description = "Removed"), Problems), security(("bearer" = []))
)]
pub async fn remove(app: Api, client: Client, Path((account, id)): Path<(String, u64)>) -> Result<StatusCode, Problem> {
    find(&client, Action::ManageInstances, &app.state(), &account, id)?;
    let asked = InstanceRef { account, instance: id.to_string() };
    done(Instances::remove(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where an instance goes.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct To {
    virtual_account: String,
}

/// Move a product instance with what it uses to another virtual account.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/product-instances/{id}/transfer", tag = "instances",
    params(("account" = String, Path), ("id" = u64, Path)), request_body = To,
    responses((status = 204, description = "Moved"), Problems), security(("bearer" = []))
)]
pub async fn transfer(
    app: Api,
    client: Client,
    Path((account, id)): Path<(String, u64)>,
    Body(to): Body<To>,
) -> Result<StatusCode, Problem> {
    find(&client, Action::ManageInstances, &app.state(), &account, id)?;
    let instance = Some(InstanceRef { account, instance: id.to_string() });
    let asked = TransferInstanceRequest { instance, to_virtual_account: to.virtual_account };
    done(Instances::transfer(&app.context.service, app.ask(&client, asked)).await)?;
    Ok(StatusCode::NO_CONTENT)
}

fn find<'a>(
    client: &Client,
    action: Action,
    state: &'a State,
    account: &str,
    id: u64,
) -> Result<&'a license::Instance, Problem> {
    let account = client.account(action, state, account)?;
    let instance = state.instance(InstanceId(id));
    let instance = instance.filter(|i| state.virtual_account(i.va).is_some_and(|va| va.account == account.id));
    instance.ok_or_else(|| Problem::not_found(format!("account {:?} has no product instance {id}", account.name)))
}
