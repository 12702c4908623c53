//! `licraft agent`: a product's side, for products without an agent of their own and for trying a server out.

use super::error::CliError;
use super::output::{Format, Row, cell, print_json, print_list, print_one, put};
use crate::pki::ca::certificates_from_pem;
use crate::product::agent::simulate::{Load, Report};
use crate::product::agent::{
    Agent, AgentError, DeviceMember, LicenseLine, Product, RootPin, Settings, Status, simulate,
};
use crate::product::message::LicenseCount;
use anyhow::Context;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// A product: register, request licenses, renew.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  licraft agent register --dir /var/lib/product --url https://10.0.0.12/SmartTransport \\\n      \
                        --ca server-ca.pem --root vendor-root.pem --token TOKEN --pid ROUTER --sn SN1\n  \
                        licraft agent request --dir /var/lib/product --license PRIME_BASE=1"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make a key, register with a token, keep the ID certificate.
    Register(Box<RegisterArgs>),
    /// Use exactly these licenses from now on; a license that is not named is released.
    Request(RequestArgs),
    /// Show what the server last said; asks no server.
    Status(Connection),
    /// Renew the authorization, or the ID certificate.
    Renew(RenewArgs),
    /// Give licenses back: the named ones, or all.
    Release(ReleaseArgs),
    /// Give up the registration; its licenses are free at once.
    Deregister(Connection),
    /// Keep authorization and certificate fresh until interrupted.
    Run(Connection),
    /// Drive many simulated products against a server and measure it.
    Simulate(SimulateArgs),
}

/// Where the state is, and what may replace what it remembers.
#[derive(clap::Args, Debug)]
struct Connection {
    /// Folder of the product's licensing state: key, certificate, request number.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// URL of the license server; repeat it for several. Remembered.
    #[arg(long, value_name = "URL")]
    url: Vec<Url>,
    /// PEM file of the authority that signed the server's TLS certificate. Remembered.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    root: RootArgs,
    /// HTTP proxy, e.g. http://proxy.example:3128. Remembered.
    #[arg(long, value_name = "URL")]
    proxy: Option<Url>,
    /// Share no host name. Remembered; `--private=false` undoes it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    private: Option<bool>,
    /// How long to go on trying, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
}

/// What answers must lead to. Without either, the root of the first answer is pinned (trust on first use).
#[derive(clap::Args, Debug)]
struct RootArgs {
    /// PEM file of the vendor root that answers must lead to.
    #[arg(long, value_name = "FILE", conflicts_with = "root_fingerprint")]
    root: Option<PathBuf>,
    /// SHA-256 fingerprint of the vendor root.
    #[arg(long, value_name = "HEX")]
    root_fingerprint: Option<String>,
}

#[derive(clap::Args, Debug)]
struct RegisterArgs {
    #[command(flatten)]
    connection: Connection,
    /// Registration token; `-` reads it from standard input, where no other user can see it.
    #[arg(long, env = "LICRAFT_TOKEN", hide_env_values = true)]
    token: String,
    /// Product id of the device.
    #[arg(long)]
    pid: String,
    /// Serial number of the device.
    #[arg(long)]
    sn: String,
    #[arg(long, default_value = "Product")]
    product_type: String,
    #[arg(long, default_value = "1.0")]
    software_version: String,
    /// Host name to share; this machine's unless given.
    #[arg(long)]
    host_name: Option<String>,
    /// Another device of a product that is a cluster itself and registers once for all; repeat it for several.
    #[arg(long = "device", value_name = "PID:SN[=HOST]", value_parser = device)]
    devices: Vec<DeviceMember>,
    /// With a fresh key, as a new instance that replaces whatever this device was.
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args, Debug)]
struct RequestArgs {
    #[command(flatten)]
    connection: Connection,
    /// A license and its count; repeat it for several.
    #[arg(long = "license", value_name = "TAG=COUNT", required = true, value_parser = license_count)]
    licenses: Vec<LicenseCount>,
}

#[derive(clap::Args, Debug)]
struct RenewArgs {
    #[command(flatten)]
    connection: Connection,
    /// Renew the ID certificate instead of the authorization.
    #[arg(long)]
    id: bool,
    /// With a fresh key.
    #[arg(long, requires = "id")]
    new_key: bool,
}

