//! What all pages of a node share: severities, and the frame around each page.

use super::act::Done;
use super::aside::Aside;
use super::nav::Nav;
pub use super::viewer::Viewer;
use crate::license::{Severity, State};
use crate::pki::random;
use crate::web::assets::Assets;
use crate::web::list::Choice;
pub use crate::web::view::{Badge, MaybeTime, Shell, Time, Tone, counted, page, portion, problem, see_other, size};
use axum::response::Response;
use http::{StatusCode, Uri};

/// A severity as people read it.
pub const fn severity(severity: Severity) -> Badge {
    match severity {
        Severity::Major => Badge(Tone::Bad, "Major"),
        Severity::Minor => Badge(Tone::Warn, "Minor"),
        Severity::Informational => Badge(Tone::Plain, "Informational"),
    }
}

/// Cuts a list to one of the accounts that somebody sees.
pub fn account_choice(state: &State, viewer: &Viewer) -> Choice {
    let seen = viewer.seen_accounts(state).into_iter().map(|account| (account.id.to_string(), account.name.clone()));
    let options = std::iter::once((String::new(), "All accounts".to_owned())).chain(seen).collect();
    Choice { name: "account", label: "Account", options }
}

impl Shell {
    pub fn new(state: &State, viewer: &Viewer, href: &'static str, title: &'static str) -> Self {
        // Everything waits until one's own password is set.
        let nav = if viewer.must_change() { Nav::default() } else { Nav::of(state, viewer, href) };
        Self {
            title,
            user: viewer.user.name.clone(),
            workspaces: nav.workspaces,
            links: nav.links,
            tabs: nav.tabs,
            message: state.settings().message_of_the_day.clone(),
            notice: None,
            retired: viewer.retired,
            aside: None,
            still: !viewer.user.preferences.live,
            once: hex::encode(random::bytes::<16>()),
            assets: Assets,
        }
    }

    /// With what has just been done, if the address says so.
    pub fn noting(self, uri: &Uri) -> Self {
        Self { notice: Done::read(uri), ..self }
    }

    pub fn beside(self, aside: &Aside) -> Self {
        Self { aside: Some(aside.html()), ..self }
    }
}

/// Whether there is a cluster to show, now or once: a stand-alone server has no such page.
pub fn clustered(state: &State) -> bool {
    !state.settings().vip.is_empty() || state.members().filter(|m| !m.retired).count() > 1
}

/// A page could not be made: the thread that made it broke off.
pub fn server_failed(error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, "a page could not be made");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made", "The node's log says why.")
}
