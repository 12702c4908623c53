//! The proposer alone: two data nodes and a witness, each a process, with real gRPC over mutual TLS and real disks; the
//! callers are in the leader's.

use super::report::{Row, Runs};
use anyhow::{Context, Result, bail};
use licraft::ha::pairing::{node_certificate, node_life};
use licraft::license::*;
use licraft::pki::ca::{Authority, csr};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::pki::seal::Sealer;
use licraft::pki::tls::{Identity, NodeTls};
use licraft::raft::{Ledger, Replica, ReplicaOptions, StoreParts, Transport};
use licraft::store::{BatchAuth, Epoch, NodeInfo, Store, StoreOptions};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const CLUSTER: &str = "bench";
/// Names a child's node id, its part and the common folder.
pub const NODE: &str = "LICRAFT_BENCH_NODE";
/// The third node; the data nodes are 1, 2 and, as a newcomer, 4.
const WITNESS: u64 = 3;
const CALLERS: [usize; 4] = [1, 16, 64, 256];

#[derive(Serialize, Deserialize)]
struct Figure {
    callers: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

struct Auth(Sealer);

impl BatchAuth for Auth {
    fn mac(&self, body: &[u8]) -> [u8; 32] {
        self.0.mac(body)
    }
    fn verify(&self, body: &[u8], mac: &[u8; 32]) -> bool {
        self.0.verify_mac(body, mac)
    }
}

fn now() -> Millis {
    licraft::product::wall_clock()()
}

fn info(id: u64) -> NodeInfo {
    NodeInfo {
        name: format!("node-{id}"),
        public_address: "127.0.0.1".into(),
        cluster_address: format!("127.0.0.1:{}", 24_000 + id),
        witness: id == WITNESS,
    }
}

async fn start(id: u64, dir: &Path) -> Result<Arc<Replica>> {
    let ca_key = Zeroizing::new(std::fs::read(dir.join("ca.key"))?);
    let ca = Authority::from_parts(std::fs::read(dir.join("ca.der"))?, ca_key)?;
    let key = SigningKey::generate(Algorithm::Es256)?;
    let request = csr(&key, &info(id).name)?;
    let hosts = vec!["127.0.0.1".into()];
    let cert = node_certificate(&ca, &request, id, CLUSTER, &info(id).name, hosts, node_life(now(), now()))?;
    let tls = NodeTls::new(ca.cert_der(), &Identity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der()? })?;
    let auth: Option<Arc<dyn BatchAuth>> = match id {
        WITNESS => None,
        _ => Some(Arc::new(Auth(Sealer::load(&dir.join("sealing.key"))?))),
    };
    let options = StoreOptions { auth: auth.clone(), ..StoreOptions::default() };
    let (log, machine, handle) = Store::open(&dir.join(format!("n{id}")), options)?;
    let listener = tokio::net::TcpListener::bind(&info(id).cluster_address).await?;
    let mut options = ReplicaOptions::new(id, CLUSTER.into(), Epoch { counter: 1, id: 1 }, info(id));
    options.auth = auth;
    let transport = Transport::Grpc { listener, tls, local: None };
    Ok(Replica::start_apart(options, StoreParts::new(log, machine, handle), transport).await?)
}

async fn done(ledger: &dyn Ledger, command: Command) -> Result<Outcome> {
    match ledger.propose(0, "bench", command).await? {
        Outcome::Refused(refusal) => bail!("{refusal:?}"),
        outcome => Ok(outcome),
    }
}

