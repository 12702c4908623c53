//! Central's pages, as a browser calls them.

use super::rest::http;
use super::*;

/// A browser that keeps one cookie.
struct Browser {
    http: reqwest::Client,
    url: String,
    cookie: Option<String>,
}

struct Page {
    status: u16,
    location: Option<String>,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Browser {
    fn new(central: &Central) -> Self {
        Self { http: http(central), url: central.url(), cookie: None }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let request = request.header("accept", "text/html");
        let request = match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        if let Some(set) = headers.get("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(set.contains("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{set}");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        let status = response.status().as_u16();
        let location = headers.get("location").map(|to| to.to_str().unwrap().to_owned());
        Page { status, location, headers, text: response.text().await.unwrap() }
    }

    async fn get(&mut self, path: &str) -> Page {
        let request = self.http.get(format!("{}{path}", self.url));
        self.send(request).await
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(format!("{}{path}", self.url)).header("origin", self.url.clone());
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        self.send(request).await
    }

    async fn upload(&mut self, document: &[u8]) -> Page {
        let (head, tail) = (
            "--limit\r\ncontent-disposition: form-data; name=\"request\"; filename=\"request.json\"\r\n\r\n",
            "\r\n--limit--\r\n",
        );
        let body = [head.as_bytes(), document, tail.as_bytes()].concat();
        let request = self.http.post(format!("{}/files", self.url)).header("origin", self.url.clone());
        let request = request.header("content-type", "multipart/form-data; boundary=limit").body(body);
        self.send(request).await
    }

    async fn sign_in(&mut self, name: &str, password: &str) -> Page {
        self.post("/sign-in", &[("name", name), ("password", password), ("next", "/")]).await
    }
}

/// Makes a user with a password of their own, or with one that was printed.
fn user(central: &Central, args: &[&str]) -> String {
    let (status, out, error) = central_cli(&central.home(), &[&["user", "create", "-o", "json"], args].concat());
    assert_eq!(status, 0, "{error}");
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    made["password"].as_str().unwrap().to_owned()
}

/// Signs in with the printed password and sets `long enough`.
async fn signed_in(central: &Central, args: &[&str]) -> Browser {
    let password = user(central, args);
    let mut browser = Browser::new(central);
    let page = browser.sign_in(args[0], &password).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/")), "{}", page.text);
    assert_eq!(browser.get("/").await.location.as_deref(), Some("/password"), "a printed password must be changed");
    let form = [("current", password.as_str()), ("new", "long enough"), ("repeated", "long enough")];
    let page = browser.post("/password", &form).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/")), "{}", page.text);
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_and_only_they_see_anything() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.central);
    for path in ["/", "/servers", "/servers/confirm?deed=Revoke&server=x", "/orders", "/files", "/event-log", "/audit"]
    {
        let page = browser.get(path).await;
        assert!(page.status == 303 && page.location.unwrap().starts_with("/sign-in"), "{path}");
    }
    let mut ann = signed_in(&scene.central, &["ann"]).await;
    let page = ann.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("BASE License") && page.text.contains("10 perpetual"), "{}", page.text);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("<script>") && !page.text.contains(" style="), "nothing inline");
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert_eq!(ann.get("/nothing").await.status, 404);

    // A wrong password, and an unknown user, get the same answer; guessing gets slow.
    let wrong = browser.sign_in("ann", "wrong").await;
    let unknown = browser.sign_in("nobody", "wrong").await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.text.replace("ann", "nobody"), unknown.text);
    let mut slowed = false;
    for _ in 0..10 {
        slowed |= browser.sign_in("nobody", "wrong").await.status == 429;
    }
    assert!(slowed);

    // The session ends with the password, by whomever it is set, and with the user.
    let old = ann.cookie.clone();
    let form = [("current", "long enough"), ("new", "even longer"), ("repeated", "even longer")];
    assert_eq!(ann.post("/password", &form).await.status, 303);
    let mut stale = Browser { cookie: old, ..Browser::new(&scene.central) };
    assert_eq!(stale.get("/").await.status, 303);
    assert_eq!(ann.get("/").await.status, 200);
    assert_eq!(central_cli(&scene.central.home(), &["user", "delete", "ann", "--yes"]).0, 0);
    assert_eq!(ann.get("/").await.status, 303);
    let mut bob = signed_in(&scene.central, &["bob"]).await;
    assert_eq!(bob.post("/sign-out", &[]).await.status, 303);
    assert_eq!(bob.get("/").await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_of_another_site_change_nothing() {
    let scene = Scene::new().await;
    let mut ann = signed_in(&scene.central, &["ann"]).await;
    let form = format!("deed=Revoke&server={SERVER}&account=");
    for origin in [Some("https://evil.example"), None] {
        let request = ann.http.post(format!("{}/servers", ann.url)).body(form.clone());
        let request = origin.iter().fold(request, |request, origin| request.header("origin", *origin));
        assert_eq!(ann.send(request).await.status, 403);
    }
    // Nor does a link.
    assert_eq!(ann.get(&format!("/servers/confirm?{form}")).await.status, 200);
    assert_eq!(scene.central.servers().await[0].status, "active");
    // Documents and programs are no browsers.
    scene.node.synchronize(scene.account, "admin").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_keep_the_servers_and_all_is_shown() {
    let scene = Scene::new().await;
    let (_, copy) = scene.copy();
    let end = Instant::now() + DEADLINE;
    let before = system_clock()();
    while system_clock()() == before {
        assert!(Instant::now() < end);
    }
    scene.node.synchronize(scene.account, "admin").await.unwrap();
    copy.synchronize(scene.account, "admin").await.unwrap_err();

    let mut ann = signed_in(&scene.central, &["ann"]).await;
    let page = ann.get("/servers").await.text;
    assert!(page.contains(SERVER) && page.contains(">Contested<") && page.contains("Example/Default"), "{page}");
    for deed in ["Re-adopt", "Revoke", "Release"] {
        assert!(page.contains(&format!(">{deed}</a>")), "{deed}: {page}");
    }
    let confirm = ann.get(&format!("/servers/confirm?deed=Re-adopt&server={SERVER}&account=TEST")).await.text;
    assert!(confirm.contains("<form method=\"post\" action=\"/servers\">"), "{confirm}");
    let form = |deed| [("deed", deed), ("server", SERVER), ("account", "TEST")];
    let page = ann.post("/servers", &form("Re-adopt")).await;
    assert!(page.status == 200 && page.text.contains("speaks for it from now on"), "{}", page.text);
    copy.synchronize(scene.account, "admin").await.unwrap();
    let page = ann.post("/servers", &form("Re-adopt")).await;
    assert!(page.status == 404 && page.text.contains("nothing to re-adopt"), "{}", page.text);
    assert_eq!(ann.post("/servers", &form("Explode")).await.status, 400);
    assert_eq!(ann.post("/servers", &form("Release")).await.status, 200);
    assert_eq!(ann.post("/servers", &form("Revoke")).await.status, 200);
    assert_eq!(scene.central.servers().await[0].status, "revoked");

    let orders = ann.get("/orders?q=LAB").await.text;
    assert!(orders.contains("LAB of Example/Default") && !orders.contains("BASE of"), "{orders}");
    assert!(ann.get("/event-log").await.text.contains("fork-refused"));
    let audit = ann.get("/audit").await.text;
    assert!(audit.contains("server-revoke") && audit.contains("user-password"), "{audit}");
    assert!(audit.contains(">ann<"), "who did it: {audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploaded_request_file_gets_the_response_file() {
    let scene = Scene::new().await;
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let mut ann = signed_in(&scene.central, &["ann"]).await;
    assert!(ann.get("/files").await.text.contains("multipart/form-data"));
    let page = ann.upload(&request).await;
    assert_eq!((page.status, &page.headers["content-type"]), (200, &"application/jose+json".parse().unwrap()));
    assert_eq!(page.headers["content-disposition"], "attachment; filename=\"response.json\"");
    assert_eq!(page.text.as_bytes(), scene.central.post(&request).await.unwrap());
    scene.node.import(page.text.as_bytes(), false, "admin").await.unwrap();

    for (document, status, why) in [
        (&b"<b>no document</b>"[..], 400, "Not a licraft document"),
        (b"", 422, "No file was chosen"),
        (&vec![b'x'; document::MAX_DOCUMENT_BYTES + 1][..], 400, "at most"),
        (&vec![b'x'; document::MAX_DOCUMENT_BYTES + 100_000][..], 413, ""),
    ] {
        let page = ann.upload(document).await;
        assert!(page.status == status && page.text.contains(why), "{} {}", page.status, page.text);
        assert!(!page.text.contains("<b>no"), "it is shown as text");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_belongs_to_a_smart_account_sees_that_one() {
    let scene = Scene::new().await;
    let other = AdminRequest::CreateAccount { smart_account: "Else".into(), virtual_accounts: vec!["X".into()] };
    scene.central.ask(other).await;
    let mut own = signed_in(&scene.central, &["eve", "--smart-account", "Example"]).await;
    let mut other = signed_in(&scene.central, &["zoe", "--smart-account", "Else"]).await;
    let page = own.get("/").await.text;
    assert!(page.contains("Example") && !page.contains("Else"), "{page}");
    assert!(!page.contains("/audit") && !page.contains("/event-log"), "no links to what is not for them: {page}");
    let page = own.get("/servers").await.text;
    assert!(page.contains(SERVER) && !page.contains("/servers/confirm"), "{page}");
    assert!(!other.get("/servers").await.text.contains(SERVER));
    assert!(!other.get("/orders").await.text.contains("BASE"));
    for path in ["/audit", "/event-log"] {
        assert_eq!(own.get(path).await.status, 403, "{path}");
    }
    let form = [("deed", "Revoke"), ("server", SERVER), ("account", "")];
    assert_eq!(own.post("/servers", &form).await.status, 403);
    let request = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let page = other.upload(&request).await;
    assert!(page.status == 403 && page.text.contains("another smart account"), "{}", page.text);
    assert_eq!(scene.central.servers().await[0].seq, 0);
    assert_eq!(own.upload(&request).await.status, 200);
    // A registration for another smart account neither.
    let second = request_account(&scene.ledger, "SECOND", "Lab");
    point_at(&scene.ledger, "");
    scene.node.approve_account(second, "admin").await.unwrap_err();
    assert_eq!(other.upload(&scene.node.registration_request(second).unwrap()).await.status, 403);
}
