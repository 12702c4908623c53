//! openraft's network over [`Peer`]s, with the time-outs that openraft leaves to it.

use super::config::{APPEND_STALL, COMMIT_DELAY, SNAPSHOT_TIMEOUT, STANDBY_FRESH, WITNESS_PACE};
use super::core::SnapshotBytes;
use super::peer::{Append, Connect, Lane, Peer, PeerError};
use crate::store::{LogId, NodeInfo, TypeConfig, Vote};
use futures::task::AtomicWaker;
use futures::{Stream, StreamExt};
use openraft::alias::SnapshotOf;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, stream_append_sequential, v2::RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, RPCTypes};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

type C = TypeConfig;

/// Makes the clients that openraft uses.
pub(super) struct Network<S> {
    pub me: u64,
    pub connect: Arc<dyn Connect>,
    pub snapshots: Arc<dyn SnapshotBytes<S>>,
    pub standby: Arc<StandbyProgress>,
}

impl<S: Send + 'static> Network<S> {
    fn client(&self, target: u64, node: &NodeInfo, lane: Lane, streaming: bool) -> Client<S> {
        Client {
            me: self.me,
            target,
            witness: node.witness,
            peer: self.connect.peer(target, node, lane),
            snapshots: self.snapshots.clone(),
            standby: self.standby.clone(),
            streaming,
        }
    }
}

impl<S: Send + 'static> RaftNetworkFactory<C> for Network<S> {
    type Network = Client<S>;

    async fn new_client(&mut self, target: u64, node: &NodeInfo) -> Client<S> {
        self.client(target, node, Lane::Main, true)
    }

    /// One heartbeat is one call: a stream for each would cost more than it carries.
    async fn new_heartbeat_client(&mut self, target: u64, node: &NodeInfo) -> Client<S> {
        self.client(target, node, Lane::Main, false)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &NodeInfo) -> Client<S> {
        self.client(target, node, Lane::Snapshot, false)
    }
}

/// openraft's client to one node.
pub(super) struct Client<S> {
    me: u64,
    target: u64,
    witness: bool,
    peer: Arc<dyn Peer>,
    snapshots: Arc<dyn SnapshotBytes<S>>,
    standby: Arc<StandbyProgress>,
    streaming: bool,
}

impl<S> Client<S> {
    fn error(&self, action: RPCTypes, timeout: Duration, error: PeerError) -> RPCError<C> {
        match error {
            PeerError::Timeout => RPCError::Timeout(Timeout { action, id: self.me, target: self.target, timeout }),
            PeerError::Broken(why) => RPCError::Network(NetworkError::from_string(why)),
            // Both back off: a refusal stays until an operator or a membership change acts.
            PeerError::Unreachable(why) => RPCError::Unreachable(Unreachable::from_string(why)),
            PeerError::Refused(why) => {
                tracing::debug!(target = self.target, %why, "the peer refuses");
                RPCError::Unreachable(Unreachable::from_string(why))
            }
        }
    }

    async fn timed<T>(
        &self,
        action: RPCTypes,
        limit: Duration,
        call: impl Future<Output = Result<T, PeerError>> + Send,
    ) -> Result<T, RPCError<C>> {
        let result = tokio::time::timeout(limit, call).await.unwrap_or(Err(PeerError::Timeout));
        result.map_err(|e| self.error(action, limit, e))
    }
}

