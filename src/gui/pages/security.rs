//! Security: certificates, the sealing key, and the audit log.

use super::browser_certificate::Brought;
use super::sealing_key::Rotation;
use crate::gui::App;
use crate::gui::act::{Done, Entered, Posted, called};
use crate::gui::aside::Aside;
use crate::gui::view::{MaybeTime, Shell, Time, Viewer, page};
use crate::license::{Action, AuditEntry, Millis, Place};
use crate::proto::admin::certificates_server::Certificates;
use crate::proto::admin::settings_server::Settings;
use crate::proto::admin::{SetSettingRequest, ShowCertificateReply, ShowCertificateRequest};
use crate::web::list::{Asked, List};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{StatusCode, Uri};
use std::sync::Arc;

const HREF: &str = "/security";

pub fn routes() -> Router<Arc<App>> {
    Router::new().route(HREF, get(show).post(set_common_name)).route("/security/audit.jsonl", get(export))
}

struct Entry {
    seq: u64,
    at: Time,
    actor: String,
    action: String,
    detail: String,
}

impl Entry {
    fn of(entry: &AuditEntry) -> Self {
        let AuditEntry { seq, at, actor, action, detail, .. } = entry;
        Self { seq: *seq, at: Time(*at), actor: actor.clone(), action: action.clone(), detail: detail.clone() }
    }
}

#[derive(Template)]
#[template(path = "security.html")]
struct SecurityPage {
    shell: Shell,
    certificate: ShowCertificateReply,
    pending: Option<String>,
    until: MaybeTime,
    /// What another common name would break, to be confirmed.
    warning: Option<(String, ShowCertificateReply)>,
    may_set: bool,
    /// None for somebody who may not read it.
    audit: Option<List<Entry>>,
    fault: Option<String>,
    /// None: browsers see what the cluster CA issues.
    browser: Option<Brought>,
    may_rotate: bool,
    /// When the sealing key was changed last, or its change began, and whether that still goes on.
    sealed: Option<(Time, bool)>,
    rotation: Option<Rotation>,
    identities: usize,
    shortest: u64,
    entered: Entered,
}

/// The common name that is to come: as central is asked for it, or, until that request is made, as it was set.
fn pending(certificate: &ShowCertificateReply) -> Option<String> {
    let asked = certificate.wanted.as_ref().map(|wanted| &wanted.common_name);
    let set = Some(&certificate.set_common_name).filter(|set| !set.is_empty() && **set != certificate.common_name);
    asked.or(set).cloned()
}

async fn page_of(
    app: &App,
    viewer: &Viewer,
    uri: &Uri,
    warning: Option<(String, ShowCertificateReply)>,
    entered: Entered,
) -> Response {
    let state = app.state();
    let asked = Asked::read(uri);
    let shown = called(Certificates::show(&app.context.service, viewer.look(ShowCertificateRequest::default())).await);
    let mut certificate = shown.unwrap_or_default();
    let until = Some(Millis(certificate.not_after_ms)).filter(|at| at.0 > 0);
    let readable = viewer.may(Action::ReadAudit, Place::Server, &state);
    let audit = readable.then(|| {
        let found = |e: &&AuditEntry| asked.matches([e.actor.as_str(), &e.action, &e.detail]);
        let entries: Vec<_> = state.audit(0).filter(found).collect();
        asked.page(|| entries.iter().rev(), |e| Entry::of(e))
    });
    let fault = readable.then(|| AuditEntry::first_fault(state.audit(0), None)).flatten();
    let template = SecurityPage {
        shell: Shell::new(&state, viewer, HREF, "Security").noting(uri).beside(&Aside::of(app, viewer, &state).await),
        until: MaybeTime(until),
        pending: pending(&certificate),
        browser: certificate.browser.take().map(Brought::from),
        certificate,
        warning,
        may_rotate: viewer.may(Action::ManageCluster, Place::Server, &state),
        sealed: state.sealing().map(|sealing| (Time(sealing.since), sealing.previous.is_some())),
        rotation: app.rotation.lock().clone(),
        identities: state.admin_identities().count(),
        may_set: viewer.may(Action::ManageSettings, Place::Server, &state),
        audit,
        fault: fault.map(|(seq, why)| format!("Entry {seq}: {why}.")),
        shortest: state.settings().min_password_bytes,
        entered,
    };
    page(template.entered.status(), &template)
}

async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Response {
    page_of(&app, &viewer, &uri, None, Entered::default()).await
}

/// Sets the common name, or first says what that breaks and for whom.
async fn set_common_name(State(app): State<Arc<App>>, uri: Uri, Posted { viewer, form }: Posted) -> Response {
    let name = form.get("name").trim().to_owned();
    let result = async {
        viewer.require(Action::ManageSettings, Place::Server, &app.state())?;
        let service = &app.context.service;
        let look = viewer.look(ShowCertificateRequest { common_name: name.clone() });
        let breaks = called(Certificates::show(service, look).await)?;
        if !breaks.lost.is_empty() && breaks.instances > 0 && form.get("confirmed").as_str() != name {
            return Ok(Some(breaks));
        }
        let asked = SetSettingRequest { key: "host-common-name".into(), value: name.clone() };
        called(Settings::set(service, viewer.ask(&form, asked)).await).map(|_| None)
    };
    match result.await {
        Ok(None) => Done::SettingSet.at(HREF),
        Ok(Some(breaks)) => page_of(&app, &viewer, &uri, Some((name, breaks)), Entered::default()).await,
        Err(error) => page_of(&app, &viewer, &uri, None, Entered::refused(form, error)).await,
    }
}

/// The audit log as `licraft audit export` writes it.
async fn export(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let state = app.state();
    if let Err(error) = viewer.require(Action::ReadAudit, Place::Server, &state) {
        return crate::gui::act::failed(&app, &viewer, error, HREF, HREF);
    }
    let line = |e: &AuditEntry| {
        let at = crate::admin::rfc3339(e.at);
        let (actor, action, detail, hash) = (&e.actor, &e.action, &e.detail, hex::encode(e.hash));
        let entry = serde_json::json!({
            "seq": e.seq, "at_ms": e.at.0, "time": at, "actor": actor, "action": action, "detail": detail, "hash": hash,
        });
        format!("{entry}\n")
    };
    let text: String = state.audit(0).map(line).collect();
    let headers = [(CONTENT_TYPE, "application/jsonl"), (CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\"")];
    (StatusCode::OK, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::admin::WantedCertificate;

    #[test]
    fn a_name_is_pending_from_when_it_is_set_until_it_is_in_force() {
        let mut certificate =
            ShowCertificateReply { common_name: "old".into(), set_common_name: "old".into(), ..Default::default() };
        assert_eq!(pending(&certificate), None);
        certificate.set_common_name = "new".into();
        assert_eq!(pending(&certificate).as_deref(), Some("new"));
        certificate.wanted = Some(WantedCertificate { common_name: "asked".into(), ..Default::default() });
        assert_eq!(pending(&certificate).as_deref(), Some("asked"));
    }
}
