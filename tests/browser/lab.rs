//! The system whose pages are opened: the demo's real processes, on ports of a test's own.

use super::driver::{self, Site};
pub use super::wait::{gone, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

const LICRAFT: &str = env!("CARGO_BIN_EXE_licraft");
pub const PRIMARY: &str = "primary-node";
pub const SECONDARY: &str = "secondary-node";
pub const WITNESS: &str = "witness";
/// The first of the system's six ports.
const PORT_BASE: u16 = 22_000;
const VIP: &str = "127.0.0.12";
pub const ACCOUNT: &str = "TEST";
/// The password of the first administrator once it is changed, and of every other user of these tests.
pub const PASSWORD: &str = "four unrelated words";

/// Two cores are enough for one cluster and one browser at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A running demo: central, two data nodes, a witness, an account and four products.
pub struct Lab {
    demo: Child,
    dir: tempfile::TempDir,
    /// Of the first administrator, which must be changed at the first sign-in.
    pub first_password: String,
    // Given up last, when everything has ended.
    _turn: MutexGuard<'static, ()>,
}

/// Starts the demo in a folder of its own below `dir`.
fn demo(dir: &tempfile::TempDir) -> Child {
    let log = std::fs::File::create(dir.path().join("demo.log")).unwrap();
    Command::new(LICRAFT)
        .args(["demo", "--port-base", &PORT_BASE.to_string(), "--dir"])
        .arg(dir.path().join("demo"))
        // Its processes end with this one, however it ends.
        .env("LICRAFT_END_WITH_PARENT", std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Lab {
    /// Builds the system. None, with a loud word, where a program is missing that the tests need.
    pub fn new() -> Option<Self> {
        if !driver::there() {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("licraft-browser-").tempdir().unwrap();
        let mut lab = Self { demo: demo(&dir), dir, first_password: String::new(), _turn: turn };
        until("the demo", || {
            if lab.demo.try_wait().unwrap().is_some() {
                // The last test's nodes may not have ended yet.
                assert!(lab.said().contains("in use"), "the demo has ended: {}", lab.said());
                let _ = std::fs::remove_dir_all(lab.folder());
                lab.demo = demo(&lab.dir);
            }
            lab.said().contains("Ctrl-C ends everything")
        });
        let kept = std::fs::read(lab.folder().join("demo.json")).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        lab.first_password = kept["password"].as_str().unwrap().to_owned();
        Some(lab)
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("demo")
    }

    /// A file of this test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("demo.log")).unwrap_or_default()
    }

    /// The cluster CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// A page at the virtual address.
    pub fn vip(&self, path: &str) -> String {
        format!("https://{VIP}:{}{path}", PORT_BASE)
    }

    /// A page at a node's own address.
    pub fn own(&self, node: &str, path: &str) -> String {
        let host = if node == PRIMARY { 5 } else { 10 };
        format!("https://127.0.0.{host}:{}{path}", PORT_BASE)
    }

    /// The products' port at the virtual address: another origin on the same host.
    pub fn product_port(&self, path: &str) -> String {
        format!("https://{VIP}:{}{path}", PORT_BASE + 1)
    }

    fn socket(&self, node: &str) -> PathBuf {
        self.folder().join(node).join("admin.sock")
    }

    fn command(&self, node: &str, args: &[&str]) -> Command {
        let mut command = Command::new(LICRAFT);
        command.arg("--socket").arg(self.socket(node)).args(args).stdin(Stdio::null());
        command
    }

    /// Runs an operator's command on a node; it must succeed.
    pub fn run(&self, node: &str, args: &[&str]) -> String {
        said(args, self.command(node, args).output().unwrap())
    }

    /// Runs a command that reads `input`.
    pub fn run_with(&self, node: &str, args: &[&str], input: &str) -> String {
        let mut command = self.command(node, args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(args, child.wait_with_output().unwrap())
    }

    /// What a command prints as JSON.
    pub fn json(&self, node: &str, args: &[&str]) -> Value {
        let text = self.run(node, &[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
    }

    /// Makes a user who need not change the password.
    pub fn user(&self, name: &str, role: &[&str]) {
        let args = [&["user", "create", name, "--password-file", "-"][..], role].concat();
        self.run_with(PRIMARY, &args, PASSWORD);
    }

    /// A page of central.
    pub fn at_central(&self, path: &str) -> String {
        format!("https://127.0.0.20:{}{path}", PORT_BASE + 5)
    }

    /// Lets somebody sign in at central.
    pub fn central_user(&self, name: &str, args: &[&str]) {
        let file = self.dir.path().join("password");
        std::fs::write(&file, PASSWORD).unwrap();
        self.central(&[&["user", "create", name, "--password-file", file.to_str().unwrap()][..], args].concat());
    }

    /// Runs a command of central.
    pub fn central(&self, args: &[&str]) {
        let dir = self.folder().join("central");
        said(args, Command::new(LICRAFT).arg("central").args(args).arg("--dir").arg(dir).output().unwrap());
    }

    /// Registers a product that says `text` of itself wherever it is free to say something.
    pub fn product(&self, text: &str) {
        let made = self.json(PRIMARY, &["token", "create", "--account", ACCOUNT, "--description", text]);
        let token = made.get(0).unwrap_or(&made)["token"].as_str().unwrap().to_owned();
        let root = self.folder().join("central").join("vendor-root.pem");
        let args = ["agent", "register", "--pid", text, "--sn", text, "--host-name", text, "--product-type", text];
        let mut command = Command::new(LICRAFT);
        command.args(args).args(["--software-version", text, "--token", &token]);
        command.arg("--dir").arg(self.dir.path().join("product")).arg("--root").arg(root);
        command.args(["--url", &self.product_port("/SmartTransport")]).arg("--ca").arg(self.ca());
        said(&args, command.output().unwrap());
    }

    /// The process of a node that does the work, as the demo told it last.
    pub fn process(&self, node: &str) -> Pid {
        let said = self.said();
        let name = format!("{node} ");
        let mut ids = said.rsplit(&name).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        Pid::from_raw(ids.find(|id| !id.is_empty()).unwrap().parse().unwrap()).unwrap()
    }

    pub fn signal(&self, node: &str, signal: Signal) {
        kill_process(self.process(node), signal).unwrap();
    }

    /// Waits until the demo has started a killed node again.
    pub fn until_restarted(&self, node: &str) {
        until("the killed node", || self.said().contains(&format!("{node} runs again")));
    }
}

impl Site for Lab {
    fn authority(&self) -> PathBuf {
        self.ca()
    }

    fn further_authority(&self) -> Option<PathBuf> {
        Some(self.folder().join("central").join("vendor-root.pem"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the demo said:\n{}", self.said());
        }
        let pid = Pid::from_raw(self.demo.id().try_into().unwrap()).unwrap();
        // As Ctrl-C does: it ends what it has started.
        let _ = kill_process(pid, Signal::INT);
        let _ = self.demo.wait();
        let _ = gone(self.dir.path());
    }
}

fn said(args: &[&str], output: Output) -> String {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{said}{errors}", output.status);
    said.into_owned()
}
