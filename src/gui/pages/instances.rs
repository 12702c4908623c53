//! Product instances: every registered device or program, and everything about one.

use super::events::EventRow;
use super::inventory;
use crate::admin::{AdminError, Kind};
use crate::gui::App;
use crate::gui::act::{Confirm, Done, Posted, called, failed, finish};
use crate::gui::view::{Badge, MaybeTime, Shell, Time, Tone, Viewer, page, server_failed};
use crate::license::{
    Action, AlertKind, Device, Event, ID_CERTIFICATE_EXPIRING, IdCertificate, Instance, InstanceId, Millis, Place,
    State, Subject, VirtualAccountId,
};
use crate::listing::{InstanceColumn, InstanceSearch, Listed, Order, Within};
use crate::proto::admin::instances_server::Instances;
use crate::proto::admin::{InstanceRef, TransferInstanceRequest};
use crate::web::form::{Form, query};
use crate::web::likings::blocking;
use crate::web::list::{Asked, Choice, List};
use askama::Template;
use axum::extract::{Path, State as Of};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::{StatusCode, Uri};
use std::sync::Arc;

pub const HREF: &str = "/product-instances";
/// The filter of the list.
const COMPLIANCE: &str = "compliant";
/// Events of an instance on its page, newest first.
const EVENTS: usize = 20;

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HREF, get(show))
        .route("/product-instances/remove", get(confirm_several).post(remove_several))
        .route("/product-instances/{id}", get(instance))
        .route("/product-instances/{id}/transfer", post(transfer))
        .route("/product-instances/{id}/remove", get(confirm).post(remove))
}

struct InstanceRow {
    id: u64,
    name: String,
    /// The device identity, where the name is the host's.
    udi: String,
    product_type: String,
    software_version: String,
    account: String,
    virtual_account: String,
    registered: Time,
    last_contact: Time,
    alerts: Vec<Badge>,
}

impl InstanceRow {
    fn of(state: &State, instance: &Instance) -> Self {
        let va = state.virtual_account(instance.va);
        let account = va.and_then(|v| state.account(v.account));
        let covered = state.authorization(instance.id).is_none_or(|a| a.in_compliance());
        let name = instance.name();
        let udi = format!("UDI_PID:{};UDI_SN:{};", instance.udi.pid, instance.udi.sn);
        Self {
            id: instance.id.0,
            udi: if name == udi { String::new() } else { udi },
            name,
            product_type: instance.product_type.to_string(),
            software_version: instance.software_version.to_string(),
            account: account.map(|a| a.name.clone()).unwrap_or_default(),
            virtual_account: va.map(|v| v.name.clone()).unwrap_or_default(),
            registered: Time(instance.registered),
            last_contact: Time(instance.last_contact),
            alerts: (!covered)
                .then_some(Badge(Tone::Bad, "Out of Compliance"))
                .into_iter()
                .chain(state.failures(instance).map(failure))
                .collect(),
        }
    }
}

fn failure(kind: AlertKind) -> Badge {
    match kind {
        AlertKind::FailedToConnect => Badge(Tone::Warn, "Failed to Connect"),
        _ => Badge(Tone::Bad, "Failed to Renew"),
    }
}

#[derive(Template)]
#[template(path = "instances.html")]
struct InstancesPage {
    shell: Shell,
    vas: Vec<(u64, String)>,
    choices: Vec<Choice>,
    may_remove: bool,
    list: List<InstanceRow>,
}

/// Cuts the list to those whose licenses are covered, or to the others.
fn compliance_choice() -> Choice {
    let options = [("", "In and out of compliance"), ("no", "Out of Compliance"), ("yes", "In Compliance")];
    let options = options.map(|(value, text)| (value.to_owned(), text.to_owned())).into();
    Choice { name: COMPLIANCE, label: "Compliance", options }
}

async fn show(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    // It looks at as many instances as there are: not on a thread that serves.
    let rendered = blocking(move || {
        let (asked, state) = (Asked::read(&uri).filtered(&uri, &[COMPLIANCE]), app.state());
        let (vas, only) = inventory::filter(&state, &viewer, &uri);
        let whole = only.is_none() && viewer.whole_server();
        let all = || viewer.virtual_accounts(&state).iter().map(|(_, va)| va.id).collect();
        let seen: Vec<VirtualAccountId> = only.unwrap_or_else(all);
        let wanted = |window| InstanceSearch {
            within: if whole { Within::Server } else { Within::VirtualAccounts(&seen) },
            search: asked.sought(),
            product_type: None,
            in_compliance: match asked.filter(COMPLIANCE) {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            },
            order: asked.order(Order::ascending(InstanceColumn::Registered)),
            after: None,
            window,
        };
        let find = |window| {
            let (state, found) = app.context.lists.instances(&wanted(window));
            let row = |id: InstanceId| state.instance(id).map(|instance| InstanceRow::of(&state, instance));
            Listed { rows: found.rows.into_iter().filter_map(row).collect(), total: found.total }
        };
        let list = asked.found(find, |row| row);
        let may_remove = seen.iter().any(|va| viewer.may(Action::ManageInstances, Place::VirtualAccount(*va), &state));
        let shell = Shell::new(&state, &viewer, HREF, "Product Instances").noting(&uri);
        page(StatusCode::OK, &InstancesPage { shell, vas, choices: vec![compliance_choice()], may_remove, list })
    });
    rendered.await.unwrap_or_else(|error| server_failed(&error))
}