#[derive(clap::Args, Debug)]
struct ReleaseArgs {
    #[command(flatten)]
    connection: Connection,
    /// Entitlement tags to give back; all without any.
    tags: Vec<String>,
}

#[derive(clap::Args, Debug)]
struct SimulateArgs {
    #[arg(long, value_name = "URL")]
    url: Url,
    /// PEM file of the authority that signed the server's TLS certificate.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    #[command(flatten)]
    root: RootArgs,
    /// Registration token with enough uses left.
    #[arg(long, env = "LICRAFT_TOKEN", hide_env_values = true)]
    token: String,
    #[arg(long, default_value_t = 64)]
    instances: usize,
    /// Kept-alive connections; each asks for its share of the instances, one request at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of load after registration.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_if("requests", clap::builder::ArgPredicate::IsPresent, None),
        default_value = "10"
    )]
    duration: Option<f64>,
    /// Stop after so many requests; 0 only registers.
    #[arg(long)]
    requests: Option<u64>,
    #[arg(long = "license", value_name = "TAG=COUNT", value_parser = license_count)]
    licenses: Vec<LicenseCount>,
    /// Share of the answers whose signature is verified, 0 to 1.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    verify: f64,
    /// Milliseconds without an answer after which a request is repeated on a new connection.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    request_timeout: u64,
    /// What serial numbers begin with; random unless given, so that each run is other products.
    #[arg(long)]
    serial_prefix: Option<String>,
}

pub fn run(args: Args, format: Format) -> Result<ExitCode, CliError> {
    // One thread: an agent waits most of the time, and a load generator should not take a second core from the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(dispatch(args.command, format))
}

async fn dispatch(command: Command, format: Format) -> Result<ExitCode, CliError> {
    let agent = match command {
        Command::Register(args) => register(*args).await?,
        Command::Request(args) => {
            let mut agent = open(&args.connection, None)?;
            agent.request(args.licenses).await?;
            agent
        }
        Command::Status(connection) => open(&connection, None)?,
        Command::Renew(args) => {
            let mut agent = open(&args.connection, None)?;
            if args.id {
                agent.renew_id(args.new_key).await?
            } else {
                agent.renew().await?
            }
            agent
        }
        Command::Release(args) => {
            let mut agent = open(&args.connection, None)?;
            agent.release(&args.tags).await?;
            agent
        }
        Command::Deregister(connection) => {
            let mut agent = open(&connection, None)?;
            agent.deregister().await?;
            agent
        }
        Command::Run(connection) => keep_fresh(open(&connection, None)?, format).await?,
        Command::Simulate(args) => return simulate(args, format).await,
    };
    print_status(&agent.status(), format);
    Ok(ExitCode::SUCCESS)
}

fn open(connection: &Connection, product: Option<Product>) -> Result<Agent, CliError> {
    if product.is_none() && !connection.dir.is_dir() {
        let what = format!("{} holds no licensing state", connection.dir.display());
        return Err(CliError::failed(what).hint("register first: `licraft agent register --dir …`"));
    }
    let settings = Settings {
        urls: connection.url.clone(),
        tls_ca_pem: connection.ca.as_deref().map(read_text).transpose()?,
        root: root_pin(&connection.root)?,
        proxy: connection.proxy.clone(),
        private: connection.private,
    };
    let agent = Agent::open(&connection.dir, settings, product)?;
    Ok(agent.with_patience(Duration::from_secs(connection.timeout)))
}

async fn register(args: RegisterArgs) -> Result<Agent, CliError> {
    let token = if args.token == "-" {
        std::io::read_to_string(std::io::stdin()).context("reading the token from standard input")?
    } else {
        args.token
    };
    let product = Product {
        pid: args.pid,
        sn: args.sn,
        product_type: args.product_type,
        software_version: args.software_version,
        host_name: args.host_name.or_else(this_host),
        devices: args.devices,
    };
    let mut agent = open(&args.connection, Some(product))?;
    if args.force {
        agent.register_anew(&token).await?;
    } else {
        agent.register(&token).await?;
    }
    Ok(agent)
}

