//! openraft's messages as protobuf and back.

use super::peer::{
    Append, Appended, Ballot, BallotReply, Header, NodeReport, PeerError, Refusal, Transfer, TransferReply,
};
use crate::license::Millis;
use crate::proto::raft as pb;
use crate::store::codec::{self, Epoch};
use crate::store::{Entry, Envelope, LeaderId, LogId, TypeConfig, Vote};
use crate::telemetry::Resources;
use openraft::EntryPayload;
use openraft::raft::{StreamAppendError, TransferLeaderError, VoteRequest, VoteResponse};
use std::sync::Arc;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap};
use tonic::{Code, Status};

const FROM: &str = "licraft-from";
const TO: &str = "licraft-to";
const CLUSTER: &str = "licraft-cluster";
const EPOCH: &str = "licraft-epoch";
const SEAL: &str = "licraft-epoch-seal";
const TIMING: &str = "licraft-timing";

fn malformed(what: &str) -> PeerError {
    Refusal::Malformed(format!("{what} is missing or malformed")).into()
}

fn need<T>(value: Option<T>, what: &str) -> Result<T, PeerError> {
    value.ok_or_else(|| malformed(what))
}

impl From<LogId> for pb::LogId {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<pb::LogId> for LogId {
    fn from(id: pb::LogId) -> Self {
        Self { leader_id: LeaderId { term: id.term, node_id: id.node }, index: id.index }
    }
}

impl From<Vote> for pb::Ballot {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<pb::Ballot> for Vote {
    fn from(ballot: pb::Ballot) -> Self {
        Self { leader_id: LeaderId { term: ballot.term, node_id: ballot.node }, committed: ballot.committed }
    }
}

pub(super) fn append_to_pb(request: Append) -> Result<pb::AppendRequest, PeerError> {
    Ok(pb::AppendRequest {
        vote: Some(request.vote.into()),
        previous: request.prev_log_id.map(Into::into),
        committed: request.leader_commit.map(Into::into),
        entries: request.entries.into_iter().map(entry_to_pb).collect::<Result<_, _>>()?,
    })
}

fn entry_to_pb(entry: Entry) -> Result<pb::Entry, PeerError> {
    use pb::entry::Payload;
    let payload = match entry.payload {
        EntryPayload::Normal(batch) => Payload::Batch(batch.0),
        EntryPayload::Blank => Payload::Blank(true),
        EntryPayload::Membership(members) => {
            Payload::Membership(codec::encode(&members).map_err(|e| PeerError::Broken(e.to_string()))?.into())
        }
    };
    Ok(pb::Entry { id: Some(entry.log_id.into()), payload: Some(payload) })
}

pub(super) fn append_from_pb(request: pb::AppendRequest) -> Result<Append, PeerError> {
    let entries = request.entries.into_iter().map(entry_from_pb).collect::<Result<Vec<_>, _>>()?;
    let previous: Option<LogId> = request.previous.map(Into::into);
    // openraft asserts this; a peer must not be able to stop the node by breaking it.
    let mut next = previous.map_or(0, |id| id.index.saturating_add(1));
    for entry in &entries {
        if entry.log_id.index != next {
            return Err(malformed("an entry in sequence"));
        }
        next = next.saturating_add(1);
    }
    let vote: Vote = need(request.vote, "the vote")?.into();
    if !vote.committed {
        return Err(malformed("the vote of an elected leader"));
    }
    let leader_commit = request.committed.map(Into::into);
    Ok(Append { vote, prev_log_id: previous, entries, leader_commit })
}

fn entry_from_pb(entry: pb::Entry) -> Result<Entry, PeerError> {
    use pb::entry::Payload;
    let log_id = need(entry.id, "a log id")?.into();
    let payload = match need(entry.payload, "a payload")? {
        Payload::Batch(bytes) => EntryPayload::Normal(Envelope(bytes)),
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Membership(bytes) => {
            EntryPayload::Membership(codec::decode(&bytes).map_err(|e| Refusal::Malformed(e.to_string()))?)
        }
    };
    Ok(Entry { log_id, payload })
}

pub(super) fn appended_to_pb(result: Appended) -> pb::AppendReply {
    use pb::append_reply::Result as R;
    let result = match result {
        Ok(matched) => R::Matched(pb::Matched { id: matched.map(Into::into) }),
        Err(StreamAppendError::Conflict(at)) => R::Conflict(at.into()),
        Err(StreamAppendError::HigherVote(vote)) => R::Higher(vote.into()),
    };
    pb::AppendReply { result: Some(result) }
}

pub(super) fn appended_from_pb(reply: pb::AppendReply) -> Result<Appended, PeerError> {
    use pb::append_reply::Result as R;
    Ok(match need(reply.result, "the result")? {
        R::Matched(matched) => Ok(matched.id.map(Into::into)),
        R::Conflict(at) => Err(StreamAppendError::Conflict(at.into())),
        R::Higher(vote) => Err(StreamAppendError::HigherVote(vote.into())),
    })
}

pub(super) fn ballot_to_pb(ballot: Ballot) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(ballot.vote.into()),
        last: ballot.last_log_id.map(Into::into),
        transfer: ballot.leadership_transfer,
    }
}

