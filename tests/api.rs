//! The REST API: tokens, the incumbent's shapes, who may see what, and a schema fuzzer against what it describes.

// Helpers outside #[test] functions may fail a test by unwrapping too.
#![allow(clippy::unwrap_used)]

#[path = "cli/fake.rs"]
mod fake;
#[path = "support/site.rs"]
mod site;

use axum::body::Body;
use axum::extract::Request;
use base64::Engine;
use fake::Node;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use licraft::admin::{Route, Service};
use licraft::api::{ApiContext, router};
use licraft::license::*;
use licraft::listing::Lists;
use licraft::pki::ca::{certificate_key, certificates_from_pem, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::totp::Seed;
use licraft::product::listener::Peer;
use licraft::raft::Ledger;
use serde_json::{Value, json};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tower::ServiceExt;

/// The fuzzer, pinned: a newer one may find more, which must not fail an unchanged tree.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The binary, for [`fake::Node`].
fn licraft() -> snapbox::cmd::Command {
    snapbox::cmd::Command::new(env!("CARGO_BIN_EXE_licraft"))
}

struct Api {
    node: Node,
    router: axum::Router,
    serving: Arc<AtomicBool>,
    /// Milliseconds that the node's clock is ahead.
    later: Arc<AtomicU64>,
}

struct Answer {
    status: StatusCode,
    kind: String,
    retry_after: bool,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The answer's body, which must be a success.
    fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem's detail; it must be one, with this status.
    fn problem(self, status: u16) -> String {
        assert_eq!((self.status.as_u16(), self.kind.as_str()), (status, "application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["code"].is_string(), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Api {
    /// A serving node with the account TEST, which has licenses, and the empty account OTHER.
    fn new() -> Self {
        let node = Node::with_account();
        node.run(&["account", "request", "OTHER", "--smart-account", "S", "--virtual-account", "W"]).success();
        node.run(&["account", "approve", "OTHER"]).success();
        let serving = Arc::new(AtomicBool::new(true));
        let later = Arc::<AtomicU64>::default();
        let (asked, clock) = (serving.clone(), later.clone());
        let context = ApiContext {
            service: Service::new(node.parts(Route::Here)),
            lists: Lists::new(node.ledger.clone()),
            clock: Arc::new(move || fake::now().plus(clock.load(Ordering::Relaxed))),
            serving: Arc::new(move || asked.load(Ordering::Relaxed)),
        };
        Self { router: router(context), node, serving, later }
    }

    fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let peer = Peer("192.0.2.7:50000".parse().unwrap());
        let request = request.extension(peer).body(Body::from(body.to_owned())).unwrap();
        let answer = self.node.runtime.block_on(async {
            let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
            (head, body.collect().await.unwrap().to_bytes())
        });
        let header = |name| answer.0.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        Answer {
            status: answer.0.status,
            kind: header(CONTENT_TYPE).unwrap_or_default(),
            retry_after: header(RETRY_AFTER).is_some(),
            text: String::from_utf8_lossy(&answer.1).into_owned(),
        }
    }

    fn call(&self, method: Method, path: &str, token: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, format!("Bearer {token}"));
        match body {
            Value::Null => self.send(request, ""),
            body => self.send(request.header(CONTENT_TYPE, "application/json"), &body.to_string()),
        }
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, token, &Value::Null)
    }

    fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, token, body)
    }

    /// The id and the secret of a new client.
    fn client(&self, place: &[&str]) -> (String, String) {
        let made = self.node.run(&[&["api-client", "create", "-o", "json"][..], place].concat()).success();
        let made: Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    /// An access token of a new client.
    fn token(&self, place: &[&str]) -> String {
        let (id, secret) = self.client(place);
        let asked = json!({ "grant_type": "client_credentials", "client_id": id, "client_secret": secret });
        let answer = self.post("/oauth/token", "", &asked).ok();
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3_600)));
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Products that use more of ENH than there is.
    fn products(&self, token: &str, count: u64) {
        let made = self.post("/api/v1/accounts/TEST/virtual-accounts/Default/tokens", token, &json!({})).ok();
        let text = made["tokenInfo"]["token"].as_str().unwrap();
        for n in 0..count {
            self.node.register(text, &format!("SN{n}"), (n == 0).then_some("router-0"), 8);
        }
    }
}

#[test]
fn a_token_is_got_by_json_form_query_or_header_and_expires() {
    let api = Api::new();
    let (id, secret) = api.client(&["--account", "TEST"]);
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let post = |path: &str| Request::post(path.to_owned());
    let as_form = |request: http::request::Builder| request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let basic = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"))
    };
    for answer in [
        api.send(as_form(post("/oauth/token")), &form),
        api.send(as_form(post("/backend/oauth/token")), &form),
        api.send(post(&format!("/oauth/token?{form}")), ""),
        api.send(
            as_form(post("/oauth/token")).header(AUTHORIZATION, format!("Basic {basic}")),
            "grant_type=client_credentials",
        ),
    ] {
        let token = answer.ok()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(api.get("/api/v1/accounts", &token).ok()[0]["name"], "TEST");
        // Each is good for an hour, and no longer.
        api.later.store(Millis::HOUR + 1_000, Ordering::Relaxed);
        assert!(api.get("/api/v1/accounts", &token).problem(401).contains("has expired"));
        api.later.store(0, Ordering::Relaxed);
    }
    let wrong = form.replace("client_credentials", "password");
    assert_eq!(api.send(as_form(post("/oauth/token")), &wrong).json()["error"], "unsupported_grant_type");
    let wrong = api.send(post("/oauth/token").header(CONTENT_TYPE, "application/json"), "[1");
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]), (400, &json!("invalid_request")));

    let token = api.token(&["--account", "TEST"]);
    let (mine, _) = api.client(&["--account", "TEST"]);
    let other = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'Q' } else { 'A' });
    for bad in ["", "x", &other, &mine] {
        api.get("/api/v1/accounts", bad).problem(401);
    }
    assert!(api.send(Request::get("/api/v1/accounts"), "").problem(401).contains("no access token"));
    api.node.run(&["api-client", "revoke", &id, "--yes"]).success();
    assert_eq!(api.send(as_form(post("/oauth/token")), &form).json()["error"], "invalid_client");
}

