//! What all pages share: times and badges as HTML, the frame around each page, and pages about problems.

use super::assets::Assets;
use super::likings;
use crate::admin::rfc3339;
use crate::license::Millis;
use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use std::fmt;

/// A moment in the zone of the person who reads it, as a `<time>` element.
#[derive(Clone, Copy)]
pub struct Time(pub Millis);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = rfc3339(self.0);
        match likings::local(self.0) {
            Some(local) => write!(f, r#"<time datetime="{iso}">{local}</time>"#),
            // Beyond the calendar: a bare number.
            None => f.write_str(&iso),
        }
    }
}

/// A moment as people read it, in the zone of whoever reads it.
pub fn minute(at: Millis) -> String {
    likings::local(at).unwrap_or_else(|| rfc3339(at))
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

/// An entry of the navigation.
pub struct Link {
    pub href: &'static str,
    pub text: &'static str,
    pub current: bool,
    /// Shown beside it unless 0.
    pub count: usize,
}

/// The frame around every page for people who are signed in.
#[derive(Default)]
pub struct Shell {
    pub title: &'static str,
    pub user: String,
    pub workspaces: Vec<Link>,
    pub links: Vec<Link>,
    /// The pages beneath one of the links.
    pub tabs: Vec<Link>,
    /// The message of the day; empty without one.
    pub message: String,
    /// What has just been done.
    pub notice: Option<&'static str>,
    /// Whether to say on every page that this node is retired.
    pub retired: bool,
    /// HTML of the column beside the page.
    pub aside: Option<String>,
    /// Whether the page stays as it is until it is loaded again.
    pub still: bool,
    /// Names the next change, so that a form sent twice is carried out once.
    pub once: String,
    pub assets: Assets,
}

/// `1 record`, `2 records`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `3.2 GB`, as people read sizes.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// `12 % of 24.0 GB`.
pub fn portion(part: u64, whole: u64) -> String {
    let percent = part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    format!("{percent} % of {}", size(whole))
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

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    assets: Assets,
    title: &'a str,
    text: &'a str,
}

/// A page that says what went wrong and what to do.
pub fn problem(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, &ProblemPage { assets: Assets, title, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500), "1.5 KB");
        assert_eq!(size(24_000_000_000), "24.0 GB");
    }

    #[test]
    fn times_are_read_by_people_and_programs() {
        let at = Millis(1_763_863_735_120);
        let html = Time(at).to_string();
        assert_eq!(html, r#"<time datetime="2025-11-23T02:08:55.12Z">2025-11-23 02:08 UTC</time>"#);
        assert_eq!(MaybeTime(None).to_string(), "\u{2013}");
        assert_eq!(Time(Millis(u64::MAX)).to_string(), format!("{} ms", u64::MAX));
    }
}
