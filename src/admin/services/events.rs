//! The event log, also as it grows.

use super::Replies;
use crate::admin::error::{AdminError, Kind};
use crate::admin::guard::Route;
use crate::admin::service::Service;
use crate::admin::{find, wire};
use crate::license::{self, AccountId, State};
use crate::proto::admin::{Event, ListEventsRequest, events_server};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// How often a follower looks for news; a look is one atomic load.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// Messages made ahead of a slow reader.
const BUFFER: usize = 256;

#[tonic::async_trait]
impl events_server::Events for Service {
    type ListStream = Replies<Event>;

    async fn list(&self, request: Request<ListEventsRequest>) -> Result<Response<Self::ListStream>, Status> {
        let asked = request.into_inner();
        let state = self.state();
        let account = match asked.account.as_str() {
            "" => None,
            name => Some(find::account(&state, name)?.id),
        };
        let mut after = asked.after;
        if asked.last > 0 {
            after = after.max(before_last(&state, account, asked.last));
        }
        let (tx, rx) = mpsc::channel(BUFFER);
        tokio::spawn(self.clone().send_events(account, after, asked.follow, tx));
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}

impl Service {
    async fn send_events(
        self,
        account: Option<AccountId>,
        mut after: u64,
        follow: bool,
        tx: mpsc::Sender<Result<Event, Status>>,
    ) {
        loop {
            let state = self.state();
            // Copied out, so that no look at the state is held while a slow reader reads.
            let news: Vec<Event> =
                state.events(after).filter(|e| concerns(e, account)).take(BUFFER).map(|e| message(&state, e)).collect();
            let more = news.len() == BUFFER;
            after = news.last().map_or(after.max(state.meta().last_event), |e| e.seq);
            for event in news {
                if tx.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if more {
                continue;
            }
            if !follow {
                return;
            }
            if !matches!(self.parts.forwarder.route(), Route::Here) {
                let moved = AdminError::new(Kind::NotActive, "this node is no longer active").hint("follow again");
                // The reader may have gone.
                let _ = tx.send(Err(moved.into())).await;
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                () = tx.closed() => return,
            }
        }
    }
}

fn concerns(event: &license::Event, account: Option<AccountId>) -> bool {
    account.is_none() || event.account == account
}

/// The sequence number before the newest `count` events.
fn before_last(state: &State, account: Option<AccountId>, count: u64) -> u64 {
    let matching: Vec<u64> = state.events(0).filter(|e| concerns(e, account)).map(|e| e.seq.0).collect();
    let skipped = matching.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    match skipped {
        0 => 0,
        n => matching[n - 1],
    }
}

fn message(state: &State, event: &license::Event) -> Event {
    Event {
        seq: event.seq.0,
        at_ms: event.at.0,
        severity: wire::severity(event.severity).into(),
        account: find::account_name(state, event.account),
        kind: event.kind.clone(),
        actor: event.actor.clone(),
        message: event.message.clone(),
    }
}