#[test]
fn guessed_secrets_are_slowed_down_and_never_logged_in() {
    let api = Api::new();
    let (id, secret) = api.client(&["--account", "TEST"]);
    let guess = |secret: &str| {
        let asked = json!({ "grant_type": "client_credentials", "client_id": id, "client_secret": secret });
        api.post("/oauth/token", "", &asked)
    };
    let answers: Vec<Answer> = (0..300).map(|n| guess(&format!("guess {n}"))).collect();
    assert_eq!(answers[0].status, StatusCode::UNAUTHORIZED);
    let slowed = answers.iter().find(|a| a.status == StatusCode::TOO_MANY_REQUESTS).expect("no guess was slowed down");
    assert!(slowed.retry_after);
    assert_eq!(guess(&secret).status, StatusCode::OK, "who knows the secret is let in all the same");
}

#[test]
fn the_incumbents_calls_have_their_shapes() {
    let api = Api::new();
    let token = api.token(&["--account", "TEST"]);
    api.products(&token, 3);
    let at = |call: &str| format!("/api/v1/accounts/TEST/{call}");

    let licenses = api.post(&at("licenses"), &token, &json!({ "limit": -1, "offset": 0 })).ok();
    assert_eq!((&licenses["status"], &licenses["totalRecords"]), (&json!("COMPLETE"), &json!(1)));
    let license = &licenses["licenses"][0];
    assert_eq!(license["license"], "UC Manager Enhanced");
    assert_eq!((&license["quantity"], &license["inUse"], &license["available"]), (&json!(10), &json!(24), &json!(-14)));
    assert_eq!((&license["status"], &license["billingType"]), (&json!("Out Of Compliance"), &json!("PREPAID")));
    assert_eq!(license["virtualAccount"], "Default");
    assert_eq!(license["licenseDetails"][0]["licenseType"], "PERPETUAL");

    let alerts = api.post(&at("alerts"), &token, &json!({ "limit": 50, "offset": 0 })).ok();
    let alert = &alerts["alerts"][0];
    assert_eq!((&alert["messageType"], &alert["severity"]), (&json!("Insufficient Licenses"), &json!("Major")));
    assert_eq!(alert["source"], "TEST/Default/ENH");

    let devices = api.post(&at("devices"), &token, &json!({ "limit": -1 })).ok();
    assert_eq!((devices["devices"].as_array().unwrap().len(), &devices["totalRecords"]), (3, &json!(3)));
    let device = &devices["devices"][0];
    assert_eq!((&device["hostName"], &device["sudi"]["udiSerialNumber"]), (&json!("router-0"), &json!("SN0")));
    assert_eq!(device["licenseUsage"][0], json!({ "license": "UC Manager Enhanced", "quantity": 8 }));
    let page = api.post(&at("devices"), &token, &json!({ "limit": 1, "offset": 1 })).ok();
    assert_eq!(page["devices"][0]["sudi"]["udiSerialNumber"], "SN1");
    let none = api.post(&at("devices"), &token, &json!({ "offset": 9 })).ok();
    assert_eq!((&none["devices"], &none["totalRecords"]), (&json!([]), &json!(3)));
    let of = json!({ "virtualAccounts": ["Lab"] });
    assert!(api.post(&at("licenses"), &token, &of).problem(404).contains("no virtual account \"Lab\""));
    assert!(api.post(&at("licenses"), &token, &json!({ "limit": -2 })).problem(400).contains("-1 for all"));
    assert!(api.post(&at("licenses"), &token, &json!({ "size": 2 })).problem(400).contains("unknown field `size`"));

    let tokens = at("virtual-accounts/Default/tokens");
    let new = json!({ "description": "branch", "expiresAfterDays": 7, "exportControlled": "Allowed" });
    let made = api.post(&tokens, &token, &new).ok()["tokenInfo"].clone();
    assert_eq!((&made["exportControlled"], &made["status"]), (&json!(true), &json!("ACTIVE")));
    let listed = api.get(&tokens, &token).ok();
    assert!(listed["tokens"].as_array().unwrap().contains(&made));
    let revoke = json!({ "tokens": [made["token"], "nonsense"] });
    let revoked = api.post(&format!("{tokens}/revoke"), &token, &revoke).ok()["tokensRevokeStatus"].clone();
    assert_eq!((&revoked[0]["status"], &revoked[1]["status"]), (&json!("COMPLETE"), &json!("ERROR")));
    api.post(&tokens, &token, &json!({ "expiresAfterDays": 400 })).problem(400);
}

