//! Replicas over gRPC and mutual TLS on the loopback: a cluster forms, newcomers get snapshots, strangers get nothing.

#![allow(clippy::unwrap_used)] // A test that panics has failed, as it should.

#[path = "support/grpc.rs"]
mod grpc;

use grpc::*;
use licraft::license::Outcome;
use licraft::pki::ca::Authority;
use licraft::pki::tls::{NodeTls, client_config};
use licraft::raft::{EpochMet, KEEP_BEHIND_SNAPSHOT};
use licraft::store::{Epoch, state_digest};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_a_cluster_and_replicate() {
    let mut cluster = Cluster::form(3).await;
    for n in 0..50 {
        cluster.create(&format!("account {n}")).await;
    }
    cluster.equal(&[1, 2, 3]).await;
    // Any two of them go on without the third, whichever it is.
    cluster.stop(1).await;
    cluster.create("without node 1").await;
    cluster.start(1, EPOCH).await;
    cluster.equal(&[1, 2, 3]).await;
    assert!(cluster.has(1, "without node 1"));
    cluster.end().await;
}

/// The leader has only the end of its log left, so all that a newcomer learns of the beginning is in the snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_behind_the_purged_log_gets_a_snapshot() {
    let mut cluster = Cluster::form(1).await;
    for n in 0..100 {
        cluster.create(&format!("account {n}")).await;
    }
    // openraft purges a thousand at a time; a command that is refused is an entry all the same.
    for _ in 0..KEEP_BEHIND_SNAPSHOT + 1_100 {
        assert!(matches!(cluster.propose(request_account("account 0")).await, Outcome::Refused(_)));
    }
    let first = cluster.nodes[&1].replica.clone();
    first.take_snapshot().await.unwrap();
    let mut metrics = first.raft_metrics();
    let purged = within("purged", metrics.wait_for(|m| m.purged.is_some())).await.unwrap().purged.unwrap();
    assert!(purged.index > 100, "the accounts are in the log yet: {purged:?}");
    cluster.start(2, EPOCH).await;
    cluster.join(2).await;
    cluster.create("after the snapshot").await;
    cluster.equal(&[1, 2]).await;
    let second = &cluster.nodes[&2];
    assert!(second.replica.raft_metrics().borrow().snapshot.is_some_and(|s| s.index > purged.index));
    let mut log = second.log.clone().get_log_reader().await;
    let first_entry = log.try_get_log_entries(0..u64::MAX).await.unwrap().first().unwrap().log_id;
    assert!(first_entry.index > purged.index, "the log of the newcomer begins with {first_entry:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impostors_are_refused_and_change_nothing() {
    let cluster = Cluster::form(3).await;
    cluster.create("before").await;
    cluster.equal(&[1, 2, 3]).await;
    let before = cluster.standing(2);
    let ca = cluster.ca.cert_der();
    let other = Authority::self_signed("another", 1, now()).unwrap();
    let tls =
        |authority: &Authority, node, name: &str| NodeTls::new(ca, &identity(authority, node, name)).unwrap().client();
    let mut nobody = client_config([ca], None).unwrap();
    nobody.alpn_protocols = vec![b"h2".to_vec()];
    let impostors = [
        ("another node", tls(&cluster.ca, 1, CLUSTER), (3, CLUSTER), Some("the certificate is of node 1")),
        ("another cluster", tls(&cluster.ca, 3, "other"), (3, CLUSTER), Some("the caller is of cluster")),
        ("openly another cluster", tls(&cluster.ca, 3, "other"), (3, "other"), Some("is of cluster other")),
        ("another CA", tls(&other, 3, CLUSTER), (3, CLUSTER), None),
        ("no certificate", Arc::new(nobody), (3, CLUSTER), None),
    ];
    for (who, tls, claimed, why) in impostors {
        for (call, answer) in cluster.call_all(2, tls, claimed, before.0).await {
            let status = answer.expect_err(&format!("{call} by {who} was answered"));
            assert!(status.message().contains(why.unwrap_or_default()), "{call} by {who}: {status:?}");
            // Without a certificate of this cluster no call even arrives.
            assert_eq!(status.code() == tonic::Code::PermissionDenied, why.is_some(), "{call} by {who}: {status:?}");
        }
        assert_eq!(cluster.standing(2), before, "{who} changed something");
    }
    cluster.create("after").await;
    cluster.equal(&[1, 2, 3]).await;
    // The same calls from node 3 itself are heard: they take node 2 to the term they name.
    let (term, rightful) = (before.0, tls(&cluster.ca, 3, CLUSTER));
    let answers = cluster.call_all(2, rightful, (3, CLUSTER), term).await;
    assert!(answers.iter().any(|(call, answer)| *call == "vote" && answer.is_ok()), "{answers:?}");
    assert!(cluster.standing(2).0 > term, "the calls would not have changed anything");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_epoch_is_refused_and_noted() {
    let mut cluster = Cluster::form(3).await;
    cluster.create("before").await;
    cluster.equal(&[1, 2, 3]).await;
    let newer = Epoch { counter: EPOCH.counter + 1, id: 99 };
    cluster.stop(3).await;
    cluster.start(3, newer).await;
    for id in [1, 2] {
        let mut met = cluster.nodes[&id].replica.epoch_met();
        within("the other epoch is noted", met.wait_for(|met| *met == Some(EpochMet { node_id: 3, epoch: newer })))
            .await
            .unwrap();
    }
    let mut met = cluster.nodes[&3].replica.epoch_met();
    within("and noted there", met.wait_for(|met| met.is_some_and(|met| met.epoch == EPOCH))).await.unwrap();
    let before = state_digest(&cluster.nodes[&3].store.state()).unwrap();
    for n in 0..20 {
        cluster.create(&format!("missed {n}")).await;
    }
    cluster.equal(&[1, 2]).await;
    cluster
        .until("each sees why", |c| {
            let refused = |id: u64, by| {
                let peers = c.nodes[&id].replica.status().peers;
                peers.iter().any(|p| p.node_id == by && p.trouble.as_deref().is_some_and(|t| t.contains("epoch")))
            };
            refused(1, 3) && refused(3, 1)
        })
        .await;
    assert_eq!(state_digest(&cluster.nodes[&3].store.state()).unwrap(), before, "took entries of another epoch");
    cluster.stop(3).await;
    cluster.start(3, EPOCH).await;
    cluster.equal(&[1, 2, 3]).await;
    cluster.end().await;
}

/// Node 3 is gone; what has its address accepts connections, with `handshake` also as node 3, and then is silent.
async fn silent(handshake: bool) {
    let mut cluster = Cluster::form(3).await;
    cluster.create("before").await;
    cluster.equal(&[1, 2, 3]).await;
    cluster.stop(3).await;
    let connections = Arc::new(AtomicUsize::new(0));
    let listener = cluster.listen(3).await;
    let server = cluster.tls(3).server();
    let counted = connections.clone();
    let mute = tokio::spawn(async move {
        let (mut plain, mut secured) = (Vec::new(), Vec::new());
        loop {
            let (stream, _) = TcpListener::accept(&listener).await.unwrap();
            if handshake {
                let Ok(stream) = TlsAcceptor::from(server.clone()).accept(stream).await else { continue };
                secured.push(stream);
            } else {
                plain.push(stream);
            }
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    cluster.until("somebody calls the silent one", |_| connections.load(Ordering::Relaxed) > 0).await;
    for n in 0..50 {
        cluster.create(&format!("account {n}")).await;
    }
    cluster.equal(&[1, 2]).await;
    // Also a hand-over and a newcomer need nothing of it.
    let active = cluster.active().await;
    cluster.nodes[&active].replica.transfer_to(3 - active, async {}).await.unwrap();
    cluster.create("after the hand-over").await;
    cluster.start(4, EPOCH).await;
    cluster.join(4).await;
    cluster.equal(&[1, 2, 4]).await;
    mute.abort();
    assert!(mute.await.unwrap_err().is_cancelled(), "the silent one has ended by itself");
    cluster.start(3, EPOCH).await;
    cluster.equal(&[1, 2, 3, 4]).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_accepts_and_never_answers_stops_nobody() {
    silent(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_silent_after_its_handshake_stops_nobody() {
    silent(true).await;
}

/// Node 3's address belongs to node 2 now: whoever calls hangs up after the handshake, and does so again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_another_is_not_called_without_pause() {
    let mut cluster = Cluster::form(3).await;
    cluster.create("before").await;
    cluster.equal(&[1, 2, 3]).await;
    cluster.stop(3).await;
    let listener = cluster.listen(3).await;
    let server = cluster.tls(2).server();
    let mut calls = 0;
    let wrong = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            calls += 1;
            let _ = TlsAcceptor::from(server.clone()).accept(stream).await;
        }
    };
    // A look at the rate, not at the time: calls come in the tens.
    assert!(tokio::time::timeout(Duration::from_secs(2), wrong).await.is_err());
    assert!((1..200).contains(&calls), "{calls} calls in two seconds");
    drop(listener);
    cluster.start(3, EPOCH).await;
    cluster.equal(&[1, 2, 3]).await;
    cluster.end().await;
}
