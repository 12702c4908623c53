//! The pages of central: what every page must be, and a request file that is answered by clicks.

use super::driver::Driver;
use super::lab::{ACCOUNT, Lab, PASSWORD, PRIMARY};
use super::pages::{CENTRAL, Page, faults};
use serde_json::json;

#[test]
fn the_pages_of_central_are_sound_and_answer_a_request_file() {
    let Some(lab) = Lab::new() else { return };
    lab.central_user("olga", &[]);
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    let sign_in = Page { name: "central-sign-in", path: "/sign-in", status: 200, changes: false };
    let mut found = faults(&browser, &lab.at_central(""), &sign_in);
    browser.open(&lab.at_central("/"));
    assert_eq!(browser.path(), "/sign-in");
    browser.sign_in("olga", PASSWORD);
    browser.until_at("/");
    browser.says("Example Corp");
    for page in CENTRAL {
        found.extend(faults(&browser, &lab.at_central(""), page));
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));

    // A server without a way to central sends a file.
    let request = lab.path("request.json");
    lab.run(PRIMARY, &["sync", "export-request", request.to_str().unwrap(), "--account", ACCOUNT]);
    browser.open(&lab.at_central("/files"));
    browser.fill("input[type=file]", request.to_str().unwrap());
    // What the browser would save, the script reads.
    let answer = browser.run_async(
        "const [form, done] = [document.querySelector('main form'), arguments[0]];
         fetch(form.action, { method: 'POST', body: new FormData(form) })
           .then((answer) => answer.text().then((text) => done([answer.status, text])))",
        vec![],
    );
    assert_eq!(answer[0], json!(200), "{answer}");
    let response = lab.path("response.json");
    std::fs::write(&response, answer[1].as_str().unwrap()).unwrap();
    let said = lab.run(PRIMARY, &["sync", "import-response", response.to_str().unwrap()]);
    assert!(said.contains(ACCOUNT), "{said}");
}
