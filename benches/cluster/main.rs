//! Measurements of the whole: `cargo bench --bench cluster`, or with names of parts: `-- proposer https`.
//!
//! Parts: `disk`, `proposer`, `https`, `failover`, `trap`, `quiet`, `scale`, `licensing`, `postgres`, `etcd`. `--quick` makes
//! few and short runs, to see that it works. Nothing here fails for being slow.

mod disk;
mod etcd;
mod flood;
mod licensing;
mod newcomer;
mod postgres;
mod proposer;
mod report;
mod rest;
mod system;

use anyhow::Result;
use std::time::Duration;

const PARTS: [&str; 10] =
    ["disk", "proposer", "https", "failover", "trap", "quiet", "scale", "licensing", "postgres", "etcd"];

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Ok(spec) = std::env::var(proposer::NODE) {
        return runtime.block_on(proposer::child(&spec));
    }
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = args.iter().any(|a| a == "--quick");
    let parts: Vec<&str> = args.iter().map(String::as_str).filter(|a| *a != "--quick").collect();
    if let Some(unknown) = parts.iter().find(|p| !PARTS.contains(p)) {
        anyhow::bail!("{unknown} is no part; there are {}", PARTS.join(", "));
    }
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let (runs, seconds) = if quick { (1, 2) } else { (5, 5) };
    let time = Duration::from_secs(seconds);

    if wanted("disk") {
        report::print("The disk alone", &disk::measure(runs, time)?);
    }
    let mut ours = Vec::new();
    if wanted("proposer") {
        ours = proposer::measure(runs, time)?;
        report::print("Proposer: two data nodes and a witness, gRPC over mTLS, durable on a quorum", &ours);
    }
    if ["https", "failover", "trap", "quiet", "scale"].iter().any(|p| wanted(p)) {
        whole_system(&wanted, quick, runs, time)?;
    }
    if wanted("licensing") {
        // A system of its own: the parts before leave products behind.
        report::print("Licensing at full size", &licensing::measure(&mut system::System::build()?, quick)?);
    }
    if wanted("postgres") {
        match postgres::measure(runs, time)? {
            Some(rows) => {
                report::print("PostgreSQL at the same work", &rows);
                report::ratios("PostgreSQL", &ours, &rows, &pairs(postgres::hot_pool));
            }
            None => println!("PostgreSQL is not installed (Debian: postgresql): no comparison"),
        }
    }
    if wanted("etcd") {
        match runtime.block_on(etcd::measure(runs, time))? {
            Some(rows) => {
                report::print("etcd at the same work", &rows);
                report::ratios("etcd", &ours, &rows, &pairs(etcd::hot_pool));
            }
            None => println!("etcd is not installed (Debian: etcd-server): no comparison"),
        }
    }
    Ok(())
}

/// The same work on one hot pool, ours and a peer's.
fn pairs(theirs: fn(usize) -> String) -> Vec<report::Pair> {
    [1, 16, 64].map(|n| report::Pair { ours: proposer::hot_pool(n), theirs: theirs(n) }).into()
}

fn whole_system(wanted: &dyn Fn(&str) -> bool, quick: bool, runs: usize, time: Duration) -> Result<()> {
    let mut system = system::System::build()?;
    let kills = if quick { 2 } else { 30 };
    if wanted("https") {
        report::print("Products: HTTPS at the virtual address", &system::https(&system, runs, time)?);
    }
    if wanted("failover") {
        report::print("Failover by time-out", &system::failover(&mut system, kills, false)?);
    }
    if wanted("trap") {
        report::print("Failover when the witness has the longest log", &system::failover(&mut system, kills, true)?);
    }
    if wanted("quiet") {
        let time = Duration::from_secs(if quick { 10 } else { 600 });
        report::print("Stability at full load", &system::quiet(&system, time)?);
    }
    if wanted("scale") {
        let instances = if quick { 2_000 } else { 100_000 };
        report::print("Scale", &system::scale(&mut system, instances)?);
        drop(system);
        report::print("Scale: a newcomer", &newcomer::measure(instances as u64, if quick { 1 } else { 3 })?);
    }
    Ok(())
}
