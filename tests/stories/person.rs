//! A person at a browser, who finds things by what is written on them and keeps a picture of what matters.

use super::driver::{Browser, View, pictures};
use super::scene::Scene;
use serde_json::json;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the first administrator chooses in place of the generated password.
pub const PASSWORD: &str = "four unrelated words";

/// A page at the virtual address, or at another one.
pub fn at(host: &str, path: &str) -> String {
    format!("https://{host}:8443{path}")
}

/// The rows of a table by one of its columns: each cell by its column, a moment by its `datetime`.
pub type Rows = BTreeMap<String, BTreeMap<String, String>>;

/// Rows of the first table that has all of `wanted` as columns.
const TABLE: &str = r#"
    const columns = (table) => [...table.querySelectorAll("thead th")].map((th) => th.textContent.trim());
    const table = [...document.querySelectorAll("table")].find((table) => wanted.every((name) => columns(table).includes(name)));
    if (!table) return [];
    const text = (cell) => {
      const line = cell.innerText.split("\n")[0].trim();
      const time = cell.querySelector("time");
      return time && time.innerText.trim() === line ? time.dateTime : line;
    };
    const names = columns(table);
    return [...table.querySelectorAll("tbody tr")].map((row) =>
      Object.fromEntries([...row.cells].map((cell, i) => [names[i], text(cell)])))"#;

/// What stands beside a word in lists of facts.
const FACTS: &str = r#"
    const terms = [...document.querySelectorAll("dt")].filter((term) => term.textContent.trim() === name);
    return terms.map((term) => term.nextElementSibling.innerText.trim())"#;

/// Notes each time that the notice of a lost connection shows or hides.
const WATCH: &str = "
    const shown = () => [...document.querySelectorAll('[role=status]')].some((e) => e.checkVisibility() && e.innerText.includes('Reconnecting…'));
    window.licraftSeen = [false];
    new MutationObserver(() => {
      if (shown() !== window.licraftSeen.at(-1)) window.licraftSeen.push(shown());
    }).observe(document.body, { attributes: true, childList: true, subtree: true });";

pub struct Person {
    pub browser: Browser,
    story: &'static str,
}

impl std::ops::Deref for Person {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Person {
    /// With a browser of their own, at a desk.
    pub fn new(scene: &Scene) -> Self {
        let browser = scene.driver.browser();
        browser.view(View { width: 1440, dark: false });
        Self { browser, story: scene.story }
    }

    /// The first administrator signs in for the first time, and sets a password of their own.
    pub fn begins(&self, host: &str, first_password: &str) {
        self.open(&at(host, "/"));
        self.enter("User name", "admin");
        self.enter("Password", first_password);
        self.press("Sign in");
        self.until_at("/password");
        self.until_says("Your password was set by someone else.");
        self.enter("Current password", first_password);
        self.enter("New password", PASSWORD);
        self.enter("New password again", PASSWORD);
        self.press("Change password");
        self.until_at("/");
    }

    /// Signs in with that password.
    pub fn signs_in(&self, host: &str) {
        self.open(&at(host, "/sign-in"));
        self.enter("User name", "admin");
        self.enter("Password", PASSWORD);
        self.press("Sign in");
        self.until_at("/");
    }

    /// Goes to a page by the navigation: the workspace, then the page, then its tab. Each is marked as the current one then.
    pub fn goes_to(&self, way: &[&str]) {
        for text in way {
            self.click_on(&format!("//nav//a[{}]", reads(text)));
            self.with(&format!("//nav//a[@aria-current and {}]", reads(text)), async |_| Ok(()));
        }
    }

    /// Follows a link beyond the navigation.
    pub fn follows(&self, text: &str) {
        self.click_on(&format!("//main//a[not(ancestor::nav) and {}]", reads(text)));
    }

    /// Presses a button by its text, or by its spoken name where several have the same.
    pub fn press(&self, name: &str) {
        self.click_on(&format!("//button[normalize-space()={0} or @aria-label={0}]", quoted(name)));
    }

    fn click_on(&self, path: &str) {
        self.with(path, async |element| element.click().await);
    }