#[test]
fn a_client_sees_its_account_alone_and_a_reader_changes_nothing() {
    let api = Api::new();
    let own = api.token(&["--account", "TEST"]);
    let reader = api.token(&["--account", "TEST", "--role", "read-only"]);
    let operator = api.token(&["--server", "--role", "system-operator"]);
    let names = |token: &str| api.get("/api/v1/accounts", token).ok().as_array().unwrap().len();
    assert_eq!((names(&own), names(&reader), names(&operator)), (1, 1, 2));
    for path in ["licenses", "product-instances", "alerts", "events", "synchronization", "virtual-accounts"] {
        let at = |account: &str| format!("/api/v1/accounts/{account}/{path}");
        assert_eq!(api.get(&at("TEST"), &reader).status, StatusCode::OK, "{path}");
        // Not told whether it exists.
        for account in ["OTHER", "NOWHERE"] {
            assert_eq!(api.get(&at(account), &own).problem(403), "the client's account is another one", "{path}");
        }
        assert_eq!(api.get(&at("NOWHERE"), &operator).problem(404), "there is no account \"NOWHERE\"");
    }
    for path in
        ["/api/v1/events", "/api/v1/alerts", "/api/v1/settings", "/api/v1/cluster", "/api/v1/audit", "/api/v1/users"]
    {
        assert!(api.get(path, &own).problem(403).contains("about the server"), "{path}");
    }
    for path in ["/api/v1/audit", "/api/v1/users", "/api/v1/api-clients"] {
        assert_eq!(api.get(path, &operator).problem(403), "the role system-operator does not allow this", "{path}");
    }
    let tokens = "/api/v1/accounts/TEST/virtual-accounts/Default/tokens";
    assert!(api.get(tokens, &reader).problem(403).contains("read-only"), "a reader sees no secret");
    for (method, path, body) in [
        (Method::POST, tokens, json!({})),
        (Method::POST, "/api/v1/accounts/TEST/virtual-accounts", json!({ "name": "Lab" })),
        (Method::POST, "/api/v1/accounts/TEST/synchronization", Value::Null),
        (Method::POST, "/api/v1/accounts/TEST/api-clients", json!({})),
        (Method::DELETE, "/api/v1/accounts/TEST", Value::Null),
    ] {
        api.call(method.clone(), path, &reader, &body).problem(403);
        assert!(method != Method::DELETE || api.call(method, path, &own, &body).problem(403).contains("role"));
    }
}

