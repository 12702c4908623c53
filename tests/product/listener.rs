//! The listener: limits, time-outs, replaced certificates, an orderly end.

use super::client::{Client, http_client};
use super::server::{Node, Site};
use licraft::product::listener::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const SOON: Duration = Duration::from_secs(10);

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(("127.0.0.1", node.port)).await.unwrap()
}

async fn connect_tls(node: &Node) -> TlsStream<TcpStream> {
    let roots = licraft::pki::ca::certificates_from_pem(node.ca_pem.as_bytes()).unwrap();
    let config = licraft::pki::tls::client_config(roots.iter().map(Vec::as_slice), None).unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect("127.0.0.1".try_into().unwrap(), connect(node).await).await.unwrap()
}

/// Whether the far end closes within a generous time.
async fn closes(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

async fn healthy(node: &Node) -> reqwest::Result<reqwest::Response> {
    http_client(&node.ca_pem).get(format!("https://127.0.0.1:{}/healthz", node.port)).send().await
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed() {
    let site = Site::new();
    let short = Duration::from_millis(200);
    let node = site.serve_with(Limits { handshake: short, header_read: short, ..Limits::default() }).await;
    // Nothing at all; half a TLS record; a plain request without an end.
    for begin in [&b""[..], &[22, 3, 1, 0], b"GET / HT"] {
        let mut stream = connect(&node).await;
        stream.write_all(begin).await.unwrap();
        assert!(closes(&mut stream).await, "{begin:?}");
    }
    // A header that never ends, inside TLS.
    let mut stream = connect_tls(&node).await;
    stream.write_all(b"POST /SmartTransport HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    assert!(closes(&mut stream).await);
    assert_eq!(healthy(&node).await.unwrap().status(), 200);
    node.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_while_others_are_served() {
    let site = Site::new();
    let node = site.serve().await;
    let mut stream = connect_tls(&node).await;
    let begin = "POST /SmartTransport HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{";
    stream.write_all(begin.as_bytes()).await.unwrap();
    assert_eq!(healthy(&node).await.unwrap().status(), 200);
    let mut answer = vec![0; 4_096];
    let read = tokio::time::timeout(3 * SOON, stream.read(&mut answer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("the body was not complete"), "{answer}");
    node.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let site = Site::new();
    let node =
        site.serve_with(Limits { connections: 1, handshake: Duration::from_secs(60), ..Limits::default() }).await;
    let holder = connect(&node).await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), healthy(&node)).await;
    assert!(waiting.is_err(), "the only place is taken");
    drop(holder);
    let answer = tokio::time::timeout(SOON, healthy(&node)).await.expect("a place is free").unwrap();
    assert_eq!(answer.status(), 200);
    node.stop().await;
}

#[tokio::test]
async fn a_replaced_certificate_is_used_for_new_connections() {
    let site = Site::new();
    let node = site.serve().await;
    let kept = Client::new(&node);
    assert_eq!(kept.send(http::Method::GET, "/healthz", Vec::new()).await.status, 200);
    node.tls.renew(&site.identity("vip.example"), &[b"http/1.1"]).unwrap();
    // The kept-alive connection goes on; a new one meets the other name.
    assert_eq!(kept.send(http::Method::GET, "/healthz", Vec::new()).await.status, 200);
    healthy(&node).await.unwrap_err();
    node.tls.renew(&site.identity("127.0.0.1"), &[b"http/1.1"]).unwrap();
    assert_eq!(healthy(&node).await.unwrap().status(), 200);
    node.stop().await;
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let site = Site::new();
    let node = site.serve().await;
    node.tls.renew(&site.identity("127.0.0.1"), &[b"h2", b"http/1.1"]).unwrap();
    let roots = licraft::pki::ca::certificates_from_pem(node.ca_pem.as_bytes()).unwrap();
    let mut config = licraft::pki::tls::client_config(roots.iter().map(Vec::as_slice), None).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap();
    let answer = client.get(format!("https://127.0.0.1:{}/healthz", node.port)).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    node.stop().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_idle_or_stuck_connections_longer_than_allowed() {
    let site = Site::new();
    let limits = Limits { drain: Duration::from_millis(200), handshake: Duration::from_secs(60), ..Limits::default() };
    let node = site.serve_with(limits).await;
    let client = Client::new(&node);
    assert_eq!(client.send(http::Method::GET, "/healthz", Vec::new()).await.status, 200);
    let mut stuck = connect(&node).await;
    stuck.write_all(&[22]).await.unwrap();
    let port = node.port;
    node.stop().await;
    assert!(closes(&mut stuck).await);
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
}
