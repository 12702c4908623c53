//! The running demo: its processes, and what it knows of them.

use super::plan::{NODES, Node, Plan};
use super::processes::Program;
use crate::ha::supervisor::{has_ended, node_process};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::process::Child;

/// The central process among the nodes.
pub const CENTRAL: &str = "central";
/// Everything in the demo happens within this, also on a slow machine in a debug build.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One product of the demo with the licenses it asks for.
pub struct Product {
    pub host: &'static str,
    pub product_type: &'static str,
    pub licenses: &'static [(&'static str, u64)],
}

/// The products of an ordinary site: two of a network management program, two call managers.
pub const PRODUCTS: [Product; 5] = [
    Product {
        host: "infra-1",
        product_type: "Network Infrastructure Manager",
        licenses: &[("BASE", 1), ("LIFECYCLE", 34)],
    },
    Product {
        host: "calls-1",
        product_type: "Call Manager",
        licenses: &[("ENHANCED", 3), ("ENHANCED_PLUS", 1), ("TELEPRESENCE_ROOM", 1)],
    },
    Product {
        host: "infra-2",
        product_type: "Network Infrastructure Manager",
        licenses: &[("ASSURANCE", 2), ("BASE", 1), ("LIFECYCLE", 14)],
    },
    Product {
        host: "calls-2",
        product_type: "Call Manager",
        licenses: &[("BASIC", 2), ("ENHANCED", 44), ("ESSENTIAL", 4)],
    },
    // Registers only while the active node is dead.
    Product { host: "calls-3", product_type: "Call Manager", licenses: &[("BASIC", 1), ("ESSENTIAL", 2)] },
];

/// What the site bought: (tag, name, quantity). The rest is used all the same, and reported out of compliance.
pub const ENTITLEMENTS: [(&str, &str, u64); 8] = [
    ("ASSURANCE", "Assurance", 5),
    ("BASE", "Base", 0),
    ("LIFECYCLE", "Lifecycle", 0),
    ("BASIC", "Basic User", 10),
    ("ENHANCED", "Enhanced User", 0),
    ("ENHANCED_PLUS", "Enhanced Plus User", 0),
    ("ESSENTIAL", "Essential User", 10),
    ("TELEPRESENCE_ROOM", "Telepresence Room", 0),
];

/// The running demo.
pub struct Scene {
    pub plan: Plan,
    pub program: Program,
    pub password: String,
    pub token: String,
    processes: BTreeMap<String, Child>,
}

impl Scene {
    /// # Errors
    /// When this program cannot be found.
    pub fn new(plan: Plan) -> Result<Self> {
        let (password, token) = Default::default();
        Ok(Self { plan, program: Program::this()?, password, token, processes: BTreeMap::new() })
    }

