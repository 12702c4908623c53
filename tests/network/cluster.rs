//! A cluster of real processes on the hosts of a lab, driven by the operator's commands.

use super::lab::{Host, Lab, succeeded};
use licraft::ha::supervisor::{has_ended, node_process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const LICRAFT: &str = env!("CARGO_BIN_EXE_licraft");
pub const PRIMARY: &str = "primary-node";
pub const SECONDARY: &str = "secondary-node";
pub const THIRD: &str = "third-node";
pub const WITNESS: &str = "witness";
pub const CENTRAL: &str = "central";
pub const CLIENT: &str = "client";
pub const VIP: &str = "10.77.0.12";
pub const VIP6: &str = "fd77::12";
/// What the virtual address is called.
pub const FQDN: &str = "licenses.lab.example";
/// All that a test waits for comes within this, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Two data nodes and a witness.
    WithWitness,
    TwoAlone,
    /// Three data nodes.
    Three,
}

impl Topology {
    /// The main one; each under `tests/run --all`.
    pub fn wanted() -> &'static [Self] {
        match std::env::var_os("LICRAFT_TEST_ALL") {
            Some(_) => &[Self::WithWitness, Self::TwoAlone, Self::Three],
            None => &[Self::WithWitness],
        }
    }

    pub const fn nodes(self) -> &'static [&'static str] {
        match self {
            Self::WithWitness => &[PRIMARY, SECONDARY, WITNESS],
            Self::TwoAlone => &[PRIMARY, SECONDARY],
            Self::Three => &[PRIMARY, SECONDARY, THIRD],
        }
    }
}

/// Nodes, central and products, with the lab they live in.
pub struct Cluster {
    // Before the lab: processes end before their hosts.
    processes: Vec<(String, Child)>,
    pub lab: Lab,
    dir: tempfile::TempDir,
    /// Of the first administrator, to be changed at the first sign-in.
    pub first_password: String,
    /// What products register with.
    pub token: String,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            // A node's process ends with its supervisor.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for name in [PRIMARY, SECONDARY, THIRD, WITNESS] {
                let log = self.log(name);
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                eprintln!("---- {name}, newest first\n{}", tail.join("\n"));
            }
        }
    }
}

impl Cluster {
    /// Two data nodes and a witness, initialised and joined, but not deployed. None without root.
    pub fn joined() -> Option<Self> {
        Self::with(&[PRIMARY, SECONDARY, WITNESS], "")
    }

    /// Deployed with [`VIP`].
    pub fn of(topology: Topology) -> Option<Self> {
        let cluster = Self::with(topology.nodes(), "")?;
        cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
        cluster.normal();
        println!("{topology:?}");
        Some(cluster)
    }

    /// One node, initialised.
    pub fn alone() -> Option<Self> {
        Self::with(&[PRIMARY], "")
    }

    /// Lets one more node in.
    pub fn add(&mut self, node: &str) {
        self.write_config(node, "");
        self.start(node);
        self.join(node, &[]);
        self.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
        self.status(PRIMARY, "a normal cluster", |s| s["cluster"] == "normal");
    }

