//! Product instances.

use super::extract::{Body, Client, Path, Query};
use super::problem::{Problem, Problems};
use super::{Answer, Api, MAX_PAGE, PAGE, done};
use crate::admin::rfc3339;
use crate::license::{self, Action, InstanceId, State, VirtualAccountId};
use crate::proto::admin::instances_server::Instances;
use crate::proto::admin::{InstanceRef, TransferInstanceRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Instances looked at for one page of a search: what is beyond is found by the next page.
const MAX_LOOK: usize = 50_000;

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
            authorized_until: instance.authorized_until.map(rfc3339),
            certificate_expires: rfc3339(instance.certificate.not_after),
            export_controlled: instance.export_controlled,
            in_compliance: licenses.iter().all(|l| l.in_compliance),
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
    /// Only names, product ids and serial numbers that hold this text, in whatever case.
    #[param(required = false)]
    search: String,
    /// Only this virtual account.
    #[param(required = false)]
    virtual_account: String,
    /// Where the page before ended: its `next`.
    #[param(required = false)]
    after: String,
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: usize,
}

impl Default for Search {
    fn default() -> Self {
        let (search, virtual_account, after) = Default::default();
        Self { search, virtual_account, after, limit: PAGE }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstancePage {
    product_instances: Vec<Instance>,
    /// To be sent as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// In the account, or in the virtual account if one is named; whatever is searched for.
    total_records: u64,
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
    Query(wanted): Query<Search>,
) -> Answer<InstancePage> {
    if !(1..=MAX_PAGE).contains(&wanted.limit) {
        return Err(Problem::invalid(format!("limit is 1 to {MAX_PAGE}")));
    }
    let state = app.state();
    let account = client.account(Action::Look, &state, &account)?;
    let (vas, total_records) = match wanted.virtual_account.as_str() {
        "" => (state.virtual_accounts(account.id).map(|va| va.id).collect(), account.instances),
        name => {
            let va = client.virtual_account(Action::Look, &state, (&account.name, name))?.1;
            (vec![va.id], va.instances)
        }
    };
    let (from, mut after) = cursor(&wanted.after, &vas)?;
    let text = wanted.search.to_lowercase();
    let (mut found, mut looked) = (Vec::new(), 0);
    for va in &vas[from..] {
        for instance in state.instances_of(*va, after.take()) {
            if found.len() == wanted.limit || looked == MAX_LOOK {
                let next = found.last().map_or(instance.id, |last: &&license::Instance| last.id);
                let next = if looked == MAX_LOOK { InstanceId(instance.id.0 - 1) } else { next };
                let product_instances = found.iter().map(|i| Instance::of(&state, i)).collect();
                let next = Some(format!("{va}.{next}"));
                return Ok(axum::Json(InstancePage { product_instances, next, total_records }));
            }
            looked += 1;
            if matches(instance, &text) {
                found.push(instance);
            }
        }
    }
    let product_instances = found.iter().map(|i| Instance::of(&state, i)).collect();
    Ok(axum::Json(InstancePage { product_instances, next: None, total_records }))
}

fn matches(instance: &license::Instance, text: &str) -> bool {
    let holds = |part: &str| part.to_lowercase().contains(text);
    text.is_empty()
        || instance.host_name.as_deref().is_some_and(holds)
        || holds(&instance.udi.pid)
        || holds(&instance.udi.sn)
}

/// Where to go on: which of the virtual accounts, and after which instance.
fn cursor(text: &str, vas: &[VirtualAccountId]) -> Result<(usize, Option<InstanceId>), Problem> {
    if text.is_empty() {
        return Ok((0, None));
    }
    let parts = text.split_once('.').and_then(|(va, id)| Some((va.parse::<u64>().ok()?, id.parse().ok()?)));
    let place = parts.and_then(|(va, id)| Some((vas.iter().position(|v| v.0 == va)?, Some(InstanceId(id)))));
    place.ok_or_else(|| Problem::invalid("after must be the `next` of the page before, of the same account"))
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