/// Runs until interrupted; prints the status after every attempt.
async fn keep_fresh(mut agent: Agent, format: Format) -> Result<Agent, CliError> {
    let shutdown = CancellationToken::new();
    let interrupted = shutdown.clone();
    tokio::spawn(async move {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        let terminated = async {
            match &mut terminate {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
        }
        interrupted.cancel();
    });
    let report = |status: &Status, error: Option<&AgentError>| match (format, error) {
        (Format::Json, _) => put(&format!("{}\n", json!({"status": status, "error": error.map(ToString::to_string)}))),
        (_, Some(error)) => {
            let outage = status.outage.as_ref().map(|line| format!("{line}. ")).unwrap_or_default();
            put(&format!("{}; {outage}{error}\n", status.authorization));
        }
        (_, None) => put(&format!("{}\n", status.authorization)),
    };
    agent.run(&shutdown, report).await?;
    Ok(agent)
}

fn print_status(status: &Status, format: Format) {
    if format == Format::Json {
        return print_json(status);
    }
    let optional = |value: &Option<String>| value.as_deref().map_or(json!(null), |v| json!(v));
    let mut row = Row::new()
        .with("licensing_mode", cell(status.licensing_mode.as_str()))
        .with("product_name", cell(status.product_name.as_str()))
        .with("registration", cell(status.registration.as_str()))
        .with("authorization", cell(status.authorization.as_str()))
        .with("smart_account", cell(status.smart_account.as_str()))
        .with("virtual_account", cell(status.virtual_account.as_str()))
        .with("instance_name", cell(status.instance_name.as_str()))
        .with("transport", cell(status.transport.as_str()))
        // So that the heading made of it is "Export-Controlled Functionality".
        .with("export-Controlled_functionality", cell(status.export_controlled_functionality.as_str()))
        .with("next_contact", optional(&status.next_contact))
        .with("expires", optional(&status.expires));
    for (name, value) in [
        ("enforcement_date", &status.enforcement_date),
        ("outage", &status.outage),
        ("pending", &status.pending),
        ("last_failure", &status.last_failure),
    ] {
        if value.is_some() {
            row = row.with(name, optional(value));
        }
    }
    print_one(format, &row);
    let line = |l: &LicenseLine| {
        Row::new()
            .with("license", cell(l.name.as_str()))
            .with("tag", cell(l.tag.as_str()))
            .with("count", cell(l.count))
            .with("status", cell(l.status.as_str()))
    };
    let lines: Vec<Row> = status.licenses.iter().map(line).collect();
    if format == Format::Table {
        put("\n");
    }
    print_list(format, "licenses in use", &lines);
}

async fn simulate(args: SimulateArgs, format: Format) -> Result<ExitCode, CliError> {
    let prefix = args.serial_prefix.unwrap_or_else(|| hex::encode(crate::pki::random::bytes::<4>()) + "-");
    let load = Load {
        tls_ca_pem: read_text(&args.ca)?,
        root: root_pin(&args.root)?,
        url: args.url,
        token: args.token,
        instances: args.instances,
        connections: args.connections,
        licenses: args.licenses,
        duration: args.duration.map(Duration::try_from_secs_f64).transpose().context("reading --duration")?,
        requests: args.requests,
        verify: args.verify,
        timeout: Duration::from_millis(args.request_timeout),
        prefix,
    };
    print_report(&simulate::run(load).await?, format);
    Ok(ExitCode::SUCCESS)
}

fn print_report(report: &Report, format: Format) {
    if format == Format::Json {
        return print_json(report);
    }
    let errors: Vec<String> = report.errors.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    let fixed = |value: f64, digits: usize| cell(format!("{value:.digits$}"));
    let row = Row::new()
        .with("instances", cell(report.instances))
        .with("connections", cell(report.connections))
        .with("registrations_per_second", fixed(report.registrations_per_second, 0))
        .with("seconds", fixed(report.seconds, 1))
        .with("requests", cell(report.requests))
        .with("requests_per_second", fixed(report.requests_per_second, 0))
        .with("p50_ms", fixed(report.p50_ms, 2))
        .with("p99_ms", fixed(report.p99_ms, 2))
        .with("p999_ms", fixed(report.p999_ms, 2))
        .with("max_ms", fixed(report.max_ms, 2))
        .with("longest_gap_ms", fixed(report.longest_gap_ms, 2))
        .with("verified", cell(report.verified))
        .with("errors", cell(errors.join(", ")))
        .with("signing", cell(report.signing.as_str()));
    print_one(format, &row);
}

fn root_pin(args: &RootArgs) -> Result<Option<RootPin>, CliError> {
    if let Some(text) = &args.root_fingerprint {
        return Ok(Some(RootPin::from_fingerprint(text)?));
    }
    let Some(file) = &args.root else { return Ok(None) };
    let certificates = certificates_from_pem(read_text(file)?.as_bytes());
    let certificates = certificates.with_context(|| format!("reading {}", file.display()))?;
    // A file of a chain ends with its root.
    Ok(certificates.into_iter().next_back().map(RootPin::Certificate))
}

fn read_text(file: impl AsRef<std::path::Path>) -> Result<String, CliError> {
    let file = file.as_ref();
    Ok(std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?)
}

fn this_host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    Some(name).filter(|n| !n.is_empty())
}

