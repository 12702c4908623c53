//! Two workspaces and the pages in them: who sees which.

use super::view::clustered;
use super::viewer::Viewer;
use crate::license::{Action, StartPage, State};
use crate::web::view::Link;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Workspace {
    Licensing,
    Administration,
}

/// A page that the navigation leads to.
struct Entry {
    href: &'static str,
    text: &'static str,
    workspace: Workspace,
    /// What one must be allowed to do for it, somewhere.
    action: Action,
    /// Whether only people for the whole server see it.
    server: bool,
    /// The page that has this one among its tabs.
    under: Option<&'static str>,
}

const fn licensing(href: &'static str, text: &'static str, under: Option<&'static str>) -> Entry {
    Entry { href, text, workspace: Workspace::Licensing, action: Action::Look, server: false, under }
}

const fn administration(href: &'static str, text: &'static str, action: Action, server: bool) -> Entry {
    Entry { href, text, workspace: Workspace::Administration, action, server, under: None }
}

const INVENTORY: Option<&str> = Some("/inventory");

const ENTRIES: [Entry; 20] = [
    licensing("/", "Overview", None),
    licensing("/alerts", "Alerts", None),
    licensing("/inventory", "Inventory", None),
    licensing("/inventory", "General", INVENTORY),
    licensing("/licenses", "Licenses", INVENTORY),
    licensing("/product-instances", "Product Instances", INVENTORY),
    licensing("/event-log", "Event Log", INVENTORY),
    licensing("/activity", "Activity", None),
    licensing("/preferences", "Preferences", None),
    administration("/administration", "Overview", Action::Look, true),
    administration("/accounts", "Accounts", Action::Look, false),
    administration("/synchronization", "Synchronization", Action::Look, false),
    administration("/high-availability", "High Availability", Action::Look, true),
    administration("/network", "Network", Action::Look, true),
    administration("/users", "Users", Action::ManageUsers, true),
    administration("/security", "Security", Action::Look, true),
    administration("/backups", "Backups", Action::ManageCluster, true),
    administration("/settings", "Settings", Action::ManageSettings, true),
    administration("/api-toolkit", "API Toolkit", Action::ManageApiClients, false),
    administration("/support", "Support Center", Action::Look, true),
];

/// The way to the other pages, as the page at an address shows it.
#[derive(Default)]
pub struct Nav {
    pub workspaces: Vec<Link>,
    pub links: Vec<Link>,
    pub tabs: Vec<Link>,
}

impl Nav {
    pub fn of(state: &State, viewer: &Viewer, href: &str) -> Self {
        let alerts = state.alerts().filter(|a| a.acknowledged.is_none() && viewer.sees_alert(a, state)).count();
        let seen: Vec<&Entry> = ENTRIES.iter().filter(|entry| entry.seen(state, viewer)).collect();
        let here = seen.iter().rev().find(|entry| entry.href == href);
        let workspace = here.map_or(Workspace::Licensing, |entry| entry.workspace);
        let top = here.and_then(|entry| entry.under).unwrap_or(href);
        let link = |entry: &&Entry, current: &str| Link {
            href: entry.href,
            text: entry.text,
            current: entry.href == current,
            count: if entry.href == "/alerts" { alerts } else { 0 },
        };
        let of = |wanted| seen.iter().find(move |entry| entry.workspace == wanted && entry.under.is_none());
        let switch = [(Workspace::Licensing, "Licensing"), (Workspace::Administration, "Administration")];
        let switch = switch.into_iter().filter_map(|(wanted, text)| {
            of(wanted).map(|first| Link { href: first.href, text, current: wanted == workspace, count: 0 })
        });
        let links = seen.iter().filter(|entry| entry.workspace == workspace && entry.under.is_none());
        let tabs = seen.iter().filter(|entry| entry.under == Some(top));
        Self {
            workspaces: switch.collect(),
            links: links.map(|entry| link(entry, top)).collect(),
            tabs: tabs.map(|entry| link(entry, href)).collect(),
        }
    }
}

impl Nav {
    /// The first page of the workspace in which somebody likes to begin; of Licensing if they do not see that.
    pub fn start(state: &State, viewer: &Viewer, start: StartPage) -> &'static str {
        let wanted = match start {
            StartPage::Licensing => Workspace::Licensing,
            StartPage::Administration => Workspace::Administration,
        };
        let first = ENTRIES.iter().find(|entry| entry.workspace == wanted && entry.seen(state, viewer));
        first.map_or("/", |entry| entry.href)
    }
}

