//! What a caller gets who does not use a browser, or another's: nothing without a session, nothing with too small a role,
//! nothing from another site.

use super::driver::Driver;
use super::lab::{ACCOUNT, Lab, PASSWORD, PRIMARY, until};
use super::pages::PAGES;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use licraft::pki::tls;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tokio::runtime::Runtime;

const FORMS: [&str; 3] = ["/sign-in", "/sign-out", "/password"];
/// Calls of the REST API that read by POST, as the incumbent's do.
const READS: [&str; 3] = ["/alerts", "/devices", "/licenses"];

struct Caller<'a> {
    lab: &'a Lab,
    runtime: Runtime,
    http: reqwest::Client,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: http::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text))
    }

    /// The session that the answer begins, as a cookie to send.
    fn cookie(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        self.header(SET_COOKIE).split(';').next().unwrap()
    }
}

impl<'a> Caller<'a> {
    /// One who calls from `source`, an address of the loopback: failed attempts count for their source.
    fn new(lab: &'a Lab, source: u8) -> Self {
        let ca = CertificateDer::from_pem_file(lab.ca()).unwrap();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config([&*ca], None).unwrap())
            .redirect(reqwest::redirect::Policy::none())
            .local_address(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 9, source)))
            .no_proxy()
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { lab, runtime, http }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, text: answer.text().await.unwrap() }
        })
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.lab.vip(path))
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send(self.request(Method::GET, path).header(COOKIE, cookie))
    }

    /// Posts a form as the browser would that shows it.
    fn post(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.form(path, cookie, &self.lab.vip(""), fields))
    }

    fn form(&self, path: &str, cookie: &str, origin: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.request(Method::POST, path).header(COOKIE, cookie).header(ORIGIN, origin).body(body)
    }

    fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.post("/sign-in", "", &[("name", name), ("password", password)])
    }

    fn call(&self, call: &Call, token: &str) -> Answer {
        let request = self.request(call.method.clone(), &call.path).header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(if call.body.is_null() { request } else { request.json(&call.body) })
    }

    /// An access token of a new API client.
    fn token(&self, place: &[&str]) -> String {
        let made = self.lab.json(PRIMARY, &[&["api-client", "create"][..], place].concat());
        let made = made.get(0).unwrap_or(&made).clone();
        let asked = json!({
            "grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["secret"],
        });
        let answer = self.send(self.request(Method::POST, "/oauth/token").json(&asked));
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

/// A call of the REST API with parameters that fit.
struct Call {
    method: Method,
    path: String,
    body: Value,
}

impl Call {
    fn reads(&self) -> bool {
        self.method == Method::GET || READS.iter().any(|read| self.path.ends_with(read))
    }
}

/// Every call that the API describes of itself, but for those that hand out tokens.
fn calls(spec: &Value) -> Vec<Call> {
    let mut calls = Vec::new();
    for (path, operations) in spec["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap().iter().filter(|_| path.starts_with("/api/")) {
            let path = path.replace("{account}", ACCOUNT).replace("{va}", "Default").replace("{name}", "ann");
            let path = path.replace("{key}", "central-url").replace("{id}", "1");
            let body = example(spec, &operation["requestBody"]["content"]["application/json"]["schema"]);
            calls.push(Call { method: method.to_uppercase().parse().unwrap(), path, body });
        }
    }
    assert!(calls.len() > 40, "{} calls", calls.len());
    calls
}

/// The smallest value that fits a schema.
fn example(spec: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return example(spec, spec.pointer(name.trim_start_matches('#')).unwrap());
    }
    if let Some(options) = schema["oneOf"].as_array() {
        return example(spec, options.last().unwrap());
    }
    if let Some(one) = schema["enum"].get(0) {
        return one.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), example(spec, &schema["properties"][name]))).collect()
        }
        Some("array") => json!([example(spec, &schema["items"])]),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        Some("string") => json!("text"),
        _ => Value::Null,
    }
}

