//! Licensing at its full size: 300,000 product instances in 50 accounts with 2,000 licenses, a real central beside the
//! cluster. Lists in REST, synchronization beside authorizations, memory, restart, all products of a site at once, and a
//! flood of requests that nobody answers for.

use super::flood::Flood;
use super::report::{Row, Runs};
use super::rest::Rest;
use super::system::{self, System};
use anyhow::{Context, Result, bail};
use licraft::central::admin::{AdminRequest, Caller, Entitle};
use licraft::central::document::BillingKind;
use licraft::central::{Service, system_clock};
use serde_json::Value;
use std::time::{Duration, Instant};

const SMART_ACCOUNT: &str = "Scale";
const LICENSES_PER_ACCOUNT: usize = 40;
/// The first account has two thirds of all instances, made in so many runs with other licenses each.
const LARGE_RUNS: usize = 8;

/// How much of everything.
struct Size {
    accounts: usize,
    /// Instances of one run for the large account, and of each other account.
    large: usize,
    small: usize,
    /// Products that come back at once, and the connections on which they do.
    returning: usize,
    connections: usize,
    requests: usize,
    seconds: u64,
}

const FULL: Size = Size {
    accounts: 50,
    large: 25_250,
    small: 2_000,
    returning: 25_000,
    connections: 12_500,
    requests: 200,
    seconds: 5,
};
const QUICK: Size =
    Size { accounts: 3, large: 250, small: 100, returning: 200, connections: 100, requests: 20, seconds: 2 };

fn site(n: usize) -> String {
    format!("site-{n:02}")
}

fn tag(site: usize, n: usize) -> String {
    format!("SITE{site:02}-LICENSE{:02}", n % LICENSES_PER_ACCOUNT)
}

fn one(what: impl Into<String>, unit: &'static str, value: f64, target: Option<&'static str>) -> Row {
    Row { what: what.into(), unit, runs: Runs(vec![value]), target }
}

/// Makes everything, then measures.
pub fn measure(system: &mut System, quick: bool) -> Result<Vec<Row>> {
    let size = if quick { QUICK } else { FULL };
    system.normal()?;
    let mut rows = fill(system, &size)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rest = runtime.block_on(Rest::new(system))?;
    let total = LARGE_RUNS * size.large + (size.accounts - 1) * size.small;
    rows.extend(memory(system, &format!("{total} instances"))?);
    rows.extend(runtime.block_on(rest.lists(size.requests, "alone"))?);
    rows.extend(lists_beside(system, &size, &runtime, &rest)?);
    rows.extend(synchronize(system, &size, &runtime, &rest)?);
    rows.extend(come_back(system, &size, &runtime, &rest)?);
    rows.extend(flooded(system, &size, &runtime)?);
    rows.extend(restart(system)?);
    rows.extend(memory(system, "after the restart")?);
    Ok(rows)
}

/// The vendor's side: a virtual account of 40 licenses for each site, some of them too few.
fn entitle(system: &System, size: &Size) -> Result<()> {
    let service = Service::open(&system.demo().join("central"), system_clock())?;
    let vendor = Caller::operator("benchmark");
    let virtual_accounts = (0..size.accounts).map(site).collect();
    service.admin(&vendor, AdminRequest::CreateAccount { smart_account: SMART_ACCOUNT.into(), virtual_accounts })?;
    for n in 0..size.accounts {
        for license in 0..LICENSES_PER_ACCOUNT {
            let entitle = Entitle {
                smart_account: SMART_ACCOUNT.into(),
                virtual_account: site(n),
                tag: tag(n, license),
                name: format!("Site {n} License {license}"),
                quantity: if license % 5 == 4 { 10 } else { 100_000 },
                term_start: None,
                term_end: None,
                billing: if license % 2 == 0 { BillingKind::Prepaid } else { BillingKind::Usage },
                export_controlled: false,
                covered_by: None,
            };
            service.admin(&vendor, AdminRequest::Entitle(entitle))?;
        }
    }
    Ok(())
}