    /// Starts central or a node, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let log = self.plan.dir.join(format!("{name}.log"));
        let child = if name == CENTRAL {
            let (dir, listen) = (path(self.plan.central_dir()), self.plan.central_listen().to_string());
            self.program.start(&["central", "serve", "--dir", &dir, "--listen", &listen], &log)?
        } else {
            let config = path(self.plan.config_file(node(name)?));
            self.program.start(&["node", "--config", &config], &log)?
        };
        self.processes.insert(name.to_owned(), child);
        Ok(())
    }

    /// The names of processes that have ended by themselves since the last look.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn dead(&mut self) -> Result<Vec<String>> {
        let mut dead = Vec::new();
        for (name, child) in &mut self.processes {
            if child.try_wait().context("looking at a process")?.is_some() {
                dead.push(name.clone());
            }
        }
        for name in &dead {
            self.processes.remove(name);
        }
        Ok(dead)
    }

    /// Kills a node's process at once (SIGKILL) and reaps it, or rather its supervisor, which ends with it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        let pid = self.pid(name).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{name} does not run"))?;
        kill_process(pid, Signal::KILL).with_context(|| format!("killing {name}"))?;
        let mut child = self.processes.remove(name).with_context(|| format!("{name} does not run"))?;
        child.wait().await.map(drop).with_context(|| format!("killing {name}"))
    }

    /// Ends all processes and waits until they are gone, so that their ports and folders are free.
    ///
    /// # Errors
    /// When one cannot be ended.
    pub async fn end(&mut self) -> Result<()> {
        for (name, mut child) in std::mem::take(&mut self.processes) {
            let node = child.id().and_then(node_process);
            child.kill().await.with_context(|| format!("ending {name}"))?;
            while node.is_some_and(|pid| !has_ended(pid)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// The process that does the work: a node's own one, not its supervisor.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        let child = self.processes.get(name).and_then(Child::id)?;
        Some(node_process(child).unwrap_or(child))
    }

    #[must_use]
    pub fn process_ids(&self) -> String {
        let ids = self.processes.keys().filter_map(|name| Some(format!("{name} {}", self.pid(name)?)));
        ids.collect::<Vec<_>>().join(", ")
    }

    /// Runs an operator's command on a node.
    ///
    /// # Errors
    /// When it fails.
    pub async fn on(&self, node: &Node, args: &[&str]) -> Result<Value> {
        let socket = path(self.plan.socket(node));
        self.program.json(&[&["--socket", &socket], args].concat()).await
    }

    /// Repeats a command until what it prints satisfies `is`.
    ///
    /// # Errors
    /// When that does not come within [`PATIENCE`].
    pub async fn until(&self, node: &Node, args: &[&str], what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.on(node, args).await;
            match said {
                Ok(value) if is(&value) => return Ok(value),
                Ok(_) if Instant::now() < deadline => {}
                Err(_) if Instant::now() < deadline => {}
                Ok(value) => bail!("{what} did not come within {PATIENCE:?}; last: {value}"),
                Err(error) => return Err(error.context(format!("{what} did not come within {PATIENCE:?}"))),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The name of the active node, by any node that answers.
    ///
    /// # Errors
    /// When there is none within [`PATIENCE`].
    pub async fn active(&self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for node in &NODES {
                let Ok(status) = self.on(node, &["ha", "status"]).await else { continue };
                if let Some(name) = status["vip"]["holder"].as_str() {
                    return Ok(name.to_owned());
                }
            }
            if Instant::now() > deadline {
                bail!("no node became active within {PATIENCE:?}; see the logs in {}", self.plan.dir.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The cluster CA's certificate, which products and browsers trust the ports by.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.plan.dir.join("ca.pem")
    }

    #[must_use]
    pub fn vendor_root(&self) -> PathBuf {
        self.plan.central_dir().join("vendor-root.pem")
    }

    #[must_use]
    pub fn agent_dir(&self, product: usize) -> PathBuf {
        self.plan.dir.join("products").join(PRODUCTS[product].host)
    }

    /// Registers a product and asks for its licenses, as the product itself does.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn bring_in(&self, product: usize) -> Result<()> {
        let Product { host, product_type, licenses } = &PRODUCTS[product];
        let (dir, url) = (path(self.agent_dir(product)), self.plan.product_url());
        let (ca, root) = (path(self.ca_file()), path(self.vendor_root()));
        let serial = format!("DEMO{:04}", product + 1);
        let register = ["agent", "register", "--dir", &dir, "--url", &url, "--ca", &ca, "--root", &root];
        let device = ["--pid", "DEMO-SW", "--sn", &serial, "--host-name", host, "--product-type", product_type];
        self.program.run(&[&register[..], &device, &["--token", &self.token, "--timeout", "60"]].concat()).await?;
        let licenses: Vec<String> = licenses.iter().map(|(tag, count)| format!("{tag}={count}")).collect();
        let mut request = vec!["agent", "request", "--dir", &dir, "--timeout", "60"];
        for license in &licenses {
            request.extend(["--license", license]);
        }
        self.program.run(&request).await.map(drop)
    }

    /// Whether the totals in use are exactly those of the first `products` products.
    ///
    /// # Errors
    /// When they are not; says which.
    pub async fn check_totals(&self, node: &Node, products: usize) -> Result<()> {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for product in &PRODUCTS[..products] {
            for (tag, count) in product.licenses {
                let (_, name, _) = ENTITLEMENTS.iter().find(|e| e.0 == *tag).context("a license not in the catalog")?;
                *expected.entry((*name).to_owned()).or_default() += count;
            }
        }
        let listed = self.on(node, &["license", "list"]).await?;
        let rows = listed.as_array().context("`license list` did not print a list")?;
        let found: BTreeMap<String, u64> = rows
            .iter()
            .filter_map(|row| Some((row["license"].as_str()?.to_owned(), row["in_use"].as_u64()?)))
            .filter(|(_, in_use)| *in_use > 0)
            .collect();
        if found != expected {
            bail!("the totals are wrong: expected {expected:?}, found {found:?}");
        }
        let instances = self.on(node, &["instance", "list"]).await?;
        let count = instances.as_array().map_or(0, Vec::len);
        if count != products {
            bail!("{products} product instances were registered, {count} are listed");
        }
        Ok(())
    }
}

/// # Errors
/// When no node has that name.
pub fn node(name: &str) -> Result<&'static Node> {
    NODES.iter().find(|n| n.name == name).with_context(|| format!("there is no node {name}"))
}

/// Paths of the demo are its own and UTF-8, as is the folder it was given on the command line.
pub fn path(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