struct Use {
    license: u64,
    name: String,
    tag: String,
    count: u64,
    status: Badge,
}

/// A further device of an instance that is a cluster itself.
struct MemberRow {
    name: String,
    pid: String,
    sn: String,
}

impl MemberRow {
    fn of(device: &Device) -> Self {
        let Device { udi, host_name } = device;
        let name = host_name.as_deref().unwrap_or_default().to_owned();
        Self { name, pid: udi.pid.clone(), sn: udi.sn.clone() }
    }
}

/// Whether an ID certificate holds at `now`.
fn certificate_state(certificate: &IdCertificate, now: Millis) -> Badge {
    match certificate.not_after {
        end if end <= now => Badge(Tone::Bad, "Ended"),
        end if end <= now.plus(ID_CERTIFICATE_EXPIRING) => Badge(Tone::Warn, "Ends soon"),
        _ => Badge(Tone::Good, "Valid"),
    }
}

#[derive(Template)]
#[template(path = "instance.html")]
struct InstancePage {
    shell: Shell,
    row: InstanceRow,
    pid: String,
    sn: String,
    licenses: Vec<Use>,
    /// It is one of a cluster of devices that registered as one: the further ones.
    members: Vec<MemberRow>,
    contact: Badge,
    next_contact: MaybeTime,
    authorized_until: MaybeTime,
    enforce_from: MaybeTime,
    released: Time,
    export_controlled: bool,
    serial: String,
    certificate: Badge,
    certificate_from: Time,
    certificate_until: Time,
    events: Vec<EventRow>,
    may: bool,
    elsewhere: Vec<String>,
}

async fn instance(
    Of(app): Of<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<u64>,
    uri: Uri,
) -> Response {
    let state = app.state();
    let instance = match find(&state, &viewer, id, Action::Look) {
        Ok(instance) => instance,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    let authorization = state.authorization(instance.id);
    let uses =
        authorization.iter().flat_map(|a| &a.licenses).zip(instance.usage.iter()).map(|(license, (id, _))| Use {
            license: id.0,
            name: license.name.clone(),
            tag: license.tag.clone(),
            count: license.count,
            status: match license.in_compliance {
                true => Badge(Tone::Good, "In Compliance"),
                false => Badge(Tone::Bad, "Out of Compliance"),
            },
        });
    let account = state.virtual_account(instance.va).map(|va| va.account);
    let may = |va: VirtualAccountId| viewer.may(Action::ManageInstances, Place::VirtualAccount(va), &state);
    let others = account.into_iter().flat_map(|account| state.virtual_accounts(account));
    let others = others.filter(|va| va.id != instance.va && may(va.id));
    let certificate = &instance.certificate;
    let next_contact = authorization.as_ref().map(|a| a.next_contact);
    let template = InstancePage {
        shell: Shell::new(&state, &viewer, HREF, "Product Instance").noting(&uri),
        row: InstanceRow::of(&state, instance),
        pid: instance.udi.pid.clone(),
        sn: instance.udi.sn.clone(),
        licenses: uses.collect(),
        members: instance.devices().iter().map(MemberRow::of).collect(),
        contact: match next_contact {
            Some(next) if next < state.now() => Badge(Tone::Warn, "Late"),
            _ => Badge(Tone::Good, "In time"),
        },
        next_contact: MaybeTime(next_contact),
        authorized_until: MaybeTime(instance.authorized_until),
        enforce_from: MaybeTime(authorization.as_ref().and_then(|a| a.enforce_from)),
        released: Time(instance.lapses_at()),
        export_controlled: instance.export_controlled,
        serial: hex::encode(certificate.serial),
        certificate: certificate_state(certificate, state.now()),
        certificate_from: Time(certificate.not_before),
        certificate_until: Time(certificate.not_after),
        events: events(&state, &viewer, instance),
        may: may(instance.va),
        elsewhere: others.map(|va| va.name.clone()).collect(),
    };
    page(StatusCode::OK, &template)
}

/// What happened to an instance, as far as events are kept.
fn events(state: &State, viewer: &Viewer, instance: &Instance) -> Vec<EventRow> {
    let mine = |e: &&Event| e.is_about(Subject::Instance(instance.id)) && viewer.sees_event(e, state);
    let mut events: Vec<_> = state.events(0).filter(mine).collect();
    events.reverse();
    events.truncate(EVENTS);
    events.into_iter().map(|e| EventRow::of(state, e)).collect()
}

pub fn find<'a>(state: &'a State, viewer: &Viewer, id: u64, action: Action) -> Result<&'a Instance, AdminError> {
    let instance = state.instance(InstanceId(id)).filter(|i| viewer.sees_instance(i, state));
    let instance = instance.ok_or_else(|| {
        AdminError::new(Kind::NotFound, "there is no such product instance here")
            .hint("it may have been removed; the page Product Instances has all")
    })?;
    viewer.require(action, Place::VirtualAccount(instance.va), state)?;
    Ok(instance)
}