    /// The data nodes there are.
    pub fn data_nodes(&self) -> Vec<&'static str> {
        [PRIMARY, SECONDARY, THIRD].into_iter().filter(|node| self.folder(node).exists()).collect()
    }

    /// Two data nodes without a witness, deployed.
    pub fn two_alone() -> Option<Self> {
        Self::two_with("")
    }

    /// As [`Self::two_alone`], with more lines in the node files.
    pub fn two_with(lines: &str) -> Option<Self> {
        let cluster = Self::with(&[PRIMARY, SECONDARY], lines)?;
        cluster.run(PRIMARY, &["ha", "deploy", "--vip", VIP]);
        cluster.normal();
        Some(cluster)
    }

    fn with(nodes: &[&str], lines: &str) -> Option<Self> {
        let hosts = [(PRIMARY, 5), (SECONDARY, 10), (WITNESS, 15), (THIRD, 25), (CENTRAL, 20), (CLIENT, 30)];
        let lab = Lab::new(&hosts)?;
        let (dir, (first_password, token)) = (tempfile::tempdir().unwrap(), Default::default());
        let mut cluster = Self { processes: Vec::new(), lab, dir, first_password, token };
        for node in nodes {
            cluster.write_config(node, lines);
            cluster.start(node);
        }
        cluster.first_password = text(&cluster.json(PRIMARY, &["init"]), "password");
        nodes[1..].iter().for_each(|node| cluster.join(node, &[]));
        Some(cluster)
    }

    /// Provisions a node with a code of the primary.
    pub fn join(&self, node: &str, options: &[&str]) {
        let verb = if node == WITNESS { "provision-witness" } else { "provision-standby" };
        let code = self.json(PRIMARY, &["ha", "generate-keys"]);
        let (code, join) = (text(&code, "code"), text(&code, "join_address"));
        self.run(node, &[&["ha", verb, "--join", &join, "--code", &code, "--yes"][..], options].concat());
    }

    /// As [`Self::joined`], deployed with the virtual address.
    pub fn deployed(vip: &str) -> Option<Self> {
        let cluster = Self::joined()?;
        if vip.contains(',') {
            let refused = cluster.refused(PRIMARY, &["ha", "deploy", "--vip", vip]);
            assert!(
                refused.contains("products need one name") && refused.contains("cert set-common-name"),
                "{refused}"
            );
            cluster.run(PRIMARY, &["cert", "set-common-name", FQDN]);
        }
        cluster.run(PRIMARY, &["ha", "deploy", "--vip", vip]);
        cluster.normal();
        Some(cluster)
    }

    fn write_config(&self, node: &str, lines: &str) {
        let (host, dir) = (self.lab.host(node), self.dir.path().join(node));
        std::fs::create_dir_all(&dir).unwrap();
        let (address, private, dir) = (host.address(), host.private(), dir.display());
        let role = if node == WITNESS { "witness" } else { "data" };
        let text = format!(
            "name = \"{node}\"\ndata_dir = \"{dir}/data\"\nrole = \"{role}\"\naddress = \"{address}\"\n\
             [raft]\nlisten = \"{private}:7441\"\n\
             [admin]\nsocket = \"{dir}/admin.sock\"\n[https]\ncrl = \"[::]:80\"\n{lines}"
        );
        std::fs::write(self.folder(node).join("node.toml"), text).unwrap();
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn host(&self, name: &str) -> Host {
        self.lab.host(name)
    }

    /// Moves the wall clock of a node to so many milliseconds from the truth.
    pub fn set_clock(&self, node: &str, ms: i64) {
        // Whole at once: the node reads it at any moment.
        let (new, clock) = (self.folder(node).join("clock.new"), self.folder(node).join("clock"));
        std::fs::write(&new, ms.to_string()).unwrap();
        std::fs::rename(new, clock).unwrap();
    }

    /// Waits until the alerts that stand about nodes are these: kind and source.
    pub fn alerts(&self, node: &str, expected: &[(&str, &str)]) {
        let about_nodes = ["cluster-degraded", "witness-lost", "disk-space", "clock-skew"];
        until(&format!("the alerts {expected:?}"), || {
            let alerts = self.json(node, &["alert", "list"]);
            let alerts = alerts.as_array().unwrap().iter().map(|alert| (text(alert, "kind"), text(alert, "source")));
            let alerts: Vec<_> = alerts.filter(|(kind, _)| about_nodes.contains(&kind.as_str())).collect();
            alerts.iter().map(|(kind, source)| (kind.as_str(), source.as_str())).eq(expected.iter().copied())
        });
    }

    /// Starts a node and waits until it answers.
    pub fn start(&mut self, node: &str) {
        let command = self.lab.host(node).command(LICRAFT);
        self.launch(node, command);
    }

    /// Writes the file of a node, with these lines too, and starts it.
    pub fn enter(&mut self, node: &str, lines: &str) {
        self.write_config(node, lines);
        self.start(node);
    }

    /// As [`Self::start`], without these capabilities: `-net_admin`.
    pub fn start_without(&mut self, node: &str, capabilities: &str) {
        let mut command = self.lab.host(node).command("setpriv");
        command.args(["--bounding-set", capabilities, "--inh-caps", capabilities, LICRAFT]);
        self.launch(node, command);
    }

    fn launch(&mut self, node: &str, mut command: Command) {
        let folder = self.folder(node);
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        command.args(["node", "--config"]).arg(folder.join("node.toml")).stdout(log.try_clone().unwrap()).stderr(log);
        command.env("LICRAFT_TEST_CLOCK", folder.join("clock"));
        self.processes.push((node.to_owned(), command.spawn().unwrap()));
        let socket = self.folder(node).join("admin.sock");
        until(&format!("an answer of {node}"), || UnixStream::connect(&socket).is_ok());
    }

    /// `kill -9` of a node and its supervisor, so that nobody is left to tell.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.take(name);
        let node = node_process(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        until("the end of the node's process", || node.is_none_or(has_ended));
    }

    /// `kill -9` of the node's process alone. Gives the exit code of its supervisor, which ends with it.
    pub fn crash(&mut self, name: &str) -> Option<i32> {
        kill_process(self.node(name), Signal::KILL).unwrap();
        self.take(name).wait().unwrap().code()
    }

    /// Asks a node to end, as systemd does. Gives its exit code.
    pub fn terminate(&mut self, name: &str) -> Option<i32> {
        let mut child = self.take(name);
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
        child.wait().unwrap().code()
    }

    fn take(&mut self, name: &str) -> Child {
        let at = self.processes.iter().position(|(n, _)| n == name).unwrap();
        self.processes.swap_remove(at).1
    }

    /// What a node has logged, its supervisor included.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder(name).join("log")).unwrap_or_default()
    }

    /// The processes of a node: its supervisor's and its own.
    pub fn processes(&self, name: &str) -> [u32; 2] {
        let (_, child) = self.processes.iter().find(|(n, _)| n == name).unwrap();
        [child.id(), node_process(child.id()).unwrap()]
    }

    /// The process that does a node's work.
    fn node(&self, name: &str) -> Pid {
        let (_, child) = self.processes.iter().find(|(n, _)| n == name).unwrap();
        let pid = node_process(child.id()).unwrap_or(child.id());
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// Freezes a process, or lets it go on.
    pub fn freeze(&self, name: &str, frozen: bool) {
        kill_process(self.node(name), if frozen { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// Has what a node left of the virtual address taken off.
    pub fn clear_addresses(&self, node: &str) -> Output {
        let mut command = self.lab.host(node).command(LICRAFT);
        let command = command.args(["node", "--clear-addresses", "--config"]);
        command.arg(self.folder(node).join("node.toml")).output().unwrap()
    }

    fn cli(&self, node: &str, args: &[&str]) -> Output {
        self.command(node, args).output().unwrap()
    }

    /// A command on a node.
    pub fn command(&self, node: &str, args: &[&str]) -> Command {
        let mut command = Command::new(LICRAFT);
        command.arg("--socket").arg(self.folder(node).join("admin.sock")).args(args);
        command
    }

    /// What a command prints on a node; it must succeed.
    pub fn run(&self, node: &str, args: &[&str]) -> String {
        succeeded(&format!("{node}: licraft {}", args.join(" ")), self.cli(node, args))
    }

    /// What a command says, whether it succeeds or not.
    pub fn run_any(&self, node: &str, args: &[&str]) -> String {
        let output = self.cli(node, args);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// What a command that must fail says.
    pub fn refused(&self, node: &str, args: &[&str]) -> String {
        let output = self.cli(node, args);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!output.status.success(), "licraft {} should fail: {said}", args.join(" "));
        said
    }

    pub fn json(&self, node: &str, args: &[&str]) -> Value {
        let said = self.run(node, &[args, &["-o", "json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    }

    fn try_json(&self, node: &str, args: &[&str]) -> Option<Value> {
        let output = self.cli(node, &[args, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    /// Waits until `ha status` on a node is as asked for.
    pub fn status(&self, node: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until_or(what, || {
            // Its exit code tells the state, too.
            last = serde_json::from_slice(&self.cli(node, &["ha", "status", "-o", "json"]).stdout).ok()?;
            is(&last).then(|| last.clone())
        })
        .unwrap_or_else(|| panic!("{what} never came on {node}; last: {last:#}"))
    }

    /// Waits until both data nodes see a normal cluster.
    pub fn normal(&self) {
        for node in self.data_nodes() {
            self.status(node, "a normal cluster", |s| s["cluster"] == "normal");
        }
    }

    /// Waits until `node` says that `holder` has the address.
    pub fn held_by(&self, node: &str, holder: &str) -> Value {
        self.status(node, &format!("{holder} with the address"), |s| s["vip"]["holder"] == holder)
    }

    /// Waits until the cluster's events have one that says so.
    pub fn event(&self, node: &str, says: &str) {
        until(&format!("an event with {says:?}"), || self.run_any(node, &["event", "list"]).contains(says));
    }

    /// The vendor's central, an account that is bound to it with one BASE license, and a registration token.
    pub fn licensed(&mut self) {
        self.licensed_for(&[("BASE", "Base", 1)]);
    }

    /// As [`Self::licensed`], with these entitlements: tag, name and purchased quantity.
    pub fn licensed_for(&mut self, entitlements: &[(&str, &str, u64)]) {
        let dir = path(&self.folder(CENTRAL));
        let own = |args: &[&str]| self.central(args);
        own(&["central", "init", "--name", "Vendor"]);
        let accounts = ["--virtual-account", "TEST-1", "--virtual-account", "TEST"];
        own(&[&["central", "account", "create", "Corp"][..], &accounts].concat());
        let to = ["--smart-account", "Corp", "--virtual-account", "TEST-1"];
        for (tag, name, quantity) in entitlements {
            let what = ["central", "entitle", "--license", tag, "--name", name, "--quantity", &quantity.to_string()];
            own(&[&what[..], &to].concat());
        }
        let host = self.lab.host(CENTRAL);
        let listen = format!("{}:8444", host.address());
        let log = File::create(self.dir.path().join("central.log")).unwrap();
        let mut serve = host.command(LICRAFT);
        serve.args(["central", "serve", "--dir", &dir, "--listen", &listen]).stderr(log);
        self.processes.push((CENTRAL.to_owned(), serve.spawn().unwrap()));
        let root = format!("@{}", path(&self.root()));
        self.run(PRIMARY, &["settings", "set", "vendor-root", &root]);
        self.run(PRIMARY, &["settings", "set", "central-url", &format!("https://{listen}")]);
        self.account("TEST-1");
        let made = self.json(PRIMARY, &["token", "create", "--account", "TEST-1", "--description", "lab"]);
        self.token = text(&made, "token");
    }

    /// A command of the vendor's.
    pub fn central(&self, args: &[&str]) -> String {
        let dir = path(&self.folder(CENTRAL));
        let output = Command::new(LICRAFT).args(args).args(["--dir", &dir]).output().unwrap();
        succeeded(&args.join(" "), output)
    }

    /// Requests and approves an account on whatever node is active, and waits until it is.
    pub fn account(&self, name: &str) {
        let node = self.active();
        let bound = ["--smart-account", "Corp", "--virtual-account", name, "--requested-by", "admin"];
        self.run(&node, &[&["account", "request", name][..], &bound].concat());
        self.run(&node, &["account", "approve", name]);
        until(&format!("account {name} active"), || {
            let list = self.try_json(&node, &["account", "list"]);
            let rows = list.as_ref().and_then(Value::as_array);
            rows.into_iter().flatten().any(|row| row["account"] == name && row["account_status"] == "active")
        });
    }

    /// The name of the active node, by whatever data node answers.
    pub fn active(&self) -> String {
        until_or("an active node", || {
            // Of a server alone the exit code is 3.
            let status = |node| serde_json::from_slice(&self.cli(node, &["ha", "status", "-o", "json"]).stdout).ok();
            let active = |status: Value| {
                let node = status["nodes"].as_array()?.iter().find(|node| node["role"] == "active")?.clone();
                Some(node["name"].as_str()?.to_owned())
            };
            [PRIMARY, SECONDARY].into_iter().filter_map(status).find_map(active)
        })
        .expect("no node became active")
    }

    fn root(&self) -> PathBuf {
        self.folder(CENTRAL).join("vendor-root.pem")
    }

    /// The cluster CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder(PRIMARY).join("data").join("cluster-ca.pem")
    }

    /// The authorities that the server's certificates come from: of the cluster, and the vendor's once there is one.
    fn authorities(&self) -> PathBuf {
        let both = [self.ca(), self.root()].map(|file| std::fs::read_to_string(file).unwrap_or_default()).concat();
        let file = self.dir.path().join("authorities.pem");
        std::fs::write(&file, both).unwrap();
        file
    }

    /// Runs the agent of a product on the client's host.
    pub fn agent(&self, product: &str, verb: &str, args: &[&str]) -> String {
        succeeded(&format!("{product}: agent {verb}"), self.try_agent(product, verb, args))
    }

    fn try_agent(&self, product: &str, verb: &str, args: &[&str]) -> Output {
        let mut command = self.lab.host(CLIENT).command(LICRAFT);
        command.args(["agent", verb, "--dir"]).arg(self.dir.path().join(product)).args(args);
        command.output().unwrap()
    }

    /// Registers a product through the virtual address.
    pub fn register(&self, product: &str) {
        self.register_at(product, VIP);
    }

    /// As [`Self::register`], at another address.
    pub fn register_at(&self, product: &str, address: &str) {
        succeeded(&format!("{product}: agent register"), self.try_register(product, address, "30"));
    }

    /// What an agent says that must fail to register.
    pub fn register_refused(&self, product: &str, address: &str) -> String {
        let output = self.try_register(product, address, "1");
        assert!(!output.status.success(), "{product} registered at {address}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn try_register(&self, product: &str, address: &str, seconds: &str) -> Output {
        let url = format!("https://{address}/Transportgateway/services/DeviceRequestHandler");
        let (ca, root) = (path(&self.ca()), path(&self.root()));
        let place = ["--url", &url, "--ca", &ca, "--root", &root, "--token", &self.token, "--timeout", seconds];
        let device = ["--pid", "LAB", "--sn", product, "--host-name", product, "--product-type", "Router"];
        self.try_agent(product, "register", &[&place[..], &device].concat())
    }

    /// A product asks for so many BASE licenses where it has registered, until it is answered.
    pub fn request(&self, product: &str, count: u64) {
        self.request_all(product, &[("BASE", count)]);
    }

    /// As [`Self::request`], for several licenses at once.
    pub fn request_all(&self, product: &str, licenses: &[(&str, u64)]) {
        let licenses: Vec<String> = licenses.iter().map(|(tag, count)| format!("{tag}={count}")).collect();
        let named = licenses.iter().flat_map(|license| ["--license", license]);
        self.agent(product, "request", &["--timeout", "30"].into_iter().chain(named).collect::<Vec<_>>());
    }

    /// Starts a simulated product on the client's host, which asks for one BASE license again and again.
    pub fn simulate(&self, args: &[&str]) -> Child {
        let mut command = self.lab.host(CLIENT).command(LICRAFT);
        let url = format!("https://{VIP}/SmartTransport");
        command.args(["agent", "simulate", "-o", "json", "--url", &url, "--token", &self.token]);
        command.args(["--license", "BASE=1", "--ca", &path(&self.ca()), "--root", &path(&self.root())]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// How many BASE licenses are in use.
    pub fn in_use(&self, node: &str) -> u64 {
        let list = self.json(node, &["license", "list"]);
        let row = list.as_array().unwrap().iter().find(|row| row["license"] == "Base");
        row.map_or(0, |row| row["in_use"].as_u64().unwrap())
    }

    /// What the client gets from `/readyz` at an address of the product port, if anything.
    pub fn ready(&self, at: &str) -> Option<u16> {
        let output = self.question(at, "2").output().expect("curl is needed");
        String::from_utf8_lossy(&output.stdout).parse().ok().filter(|code| *code != 0)
    }

    /// What the client gets from a URL; nothing when there is no answer.
    pub fn page(&self, url: &str) -> String {
        let mut command = self.lab.host(CLIENT).command("curl");
        command.args(["-s", "--max-time", "2", "--cacert"]).arg(self.authorities()).arg(url);
        String::from_utf8_lossy(&command.output().expect("curl is needed").stdout).into_owned()
    }

    /// Asks an address from the client's host whether it serves, for so many seconds; prints the HTTP status.
    pub fn question(&self, at: &str, seconds: &str) -> Command {
        let url = if at.contains(':') { format!("https://[{at}]/readyz") } else { format!("https://{at}/readyz") };
        let mut command = self.lab.host(CLIENT).command("curl");
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", seconds, "--cacert"]);
        command.arg(self.authorities()).arg(url);
        command
    }
}

pub fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A text member of an answer, or of its only row.
pub fn text(value: &Value, member: &str) -> String {
    let row = value.get(0).unwrap_or(value);
    row[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

/// Waits until `look` gives something; none when the time is over.
fn until_or<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            eprintln!("never came: {what}");
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `is` holds.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    assert!(until_or(what, || is().then_some(())).is_some(), "never came: {what}");
}