impl<S: Send + 'static> RaftNetworkV2<C> for Client<S> {
    type SnapshotData = S;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<C>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        let call = self.peer.append(request);
        self.timed(RPCTypes::AppendEntries, option.hard_ttl(), call).await.map(Into::into)
    }

    fn stream_append<'s, I>(
        &'s mut self,
        input: I,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<C>, RPCError<C>>>, RPCError<C>>>
    where
        I: Stream<Item = AppendEntriesRequest<C>> + OptionalSend + Unpin + 'static,
    {
        if !self.streaming {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let sent = Arc::new(AtomicU64::new(0));
            let counter = sent.clone();
            let paced = Paced::new(input, self.witness.then(|| self.standby.clone()));
            let counted = LazyCommits::new(paced).inspect(move |_: &Append| {
                counter.fetch_add(1, Ordering::Relaxed);
            });
            let (requests, revoke) = Revocable::new(Box::pin(counted));
            let opening = self.peer.append_stream(Box::pin(requests));
            let replies = self.timed(RPCTypes::AppendEntries, APPEND_STALL, opening).await?;
            let client = &*self;
            let watched = watch_stall(replies, sent, APPEND_STALL);
            let replies = watched.map(move |r| {
                let _until_dropped = &revoke;
                if let (false, Ok(Ok(matched))) = (client.witness, &r) {
                    client.standby.acknowledged(*matched);
                }
                r.map_err(|e| client.error(RPCTypes::AppendEntries, APPEND_STALL, e))
            });
            Ok(Box::pin(replies) as BoxStream<'s, _>)
        })
    }

    async fn vote(&mut self, ballot: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        self.timed(RPCTypes::Vote, option.hard_ttl(), self.peer.vote(ballot)).await
    }

    async fn pre_vote(&mut self, ballot: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        self.timed(RPCTypes::Vote, option.hard_ttl(), self.peer.pre_vote(ballot)).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<C, S>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let data = self.snapshots.read(snapshot.snapshot).await.map_err(|e| {
            StreamingError::Network(NetworkError::from_string(format!("cannot read the snapshot: {e}")))
        })?;
        let call = self.peer.snapshot(vote, snapshot.meta, data);
        tokio::select! {
            result = self.timed(RPCTypes::InstallSnapshot, SNAPSHOT_TIMEOUT, call) => {
                Ok(SnapshotResponse::new(result?))
            }
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        self.timed(RPCTypes::TransferLeader, option.hard_ttl(), self.peer.transfer(request)).await
    }
}

/// The newest log id that a data node other than this one acknowledged, and when: whether entries commit without a
/// witness.
#[derive(Default)]
pub(super) struct StandbyProgress(Mutex<Option<(Option<LogId>, Instant)>>);

impl StandbyProgress {
    fn acknowledged(&self, matched: Option<LogId>) {
        *self.0.lock() = Some((matched, Instant::now()));
    }

    /// Whether a data node keeps up, and has all that was sent to the witness before.
    fn leads(&self, witness: Option<LogId>) -> bool {
        self.0.lock().is_some_and(|(matched, at)| at.elapsed() < STANDBY_FRESH && matched >= witness)
    }
}

/// Lets requests to a witness gather for [`WITNESS_PACE`] after each one with entries, while the standby makes entries
/// commit; requests to others pass. openraft makes a request when it is asked for one, of all entries there are.
struct Paced<I> {
    input: I,
    /// None for a target that is no witness.
    standby: Option<Arc<StandbyProgress>>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<I> Paced<I> {
    const fn new(input: I, standby: Option<Arc<StandbyProgress>>) -> Self {
        Self { input, standby, pause: None }
    }
}

impl<I: Stream<Item = Append> + Unpin> Stream for Paced<I> {
    type Item = Append;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Append>> {
        let this = &mut *self;
        if let Some(pause) = &mut this.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let request = std::task::ready!(this.input.poll_next_unpin(cx));
        if let (Some(standby), Some(request)) = (&this.standby, &request)
            && !request.entries.is_empty()
            && standby.leads(request.prev_log_id)
        {
            this.pause = Some(Box::pin(tokio::time::sleep(WITNESS_PACE)));
        }
        Poll::Ready(request)
    }
}

/// Holds back requests that carry nothing but a newer commit index, until one with entries carries it along or
/// [`COMMIT_DELAY`] has passed. openraft makes one after every commit that no new entries follow at once, and under
/// load from few callers they would double the messages.
struct LazyCommits<I> {
    input: futures::stream::Fuse<I>,
    /// The last log id sent on this stream; none before the first request, which may be a probe and never waits.
    sent: Option<Option<LogId>>,
    held: Option<(Append, Pin<Box<tokio::time::Sleep>>)>,
}

impl<I: Stream> LazyCommits<I> {
    fn new(input: I) -> Self {
        Self { input: input.fuse(), sent: None, held: None }
    }
}

impl<I: Stream<Item = Append> + Unpin> Stream for LazyCommits<I> {
    type Item = Append;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Append>> {
        let this = &mut *self;
        loop {
            match this.input.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) if request.entries.is_empty() && this.sent == Some(request.prev_log_id) => {
                    match &mut this.held {
                        Some((held, _)) => *held = request,
                        None => this.held = Some((request, Box::pin(tokio::time::sleep(COMMIT_DELAY)))),
                    }
                }
                Poll::Ready(Some(request)) => {
                    this.held = None;
                    this.sent = Some(request.entries.last().map(|e| e.log_id).or(request.prev_log_id));
                    return Poll::Ready(Some(request));
                }
                Poll::Ready(None) => return Poll::Ready(this.held.take().map(|(held, _)| held)),
                Poll::Pending => {
                    let Some((_, delay)) = &mut this.held else { return Poll::Pending };
                    std::task::ready!(delay.as_mut().poll(cx));
                    return Poll::Ready(this.held.take().map(|(held, _)| held));
                }
            }
        }
    }
}

