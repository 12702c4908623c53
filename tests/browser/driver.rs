//! Chromium without a window, driven over WebDriver, with a profile of its own that trusts the cluster's CA.

use super::wait::{gone, until};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::runtime::Runtime;

/// No network but the pages, no first-run pages; scroll bars that take no width, as on a telephone; the pipe ends the
/// browser with its driver.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
    "--hide-scrollbars",
];

/// Programs that the tests need, each with its Debian package.
const PROGRAMS: [(&str, &str); 4] = [
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("certutil", "libnss3-tools"),
    ("setpriv", "util-linux"),
];

/// Whether all programs are there; if not, it says so loudly.
pub fn there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    for (program, package) in PROGRAMS {
        if !there(program) {
            let ci = std::env::var_os("CI").is_some();
            assert!(!ci, "{program} is missing (Debian: {package}): nothing was tested");
            eprintln!("NOT TESTED: {program} is missing (Debian: {package})");
            return false;
        }
    }
    true
}

/// Where the pictures are kept.
pub fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_licraft")).ancestors().nth(2).unwrap();
    target.join("browser")
}

/// A system whose pages are opened.
pub trait Site {
    /// The file of the certificate authority that the pages are trusted by.
    fn authority(&self) -> PathBuf;

    /// A further one, of pages of another site.
    fn further_authority(&self) -> Option<PathBuf> {
        None
    }

    /// The network namespace of the host that the browsers run on; none for this one.
    fn space(&self) -> Option<String> {
        None
    }
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// CSS pixels.
    pub width: u32,
    pub dark: bool,
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.width, if self.dark { "dark" } else { "light" })
    }
}

/// One chromedriver, on a port that it has chosen itself.
pub struct Driver {
    process: Child,
    url: String,
    home: tempfile::TempDir,
    space: Option<String>,
}

impl Driver {
    /// Starts the driver, for browsers that trust the certificates of `site`.
    pub fn new(site: &impl Site) -> Self {
        let home = tempfile::Builder::new().prefix("licraft-chromium-").tempdir().unwrap();
        // Chromium reads whom its user trusts from there.
        let trusted = home.path().join(".pki/nssdb");
        std::fs::create_dir_all(&trusted).unwrap();
        let database = format!("sql:{}", trusted.display());
        certutil(&["-N", "--empty-password", "-d", &database]);
        let authorities = [("cluster", Some(site.authority())), ("vendor", site.further_authority())];
        for (name, file) in authorities.into_iter().filter_map(|(name, file)| Some((name, file?))) {
            certutil(&["-A", "-n", name, "-t", "C,,", "-d", &database, "-i", &file.display().to_string()]);
        }
        let space = site.space();
        let mut command = match &space {
            None => Command::new("setpriv"),
            Some(space) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", space, "setpriv"]);
                command
            }
        };
        // It ends with this test, also when that is killed.
        let mut process = command
            .args(["--pdeathsig", "KILL", "chromedriver", "--port=0"])
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: format!("http://127.0.0.1:{}", said.expect("chromedriver names its port")), home, space }
    }

    /// Another browser: a person at another machine.
    pub fn browser(&self) -> Browser {
        // Its threads talk to the driver, on the loopback of the driver's host.
        let space = self.space.clone();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).on_thread_start(move || space.iter().for_each(|space| enter(space)));
        let runtime = runtime.enable_all().build().unwrap();
        let profile = tempfile::TempDir::new_in(self.home.path()).unwrap().keep();
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to run as root with its sandbox.
            arguments.push("--no-sandbox".into());
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        });
        let capabilities: Capabilities = serde_json::from_value(capabilities).unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connect = builder.capabilities(capabilities).connect(&self.url);
        let client = runtime.block_on(connect).unwrap();
        Browser { runtime, client }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = gone(self.home.path());
    }
}

