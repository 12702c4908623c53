//! The calling side of `proto/raft.proto`.

use super::config::{MAX_MESSAGE_BYTES, SNAPSHOT_PART_BYTES};
use super::peer::{Append, Appended, Ballot, BallotReply, Connect, Header, Lane, NodeReport, Peer, PeerError};
use super::peer::{SnapshotReader, Transfer, TransferReply};
use super::transport::{Certified, Dialer};
use super::wire;
use crate::pki::tls::NodeTls;
use crate::proto::raft as pb;
use crate::proto::raft::raft_client::RaftClient;
use crate::store::codec;
use crate::store::{NodeInfo, SnapshotMeta, Vote};
use bytes::BytesMut;
use futures::{Stream, StreamExt};
use openraft::base::BoxStream;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{IntoStreamingRequest, Request};

/// An idle or silent connection is probed at this pace, and given up after [`PROBE_TIMEOUT`]: a peer that lost power
/// closes nothing.
const PROBE_EVERY: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// HTTP/2 windows: enough for a full pipeline of appends without waiting for window updates.
const WINDOW_BYTES: u32 = 8 << 20;

/// Makes gRPC peers, one connection for each node and lane.
pub(super) struct GrpcConnect {
    pub tls: NodeTls,
    pub local: Option<IpAddr>,
    /// `to` is filled in for each peer.
    pub identity: Header,
    channels: Mutex<HashMap<(u64, Lane), (String, Channel)>>,
}

impl GrpcConnect {
    pub fn new(tls: NodeTls, local: Option<IpAddr>, identity: Header) -> Self {
        Self { tls, local, identity, channels: Mutex::default() }
    }

    /// Connects when first used, and again whenever the connection is lost.
    fn channel(&self, id: u64, address: &str, lane: Lane) -> Channel {
        let mut channels = self.channels.lock();
        if let Some((known, channel)) = channels.get(&(id, lane))
            && known == address
        {
            return channel.clone();
        }
        let expected = Certified { node: id, cluster: self.identity.cluster.to_string() };
        let (tls, address) = (self.tls.clone(), address.to_owned());
        let dialer = Dialer { tls, local: self.local, expected, address: address.clone(), failed: Arc::default() };
        // The dialer knows the true address; HTTP/2 only needs some authority.
        let channel = Endpoint::from_static("http://licraft.node")
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(dialer);
        channels.insert((id, lane), (address, channel.clone()));
        channel
    }
}

impl Connect for GrpcConnect {
    fn peer(&self, id: u64, node: &NodeInfo, lane: Lane) -> Arc<dyn Peer> {
        let channel = self.channel(id, &node.cluster_address, lane);
        let client = RaftClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Arc::new(GrpcPeer { client, header: Header { to: id, ..self.identity.clone() } })
    }
}

struct GrpcPeer {
    client: RaftClient<Channel>,
    header: Header,
}

impl GrpcPeer {
    fn request<T>(&self, message: T) -> Result<Request<T>, PeerError> {
        let mut request = Request::new(message);
        wire::header_to_metadata(&self.header, request.metadata_mut())?;
        Ok(request)
    }
}

fn answer<T>(result: Result<tonic::Response<T>, tonic::Status>) -> Result<T, PeerError> {
    result.map(tonic::Response::into_inner).map_err(|status| wire::status_to_error(&status))
}

/// Appends as messages. One that cannot be encoded ends the stream; openraft opens it anew and backs off.
struct Encoded(BoxStream<'static, Append>);

impl Stream for Encoded {
    type Item = pb::AppendRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<pb::AppendRequest>> {
        self.0.poll_next_unpin(cx).map(|request| {
            let message = wire::append_to_pb(request?);
            message.inspect_err(|error| tracing::error!(%error, "cannot encode an append")).ok()
        })
    }
}

fn decode(reply: Result<pb::AppendReply, tonic::Status>) -> Result<Appended, PeerError> {
    wire::appended_from_pb(reply.map_err(|status| wire::status_to_error(&status))?)
}

#[async_trait::async_trait]
impl Peer for GrpcPeer {
    async fn append(&self, request: Append) -> Result<Appended, PeerError> {
        let request = self.request(wire::append_to_pb(request)?)?;
        wire::appended_from_pb(answer(self.client.clone().append(request).await)?)
    }

    async fn append_stream(
        &self,
        requests: BoxStream<'static, Append>,
    ) -> Result<BoxStream<'static, Result<Appended, PeerError>>, PeerError> {
        let request = self.request(Encoded(requests))?;
        let replies = answer(self.client.clone().append_stream(request.into_streaming_request()).await)?;
        Ok(Box::pin(replies.map(decode)))
    }

    async fn vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError> {
        let request = self.request(wire::ballot_to_pb(ballot))?;
        wire::ballot_reply_from_pb(answer(self.client.clone().vote(request).await)?)
    }

    async fn pre_vote(&self, ballot: Ballot) -> Result<BallotReply, PeerError> {
        let request = self.request(wire::ballot_to_pb(ballot))?;
        wire::ballot_reply_from_pb(answer(self.client.clone().pre_vote(request).await)?)
    }

    async fn transfer(&self, transfer: Transfer) -> Result<TransferReply, PeerError> {
        let request = self.request(wire::transfer_to_pb(&transfer))?;
        let reply = answer(self.client.clone().transfer_leader(request).await)?;
        Ok(wire::transfer_reply_from_pb(reply, &transfer))
    }

    async fn snapshot(&self, vote: Vote, meta: SnapshotMeta, data: SnapshotReader) -> Result<Vote, PeerError> {
        let meta = codec::encode(&meta).map_err(|e| PeerError::Broken(e.to_string()))?;
        let head = pb::SnapshotHead { vote: Some(vote.into()), meta: meta.into() };
        let request = self.request(snapshot_parts(head, data))?;
        let reply = answer(self.client.clone().install_snapshot(request).await)?;
        Ok(reply.vote.ok_or_else(|| PeerError::Broken("the reply has no vote".to_owned()))?.into())
    }

    async fn report(&self) -> Result<NodeReport, PeerError> {
        let request = self.request(pb::StatusRequest {})?;
        wire::report_from_pb(answer(self.client.clone().status(request).await)?)
    }
}

/// Head, data and tail. When reading fails the stream just ends: without its tail the receiver discards it.
fn snapshot_parts(
    head: pb::SnapshotHead,
    data: SnapshotReader,
) -> impl Stream<Item = pb::SnapshotPart> + Send + 'static {
    use pb::snapshot_part::Part;
    let part = |part| pb::SnapshotPart { part: Some(part) };
    let body = futures::stream::unfold(Some((data, 0u64, 0u32)), move |state| async move {
        let (mut data, length, crc) = state?;
        let mut chunk = BytesMut::with_capacity(SNAPSHOT_PART_BYTES);
        while chunk.len() < SNAPSHOT_PART_BYTES {
            let room = SNAPSHOT_PART_BYTES - chunk.len();
            match (&mut data).take(room as u64).read_buf(&mut chunk).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot read the snapshot being sent");
                    return None;
                }
            }
        }
        if chunk.is_empty() {
            return Some((part(Part::Tail(pb::SnapshotTail { length, crc })), None));
        }
        let (length, crc) = (length + chunk.len() as u64, crc32c::crc32c_append(crc, &chunk));
        Some((part(Part::Data(chunk.freeze())), Some((data, length, crc))))
    });
    futures::stream::once(async move { part(Part::Head(head)) }).chain(body)
}
