//! Product instances: every registered device or program.

use super::problem;
use crate::gui::App;
use crate::gui::list::{Asked, List};
use crate::gui::view::{Badge, Shell, Time, Tone, Viewer, page};
use crate::license::{Instance, State};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::{StatusCode, Uri};
use std::sync::Arc;

struct InstanceRow {
    name: String,
    /// The device identity, where the name is the host's.
    udi: String,
    product_type: String,
    software_version: String,
    account: String,
    virtual_account: String,
    registered: Time,
    last_contact: Time,
    alert: Option<Badge>,
}

impl InstanceRow {
    fn of(state: &State, instance: &Instance) -> Self {
        let va = state.virtual_account(instance.va);
        let account = va.and_then(|v| state.account(v.account));
        let covered = state.authorization(instance.id).is_none_or(|a| a.in_compliance());
        let name = instance.name();
        let udi = format!("UDI_PID:{};UDI_SN:{};", instance.udi.pid, instance.udi.sn);
        Self {
            udi: if name == udi { String::new() } else { udi },
            name,
            product_type: instance.product_type.to_string(),
            software_version: instance.software_version.to_string(),
            account: account.map(|a| a.name.clone()).unwrap_or_default(),
            virtual_account: va.map(|v| v.name.clone()).unwrap_or_default(),
            registered: Time(instance.registered),
            last_contact: Time(instance.last_contact),
            alert: (!covered).then_some(Badge(Tone::Bad, "Out of Compliance")),
        }
    }
}

fn matches(state: &State, asked: &Asked, i: &Instance) -> bool {
    if !asked.searching() {
        return true;
    }
    let account = || state.virtual_account(i.va).and_then(|v| state.account(v.account)).map_or("", |a| &a.name);
    let texts = [i.host_name.as_deref().unwrap_or_default(), &i.udi.sn, &i.udi.pid, &i.product_type];
    asked.matches(texts) || asked.matches([account()])
}

#[derive(Template)]
#[template(path = "instances.html")]
struct InstancesPage {
    shell: Shell,
    list: List<InstanceRow>,
}

pub async fn show(
    extract::State(app): extract::State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response {
    let state = app.context.ledger.state();
    // A search may look at a million instances: not on a thread that serves.
    let rendered = tokio::task::spawn_blocking(move || {
        let asked = Asked::read(&uri);
        let seen = |i: &&Instance| viewer.sees_virtual_account(i.va, &state) && matches(&state, &asked, i);
        let found = || state.instances(None).filter(seen);
        let list = asked.page(found, |i| InstanceRow::of(&state, i));
        let shell = Shell::new(&state, &viewer, "/product-instances", "Product Instances");
        page(StatusCode::OK, &InstancesPage { shell, list })
    });
    rendered.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the product instances could not be listed");
        problem(StatusCode::INTERNAL_SERVER_ERROR, "The list could not be made", "The node's log says why.")
    })
}
