//! The whole system as processes: what products see at the virtual address, alone and while nodes are killed.

use super::report::{Row, Runs};
use anyhow::{Context, Result, bail};
use licraft::ha::supervisor::{has_ended, node_process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LICRAFT: &str = env!("CARGO_BIN_EXE_licraft");
const BASE: u16 = 23_000;
const VIP: &str = "127.0.0.12";
const CENTRAL: &str = "127.0.0.20";
const NODES: [(&str, &str); 3] =
    [("primary-node", "127.0.0.5"), ("secondary-node", "127.0.0.10"), ("witness", "127.0.0.15")];
/// Ticks a second of the times in `/proc` (USER_HZ), the same on all that we build for.
const TICKS: f64 = 100.0;
/// Everything a step waits for comes within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster built by the demo, its processes run here so that they can be killed and started at will.
pub struct System {
    dir: tempfile::TempDir,
    processes: Vec<(String, Child)>,
    token: String,
}

impl Drop for System {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl System {
    /// Builds it, and starts all nodes.
    pub fn build() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("licraft-bench").tempdir()?;
        let demo = dir.path().join("demo");
        let built = Command::new(LICRAFT)
            .args(["demo", "--non-interactive", "--port-base", &BASE.to_string(), "--dir"])
            .arg(&demo)
            .output()?;
        if !built.status.success() {
            bail!("the demo failed: {}", String::from_utf8_lossy(&built.stderr));
        }
        let kept: Value = serde_json::from_slice(&std::fs::read(demo.join("demo.json"))?)?;
        let token = kept["token"].as_str().context("demo.json has no token")?.to_owned();
        let mut system = Self { dir, processes: Vec::new(), token };
        for (name, _) in NODES {
            system.start(name)?;
        }
        system.active()?;
        Ok(system)
    }

    pub fn demo(&self) -> PathBuf {
        self.dir.path().join("demo")
    }

    fn start(&mut self, name: &str) -> Result<()> {
        let config = self.demo().join(name).join("node.toml");
        let mut command = Command::new(LICRAFT);
        command.args(["node", "--config"]).arg(config);
        self.spawn(name, command)
    }

    /// Starts the vendor's central, which the demo left stopped.
    pub fn start_central(&mut self) -> Result<()> {
        let mut command = Command::new(LICRAFT);
        command.args(["central", "serve", "--listen", &format!("{CENTRAL}:{}", BASE + 5), "--dir"]);
        command.arg(self.demo().join("central"));
        self.spawn("central", command)
    }

    fn spawn(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = std::fs::File::create(self.demo().join(format!("{name}.bench.log")))?;
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        self.processes.push((name.to_owned(), child));
        Ok(())
    }

    /// Kills all nodes at once and starts them; how long until one serves.
    pub fn restart(&mut self) -> Result<Duration> {
        for (name, _) in NODES {
            self.kill(name)?;
        }
        let began = Instant::now();
        for (name, _) in NODES {
            self.start(name)?;
        }
        self.active()?;
        Ok(began.elapsed())
    }

    /// Kills a node with its supervisor, as if its host were lost: nobody tells the others.
    fn kill(&mut self, name: &str) -> Result<()> {
        let at = self.processes.iter().position(|(n, _)| n == name).context("it does not run")?;
        let (_, mut child) = self.processes.swap_remove(at);
        let node = node_process(child.id());
        child.kill()?;
        child.wait()?;
        while node.is_some_and(|pid| !has_ended(pid)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The process that does the work.
    pub fn pid(&self, name: &str) -> Result<u32> {
        let child = self.processes.iter().find(|(n, _)| n == name).context("it does not run")?.1.id();
        Ok(node_process(child).unwrap_or(child))
    }

    fn status(&self, name: &str) -> Option<Value> {
        let socket = self.demo().join(name).join("admin.sock");
        let output =
            Command::new(LICRAFT).arg("--socket").arg(socket).args(["ha", "status", "-o", "json"]).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("{what} did not come within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn active(&self) -> Result<String> {
        self.until("an active node", |s| {
            let holder = |(name, _): &(&str, &str)| s.status(name)?["vip"]["holder"].as_str().map(str::to_owned);
            NODES.iter().take(2).find_map(holder)
        })
    }

    pub fn normal(&self) -> Result<()> {
        self.until("a normal cluster", |s| {
            let normal = |(name, _): &(&str, &str)| s.status(name).filter(|status| status["cluster"] == "normal");
            NODES.iter().take(2).all(|node| normal(node).is_some()).then_some(())
        })
    }

    fn simulate(&self, args: &[&str]) -> Result<Child> {
        self.simulate_with(&self.token, &["BASE=1".to_owned()], args)
    }

    /// Load of products that register with `token` and use `licenses` (`TAG=COUNT`).
    pub fn simulate_with(&self, token: &str, licenses: &[String], args: &[&str]) -> Result<Child> {
        let child = Command::new(LICRAFT)
            .args(["agent", "simulate", "-o", "json", "--url", &self.product_url(), "--token", token])
            .args(licenses.iter().flat_map(|license| ["--license", license]))
            .arg("--ca")
            .arg(self.demo().join("ca.pem"))
            .arg("--root")
            .arg(self.demo().join("central/vendor-root.pem"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(child)
    }

    pub fn product_url(&self) -> String {
        format!("https://{VIP}:{}/SmartTransport", BASE + 1)
    }

    /// The products' port of the data node that is not `active`, on its own address.
    pub fn standby_url(&self, active: &str) -> Result<String> {
        let other = NODES.iter().take(2).find(|(name, _)| *name != active).context("no standby")?;
        Ok(format!("https://{}:{}/SmartTransport", other.1, BASE + 1))
    }

    pub fn pages_url(&self) -> String {
        format!("https://{VIP}:{BASE}")
    }

    pub fn metrics_url(&self, name: &str) -> Result<String> {
        let node = NODES.iter().find(|(known, _)| *known == name).context("no such node")?;
        Ok(format!("http://{}:{}/metrics", node.1, BASE + 4))
    }

    /// What an operator's command prints, run on the active node.
    pub fn run(&self, args: &[&str]) -> Result<Vec<u8>> {
        let socket = self.demo().join(self.active()?).join("admin.sock");
        let output = Command::new(LICRAFT).arg("--socket").arg(socket).args(args).output()?;
        if !output.status.success() {
            bail!("licraft {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.stdout)
    }

    /// Resident memory of a node's process in MB (10^6 bytes).
    pub fn rss(&self, name: &str) -> Result<f64> {
        rss(self.pid(name)?)
    }
}

pub fn report(child: Child) -> Result<Value> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the load failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub fn number(report: &Value, member: &str) -> Result<f64> {
    report[member].as_f64().with_context(|| format!("the load's report has no {member}"))
}

/// Signed authorizations through HTTPS at the virtual address, 64 kept-alive connections: with every answer verified by
/// the load generator on the same processors, and with one in twenty, which comes nearer to what the server alone can do.
pub fn https(system: &System, runs: usize, time: Duration) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let seconds = time.as_secs().to_string();
    for (share, targets) in [("1", [Some("≥ 10,000"), Some("≤ 20")]), ("0.05", [None, None])] {
        let (mut rate, mut p50, mut p99) = (Runs::default(), Runs::default(), Runs::default());
        for run in 0..=runs {
            let prefix = format!("H{share}-{run}-");
            let args = ["--instances", "64", "--connections", "64", "--duration", &seconds, "--verify", share];
            let report = report(system.simulate(&[&args[..], &["--serial-prefix", &prefix]].concat())?)?;
            // The first run warms everything up.
            if run > 0 {
                rate.0.push(number(&report, "requests_per_second")?);
                p50.0.push(number(&report, "p50_ms")?);
                p99.0.push(number(&report, "p99_ms")?);
            }
        }
        let what = format!("signed authorizations through HTTPS, 64 connections, share of answers verified {share}");
        let row = |what: String, unit, runs, target| Row { what, unit, runs, target };
        rows.push(row(what.clone(), "/s", rate, targets[0]));
        rows.push(row(format!("{what}, p50"), "ms", p50, None));
        rows.push(row(format!("{what}, p99"), "ms", p99, targets[1]));
    }
    Ok(rows)
}

/// `kill -9` of the active node under load; the longest time in which no license was granted. `trap`: the standby
/// is frozen before the kill, so that the witness alone has the newest entries.
pub fn failover(system: &mut System, kills: usize, trap: bool) -> Result<Vec<Row>> {
    let mut gaps = Runs::default();
    for kill in 0..kills {
        system.normal()?;
        let active = system.active()?;
        let other = NODES[usize::from(active == NODES[0].0)].0;
        let prefix = format!("F{}{kill}-", u8::from(trap));
        let load = system.simulate(&[
            "--instances",
            "16",
            "--connections",
            "8",
            "--duration",
            "4",
            "--serial-prefix",
            &prefix,
        ])?;
        std::thread::sleep(Duration::from_millis(1500));
        if trap {
            signal(system.pid(other)?, rustix::process::Signal::STOP)?;
            std::thread::sleep(Duration::from_millis(120));
        }
        system.kill(&active)?;
        if trap {
            signal(system.pid(other)?, rustix::process::Signal::CONT)?;
        }
        gaps.0.push(number(&report(load)?, "longest_gap_ms")?);
        system.start(&active)?;
    }
    let what = if trap { "kill -9 to next license, witness ahead of the standby" } else { "kill -9 to next license" };
    Ok(vec![Row { what: what.into(), unit: "ms", runs: gaps, target: Some("median ≤ 700, max ≤ 1,200") }])
}

fn signal(pid: u32, signal: rustix::process::Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("not a process id")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Full load for `time`: no election may happen.
pub fn quiet(system: &System, time: Duration) -> Result<Vec<Row>> {
    system.normal()?;
    let term = |s: &System| s.status(NODES[0].0).and_then(|v| v["nodes"][0]["log_term"].as_f64());
    let before = system.until("a status", term)?;
    let seconds = time.as_secs().to_string();
    let args = ["--instances", "64", "--connections", "64", "--duration", &seconds, "--serial-prefix", "Q-"];
    let report = report(system.simulate(&args)?)?;
    let after = system.until("a status", term)?;
    let row = |what: String, unit, value: f64, target| Row { what, unit, runs: Runs(vec![value]), target };
    Ok(vec![
        row(format!("elections in {} s at full load", time.as_secs()), "", after - before, Some("0")),
        row("longest time without a grant meanwhile".into(), "ms", number(&report, "longest_gap_ms")?, None),
    ])
}

/// Registers `instances`, then measures memory and restart.
pub fn scale(system: &mut System, instances: usize) -> Result<Vec<Row>> {
    system.normal()?;
    let count = instances.to_string();
    let began = report(system.simulate(&[
        "--instances",
        &count,
        "--connections",
        "64",
        "--requests",
        "1",
        "--serial-prefix",
        "S-",
    ])?)?;
    let mut rows = vec![Row {
        what: format!("registrations, {instances} instances"),
        unit: "/s",
        runs: Runs(vec![number(&began, "registrations_per_second")?]),
        target: None,
    }];
    let one = |what: &str, unit, value: f64, target| Row { what: what.into(), unit, runs: Runs(vec![value]), target };
    for (name, _) in &NODES[..2] {
        rows.push(one(&format!("memory of {name} (RSS)"), "MB", rss(system.pid(name)?)?, Some("≤ 200")));
    }
    // The cluster is as quick as its slowest start.
    let took = system.restart()?;
    rows.push(one("restart of all nodes to serving", "ms", took.as_secs_f64() * 1e3, Some("≤ 2,000")));
    system.normal()?;
    for (name, _) in &NODES[..2] {
        rows.push(one(&format!("memory of {name} after the restart"), "MB", rss(system.pid(name)?)?, Some("≤ 200")));
    }
    Ok(rows)
}

/// Processor time that a process has used, in user and kernel mode.
pub fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).context("no processor time");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Resident memory in MB (10^6 bytes).
fn rss(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no VmRSS")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}