/// An account with one license and a token.
async fn seed(ledger: &dyn Ledger) -> Result<()> {
    let administrator = User::new("admin".into(), Role::SystemAdministrator, "-".into(), true);
    done(ledger, Command::Initialize { server_uid: "ab".repeat(16), administrator }).await?;
    let text = |s: &str| s.to_owned();
    let request = Command::RequestAccount {
        name: text("bench"),
        requested_by: text("bench"),
        smart_account: text("s"),
        virtual_account: text("v"),
    };
    let Outcome::Created(id) = done(ledger, request).await? else { bail!("no account") };
    let account = AccountId(id);
    let sealed = || Sealed(vec![1]);
    let keys = AccountKeys {
        ca_csr: vec![1],
        ca_key: sealed(),
        signer_key: sealed(),
        ca_chain: Vec::new(),
        signer_cert: Vec::new(),
    };
    done(ledger, Command::ApproveAccount { account, keys }).await?;
    let term = Term { quantity: 1_000_000, start: Millis(1), end: None, billing: Billing::Prepaid };
    let hot = Entitlement {
        tag: text("HOT"),
        name: text("Hot"),
        export_controlled: false,
        terms: vec![term],
        covered_by: vec![],
    };
    let (ca_chain, signer_cert) = (vec![vec![1]], vec![1]);
    let activate =
        Command::ActivateAccount { account, ca_chain, signer_cert, entitlements: vec![hot], response: [1; 32] };
    done(ledger, activate).await?;
    let va = ledger.state().account(account).context("the account is missing")?.default_va;
    let token = Command::CreateToken {
        va,
        hash: [7; 32],
        sealed: sealed(),
        description: text("bench"),
        expires_days: 30,
        max_uses: 0,
        export_controlled: false,
    };
    done(ledger, token).await?;
    Ok(())
}

/// Registers instance number `n` with its one license in use.
pub async fn register(ledger: &dyn Ledger, n: u64) -> Result<InstanceId> {
    let mut key_hash = [0; 32];
    key_hash[..8].copy_from_slice(&(n + 1).to_le_bytes());
    let certificate = IdCertificate {
        serial: licraft::pki::random::bytes(),
        key_hash,
        not_before: Millis(now().0 - 5 * Millis::MINUTE),
        not_after: now().plus(365 * Millis::DAY),
    };
    let register = Command::Register {
        token_hash: [7; 32],
        udi: Udi { pid: "BENCH".into(), sn: format!("{n}") },
        host_name: Some(format!("bench-{n}.example.net")),
        product_type: "Bench".into(),
        software_version: "1".into(),
        certificate,
        devices: vec![],
    };
    let Outcome::Registered(registered) = done(ledger, register).await? else { bail!("not registered") };
    Ok(registered.instance)
}

/// Each caller changes its instance's count of the one hot license, as fast as it is answered.
async fn load(ledger: Arc<dyn Ledger>, instances: &[InstanceId], time: Duration, number: &AtomicU64) -> Result<Figure> {
    let base = number.fetch_add(1 << 32, Ordering::Relaxed);
    let end = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for instance in instances.iter().copied() {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let mut latencies = hdrhistogram::Histogram::<u64>::new(3)?;
            let mut number = base;
            while Instant::now() < end {
                number += 1;
                let usage = vec![("HOT".to_owned(), 1 + number % 2)];
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&number.to_le_bytes());
                let action = InstanceAction::Authorize { usage };
                let began = Instant::now();
                let command = Command::Numbered { instance, number, digest, action };
                match ledger.propose(0, "bench", command).await? {
                    Outcome::Authorized(_) => latencies.record(began.elapsed().as_micros() as u64)?,
                    other => bail!("{other:?}"),
                }
            }
            Ok(latencies)
        });
    }
    let mut all = hdrhistogram::Histogram::<u64>::new(3)?;
    while let Some(task) = tasks.join_next().await {
        all.add(task??)?;
    }
    Ok(Figure {
        callers: instances.len(),
        per_second: all.len() as f64 / time.as_secs_f64(),
        p50_ms: all.value_at_quantile(0.5) as f64 / 1000.0,
        p99_ms: all.value_at_quantile(0.99) as f64 / 1000.0,
    })
}

/// A child process: one node. The first one leads and drives the load.
pub async fn child(spec: &str) -> Result<()> {
    let mut parts = spec.splitn(3, ' ');
    let mut next = || parts.next().context("a bench child without its arguments");
    let (id, part, dir) = (next()?.parse::<u64>()?, next()?, Path::new(next()?));
    let replica = start(id, dir).await?;
    if id != 1 {
        // Ends with the parent's pipe.
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
        return Ok(());
    }
    replica.membership().initialize(info(1)).await?;
    while replica.guard().serving_until().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for other in [2, 3] {
        add(&replica, other).await?;
    }
    seed(&*replica.ledger()).await?;
    match part.split_once(':').context("no part")? {
        ("load", times) => {
            let (runs, seconds) = times.split_once(':').context("no times")?;
            measure_load(&replica, runs.parse()?, seconds.parse()?).await?;
        }
        (_, instances) => super::newcomer::child(&replica, instances.parse()?).await?,
    }
    let wrong = replica.ledger().state().check();
    if !wrong.is_empty() {
        bail!("the state does not check: {wrong:?}");
    }
    replica.shutdown().await;
    Ok(())
}

