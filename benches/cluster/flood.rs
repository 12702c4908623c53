//! Requests at the products' port that nobody answers for: unknown tokens, unknown instances, other keys, bad
//! signatures, nonsense.

use super::system::System;
use anyhow::{Result, bail};
use licraft::pki::ca::{certificates_from_pem, csr};
use licraft::pki::jws::{Algorithm, Header, Jws, SigningKey};
use licraft::pki::tls::client_config;
use licraft::product::message::REQUEST_TYP;
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Addresses from which it comes, with one kept-alive connection each.
const SOURCES: u8 = 16;
/// Requests a second of each source: far more than any limit allows, and not so much that making them on these
/// processors is what is measured.
const PER_SOURCE: u32 = 125;

/// The flood.
pub struct Flood {
    sources: Vec<reqwest::Client>,
    bodies: Vec<Vec<u8>>,
}

impl Flood {
    pub async fn new(system: &System) -> Result<Self> {
        let roots = certificates_from_pem(&std::fs::read(system.demo().join("ca.pem"))?)?;
        let vendor = certificates_from_pem(&std::fs::read(system.demo().join("central/vendor-root.pem"))?)?;
        let client = |n| -> Result<reqwest::Client> {
            let tls = client_config(roots.iter().chain(&vendor).map(Vec::as_slice), None)?;
            let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().http1_only();
            Ok(builder.local_address(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 7, n))).build()?)
        };
        let sources = (1..=SOURCES).map(client).collect::<Result<_>>()?;
        Ok(Self { sources, bodies: bodies()? })
    }

    /// Sends to `url` for `time`; how many were answered.
    pub async fn run(&self, url: &str, time: Duration) -> Result<u64> {
        let mut tasks = tokio::task::JoinSet::new();
        let end = Instant::now() + time;
        for source in &self.sources {
            let (source, url, bodies) = (source.clone(), url.to_owned(), self.bodies.clone());
            tasks.spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_secs(1) / PER_SOURCE);
                let mut sent = 0;
                for body in bodies.iter().cycle() {
                    pace.tick().await;
                    if Instant::now() >= end {
                        break;
                    }
                    // A connection that is not taken is what a flood may meet.
                    let Ok(answer) = source.post(&url).body(body.clone()).send().await else { continue };
                    if answer.status().is_success() {
                        bail!("a request of the flood was granted");
                    }
                    answer.bytes().await?;
                    sent += 1;
                }
                Ok(sent)
            });
        }
        let mut sent = 0;
        while let Some(task) = tasks.join_next().await {
            sent += task??;
        }
        Ok(sent)
    }
}

/// One of each kind.
fn bodies() -> Result<Vec<Vec<u8>>> {
    let key = SigningKey::generate(Algorithm::EdDsa)?;
    let time = licraft::product::wall_clock()().0;
    let register = json!({
        "type": "register", "protocol": 1, "nonce": "0123456789abcdef", "time": time, "token": "there-is-no-such-token",
        "csr": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, csr(&key, "x")?),
        "udi": {"pid": "FLOOD", "sn": "1"}, "product_type": "Flood", "software_version": "1"
    });
    let renew = json!({
        "type": "renew-authorization", "protocol": 1, "nonce": "0123456789abcdef", "time": time, "number": 1
    });
    let sign = |kid: Option<&str>, payload: &serde_json::Value| -> Result<Jws> {
        let header = Header::typ(REQUEST_TYP).with_key(&key.public_key());
        let header = if let Some(kid) = kid { header.with_kid(kid) } else { header };
        Ok(Jws::sign(&key, header, &serde_json::to_vec(payload)?)?)
    };
    let mut readmit = register.clone();
    if let Some(members) = readmit.as_object_mut() {
        members.remove("token");
        members.insert("certificate".into(), json!("MAA="));
    }
    let mut forged = sign(Some("1000"), &renew)?;
    forged.signature = sign(None, &register)?.signature;
    let signed = [
        sign(None, &register)?,
        // Known, but of another key; and known to nobody.
        sign(Some("1000"), &renew)?,
        sign(Some("999999999999"), &renew)?,
        sign(None, &readmit)?,
        forged,
    ];
    let mut bodies = signed.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>()?;
    bodies.push(b"{\"protected\":\"nonsense\"}".to_vec());
    Ok(bodies)
}