    /// Types into the field of a label, in place of what it holds.
    pub fn enter(&self, label: &str, text: &str) {
        self.with(&field(label), async |field| {
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// What the field of a label holds.
    pub fn holds(&self, label: &str) -> String {
        self.with(&field(label), async |field| field.prop("value").await).unwrap_or_default()
    }

    /// The rows of the table that has these columns, by the first of them, which names each row.
    pub fn table(&self, columns: [&str; 2]) -> Rows {
        let rows = self.run(&format!("const wanted = {}; {TABLE}", json!(columns)));
        let rows: Vec<BTreeMap<String, String>> = serde_json::from_value(rows).unwrap();
        let count = rows.len();
        let rows: Rows = rows.into_iter().map(|row| (row[columns[0]].clone(), row)).collect();
        assert_eq!(rows.len(), count, "two rows have the same name: {rows:#?}");
        rows
    }

    /// What stands beside a word, at each place where it stands.
    pub fn facts(&self, word: &str) -> Vec<String> {
        serde_json::from_value(self.run(&format!("const name = {}; {FACTS}", json!(word)))).unwrap()
    }

    /// Watches from now on whether this very page, which must not be loaded anew, loses its connection.
    pub fn watches(&self) {
        self.run(WATCH);
    }

    /// Waits until the page says that it has lost its connection, or has said so.
    pub fn until_reconnecting(&self) {
        self.until("Reconnecting…", "return window.licraftSeen?.length > 1");
    }

    /// Waits until the page that was watched goes on after that.
    pub fn until_going_on(&self) {
        self.until("going on", "return window.licraftSeen?.length > 2 && !window.licraftSeen.at(-1)");
    }

    /// A station of the story: a picture of it, and nothing went wrong in the browser until here.
    pub fn station(&self, name: &str) {
        self.keeps(name, |_| false);
    }

    /// As [`Self::station`] after an outage: requests that found nobody are what a browser logs then.
    pub fn station_after_outage(&self, name: &str) {
        self.keeps(name, |line| line.contains("net::ERR_") || line.contains("responded with a status of 503"));
    }

    fn keeps(&self, name: &str, expected: impl Fn(&str) -> bool) {
        self.picture(&pictures().join(format!("{}-{name}.png", self.story)));
        let mut log = self.log();
        log.retain(|line| !expected(line));
        assert!(log.is_empty(), "{}-{name}: {log:#?}", self.story);
    }

    /// Opens the page for the cluster and waits until it says each of these.
    pub fn sees_cluster(&self, expected: &[&str]) {
        self.goes_to(&["Administration", "High Availability"]);
        expected.iter().for_each(|text| self.until_says(text));
    }

    /// Synchronizes an account from the page for that; gives its last and due date.
    pub fn synchronizes(&self, account: &str) -> [String; 2] {
        self.goes_to(&["Administration", "Synchronization"]);
        self.press(&format!("Synchronize {account} now"));
        self.until_says("The account is synchronized.");
        self.synchronization(account)
    }

    /// The last and the due date of an account on that page.
    pub fn synchronization(&self, account: &str) -> [String; 2] {
        let row = &self.table(["Name", "Satellite Name"])[account];
        [row["Last Synchronization"].clone(), row["Synchronization Due"].clone()]
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let tell = || {
            eprintln!("{}: the page at {} says: {}", self.story, self.path(), self.text());
            let page = self.path().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            self.picture(&pictures().join(format!("{}-failed{page}.png", self.story)));
        };
        if std::thread::panicking() {
            // Of a browser that does not answer there is nothing to tell.
            let _ = catch_unwind(AssertUnwindSafe(tell));
        }
    }
}

/// Whether an element reads so, perhaps with a number behind.
fn reads(text: &str) -> String {
    format!("(normalize-space()={} or starts-with(normalize-space(), {}))", quoted(text), quoted(&format!("{text} ")))
}

fn field(label: &str) -> String {
    format!("//*[@id=//label[normalize-space()={}]/@for]", quoted(label))
}

fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "{text}");
    format!("\"{text}\"")
}
