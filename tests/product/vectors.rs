//! The test vectors: fixed keys and times, so that an implementation in another language can compare byte for byte.
//!
//! `LICRAFT_WRITE_VECTORS=1 cargo test --test product vectors` writes them anew, with a new root of trust.

use super::client::assert_valid;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use licraft::license::Millis;
use licraft::pki::ca::{Authority, Leaf, Purpose, certificate_key, csr};
use licraft::pki::chain::{Use, verify};
use licraft::pki::jws::{Header, Jws, SigningKey};
use licraft::pki::sha256;
use licraft::product::message::{ANSWER_TYP, REQUEST_TYP};
use licraft::product::thumbprint;
use serde_json::{Value, json};
use std::path::PathBuf;

/// 2026-01-02 03:04:05 UTC.
const NOW: u64 = 1_767_323_045_000;
const NONCE: &str = "000102030405060708090a0b";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/product")
}

fn read(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn write(name: &str, value: &Value) {
    std::fs::create_dir_all(folder()).unwrap();
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    std::fs::write(folder().join(format!("{name}.json")), text).unwrap();
}

/// An Ed25519 key from its 32-byte seed (RFC 8410, section 7: PKCS#8 is a fixed prefix and the seed).
fn key(seed: &str) -> SigningKey {
    let prefix = hex::decode("302e020100300506032b657004220420").unwrap();
    SigningKey::from_pkcs8_der(&[prefix, hex::decode(seed).unwrap()].concat()).unwrap()
}

fn seed(byte: u8) -> String {
    hex::encode([byte; 32])
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn jws(value: &Value) -> Jws {
    serde_json::from_value(value.clone()).unwrap()
}

fn chain(trust: &Value) -> Vec<Vec<u8>> {
    trust["x5c"].as_array().unwrap().iter().map(|c| STANDARD.decode(string(c)).unwrap()).collect()
}

const REQUESTS: [&str; 6] =
    ["register", "register-devices", "authorize", "renew-authorization", "renew-id", "deregister"];
const ANSWERS: [&str; 5] = ["registered", "authorized", "id-renewed", "deregistered", "refused"];

#[test]
fn requests_are_signed_byte_for_byte() {
    write_if_asked();
    let product = read("keys")["product"].clone();
    let key = key(string(&product["ed25519_seed_hex"]));
    assert_eq!(serde_json::to_value(key.public_key().to_jwk()).unwrap(), product["jwk"]);
    assert_eq!(hex::encode(key.public_key().spki_der()), string(&product["spki_hex"]));
    for name in REQUESTS {
        let vector = read(&format!("{name}.request"));
        let payload = string(&vector["payload"]).as_bytes();
        let kind = name.strip_suffix("-devices").unwrap_or(name);
        assert_valid(&format!("{kind}.request"), &serde_json::from_slice(payload).unwrap());
        assert_valid("jws", &vector["jws"]);
        let made = jws(&vector["jws"]);
        let header = B64.decode(&made.protected).unwrap();
        assert_eq!(header, string(&vector["protected_header"]).as_bytes());
        assert_valid("request-header", &serde_json::from_slice(&header).unwrap());
        assert_eq!(made.verify(&key.public_key()).unwrap(), payload);
        // Ed25519 is deterministic, so whoever signs the same bytes gets the same signature.
        let signed = format!("{}.{}", made.protected, made.payload);
        assert_eq!(B64.encode(key.sign(signed.as_bytes()).unwrap()), made.signature);
        assert_eq!(B64.encode(sha256(payload)), string(&vector["payload_sha256"]));
    }
}

#[test]
fn answers_verify_down_to_the_root() {
    write_if_asked();
    let keys = read("keys");
    let path = chain(&keys["answer_signer"]);
    let root = STANDARD.decode(string(&keys["vendor_root"])).unwrap();
    verify(&path[0], &path[1..], std::slice::from_ref(&root), Millis(NOW), Use::DocumentSigner).unwrap();
    for name in ANSWERS {
        let vector = read(&format!("{name}.answer"));
        let made = jws(&vector["jws"]);
        let header: Value = serde_json::from_slice(&B64.decode(&made.protected).unwrap()).unwrap();
        assert_valid("answer-header", &header);
        assert_eq!(header["kid"], thumbprint(&path[0]));
        let payload = made.verify(&certificate_key(&path[0]).unwrap()).unwrap();
        assert_eq!(payload, string(&vector["payload"]).as_bytes());
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_valid(&format!("{name}.answer"), &payload);
        let request = read(string(&vector["answers"]));
        assert_eq!(payload["request"], request["payload_sha256"], "{name} answers {}", vector["answers"]);
    }
    let id: Value = serde_json::from_str(string(&read("registered.answer")["payload"])).unwrap();
    let id = STANDARD.decode(string(&id["certificate"])).unwrap();
    verify(&id, &path[1..], &[root], Millis(NOW), Use::Client).unwrap();
}

#[test]
fn the_bad_ones_are_bad() {
    write_if_asked();
    let keys = read("keys");
    let signer = certificate_key(&chain(&keys["answer_signer"])[0]).unwrap();
    let product = key(string(&keys["product"]["ed25519_seed_hex"])).public_key();
    for vector in read("invalid").as_array().unwrap() {
        let made = jws(&vector["jws"]);
        let verified = [&signer, &product].iter().any(|key| made.verify(key).is_ok());
        match string(&vector["why"]) {
            // The signature holds, and yet it is not what it is shown as.
            "typ" => {
                let header = made.header().unwrap();
                assert!(verified && header.typ.as_deref() == Some(REQUEST_TYP), "{vector}");
            }
            _ => assert!(!verified, "{vector}"),
        }
    }
}

fn write_if_asked() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if std::env::var_os("LICRAFT_WRITE_VECTORS").is_some() {
        ONCE.call_once(write_all);
    }
}

fn write_all() {
    let (product, signer) = (key(&seed(1)), key(&seed(2)));
    let ca_key = key(&seed(3));
    let root = Authority::self_signed("Vendor Root", 7_300, Millis(NOW)).unwrap();
    let ca_cert = root.issue_ca(&csr(&ca_key, "x").unwrap(), "Account CA", Millis(NOW), 3_650, 0).unwrap();
    let ca = Authority::from_parts(ca_cert.clone(), ca_key.to_pkcs8_der().unwrap()).unwrap();
    let leaf = |purpose, name: &str, serial, uris| Leaf {
        common_name: name.into(),
        purpose,
        hosts: Vec::new(),
        uris,
        crl: None,
        serial: [serial; 16],
        not_before: Millis(NOW - 300_000),
        not_after: Millis(NOW + 365 * Millis::DAY),
    };
    let signer_leaf = leaf(Purpose::DocumentSigner, "Answer signer", 0x51, Vec::new());
    let signer_cert = ca.issue_leaf(&csr(&signer, "x").unwrap(), &signer_leaf).unwrap();
    let id_leaf = leaf(Purpose::Client, "instance 12", 0x52, vec!["licraft:instance:12".into()]);
    let product_csr = csr(&product, "SN1").unwrap();
    let id_cert = ca.issue_leaf(&product_csr, &id_leaf).unwrap();
    let path = [&signer_cert, &ca_cert, &root.cert_der().to_vec()].map(|der| STANDARD.encode(der));
    write(
        "keys",
        &json!({
            "description": "Fixed keys. Times in the vectors are around 2026-01-02T03:04:05Z (1767323045000).",
            "product": {
                "ed25519_seed_hex": seed(1),
                "jwk": product.public_key().to_jwk(),
                "spki_hex": hex::encode(product.public_key().spki_der()),
            },
            "answer_signer": { "ed25519_seed_hex": seed(2), "x5c": path, "kid": thumbprint(&signer_cert) },
            "vendor_root": STANDARD.encode(root.cert_der()),
        }),
    );
    let kid = thumbprint(&signer_cert);
    for (name, members) in [
        (
            "register",
            format!(
                r#""token":"example-token","csr":"{}","udi":{{"pid":"ROUTER","sn":"SN1"}},"host_name":"router-1","product_type":"Router","software_version":"3.1""#,
                STANDARD.encode(&product_csr)
            ),
        ),
        (
            "register-devices",
            format!(
                r#""token":"example-token","csr":"{}","udi":{{"pid":"CALLS","sn":"SN1"}},"host_name":"calls-1","product_type":"Calls","software_version":"14","devices":[{{"pid":"CALLS","sn":"SN2","host_name":"calls-2"}},{{"pid":"CALLS","sn":"SN3"}}]"#,
                STANDARD.encode(&product_csr)
            ),
        ),
        (
            "authorize",
            format!(
                r#""number":1,"signer":"{kid}","licenses":[{{"tag":"PRIME_BASE","count":1}},{{"tag":"PRIME_LIFECYCLE","count":34}}]"#
            ),
        ),
        ("renew-authorization", format!(r#""number":2,"signer":"{kid}""#)),
        ("renew-id", format!(r#""number":3,"signer":"{kid}","csr":"{}""#, STANDARD.encode(&product_csr))),
        ("deregister", format!(r#""number":4,"signer":"{kid}""#)),
    ] {
        let kind = name.strip_suffix("-devices").unwrap_or(name);
        let payload = format!(r#"{{"type":"{kind}","protocol":1,"nonce":"{NONCE}","time":{NOW},{members}}}"#);
        let mut header = Header::typ(REQUEST_TYP).with_key(&product.public_key());
        if kind != "register" {
            header = header.with_kid("12");
        }
        let made = Jws::sign(&product, header, payload.as_bytes()).unwrap();
        write(
            &format!("{name}.request"),
            &json!({
                "description": format!("A {kind} request, signed with the product key of keys.json."),
                "protected_header": String::from_utf8(B64.decode(&made.protected).unwrap()).unwrap(),
                "payload": payload,
                "payload_sha256": B64.encode(sha256(payload.as_bytes())),
                "jws": made,
            }),
        );
    }
    write_answers(&signer, &path, &STANDARD.encode(id_cert));
}

fn write_answers(signer: &SigningKey, path: &[String; 3], certificate: &str) {
    let der: Vec<Vec<u8>> = path.iter().map(|c| STANDARD.decode(c).unwrap()).collect();
    let header = || Header::typ(ANSWER_TYP).with_kid(thumbprint(&der[0]));
    let names = r#""account":"TEST","virtual_account":"Default""#;
    let (next, expires, enforce) = (NOW + 12 * Millis::HOUR, NOW + 90 * Millis::DAY, NOW + 90 * Millis::DAY);
    for (name, request, body) in [
        ("registered", "register.request", format!(
            r#""instance":"12","repeated":false,{names},"export_controlled":false,"certificate":"{certificate}""#
        )),
        ("authorized", "authorize.request", format!(
            r#""instance":"12","number":1,{names},"status":"out-of-compliance","licenses":[{{"tag":"PRIME_BASE","name":"Base","count":1,"status":"in-compliance"}},{{"tag":"PRIME_LIFECYCLE","name":"Lifecycle","count":34,"status":"out-of-compliance"}}],"authorized":{NOW},"next_contact":{next},"expires":{expires},"enforce_from":{enforce},"export_controlled":false"#
        )),
        ("id-renewed", "renew-id.request", format!(r#""instance":"12","number":3,"certificate":"{certificate}""#)),
        ("deregistered", "deregister.request", r#""instance":"12","number":4"#.into()),
        ("refused", "renew-authorization.request",
            r#""code":"stale-request","title":"The request number is stale","status":409,"detail":"Request 2 is older than the last one, 7; continue after that.","number":7"#.into()),
    ] {
        let bound = string(&read(request)["payload_sha256"]).to_owned();
        let payload = format!(r#"{{"protocol":1,"request":"{bound}","time":{NOW},"type":"{name}",{body}}}"#);
        let header = if name == "registered" { header().with_chain(der.iter().map(Vec::as_slice)) } else { header() };
        let made = Jws::sign(signer, header, payload.as_bytes()).unwrap();
        write(&format!("{name}.answer"), &json!({
            "description": format!("The {name} answer to {request}.json, signed by the answer signer of keys.json."),
            "answers": request,
            "payload": payload,
            "jws": made,
        }));
    }
    let good = jws(&read("authorize.request")["jws"]);
    let answer = jws(&read("authorized.answer")["jws"]);
    let changed = Jws { payload: B64.encode(br#"{"type":"authorize"}"#), ..good.clone() };
    let none = Jws { protected: B64.encode(br#"{"alg":"none","typ":"licraft-request+jws"}"#), ..good.clone() };
    let swapped = Jws { signature: answer.signature, ..good.clone() };
    write(
        "invalid",
        &json!([
            { "description": "Another payload under the signature.", "why": "signature", "jws": changed },
            { "description": "No algorithm.", "why": "alg", "jws": none },
            { "description": "The signature of an answer over a request.", "why": "signature", "jws": swapped },
            { "description": "A request shown as an answer: the signature holds, typ says what it is.", "why": "typ", "jws": good },
        ]),
    );
}