/// Accounts by the operator's commands, instances by the products' protocol.
fn fill(system: &mut System, size: &Size) -> Result<Vec<Row>> {
    entitle(system, size)?;
    system.start_central()?;
    let began = Instant::now();
    let (mut instances, mut seconds) = (0, 0.0);
    for n in 0..size.accounts {
        let name = site(n);
        let upstream = ["--smart-account", SMART_ACCOUNT, "--virtual-account", &name, "--requested-by", "admin"];
        system.run(&[&["account", "request", &name][..], &upstream].concat())?;
        system.run(&["account", "approve", &name])?;
        let token = token(system, n)?;
        let (runs, each) = if n == 0 { (LARGE_RUNS, size.large) } else { (1, size.small) };
        for run in 0..runs {
            let licenses = [0, 1, 2].map(|more| format!("{}={}", tag(n, n + run * 5 + more), more + 1));
            let (count, prefix) = (each.to_string(), prefix(n, run));
            let args = ["--instances", &count, "--requests", &count, "--serial-prefix", &prefix, "--verify", "0.05"];
            let made = system::report(system.simulate_with(&token, &licenses, &args)?)?;
            instances += each;
            seconds += system::number(&made, "registration_seconds")?;
        }
    }
    eprintln!("made {instances} instances in {} accounts in {:?}", size.accounts, began.elapsed());
    Ok(vec![one(format!("registrations, {instances} instances"), "/s", instances as f64 / seconds, None)])
}

fn prefix(site: usize, run: usize) -> String {
    format!("S{site:02}R{run}-")
}

fn token(system: &System, n: usize) -> Result<String> {
    let made = system.run(&["token", "create", "--account", &site(n), "-o", "json"])?;
    let made: Value = serde_json::from_slice(&made)?;
    let row = made.get(0).unwrap_or(&made);
    Ok(row["token"].as_str().context("token create prints no token")?.to_owned())
}

fn memory(system: &System, when: &str) -> Result<Vec<Row>> {
    let row = |name: &&str| Ok(one(format!("memory of {name} (RSS), {when}"), "MB", system.rss(name)?, Some("≤ 600")));
    ["primary-node", "secondary-node"].iter().map(row).collect()
}

/// Load of the large account at the virtual address, ended by `seconds`.
fn load(system: &System, seconds: u64, prefix: &str) -> Result<std::process::Child> {
    let licenses = [format!("{}=1", tag(0, 0))];
    let (token, seconds) = (token(system, 0)?, seconds.to_string());
    let args = ["--instances", "64", "--duration", &seconds, "--serial-prefix", prefix, "--verify", "0.05"];
    system.simulate_with(&token, &licenses, &args)
}

fn lists_beside(system: &System, size: &Size, runtime: &tokio::runtime::Runtime, rest: &Rest) -> Result<Vec<Row>> {
    // As long as the lists may take: what is left of it is cut.
    let mut load = load(system, 600, "B-")?;
    let rows = runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rest.lists(size.requests / 4, "while authorizations run at full rate").await
    });
    load.kill()?;
    load.wait()?;
    rows
}

/// Granted answers a second while all accounts synchronize, against the time before and after it, within one load.
fn synchronize(system: &System, size: &Size, runtime: &tokio::runtime::Runtime, rest: &Rest) -> Result<Vec<Row>> {
    let (mut took, mut with, mut without, mut share) = <(Runs, Runs, Runs, Runs)>::default();
    let window = Duration::from_secs(size.seconds);
    let mut load = load(system, 600, "Y-")?;
    runtime.block_on(async {
        // Registrations and the first requests are over by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..3 {
            let before = rest.granted_in(tokio::time::sleep(window)).await?.1;
            let began = Instant::now();
            let (done, during) = rest.granted_in(rest.synchronize_all((0..size.accounts).map(site))).await?;
            done?;
            took.0.push(began.elapsed().as_secs_f64());
            let after = rest.granted_in(tokio::time::sleep(window)).await?.1;
            with.0.push(during);
            without.0.extend([before, after]);
            share.0.push(during / f64::midpoint(before, after) * 100.0);
            // Central gives one source ten requests a second after a hundred.
            tokio::time::sleep(window).await;
        }
        anyhow::Ok(())
    })?;
    load.kill()?;
    load.wait()?;
    let row = |what: &str, unit, runs, target| Row { what: what.into(), unit, runs, target };
    Ok(vec![
        row("synchronization of all accounts while authorizations run", "s", took, Some("≤ 30")),
        row("authorizations meanwhile", "/s", with, None),
        row("authorizations before and after", "/s", without, None),
        row("share of the rate kept", "%", share, Some("≥ 80")),
    ])
}

