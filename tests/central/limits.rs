//! What one source may ask of central.

use super::*;
use std::net::IpAddr;

/// Posts documents from one address of this machine.
struct Source {
    http: reqwest::Client,
    url: String,
}

impl Source {
    fn new(central: &Central, address: &str) -> Self {
        let tls = licraft::pki::tls::client_config([central.root().der()], None).unwrap();
        let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
        let http = builder.local_address(address.parse::<IpAddr>().unwrap()).build().unwrap();
        Self { http, url: central.url() }
    }

    async fn post(&self, document: &[u8]) -> reqwest::Response {
        self.http.post(format!("{}/v1/documents", self.url)).body(document.to_vec()).send().await.unwrap()
    }

    /// Sends `document` until it is told to wait; each answer before has `status`.
    async fn flood(&self, document: &[u8], status: u16) -> reqwest::Response {
        for _ in 0..1_000 {
            let response = self.post(document).await;
            if response.status() == 429 {
                return response;
            }
            assert_eq!(response.status(), status);
        }
        panic!("a flood is not limited");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_sends_too_much_waits_while_others_are_served() {
    let scene = Scene::new().await;
    let sync = scene.node.begin_sync(scene.account, "admin").await.unwrap();
    let events = scene.central.event_kinds().await;
    let (noisy, other) = (Source::new(&scene.central, "127.0.0.1"), Source::new(&scene.central, "127.0.0.2"));
    // What is refused and what is answered count alike.
    noisy.flood(b"no document", 400).await;
    let limited = noisy.flood(&sync, 200).await;
    let wait: u64 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let problem: licraft::central::Problem = limited.json().await.unwrap();
    assert!(wait >= 1 && problem.retry_after_ms.unwrap() >= 1_000, "{problem:?}");
    assert!(problem.detail.contains("127.0.0.1") && problem.reason.is_none(), "{problem:?}");
    assert_eq!(noisy.http.get(format!("{}/healthz", noisy.url)).send().await.unwrap().status(), 200);

    // More than a shared bucket would regain meanwhile.
    for _ in 0..50 {
        assert_eq!(other.post(&sync).await.status(), 200);
    }
    assert_eq!(scene.central.event_kinds().await, events);
}

fn is_limited(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Link(LinkError::Failed { status: 429, .. })) && error.may_pass()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_server_synchronizes_and_registers_when_it_tries_again() {
    let scene = Scene::new().await;
    let noisy = Source::new(&scene.central, "127.0.0.1");
    let end = Instant::now() + DEADLINE;
    // A bucket regains an attempt in the time between, now and then.
    loop {
        noisy.flood(b"no document", 400).await;
        match scene.node.synchronize(scene.account, "admin").await {
            Ok(_) => assert!(Instant::now() < end, "it is never limited"),
            Err(error) => break assert!(is_limited(&error), "{error}"),
        }
    }
    let failure = scene.account().sync.last_failure.unwrap().1;
    assert!(failure.contains("send it again later"), "{failure}");
    while let Err(error) = scene.node.synchronize(scene.account, "admin").await {
        assert!(is_limited(&error) && Instant::now() < end, "{error}");
    }
    assert_eq!(scene.account().sync.last_failure, None);

    let second = request_account(&scene.ledger, "SECOND", "Lab");
    noisy.flood(b"no document", 400).await;
    while let Err(error) = scene.node.approve_account(second, "admin").await {
        assert!(is_limited(&error) && Instant::now() < end, "{error}");
    }
    assert_eq!(scene.central.servers().await.len(), 2);
}