#[test]
fn everything_the_command_line_changes_is_changed_by_rest() {
    let api = Api::new();
    let admin = api.token(&["--server", "--role", "system-administrator"]);
    let new = json!({ "name": "NEW", "smartAccount": "S", "virtualAccount": "X" });
    assert!(api.post("/api/v1/accounts", &admin, &new).ok()["id"].is_u64());
    assert!(api.post("/api/v1/accounts", &admin, &new).problem(409).contains("already is an account"));
    api.post("/api/v1/accounts/NEW/approve", &admin, &Value::Null).ok();
    assert_eq!(api.get("/api/v1/accounts/NEW", &admin).ok()["status"], "active");
    api.post("/api/v1/accounts/NEW/deactivate", &admin, &json!({ "reason": "over" })).ok();
    api.post("/api/v1/accounts/NEW/activate", &admin, &Value::Null).ok();
    api.call(Method::DELETE, "/api/v1/accounts/NEW", &admin, &Value::Null).ok();
    api.get("/api/v1/accounts/NEW", &admin).problem(404);

    let vas = "/api/v1/accounts/TEST/virtual-accounts";
    api.post(vas, &admin, &json!({ "name": "Lab" })).ok();
    api.call(Method::PUT, &format!("{vas}/Lab"), &admin, &json!({ "name": "Laboratory" })).ok();
    let move_some = json!({ "license": "ENH", "from": "Default", "to": "Laboratory", "quantity": 4 });
    api.post("/api/v1/accounts/TEST/licenses/transfer", &admin, &move_some).ok();
    let found = api.get("/api/v1/accounts/TEST/licenses?search=enhanced&virtualAccount=Laboratory", &admin).ok();
    assert_eq!((&found["totalRecords"], &found["licenses"][0]["quantity"]), (&json!(1), &json!(4)));

    api.post("/api/v1/accounts/TEST/licenses/labels", &admin, &json!({ "license": "ENH", "add": ["voice"] })).ok();
    let found = api.get("/api/v1/accounts/TEST/licenses?label=voice&virtualAccount=Default", &admin).ok();
    assert_eq!((&found["totalRecords"], &found["licenses"][0]["labels"]), (&json!(1), &json!(["voice"])));
    assert_eq!(api.get("/api/v1/accounts/TEST/licenses?label=none", &admin).ok()["totalRecords"], 0);
    let bad = json!({ "license": "ENH", "add": ["a,b"] });
    assert!(api.post("/api/v1/accounts/TEST/licenses/labels", &admin, &bad).problem(400).contains("no comma"));

    api.products(&admin, 3);
    let at = "/api/v1/accounts/TEST/product-instances";
    let first = api.get(&format!("{at}?limit=2"), &admin).ok();
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("{at}?limit=2&after={next}"), &admin).ok();
    let serials = |page: &Value| -> Vec<String> {
        let rows = page["productInstances"].as_array().unwrap();
        rows.iter().map(|i| i["serialNumber"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!([serials(&first), serials(&second)].concat(), ["SN0", "SN1", "SN2"]);
    assert!(second.get("next").is_none());
    assert_eq!(serials(&api.get(&format!("{at}?search=Router-0"), &admin).ok()), ["SN0"]);
    api.get(&format!("{at}?after=x"), &admin).problem(400);
    let id = &first["productInstances"][0]["id"];
    api.post(&format!("{at}/{id}/transfer"), &admin, &json!({ "virtualAccount": "Laboratory" })).ok();
    assert_eq!(api.get(&format!("{at}/{id}"), &admin).ok()["virtualAccount"], "Laboratory");
    assert!(
        api.get(&format!("/api/v1/accounts/OTHER/product-instances/{id}"), &admin).problem(404).contains("no product")
    );
    api.call(Method::DELETE, &format!("{at}/{id}"), &admin, &Value::Null).ok();
    api.get(&format!("{at}/{id}"), &admin).problem(404);

    let token = api.post("/api/v1/accounts/TEST/virtual-accounts/Default/tokens", &admin, &json!({})).ok();
    let udi = Udi { pid: "CALLS".into(), sn: "SN8".into() };
    let devices = vec![Device { udi: udi.into(), host_name: None }];
    api.node.register_for(token["tokenInfo"]["token"].as_str().unwrap(), "SN7", devices);
    let found = api.get(&format!("{at}?search=SN7"), &admin).ok();
    assert_eq!(found["productInstances"][0]["devices"], json!([{ "pid": "CALLS", "serialNumber": "SN8" }]));

    let alert = api.get("/api/v1/alerts", &admin).ok()[0].clone();
    let which = json!({ "kind": alert["kind"], "source": alert["source"] });
    api.post("/api/v1/alerts/acknowledge", &admin, &which).ok();
    let alerts = api.get("/api/v1/alerts", &admin).ok();
    assert!(alerts.as_array().unwrap().iter().any(|a| a["source"] == alert["source"] && a["acknowledged"] == true));
    let past = api.get("/api/v1/alerts/history", &admin).ok();
    assert_eq!((&past[0]["number"], &past[0]["alert"]["messageType"]), (&json!(1), &json!("Account Pending")));
    assert_eq!(api.get("/api/v1/alerts/history?after=1", &admin).ok()[0]["number"], 2);
    assert!(past[0]["clearedBy"].is_string(), "{past}");
    assert_eq!(api.get("/api/v1/alerts/history?search=nothing%20of%20it", &admin).ok(), json!([]));
    let severe = api.get("/api/v1/alerts/history?severity=informational", &admin).ok();
    assert!(severe.as_array().unwrap().iter().all(|past| past["alert"]["severity"] == "Informational"));
    assert!(api.get("/api/v1/accounts/TEST/alerts/history", &admin).ok()[0]["cleared"].is_string());
    let liked = json!({ "rows": 100, "start": "administration", "timeZone": "Asia/Kolkata", "live": false });
    let preferences = "/api/v1/users/admin/preferences";
    api.call(Method::PUT, preferences, &admin, &liked).ok();
    let users = api.get("/api/v1/users", &admin).ok();
    assert!(
        users.as_array().unwrap().iter().any(|user| user["name"] == "admin" && user["preferences"] == liked),
        "{users}"
    );
    let mut nowhere = liked.clone();
    nowhere["timeZone"] = json!("Europe/Nowhere");
    assert!(api.call(Method::PUT, preferences, &admin, &nowhere).problem(400).contains("no time zone"));
    let clock = api.get("/api/v1/clock", &admin).ok();
    assert_eq!((&clock["inDoubt"], &clock["stateTime"]), (&json!(false), &clock["clock"]));
    let time = json!({ "time": clock["clock"] });
    assert!(api.post("/api/v1/clock/accept", &admin, &time).problem(409).contains("no doubt"));
    api.post("/api/v1/clock/accept", &admin, &json!({ "time": "soon" })).problem(400);
    assert!(api.post("/api/v1/accounts/TEST/synchronization", &admin, &Value::Null).problem(502).contains("central"));
    assert_eq!(api.get("/api/v1/accounts/TEST/synchronization", &admin).ok()["outstanding"], true);

    let ann = json!({ "name": "ann", "password": "secret words", "role": { "role": "system-operator" } });
    api.post("/api/v1/users", &admin, &ann).ok();
    api.call(Method::PUT, "/api/v1/users/ann/disabled", &admin, &json!({ "disabled": true })).ok();
    let role = json!({ "role": "local-account-administrator", "accounts": ["TEST"] });
    api.call(Method::PUT, "/api/v1/users/ann/role", &admin, &role).ok();
    api.call(Method::PUT, "/api/v1/users/ann/password", &admin, &json!({ "password": "short" })).problem(400);
    let factor = "/api/v1/users/ann/second-factor";
    let made = api.post(factor, &admin, &Value::Null).ok();
    assert!(made["uri"].as_str().unwrap().contains(made["secret"].as_str().unwrap()));
    assert!(api.call(Method::PUT, factor, &admin, &json!({ "code": "12345x" })).problem(403).contains("wrong"));
    let sealer = api.node.parts(Route::Here).sealer.as_ref()().unwrap();
    let state = licraft::raft::Ledger::state(&*api.node.ledger);
    let seed = Seed::open(&sealer, &state.user("ann").unwrap().totp.clone().unwrap().seed).unwrap();
    let code = seed.code(fake::now().0 / 30_000);
    api.call(Method::PUT, factor, &admin, &json!({ "code": code })).ok();
    api.call(Method::DELETE, "/api/v1/users/ann/sessions", &admin, &Value::Null).ok();
    let users = api.get("/api/v1/users", &admin).ok();
    let ann = users.as_array().unwrap().iter().find(|u| u["name"] == "ann").unwrap();
    assert_eq!(ann["secondFactor"], true);
    api.call(Method::DELETE, factor, &admin, &Value::Null).ok();
    assert!(api.call(Method::DELETE, factor, &admin, &Value::Null).problem(404).contains("no second factor"));
    let users = api.get("/api/v1/users", &admin).ok();
    let ann = users.as_array().unwrap().iter().find(|u| u["name"] == "ann").unwrap();
    assert_eq!((&ann["accounts"], &ann["disabled"]), (&json!(["TEST"]), &json!(true)));
    assert!(!users.to_string().contains("argon2"), "{users}");
    api.call(Method::DELETE, "/api/v1/users/ann", &admin, &Value::Null).ok();

    let made = api.post("/api/v1/accounts/TEST/api-clients", &admin, &json!({ "description": "monitoring" })).ok();
    let of_server = api.post("/api/v1/api-clients", &admin, &json!({})).ok();
    let listed = api.get("/api/v1/api-clients", &admin).ok();
    let role = |made: &Value| {
        let known = listed.as_array().unwrap().iter().find(|c| c["id"] == made["clientId"]).unwrap();
        known["role"].as_str().unwrap().to_owned()
    };
    assert_eq!((role(&made).as_str(), role(&of_server).as_str()), ("local-account-administrator", "read-only"));
    let id = made["clientId"].as_str().unwrap();
    api.call(Method::DELETE, &format!("/api/v1/api-clients/{id}"), &admin, &Value::Null).ok();
    assert_eq!(api.get("/api/v1/accounts/TEST/api-clients", &admin).ok(), json!([]));

    let message = json!({ "value": "Staff only." });
    api.call(Method::PUT, "/api/v1/settings/message-of-the-day", &admin, &message).ok();
    let long = json!({ "value": "x".repeat(501) });
    api.call(Method::PUT, "/api/v1/settings/message-of-the-day", &admin, &long).problem(400);
    let set = json!({ "value": "https://central.example.com" });
    api.call(Method::PUT, "/api/v1/settings/central-url", &admin, &set).ok();
    api.call(Method::PUT, "/api/v1/settings/centrl-url", &admin, &set).problem(404);
    assert_eq!(api.get("/api/v1/cluster", &admin).ok()["cluster"], "normal");
    let audit = api.get("/api/v1/audit?limit=1000", &admin).ok();
    let last = audit.as_array().unwrap().last().unwrap();
    assert_eq!(last["detail"], "central-url=https://central.example.com");
    assert!(last["actor"].as_str().unwrap().starts_with("api client "));
}

/// Every list has pages, an order, a search and filters of its own, and says what it has not.
#[test]
fn lists_are_searched_filtered_sorted_and_cut() {
    let api = Api::new();
    let admin = api.token(&["--server", "--role", "system-administrator"]);
    api.products(&admin, 5);
    let vas = "/api/v1/accounts/TEST/virtual-accounts";
    api.post(vas, &admin, &json!({ "name": "Lab" })).ok();
    let move_some = json!({ "license": "ENH", "from": "Default", "to": "Lab", "quantity": 4 });
    api.post("/api/v1/accounts/TEST/licenses/transfer", &admin, &move_some).ok();
    let column = |path: &str, rows: &str, column: &str| -> Vec<String> {
        let answer = api.get(path, &admin).ok();
        let rows = if rows.is_empty() { answer } else { answer[rows].clone() };
        rows.as_array().unwrap().iter().map(|row| row[column].to_string().replace('"', "")).collect()
    };
    let test = "/api/v1/accounts/TEST";

    let instances =
        |query: &str| column(&format!("{test}/product-instances?{query}"), "productInstances", "serialNumber");
    assert_eq!(instances("sort=name"), ["SN0", "SN1", "SN2", "SN3", "SN4"], "router-0 comes before the devices");
    assert_eq!(instances("sort=-name&limit=2&offset=1"), ["SN3", "SN2"]);
    assert_eq!(instances("sort=-lastContact&limit=1"), ["SN4"]);
    assert_eq!(instances("search=udi_sn:sn3"), ["SN3"]);
    assert_eq!(instances("search=PRIME&limit=2"), ["SN0", "SN1"]);
    assert_eq!(instances("status=out-of-compliance&productType=Prime&offset=4"), ["SN4"]);
    assert!(instances("status=in-compliance").is_empty() && instances("productType=prime").is_empty());
    assert!(instances("virtualAccount=Lab").is_empty());
    let page = api.get(&format!("{test}/product-instances?search=sn&limit=1&offset=3"), &admin).ok();
    assert_eq!(page["totalRecords"], 5);
    let next = page["next"].as_str().unwrap();
    assert_eq!(instances(&format!("search=sn&after={next}")), ["SN4"]);
    let wrong = api.get(&format!("{test}/product-instances?sort=name&after={next}"), &admin).problem(400);
    assert!(wrong.contains("leave out sort"), "{wrong}");

    let licenses = |query: &str| column(&format!("{test}/licenses?{query}"), "licenses", "virtualAccount");
    assert_eq!(
        (licenses("sort=balance"), licenses("sort=-quantity")),
        (vec!["Default".into(), "Lab".into()], licenses(""))
    );
    assert_eq!(
        (licenses("sort=-balance&limit=1"), licenses("status=in-compliance")),
        (vec!["Lab".into()], vec!["Lab".into()])
    );
    assert_eq!(licenses("status=out-of-compliance&search=enh"), ["Default"]);

    // Essential is covered by Enhanced, of which Lab has some to spare.
    let made = api.post(&format!("{vas}/Lab/tokens"), &admin, &json!({})).ok();
    api.node.register_using(made["tokenInfo"]["token"].as_str().unwrap(), "SN9", None, "ESS", 3);
    for license in ["ESS", "UC%20Manager%20Enhanced"] {
        let shown = api.get(&format!("{test}/licenses/{license}"), &admin).ok();
        let loan = json!({
            "virtualAccount": "Lab", "from": "UC Manager Enhanced", "to": "UC Manager Essential", "count": 3,
            "lacked": 3, "spare": 4, "rules": ["UC Manager Essential", "UC Manager Enhanced"]
        });
        assert_eq!(shown["loans"], json!([loan]));
        let rows = shown["licenses"].as_array().unwrap().iter();
        let of_lab: Vec<&Value> =
            rows.filter(|row| row["virtualAccount"] == "Lab").map(|r| &r["substitution"]).collect();
        assert_eq!(of_lab, [&json!(if license == "ESS" { 3 } else { -3 })]);
    }
    api.get(&format!("{test}/licenses/NONE"), &admin).problem(404);

    let today = licraft::admin::date(fake::now());
    let usage = |query: &str| {
        let days = api.get(&format!("{test}/usage?{query}"), &admin).ok()["days"].clone();
        // At midnight there may be one more.
        let last = days.as_array().unwrap().last().unwrap().clone();
        assert!(last["date"].as_str().unwrap() >= today.as_str(), "{days}");
        let number = |member: &str| last[member].as_i64().unwrap();
        (number("purchased"), number("peakInUse"), number("lowestBalance"), number("outOfCompliance"))
    };
    // All of Enhanced, 3 of which stand in for Essential; the products in Default use 40 of the 6 that are there.
    assert_eq!(usage("license=ENH"), (10, 40, -34, 1));
    assert_eq!(usage("license=ENH&virtualAccount=Lab&days=400"), (4, 0, 1, 0));
    assert_eq!(usage("days=1"), (10, 43, -34, 1));
    assert!(api.get(&format!("{test}/usage?days=0"), &admin).problem(400).contains("1 to 400 days"));
    assert!(api.get(&format!("{test}/usage?days=401"), &admin).problem(400).contains("1 to 400 days"));
    api.get(&format!("{test}/usage?days=many"), &admin).problem(400);
    api.get(&format!("{test}/usage?license=NONE"), &admin).problem(404);
    api.get(&format!("{test}/usage?virtualAccount=NONE"), &admin).problem(404);
    assert_eq!(api.get("/api/v1/accounts/OTHER/usage?license=ESS", &admin).ok()["days"], json!([]));

    let accounts = |query: &str| column(&format!("/api/v1/accounts?{query}"), "", "name");
    assert_eq!(
        (accounts(""), accounts("sort=-name&limit=1")),
        (vec!["OTHER".into(), "TEST".into()], vec!["TEST".into()])
    );
    assert_eq!(
        (accounts("search=oth"), accounts("sort=-productInstances&limit=1")),
        (vec!["OTHER".into()], vec!["TEST".into()])
    );
    assert!(accounts("status=rejected").is_empty());
    assert_eq!(column(&format!("{vas}?sort=-name&search=a"), "", "name"), ["Lab", "Default"]);

    let tokens = |query: &str| column(&format!("{vas}/Lab/tokens?{query}"), "tokens", "description");
    for (description, days) in [("branch", 9), ("attic", 3)] {
        let new = json!({ "description": description, "expiresAfterDays": days });
        api.post(&format!("{vas}/Lab/tokens"), &admin, &new).ok();
    }
    assert_eq!(
        (tokens(""), tokens("search=BRAN")),
        (vec!["".into(), "branch".into(), "attic".into()], vec!["branch".into()])
    );
    assert_eq!(tokens("sort=expirationDate&limit=2"), ["attic", "branch"]);
    assert!(tokens("status=REVOKED").is_empty() && tokens("offset=2&limit=1&status=ACTIVE") == ["attic"]);

    let alerts = |query: &str| column(&format!("/api/v1/alerts?{query}"), "", "source");
    assert_eq!(
        (alerts("search=default/ENH"), alerts("acknowledged=true")),
        (vec!["TEST/Default/ENH".into()], Vec::new())
    );
    assert_eq!(alerts("severity=major&sort=-raised&limit=1"), ["TEST/Default/ENH"]);
    let events = |query: &str| column(&format!("{test}/events?{query}"), "", "kind");
    assert_eq!(events("sort=-time&limit=1"), ["token-created"]);
    assert_eq!(events("search=instance-registered").len(), 6);
    assert!(events("severity=major&search=token").is_empty());

    let request = Request::get("/api/v1/events?limit=2").header(AUTHORIZATION, format!("Bearer {admin}"));
    let request = request.extension(Peer("192.0.2.7:50000".parse().unwrap())).body(Body::empty()).unwrap();
    let head = api.node.runtime.block_on(api.router.clone().oneshot(request)).unwrap();
    let total: usize = head.headers()["x-total-count"].to_str().unwrap().parse().unwrap();
    assert!(total > 10, "{total}");
    for path in ["/api/v1/accounts", vas, "/api/v1/alerts", "/api/v1/events", &format!("{vas}/Lab/tokens")] {
        assert!(api.get(&format!("{path}?sort=size"), &admin).problem(400).contains("sort is one of"), "{path}");
        assert!(api.get(&format!("{path}?limit=0"), &admin).problem(400).contains("limit is 1 to 1000"), "{path}");
    }
}

#[test]
fn a_repeated_request_is_carried_out_once() {
    let api = Api::new();
    let token = api.token(&["--account", "TEST"]);
    let path = "/api/v1/accounts/TEST/virtual-accounts";
    let send = |key: &str, name: &str| {
        let request = Request::post(path).header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(CONTENT_TYPE, "application/json").header("Idempotency-Key", key);
        api.send(request, &json!({ "name": name }).to_string())
    };
    let first = send("order 7", "Lab").ok();
    assert_eq!(send("order 7", "Lab").ok(), first);
    assert!(send("order 8", "Lab").problem(409).contains("Lab"));
    send("", "Other").problem(400);
}

#[test]
fn what_cannot_be_answered_is_a_problem_that_says_why() {
    let api = Api::new();
    let token = api.token(&["--account", "TEST"]);
    assert!(api.get("/api/v1/nothing", &token).problem(404).contains("openapi.json"));
    assert!(api.call(Method::PATCH, "/api/v1/accounts", &token, &Value::Null).problem(405).contains("other methods"));
    let post = |kind: &str, body: &str| {
        let request = Request::post("/api/v1/accounts/TEST/licenses").header(AUTHORIZATION, format!("Bearer {token}"));
        api.send(request.header(CONTENT_TYPE, kind), body)
    };
    assert!(post("text/plain", "{}").problem(415).contains("application/json"));
    post("application/json", "{").problem(400);
    assert!(post("application/json", &format!("[\"{}\"]", "x".repeat(70_000))).problem(413).contains("65536 bytes"));
    api.serving.store(false, Ordering::Relaxed);
    let answer = api.get("/api/v1/accounts", &token);
    assert!(answer.retry_after);
    assert!(answer.problem(503).contains("Standby"));
}

/// Against what the API describes of itself: no failure of the server, no answer that is not described.
#[test]
fn the_schema_fuzzer_finds_no_failure_and_no_undescribed_answer() {
    let Some(fuzzer) = fuzzer() else { return };
    let api = Api::new();
    let token = api.token(&["--server", "--role", "system-administrator"]);
    api.products(&token, 3);
    let listener = api.node.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = api.router.clone().layer(axum::Extension(Peer("192.0.2.7:50000".parse().unwrap())));
    let server = api.node.runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let examples = if std::env::var_os("LICRAFT_TEST_ALL").is_some() { "100" } else { "15" };
    // So that most requests reach something, and none waits for an event longer than the fuzzer does for an answer.
    let given = "[parameters]\n\"path.account\" = \"TEST\"\n\"path.va\" = \"Default\"\n\"query.wait\" = 0\n";
    std::fs::write(api.node.dir.path().join("schemathesis.toml"), given).unwrap();
    let output = Process::new(fuzzer)
        .current_dir(api.node.dir.path())
        .args(["run", &format!("http://{address}/api/v1/openapi.json"), "--no-color", "--seed", "7"])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--max-examples", examples])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance,response_headers_conformance,unsupported_method"])
        // There is no central to answer it: 502 is right.
        .args(["--exclude-name", "POST /api/v1/accounts/{account}/synchronization"])
        // It would revoke its own client, and hear nothing but 401 from then on.
        .args(["--exclude-name", "DELETE /api/v1/api-clients/{id}"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Selected: 72/74") && said.contains("Tested: 72"), "{said}");
    assert!(api.node.ledger.state().check().is_empty());
    server.abort();
}

/// The fuzzer in an environment of its own under `target/`; none, said aloud, where it cannot be had.
fn fuzzer() -> Option<std::path::PathBuf> {
    let exe = std::env::current_exe().unwrap();
    // target/debug/deps/api-…
    let folder = exe.ancestors().nth(3).unwrap().join("schemathesis");
    let program = folder.join("bin/schemathesis");
    let run = |command: &mut Process| command.status().is_ok_and(|status| status.success());
    let wanted = SCHEMATHESIS.split("==").nth(1).unwrap();
    let there = Process::new(&program).arg("--version").output();
    if there.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(wanted)) {
        return Some(program);
    }
    let made = run(Process::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Process::new(folder.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]));
    if made {
        return Some(program);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{SCHEMATHESIS} could not be installed: python3-venv and PyPI are needed"
    );
    eprintln!("NOT RUN: {SCHEMATHESIS} could not be installed: python3-venv and PyPI are needed");
    None
}

