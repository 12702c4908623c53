//! `licraft central`: the vendor's authority.

mod account;
mod audit;
mod issuing;
mod order;
mod print;
mod server;
mod token;
mod user;

use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put};
use crate::central::admin::{AdminReply, AdminRequest, Caller};
use crate::central::document::MAX_DOCUMENT_BYTES;
use crate::central::serve::{self, ServeError};
use crate::central::{CentralError, Keys, Service, StoreError, system_clock};
use clap::Subcommand;
use print::done;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run the vendor's authority: smart accounts, entitlements, and the on-prem servers that synchronize with it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central init --dir /var/lib/central
  licraft central serve --dir /var/lib/central --listen 0.0.0.0:9444 --host central.example.com
  licraft central account create Example --virtual-account Default --dir /var/lib/central
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_BASE --name \"Base License\" --quantity 100 --dir /var/lib/central
  licraft central user create ann --dir /var/lib/central")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Central's folder.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LICRAFT_CENTRAL_DIR",
        default_value = "/var/lib/licraft-central"
    )]
    dir: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(InitArgs),
    Serve(ServeArgs),
    Account(account::Args),
    Entitle(order::EntitleArgs),
    Order(order::Args),
    Server(server::Args),
    Answer(AnswerArgs),
    User(user::Args),
    Token(token::Args),
    Audit(audit::Args),
    IssuingCa(issuing::Args),
}

/// Make the vendor root, the issuing CA and an empty store.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central init --dir /var/lib/central --name \"Example Vendor\"
  licraft central init --dir /var/lib/central --root-key /media/safe/root-key.pem")]
struct InitArgs {
    /// The vendor's name, for the certificates.
    #[arg(long, default_value = "Vendor")]
    name: String,
    /// New file for the vendor root's private key, which central does not need to run. Without: root-key.pem in central's
    /// folder, to be moved away.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
}

/// Answer on-prem servers over HTTPS.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central serve --dir /var/lib/central --listen 0.0.0.0:9444 --host central.example.com")]
struct ServeArgs {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9444")]
    listen: SocketAddr,
    /// A name or address that on-prem servers use for it; may be repeated. Without: the address listened on.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

/// Answer a request file by hand: the same bytes as over HTTPS.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central answer request.json response.json")]
struct AnswerArgs {
    /// The file that the on-prem server exported.
    request: PathBuf,
    /// Where to write the response; must not exist.
    response: PathBuf,
}

pub fn run(args: Args, format: Format) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|e| CliError::failed("the runtime does not start").because(e.to_string()))?;
    runtime.block_on(dispatch(args, format))?;
    Ok(ExitCode::SUCCESS)
}

async fn dispatch(args: Args, format: Format) -> Result<(), CliError> {
    let dir = &args.dir;
    match args.command {
        Command::Init(init) => self::init(dir, &init, format),
        Command::Serve(serve) => self::serve(dir, serve).await,
        Command::Account(args) => account::run(dir, args, format).await,
        Command::Entitle(args) => order::entitle(dir, args, format).await,
        Command::Order(args) => order::run(dir, args, format).await,
        Command::Server(args) => server::run(dir, args, format).await,
        Command::User(args) => user::run(dir, args, format).await,
        Command::Token(args) => token::run(dir, args, format).await,
        Command::Audit(args) => audit::run(dir, args, format).await,
        Command::IssuingCa(args) => issuing::run(dir, args, format).await,
        Command::Answer(args) => answer(dir, &args, format).await,
    }
}

fn init(dir: &Path, args: &InitArgs, format: Format) -> Result<(), CliError> {
    let made = Service::create(dir, &args.name, args.root_key.as_deref(), &caller(), system_clock());
    let service = made.map_err(|e| failed(&e))?;
    let fingerprint = service.keys().fingerprint();
    let (root, key) = (Keys::root_file(dir), args.root_key.clone().unwrap_or_else(|| Keys::root_key_file(dir)));
    if format != Format::Table {
        let path = |p: &Path| cell(p.display().to_string());
        let row = Row::new().with("fingerprint", cell(fingerprint)).with("vendor_root", path(&root));
        print_one(format, &row.with("vendor_root_key", path(&key)));
        return Ok(());
    }
    put(&format!(
        "Vendor root:  {}\nFingerprint:  {fingerprint}\nRoot key:     {}\n\n\
         Give the vendor root's file to on-prem servers and products, and publish its fingerprint.\n\
         Central does not need the root key to run: move it to a safe place off this machine. It is needed again only for \
         `licraft central issuing-ca rollover`.\n",
        root.display(),
        key.display(),
    ));
    Ok(())
}

async fn serve(dir: &Path, args: ServeArgs) -> Result<(), CliError> {
    crate::telemetry::init_logs(crate::telemetry::LogFormat::Text);
    let clock = system_clock();
    let service = Service::open(dir, clock.clone()).map_err(|e| failed(&e))?;
    let fingerprint = service.keys().fingerprint();
    let hosts = if args.hosts.is_empty() { vec![args.listen.ip().to_string()] } else { args.hosts };
    let running = serve::start(service, dir, args.listen, &hosts, clock).await.map_err(serve_failed)?;
    put(&format!("Serving https://{}\nVendor root fingerprint: {fingerprint}\n", running.address));
    let stop = running.stopper();
    let signals = tokio::spawn(async move {
        if let Err(error) = interrupted().await {
            tracing::warn!(%error, "signals cannot be waited for");
            std::future::pending::<()>().await;
        }
        stop.cancel();
    });
    let ended = running.wait().await.map_err(serve_failed);
    signals.abort();
    ended
}

async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

async fn answer(dir: &Path, args: &AnswerArgs, format: Format) -> Result<(), CliError> {
    let io = |what: &str, path: &Path| {
        let what = format!("{what} {}", path.display());
        move |e: std::io::Error| CliError::failed(what).because(e.to_string())
    };
    let mut document = String::new();
    // One more than allowed: central's own check then says what is wrong.
    let file = std::fs::File::open(&args.request).map_err(io("cannot read", &args.request))?;
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    file.take(limit).read_to_string(&mut document).map_err(io("cannot read", &args.request))?;
    let AdminReply::Document(response) = ask(dir, AdminRequest::Answer { document }).await? else {
        return Err(unexpected());
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&args.response);
    let written = file.and_then(|mut file| file.write_all(response.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(io("cannot write", &args.response)).map_err(|e| {
        e.hint("choose a name that is free and run the same command again: the response will be the same")
    })?;
    let sentence = format!("Wrote the response to {}. Import it on the on-prem server.", args.response.display());
    done(format, AdminReply::Done(sentence))
}

/// Carries `request` out on the store, or through the central that holds it.
async fn ask(dir: &Path, request: AdminRequest) -> Result<AdminReply, CliError> {
    match Service::open(dir, system_clock()) {
        Ok(service) => service.admin(&caller(), request).map_err(|e| failed(&e)),
        Err(CentralError::Store(StoreError::Locked(_))) => serve::ask(dir, &request).await.map_err(serve_failed),
        Err(error) => Err(failed(&error)),
    }
}

/// Who runs this command.
fn caller() -> Caller {
    Caller::uid(rustix::process::getuid().as_raw())
}

fn failed(error: &CentralError) -> CliError {
    CliError::failed(error.to_string())
}

fn serve_failed(error: ServeError) -> CliError {
    CliError::failed(error.to_string())
}

fn unexpected() -> CliError {
    CliError::failed("the running central answered something else than was asked").hint("are both of the same version?")
}
