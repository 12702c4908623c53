//! The command line: one file a command, over the admin protocol only.

mod account;
mod admin_identity;
mod agent;
mod alert;
mod api_client;
mod audit;
mod audit_file;
mod backup;
mod central;
mod cert;
mod checks;
mod client;
mod clock;
mod completion;
mod demo;
mod doctor;
mod error;
mod event;
mod ha;
mod init;
mod instance;
mod license;
mod links;
mod node;
mod output;
mod password;
mod place;
mod settings;
mod stream;
mod sync;
mod terminal;
mod token;
mod totp;
mod user;
mod version;
mod virtual_account;

use clap::{Parser, Subcommand};
use error::CliError;
use output::{Format, Row, cell, print_one, put};
use std::ffi::OsString;
use std::process::ExitCode;
use terminal::Spinner;

/// An on-premises license manager that stays up.
#[derive(Parser, Debug)]
#[command(name = "licraft", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 the state of the cluster forbids it.

Examples:
  licraft demo
  licraft ha status
  licraft token create --account TEST")]
struct Cli {
    /// How to print data.
    #[arg(short, long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connect: client::Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Node(node::Args),
    Ha(ha::Args),
    Account(account::Args),
    #[command(visible_alias = "va")]
    VirtualAccount(virtual_account::Args),
    Token(token::Args),
    License(license::Args),
    Instance(instance::Args),
    Sync(sync::Args),
    Event(event::Args),
    Alert(alert::Args),
    Settings(settings::Args),
    Cert(cert::Args),
    User(user::Args),
    ApiClient(api_client::Args),
    AdminIdentity(admin_identity::Args),
    Audit(audit::Args),
    Clock(clock::Args),
    Backup(backup::Args),
    Doctor(doctor::Args),
    Central(central::Args),
    Agent(agent::Args),
    #[command(alias = "completions")]
    Completion(completion::Args),
    Version(version::Args),
    #[command(hide = true)]
    Man(completion::ManArgs),
}

/// What every command over the admin protocol needs.
struct Context {
    format: Format,
    connect: client::Connect,
}

impl Context {
    /// The node to ask.
    async fn client(&self) -> Result<client::Client, CliError> {
        self.connect.open().await
    }

    /// A step of long work, for people only.
    fn step(&self, spinner: &Spinner, text: &str) {
        spinner.aside(|| self.say(text));
    }

    /// A sentence for people only.
    fn say(&self, text: &str) {
        if self.format == Format::Table {
            put(&format!("{text}\n"));
        }
    }

    /// A change was made: a sentence for people, the id of what was made for programs (none where nothing was).
    fn done(&self, sentence: &str, id: u64) {
        match self.format {
            Format::Table => put(&format!("{sentence}\n")),
            Format::Plain if id == 0 => {}
            format => {
                let id = if id == 0 { serde_json::Value::Null } else { cell(id) };
                print_one(format, &Row::new().with("id", id));
            }
        }
    }
}

/// Runs the command line `args` (the program's name first) and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match links::expand(args.into_iter().collect()) {
        Ok(args) => args,
        Err(error) => return error.report(),
    };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with 0, errors to standard error with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::USAGE));
        }
    };
    dispatch(cli).unwrap_or_else(|error| error.report())
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    let context = Context { format: cli.output, connect: cli.connect };
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Node(args) => node::run(&args),
        Command::Agent(args) => agent::run(args, context.format),
        Command::Central(args) => central::run(args, context.format),
        Command::Completion(args) => Ok(completion::run(&args)),
        Command::Version(_) => version::run(context.format),
        Command::Man(args) => completion::write_man(&args),
        Command::Init(args) => block_on(init::run(args, &context)),
        Command::Ha(args) => block_on(ha::run(args, &context)),
        Command::Account(args) => block_on(account::run(args, &context)),
        Command::VirtualAccount(args) => block_on(virtual_account::run(args, &context)),
        Command::Token(args) => block_on(token::run(args, &context)),
        Command::License(args) => block_on(license::run(args, &context)),
        Command::Instance(args) => block_on(instance::run(args, &context)),
        Command::Sync(args) => block_on(sync::run(args, &context)),
        Command::Event(args) => block_on(event::run(args, &context)),
        Command::Alert(args) => block_on(alert::run(args, &context)),
        Command::Settings(args) => block_on(settings::run(args, &context)),
        Command::Doctor(args) => block_on(doctor::run(args, &context)),
        Command::Cert(args) => block_on(cert::run(args, &context)),
        Command::User(args) => block_on(user::run(args, &context)),
        Command::ApiClient(args) => block_on(api_client::run(args, &context)),
        Command::AdminIdentity(args) => block_on(admin_identity::run(args, &context)),
        Command::Audit(args) => block_on(audit::run(args, &context)),
        Command::Clock(args) => block_on(clock::run(args, &context)),
        Command::Backup(args) => block_on(backup::run(args, &context)),
    }
}

/// Runs a command that talks to a node.
fn block_on(command: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CliError::failed("the program cannot start").because(e.to_string()))?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_sound() {
        super::Cli::command().debug_assert();
    }
}
