//! Scripts in what products and people say of themselves, and in addresses: shown as texts, never run.

use super::driver::{Browser, Driver};
use super::lab::{ACCOUNT, Lab, PASSWORD, PRIMARY};
use super::pages::PAGES;
use serde_json::json;

/// Each way in at once: an element, an attribute, a script, a link.
const HOSTILE: &str = "<img src=x onerror=alert(1)>'\"><script>alert(2)</script><a href=javascript:alert(3)>{{7*7}}";
/// Names of people have neither spaces nor `/`.
const PERSON: &str = "<script>alert(6)";
/// Names of accounts have no `/`.
const NAMED: &str = "<img src=x onerror=alert(4)>'\"><svg onload=alert(5)>";
/// What of both must be readable.
const SHOWN: &str = "<img src=x onerror=alert(";

/// What has become an element, or has run.
const HARM: &str = "
    const elements = document.querySelectorAll('img, svg[onload], iframe, script:not([src]), [onerror], [href^=\"javascript:\"]');
    return [...elements].map((e) => e.outerHTML).concat(window.licraftRan ?? [])";

/// What the page that is open has made of hostile texts, and what the browser says of it.
fn harm(browser: &Browser) -> Vec<String> {
    let mut harm: Vec<String> = serde_json::from_value(browser.run(HARM)).unwrap();
    harm.extend(browser.log());
    harm
}

#[test]
fn what_products_and_people_name_is_shown_as_text_and_runs_nothing() {
    let Some(lab) = Lab::new() else { return };
    lab.user(PERSON, &["--role", "system-administrator"]);
    fill(&lab);
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    let hook = "window.alert = (what) => (window.licraftRan ??= []).push(`alert ${what}`)";
    browser.devtools("Page.enable", json!({}));
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": hook }));

    // In the form, and in the address to go on to.
    let query: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    browser.open(&lab.vip(&format!("/sign-in?next={query}")));
    browser.sign_in(HOSTILE, "a wrong password");
    browser.until_says("The user name or the password is wrong.");
    assert_eq!(browser.value("#name"), HOSTILE);
    assert_eq!(harm(&browser).iter().filter(|harm| !harm.contains("status of 401")).collect::<Vec<_>>(), [""; 0]);
    browser.open(&lab.vip(&format!("/sign-in?next={query}")));
    browser.sign_in(PERSON, PASSWORD);
    browser.until_at("/");
    browser.says(PERSON);

    for page in PAGES.iter().filter(|page| page.status == 200) {
        for path in [page.path.to_owned(), format!("{}?q={query}", page.path.split('?').next().unwrap())] {
            browser.open(&lab.vip(&path));
            assert_eq!(harm(&browser), [""; 0], "{path}");
        }
    }
    for (path, what) in [
        ("/product-instances", "product"),
        ("/licenses", "license"),
        ("/accounts", "account"),
        ("/alerts", "alert"),
        ("/event-log", "event"),
    ] {
        browser.open(&lab.vip(path));
        assert!(browser.text().contains(SHOWN), "no hostile {what} on {path}: {}", browser.text());
    }
    // The live refresh puts the same texts into the page once more.
    browser.open(&lab.vip("/high-availability"));
    browser.until_refreshed();
    browser.open(&lab.vip("/product-instances"));
    browser.until_refreshed();
    assert_eq!(harm(&browser), [""; 0]);

    // The net holds: an element that gets into a page is found, and the policy lets it run nothing.
    browser.run_async(
        "document.body.insertAdjacentHTML('beforeend', arguments[0]); setTimeout(arguments[1], 500)",
        vec![json!(HOSTILE)],
    );
    let found = harm(&browser).join("\n");
    assert!(found.contains("<img src=\"x\"") && found.contains("javascript:alert(3)"), "{found}");
    assert!(found.contains("Content Security Policy") && !found.contains("alert 1"), "{found}");
}

/// Puts hostile texts wherever someone is free to say something.
fn fill(lab: &Lab) {
    lab.product(HOSTILE);
    lab.run(PRIMARY, &["va", "create", "--account", ACCOUNT, NAMED]);
    let bound = ["--smart-account", NAMED, "--virtual-account", NAMED, "--requested-by", HOSTILE];
    lab.run(PRIMARY, &[&["account", "request", NAMED][..], &bound].concat());
    let place = ["--smart-account", "Example Corp", "--virtual-account", "Headquarters"];
    let what = ["entitle", "--license", "HOSTILE", "--name", HOSTILE, "--quantity", "3"];
    lab.central(&[&what[..], &place].concat());
    lab.run(PRIMARY, &["sync", "now", "--account", ACCOUNT]);
}
