//! PostgreSQL with one synchronous standby, doing the same checkout: bump a pool, upsert an instance, add an event.

use super::report::{Row, Runs};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PORTS: [u16; 2] = [25432, 25433];
const POOLS: u32 = 1000;

/// Where Debian puts the server's programs, when it is installed.
pub fn installed() -> Option<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|e| e.path()).collect();
    versions.sort();
    versions.pop().map(|v| v.join("bin")).filter(|bin| bin.join("pgbench").exists())
}

/// Two servers in a temporary folder, stopped when dropped.
struct Pair {
    bin: PathBuf,
    dir: tempfile::TempDir,
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in ["standby", "primary"] {
            let data = self.dir.path().join(name);
            let _ = as_postgres(&self.bin.join("pg_ctl"))
                .args(["-D", &data.to_string_lossy(), "-m", "immediate", "stop"])
                .output();
        }
    }
}

/// The server refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Pair {
    fn start(bin: PathBuf) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("licraft-bench-pg").tempdir()?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()))?;
        }
        let pair = Self { bin, dir };
        let (primary, standby) = (pair.dir.path().join("primary"), pair.dir.path().join("standby"));
        run(as_postgres(&pair.bin.join("initdb")).args(["-A", "trust", "-D"]).arg(&primary))?;
        pair.start_server(&primary, PORTS[0], "-c synchronous_standby_names=*")?;
        let base = ["-h", "127.0.0.1", "-p", "25432", "-R", "-X", "stream", "-D"];
        run(as_postgres(&pair.bin.join("pg_basebackup")).args(base).arg(&standby))?;
        pair.start_server(&standby, PORTS[1], "")?;
        pair.sql(
            "create table pool (id int primary key, in_use bigint not null);
             create table instance (id bigint primary key, used bigint not null, contact timestamptz not null);
             create table event (seq bigserial primary key, at timestamptz not null, what text not null);",
        )?;
        pair.sql(&format!("insert into pool select i, 0 from generate_series(0, {POOLS}) i"))?;
        Ok(pair)
    }

    fn start_server(&self, data: &Path, port: u16, more: &str) -> Result<()> {
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 {more}"
        );
        let log = data.with_extension("log");
        let mut command = as_postgres(&self.bin.join("pg_ctl"));
        run(command.args(["-w", "-o", &options, "-l"]).arg(log).arg("-D").arg(data).arg("start"))?;
        Ok(())
    }

    fn sql(&self, text: &str) -> Result<String> {
        run(as_postgres(&self.bin.join("psql")).args([
            "-h",
            "127.0.0.1",
            "-p",
            "25432",
            "-qAt",
            "-c",
            text,
            "postgres",
        ]))
    }

    /// Transactions per second and mean latency in ms.
    fn pgbench(&self, pools: u32, clients: usize, time: Duration) -> Result<(f64, f64)> {
        let script = self.dir.path().join("checkout.sql");
        std::fs::write(
            &script,
            format!(
                "\\set p random(0, {})\n\\set i random(1, 100000)\nbegin;\n\
                 update pool set in_use = in_use + 1 where id = :p;\n\
                 insert into instance values (:i, 1, now()) on conflict (id) do update set used = instance.used + 1, contact = now();\n\
                 insert into event (at, what) values (now(), 'checkout');\ncommit;\n",
                pools - 1
            ),
        )?;
        let (clients, seconds) = (clients.to_string(), time.as_secs().to_string());
        let args =
            ["-h", "127.0.0.1", "-p", "25432", "-n", "-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds];
        let said = run(as_postgres(&self.bin.join("pgbench")).args(args).arg("-f").arg(&script).arg("postgres"))?;
        let figure = |start: &str| {
            let line = said.lines().find_map(|l| l.strip_prefix(start)).context("pgbench printed no result")?;
            Ok::<f64, anyhow::Error>(line.split_whitespace().next().unwrap_or_default().parse()?)
        };
        Ok((figure("tps = ")?, figure("latency average = ")?))
    }
}

/// Measures the pair at each number of clients; the last row spreads the load over many pools.
pub fn measure(runs: usize, time: Duration) -> Result<Option<Vec<Row>>> {
    let Some(bin) = installed() else { return Ok(None) };
    let pair = Pair::start(bin)?;
    let state = pair.sql("select sync_state from pg_stat_replication")?;
    if state.trim() != "sync" {
        bail!("the PostgreSQL standby is {state:?}, not sync");
    }
    let mut rows = Vec::new();
    for (pools, clients) in [(1, 1), (1, 16), (1, 64), (POOLS, 64)] {
        let (mut rate, mut latency) = (Runs::default(), Runs::default());
        for _ in 0..runs {
            let (tps, ms) = pair.pgbench(pools, clients, time)?;
            rate.0.push(tps);
            latency.0.push(ms);
        }
        let what = work(pools, clients);
        rows.push(Row { what: what.clone(), unit: "/s", runs: rate, target: None });
        if clients == 1 {
            rows.push(Row { what: format!("{what}, mean latency"), unit: "ms", runs: latency, target: None });
        }
    }
    Ok(Some(rows))
}

fn work(pools: u32, clients: usize) -> String {
    format!("PostgreSQL, synchronous standby, {pools} pool(s), {clients} client(s)")
}

/// How the report calls the work of so many clients on one pool.
pub fn hot_pool(clients: usize) -> String {
    work(1, clients)
}
