//! What all ways into a running central share: the service, its failure, and the limits of a source.

use super::admin::{AdminReply, AdminRequest, Caller};
use super::problem::Problem;
use super::refusal::{CentralError, Refusal};
use super::service::Service;
use crate::product::limiter::Limiter;
use crate::product::listener::Peer;
use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The service with what serves it.
#[derive(Clone)]
pub struct Shared {
    pub service: Arc<Service>,
    pub stop: CancellationToken,
    pub failure: Arc<parking_lot::Mutex<Option<String>>>,
    pub limiter: Arc<Limiter>,
    /// Another issuing CA signs: HTTPS is to show its certificate too.
    pub rolled_over: Arc<Notify>,
}

impl Shared {
    /// Carries out somebody's request.
    pub async fn admin(&self, caller: Caller, request: AdminRequest) -> Result<AdminReply, Problem> {
        let rolls_over = matches!(request, AdminRequest::UseIssuing { .. });
        let reply = self.run(move |service| service.admin(&caller, request)).await?;
        if rolls_over {
            self.rolled_over.notify_one();
        }
        Ok(reply)
    }

    /// Runs `work` where it may block on the disk; a failed store ends central.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T, CentralError> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.service.clone();
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        let error = match done {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(panic) => return Err(Problem::own(format!("the request was not carried out: {panic}"))),
        };
        match error {
            CentralError::Refused(Refusal { reason, message }) => {
                tracing::info!(reason = reason.as_str(), message, "refused");
                Err(Problem::refused(reason, message))
            }
            CentralError::Store(error) => {
                tracing::error!(%error, "the store failed; central stops");
                *self.failure.lock() = Some(error.to_string());
                self.stop.cancel();
                Err(Problem::own("central cannot use its store and stops; try again later".into()))
            }
            CentralError::Pki(error) => {
                tracing::error!(%error, "central cannot sign");
                Err(Problem::own(format!("central cannot sign: {error}")))
            }
        }
    }
}

/// Registrations and synchronizations alike take one attempt of their source, before anything of them is read: a
/// signature costs more than a look at a table, and every accepted document a barrier of the disk.
pub async fn limit(
    State(shared): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match shared.limiter.take(peer.ip(), Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(wait) => Problem::too_many(peer.ip(), wait).into_response(),
    }
}
