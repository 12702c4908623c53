//! What all pages of a node share: who looks, the frame around each page.

use crate::license::{AlertKind, Severity, State, User};
use crate::web::assets::Assets;
pub use crate::web::view::{Badge, Link, MaybeTime, Shell, Time, Tone, counted, page, problem, see_other};

/// The person a request comes from.
#[derive(Clone)]
pub struct Viewer {
    pub user: User,
    pub token: String,
    /// Whether this node is retired.
    pub retired: bool,
}

impl Viewer {
    /// Whether everything waits until the own password is set; on a retired node none can be.
    pub const fn must_change(&self) -> bool {
        self.user.must_change && !self.retired
    }
}

/// A severity as people read it.
pub const fn severity(severity: Severity) -> Badge {
    match severity {
        Severity::Major => Badge(Tone::Bad, "Major"),
        Severity::Minor => Badge(Tone::Warn, "Minor"),
        Severity::Informational => Badge(Tone::Plain, "Informational"),
    }
}

impl Shell {
    pub fn new(state: &State, viewer: &Viewer, href: &'static str, title: &'static str) -> Self {
        let alerts = state.alerts().count();
        let mut pages = vec![("/", "Overview", 0)];
        if clustered(state) && !viewer.retired {
            pages.push(("/high-availability", "High Availability", 0));
        }
        pages.extend([
            ("/accounts", "Accounts", 0),
            ("/licenses", "Licenses", 0),
            ("/product-instances", "Product Instances", 0),
            ("/alerts", "Alerts", alerts),
            ("/event-log", "Event Log", 0),
        ]);
        // Everything waits until one's own password is set.
        let pages = if viewer.must_change() { Vec::new() } else { pages };
        let link = |(link, text, count)| Link { href: link, text, current: link == href, count };
        let links = pages.into_iter().map(link).collect();
        Self { title, user: viewer.user.name.clone(), links, retired: viewer.retired, assets: Assets }
    }
}

/// Whether there is a cluster to show, now or once: a stand-alone server has no such page.
pub fn clustered(state: &State) -> bool {
    !state.settings().vip.is_empty() || state.members().filter(|m| !m.retired).count() > 1
}

/// Standing alerts of one kind.
pub fn count_alerts(state: &State, kind: AlertKind) -> usize {
    state.alerts().filter(|a| a.key.kind == kind).count()
}
