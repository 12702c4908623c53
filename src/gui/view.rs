//! What all pages share: who looks, times and badges as HTML, the frame around each page.

use super::assets::Assets;
use crate::admin::rfc3339;
use crate::license::{AccountId, Action, Alert, Millis, Place, Severity, State, User, VirtualAccountId};
use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use std::fmt;

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

    fn sees(&self, place: Place, state: &State) -> bool {
        self.user.may(Action::Look, place, state)
    }

    /// Whether this person may look at the server as a whole.
    pub fn sees_server(&self, state: &State) -> bool {
        self.sees(Place::Server, state)
    }

    pub fn sees_virtual_account(&self, id: VirtualAccountId, state: &State) -> bool {
        self.sees(Place::VirtualAccount(id), state)
    }

    /// An account of which one virtual account is seen is seen too.
    pub fn sees_account(&self, id: AccountId, state: &State) -> bool {
        self.sees(Place::Account(id), state)
            || state.virtual_accounts(id).any(|va| self.sees_virtual_account(va.id, state))
    }

    /// What is about an account as a whole, or about the server where it names none.
    pub fn sees_about(&self, account: Option<AccountId>, state: &State) -> bool {
        self.sees(account.map_or(Place::Server, Place::Account), state)
    }

    /// Alerts about a virtual account name it behind its account.
    pub fn sees_alert(&self, alert: &Alert, state: &State) -> bool {
        let about = |va: &VirtualAccountId| {
            let va = state.virtual_account(*va)?;
            let prefix = format!("{}/{}/", state.account(va.account)?.name, va.name);
            alert.key.source.starts_with(&prefix).then_some(())
        };
        self.sees_about(alert.account, state) || self.user.virtual_accounts.iter().any(|va| about(va).is_some())
    }
}

/// A moment in UTC, as a `<time>` element.
#[derive(Clone, Copy)]
pub struct Time(pub Millis);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = rfc3339(self.0);
        match iso.split_once('T') {
            Some((day, time)) => {
                let minute = time.get(..5).unwrap_or(time);
                write!(f, r#"<time datetime="{iso}">{day} {minute} UTC</time>"#)
            }
            // Beyond the calendar: a bare number.
            None => f.write_str(&iso),
        }
    }
}

impl HtmlSafe for Time {}

/// A moment that may not have come.
pub struct MaybeTime(pub Option<Millis>);

impl fmt::Display for MaybeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => Time(at).fmt(f),
            None => f.write_str("\u{2013}"),
        }
    }
}

impl HtmlSafe for MaybeTime {}

/// How a badge looks; its text says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warn,
    Bad,
    Plain,
}

/// A short state as an element. The text is fixed, never from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Badge(pub Tone, pub &'static str);

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<span class="badge {}">{}</span>"#, self.0.class(), self.1)
    }
}

impl HtmlSafe for Badge {}

impl Tone {
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
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

/// An entry of the main navigation.
pub struct Link {
    pub href: &'static str,
    pub text: &'static str,
    pub current: bool,
    /// Shown beside it unless 0.
    pub count: usize,
}

/// The frame around every page for people who are signed in.
pub struct Shell {
    pub title: &'static str,
    pub user: String,
    pub links: Vec<Link>,
    /// Whether to say on every page that this node is retired.
    pub retired: bool,
    pub assets: Assets,
}

impl Shell {
    pub fn new(state: &State, viewer: &Viewer, href: &'static str, title: &'static str) -> Self {
        let alerts = state.alerts().filter(|a| viewer.sees_alert(a, state)).count();
        let mut pages = vec![("/", "Overview", 0)];
        if clustered(state) && !viewer.retired && viewer.sees_server(state) {
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

/// `1 record`, `2 records`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A rendered page.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Leads the browser to another page of this server.
pub fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path.to_owned())]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_people_and_programs() {
        let at = Millis(1_763_863_735_120);
        let html = Time(at).to_string();
        assert_eq!(html, r#"<time datetime="2025-11-23T02:08:55.12Z">2025-11-23 02:08 UTC</time>"#);
        assert_eq!(MaybeTime(None).to_string(), "\u{2013}");
        assert_eq!(Time(Millis(u64::MAX)).to_string(), format!("{} ms", u64::MAX));
    }
}
