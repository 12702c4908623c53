//! The called side of `proto/raft.proto`.

use super::config::MAX_MESSAGE_BYTES;
use super::inbound::Inbound;
use super::peer::{PeerError, Refusal, SnapshotReader};
use super::transport::{Certified, accept};
use super::wire;
use crate::pki::tls::NodeTls;
use crate::proto::raft as pb;
use crate::proto::raft::raft_server::{Raft, RaftServer};
use crate::store::codec;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::base::BoxStream;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Streams of one connection: a peer uses a few; more are a mistake.
const MAX_STREAMS: u32 = 64;
/// HTTP/2 windows, as on the calling side.
const WINDOW_BYTES: u32 = 8 << 20;

struct Service {
    inbound: Arc<Inbound>,
}

impl Service {
    /// Who calls, once all that a call says about itself is right.
    fn caller<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        self.check(request).map_err(wire::error_to_status)
    }

    fn check<T>(&self, request: &Request<T>) -> Result<u64, PeerError> {
        let header = wire::header_from_metadata(request.metadata())?;
        let certified = request.extensions().get::<Certified>();
        let certified = certified.ok_or_else(|| Refusal::Malformed("no certificate".to_owned()))?;
        if certified.node != header.from {
            return Err(Refusal::Impostor { certified: certified.node, named: header.from }.into());
        }
        if *certified.cluster != *header.cluster {
            let (theirs, ours) = (certified.cluster.clone(), header.cluster.to_string());
            return Err(Refusal::Cluster { theirs, ours }.into());
        }
        self.inbound.check(&header)?;
        Ok(header.from)
    }
}

#[tonic::async_trait]
impl Raft for Service {
    type AppendStreamStream = BoxStream<'static, Result<pb::AppendReply, Status>>;

    async fn append_stream(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let from = self.caller(&request)?;
        let requests = request.into_inner().map(|message| match message {
            Ok(message) => wire::append_from_pb(message),
            Err(status) => Err(PeerError::Broken(status.message().to_owned())),
        });
        let replies = self.inbound.append_stream(from, Box::pin(requests));
        Ok(Response::new(Box::pin(replies.map(|r| r.map(wire::appended_to_pb).map_err(wire::error_to_status)))))
    }

    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendReply>, Status> {
        let from = self.caller(&request)?;
        let append = wire::append_from_pb(request.into_inner()).map_err(wire::error_to_status)?;
        let appended = self.inbound.append(from, append).await.map_err(wire::error_to_status)?;
        Ok(Response::new(wire::appended_to_pb(appended)))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let from = self.caller(&request)?;
        let ballot = wire::ballot_from_pb(request.into_inner()).map_err(wire::error_to_status)?;
        let reply = self.inbound.vote(from, ballot).await.map_err(wire::error_to_status)?;
        Ok(Response::new(wire::ballot_reply_to_pb(reply)))
    }

    async fn pre_vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let from = self.caller(&request)?;
        let ballot = wire::ballot_from_pb(request.into_inner()).map_err(wire::error_to_status)?;
        let reply = self.inbound.pre_vote(from, ballot).await.map_err(wire::error_to_status)?;
        Ok(Response::new(wire::ballot_reply_to_pb(reply)))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferReply>, Status> {
        let from = self.caller(&request)?;
        let transfer = wire::transfer_from_pb(request.into_inner()).map_err(wire::error_to_status)?;
        let reply = self.inbound.transfer(from, transfer).await.map_err(wire::error_to_status)?;
        Ok(Response::new(wire::transfer_reply_to_pb(reply)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotPart>>,
    ) -> Result<Response<pb::SnapshotReply>, Status> {
        let from = self.caller(&request)?;
        let mut parts = request.into_inner();
        let head = match parts.message().await?.and_then(|p| p.part) {
            Some(pb::snapshot_part::Part::Head(head)) => head,
            _ => return Err(Status::invalid_argument("a snapshot starts with its head")),
        };
        let vote = head.vote.ok_or_else(|| Status::invalid_argument("the head has no vote"))?.into();
        let meta = codec::decode(&head.meta).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let data: SnapshotReader = Box::pin(StreamReader::new(Box::pin(checked_data(parts))));
        let vote = self.inbound.snapshot(from, vote, meta, data).await.map_err(wire::error_to_status)?;
        Ok(Response::new(pb::SnapshotReply { vote: Some(vote.into()) }))
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        self.caller(&request)?;
        Ok(Response::new(wire::report_to_pb(self.inbound.report())))
    }
}

/// The data of a snapshot; it ends well only after a tail with the right length and checksum.
fn checked_data<P>(parts: P) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    P: Stream<Item = Result<pb::SnapshotPart, Status>> + Send + Unpin,
{
    use pb::snapshot_part::Part;
    let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    futures::stream::unfold(Some((parts, 0u64, 0u32)), move |state| async move {
        let (mut parts, length, crc) = state?;
        match parts.next().await {
            Some(Ok(pb::SnapshotPart { part: Some(Part::Data(data)) })) => {
                let (length, crc) = (length + data.len() as u64, crc32c::crc32c_append(crc, &data));
                Some((Ok(data), Some((parts, length, crc))))
            }
            Some(Ok(pb::SnapshotPart { part: Some(Part::Tail(tail)) })) if (tail.length, tail.crc) == (length, crc) => {
                None
            }
            Some(Ok(pb::SnapshotPart { part: Some(Part::Tail(_)) })) => {
                Some((Err(damaged("length or checksum of the snapshot is wrong".to_owned())), None))
            }
            Some(Ok(_)) => Some((Err(damaged("unexpected part of a snapshot".to_owned())), None)),
            Some(Err(status)) => Some((Err(damaged(status.message().to_owned())), None)),
            None => Some((Err(damaged("the snapshot is cut short".to_owned())), None)),
        }
    })
}

/// Serves `inbound` on `listener` until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    tls: NodeTls,
    inbound: Arc<Inbound>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (accepted, connections) = mpsc::channel(16);
    let accepting = tokio::spawn(accept(listener, tls, accepted, stop.clone()));
    let service = RaftServer::new(Service { inbound })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let serving = tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.cancelled());
    let result = serving.await;
    accepting.abort();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::snapshot_part::Part;
    use tokio::io::AsyncReadExt;

    async fn receive(parts: Vec<Part>) -> io::Result<Vec<u8>> {
        let parts = parts.into_iter().map(|p| Ok(pb::SnapshotPart { part: Some(p) }));
        let mut reader = StreamReader::new(Box::pin(checked_data(futures::stream::iter(parts))));
        let mut data = Vec::new();
        reader.read_to_end(&mut data).await.map(|_| data)
    }

    #[tokio::test]
    async fn only_a_whole_snapshot_ends_well() {
        let data = || Part::Data(Bytes::from_static(b"licences"));
        let tail = |length, crc| Part::Tail(pb::SnapshotTail { length, crc });
        let crc = crc32c::crc32c(b"licences");
        assert_eq!(receive(vec![data(), tail(8, crc)]).await.unwrap(), b"licences");
        assert!(receive(vec![data()]).await.is_err());
        assert!(receive(vec![data(), tail(8, crc ^ 1)]).await.is_err());
        assert!(receive(vec![data(), tail(9, crc)]).await.is_err());
        assert!(receive(vec![data(), data(), tail(8, crc)]).await.is_err());
    }
}
