//! Reads a stream of replies with a spinner turning.

use super::error::CliError;
use super::terminal::Spinner;
use tonic::Streaming;

/// Gives each reply to `take` until the stream ends.
pub async fn each<T>(
    mut replies: Streaming<T>,
    doing: &str,
    mut take: impl FnMut(T, &Spinner),
) -> Result<(), CliError> {
    let spinner = Spinner::new(doing);
    while let Some(reply) = replies.message().await? {
        take(reply, &spinner);
    }
    Ok(())
}