#[test]
fn synchronization_is_scheduled_and_exchanged_as_files() {
    let api = Api::new();
    let (server, mine) = (api.token(&["--server", "--role", "system-operator"]), api.token(&["--account", "OTHER"]));
    let of = |account: &str, what: &str| format!("/api/v1/accounts/{account}/synchronization/{what}");
    let all = api.get("/api/v1/synchronization", &server).ok();
    let accounts: Vec<_> = all.as_array().unwrap().iter().map(|row| row["account"].as_str().unwrap()).collect();
    assert_eq!(accounts, ["TEST", "OTHER"]);
    api.get("/api/v1/synchronization", &mine).problem(403);

    let put = |body: Value| api.call(Method::PUT, &of("TEST", "schedule"), &server, &body);
    for (body, words) in [
        (json!({ "every": "daily", "minute": 210 }), "daily at 03:30 UTC"),
        (json!({ "every": "weekly", "weekday": 0, "minute": 0 }), "on Mondays at 00:00 UTC"),
        (json!({ "every": "monthly", "day": 28, "minute": 1439 }), "on day 28 of each month at 23:59 UTC"),
        (json!({ "every": "off" }), "only when asked"),
    ] {
        assert_eq!(put(body).ok()["schedule"], words);
    }
    let bad = [json!({ "every": "daily", "minute": 1440 }), json!({ "every": "never" }), json!({ "every": "monthly" })];
    for body in bad {
        put(body).problem(400);
    }
    api.call(Method::PUT, &of("TEST", "schedule"), &mine, &json!({ "every": "off" })).problem(403);

    let exported = api.post(&of("TEST", "request"), &server, &Value::Null).ok();
    assert_eq!((&exported["number"], &exported["document"]), (&json!(1), &json!("a request")));
    assert_eq!(api.post(&of("TEST", "request"), &server, &Value::Null).ok(), exported, "the same one again");
    let import = |account: &str, token: &str, document: &str, dry_run: bool| {
        api.post(&of(account, "response"), token, &json!({ "document": document, "dryRun": dry_run }))
    };
    for dry_run in [true, false] {
        let changes = import("TEST", &server, "a response", dry_run).ok();
        assert_eq!((&changes[0]["tag"], &changes[0]["purchasedAfter"]), (&json!("ENH"), &json!(12)));
    }
    assert!(import("TEST", &server, "nothing", true).problem(400).contains("not a licraft document"));
    assert!(import("OTHER", &mine, "a response", false).problem(400).contains("for another account"));
    // A response may be large, another body not.
    let large = "x".repeat(100_000);
    assert!(import("TEST", &server, &large, true).problem(400).contains("not a licraft document"));
    api.call(Method::PUT, &of("TEST", "schedule"), &server, &json!({ "every": large })).problem(413);
}