pub(super) fn ballot_from_pb(ballot: pb::VoteRequest) -> Result<Ballot, PeerError> {
    let mut request = VoteRequest::new(need(ballot.vote, "the vote")?.into(), ballot.last.map(Into::into));
    request.leadership_transfer = ballot.transfer;
    Ok(request)
}

pub(super) fn ballot_reply_to_pb(reply: BallotReply) -> pb::VoteReply {
    pb::VoteReply {
        vote: Some(reply.vote.into()),
        granted: reply.vote_granted,
        last: reply.last_log_id.map(Into::into),
    }
}

pub(super) fn ballot_reply_from_pb(reply: pb::VoteReply) -> Result<BallotReply, PeerError> {
    let vote: Vote = need(reply.vote, "the vote")?.into();
    Ok(VoteResponse::new(vote, reply.last.map(Into::into), reply.granted))
}

pub(super) fn transfer_to_pb(transfer: &Transfer) -> pb::TransferRequest {
    pb::TransferRequest {
        from: Some((*transfer.from_leader()).into()),
        to: *transfer.to_node_id(),
        last: transfer.last_log_id().copied().map(Into::into),
    }
}

pub(super) fn transfer_from_pb(transfer: pb::TransferRequest) -> Result<Transfer, PeerError> {
    let from = need(transfer.from, "the leader's vote")?.into();
    Ok(Transfer::new(from, transfer.to, transfer.last.map(Into::into)))
}

pub(super) fn transfer_reply_to_pb(reply: TransferReply) -> pb::TransferReply {
    use pb::transfer_reply::Refusal as R;
    let refusal = reply.err().map(|refusal| match refusal {
        TransferLeaderError::VoteChanged { actual, .. } => R::VoteChanged(actual.into()),
        TransferLeaderError::LogNotFlushed { actual, .. } => R::NotFlushed(pb::Matched { id: actual.map(Into::into) }),
    });
    pb::TransferReply { refusal }
}

pub(super) fn transfer_reply_from_pb(reply: pb::TransferReply, asked: &Transfer) -> TransferReply {
    use pb::transfer_reply::Refusal as R;
    match reply.refusal {
        None => Ok(()),
        Some(R::VoteChanged(actual)) => Err(TransferLeaderError::<TypeConfig>::VoteChanged {
            expected: *asked.from_leader(),
            actual: actual.into(),
        }),
        Some(R::NotFlushed(actual)) => Err(TransferLeaderError::LogNotFlushed {
            expected: asked.last_log_id().copied(),
            actual: actual.id.map(Into::into),
        }),
    }
}

pub(super) fn report_to_pb(report: NodeReport) -> pb::StatusReply {
    pb::StatusReply {
        node: report.node_id,
        version: report.version,
        wall_ms: report.wall.0,
        uneven: !report.steady,
        disk_low: report.disk_low,
        resources: report.resources.map(|r| pb::Resources {
            memory_used: r.memory_used,
            memory_total: r.memory_total,
            disk_used: r.disk_used,
            disk_total: r.disk_total,
        }),
        term: report.term,
        leader: report.leader.unwrap_or(0),
        last_log: report.last_log.map(Into::into),
        last_applied: report.last_applied.map(Into::into),
        voter: report.voter,
        trouble: report.trouble.unwrap_or_default(),
        digests: report
            .digests
            .into_iter()
            .map(|(index, digest)| pb::DigestMark { index, digest: digest.to_vec().into() })
            .collect(),
        serving: report.serving,
    }
}

