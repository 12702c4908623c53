//! How long the first view of each page takes: `cargo bench --bench pages`. Nothing here fails for being slow.
//!
//! Chromium opens every page of a demo on the loopback, with its cache emptied, and says how long after the start of the
//! navigation it painted the first content and had loaded everything. `--quick` opens each once. With `--profile dev` before
//! the `--` it does so with a debug build, to see that it works.

#![allow(clippy::unwrap_used)] // The lab of the tests; a failed page ends the measurement.
#![allow(dead_code, reason = "the tests use more of their lab")]

#[path = "../../tests/browser/driver.rs"]
mod driver;
#[path = "../../tests/browser/lab.rs"]
mod lab;
#[path = "../../tests/browser/pages.rs"]
mod pages;
#[path = "../cluster/report.rs"]
mod report;
#[path = "../../tests/support/wait.rs"]
mod wait;

use driver::{Browser, Driver, View};
use lab::{Lab, PASSWORD};
use pages::{PAGES, Page, SIGN_IN};
use report::{Row, Runs, number};
use serde_json::json;

/// Browsers that open each page, one after the other, each with a profile of its own.
const BROWSERS: usize = 10;
const TARGET: &str = "≤ 300";

/// Milliseconds from the start of the navigation, once the page has loaded.
const TIMES: &str = "
    const wait = (done) => {
      const paint = performance.getEntriesByName('first-contentful-paint')[0];
      const loaded = performance.getEntriesByType('navigation')[0].loadEventEnd;
      if (paint && loaded) done([paint.startTime, loaded]);
      else setTimeout(() => wait(done), 10);
    };
    wait(arguments[0])";

/// The first content and everything, of one page.
#[derive(Default)]
struct Times {
    painted: Runs,
    loaded: Runs,
}

impl Times {
    fn take(&mut self, browser: &Browser, lab: &Lab, page: &Page) {
        browser.devtools("Network.clearBrowserCache", json!({}));
        browser.open(&lab.vip(page.path));
        let [painted, loaded]: [f64; 2] = serde_json::from_value(browser.run_async(TIMES, vec![])).unwrap();
        self.painted.0.push(painted);
        self.loaded.0.push(loaded);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    if let Some(unknown) = args.iter().find(|arg| *arg != "--quick") {
        eprintln!("there is no {unknown}; there is --quick");
        std::process::exit(2);
    }
    let Some(lab) = Lab::new() else { std::process::exit(1) };
    lab.user("ann", &["--role", "system-administrator"]);
    let driver = Driver::new(&lab);
    let pages: Vec<&Page> = [&SIGN_IN].into_iter().chain(PAGES).collect();
    let mut times: Vec<Times> = pages.iter().map(|_| Times::default()).collect();
    for _ in 0..if quick { 1 } else { BROWSERS } {
        let browser = driver.browser();
        browser.view(View { width: 1440, dark: false });
        for (page, times) in pages.iter().zip(&mut times) {
            times.take(&browser, &lab, page);
            if page.path == SIGN_IN.path {
                browser.sign_in("ann", PASSWORD);
                browser.until_at("/");
            }
        }
    }
    let (mut painted, mut loaded) = (Vec::new(), Vec::new());
    for (page, times) in pages.iter().zip(times) {
        eprintln!("{}: {} ms", page.path, number(times.painted.median()));
        let row = |runs| Row { what: page.path.to_owned(), unit: "ms", runs, target: Some(TARGET) };
        painted.push(row(times.painted));
        loaded.push(row(times.loaded));
    }
    report::print("From the start of the navigation to the first content", &painted);
    report::print("From the start of the navigation to the end of loading", &loaded);
}
