//! The listener: limits, time-outs, replaced certificates, an orderly end.

use super::client::{Client, http_client, register};
use super::server::{Node, Site};
use licraft::pki::jws::{Algorithm, SigningKey};
use licraft::product::listener::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const SOON: Duration = Duration::from_secs(10);

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(("127.0.0.1", node.port)).await.unwrap()
}

/// Whether the far end closes within a generous time.
async fn closes(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

/// TLS as a product speaks it, for bytes that no well-behaved client would send.
async fn tls(node: &Node) -> TlsStream<TcpStream> {
    let roots = licraft::pki::ca::certificates_from_pem(node.ca_pem.as_bytes()).unwrap();
    let config = licraft::pki::tls::client_config(roots.iter().map(Vec::as_slice), None).unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect("127.0.0.1".try_into().unwrap(), connect(node).await).await.unwrap()
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
    let mut stream = tls(&node).await;
    stream.write_all(b"POST /SmartTransport HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    assert!(closes(&mut stream).await);
    assert_eq!(healthy(&node).await.unwrap().status(), 200);
    node.stop().await;
}

/// Sends `head`, then `piece` again and again until the far end is done; gives all it answered.
async fn send_without_end(stream: TlsStream<TcpStream>, head: &str, piece: &[u8], pause: Duration) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        let mut sent = writer.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            tokio::time::sleep(pause).await;
            sent = writer.write_all(piece).await;
        }
        // The connection is gone for writing; what was answered before is still read.
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let receiving = async {
        // An end by reset is an end, too.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let ended = async {
        tokio::select! { () = sending => {} () = receiving => {} }
    };
    tokio::time::timeout(4 * SOON, ended).await.expect("a body without an end is cut off");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn slow_and_endless_bodies_are_cut_off_while_others_are_served() {
    let site = Site::new();
    let node = site.serve_with(Limits { connections: 4, ..Limits::default() }).await;
    let head = "POST /SmartTransport HTTP/1.1\r\nhost: x\r\n";
    let (sized, chunked) =
        (format!("{head}content-length: 60000\r\n\r\n"), format!("{head}transfer-encoding: chunked\r\n\r\n"));
    let drop_by_drop = Duration::from_millis(50);
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let mut attackers = Box::pin(async {
        tokio::join!(
            send_without_end(tls(&node).await, &sized, b"x", drop_by_drop),
            send_without_end(tls(&node).await, &chunked, b"1\r\nx\r\n", drop_by_drop),
            send_without_end(tls(&node).await, &chunked, chunk.as_bytes(), Duration::ZERO),
        )
    });
    let mut served = 0;
    let (slow, slow_chunks, endless) = loop {
        let product = async {
            let client = Client::new(&node);
            let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
            client.request(&key, None, &register(&key, &format!("SN{served}"))).await.status
        };
        tokio::select! {
            answers = attackers.as_mut() => break answers,
            status = product, if served < 5 => {
                assert_eq!(status, 200);
                served += 1;
            }
        }
    };
    assert!(served > 0, "nobody was served meanwhile");
    for answer in [slow, slow_chunks] {
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body-timeout"), "{answer}");
    }
    drop(attackers);
    assert!(endless.starts_with("HTTP/1.1 413 ") && endless.contains("body-too-large"), "{endless}");
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

/// Strangers with a certificate in place of a token: paid for before anything of it is checked.
#[tokio::test]
async fn certificates_of_strangers_are_limited_before_they_are_looked_at() {
    let site = Site::new();
    let node = site.serve().await;
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let mut payload = register(&key, "SN1");
    payload.as_object_mut().unwrap().remove("token");
    payload["certificate"] = "MAA=".into();
    let client = Client::new(&node);
    let mut limited = None;
    for _ in 0..1_000 {
        let answer = client.unchecked(&key, None, &payload).await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
        assert_eq!(answer.code(), "instance-unknown", "{answer:?}");
    }
    let limited = limited.expect("a flood is not limited");
    assert!(limited.headers.contains_key("retry-after") && !limited.detail().contains("the last one"), "{limited:?}");
    let other = Client::from_source(&node, "127.0.0.2".parse().unwrap());
    assert_eq!(other.unchecked(&key, None, &payload).await.code(), "instance-unknown");
    node.stop().await;
}

/// Whoever is idle does not keep a place that others wait for.
#[tokio::test]
async fn where_places_are_scarce_a_connection_ends_with_its_answer() {
    let site = Site::new();
    let node = site.serve_with(Limits { connections: 8, ..Limits::default() }).await;
    let says_close = async || healthy(&node).await.unwrap().headers().get("connection").is_some_and(|v| v == "close");
    assert!(!says_close().await, "seven places are free");
    let mut holders = Vec::new();
    for _ in 0..6 {
        holders.push(connect(&node).await);
    }
    let end = tokio::time::Instant::now() + SOON;
    while !says_close().await {
        assert!(tokio::time::Instant::now() < end, "two of eight places are left at most, and nobody is told");
    }
    drop(holders);
    while says_close().await {
        assert!(tokio::time::Instant::now() < end, "all places are free again");
    }
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