/// Makes a running node a voter.
pub async fn add(replica: &Replica, id: u64) -> Result<()> {
    Ok(replica.membership().add_voter(id, info(id), Duration::from_secs(60), |_, _| {}).await?)
}

async fn measure_load(replica: &Replica, runs: usize, seconds: u64) -> Result<()> {
    let ledger = replica.ledger();
    let mut instances = Vec::new();
    for n in 0..*CALLERS.last().unwrap_or(&1) as u64 {
        instances.push(register(&*ledger, n).await?);
    }
    let number = AtomicU64::new(1);
    load(ledger.clone(), &instances[..64], Duration::from_secs(1), &number).await?;
    for _ in 0..runs {
        for callers in CALLERS {
            let time = Duration::from_secs(seconds);
            let figure = load(ledger.clone(), &instances[..callers], time, &number).await?;
            println!("{}", serde_json::to_string(&figure)?);
        }
    }
    Ok(())
}

/// A folder with what all nodes of a cluster share.
pub fn folder() -> Result<tempfile::TempDir> {
    let dir = tempfile::Builder::new().prefix("licraft-bench").tempdir()?;
    let ca = Authority::self_signed("bench", 1, now())?;
    std::fs::write(dir.path().join("ca.der"), ca.cert_der())?;
    std::fs::write(dir.path().join("ca.key"), ca.key_pkcs8())?;
    Sealer::generate().save(&dir.path().join("sealing.key"))?;
    Ok(dir)
}

/// Starts node `id` as a process of its own; it ends when its standard input closes.
pub fn spawn(id: u64, part: &str, dir: &Path, out: Stdio) -> Result<Child> {
    let spec = format!("{id} {part} {}", dir.display());
    Ok(Process::new(std::env::current_exe()?).env(NODE, spec).stdin(Stdio::piped()).stdout(out).spawn()?)
}

/// How the report calls the work of so many callers.
pub fn hot_pool(callers: usize) -> String {
    format!("authorizations, one hot pool, {callers} caller(s)")
}

/// Runs the three processes and gathers the leader's figures.
pub fn measure(runs: usize, time: Duration) -> Result<Vec<Row>> {
    let dir = folder()?;
    let part = format!("load:{runs}:{}", time.as_secs());
    let node = |id, out| spawn(id, &part, dir.path(), out);
    let mut followers = [node(2, Stdio::null())?, node(3, Stdio::null())?];
    let leader = node(1, Stdio::piped())?.wait_with_output()?;
    for follower in &mut followers {
        follower.kill()?;
        follower.wait()?;
    }
    if !leader.status.success() {
        bail!("the leader failed: {}", leader.status);
    }
    let text = String::from_utf8(leader.stdout)?;
    let figures = text.lines().map(serde_json::from_str).collect::<Result<Vec<Figure>, _>>()?;
    let mut rows = Vec::new();
    for callers in CALLERS {
        let of = |pick: fn(&Figure) -> f64| Runs(figures.iter().filter(|f| f.callers == callers).map(pick).collect());
        let what = hot_pool(callers);
        let target = if callers == 64 { Some("≥ 45,000") } else { None };
        rows.push(Row { what: what.clone(), unit: "/s", runs: of(|f| f.per_second), target });
        let target = if callers == 1 { Some("≤ 0.45") } else { None };
        rows.push(Row { what: format!("{what}, p50"), unit: "ms", runs: of(|f| f.p50_ms), target });
        rows.push(Row { what: format!("{what}, p99"), unit: "ms", runs: of(|f| f.p99_ms), target: None });
    }
    Ok(rows)
}
