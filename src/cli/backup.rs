//! `licraft backup`.

use super::Context;
use super::error::CliError;
use super::output::{Format, Row, cell, print_one, put, time};
use super::password;
use super::stream;
use super::terminal::{Yes, ask_secret, is_interactive};
use crate::backup::{Backup, BackupError, check_passphrase};
use crate::proto::admin::cluster_client::ClusterClient;
use crate::proto::admin::{
    BackupLag, BackupManifest, RestoreBackupRequest, RestoreOptions, SaveBackupReply, SaveBackupRequest,
    restore_backup_reply, restore_backup_request, save_backup_reply,
};
use clap::Subcommand;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tonic::Streaming;
use zeroize::Zeroizing;

/// What is read of a file at once.
const PART_BYTES: usize = 64 << 10;

/// The whole server in one file: accounts, products, users, certificates and keys, under a passphrase.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft backup save licraft.backup
  licraft backup verify licraft.backup
  licraft backup restore licraft.backup")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Save(SaveArgs),
    Verify(VerifyArgs),
    Restore(RestoreArgs),
}

/// Write a backup of the server as this node has it; the active node lacks nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft backup save licraft.backup
  licraft backup save /srv/backups/licraft-$(date +%F).backup --passphrase-file /etc/licraft/backup.passphrase")]
struct SaveArgs {
    /// A new file.
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFile,
}

/// Read a backup to its end and check all of it; needs no node.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft backup verify licraft.backup
  licraft backup verify licraft.backup --passphrase-file /etc/licraft/backup.passphrase -o json")]
struct VerifyArgs {
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFile,
}

/// Make this node the server that the backup is of, alone and at the addresses of its own node file.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  licraft backup restore licraft.backup
  licraft backup restore licraft.backup --replace --yes --passphrase-file /etc/licraft/backup.passphrase")]
struct RestoreArgs {
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFile,
    /// Set data that is on this node aside instead of refusing.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    yes: Yes,
}

#[derive(clap::Args, Debug)]
struct PassphraseFile {
    /// File with the passphrase, - for standard input. Without it the passphrase is asked for on a terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseFile {
    /// `twice`: a slip would make the file useless.
    fn passphrase(&self, twice: bool) -> Result<Zeroizing<String>, CliError> {
        if let Some(file) = &self.passphrase_file {
            return password::read("passphrase", file);
        }
        if !is_interactive() {
            return Err(
                CliError::usage("there is no terminal to ask for the passphrase").hint("give --passphrase-file FILE")
            );
        }
        let first = ask_secret("Passphrase: ")?;
        if twice && ask_secret("Again: ")? != first {
            return Err(CliError::failed("the two passphrases differ").hint("run it again"));
        }
        Ok(first)
    }
}

pub async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        Verb::Save(args) => save(args, context).await,
        Verb::Verify(args) => verify(&args, context),
        Verb::Restore(args) => restore(args, context).await,
    }
}

async fn save(args: SaveArgs, context: &Context) -> Result<ExitCode, CliError> {
    let file = &args.file;
    if file.exists() {
        return Err(CliError::failed(format!("{} is there already", file.display())).hint("name a new file"));
    }
    let client = context.client().await?;
    let passphrase = args.passphrase.passphrase(true)?;
    check_passphrase(&passphrase)
        .map_err(|e| CliError::usage("that is no passphrase for a backup").because(e.to_string()))?;
    let request = SaveBackupRequest { passphrase: passphrase.to_string() };
    let replies = client.direct(request, |c, r| async move { ClusterClient::new(c).save_backup(r).await }).await?;
    let partial = Partial::create(file)?;
    let manifest = partial.fill(replies).await?;
    partial.keep()?;
    if context.format != Format::Table {
        print_one(context.format, &row(&manifest));
        return Ok(ExitCode::SUCCESS);
    }
    put(&format!("{} holds {}.\n", file.display(), summary(&manifest)));
    put(&said_of_lag(&manifest));
    put(
        "Keep it and its passphrase apart: together they are the server with all its keys. Nobody can open it without.\n",
    );
    Ok(ExitCode::SUCCESS)
}

/// A file that is being written: gone when it does not get whole.
struct Partial<'a> {
    path: &'a Path,
    file: File,
    whole: bool,
}

impl<'a> Partial<'a> {
    fn create(path: &'a Path) -> Result<Self, CliError> {
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Ok(Self { path, file: file.map_err(|e| not_written(path, &e))?, whole: false })
    }

    async fn fill(&self, mut replies: Streaming<SaveBackupReply>) -> Result<BackupManifest, CliError> {
        use save_backup_reply::Part;
        loop {
            match replies.message().await?.and_then(|reply| reply.part) {
                Some(Part::Data(data)) => (&self.file).write_all(&data).map_err(|e| not_written(self.path, &e))?,
                Some(Part::Manifest(manifest)) => return Ok(manifest),
                None => return Err(CliError::failed("the node broke off").hint("run it again; look at the node's log")),
            }
        }
    }

    fn keep(mut self) -> Result<(), CliError> {
        self.file.sync_all().map_err(|e| not_written(self.path, &e))?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.whole
            && let Err(error) = fs::remove_file(self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "an unfinished backup stays");
        }
    }
}

fn not_written(file: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("the backup cannot be written to {}", file.display()))
        .because(error.to_string())
        .hint("name a new file in a folder that you may write to and that has room")
}

fn open(file: &Path) -> Result<File, CliError> {
    File::open(file).map_err(|e| CliError::failed(format!("{} cannot be read", file.display())).because(e.to_string()))
}

