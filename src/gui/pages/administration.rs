//! The first page of Administration: a card for each of its pages, with the one fact that matters there.

use super::availability::Headline;
use crate::admin::rfc3339;
use crate::gui::App;
use crate::gui::aside::Aside;
use crate::gui::view::{Badge, Shell, Tone, Viewer, clustered, counted, page};
use crate::license::{AccountStatus, Action, Place, State};
use askama::Template;
use axum::Extension;
use axum::extract;
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;

struct Widget {
    href: &'static str,
    title: &'static str,
    badge: Option<Badge>,
    says: String,
}

#[derive(Template)]
#[template(path = "administration.html")]
struct AdministrationPage {
    shell: Shell,
    widgets: Vec<Widget>,
    invitation: bool,
}

pub async fn show(extract::State(app): extract::State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let state = app.state();
    let status = app.context.cluster.status().await;
    let mut widgets = vec![accounts(&state), synchronization(&state)];
    let cluster = clustered(&state) && !viewer.retired;
    if cluster {
        let headline = Headline::of(&status);
        widgets.push(Widget {
            href: "/high-availability",
            title: "High Availability",
            badge: Some(headline.badge),
            says: status.verdict.clone(),
        });
    }
    widgets.push(certificate(&state));
    if !viewer.retired && viewer.may(Action::ManageCluster, Place::Server, &state) {
        widgets.push(backups(&state));
    }
    for (href, title, says, action) in [
        ("/network", "Network", "Interfaces, addresses and rates of this node.", Action::Look),
        ("/users", "Users", "People, their roles and their browsers.", Action::ManageUsers),
        ("/settings", "Settings", "Central's address, timers, password policy.", Action::ManageSettings),
        ("/api-toolkit", "API Toolkit", "Programs that may call the REST API.", Action::ManageApiClients),
        ("/support", "Support Center", "Checks of data, replicas and cluster.", Action::Look),
    ] {
        if viewer.user.role.may(action) && !(viewer.retired && matches!(href, "/network" | "/support")) {
            widgets.push(Widget { href, title, badge: None, says: says.into() });
        }
    }
    let shell = Shell::new(&state, &viewer, "/administration", "Administration");
    let shell = shell.beside(&Aside::of(&app, &viewer, &state).await);
    page(StatusCode::OK, &AdministrationPage { shell, widgets, invitation: !cluster && !viewer.retired })
}

fn accounts(state: &State) -> Widget {
    let all = state.accounts().count();
    let waiting = state.accounts().filter(|a| a.status == AccountStatus::Requested).count();
    let says = match waiting {
        0 => counted(all, "account", "accounts"),
        n => format!(
            "{}, {}",
            counted(all, "account", "accounts"),
            counted(n, "waits for approval", "wait for approval")
        ),
    };
    let badge = (waiting > 0).then_some(Badge(Tone::Warn, "Requests"));
    Widget { href: "/accounts", title: "Accounts", badge, says }
}

fn synchronization(state: &State) -> Widget {
    let failed = state.accounts().filter(|a| a.sync.last_failure.is_some()).count();
    let overdue = state.accounts().filter(|a| a.sync.overdue).count();
    let (badge, says) = match (overdue, failed) {
        (0, 0) if state.accounts().all(|a| a.sync.last_success.is_none()) => {
            (None, "Nothing is synchronized yet.".into())
        }
        (0, 0) => (Some(Badge(Tone::Good, "Up to date")), "The last synchronization of each account succeeded.".into()),
        (0, n) => (
            Some(Badge(Tone::Warn, "Failed")),
            format!("The last attempt failed for {}.", counted(n, "account", "accounts")),
        ),
        (n, _) => (Some(Badge(Tone::Bad, "Overdue")), format!("Overdue for {}.", counted(n, "account", "accounts"))),
    };
    Widget { href: "/synchronization", title: "Synchronization", badge, says }
}

fn backups(state: &State) -> Widget {
    let (badge, says) = match super::backups::saved(state).next() {
        Some(event) => (None, format!("The last one was saved at {}.", rfc3339(event.at))),
        None => (Some(Badge(Tone::Warn, "None")), "The event log knows of no backup.".into()),
    };
    Widget { href: "/backups", title: "Backups", badge, says }
}

fn certificate(state: &State) -> Widget {
    let certificate = state.server_certificate();
    let (badge, says) = match certificate.pending() {
        Some(old) => (
            Some(Badge(Tone::Warn, "Common Name Pending")),
            format!("Products still see {old}, until the next synchronization."),
        ),
        None => match &certificate.current {
            Some(current) => (None, format!("Products see {}, signed by central.", current.names.common_name)),
            None => (None, "The cluster CA signs what products see, until central has.".into()),
        },
    };
    Widget { href: "/security", title: "Security", badge, says }
}