impl Entry {
    /// Whether this server has such a page now.
    fn there(&self, state: &State, viewer: &Viewer) -> bool {
        match self.href {
            "/high-availability" => clustered(state) && !viewer.retired,
            // What a retired node could tell of these is not so any more.
            "/network" | "/backups" | "/support" => !viewer.retired,
            // Nothing can be set there.
            "/preferences" => !viewer.retired,
            _ => true,
        }
    }

    fn is_for(&self, viewer: &Viewer) -> bool {
        // Virtual accounts have no accounts, synchronizations and programs of their own.
        let place = self.workspace == Workspace::Licensing
            || viewer.whole_server()
            || viewer.user.role.may(Action::Synchronize) && !self.server;
        place && viewer.user.role.may(self.action)
    }

    fn seen(&self, state: &State, viewer: &Viewer) -> bool {
        self.there(state, viewer) && self.is_for(viewer)
    }
}

/// What a person finds at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Open,
    /// This server has no such page now.
    Missing,
    /// It is for another role.
    Denied,
}

impl Access {
    /// To the page at `path`, or to the one that it belongs to.
    pub fn of(state: &State, viewer: &Viewer, path: &str) -> Self {
        let below = |href: &str| path.strip_prefix(href).is_some_and(|rest| rest.starts_with('/'));
        let of = |entry: &&Entry| path == entry.href || entry.href != "/" && below(entry.href);
        match ENTRIES.iter().find(of) {
            Some(entry) if !entry.is_for(viewer) => Self::Denied,
            Some(entry) if !entry.there(state, viewer) => Self::Missing,
            _ => Self::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{Role, User};

    fn viewer(role: Role) -> Viewer {
        Viewer { user: User::new("ann".into(), role, String::new(), false), token: String::new(), retired: false }
    }

    #[test]
    fn each_role_has_its_workspaces() {
        let state = State::default();
        let hrefs = |role, href| {
            let nav = Nav::of(&state, &viewer(role), href);
            (nav.workspaces.len(), nav.links.iter().map(|link| link.href).collect::<Vec<_>>())
        };
        assert_eq!(
            hrefs(Role::VirtualAccountAdministrator, "/"),
            (1, vec!["/", "/alerts", "/inventory", "/activity", "/preferences"])
        );
        let account = hrefs(Role::LocalAccountAdministrator, "/accounts");
        assert_eq!(account, (2, vec!["/accounts", "/synchronization", "/api-toolkit"]));
        let (_, reader) = hrefs(Role::ReadOnly, "/administration");
        assert!(reader.contains(&"/support") && !reader.contains(&"/users") && !reader.contains(&"/settings"));
        assert_eq!(Access::of(&state, &viewer(Role::SystemOperator), "/backups/save"), Access::Denied);
        assert_eq!(Access::of(&state, &viewer(Role::ReadOnly), "/users/ann"), Access::Denied);
        assert_eq!(Access::of(&state, &viewer(Role::ReadOnly), "/licenses/7"), Access::Open);
        assert_eq!(Access::of(&state, &viewer(Role::ReadOnly), "/high-availability"), Access::Missing);
        assert_eq!(Access::of(&state, &viewer(Role::VirtualAccountAdministrator), "/accounts"), Access::Denied);
    }

    #[test]
    fn everybody_begins_where_they_like_and_may() {
        let state = State::default();
        let start = |role, start| Nav::start(&state, &viewer(role), start);
        assert_eq!(start(Role::SystemOperator, StartPage::Licensing), "/");
        assert_eq!(start(Role::SystemOperator, StartPage::Administration), "/administration");
        assert_eq!(start(Role::LocalAccountAdministrator, StartPage::Administration), "/accounts");
        assert_eq!(start(Role::VirtualAccountAdministrator, StartPage::Administration), "/");
    }

    #[test]
    fn a_tab_shows_where_it_belongs() {
        let nav = Nav::of(&State::default(), &viewer(Role::SystemOperator), "/licenses");
        assert!(nav.links.iter().any(|link| link.href == "/inventory" && link.current));
        let current: Vec<_> = nav.tabs.iter().filter(|link| link.current).map(|link| link.text).collect();
        assert_eq!(current, ["Licenses"]);
    }
}
