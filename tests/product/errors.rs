//! Each error says its own thing, names what to do, and changes nothing.

use super::client::{Answer, Client, authorize, now, numbered, register, sign};
use super::server::{BASE, Fault, LIFECYCLE, SECRET, Site, TOKEN};
use http::Method;
use licraft::license::{Command, Millis};
use licraft::pki::ca::Authority;
use licraft::pki::jws::{Algorithm, Header, Jws, SigningKey};
use licraft::product::{MAX_BODY, Serving};
use licraft::raft::Ledger;
use serde_json::json;

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa).unwrap()
}

/// Registers a fresh device; its key and instance id.
async fn registered(client: &Client, sn: &str) -> (SigningKey, String) {
    let key = key();
    let answer = client.request(&key, None, &register(&key, sn)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    (key, answer.value["instance"].as_str().unwrap().to_owned())
}

fn expect(answer: &Answer, signed: bool, status: u16, code: &str, says: &str) {
    assert_eq!((answer.signed, answer.status, answer.code()), (signed, status, code), "{answer:?}");
    assert!(answer.detail().contains(says), "{says:?} is not in {:?}", answer.detail());
}

#[tokio::test]
async fn wrong_places_name_the_right_url() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let before = site.records();
    let url = format!("{}/SmartTransport", client.base);
    let answer = client.send(Method::POST, "/smarttransport", b"{}".to_vec()).await;
    expect(&answer, false, 404, "wrong-path", &url);
    expect(&answer, false, 404, "wrong-path", "/Transportgateway/services/DeviceRequestHandler");
    for path in ["/SmartTransport", "/Transportgateway/services/DeviceRequestHandler"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = client.send(method, path, Vec::new()).await;
            expect(&answer, false, 405, "wrong-method", &format!("POST to {}{path}", client.base));
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
    let answer = client.send(Method::GET, "/crl/account-1.crl", Vec::new()).await;
    expect(&answer, false, 404, "not-found", "no account here");
    assert_eq!(site.records(), before);
    node.stop().await;
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_the_https_url() {
    let site = Site::new();
    let node = site.serve().await;
    let plain = super::client::http_client(&node.ca_pem);
    let url = format!("http://127.0.0.1:{}/SmartTransport", node.port);
    for body in [Vec::new(), vec![b'x'; 20_000]] {
        let response = plain.post(&url).body(body).send().await.unwrap();
        assert_eq!(response.status(), 400);
        let problem: serde_json::Value = response.json().await.unwrap();
        super::client::assert_valid("problem", &problem);
        assert_eq!(problem["code"], "plain-http");
        let right = url.replace("http://", "https://");
        assert!(problem["detail"].as_str().unwrap().contains(&right), "{problem}");
    }
    node.stop().await;
}

#[tokio::test]
async fn malformed_and_oversized_bodies() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let before = site.records();
    let malformed = |body: &[u8]| client.post(body.to_vec());
    expect(&malformed(b"").await, false, 400, "malformed-request", "flattened JWS");
    expect(&malformed(b"{\"payload\":1}").await, false, 400, "malformed-request", "flattened JWS");
    let foreign = Jws::sign(&key(), Header::typ("other+jws"), b"{}").unwrap();
    let answer = client.post(serde_json::to_vec(&foreign).unwrap()).await;
    expect(&answer, false, 400, "malformed-request", "licraft-request+jws");
    let keyless = Jws::sign(&key(), Header::typ("licraft-request+jws"), b"{}").unwrap();
    let answer = client.post(serde_json::to_vec(&keyless).unwrap()).await;
    expect(&answer, false, 400, "malformed-request", "jwk");
    let signer = key();
    let named = sign(&signer, Some("one"), &serde_json::to_vec(&authorize(1, &[])).unwrap());
    let answer = client.post(serde_json::to_vec(&named).unwrap()).await;
    expect(&answer, false, 400, "malformed-request", "kid");
    let answer = client.unchecked(&signer, None, &authorize(1, &[])).await;
    expect(&answer, false, 400, "malformed-request", "token");
    let answer = client.unchecked(&signer, None, &json!({"type": "register", "protocol": 7})).await;
    expect(&answer, false, 400, "unsupported-protocol", "protocol 7");
    let answer = malformed(&vec![b' '; MAX_BODY + 1]).await;
    expect(&answer, false, 413, "body-too-large", &MAX_BODY.to_string());
    assert_eq!(site.records(), before);
    node.stop().await;
}

#[tokio::test]
async fn registrations_that_are_refused() {
    let site = Site::new();
    site.add_token(site.va, "short-lived", 0, 1, false);
    site.add_token(site.va, "once", 1, 30, false);
    site.add_token(site.va, "withdrawn", 0, 30, false);
    let hash = licraft::product::token_hash("withdrawn");
    let token = site.ledger.state().token_by_hash(&hash).unwrap().id;
    site.ledger.apply(Command::RevokeToken { token });
    let node = site.serve().await;
    let client = Client::new(&node);
    let device = key();
    let mut with_once = register(&device, "ONCE");
    with_once["token"] = "once".into();
    assert_eq!(client.request(&device, None, &with_once).await.status, 200);
    let before = site.records();

    let with = |token: &str| {
        let mut payload = register(&device, "SN1");
        payload["token"] = token.into();
        payload
    };
    let answer = client.request(&device, None, &with("no-such-token")).await;
    expect(&answer, false, 403, "token-unknown", "licraft token create");
    expect(&client.request(&device, None, &with("once")).await, true, 403, "token-exhausted", "create a new one");
    expect(&client.request(&device, None, &with("withdrawn")).await, true, 403, "token-revoked", "create a new one");
    // Signed with another key than the CSR's: no proof of possession.
    let answer = client.request(&key(), None, &with(TOKEN)).await;
    expect(&answer, true, 403, "wrong-key", "CSR");
    // A header that claims the CSR's key without having it.
    let bytes = serde_json::to_vec(&with(TOKEN)).unwrap();
    let mut forged = sign(&device, None, &bytes);
    forged.signature = sign(&key(), None, &bytes).signature;
    let answer = client.post(serde_json::to_vec(&forged).unwrap()).await;
    expect(&answer, false, 403, "bad-signature", "sign the bytes");
    let mut bad_csr = with(TOKEN);
    bad_csr["csr"] = "AAAA".into();
    expect(&client.request(&device, None, &bad_csr).await, true, 400, "malformed-request", "PKCS#10");
    let mut nameless = with(TOKEN);
    nameless["udi"]["sn"] = "".into();
    expect(&client.unchecked(&device, None, &nameless).await, true, 400, "invalid", "serial number");
    assert_eq!(site.records(), before);

    site.clock.forward(2 * Millis::DAY);
    let mut late = with("short-lived");
    late["time"] = (now() + 2 * Millis::DAY).into();
    expect(&client.request(&device, None, &late).await, true, 403, "token-expired", "create a new one");
    assert_eq!(site.instances(), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_account_that_central_has_not_certified_cannot_answer_yet() {
    let site = Site::new();
    let root = Authority::self_signed("Other", 10, Millis(now())).unwrap();
    let waiting = site.add_account(&root, "WAITING", false);
    let va = site.ledger.state().account(waiting).unwrap().default_va;
    // A token can be made before the account is active, or not: either way the product is told apart.
    let command = Command::CreateToken {
        va,
        hash: licraft::product::token_hash("early"),
        sealed: licraft::license::Sealed(vec![0; 40]),
        description: String::new(),
        expires_days: 30,
        max_uses: 0,
        export_controlled: false,
    };
    let made = matches!(site.ledger.apply(command), licraft::license::Outcome::Created(_));
    let node = site.serve().await;
    let client = Client::new(&node);
    let device = key();
    let mut payload = register(&device, "SN1");
    payload["token"] = "early".into();
    let answer = client.request(&device, None, &payload).await;
    if made {
        expect(&answer, false, 503, "account-not-ready", "WAITING");
    } else {
        expect(&answer, false, 403, "token-unknown", "token");
    }
    node.stop().await;
}

#[tokio::test]
async fn numbered_requests_that_are_refused() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let (device, id) = registered(&client, "SN1").await;
    let kid = Some(id.as_str());
    assert_eq!(client.request(&device, kid, &authorize(5, &[(BASE, 1)])).await.status, 200);
    let before = site.records();

    // A stale number gets a signed refusal that says where to go on.
    let stale = client.request(&device, kid, &authorize(4, &[(BASE, 9)])).await;
    expect(&stale, true, 409, "stale-request", "4");
    assert_eq!(stale.value["number"], 5);
    let reused = client.request(&device, kid, &authorize(5, &[(BASE, 2)])).await;
    expect(&reused, true, 409, "request-mismatch", "5");
    assert_eq!(reused.value["number"], 5);
    // Another key, with and without the true key in the header.
    let answer = client.request(&key(), kid, &authorize(6, &[(BASE, 9)])).await;
    expect(&answer, false, 403, "wrong-key", "register again");
    let bytes = serde_json::to_vec(&authorize(6, &[(BASE, 9)])).unwrap();
    let mut forged = sign(&device, kid, &bytes);
    forged.signature = sign(&key(), kid, &bytes).signature;
    expect(&client.post(serde_json::to_vec(&forged).unwrap()).await, false, 403, "bad-signature", "");
    // The clock, both ways.
    for (off, says) in [(-2, "behind"), (2, "ahead of")] {
        let mut payload = authorize(6, &[(BASE, 9)]);
        payload["time"] = (now() as i64 + off * Millis::HOUR as i64).into();
        let answer = client.request(&device, kid, &payload).await;
        expect(&answer, true, 403, "clock-skew", says);
        expect(&answer, true, 403, "clock-skew", "NTP");
    }
    let misspelt = numbered("authorize", 6, json!({"licences": []}));
    expect(&client.unchecked(&device, kid, &misspelt).await, true, 400, "malformed-request", "licences");
    expect(&client.unchecked(&device, kid, &authorize(0, &[])).await, true, 400, "malformed-request", "starts at 1");
    assert_eq!(site.records(), before);

    // These use up their number, and nothing else.
    let unknown = client.request(&device, kid, &authorize(6, &[(BASE, 9), ("NO_SUCH", 1)])).await;
    expect(&unknown, true, 422, "license-unknown", "NO_SUCH");
    let again = client.request(&device, kid, &authorize(6, &[(BASE, 9), ("NO_SUCH", 1)])).await;
    expect(&again, true, 422, "license-unknown", "NO_SUCH");
    let controlled = client.request(&device, kid, &authorize(7, &[(SECRET, 1)])).await;
    expect(&controlled, true, 403, "export-controlled", SECRET);
    assert_eq!(site.in_use(BASE), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_instance_is_told_with_authority_only_when_it_names_the_signer() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let (device, id) = registered(&client, "SN1").await;
    let registered_answer = client.request(&device, None, &register(&device, "SN1")).await;
    assert_eq!(registered_answer.value["repeated"], true);
    let signer = registered_answer.header["kid"].as_str().unwrap();
    let before = site.records();

    let stranger = key();
    let answer = client.request(&stranger, Some("999"), &authorize(1, &[])).await;
    expect(&answer, false, 404, "instance-unknown", "register again");
    let hinted = numbered("renew-authorization", 1, json!({"signer": signer}));
    let answer = client.request(&stranger, Some("999"), &hinted).await;
    expect(&answer, true, 404, "instance-unknown", "register again");
    let other = numbered("renew-authorization", 1, json!({"signer": "A".repeat(43)}));
    expect(&client.request(&stranger, Some("999"), &other).await, false, 404, "instance-unknown", "");
    assert_eq!(site.records(), before);

    // The command that looks never acts, even on an instance that exists and has not asked for anything.
    let look = Command::Numbered {
        instance: licraft::license::InstanceId(id.parse().unwrap()),
        number: 0,
        digest: [0; 32],
        action: licraft::license::InstanceAction::RenewAuthorization,
    };
    assert!(matches!(site.ledger.apply(look), licraft::license::Outcome::Refused(_)));
    assert_eq!(site.records(), before);
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_cannot_serve_says_why_and_where_to_go() {
    let site = Site::new();
    let mut settings = site.ledger.state().settings().clone();
    settings.vip = vec!["10.0.0.12".into()];
    site.ledger.apply(Command::SetSettings { settings });
    let node = site.serve().await;
    let client = Client::new(&node);
    let (device, id) = registered(&client, "SN1").await;
    let kid = Some(id.as_str());
    assert_eq!(client.send(Method::GET, "/readyz", Vec::new()).await.status, 200);
    let before = site.records();

    node.become_(Serving::Standby { active: Some("primary-node".into()) });
    let answer = client.request(&device, kid, &authorize(1, &[(BASE, 1)])).await;
    expect(&answer, false, 503, "standby", "this node is Standby; primary-node is Active");
    expect(&answer, false, 503, "standby", "10.0.0.12");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(client.send(Method::GET, "/readyz", Vec::new()).await.status, 503);
    assert_eq!(client.send(Method::GET, "/healthz", Vec::new()).await.status, 200);
    node.become_(Serving::Unavailable { why: "it is stopped".into() });
    let answer = client.request(&device, kid, &authorize(1, &[(BASE, 1)])).await;
    expect(&answer, false, 503, "unavailable", "because it is stopped");
    node.become_(Serving::Active);

    for (fault, status, code, says) in [
        (Fault::Busy, 429, "too-many-requests", "repeat it later"),
        (Fault::NotActive, 503, "standby", "secondary-node is Active"),
        (Fault::Stopped, 503, "unavailable", "the disk failed"),
        (Fault::UnknownBefore, 503, "outcome-unknown", "repeat the same request"),
    ] {
        site.ledger.fail_next([fault]);
        let answer = client.request(&device, kid, &authorize(1, &[(BASE, 1)])).await;
        expect(&answer, false, status, code, says);
        assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(site.records(), before);
    assert_eq!(site.in_use(LIFECYCLE), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_flood_from_one_source_is_limited_while_its_registered_products_go_on() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let (device, id) = registered(&client, "SN1").await;
    let stranger = key();
    let mut limited = None;
    for _ in 0..400 {
        let answer = client.request(&stranger, Some("999"), &authorize(1, &[])).await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("a flood is limited");
    expect(&limited, false, 429, "too-many-requests", "127.0.0.1");
    assert!(limited.headers.contains_key("retry-after"));
    // The same source, behind the same address translation: known products and good tokens are served.
    let answer = client.request(&device, Some(&id), &authorize(1, &[(BASE, 1)])).await;
    assert_eq!(answer.status, 200);
    registered(&client, "SN2").await;
    node.stop().await;
}

#[tokio::test]
async fn registrations_with_wrong_tokens_are_limited_for_their_own_source_alone() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let device = key();
    let mut payload = register(&device, "SN1");
    payload["token"] = "no-such-token".into();
    let before = site.records();
    let mut limited = None;
    for _ in 0..400 {
        let answer = client.request(&device, None, &payload).await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
        expect(&answer, false, 403, "token-unknown", "no such registration token");
    }
    let limited = limited.expect("guessing is limited");
    expect(&limited, false, 429, "too-many-requests", "127.0.0.1");
    assert!(limited.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert!(limited.value["retry_after_ms"].as_u64().unwrap() >= 1_000);

    // More than a shared bucket would regain meanwhile.
    let other = Client::from_source(&node, "127.0.0.2".parse().unwrap());
    for _ in 0..50 {
        let answer = other.request(&device, None, &payload).await;
        expect(&answer, false, 403, "token-unknown", "no such registration token");
    }
    assert_eq!(site.records(), before);
    let answer = client.request(&device, None, &register(&device, "SN1")).await;
    assert_eq!((answer.status, site.instances()), (200, 1), "a good token is honoured from a limited source");
    node.stop().await;
}
