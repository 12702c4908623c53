//! A client that sends any bytes, and checks every message against the schemas.

use super::server::{Node, TOKEN};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use licraft::pki::ca::{certificate_key, certificates_from_pem, csr};
use licraft::pki::jws::{Header, Jws, SigningKey};
use licraft::pki::sha256;
use licraft::product::message::REQUEST_TYP;
use serde_json::{Value, json};
use std::path::Path;

/// A validator of `proto/product/NAME.schema.json`.
pub fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("proto/product/{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    jsonschema::draft202012::new(&serde_json::from_str(&text).unwrap()).unwrap()
}

pub fn assert_valid(name: &str, value: &Value) {
    let errors: Vec<String> = schema(name).iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {value:#}");
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub signed: bool,
    /// The payload of a signed answer, or the problem.
    pub value: Value,
    /// The signed answer's header.
    pub header: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.value["code"].as_str().unwrap_or("")
    }

    pub fn detail(&self) -> &str {
        self.value["detail"].as_str().unwrap_or("")
    }
}

pub struct Client {
    pub http: reqwest::Client,
    pub base: String,
}

impl Client {
    pub fn new(node: &Node) -> Self {
        Self { http: http_client(&node.ca_pem), base: format!("https://127.0.0.1:{}", node.port) }
    }

    /// A client that connects from another address of this machine.
    pub fn from_source(node: &Node, source: std::net::IpAddr) -> Self {
        let http = builder(&node.ca_pem).local_address(source).build().unwrap();
        Self { http, ..Self::new(node) }
    }

    pub async fn send(&self, method: http::Method, path: &str, body: Vec<u8>) -> Answer {
        let response = self.http.request(method, format!("{}{path}", self.base)).body(body).send().await.unwrap();
        read(response).await
    }

    pub async fn post(&self, body: Vec<u8>) -> Answer {
        self.send(http::Method::POST, "/SmartTransport", body).await
    }

    /// Posts a signed request, checks both sides against the schemas, and a signed answer's binding and signature.
    pub async fn request(&self, key: &SigningKey, kid: Option<&str>, payload: &Value) -> Answer {
        let name = format!("{}.request", payload["type"].as_str().unwrap());
        assert_valid(&name, payload);
        self.unchecked(key, kid, payload).await
    }

    pub async fn unchecked(&self, key: &SigningKey, kid: Option<&str>, payload: &Value) -> Answer {
        let bytes = serde_json::to_vec(payload).unwrap();
        let jws = sign(key, kid, &bytes);
        assert_valid("jws", &serde_json::to_value(&jws).unwrap());
        assert_valid("request-header", &decode(&jws.protected));
        let answer = self.post(serde_json::to_vec(&jws).unwrap()).await;
        if answer.signed {
            assert_eq!(answer.value["request"], B64.encode(sha256(&bytes)));
        }
        answer
    }
}

pub fn http_client(ca_pem: &str) -> reqwest::Client {
    builder(ca_pem).build().unwrap()
}

fn builder(ca_pem: &str) -> reqwest::ClientBuilder {
    let roots = certificates_from_pem(ca_pem.as_bytes()).unwrap();
    let tls = licraft::pki::tls::client_config(roots.iter().map(Vec::as_slice), None).unwrap();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy()
}

async fn read(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let signed = headers.get("content-type").is_some_and(|t| t == "application/jose+json");
    let bytes = response.bytes().await.unwrap();
    if !signed {
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if !value.is_null() {
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_valid("problem", &value);
            assert_eq!(value["status"], status);
        }
        return Answer { status, headers, signed, value, header: Value::Null };
    }
    let jws: Jws = serde_json::from_slice(&bytes).unwrap();
    assert_valid("jws", &serde_json::from_slice(&bytes).unwrap());
    let (header, value) = (decode(&jws.protected), decode(&jws.payload));
    assert_valid("answer-header", &header);
    assert_valid(&format!("{}.answer", value["type"].as_str().unwrap()), &value);
    if let Some(signer) = header["x5c"][0].as_str() {
        jws.verify(&certificate_key(&STANDARD.decode(signer).unwrap()).unwrap()).unwrap();
    }
    assert_eq!(status, value["status"].as_u64().map_or(200, |s| u16::try_from(s).unwrap()));
    Answer { status, headers, signed, value, header }
}

fn decode(text: &str) -> Value {
    serde_json::from_slice(&B64.decode(text).unwrap()).unwrap()
}

pub fn sign(key: &SigningKey, kid: Option<&str>, payload: &[u8]) -> Jws {
    let mut header = Header::typ(REQUEST_TYP).with_key(&key.public_key());
    if let Some(kid) = kid {
        header = header.with_kid(kid);
    }
    Jws::sign(key, header, payload).unwrap()
}

pub fn now() -> u64 {
    licraft::product::wall_clock()().0
}

fn nonce() -> String {
    hex::encode(licraft::pki::random::bytes::<12>())
}

/// A register request of the device `sn`.
pub fn register(key: &SigningKey, sn: &str) -> Value {
    json!({
        "type": "register", "protocol": 1, "nonce": nonce(), "time": now(), "token": TOKEN,
        "csr": STANDARD.encode(csr(key, sn).unwrap()), "udi": {"pid": "ROUTER", "sn": sn},
        "host_name": format!("host-{sn}"), "product_type": "Router", "software_version": "3.1"
    })
}

/// A numbered request; `more` adds members.
pub fn numbered(kind: &str, number: u64, more: Value) -> Value {
    let mut payload = json!({"type": kind, "protocol": 1, "nonce": nonce(), "time": now(), "number": number});
    for (name, value) in more.as_object().unwrap() {
        payload[name] = value.clone();
    }
    payload
}

pub fn authorize(number: u64, licenses: &[(&str, u64)]) -> Value {
    let licenses: Vec<Value> = licenses.iter().map(|(tag, count)| json!({"tag": tag, "count": count})).collect();
    numbered("authorize", number, json!({"licenses": licenses}))
}