#[test]
fn no_page_and_no_call_answers_without_a_session_or_to_too_small_a_role() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let caller = Caller::new(&lab, 1);
    let session = caller.sign_in("ann", PASSWORD);
    let session = session.cookie();
    for page in PAGES {
        for cookie in ["", "__Host-licraft=", "__Host-licraft=AAAA", "licraft=x"] {
            let answer = caller.get(page.path, cookie);
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::SEE_OTHER, ""), "{}", page.path);
            assert!(answer.header(LOCATION).starts_with("/sign-in"), "{}", page.path);
        }
        let answer = caller.get(page.path, session);
        assert_eq!(answer.status.as_u16(), if page.changes { 403 } else { page.status }, "{}", page.path);
        let changes = answer.text.split("<form").skip(1).filter(|form| form.contains("method=\"post\""));
        // Whoever looks may have the totals recounted, and has a password, a second factor and preferences.
        let own = [
            "/sign-out",
            "/sign-out-elsewhere",
            "/sign-out-everywhere",
            "/password",
            "/preferences",
            "/support",
            "/two-factor/enrol",
        ];
        let allowed = |form: &str| own.iter().any(|path| form.contains(&format!("action=\"{path}\"")));
        assert!(changes.clone().all(allowed), "{}: a read-only user changes nothing", page.path);
    }
    for path in ["/sign-out", "/password"] {
        assert_eq!(caller.post(path, "", &[("new", "x")]).header(LOCATION), "/sign-in", "{path}");
    }

    let spec = caller.get("/api/v1/openapi.json", "").json();
    let looks = caller.token(&["--server", "--role", "read-only"]);
    let before = lab.json(PRIMARY, &["settings", "get"]);
    let (mut denied, mut read) = (0, 0);
    for call in calls(&spec) {
        let what = format!("{} {}", call.method, call.path);
        for token in ["", "AAAA", session] {
            assert_eq!(caller.call(&call, token).status, StatusCode::UNAUTHORIZED, "{what}");
        }
        let with_session = caller.send(caller.request(call.method.clone(), &call.path).header(COOKIE, session));
        assert_eq!(with_session.status, StatusCode::UNAUTHORIZED, "{what}: the API knows no sessions");
        let answer = caller.call(&call, &looks);
        match call.reads() {
            true => read += u32::from(answer.status.is_success()),
            false => {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {}", answer.text);
                denied += 1;
            }
        }
    }
    assert!(denied > 20 && read > 10, "{denied} calls denied, {read} answered");
    assert_eq!(lab.json(PRIMARY, &["settings", "get"]), before);
}

#[test]
fn people_of_one_account_see_nothing_of_another() {
    let Some(lab) = Lab::new() else { return };
    let bound = ["--smart-account", "Example Corp", "--virtual-account", "Branch"];
    lab.run(PRIMARY, &[&["account", "request", "OTHER"][..], &bound].concat());
    lab.run(PRIMARY, &["va", "create", "--account", ACCOUNT, "Lab"]);
    lab.user("own", &["--role", "local-account-administrator", "--account", ACCOUNT]);
    lab.user("other", &["--role", "local-account-administrator", "--account", "OTHER"]);
    lab.user("lab", &["--role", "virtual-account-administrator", "--virtual-account", "TEST/Lab"]);
    lab.user("default", &["--role", "virtual-account-administrator", "--virtual-account", "TEST/Default"]);
    let caller = Caller::new(&lab, 1);
    for (user, in_use, alerts) in [("own", 8, 5), ("default", 8, 5), ("other", 0, 1), ("lab", 0, 0)] {
        let session = caller.sign_in(user, PASSWORD);
        let session = session.cookie();
        let says = |path: &str, expected: &str| {
            let page = caller.get(path, session);
            assert!(page.text.contains(expected), "{user}: {expected:?} is not on {path}: {}", page.text);
        };
        says("/licenses", &format!("({in_use} Records)"));
        says("/alerts", &format!("({alerts} Record"));
        match user {
            "own" | "other" => says("/accounts", "Showing All 1 Record"),
            _ => says("/accounts", "This page is not for your role"),
        }
        says("/product-instances", if in_use > 0 { "(4 Records)" } else { "(0 Records)" });
        says("/", if in_use > 0 { "5 licenses are in use" } else { "No product instance is registered." });
        assert_eq!(caller.get("/high-availability", session).status, StatusCode::FORBIDDEN, "{user}");
        for page in PAGES.iter().filter(|page| page.status == 200) {
            let text = caller.get(page.path, session).text;
            assert!(!text.contains("primary-node joined"), "{user} sees events of the server on {}", page.path);
            for foreign in ["infra-1", "Lifecycle", if in_use > 0 { "OTHER" } else { "Headquarters" }] {
                let own = foreign == "Headquarters" && user == "lab" || in_use > 0 && foreign != "OTHER";
                assert!(own || !text.contains(foreign), "{user} sees {foreign} on {}", page.path);
            }
        }
    }
}

