//! Backups: the file travels in the calls, so that it is written and read where the command runs.

use super::{REPLY_BUFFER, Replies, stream_work};
use crate::admin::cluster::Told;
use crate::admin::error::{AdminError, Kind};
use crate::admin::service::{Call, Service};
use crate::admin::status::rfc3339;
use crate::backup::{Backup, BackupError, Manifest, check_passphrase};
use crate::license::{Command, Millis, NewEvent, Severity};
use crate::proto::admin::*;
use axum::body::Bytes;
use futures::{Stream, StreamExt};
use std::io;
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};
use tonic::{Response, Status};
use zeroize::Zeroizing;

/// What is sent of a backup at once, and how much of it may wait for the reader.
const PART_BYTES: usize = 64 << 10;
const WAITING_BYTES: usize = 4 * PART_BYTES;

pub(super) async fn save(
    service: &Service,
    call: &Call,
    passphrase: String,
) -> Result<Response<Replies<SaveBackupReply>>, Status> {
    use save_backup_reply::Part;
    let passphrase = Zeroizing::new(passphrase);
    check_passphrase(&passphrase).map_err(unusable_passphrase)?;
    let backup = service.parts.cluster.backup().await?;
    note(service, call, &backup.manifest).await;
    let manifest = backup.manifest.clone();
    let (input, output) = duplex(WAITING_BYTES);
    let writing = tokio::task::spawn_blocking(move || backup.write(&passphrase, SyncIoBridge::new(output)));
    let (tx, rx) = mpsc::channel(REPLY_BUFFER);
    tokio::spawn(async move {
        let mut parts = ReaderStream::with_capacity(input, PART_BYTES);
        while let Some(part) = parts.next().await {
            let part = part.map(|data| SaveBackupReply { part: Some(Part::Data(data)) });
            if tx.send(part.map_err(|error| Status::internal(error.to_string()))).await.is_err() {
                // The caller has gone; the writer finds its pipe closed.
                return;
            }
        }
        let last = match writing.await {
            Ok(Ok(())) => Ok(SaveBackupReply { part: Some(Part::Manifest(manifest.into())) }),
            Ok(Err(error)) => Err(unusable("the backup cannot be written", &error).into()),
            Err(error) => Err(Status::internal(error.to_string())),
        };
        // The caller may have gone.
        let _ = tx.send(last).await;
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
}

/// The bytes of a backup that is being saved; an error where it cannot be written to its end.
pub fn backup_data(replies: Replies<SaveBackupReply>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    use save_backup_reply::Part;
    replies.filter_map(|reply| {
        let part = match reply.map(|reply| reply.part) {
            Ok(Some(Part::Data(data))) => Some(Ok(data)),
            // What it holds is known: the file says the same.
            Ok(_) => None,
            Err(status) => Some(Err(io::Error::other(status.message().to_owned()))),
        };
        std::future::ready(part)
    })
}

/// What a backup of this moment is called.
#[must_use]
pub fn backup_name(now: Millis) -> String {
    format!("licraft-{}.backup", rfc3339(Millis(now.0 / 1_000 * 1_000)).replace(':', "-"))
}

/// Records who took all keys along. Only the active node can; elsewhere the log has it.
async fn note(service: &Service, call: &Call, manifest: &Manifest) {
    let message = format!("{} saved a backup on {}.", call.caller.actor, manifest.node);
    tracing::info!(actor = call.caller.actor, "a backup is saved");
    if manifest.lag.is_none() {
        let kind = "backup-saved".to_owned();
        let event = NewEvent { severity: Severity::Informational, account: None, kind, message };
        if let Err(error) = service.change(call, Command::NoteEvent { event }).await {
            tracing::warn!(%error, "the event log does not have it that a backup was saved");
        }
    }
}

pub(super) async fn restore(
    service: &Service,
    mut parts: impl Stream<Item = Result<RestoreBackupRequest, Status>> + Send + Unpin + 'static,
) -> Result<Response<Replies<RestoreBackupReply>>, Status> {
    use restore_backup_reply::Part;
    let RestoreOptions { passphrase, replace } = options(parts.next().await)?;
    let passphrase = Zeroizing::new(passphrase);
    let input = SyncIoBridge::new(StreamReader::new(parts.map(data)));
    let backup = tokio::task::spawn_blocking(move || Backup::read(&passphrase, input)).await;
    let backup = backup.map_err(|error| Status::internal(error.to_string()))?;
    let backup = backup.map_err(|error| unusable("the backup cannot be used, and nothing has changed here", &error))?;
    let (cluster, manifest) = (service.parts.cluster.clone(), backup.manifest.clone());
    Ok(stream_work(
        move |progress| async move { cluster.restore(backup, replace, progress).await },
        |told| {
            let (Told::Step(step) | Told::Check(crate::admin::Check { detail: step, .. })) = told;
            RestoreBackupReply { part: Some(Part::Step(step)) }
        },
        |()| Some(RestoreBackupReply { part: Some(Part::Manifest(manifest.into())) }),
    ))
}

impl Service {
    /// Looks through a backup as its parts come, and tells what it holds. One at a time.
    ///
    /// # Errors
    /// When it cannot be used, or another one is looked through.
    pub async fn look_through_backup(
        &self,
        passphrase: Zeroizing<String>,
        parts: impl Stream<Item = io::Result<prost::bytes::Bytes>> + Send + Unpin + 'static,
    ) -> Result<BackupManifest, AdminError> {
        let turn = self.looking.clone().try_acquire_owned().map_err(|_| {
            AdminError::new(Kind::Busy, "another backup is being looked through here").hint("try it again in a moment")
        })?;
        let input = SyncIoBridge::new(StreamReader::new(parts));
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Backup::look_through(&passphrase, input)
        });
        let looked = looked.await.map_err(|error| AdminError::new(Kind::Internal, error.to_string()))?;
        looked.map(Into::into).map_err(|error| unusable("the backup cannot be used", &error))
    }
}

fn options(first: Option<Result<RestoreBackupRequest, Status>>) -> Result<RestoreOptions, Status> {
    match first.transpose()?.and_then(|first| first.part) {
        Some(restore_backup_request::Part::Options(options)) => Ok(options),
        _ => Err(AdminError::new(Kind::Invalid, "the first message must have the options").into()),
    }
}

fn data(part: Result<RestoreBackupRequest, Status>) -> io::Result<prost::bytes::Bytes> {
    match part.map_err(io::Error::other)?.part {
        Some(restore_backup_request::Part::Data(data)) => Ok(data),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a message without data")),
    }
}

fn unusable_passphrase(error: BackupError) -> AdminError {
    AdminError::new(Kind::Invalid, "that is no passphrase for a backup").because(error.to_string())
}

fn unusable(what: &str, error: &BackupError) -> AdminError {
    let hint = match error {
        BackupError::WrongPassphrase => "give the passphrase that it was saved with",
        BackupError::UnknownFormat { .. } => "",
        _ => "look at it with `licraft backup verify`, or take an older one",
    };
    AdminError::new(Kind::Invalid, what).because(error.to_string()).hint(hint)
}

impl From<Manifest> for BackupManifest {
    fn from(manifest: Manifest) -> Self {
        let lag = manifest.lag.map(|lag| BackupLag { entries: lag.entries, silence_ms: lag.silence_ms });
        Self {
            server_uid: manifest.server_uid,
            node: manifest.node,
            version: manifest.version,
            written_ms: manifest.written.0,
            as_of_ms: manifest.as_of.0,
            accounts: manifest.accounts,
            instances: manifest.instances,
            in_use: manifest.in_use,
            users: manifest.users,
            lag,
        }
    }
}
