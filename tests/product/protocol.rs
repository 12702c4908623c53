//! What is answered, and that replays and lost answers change nothing.

use super::client::{Client, authorize, numbered, register, sign};
use super::server::{BASE, Fault, LIFECYCLE, Site};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licraft::license::Millis;
use licraft::pki::ca::{certificate_key, csr};
use licraft::pki::chain::{Use, verify};
use licraft::pki::jws::{Algorithm, SigningKey};
use serde_json::{Value, json};

fn certificate(value: &Value) -> Vec<u8> {
    STANDARD.decode(value["certificate"].as_str().unwrap()).unwrap()
}

fn chain(header: &Value) -> Vec<Vec<u8>> {
    header["x5c"].as_array().unwrap().iter().map(|c| STANDARD.decode(c.as_str().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_registration_gives_a_certificate_that_leads_to_the_vendor_root() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let sn = format!("{algorithm:?}");
        let answer = client.request(&key, None, &register(&key, &sn)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((&answer.value["account"], &answer.value["virtual_account"]), (&json!("TEST"), &json!("Default")));
        assert_eq!((&answer.value["repeated"], &answer.value["export_controlled"]), (&json!(false), &json!(false)));
        let (leaf, above) = (certificate(&answer.value), chain(&answer.header)[1..].to_vec());
        assert_eq!(certificate_key(&leaf).unwrap(), key.public_key());
        let at = Millis(super::client::now());
        verify(&leaf, &above, std::slice::from_ref(&site.root_der), at, Use::Client).unwrap();
        let nearly_a_year = at.plus(364 * Millis::DAY);
        verify(&leaf, &above, std::slice::from_ref(&site.root_der), nearly_a_year, Use::Client).unwrap();
        verify(&leaf, &above, std::slice::from_ref(&site.root_der), at.plus(366 * Millis::DAY), Use::Client)
            .unwrap_err();

        // The answer was lost: the same certificate again, however often.
        site.ledger.fail_next([Fault::UnknownAfter]);
        assert_eq!(client.request(&key, None, &register(&key, &sn)).await.code(), "outcome-unknown");
        let again = client.request(&key, None, &register(&key, &sn)).await;
        assert_eq!((&again.value["instance"], &again.value["repeated"]), (&answer.value["instance"], &json!(true)));
        assert_eq!(certificate(&again.value), leaf);
        // And it works.
        let id = answer.value["instance"].as_str().unwrap();
        assert_eq!(client.request(&key, Some(id), &authorize(1, &[(BASE, 1)])).await.status, 200);
    }
    assert_eq!(site.instances(), 2);
    node.stop().await;
}

#[tokio::test]
async fn an_authorization_says_how_each_license_stands() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let registered = client.request(&key, None, &register(&key, "SN1")).await;
    let kid = registered.value["instance"].as_str();
    let signer = registered.header["kid"].clone();

    let answer = client.request(&key, kid, &authorize(1, &[(LIFECYCLE, 34), (BASE, 1)])).await;
    assert!(answer.header.get("x5c").is_some(), "the signer was not named, so the chain comes");
    assert_eq!(answer.value["status"], "out-of-compliance");
    let of = |tag: &str| {
        let licenses = answer.value["licenses"].as_array().unwrap();
        let found = licenses.iter().find(|l| l["tag"] == tag).unwrap();
        (found["count"].as_u64().unwrap(), found["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(of(LIFECYCLE), (34, "out-of-compliance".into()));
    assert_eq!(of(BASE), (1, "in-compliance".into()));
    let ms = |name: &str| answer.value[name].as_u64().unwrap();
    let at = ms("authorized");
    assert_eq!(ms("next_contact") - at, 12 * Millis::HOUR);
    assert_eq!(ms("expires") - at, 90 * Millis::DAY);
    assert!(ms("enforce_from") - at <= 90 * Millis::DAY && ms("enforce_from") > at + 89 * Millis::DAY);

    let covered = numbered("authorize", 2, json!({"licenses": [{"tag": BASE, "count": 2}], "signer": signer}));
    let answer = client.request(&key, kid, &covered).await;
    assert!(answer.header.get("x5c").is_none(), "the signer was named, so the chain is left out");
    assert_eq!(answer.value["status"], "authorized");
    assert!(answer.value.get("enforce_from").is_none());
    assert_eq!(
        answer.value["next_contact"].as_u64().unwrap() - answer.value["authorized"].as_u64().unwrap(),
        30 * Millis::DAY
    );
    assert_eq!((site.in_use(BASE), site.in_use(LIFECYCLE)), (2, 0));

    let renewed = client.request(&key, kid, &numbered("renew-authorization", 3, json!({}))).await;
    assert_eq!((&renewed.value["type"], &renewed.value["licenses"]), (&json!("authorized"), &answer.value["licenses"]));
    let none = client.request(&key, kid, &authorize(4, &[])).await;
    assert_eq!(none.value["status"], "no-licenses-in-use");
    assert_eq!(site.in_use(BASE), 0);
    node.stop().await;
}

#[tokio::test]
async fn both_paths_speak_the_same_protocol() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let body = serde_json::to_vec(&sign(&key, None, &serde_json::to_vec(&register(&key, "SN1")).unwrap())).unwrap();
    let path = "/Transportgateway/services/DeviceRequestHandler";
    let answer = client.send(http::Method::POST, path, body.clone()).await;
    assert_eq!((answer.status, &answer.value["type"]), (200, &json!("registered")));
    assert_eq!(client.post(body).await.value["instance"], answer.value["instance"]);
    node.stop().await;
}

#[tokio::test]
async fn the_very_same_bytes_again_get_the_first_outcome_and_change_nothing() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let id = client.request(&key, None, &register(&key, "SN1")).await.value["instance"].as_str().unwrap().to_owned();
    let payload = serde_json::to_vec(&authorize(1, &[(LIFECYCLE, 3)])).unwrap();
    let bytes = serde_json::to_vec(&sign(&key, Some(&id), &payload)).unwrap();
    // The first answer is lost after the commit.
    site.ledger.fail_next([Fault::UnknownAfter]);
    assert_eq!(client.post(bytes.clone()).await.code(), "outcome-unknown");
    let before = site.records();
    site.clock.forward(Millis::MINUTE);
    let first = client.post(bytes.clone()).await;
    site.clock.forward(Millis::MINUTE);
    let second = client.post(bytes).await;
    assert_eq!(first.status, 200);
    for name in ["authorized", "next_contact", "expires", "enforce_from", "licenses", "number"] {
        assert_eq!(first.value[name], second.value[name], "{name}");
    }
    assert_eq!(site.records(), before);
    // A repeat made afresh, hours later: another nonce and time, the same number and content.
    let again = client.request(&key, Some(&id), &authorize(1, &[(LIFECYCLE, 3)])).await;
    assert_eq!(again.value["authorized"], first.value["authorized"]);
    assert_eq!(site.in_use(LIFECYCLE), 3);
    node.stop().await;
}

#[tokio::test]
async fn a_certificate_can_be_renewed_for_a_new_key_and_the_old_key_ends() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let old = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let new = SigningKey::generate(Algorithm::Es256).unwrap();
    let id = client.request(&old, None, &register(&old, "SN1")).await.value["instance"].as_str().unwrap().to_owned();
    let kid = Some(id.as_str());
    let renew = || numbered("renew-id", 1, json!({"csr": STANDARD.encode(csr(&new, "x").unwrap())}));
    let answer = client.request(&old, kid, &renew()).await;
    assert_eq!((answer.status, &answer.value["type"]), (200, &json!("id-renewed")), "{answer:?}");
    let leaf = certificate(&answer.value);
    assert_eq!(certificate_key(&leaf).unwrap(), new.public_key());
    // The answer was lost: the new key asks again, under the same number.
    assert_eq!(client.request(&old, kid, &renew()).await.code(), "wrong-key");
    assert_eq!(certificate(&client.request(&new, kid, &renew()).await.value), leaf);
    assert_eq!(client.request(&new, kid, &authorize(2, &[(BASE, 1)])).await.status, 200);
    assert_eq!(client.request(&old, kid, &authorize(3, &[(BASE, 9)])).await.code(), "wrong-key");
    assert_eq!(site.in_use(BASE), 1);
    node.stop().await;
}

#[tokio::test]
async fn the_same_device_registered_anew_is_counted_once() {
    let site = Site::new();
    let node = site.serve().await;
    let client = Client::new(&node);
    let (first, second) =
        (SigningKey::generate(Algorithm::EdDsa).unwrap(), SigningKey::generate(Algorithm::EdDsa).unwrap());
    let id =
        client.request(&first, None, &register(&first, "SN1")).await.value["instance"].as_str().unwrap().to_owned();
    client.request(&first, Some(&id), &authorize(1, &[(BASE, 1)])).await;
    let again = client.request(&second, None, &register(&second, "SN1")).await;
    assert_eq!((again.status, &again.value["repeated"]), (200, &json!(false)));
    assert_eq!((site.instances(), site.in_use(BASE)), (1, 0));
    node.stop().await;
}