#[test]
fn another_site_can_post_nothing_in_a_persons_name() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "system-administrator"]);
    let caller = Caller::new(&lab, 1);
    let session = caller.sign_in("ann", PASSWORD);
    let session = session.cookie();
    for origin in ["https://evil.example", "null", &lab.vip("").replace("https", "http"), &lab.product_port("")] {
        for path in FORMS {
            let fields = [("current", PASSWORD), ("new", "five words nobody knows yet")];
            let answer = caller.send(caller.form(path, session, origin, &fields));
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} from {origin}");
            assert_eq!(answer.header(SET_COOKIE), "");
        }
    }
    assert_eq!(caller.get("/", session).status, StatusCode::OK, "the session stands");

    // In the browser: a page of another port gets the cookie sent, but not its way.
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    browser.open(&lab.vip("/sign-in"));
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
    browser.open(&lab.product_port("/"));
    browser.run(&format!(
        "const form = document.createElement('form');
         form.method = 'post';
         form.action = '{}';
         document.body.append(form);
         form.submit()",
        lab.vip("/sign-out")
    ));
    browser.until_says("The request came from another site");
    browser.open(&lab.vip("/licenses"));
    browser.says("Showing Page 1 of 1");
    // Nor can it frame a page, so that a person clicks on what is not seen.
    browser.open(&lab.product_port("/"));
    browser.run(&format!(
        "const frame = document.createElement('iframe');
         frame.src = '{}';
         document.body.append(frame)",
        lab.vip("/")
    ));
    until("an end of the frame's loading", || browser.frame_url() != "about:blank");
    assert_eq!(browser.frame_url(), "chrome-error://chromewebdata/");
}

#[test]
fn a_session_is_new_at_each_sign_in_and_out_of_the_reach_of_scripts() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    // Someone else has put a session into the browser: one of their own, or one that they made up.
    let stranger = Caller::new(&lab, 1);
    let theirs = stranger.sign_in("ann", PASSWORD).cookie().split_once('=').unwrap().1.to_owned();
    for planted in ["A".repeat(43), theirs] {
        browser.open(&lab.vip("/sign-in"));
        let cookie = json!({
            "name": "__Host-licraft", "value": planted, "url": lab.vip("/"), "path": "/", "secure": true,
        });
        assert_eq!(browser.devtools("Network.setCookie", cookie)["success"], true);
        stranger.post("/sign-out", &format!("__Host-licraft={planted}"), &[]);
        browser.open(&lab.vip("/sign-in"));
        browser.sign_in("ann", PASSWORD);
        browser.until_at("/");
        let cookie = browser.cookie().unwrap();
        assert_ne!(cookie.value(), planted);
        assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)));
        assert!(cookie.to_string().contains("SameSite=Strict"), "{cookie}");
        assert_eq!(browser.run("return document.cookie"), "");
        let with_theirs = stranger.get("/", &format!("__Host-licraft={planted}"));
        assert_eq!(with_theirs.header(LOCATION), "/sign-in");
        browser.click(".person form button");
        browser.until_at("/sign-in");
    }
}

#[test]
fn guessing_is_slowed_down_for_its_source_alone() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let guesser = Caller::new(&lab, 1);
    let mut guesses = 0;
    let refused = loop {
        let answer = guesser.sign_in("ann", "a wrong password");
        if answer.status != StatusCode::UNAUTHORIZED {
            break answer;
        }
        guesses += 1;
        assert!(guesses < 20, "guessing was never slowed down");
    };
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header(RETRY_AFTER).parse::<u64>().unwrap() >= 1);
    assert!(refused.text.contains("There were too many failed attempts. Try again in"));
    assert_eq!(guesser.sign_in("ann", PASSWORD).status, StatusCode::TOO_MANY_REQUESTS, "the right guess too");
    assert_eq!(Caller::new(&lab, 2).sign_in("ann", PASSWORD).status, StatusCode::SEE_OTHER, "ann herself");
}
