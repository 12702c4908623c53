//! Tells open pages when there is something new to show, by server-sent events (HTML Living Standard, 9.2). The page then
//! asks for itself anew: what is shown, and to whom, is decided in one place.

use super::App;
use super::guard;
use super::view::Viewer;
use crate::admin::{ClusterState, Heartbeat, NodeRole, NodeState};
use crate::license::{Millis, State};
use crate::web::form::query;
use axum::Extension;
use axum::extract::State as Of;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::{HeaderMap, StatusCode, Uri};
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// Pages that are told at once; further ones ask by themselves now and then.
pub const MAX_STREAMS: usize = 256;
/// How often a stream looks for news.
const LOOK: Duration = Duration::from_millis(250);
/// Between two events: under load there is always something new.
const SPACING: Duration = Duration::from_secs(1);
/// Without news a page is told after so many seconds, at most: ages and rates are never the same for long.
const MAX_EVERY: u64 = 60;

/// What a page may show: another picture means that it may show something else.
#[derive(PartialEq)]
struct Picture {
    cluster: ClusterState,
    heartbeat: Heartbeat,
    holder: Option<String>,
    verdict: String,
    nodes: Vec<(NodeRole, NodeState)>,
    failed: usize,
    changing_since: Option<Millis>,
    /// When the last work was known to be done.
    work: Option<Instant>,
}

impl Picture {
    async fn of(app: &App) -> Self {
        let status = app.context.cluster.status().await;
        Self {
            cluster: status.cluster,
            heartbeat: status.heartbeat,
            holder: status.vip.holder,
            verdict: status.verdict,
            nodes: status.nodes.iter().map(|node| (node.role, node.state)).collect(),
            failed: status.failed_actions.len(),
            changing_since: status.changing_since,
            work: app.work.lock().as_ref().map(|(at, _)| *at),
        }
    }
}

/// One page that is told.
struct Watch {
    app: Arc<App>,
    headers: HeaderMap,
    every: Duration,
    told: Instant,
    /// Weak, so that it holds no old state, yet no newer one can take its place in memory unnoticed.
    state: Weak<State>,
    picture: Picture,
    _place: OwnedSemaphorePermit,
}

/// The events of one page, which asks for one `every` so many seconds even without news. They end with the session, and
/// when this node serves no more.
pub async fn events(Of(app): Of<Arc<App>>, _: Extension<Viewer>, headers: HeaderMap, uri: Uri) -> Response {
    // No content tells a browser not to ask again (HTML, 9.2.3).
    let Ok(place) = app.streams.clone().try_acquire_owned() else { return StatusCode::NO_CONTENT.into_response() };
    let every = Duration::from_secs(query(&uri, "every").parse().unwrap_or(MAX_EVERY).clamp(1, MAX_EVERY));
    let (state, picture) = (Arc::downgrade(&app.state()), Picture::of(&app).await);
    let watch = Watch { app, headers, every, told: Instant::now(), state, picture, _place: place };
    Sse::new(stream::unfold(watch, |watch| async { watch.next().await.map(|watch| (event(), watch)) })).into_response()
}

fn event() -> Result<Event, Infallible> {
    Ok(Event::default().data("news"))
}

impl Watch {
    /// Returns when the page is to be told; None at the end.
    async fn next(mut self) -> Option<Self> {
        loop {
            tokio::time::sleep(LOOK).await;
            let serves = self.app.context.retired || (self.app.context.serving)();
            if !serves || guard::viewer(&self.app, &self.headers, false).is_none() {
                return None;
            }
            if self.told.elapsed() < SPACING {
                continue;
            }
            let (state, picture) = (Arc::downgrade(&self.app.state()), Picture::of(&self.app).await);
            if self.told.elapsed() >= self.every || !self.state.ptr_eq(&state) || self.picture != picture {
                (self.state, self.picture, self.told) = (state, picture, Instant::now());
                return Some(self);
            }
        }
    }
}
