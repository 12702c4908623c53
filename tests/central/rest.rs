//! The REST API, with bearer tokens made by the command line.

use super::*;
use serde_json::{Value, json};

struct Rest {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Rest {
    fn new(central: &Central, args: &[&str]) -> Self {
        let made = central_cli(&central.home(), &[&["token", "create", "-o", "json"], args].concat());
        assert_eq!(made.0, 0, "{}", made.2);
        let made: Value = serde_json::from_str(&made.1).unwrap();
        Self {
            http: http(central),
            base: format!("{}/api/v1", central.url()),
            token: made["token"].as_str().unwrap().into(),
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, kind) = (response.status().as_u16(), response.headers()["content-type"].clone());
        let expected = if status < 400 { "application/json" } else { "application/problem+json" };
        let body: Value = response.json().await.unwrap();
        assert_eq!(kind, expected, "{body}");
        assert!(status < 400 || body["status"] == status, "{body}");
        (status, body)
    }

    async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, body) = self.call(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {body}");
        body
    }

    async fn refused(&self, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let (status, body) = self.call(method, path, body).await;
        assert!(status >= 400, "{method} {path}: {body}");
        (status, body["detail"].as_str().unwrap().to_owned())
    }
}

pub fn http(central: &Central) -> reqwest::Client {
    let tls = licraft::pki::tls::client_config([central.root().der()], None).unwrap();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_do_what_the_command_line_does() {
    let scene = Scene::new().await;
    let rest = Rest::new(&scene.central, &["--description", "orders"]);
    let made = rest.ok("POST", "/accounts", Some(json!({"smart_account": "New", "virtual_accounts": ["A"]}))).await;
    assert_eq!(made["done"], "Created smart account New, virtual account New/A.");
    let entitle = json!({"smart_account": "New", "virtual_account": "A", "tag": "BASE", "name": "Base", "quantity": 3, "billing": "usage"});
    rest.ok("POST", "/entitlements", Some(entitle)).await;
    rest.ok("PATCH", "/accounts/New/virtual-accounts/A", Some(json!({"name": "B"}))).await;
    rest.ok("PATCH", "/accounts/New", Some(json!({"name": "Newer"}))).await;
    let accounts = rest.ok("GET", "/accounts", None).await;
    let row = accounts["accounts"].as_array().unwrap().iter().find(|a| a["smart_account"] == "Newer").unwrap();
    assert_eq!((&row["virtual_account"], &row["licenses"][0]["terms"][0]["quantity"]), (&json!("B"), &json!(3)));
    let orders = rest.ok("GET", "/orders?smart_account=New&limit=5", None).await;
    assert!(orders["orders"][0]["actor"].as_str().unwrap().starts_with("token "), "{orders}");
    assert_eq!(rest.refused("DELETE", "/accounts/Newer/virtual-accounts/B", None).await.0, 409);

    let servers = rest.ok("GET", "/servers", None).await;
    assert_eq!(servers["servers"][0]["status"], "active");
    // A request file as it is, and its answer as it is.
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let answered = rest.http.post(format!("{}/answer", rest.base)).bearer_auth(&rest.token).body(request.clone());
    let answered = answered.send().await.unwrap();
    assert_eq!(answered.headers()["content-type"], "application/jose+json");
    let answered = answered.bytes().await.unwrap();
    assert_eq!(scene.central.post(&request).await.unwrap(), answered);
    scene.node.import(&answered, false, "admin").await.unwrap();

    rest.ok("DELETE", &format!("/servers/{SERVER}/accounts/TEST"), None).await;
    rest.ok("POST", &format!("/servers/{SERVER}/revoke"), None).await;
    assert_eq!(rest.refused("POST", &format!("/servers/{SERVER}/readopt"), None).await.0, 409);
    let events = rest.ok("GET", "/events", None).await;
    assert_eq!(events["events"].as_array().unwrap().last().unwrap()["kind"], "server-revoked");
    let audit = rest.ok("GET", "/audit?after=1", None).await;
    let entries = audit["audit"].as_array().unwrap();
    assert_eq!(entries.last().unwrap()["action"], "server-revoke");
    assert_eq!(entries.last().unwrap()["hash"].as_str().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_a_problem_and_changes_nothing() {
    let scene = Scene::new().await;
    let rest = Rest::new(&scene.central, &[]);
    let before = rest.ok("GET", "/accounts", None).await;
    for (method, path, body, status, why) in [
        ("POST", "/accounts", json!({"smart": "X"}), 400, "unknown field `smart`"),
        ("POST", "/accounts", json!({"smart_account": "a/b"}), 400, "must not contain"),
        ("PATCH", "/accounts/Nobody", json!({"name": "X"}), 404, "there is no smart account"),
        ("PATCH", "/accounts/Example", json!({"name": "X"}), 409, "draws on"),
        ("POST", "/entitlements", json!({"tag": "X"}), 400, "missing field"),
        ("PUT", "/accounts", json!({}), 405, "this method is not for this path"),
        ("POST", "/answer", json!({}), 400, "not a licraft document"),
    ] {
        let refused = rest.refused(method, path, Some(body)).await;
        assert!(refused.0 == status && refused.1.contains(why), "{method} {path}: {refused:?}");
    }
    assert_eq!(rest.refused("GET", "/orders?what=ever", None).await.0, 400);
    assert_eq!(rest.refused("GET", "/nothing", None).await.0, 404);
    assert_eq!(rest.ok("GET", "/accounts", None).await, before);

    let stranger = Rest { token: "guess".into(), ..Rest::new(&scene.central, &[]) };
    let (status, why) = stranger.refused("GET", "/accounts", None).await;
    assert!(status == 401 && why.contains("licraft central token create"), "{status} {why}");
    let bare = rest.http.get(format!("{}/accounts", rest.base)).send().await.unwrap();
    assert_eq!((bare.status().as_u16(), bare.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    for _ in 0..1_000 {
        if stranger.refused("GET", "/accounts", None).await.0 == 429 {
            // Who has a token is not slowed down by who guesses from the same address.
            rest.ok("GET", "/accounts", None).await;
            return;
        }
    }
    panic!("guesses are not limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_smart_account_sees_that_one_and_changes_nothing() {
    let scene = Scene::new().await;
    scene
        .central
        .ask(AdminRequest::CreateAccount { smart_account: "Else".into(), virtual_accounts: vec!["X".into()] })
        .await;
    let own = Rest::new(&scene.central, &["--smart-account", "Example"]);
    let other = Rest::new(&scene.central, &["--smart-account", "Else"]);
    let names = |rows: Value| -> Vec<String> {
        let rows = rows["accounts"].as_array().unwrap().clone();
        rows.iter().map(|row| row["smart_account"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(own.ok("GET", "/accounts", None).await), ["Example", "Example"]);
    assert_eq!(names(other.ok("GET", "/accounts", None).await), ["Else"]);
    assert_eq!(own.ok("GET", "/servers", None).await["servers"].as_array().unwrap().len(), 1);
    assert_eq!(other.ok("GET", "/servers", None).await["servers"], json!([]));
    assert_eq!(other.ok("GET", "/orders", None).await["orders"], json!([]));
    assert_eq!(own.ok("GET", "/orders", None).await["orders"].as_array().unwrap().len(), 2);
    for (method, path) in [
        ("GET", "/events".to_owned()),
        ("GET", "/audit".to_owned()),
        ("DELETE", "/accounts/Example".to_owned()),
        ("POST", format!("/servers/{SERVER}/revoke")),
        ("DELETE", format!("/servers/{SERVER}/accounts/TEST")),
    ] {
        assert_eq!(own.refused(method, &path, None).await.0, 403, "{method} {path}");
    }
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let send = async |rest: &Rest| {
        let answered = rest.http.post(format!("{}/answer", rest.base)).bearer_auth(&rest.token).body(request.clone());
        answered.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send(&other).await, 403);
    assert_eq!(scene.central.servers().await[0].seq, 0, "not answered");
    assert_eq!(send(&own).await, 200);
}