fn verify(args: &VerifyArgs, context: &Context) -> Result<ExitCode, CliError> {
    let file = &args.file;
    let input = open(file)?;
    let passphrase = args.passphrase.passphrase(false)?;
    let backup = Backup::read(&passphrase, BufReader::new(input)).map_err(|error| {
        let failed = CliError::failed(format!("{} cannot be used", file.display())).because(error.to_string());
        match error {
            BackupError::WrongPassphrase => failed.hint("give the passphrase that it was saved with"),
            _ => failed.hint("take another backup"),
        }
    })?;
    let manifest = BackupManifest::from(backup.manifest);
    if context.format != Format::Table {
        print_one(context.format, &row(&manifest));
        return Ok(ExitCode::SUCCESS);
    }
    put(&format!("{} is whole. It holds {}.\n", file.display(), summary(&manifest)));
    put(&said_of_lag(&manifest));
    Ok(ExitCode::SUCCESS)
}

async fn restore(args: RestoreArgs, context: &Context) -> Result<ExitCode, CliError> {
    use restore_backup_request::Part;
    let input = open(&args.file)?;
    if args.replace {
        args.yes.confirm("This ends what the node does and sets the data on it aside. Go on?")?;
    }
    let client = context.client().await?;
    let passphrase = args.passphrase.passphrase(false)?.to_string();
    let options = Part::Options(RestoreOptions { passphrase, replace: args.replace });
    let (parts, reading) = parts(input);
    let first = futures::stream::iter([RestoreBackupRequest { part: Some(options) }]);
    let requests = futures::StreamExt::chain(first, parts);
    let replies = client.stream(requests, |c, r| async move { ClusterClient::new(c).restore_backup(r).await }).await;
    // A file that cannot be read is why the node finds it cut short.
    if let Ok(Err(error)) = reading.await {
        return Err(CliError::failed(format!("{} cannot be read", args.file.display())).because(error.to_string()));
    }
    let mut restored = None;
    stream::each(replies?, "restoring", |reply, spinner| match reply.part {
        Some(restore_backup_reply::Part::Step(step)) => context.step(spinner, &step),
        Some(restore_backup_reply::Part::Manifest(manifest)) => restored = Some(manifest),
        None => {}
    })
    .await?;
    let manifest = restored.ok_or_else(|| CliError::failed("the node broke off").hint("look at the node's log"))?;
    if context.format != Format::Table {
        print_one(context.format, &row(&manifest));
        return Ok(ExitCode::SUCCESS);
    }
    put(&format!("This node serves alone, with {}.\n", summary(&manifest)));
    put(&said_of_lag(&manifest));
    put(&format!(
        "Next: see that no node of the original serves any more. Central refuses this copy until the vendor runs\n  \
         licraft central server readopt {}\nand then refuses the original. `licraft ha generate-keys` makes a cluster of it.\n",
        manifest.server_uid
    ));
    Ok(ExitCode::SUCCESS)
}

/// The file as messages, and how reading it ended.
fn parts(
    mut input: File,
) -> (impl futures::Stream<Item = RestoreBackupRequest> + Send + 'static, tokio::task::JoinHandle<io::Result<()>>) {
    let (tx, rx) = tokio::sync::mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || {
        let mut part = vec![0; PART_BYTES];
        loop {
            let data = match io::Read::read(&mut input, &mut part)? {
                0 => return Ok(()),
                some => part[..some].to_vec().into(),
            };
            let message = RestoreBackupRequest { part: Some(restore_backup_request::Part::Data(data)) };
            if tx.blocking_send(message).is_err() {
                // The node has enough: it says why.
                return Ok(());
            }
        }
    });
    (tokio_stream::wrappers::ReceiverStream::new(rx), reading)
}

fn summary(manifest: &BackupManifest) -> String {
    format!(
        "server {} as of {}: {}, {}, {}, {}",
        manifest.server_uid,
        time(manifest.as_of_ms).as_str().unwrap_or("its beginning"),
        count(manifest.accounts, "account"),
        count(manifest.instances, "product instance"),
        count(manifest.in_use, "license") + " in use",
        count(manifest.users, "user"),
    )
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn said_of_lag(manifest: &BackupManifest) -> String {
    match manifest.lag {
        None => String::new(),
        Some(BackupLag { entries: 0, silence_ms: Some(silence) }) => {
            format!(
                "It is of standby {}, which lacked nothing known and heard of the active node {silence} ms before.\n",
                manifest.node
            )
        }
        Some(BackupLag { entries, silence_ms: Some(_) }) => {
            format!("It is of standby {}, which lacked {entries} log entries of the active node.\n", manifest.node)
        }
        Some(BackupLag { silence_ms: None, .. }) => {
            format!("It is of {} while no node was active: what others acknowledged may be missing.\n", manifest.node)
        }
    }
}

fn row(manifest: &BackupManifest) -> Row {
    Row::new()
        .with("server_uid", cell(manifest.server_uid.as_str()))
        .with("as_of", time(manifest.as_of_ms))
        .with("accounts", cell(manifest.accounts))
        .with("instances", cell(manifest.instances))
        .with("in_use", cell(manifest.in_use))
        .with("users", cell(manifest.users))
        .with("node", cell(manifest.node.as_str()))
        .with("version", cell(manifest.version.as_str()))
        .with("written", time(manifest.written_ms))
        .with("lacking_entries", cell(manifest.lag.map_or(0, |lag| lag.entries)))
}
