//! Every page, and what holds of each at every width and in both schemes.

use super::driver::{Browser, View, pictures};
use serde_json::{Value, json};

/// A page by the name of its pictures.
pub struct Page {
    pub name: &'static str,
    pub path: &'static str,
    pub status: u16,
    /// Whether a role that only looks is refused it.
    pub changes: bool,
}

const fn page(name: &'static str, path: &'static str) -> Page {
    Page { name, path, status: 200, changes: false }
}

/// As [`page`], for those who may change things.
const fn change(name: &'static str, path: &'static str) -> Page {
    Page { changes: true, ..page(name, path) }
}

/// The pages for people who are signed in. A new page needs a line here, and nothing else.
pub const PAGES: &[Page] = &[
    page("overview", "/"),
    page("high-availability", "/high-availability"),
    page("high-availability-log", "/high-availability/log"),
    change("switchover", "/high-availability/switchover"),
    page("administration", "/administration"),
    page("accounts", "/accounts"),
    page("account-requests", "/accounts/requests"),
    page("account-log", "/accounts/log"),
    page("synchronization", "/synchronization"),
    page("network", "/network"),
    change("users", "/users"),
    change("user", "/users/admin"),
    page("security", "/security"),
    page("admin-identities", "/security/identities"),
    change("browser-certificate", "/security/browser-certificate"),
    change("sealing-key", "/security/sealing-key"),
    change("backups", "/backups"),
    change("settings", "/settings"),
    change("api-toolkit", "/api-toolkit"),
    page("support", "/support"),
    page("inventory", "/inventory"),
    page("licenses-sorted", "/licenses?sort=-balance"),
    page("licenses", "/licenses"),
    page("licenses-searched", "/licenses?q=user"),
    page("licenses-not-found", "/licenses?q=nothing"),
    // One that is short: the lab's account has the numbers 1 and 2, and its licenses those that follow.
    page("license", "/licenses/4"),
    page("license-year", "/licenses/4?days=365"),
    page("product-instances", "/product-instances"),
    page("alerts", "/alerts"),
    page("alert-history", "/alerts/history"),
    page("event-log", "/event-log"),
    page("activity", "/activity"),
    page("activity-of-a-kind", "/activity?kind=license&by=admin"),
    page("preferences", "/preferences"),
    page("password", "/password"),
    page("two-factor", "/two-factor"),
    Page { status: 404, ..page("no-such-page", "/no-such-page") },
];

/// Pages that lists lead to: a name, the list, and the link.
pub const BENEATH: &[(&str, &str, &str)] = &[
    ("license", "/licenses?q=enhanced+user", "th a[href^='/licenses/']"),
    ("product-instance", "/product-instances", "th a[href^='/product-instances/']"),
    ("virtual-account", "/inventory", "th a[href^='/inventory/']"),
];

/// The page that `path` leads to by the link `css`.
pub fn beneath(browser: &Browser, origin: &str, (name, path, css): (&'static str, &str, &str)) -> Page {
    browser.open(&format!("{origin}{path}"));
    let script = format!("return document.querySelector({}).getAttribute('href')", json!(css));
    page(name, browser.run(&script).as_str().unwrap().to_owned().leak())
}

/// The page that asks before the first row of a list is moved to a virtual account, be it the one where it is.
pub fn asked(browser: &Browser, origin: &str, name: &'static str, list: &str) -> Page {
    browser.open(&format!("{origin}{list}"));
    let script = "const [tick, to] = ['.tick input', 'select[name=to] option:last-child'].map((css) => \
                  document.querySelector(css)); return `${tick.name}=${tick.value}&to=${to.value}`";
    let query = browser.run(script);
    page(name, format!("{list}/transfer?{}", query.as_str().unwrap()).leak())
}

pub const SIGN_IN: Page = page("sign-in", "/sign-in");
pub const STANDBY: Page = Page { status: 503, ..page("standby", "/") };

/// Those of central, for operators.
pub const CENTRAL: &[Page] = &[
    page("central-accounts", "/"),
    page("central-servers", "/servers"),
    page("central-orders", "/orders"),
    page("central-files", "/files"),
    page("central-event-log", "/event-log"),
    page("central-audit", "/audit"),
    page("central-password", "/password"),
];

const WIDTHS: [u32; 3] = [360, 768, 1440];
/// Where the Tab key is pressed: on the smallest and the largest.
const TABBED: [u32; 2] = [360, 1440];

/// Opens the page, looks at it in every view, keeps a picture of each, and returns what is wrong with it.
pub fn faults(browser: &Browser, origin: &str, page: &Page) -> Vec<String> {
    browser.open(&format!("{origin}{}", page.path));
    faults_in_each_view(browser, page)
}

/// As [`faults`], of the page that is open: what a form has led to.
pub fn faults_here(browser: &Browser, name: &'static str) -> Vec<String> {
    faults_in_each_view(browser, &page(name, ""))
}

fn faults_in_each_view(browser: &Browser, page: &Page) -> Vec<String> {
    let mut faults = Vec::new();
    for width in WIDTHS {
        for dark in [false, true] {
            let view = View { width, dark };
            browser.view(view);
            let found = look(browser, page, view);
            faults.extend(found.into_iter().map(|fault| format!("{} {view}: {fault}", page.name)));
        }
    }
    faults.extend(browser.log().into_iter().filter(|line| !expected(page, line)));
    faults
}

fn look(browser: &Browser, page: &Page, view: View) -> Vec<String> {
    let seen = browser.run_async(include_str!("checks.js"), vec![]);
    let mut faults: Vec<String> = serde_json::from_value(seen["faults"].clone()).unwrap();
    if seen["status"] != page.status {
        faults.push(format!("answered {}", seen["status"]));
    }
    browser.picture(&pictures().join(format!("{}-{view}.png", page.name)));
    if !view.dark && TABBED.contains(&view.width) {
        faults.extend(tab_through(browser));
    }
    if view == (View { width: WIDTHS[0], dark: false }) {
        println!("{}: {} bytes, painted after {} ms", page.name, seen["bytes"], seen["paint"]);
    }
    faults
}

/// The browser itself logs an answer that is no success.
fn expected(page: &Page, line: &str) -> bool {
    page.status != 200 && line.contains(&format!("the server responded with a status of {}", page.status))
}

/// What the Tab key does not reach, or where one does not see that it has.
fn tab_through(browser: &Browser) -> Vec<String> {
    let script = include_str!("stops.js");
    let stops = browser.run(script).as_u64().unwrap();
    for _ in 0..stops {
        browser.press_tab();
    }
    serde_json::from_value(browser.run(script)).unwrap()
}

/// What the checks find on a page that is wrong on purpose.
pub fn faults_of(browser: &Browser, html: &str) -> Vec<String> {
    browser.open("about:blank");
    browser.run_async("document.documentElement.innerHTML = arguments[0]; arguments[1]()", vec![json!(html)]);
    let seen: Value = browser.run_async(include_str!("checks.js"), vec![]);
    let mut faults: Vec<String> = serde_json::from_value(seen["faults"].clone()).unwrap();
    faults.extend(tab_through(browser));
    faults
}