pub fn named(id: u64) -> InstanceRef {
    InstanceRef { account: String::new(), instance: id.to_string() }
}

async fn transfer(Of(app): Of<Arc<App>>, Path(id): Path<u64>, Posted { viewer, form }: Posted) -> Response {
    let result = async {
        let (state, to) = (app.state(), form.get("to").to_string());
        let instance = find(&state, &viewer, id, Action::ManageInstances)?;
        // Whoever may give it away need not be one who may change something there.
        let account = state.virtual_account(instance.va).map(|va| va.account);
        let target = account.and_then(|account| state.virtual_account_by_name(account, &to));
        let missing = || AdminError::new(Kind::NotFound, format!("there is no virtual account {to:?} in this account"));
        let target = target.ok_or_else(missing)?.id;
        viewer.require(Action::ManageInstances, Place::VirtualAccount(target), &state)?;
        let asked = TransferInstanceRequest { instance: Some(named(id)), to_virtual_account: format!("#{target}") };
        called(Instances::transfer(&app.context.service, viewer.ask(&form, asked)).await).map(drop)
    };
    let back = format!("/product-instances/{id}");
    finish(&app, &viewer, result.await, Done::InstanceTransferred, HREF, &back)
}

async fn confirm(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, Path(id): Path<u64>) -> Response {
    let state = app.state();
    let instance = match find(&state, &viewer, id, Action::ManageInstances) {
        Ok(instance) => instance,
        Err(error) => return failed(&app, &viewer, error, HREF, HREF),
    };
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, "Remove product instance"),
        says: vec![
            format!("{} is removed, and its licenses are free at once.", instance.name()),
            "The product itself learns it at its next contact, and has to register again with a token.".into(),
        ],
        button: "Remove",
        reason: None,
        fields: Vec::new(),
        back: format!("/product-instances/{id}"),
    }
    .page()
}

async fn remove(Of(app): Of<Arc<App>>, Path(id): Path<u64>, Posted { viewer, form }: Posted) -> Response {
    match remove_one(&app, &viewer, &form, id).await {
        Ok(()) => Done::InstanceRemoved.at(HREF),
        Err(error) => failed(&app, &viewer, error, HREF, &format!("/product-instances/{id}")),
    }
}

async fn remove_one(app: &App, viewer: &Viewer, form: &Form, id: u64) -> Result<(), AdminError> {
    find(&app.state(), viewer, id, Action::ManageInstances)?;
    called(Instances::remove(&app.context.service, viewer.ask(form, named(id))).await).map(drop)
}

/// Several that were ticked in the list.
async fn confirm_several(Of(app): Of<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    let state = app.state();
    let ticked: Vec<u64> = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == "id")
        .filter_map(|(_, id)| id.parse().ok())
        .collect();
    let may = |id: &&u64| find(&state, &viewer, **id, Action::ManageInstances).is_ok();
    let ids: Vec<u64> = ticked.iter().filter(may).copied().collect();
    if ids.is_empty() {
        let error =
            AdminError::new(Kind::Invalid, "no product instance was ticked").hint("go back and tick those to remove");
        return failed(&app, &viewer, error, HREF, HREF);
    }
    let names = ids.iter().filter_map(|id| state.instance(InstanceId(*id))).map(|i| i.name()).collect::<Vec<_>>();
    Confirm {
        shell: Shell::new(&state, &viewer, HREF, "Remove product instances"),
        says: vec![
            format!("These are removed, and their licenses are free at once: {}.", names.join(", ")),
            "The products learn it at their next contact, and have to register again with a token.".into(),
        ],
        button: "Remove",
        reason: None,
        fields: ids.iter().map(|id| ("id", id.to_string())).collect(),
        back: match query(&uri, "va").parse::<u64>() {
            Ok(va) => format!("{HREF}?va={va}"),
            Err(_) => HREF.into(),
        },
    }
    .page()
}

async fn remove_several(Of(app): Of<Arc<App>>, Posted { viewer, form }: Posted) -> Response {
    for id in form.all("id") {
        let Ok(id) = id.parse() else { continue };
        // Each is a change of its own: one name for all would carry out the first alone.
        if let Err(error) = remove_one(&app, &viewer, &Form::default(), id).await {
            // One that is gone already is as wanted.
            if error.kind != Kind::NotFound {
                return failed(&app, &viewer, error, HREF, HREF);
            }
        }
    }
    Done::InstancesRemoved.at(HREF)
}
