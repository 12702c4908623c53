//! What a client on a host of its own sees of a change of the active node: `cargo bench --bench network`, as root, or with
//! names of parts: `-- crash host`. Nothing here fails for being slow.
//!
//! Parts: `crash` (`kill -9` of the node's process), `dead` (and of its supervisor), `host` (both its links cut), `frozen`
//! (SIGSTOP), `switchover`, `stop` (`ha stop`). `--quick` makes few trials. Each trial is a product that asks for a license in a tight loop through the
//! virtual address and repeats a request without an answer after 15 ms; measured is the longest time without a grant, and
//! how long the kernel of a node that is dead or frozen goes on with the address, which nothing answers behind.

#![allow(clippy::unwrap_used)] // The lab of the tests; a failed trial ends the measurement.
#![allow(dead_code, reason = "the tests use more of their lab")]

#[path = "../../tests/network/cluster.rs"]
mod cluster;
#[path = "../../tests/network/lab.rs"]
mod lab;
#[path = "../cluster/report.rs"]
mod report;

use cluster::{Cluster, PRIMARY, SECONDARY, VIP, until};
use lab::{Net, succeeded};
use report::{Row, Runs, number};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PARTS: [(&str, &str, &str); 6] = [
    ("crash", "kill -9 of the active node's process", "median ≤ 60, max ≤ 300"),
    ("dead", "kill -9 of it and of its supervisor", "max ≤ 1,500"),
    ("host", "the active node's host lost (links cut)", "median ≤ 700, max ≤ 1,200"),
    ("frozen", "the active node's process frozen", "max ≤ 1,500"),
    ("switchover", "ha switchover", "median ≤ 40, max ≤ 150"),
    ("stop", "ha stop on the active node", "median ≤ 40, max ≤ 150"),
];
/// How long a product asks before something happens to the active node, and altogether.
const BEFORE: Duration = Duration::from_millis(800);
const LOAD_SECONDS: &str = "3";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let named: Vec<&String> = args.iter().filter(|arg| *arg != "--quick").collect();
    if let Some(unknown) = named.iter().find(|name| !PARTS.iter().any(|(part, ..)| part == **name)) {
        eprintln!("there is no part {unknown}; parts: {}", PARTS.map(|(part, ..)| part).join(", "));
        std::process::exit(2);
    }
    let trials = if quick { 3 } else { 50 };
    let Some(mut cluster) = Cluster::deployed(VIP) else { return };
    cluster.licensed();
    let (mut rows, mut left, mut granted) = (Vec::new(), Vec::new(), 0);
    let mut errors = BTreeMap::new();
    for (part, what, target) in PARTS {
        if !named.is_empty() && !named.iter().any(|name| *name == part) {
            continue;
        }
        let (mut gaps, mut kept) = (Runs::default(), Runs::default());
        for trial in 0..trials {
            let (report, stays) = one_trial(&mut cluster, part, &format!("{part}-{trial}-"));
            kept.0.extend(stays.map(|time| time.as_secs_f64() * 1e3));
            gaps.0.push(report["longest_gap_ms"].as_f64().unwrap());
            for (error, count) in report["errors"].as_object().unwrap() {
                *errors.entry(format!("{part}: {error}")).or_insert(0) += count.as_u64().unwrap();
            }
            granted += 1;
        }
        eprintln!("{what}: {} ms ({} – {})", number(gaps.median()), number(gaps.min()), number(gaps.max()));
        rows.push(Row { what: what.to_owned(), unit: "ms", runs: gaps, target: Some(target) });
        if !kept.0.is_empty() {
            let what = format!("the same: its kernel goes on with the address ({part})");
            left.push(Row { what, unit: "ms", runs: kept, target: Some("max ≤ 1,100") });
        }
    }
    rows.extend(left);
    report::print("Without a license granted, seen by a product through the virtual address", &rows);
    println!("\nAttempts that were repeated, over all trials:");
    for (error, count) in &errors {
        println!("- {error}: {count}");
    }
    let unanswered: u64 = errors.iter().filter(|(e, _)| e.contains("unanswered")).map(|(_, count)| count).sum();
    println!("\nRequests that repeating did not heal: {unanswered}.");
    let in_use = cluster.in_use(&cluster.active());
    println!("Licenses acknowledged: {granted}; in use on the active node: {in_use}.");
    assert_eq!(granted, in_use, "an acknowledged license is lost");
}

fn one_trial(cluster: &mut Cluster, part: &str, prefix: &str) -> (serde_json::Value, Option<Duration>) {
    cluster.normal();
    let active = cluster.active();
    let other = if active == PRIMARY { SECONDARY } else { PRIMARY };
    let host = cluster.host(&active);
    let args = ["--instances", "1", "--connections", "1", "--request-timeout", "15", "--duration", LOAD_SECONDS];
    let load = cluster.simulate(&[&args[..], &["--serial-prefix", prefix]].concat());
    std::thread::sleep(BEFORE);
    match part {
        "crash" => drop(cluster.crash(&active)),
        "dead" => cluster.kill(&active),
        "host" => {
            for net in [Net::Public, Net::Private] {
                cluster.lab.connect(&host, net, false);
            }
        }
        "frozen" => cluster.freeze(&active, true),
        "switchover" => drop(cluster.run(&active, &["ha", "switchover"])),
        _ => drop(cluster.run(&active, &["ha", "stop", "--yes"])),
    }
    let since = Instant::now();
    let stays = matches!(part, "dead" | "frozen").then(|| {
        // Asked without a pause: the pause would count.
        while host.has(VIP) {}
        since.elapsed()
    });
    let said = succeeded("the load", load.wait_with_output().unwrap());
    until("the other node active", || cluster.active() == other || part == "switchover");
    match part {
        "crash" | "dead" => cluster.start(&active),
        "host" => {
            for net in [Net::Public, Net::Private] {
                cluster.lab.connect(&host, net, true);
            }
        }
        "frozen" => cluster.freeze(&active, false),
        "stop" => drop(cluster.run(&active, &["ha", "start"])),
        _ => {}
    }
    (serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")), stays)
}