struct Requests {
    stream: Mutex<Option<BoxStream<'static, Append>>>,
    reader: AtomicWaker,
}

/// The requests of one append stream, taken back when openraft drops the replies. All streams to a node draw from one
/// shared position, so a sender that lingers after its stream was given up would take requests from the next one.
struct Revocable(Arc<Requests>);

/// Takes the requests back when dropped.
struct Revoke(Arc<Requests>);

impl Revocable {
    fn new(stream: BoxStream<'static, Append>) -> (Self, Revoke) {
        let requests = Arc::new(Requests { stream: Mutex::new(Some(stream)), reader: AtomicWaker::new() });
        (Self(requests.clone()), Revoke(requests))
    }
}

impl Stream for Revocable {
    type Item = Append;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Append>> {
        self.0.reader.register(cx.waker());
        self.0.stream.lock().as_mut().map_or(Poll::Ready(None), |stream| stream.poll_next_unpin(cx))
    }
}

impl Drop for Revoke {
    fn drop(&mut self) {
        let stream = self.0.stream.lock().take();
        drop(stream);
        self.0.reader.wake();
    }
}

/// Ends `replies` with a time-out when a request stays unanswered for `limit` to twice `limit`. A stream with nothing
/// to answer may idle for ever.
fn watch_stall<T: Send + 'static>(
    replies: BoxStream<'static, Result<T, PeerError>>,
    sent: Arc<AtomicU64>,
    limit: Duration,
) -> impl Stream<Item = Result<T, PeerError>> + Send {
    futures::stream::unfold(Some((replies, 0)), move |state| {
        let sent = sent.clone();
        async move {
            let (mut replies, answered) = state?;
            loop {
                let before = sent.load(Ordering::Relaxed);
                match tokio::time::timeout(limit, replies.next()).await {
                    Ok(Some(Ok(reply))) => return Some((Ok(reply), Some((replies, answered + 1)))),
                    Ok(Some(Err(error))) => return Some((Err(error), None)),
                    Ok(None) => return None,
                    Err(_) if before > answered => return Some((Err(PeerError::Timeout), None)),
                    Err(_) => {}
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Entry, LeaderId};
    use futures::FutureExt;

    #[tokio::test]
    async fn requests_are_taken_back_with_the_replies() {
        let (mut requests, revoke) = Revocable::new(Box::pin(futures::stream::pending()));
        let lingering = tokio::spawn(async move { requests.next().await.is_none() });
        tokio::task::yield_now().await;
        drop(revoke);
        assert!(lingering.await.unwrap(), "a request went out on a stream that was given up");
    }

    fn request(previous: u64, entries: u64, commit: u64) -> Append {
        let id = |index| LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index };
        let entry = |index| Entry { log_id: id(index), payload: openraft::EntryPayload::Blank };
        Append {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(id(previous)),
            leader_commit: Some(id(commit)),
            entries: (previous + 1..=previous + entries).map(entry).collect(),
        }
    }

    #[tokio::test]
    async fn a_commit_alone_waits_for_entries_but_not_for_long() {
        let (input, requests) = tokio::sync::mpsc::unbounded_channel();
        let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
        let mut lazy = LazyCommits::new(requests);
        let seen = |r: Option<Append>| r.map(|r| (r.entries.len(), r.leader_commit.map_or(0, |id| id.index)));
        // The first request of a stream may be a probe.
        input.send(request(4, 0, 3)).unwrap();
        assert_eq!(lazy.next().now_or_never().map(seen), Some(Some((0, 3))));
        // Entries carry the commit along.
        input.send(request(4, 1, 3)).unwrap();
        assert_eq!(lazy.next().now_or_never().map(seen), Some(Some((1, 3))));
        input.send(request(5, 0, 4)).unwrap();
        input.send(request(5, 0, 5)).unwrap();
        assert_eq!(lazy.next().now_or_never().map(seen), None);
        input.send(request(5, 2, 5)).unwrap();
        assert_eq!(lazy.next().now_or_never().map(seen), Some(Some((2, 5))));
        // Without entries it goes alone, the newest of those held.
        input.send(request(7, 0, 6)).unwrap();
        input.send(request(7, 0, 7)).unwrap();
        assert_eq!(lazy.next().now_or_never().map(seen), None);
        assert_eq!(seen(lazy.next().await), Some((0, 7)));
        // And the last one when the stream ends; asking again is harmless.
        input.send(request(7, 0, 8)).unwrap();
        drop(input);
        assert_eq!(seen(lazy.next().await), Some((0, 8)));
        assert_eq!(seen(lazy.next().await), None);
        assert_eq!(seen(lazy.next().await), None);
    }

    #[tokio::test]
    async fn entries_for_a_witness_gather_only_while_the_standby_keeps_up() {
        let standby = Arc::new(StandbyProgress::default());
        let requests = || futures::stream::iter([request(4, 1, 3), request(5, 1, 4), request(6, 1, 5)]);
        let at_once = |paced: &mut Paced<_>| paced.next().now_or_never().is_some();
        let leader_id = LeaderId { term: 1, node_id: 1 };
        // Nobody has acknowledged anything: the witness is needed.
        let mut paced = Paced::new(requests(), Some(standby.clone()));
        assert_eq!([at_once(&mut paced), at_once(&mut paced), at_once(&mut paced)], [true; 3]);
        // The standby has what the witness has.
        standby.acknowledged(Some(LogId { leader_id, index: 4 }));
        let mut paced = Paced::new(requests(), Some(standby.clone()));
        assert_eq!([at_once(&mut paced), at_once(&mut paced)], [true, false]);
        assert!(paced.next().await.is_some(), "held for good");
        // It lags behind the witness now.
        assert!(at_once(&mut paced));
        // It fell silent.
        standby.acknowledged(Some(LogId { leader_id, index: 9 }));
        tokio::time::sleep(STANDBY_FRESH).await;
        let mut paced = Paced::new(requests(), Some(standby));
        assert_eq!([at_once(&mut paced), at_once(&mut paced)], [true; 2]);
        // A data node waits for nothing.
        let mut paced = Paced::new(requests(), None);
        assert_eq!([at_once(&mut paced), at_once(&mut paced), at_once(&mut paced)], [true; 3]);
    }

    #[tokio::test]
    async fn a_stream_ends_only_when_an_answer_is_due() {
        let sent = Arc::new(AtomicU64::new(0));
        let limit = Duration::from_millis(20);
        let (tx, rx) = tokio::sync::mpsc::unbounded_channel::<Result<u8, PeerError>>();
        let replies = Box::pin(tokio_stream::wrappers::UnboundedReceiverStream::new(rx));
        let mut watched = Box::pin(watch_stall(replies, sent.clone(), limit));
        // Nothing is due: it idles over many limits.
        assert!(tokio::time::timeout(limit * 5, watched.next()).await.is_err());
        sent.store(1, Ordering::Relaxed);
        tx.send(Ok(7)).unwrap();
        assert!(matches!(watched.next().await, Some(Ok(7))));
        sent.store(2, Ordering::Relaxed);
        assert!(matches!(watched.next().await, Some(Err(PeerError::Timeout))));
        assert!(watched.next().await.is_none());
    }
}