/// Moves this thread to another host.
fn enter(space: &str) {
    let host = File::open(Path::new("/run/netns").join(space)).unwrap();
    move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn certutil(args: &[&str]) {
    assert!(Command::new("certutil").args(args).status().unwrap().success(), "certutil {args:?}");
}

/// A command beyond the standard: its path in the session, and its body.
#[derive(Debug)]
struct Extended(&'static str, Value);

impl WebDriverCompatibleCommand for Extended {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}

/// One browser with one page.
pub struct Browser {
    runtime: Runtime,
    client: Client,
}

impl Browser {
    /// Opens an address and waits until the page has loaded. An address that does not answer is a page of the browser's.
    pub fn open(&self, url: &str) {
        match self.runtime.block_on(self.client.goto(url)) {
            Err(error) if error.to_string().contains("net::ERR_CONNECTION_REFUSED") => {}
            result => result.unwrap(),
        }
    }

    pub fn back(&self) {
        self.runtime.block_on(self.client.back()).unwrap();
    }

    /// The path of the page, with its query.
    pub fn path(&self) -> String {
        let url = self.runtime.block_on(self.client.current_url()).unwrap();
        url[url::Position::BeforePath..].to_owned()
    }

    /// What the body of a function returns that runs in the page.
    pub fn run(&self, script: &str) -> Value {
        self.runtime.block_on(self.client.execute(script, vec![])).unwrap_or_else(|e| panic!("{e}: {script}"))
    }

    /// What a script hands to the callback that is its last argument.
    pub fn run_async(&self, script: &str, args: Vec<Value>) -> Value {
        self.runtime.block_on(self.client.execute_async(script, args)).unwrap()
    }

    /// The page's text as people see it, runs of white space as one space.
    pub fn text(&self) -> String {
        let text = self.run("return document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    pub fn says(&self, expected: &str) {
        let text = self.text();
        assert!(text.contains(expected), "{expected:?} is not in: {text}");
    }

    /// Waits until the page says it.
    #[track_caller]
    pub fn until_says(&self, expected: &str) {
        let mut last = String::new();
        until(&format!("{expected:?} on {}", self.path()), || {
            last = self.text();
            last.contains(expected)
        });
    }

    #[track_caller]
    pub fn until_at(&self, path: &str) {
        until(&format!("{path} (at {})", self.path()), || self.path() == path);
    }

    pub fn click(&self, css: &str) {
        self.runtime.block_on(async { self.client.find(Locator::Css(css)).await?.click().await }).unwrap();
    }

    /// Types into a field, after what it holds.
    pub fn fill(&self, css: &str, text: &str) {
        let fill = async { self.client.find(Locator::Css(css)).await?.send_keys(text).await };
        self.runtime.block_on(fill).unwrap_or_else(|e| panic!("{css}: {e}"));
    }

    /// What a field holds.
    pub fn value(&self, css: &str) -> String {
        let value = async { self.client.find(Locator::Css(css)).await?.prop("value").await };
        self.runtime.block_on(value).unwrap().unwrap_or_default()
    }

    /// Does something with the first element at an XPath, once there is one. A page that refreshes itself may put another
    /// one in its place at any moment: then with that.
    pub fn with<T>(&self, path: &str, act: impl AsyncFn(Element) -> Result<T, CmdError>) -> T {
        let mut result = None;
        until(path, || {
            match self.runtime.block_on(async { act(self.client.find(Locator::XPath(path)).await?).await }) {
                Ok(value) => result = Some(value),
                Err(error) if error.is_no_such_element() || error.is_stale_element_reference() => {}
                Err(error) => panic!("{path}: {error}"),
            }
            result.is_some()
        });
        result.unwrap()
    }

    /// What the first frame of the page shows.
    pub fn frame_url(&self) -> String {
        let look = async {
            self.client.enter_frame(0).await?;
            let url = self.client.execute("return document.URL", vec![]).await?;
            self.client.enter_parent_frame().await.map(|()| url)
        };
        self.runtime.block_on(look).unwrap().as_str().unwrap().to_owned()
    }

    /// Signs in at the page that is open.
    pub fn sign_in(&self, name: &str, password: &str) {
        self.run("document.getElementById('name').value = ''");
        self.fill("#name", name);
        self.fill("#password", password);
        self.click("main button");
    }

    /// Changes the password at the page for that.
    pub fn change_password(&self, current: &str, new: &str, repeated: &str) {
        for (field, text) in [("#current", current), ("#new", new), ("#repeated", repeated)] {
            self.fill(field, text);
        }
        self.click("main button");
    }

    /// The session cookie, which scripts of a page cannot see.
    pub fn cookie(&self) -> Option<fantoccini::cookies::Cookie<'static>> {
        let cookies = self.runtime.block_on(self.client.get_all_cookies()).unwrap();
        cookies.into_iter().find(|cookie| cookie.name() == "__Host-licraft")
    }

    /// Everything that the browser has logged since the last look, of pages that are not its own: errors of scripts,
    /// resources and the policy.
    pub fn log(&self) -> Vec<String> {
        let log = self.issue(Extended("se/log", json!({ "type": "browser" })));
        let text = |entry: &Value| format!("{}: {}", entry["level"], entry["message"]);
        let ours = |entry: &&Value| !entry["message"].as_str().unwrap_or_default().starts_with("chrome://");
        log.as_array().unwrap().iter().filter(ours).map(text).collect()
    }

    /// A command of the Chrome DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.issue(Extended("goog/cdp/execute", json!({ "cmd": command, "params": parameters })))
    }

    fn issue(&self, command: Extended) -> Value {
        self.runtime.block_on(self.client.issue_cmd(command)).unwrap()
    }

    /// Looks at pages of this width and scheme from now on.
    pub fn view(&self, View { width, dark }: View) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", screen);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media);
    }

    pub fn press_tab(&self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            self.devtools("Input.dispatchKeyEvent", key);
        }
    }

    /// Keeps a picture of the whole page.
    pub fn picture(&self, file: &Path) {
        use base64::Engine;
        let taken = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let png = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
    }

    /// Waits until the script returns true.
    #[track_caller]
    pub fn until(&self, what: &str, script: &str) {
        until(what, || self.run(script) == Value::Bool(true));
    }

    /// Lets time pass in which the page may refresh itself.
    pub fn until_refreshed(&self) {
        self.run("const live = document.getElementById('live'); live.dataset.old = '1'; live.append(document.createComment(''))");
        self.until("a refresh of the page", "return !document.getElementById('live').dataset.old");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that does not answer is ended with its browsers anyway.
        let client = self.client.clone();
        let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), client.close()).await });
    }
}