pub(super) fn report_from_pb(reply: pb::StatusReply) -> Result<NodeReport, PeerError> {
    let digest = |mark: pb::DigestMark| Some((mark.index, mark.digest.as_ref().try_into().ok()?));
    Ok(NodeReport {
        node_id: reply.node,
        version: reply.version,
        wall: Millis(reply.wall_ms),
        steady: !reply.uneven,
        disk_low: reply.disk_low,
        resources: reply.resources.map(|r| Resources {
            memory_used: r.memory_used,
            memory_total: r.memory_total,
            disk_used: r.disk_used,
            disk_total: r.disk_total,
        }),
        term: reply.term,
        leader: (reply.leader != 0).then_some(reply.leader),
        last_log: reply.last_log.map(Into::into),
        last_applied: reply.last_applied.map(Into::into),
        voter: reply.voter,
        serving: reply.serving,
        trouble: (!reply.trouble.is_empty()).then_some(reply.trouble),
        digests: need(reply.digests.into_iter().map(digest).collect(), "a digest")?,
    })
}

/// Puts `header` into the metadata of a call.
pub(super) fn header_to_metadata(header: &Header, metadata: &mut MetadataMap) -> Result<(), PeerError> {
    let epoch = format!("{}.{:032x}", header.epoch.counter, header.epoch.id);
    let values = [
        (FROM, header.from.to_string()),
        (TO, header.to.to_string()),
        (CLUSTER, header.cluster.to_string()),
        (EPOCH, epoch),
        (TIMING, header.timings.to_string()),
    ];
    for (key, value) in values {
        let value = value.parse().map_err(|_| PeerError::Broken(format!("{key} cannot be sent")))?;
        metadata.insert(MetadataKey::<Ascii>::from_static(key), value);
    }
    if let Some(seal) = header.seal {
        let value = hex::encode(seal).parse().map_err(|_| PeerError::Broken(format!("{SEAL} cannot be sent")))?;
        metadata.insert(MetadataKey::<Ascii>::from_static(SEAL), value);
    }
    Ok(())
}

pub(super) fn header_from_metadata(metadata: &MetadataMap) -> Result<Header, PeerError> {
    let text = |key| need(metadata.get(key).and_then(|v| v.to_str().ok()), key);
    let number = |key| need(text(key)?.parse::<u64>().ok(), key);
    let (counter, id) = need(text(EPOCH)?.split_once('.'), EPOCH)?;
    let counter = need(counter.parse().ok(), EPOCH)?;
    let id = need(u128::from_str_radix(id, 16).ok(), EPOCH)?;
    let seal = match metadata.get(SEAL) {
        None => None,
        Some(_) => {
            let mut seal = [0; 32];
            need(hex::decode_to_slice(text(SEAL)?, &mut seal).ok(), SEAL)?;
            Some(seal)
        }
    };
    Ok(Header {
        from: number(FROM)?,
        to: number(TO)?,
        cluster: Arc::from(text(CLUSTER)?),
        epoch: Epoch { counter, id },
        seal,
        timings: need(text(TIMING)?.parse().ok(), TIMING)?,
    })
}

pub(super) fn error_to_status(error: PeerError) -> Status {
    let code = match &error {
        PeerError::Refused(refusal) => match refusal {
            Refusal::Cluster { .. }
            | Refusal::Impostor { .. }
            | Refusal::NotMember { .. }
            | Refusal::NotYours { .. } => Code::PermissionDenied,
            Refusal::NotMe { .. } | Refusal::Epoch { .. } | Refusal::Timing { .. } | Refusal::JustStarted => {
                Code::FailedPrecondition
            }
            Refusal::Malformed(_) => Code::InvalidArgument,
            Refusal::Stopped(_) | Refusal::Remote(_) => Code::Aborted,
        },
        PeerError::Unreachable(_) => Code::Unavailable,
        PeerError::Broken(_) => Code::DataLoss,
        PeerError::Timeout => Code::DeadlineExceeded,
    };
    let message = match error {
        PeerError::Refused(refusal) => refusal.to_string(),
        other => other.to_string(),
    };
    Status::new(code, message)
}

/// A refusal comes back as its sentence; only the class matters to the caller.
pub(super) fn status_to_error(status: &Status) -> PeerError {
    let message = status.message().to_owned();
    match status.code() {
        Code::Unavailable => PeerError::Unreachable(message),
        Code::DeadlineExceeded => PeerError::Timeout,
        Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument | Code::Aborted => {
            PeerError::Refused(Refusal::Remote(message))
        }
        _ => PeerError::Broken(message),
    }
}
