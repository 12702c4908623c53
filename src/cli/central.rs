//! `licraft central`: the vendor's authority.

mod print;

use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put};
use crate::central::admin::{AdminReply, AdminRequest, Entitle};
use crate::central::document::{BillingKind, MAX_DOCUMENT_BYTES};
use crate::central::serve::{self, ServeError};
use crate::central::{CentralError, Keys, Service, StoreError, system_clock};
use crate::license::Millis;
use clap::{Subcommand, ValueEnum};
use print::{done, list};
use std::io::{IsTerminal, Read, Write};
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
      --license LIC_BASE --name \"Base License\" --quantity 100 --dir /var/lib/central")]
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
    /// Keep smart accounts and their virtual accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    Entitle(EntitleArgs),
    /// Keep the on-prem servers.
    #[command(subcommand)]
    Server(ServerCommand),
    Answer(AnswerArgs),
}

/// Make the vendor root, the issuing CA and an empty store.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  licraft central init --dir /var/lib/central --name \"Example Vendor\"")]
struct InitArgs {
    /// The vendor's name, for the certificates.
    #[arg(long, default_value = "Vendor")]
    name: String,
}

/// Answer on-prem servers over HTTPS.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  licraft central serve --dir /var/lib/central --listen 0.0.0.0:9444 --host central.example.com")]
struct ServeArgs {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9444")]
    listen: SocketAddr,
    /// A name or address that on-prem servers use for it; may be repeated. Without: the address listened on.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

#[derive(Subcommand, Debug)]
enum AccountCommand {
    /// Make a smart account, or further virtual accounts in it.
    #[command(after_help = "Example:
  licraft central account create Example --virtual-account Default --virtual-account Lab")]
    Create {
        /// Name of the smart account.
        smart_account: String,
        /// A virtual account to make in it; may be repeated.
        #[arg(long = "virtual-account", value_name = "NAME")]
        virtual_accounts: Vec<String>,
    },
    /// List smart accounts, virtual accounts and what they purchased.
    #[command(after_help = "Example:
  licraft central account list -o json")]
    List,
}

/// Set what a virtual account purchased of a license.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_BASE --name \"Base License\" --quantity 100 --term-end 2028-12-31
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_LAB --name \"Lab License\" --quantity 0
  licraft central entitle --smart-account Example --virtual-account Default \\
      --license LIC_BASE --name \"Base License\" --quantity 100 --covered-by LIC_PREMIUM

A quantity replaces that of the term with the same billing and end; 0 leaves the catalog entry only.")]
struct EntitleArgs {
    #[arg(long, value_name = "NAME")]
    smart_account: String,
    #[arg(long, value_name = "NAME")]
    virtual_account: String,
    /// Entitlement tag that products ask for.
    #[arg(long, value_name = "TAG")]
    license: String,
    /// What people read.
    #[arg(long)]
    name: String,
    #[arg(long, value_name = "N")]
    quantity: u64,
    /// First day it counts (YYYY-MM-DD, UTC). Without: now.
    #[arg(long, value_name = "DATE", value_parser = first_moment)]
    term_start: Option<Millis>,
    /// Last day it counts (YYYY-MM-DD, UTC). Without: it is perpetual.
    #[arg(long, value_name = "DATE", value_parser = last_moment)]
    term_end: Option<Millis>,
    #[arg(long, value_enum, default_value_t = BillingArg::Prepaid)]
    billing: BillingArg,
    /// Spare ones of this license cover what lacks of it; may be repeated, the preferred first. Without: as it is.
    #[arg(long, value_name = "TAG")]
    covered_by: Vec<String>,
    /// Nothing covers it any more.
    #[arg(long, conflicts_with = "covered_by")]
    no_cover: bool,
    /// The license may only go to tokens that allow export-controlled functionality.
    #[arg(long)]
    export_controlled: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BillingArg {
    Prepaid,
    Usage,
}

#[derive(Subcommand, Debug)]
enum ServerCommand {
    /// List on-prem servers and their accounts.
    #[command(after_help = "Example:
  licraft central server list")]
    List,
    /// Let the copy of a server that was refused last speak for it; every other copy is refused from then on.
    #[command(after_help = "Example:
  licraft central server readopt 6f1c…")]
    Readopt {
        /// Server uid, see `server list`.
        server: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Refuse a server from now on.
    #[command(after_help = "Example:
  licraft central server revoke 6f1c…")]
    Revoke {
        server: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Forget an account that was deleted on its server, so that its virtual account is free again.
    #[command(after_help = "Example:
  licraft central server release 6f1c… --account TEST")]
    Release {
        server: String,
        /// The account's name on the server.
        #[arg(long, value_name = "NAME")]
        account: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what happened: registrations, refused copies, what operators did.
    #[command(after_help = "Example:
  licraft central server events")]
    Events,
}

/// Answer a request file by hand: the same bytes as over HTTPS.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
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
        Command::Account(AccountCommand::Create { smart_account, virtual_accounts }) => {
            done(format, ask(dir, AdminRequest::CreateAccount { smart_account, virtual_accounts }).await?)
        }
        Command::Account(AccountCommand::List) => list(format, ask(dir, AdminRequest::ListAccounts).await?),
        Command::Entitle(args) => done(format, ask(dir, AdminRequest::Entitle(args.into())).await?),
        Command::Server(command) => server(dir, command, format).await,
        Command::Answer(args) => answer(dir, &args, format).await,
    }
}

fn init(dir: &Path, args: &InitArgs, format: Format) -> Result<(), CliError> {
    let service = Service::create(dir, &args.name, system_clock()).map_err(|e| failed(&e))?;
    let fingerprint = service.keys().fingerprint();
    let (root, key) = (Keys::root_file(dir), Keys::root_key_file(dir));
    if format != Format::Table {
        let path = |p: &Path| cell(p.display().to_string());
        let row = Row::new().with("fingerprint", cell(fingerprint)).with("vendor_root", path(&root));
        print_one(format, &row.with("vendor_root_key", path(&key)));
        return Ok(());
    }
    put(&format!(
        "Vendor root:  {}\nFingerprint:  {fingerprint}\nRoot key:     {}\n\n\
         Give the vendor root's file to on-prem servers and products, and publish its fingerprint.\n\
         Central does not need the root key to run: move it to a safe place off this machine.\n",
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

async fn server(dir: &Path, command: ServerCommand, format: Format) -> Result<(), CliError> {
    match command {
        ServerCommand::List => list(format, ask(dir, AdminRequest::ListServers).await?),
        ServerCommand::Events => list(format, ask(dir, AdminRequest::Events).await?),
        ServerCommand::Readopt { server, yes } => {
            confirm(yes, &format!("Let the refused copy of server {server} speak for it, and refuse the other?"))?;
            done(format, ask(dir, AdminRequest::Readopt { server }).await?)
        }
        ServerCommand::Revoke { server, yes } => {
            confirm(yes, &format!("Refuse server {server} from now on?"))?;
            done(format, ask(dir, AdminRequest::Revoke { server }).await?)
        }
        ServerCommand::Release { server, account, yes } => {
            confirm(yes, &format!("Forget account {account} of server {server}?"))?;
            done(format, ask(dir, AdminRequest::Release { server, account }).await?)
        }
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
        Ok(service) => service.admin(request).map_err(|e| failed(&e)),
        Err(CentralError::Store(StoreError::Locked(_))) => serve::ask(dir, &request).await.map_err(serve_failed),
        Err(error) => Err(failed(&error)),
    }
}

impl From<EntitleArgs> for Entitle {
    fn from(args: EntitleArgs) -> Self {
        Self {
            smart_account: args.smart_account,
            virtual_account: args.virtual_account,
            tag: args.license,
            name: args.name,
            quantity: args.quantity,
            term_start: args.term_start,
            term_end: args.term_end,
            billing: match args.billing {
                BillingArg::Prepaid => BillingKind::Prepaid,
                BillingArg::Usage => BillingKind::Usage,
            },
            export_controlled: args.export_controlled,
            covered_by: match args.no_cover {
                true => Some(Vec::new()),
                false => Some(args.covered_by).filter(|tags| !tags.is_empty()),
            },
        }
    }
}

fn first_moment(date: &str) -> Result<Millis, String> {
    day(date, 0)
}

/// The end of the day is the beginning of the next one.
fn last_moment(date: &str) -> Result<Millis, String> {
    day(date, 1)
}

fn day(date: &str, plus_days: i64) -> Result<Millis, String> {
    let date: jiff::civil::Date = date.parse().map_err(|_| "expected a date like 2028-12-31".to_owned())?;
    let moment = date
        .checked_add(jiff::Span::new().days(plus_days))
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|e| e.to_string())?;
    let ms = moment.timestamp().as_millisecond();
    u64::try_from(ms).map(Millis).map_err(|_| "expected a date after 1970".to_owned())
}

/// Asks on a terminal; elsewhere `--yes` must have been given.
fn confirm(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("this needs a confirmation")
            .because("there is no terminal to ask on")
            .hint("add --yes"));
    }
    put(&format!("{question} Enter 'yes' to continue: "));
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    match read {
        Ok(_) if line.trim() == "yes" => Ok(()),
        _ => Err(CliError::failed("nothing was changed").because("the answer was not 'yes'")),
    }
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
