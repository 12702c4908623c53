//! The diagnostic bundle: what whoever helps from afar has to know, in one file. It is made of what pages, status and logs
//! show anyway: no key, password, token or session is among it, and nothing of a single product.

use crate::admin::error::{AdminError, Kind};
use crate::admin::service::Service;
use crate::admin::status::{ClusterStatus, NodeStatus, rfc3339};
use crate::license::{Event, State};
use crate::proto::admin::certificates_server::Certificates;
use crate::proto::admin::settings_server::Settings;
use crate::proto::admin::{BundleReply, Check, GetSettingsRequest, ShowCertificateRequest};
use crate::telemetry;
use serde_json::{Value, json};
use tonic::{Request, Status};

/// Events of the cluster and of the server that are given, the newest.
const EVENTS: usize = 500;

impl Service {
    /// The bundle with the results of `checks`.
    pub(super) async fn bundle(&self, checks: Vec<Check>) -> Result<BundleReply, Status> {
        let (state, status) = (self.state(), self.cluster_status().await);
        let made = rfc3339(state.time((self.parts.clock)()));
        let settings = Settings::get(self, Request::new(GetSettingsRequest::default())).await?.into_inner().settings;
        let bundle = json!({
            "made": made,
            "node": status.this_node,
            "version": status.version,
            "server": state.meta().server_uid,
            "cluster": in_json(&status)?,
            "machines": status.nodes.iter().map(machine).collect::<Vec<_>>(),
            "checks": checks.iter().map(check).collect::<Vec<_>>(),
            "settings": settings.into_iter().map(|s| (s.key, Value::from(s.value))).collect::<serde_json::Map<_, _>>(),
            "certificate": self.certificate().await?,
            "records": records(&state),
            "role_changes": role_changes(&state),
            "alerts": alerts(&state),
            "events": events(&state),
            "log": telemetry::recent_logs(),
        });
        let json = serde_json::to_string_pretty(&bundle).map_err(not_written)?;
        Ok(BundleReply { name: file_name(&status, &made), json })
    }

    async fn certificate(&self) -> Result<Value, Status> {
        let shown = Certificates::show(self, Request::new(ShowCertificateRequest::default())).await?.into_inner();
        Ok(json!({ "issuer": shown.issuer, "common_name": shown.common_name, "hosts": shown.hosts }))
    }
}

fn in_json(status: &ClusterStatus) -> Result<Value, AdminError> {
    serde_json::to_value(status).map_err(not_written)
}

fn not_written(error: serde_json::Error) -> AdminError {
    AdminError::new(Kind::Internal, "the bundle cannot be written").because(error.to_string())
}

/// Colons are no part of a file's name everywhere.
fn file_name(status: &ClusterStatus, made: &str) -> String {
    let time: String = made.split('.').next().unwrap_or(made).chars().filter(char::is_ascii_alphanumeric).collect();
    let node: String =
        status.this_node.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("licraft-diagnostics-{node}-{time}.json")
}

fn machine(node: &NodeStatus) -> Value {
    let resources = node.resources.map(|r| {
        json!({
            "memory_used": r.memory_used, "memory_total": r.memory_total,
            "disk_used": r.disk_used, "disk_total": r.disk_total
        })
    });
    json!({ "node": node.name, "resources": resources })
}

fn check(check: &Check) -> Value {
    json!({ "name": check.name, "result": check.result().as_str_name(), "detail": check.detail })
}

/// How much of everything there is.
fn records(state: &State) -> Value {
    let vas = || state.accounts().flat_map(|account| state.virtual_accounts(account.id));
    json!({
        "accounts": state.accounts().count(),
        "virtual_accounts": vas().count(),
        "licenses": state.accounts().map(|account| state.licenses(account.id).count()).sum::<usize>(),
        "product_instances": state.instance_count(),
        "tokens": vas().map(|va| state.tokens(va.id).count()).sum::<usize>(),
        "users": state.users().count(),
        "events": state.events(0).count(),
        "clock_ahead_ms": state.meta().clock_ahead,
        "incarnation": state.meta().incarnation,
    })
}

fn role_changes(state: &State) -> Vec<Value> {
    let change = |r: &crate::license::RoleChange| {
        let node = state.member(r.node_id).map_or_else(|| format!("node {}", r.node_id), |m| m.name.clone());
        json!({ "at": rfc3339(r.at), "node": node, "term": r.term, "cause": r.cause })
    };
    state.role_changes().map(change).collect()
}

fn alerts(state: &State) -> Vec<Value> {
    let alert = |a: &crate::license::Alert| {
        json!({
            "kind": a.key.kind.title(), "source": a.key.source, "raised": rfc3339(a.raised), "message": a.message,
            "acknowledged": a.acknowledged
        })
    };
    state.alerts().map(alert).collect()
}

/// Those of the server itself: the customers' own stay with them.
fn events(state: &State) -> Vec<Value> {
    let own: Vec<&Event> = state.events(0).filter(|event| event.account.is_none()).collect();
    let event = |e: &&Event| json!({ "at": rfc3339(e.at), "kind": e.kind, "actor": e.actor, "message": e.message });
    own.iter().skip(own.len().saturating_sub(EVENTS)).map(event).collect()
}