fn license_count(text: &str) -> Result<LicenseCount, String> {
    let (tag, count) = text.rsplit_once('=').ok_or("expected TAG=COUNT, e.g. PRIME_BASE=1")?;
    let count = count.parse().map_err(|_| format!("{count:?} is not a count"))?;
    Ok(LicenseCount { tag: tag.to_owned(), count })
}

fn device(text: &str) -> Result<DeviceMember, String> {
    let (udi, host_name) = match text.split_once('=') {
        Some((udi, host)) => (udi, Some(host.to_owned())),
        None => (text, None),
    };
    let (pid, sn) = udi.rsplit_once(':').ok_or("expected PID:SN or PID:SN=HOST, e.g. ROUTER:SN2=router-2")?;
    Ok(DeviceMember { pid: pid.to_owned(), sn: sn.to_owned(), host_name })
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=1.0).contains(s)).ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

impl From<AgentError> for CliError {
    fn from(error: AgentError) -> Self {
        let hint = match &error {
            AgentError::Unreachable { .. } => {
                "the last authorization stays in force; look at the server, then repeat this"
            }
            AgentError::Untrusted(_) => "check --root or --root-fingerprint and this product's clock",
            AgentError::Refused { code, .. }
            | AgentError::Unsigned(crate::product::Problem { code: std::borrow::Cow::Owned(code), .. })
                if code == "instance-unknown" || code == "wrong-key" || code == "certificate-expired" =>
            {
                "register again with a token: `licraft agent register`"
            }
            _ => "",
        };
        Self::failed("the license request failed").because(error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn licenses_are_tag_and_count() {
        assert_eq!(license_count("a=b=3").unwrap(), LicenseCount { tag: "a=b".into(), count: 3 });
        license_count("a").unwrap_err();
        license_count("a=-1").unwrap_err();
    }

    #[test]
    fn devices_are_identities_with_or_without_a_host_name() {
        let device = |text| super::device(text).map(|d| (d.pid, d.sn, d.host_name));
        assert_eq!(device("A:B").unwrap(), ("A".into(), "B".into(), None));
        assert_eq!(device("A:B:C=h").unwrap(), ("A:B".into(), "C".into(), Some("h".into())));
        device("A").unwrap_err();
    }

    #[test]
    fn a_number_of_requests_ends_a_load_without_a_duration() {
        let parse = |more: &[&str]| {
            let common = ["x", "simulate", "--url", "https://h/", "--ca", "f", "--token", "t"];
            let cli = Cli::try_parse_from(common.iter().chain(more)).unwrap();
            let Command::Simulate(args) = cli.args.command else { panic!("simulate") };
            (args.duration, args.requests)
        };
        assert_eq!(parse(&[]), (Some(10.0), None));
        assert_eq!(parse(&["--requests", "5"]), (None, Some(5)));
        assert_eq!(parse(&["--requests", "5", "--duration", "2"]), (Some(2.0), Some(5)));
    }

    #[test]
    fn private_can_be_said_and_unsaid() {
        let parse = |more: &[&str]| {
            let cli = Cli::try_parse_from(["x", "status", "--dir", "d"].iter().chain(more)).unwrap();
            let Command::Status(connection) = cli.args.command else { panic!("status") };
            connection.private
        };
        assert_eq!((parse(&[]), parse(&["--private"]), parse(&["--private=false"])), (None, Some(true), Some(false)));
    }
}