#[test]
fn certificates_checks_and_news_are_had_by_rest() {
    let api = Api::new();
    let server = api.token(&["--server", "--role", "system-administrator"]);
    let (mine, reader) = (api.token(&["--account", "TEST"]), api.token(&["--server", "--role", "read-only"]));
    let browser = "/api/v1/certificates/browser";
    let show = || api.get("/api/v1/certificates", &reader).ok();
    assert_eq!((&show()["signedBy"], &show()["browsers"]), (&json!("cluster CA"), &Value::Null));
    api.get("/api/v1/certificates", &mine).problem(403);
    let put = |token: &str, body: Value| api.call(Method::PUT, browser, token, &body);
    let [pem, _] = site::site_certificate("lm.example");
    put(&reader, json!({ "pem": pem })).problem(403);
    assert_eq!(put(&server, json!({ "pem": pem })).ok()["names"], json!(["lm.example"]));
    assert_eq!(show()["browsers"]["commonName"], "lm.example");
    api.call(Method::PUT, "/api/v1/settings/host-common-name", &server, &json!({ "value": "x.example" })).ok();
    assert_eq!(show()["browsers"]["notCovered"], "x.example");
    for (body, says) in [
        (json!({ "pem": pem }), "does not cover x.example"),
        (json!({}), "give either pem or pkcs12"),
        (json!({ "pkcs12": "AAAA" }), "neither PEM"),
        (json!({ "pkcs12": "!" }), "no base64"),
    ] {
        let said = put(&server, body).problem(400);
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(show()["browsers"]["commonName"], "lm.example", "nothing has changed");
    api.call(Method::DELETE, browser, &server, &Value::Null).ok();
    assert_eq!(show()["browsers"], Value::Null);

    let identities = "/api/v1/admin-identities";
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let csr = base64::engine::general_purpose::STANDARD.encode(csr(&key, "ops").unwrap());
    let csr = format!("-----BEGIN CERTIFICATE REQUEST-----\n{csr}\n-----END CERTIFICATE REQUEST-----\n");
    let new = json!({ "name": "ops", "role": "system-operator", "csr": csr });
    api.post(identities, &reader, &new).problem(403);
    assert!(api.post(identities, &server, &json!({ "name": "ops", "csr": "x" })).problem(400).contains("no PKCS#10"));
    let made = api.post(identities, &server, &new).ok();
    let certificate = certificates_from_pem(made["certificate"].as_str().unwrap().as_bytes()).unwrap().remove(0);
    assert_eq!(certificate_key(&certificate).unwrap().hash(), key.public_key().hash());
    assert!(made["clusterCa"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    api.post(identities, &server, &new).problem(409);
    let listed = api.get(identities, &reader).ok();
    assert_eq!((&listed[0]["name"], &listed[0]["role"]), (&json!("ops"), &json!("system-operator")));
    api.get(identities, &mine).problem(403);
    api.call(Method::DELETE, "/api/v1/admin-identities/ops", &reader, &Value::Null).problem(403);
    api.call(Method::DELETE, "/api/v1/admin-identities/ops", &server, &Value::Null).ok();
    assert_eq!(api.get(identities, &reader).ok(), json!([]));
    let rotate = |token: &str| api.post("/api/v1/certificates/sealing-key", token, &Value::Null);
    rotate(&reader).problem(403);
    let said = rotate(&server).ok()["steps"][0].as_str().unwrap().to_owned();
    assert!(said.starts_with("Changing the key for api client "), "{said}");

    let checks = api.get("/api/v1/doctor", &reader).ok();
    assert_eq!((&checks[0]["name"], &checks[0]["result"]), (&json!("kept totals"), &json!("passed")));
    api.get("/api/v1/doctor", &mine).problem(403);
    let bundle = api.get("/api/v1/diagnostics", &server).ok();
    assert_eq!((&bundle["checks"][0]["name"], &bundle["node"]), (&json!("kept totals"), &json!("primary-node")));
    api.get("/api/v1/diagnostics", &reader).problem(403);
    let backup = |token: &str, passphrase: &str| {
        api.call(Method::POST, "/api/v1/backups", token, &json!({ "passphrase": passphrase }))
    };
    backup(&reader, "ten quite unrelated words").problem(403);
    backup(&server, "short").problem(400);
    let saved = backup(&server, "ten quite unrelated words");
    assert!(saved.status.is_success() && saved.kind == "application/octet-stream" && saved.text.len() > 1_000);

    // Who waits hears of the next event when it happens.
    let newest = |events: &Value| events.as_array().unwrap().last().unwrap()["number"].as_u64().unwrap();
    let last = newest(&api.get("/api/v1/events?limit=1000", &reader).ok());
    let following = format!("/api/v1/events?after={last}&wait=30");
    let heard = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| api.get(&following, &reader).ok());
        api.node.run(&["token", "create", "--account", "TEST"]).success();
        api.node.run(&["va", "create", "--account", "TEST", "Lab"]).success();
        waiting.join().unwrap()
    });
    assert!(newest(&heard) > last, "{heard}");
    assert!(api.get("/api/v1/events?wait=31", &reader).problem(400).contains("0 to 30 seconds"));
    let ahead = format!("/api/v1/events?after={}&wait=1", u32::MAX);
    assert!(api.get(&ahead, &reader).problem(400).contains("no event"));
}