/// A site comes back after an outage: all its products register again at once, from one address.
fn come_back(system: &System, size: &Size, runtime: &tokio::runtime::Runtime, rest: &Rest) -> Result<Vec<Row>> {
    let before = runtime.block_on(rest.instances(&site(0)))?;
    let (count, connections) = (size.returning.to_string(), size.connections.to_string());
    let (token, prefix) = (token(system, 0)?, prefix(0, 0));
    let args = ["--instances", &count, "--connections", &connections, "--requests", "0", "--verify", "0.05"];
    // A product waits longer than a load generator that looks for the gap of a failover.
    let more = ["--serial-prefix", &prefix, "--request-timeout", "30000"];
    let made = system::report(system.simulate_with(&token, &[], &[&args[..], &more].concat())?)?;
    let after = runtime.block_on(rest.instances(&site(0)))?;
    if before != after {
        bail!("{before} instances before the return, {after} after it");
    }
    let seconds = system::number(&made, "registration_seconds")?;
    let later = made["errors"]["too-many-requests"].as_f64().unwrap_or(0.0);
    eprintln!("the return: {}", made["errors"]);
    let what = format!("{} products register again at once on {connections} connections from one address", count);
    Ok(vec![
        one(format!("{what}, until all are in"), "s", seconds, None),
        one("of them lost, or refused for good", "", 0.0, Some("0")),
        one("answers 429 with a time to come back, honoured", "", later, None),
    ])
}

/// Known products with and without a flood of requests that cannot be attributed, and what the flood costs. Making the
/// flood takes these processors, too: what it costs known products is the difference to the same flood at the standby,
/// which answers all of it without looking.
fn flooded(system: &System, size: &Size, runtime: &tokio::runtime::Runtime) -> Result<Vec<Row>> {
    let active = system.active()?;
    let (pid, url) = (system.pid(&active)?, system.product_url());
    let elsewhere = system.standby_url(&active)?;
    let flood = runtime.block_on(Flood::new(system))?;
    let time = Duration::from_secs(size.seconds * 2);
    let idle = system::processor_seconds(pid)?;
    let sent = runtime.block_on(flood.run(&url, time))?;
    let cost = (system::processor_seconds(pid)? - idle) / sent as f64 * 1e6;
    let mut rows = vec![
        one("flood of strangers and bad signatures, 16 sources", "/s", sent as f64 / time.as_secs_f64(), None),
        one("processor time of the active node for each of them", "µs", cost, None),
    ];
    let cases = [("without a flood", None), ("flood at the standby", Some(&elsewhere)), ("flood here", Some(&url))];
    let (mut rates, mut tails) = (<[Runs; 3]>::default(), <[Runs; 3]>::default());
    for run in 0..3 {
        for (n, (_, target)) in cases.iter().enumerate() {
            let known = load(system, size.seconds * 2, &format!("K{run}{n}-"))?;
            if let Some(target) = target {
                runtime.block_on(flood.run(target, time))?;
            }
            let known = system::report(known)?;
            rates[n].0.push(system::number(&known, "requests_per_second")?);
            tails[n].0.push(system::number(&known, "p99_ms")?);
        }
    }
    for ((when, _), (rate, tail)) in cases.iter().zip(rates.into_iter().zip(tails)) {
        let row = |what: String, unit, runs| Row { what, unit, runs, target: None };
        rows.push(row(format!("authorizations of known products, {when}"), "/s", rate));
        rows.push(row(format!("the same, p99, {when}"), "ms", tail));
    }
    Ok(rows)
}

/// All nodes stop; then the cluster is as quick as its slowest start.
fn restart(system: &mut System) -> Result<Vec<Row>> {
    let began = system.restart()?;
    let row = one("restart of all nodes to serving", "ms", began.as_secs_f64() * 1e3, Some("≤ 4,000"));
    system.normal()?;
    Ok(vec![row])
}
