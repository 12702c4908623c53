//! One file a service: requests become commands or queries, records become messages.

mod accounts;
mod admin_identities;
mod alerts;
mod api_clients;
mod audit;
mod backup;
mod certificates;
mod clock;
mod cluster;
mod deletion;
mod diagnostics;
mod doctor;
mod events;
mod instances;
mod licenses;
mod settings;
mod sync;
mod tokens;
mod users;

pub use backup::{backup_data, backup_name};

use super::cluster::{Progress, Told};
use super::error::AdminError;
use futures::Stream;
use std::pin::Pin;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Response, Status};

/// A stream of replies.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Replies waiting for a slow reader.
const REPLY_BUFFER: usize = 64;

/// Runs `work` on a task of its own (a caller who goes away does not break it off half-way) and streams what it tells,
/// then its result.
fn stream_work<T, W, R>(
    work: impl FnOnce(Progress) -> W,
    told: impl Fn(Told) -> T + Send + 'static,
    result: impl FnOnce(R) -> Option<T> + Send + 'static,
) -> Response<Replies<T>>
where
    T: Send + 'static,
    R: Send + 'static,
    W: Future<Output = Result<R, AdminError>> + Send + 'static,
{
    let (progress, listener): (Progress, UnboundedReceiver<Told>) = Progress::channel();
    let work = tokio::spawn(work(progress));
    let (tx, rx) = mpsc::channel(REPLY_BUFFER);
    tokio::spawn(async move {
        let mut steps = UnboundedReceiverStream::new(listener);
        // Ends when the work drops its teller.
        while let Some(step) = steps.next().await {
            if tx.send(Ok(told(step))).await.is_err() {
                return;
            }
        }
        let last = match work.await {
            Ok(Ok(done)) => result(done).map(Ok),
            Ok(Err(error)) => Some(Err(error.into())),
            Err(_) => Some(Err(Status::internal("the work ended unexpectedly; look at the node's log"))),
        };
        if let Some(last) = last {
            // The caller may have gone.
            let _ = tx.send(last).await;
        }
    });
    Response::new(Box::pin(ReceiverStream::new(rx)))
}
