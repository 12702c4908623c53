//! The load generator: many product instances in memory, driven over few kept-alive connections.

use super::AgentError;
use super::exchange::{Retry, sign};
use super::trust::{RootPin, Trust};
use super::wire::{Connection, Reply, Target};
use crate::license::Millis;
use crate::pki::ca::{certificate_key, certificates_from_pem, csr};
use crate::pki::jws::{Algorithm, Header, Jws, PublicKey, SigningKey};
use crate::pki::tls::client_config;
use crate::pki::{random, sha256};
use crate::product::context::{Clock, wall_clock};
use crate::product::message::{
    Answer, AnswerBody, LicenseCount, PROTOCOL, REQUEST_TYP, RequestPayload, RequestType, UdiMember,
};
use crate::product::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use url::Url;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Load {
    pub url: Url,
    pub tls_ca_pem: String,
    pub root: Option<RootPin>,
    pub token: String,
    pub instances: usize,
    pub connections: usize,
    pub licenses: Vec<LicenseCount>,
    /// Authorizations stop after this long, or after so many, whichever comes first.
    pub duration: Option<Duration>,
    pub requests: Option<u64>,
    /// The share of answers whose signature is verified, 0 to 1.
    pub verify: f64,
    /// A request without an answer for this long is given up and repeated on a new connection.
    pub timeout: Duration,
    /// Serial numbers begin with this, so that two runs are different products.
    pub prefix: String,
}

/// What was measured. Latency runs from the first sending of a request to the whole of its answer, repeats included.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub instances: usize,
    pub connections: usize,
    pub registration_seconds: f64,
    pub registrations_per_second: f64,
    pub seconds: f64,
    /// Requests with a granting answer.
    pub requests: u64,
    pub requests_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// The longest time in which no request was granted: the gap of a failover.
    pub longest_gap_ms: f64,
    /// Answers whose signature and binding to the request were verified.
    pub verified: u64,
    /// Attempts that failed and were repeated, and refusals, by what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// How requests were made.
    pub signing: String,
}

/// Registers the instances, then drives authorizations. Returns when the load is done.
///
/// # Errors
/// When the load is impossible, or instances cannot be registered.
pub async fn run(load: Load) -> Result<Report, AgentError> {
    let invalid = |what: &str, why: String| AgentError::Invalid { what: what.to_owned(), why };
    if load.instances == 0 || load.connections == 0 {
        return Err(invalid("the load", "at least one instance and one connection are needed".into()));
    }
    let mut roots = certificates_from_pem(load.tls_ca_pem.as_bytes())?;
    if let Some(RootPin::Certificate(root)) = &load.root {
        roots.push(root.clone());
    }
    let tls = Arc::new(client_config(roots.iter().map(Vec::as_slice), None)?);
    let target = Target::resolve(&load.url, tls).await.map_err(|why| invalid("the URL", why))?;
    let connections = load.connections.min(load.instances);
    let shared = Arc::new(Shared {
        licenses: serde_json::to_string(&load.licenses).map_err(|e| invalid("the licenses", e.to_string()))?,
        left: AtomicI64::new(load.requests.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX))),
        registered: Barrier::new(connections),
        clock: wall_clock(),
        target,
        load,
    });
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..connections {
        let worker = Worker::new(Arc::clone(&shared), began);
        tasks.spawn(worker.run(index, connections));
    }
    let mut workers = Vec::with_capacity(connections);
    while let Some(done) = tasks.join_next().await {
        workers.push(done.map_err(|e| invalid("a worker", e.to_string()))??);
    }
    Ok(report(&shared.load, connections, &workers))
}

struct Shared {
    load: Load,
    target: Target,
    licenses: String,
    left: AtomicI64,
    registered: Barrier,
    clock: Clock,
}

/// One product instance.
struct Simulated {
    key: SigningKey,
    id: String,
    protected: String,
    number: u64,
}

/// One connection with its instances.
struct Worker {
    shared: Arc<Shared>,
    began: Instant,
    connection: Option<Connection>,
    instances: Vec<Simulated>,
    trust: Trust,
    signer: Option<(String, PublicKey)>,
    registered_at: Duration,
    finished_at: Duration,
    /// For every granted request when it was granted, since `began`, and how long it took.
    samples: Vec<(Duration, Duration)>,
    verified: u64,
    owed: f64,
    errors: BTreeMap<String, u64>,
}

impl Worker {
    fn new(shared: Arc<Shared>, began: Instant) -> Self {
        Self {
            shared,
            began,
            connection: None,
            instances: Vec::new(),
            trust: Trust::default(),
            signer: None,
            registered_at: Duration::ZERO,
            finished_at: Duration::ZERO,
            samples: Vec::new(),
            verified: 0,
            owed: 0.0,
            errors: BTreeMap::new(),
        }
    }

    async fn run(mut self, index: usize, connections: usize) -> Result<Self, AgentError> {
        if let Some(pin) = self.shared.load.root.clone() {
            self.trust.pin(pin)?;
        }
        for serial in (index..self.shared.load.instances).step_by(connections) {
            let instance = self.register(serial).await?;
            self.instances.push(instance);
        }
        self.registered_at = self.began.elapsed();
        if self.shared.load.requests == Some(0) {
            // A product that has nothing more to say hangs up; others may wait for its place.
            self.connection = None;
        }
        let shared = Arc::clone(&self.shared);
        shared.registered.wait().await;
        let end = shared.load.duration.map(|d| Instant::now() + d);
        let mut next = 0;
        while end.is_none_or(|end| Instant::now() < end) && shared.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.authorize(next, end).await?;
            next = (next + 1) % self.instances.len();
        }
        self.finished_at = self.began.elapsed();
        Ok(self)
    }

    async fn register(&mut self, serial: usize) -> Result<Simulated, AgentError> {
        let key = SigningKey::generate(Algorithm::EdDsa)?;
        let load = &self.shared.load;
        let mut payload = RequestPayload::new(RequestType::Register, String::new(), 0);
        payload.token = Some(load.token.clone());
        payload.csr = Some(STANDARD.encode(csr(&key, "simulated")?));
        payload.udi = Some(UdiMember { pid: "SIMULATED".into(), sn: format!("{}{serial}", load.prefix) });
        payload.product_type = Some("Simulated product".into());
        payload.software_version = Some(env!("CARGO_PKG_VERSION").into());
        let mut retry = Retry::new(Duration::from_millis(20), Duration::from_secs(5));
        let start = Instant::now();
        loop {
            let now = (self.shared.clock)();
            payload.nonce = hex::encode(random::bytes::<12>());
            payload.time = now.0;
            let bytes = serde_json::to_vec(&payload).expect("a struct of strings and numbers always serialises");
            match self.post(sign(&key, None, &bytes)?).await {
                Ok(reply) if reply.signed => return self.registered(key, &reply, &bytes, now),
                Ok(reply) => {
                    let wait = self.repeatable(&reply)?;
                    tokio::time::sleep(retry.next_wait(wait)).await;
                }
                Err(why) => {
                    self.note(why);
                    tokio::time::sleep(retry.next_wait(None)).await;
                }
            }
            if start.elapsed() > REGISTRATION_PATIENCE {
                let last = format!("errors so far: {:?}", self.errors);
                return Err(AgentError::Unreachable { seconds: REGISTRATION_PATIENCE.as_secs(), attempts: 0, last });
            }
        }
    }

    fn registered(
        &mut self,
        key: SigningKey,
        reply: &Reply,
        payload: &[u8],
        now: Millis,
    ) -> Result<Simulated, AgentError> {
        let answer = self.check(&reply.body, payload, now)?;
        match answer.body {
            AnswerBody::Registered(registered) => {
                let id = registered.instance.into_owned();
                let mut header = Header::typ(REQUEST_TYP).with_key(&key.public_key()).with_kid(id.as_str());
                header.alg = "EdDSA".into();
                let header = serde_json::to_vec(&header).expect("a struct of strings always serialises");
                Ok(Simulated { key, id, protected: B64.encode(header), number: 0 })
            }
            AnswerBody::Refused(refused) => Err(AgentError::Refused {
                code: refused.code.into_owned(),
                title: refused.title.into_owned(),
                detail: refused.detail.into_owned(),
                number: refused.number,
            }),
            _ => Err(AgentError::unexpected("register")),
        }
    }

    /// One authorization, repeated under its number until it is answered or the time is over.
    async fn authorize(&mut self, index: usize, end: Option<Instant>) -> Result<(), AgentError> {
        self.instances[index].number += 1;
        let mut start = None;
        let mut retry = Retry::new(Duration::from_millis(2), Duration::from_millis(20));
        loop {
            let now = (self.shared.clock)();
            let payload = self.payload(index, now);
            let body = self.sign(index, &payload)?;
            let start = *start.get_or_insert_with(Instant::now);
            let wait = match self.post(body).await {
                Ok(reply) if reply.signed => {
                    if reply.status == 200 {
                        self.samples.push((self.began.elapsed(), start.elapsed()));
                    }
                    return self.inspect(index, &reply, payload.as_bytes(), now);
                }
                Ok(reply) => self.repeatable(&reply)?,
                Err(why) => {
                    self.note(why);
                    None
                }
            };
            if end.is_some_and(|end| Instant::now() >= end) {
                self.note("unanswered at the end".into());
                return Ok(());
            }
            tokio::time::sleep(retry.next_wait(wait)).await;
        }
    }

    /// Verifies the share of answers asked for; refusals always.
    fn inspect(&mut self, index: usize, reply: &Reply, payload: &[u8], now: Millis) -> Result<(), AgentError> {
        self.owed += self.shared.load.verify;
        if reply.status == 200 && self.owed < 1.0 {
            return Ok(());
        }
        self.owed = (self.owed - 1.0).max(0.0);
        let answer = self.check(&reply.body, payload, now)?;
        self.verified += 1;
        match answer.body {
            AnswerBody::Authorized(authorized) if authorized.instance == self.instances[index].id => Ok(()),
            AnswerBody::Refused(refused) => {
                self.note(format!("refused: {}", refused.code));
                Ok(())
            }
            _ => Err(AgentError::unexpected("authorize")),
        }
    }

    /// Verifies an answer: in full for a new signer, by its key alone for the known one.
    fn check(&mut self, body: &[u8], payload: &[u8], now: Millis) -> Result<Answer<'static>, AgentError> {
        let untrusted = |why: String| AgentError::Untrusted(why);
        let jws: Jws = serde_json::from_slice(body).map_err(|e| untrusted(e.to_string()))?;
        let header = jws.header()?;
        let Some((_, key)) = self.signer.as_ref().filter(|(kid, _)| header.kid.as_ref() == Some(kid)) else {
            let answer = self.trust.verify(body, payload, now)?;
            let leaf = header.chain()?.into_iter().next();
            let leaf = leaf.ok_or_else(|| untrusted("the first answer shows no certificates".into()))?;
            self.signer = Some((header.kid.unwrap_or_default(), certificate_key(&leaf)?));
            return Ok(answer);
        };
        let bytes = jws.verify(key)?;
        let answer: Answer<'static> = serde_json::from_slice(&bytes).map_err(|e| untrusted(e.to_string()))?;
        if answer.request != B64.encode(sha256(payload)) {
            return Err(untrusted("it answers another request".into()));
        }
        Ok(answer)
    }

    fn payload(&self, index: usize, now: Millis) -> String {
        let instance = &self.instances[index];
        let signer = self.signer.as_ref().map_or("", |(kid, _)| kid);
        let (nonce, time, number) = (hex::encode(random::bytes::<12>()), now.0, instance.number);
        format!(
            r#"{{"type":"authorize","protocol":{PROTOCOL},"nonce":"{nonce}","time":{time},"number":{number},"signer":"{signer}","licenses":{}}}"#,
            self.shared.licenses
        )
    }

    fn sign(&self, index: usize, payload: &str) -> Result<Vec<u8>, AgentError> {
        let instance = &self.instances[index];
        let mut signed = format!("{}.", instance.protected);
        B64.encode_string(payload, &mut signed);
        let signature = B64.encode(instance.key.sign(signed.as_bytes())?);
        let encoded = &signed[instance.protected.len() + 1..];
        let body =
            format!(r#"{{"protected":"{}","payload":"{encoded}","signature":"{signature}"}}"#, instance.protected);
        Ok(body.into_bytes())
    }

    async fn post(&mut self, body: Vec<u8>) -> Result<Reply, String> {
        let shared = Arc::clone(&self.shared);
        let mut connection = self.connection.take();
        let attempt = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&shared.target).await?,
            };
            let reply = open.post(&shared.target, body).await?;
            Ok::<_, String>((open, reply))
        };
        // A connection whose request failed is not used again.
        let done = tokio::time::timeout(shared.load.timeout, attempt).await;
        let (open, reply) = done.map_err(|_| "no answer in time".to_owned())??;
        self.connection = Some(open).filter(|_| !reply.last);
        Ok(reply)
    }

    /// Notes an unsigned error; says how long to wait, or fails when repeating is no use.
    fn repeatable(&mut self, reply: &Reply) -> Result<Option<Duration>, AgentError> {
        let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) else {
            self.note(format!("HTTP {}", reply.status));
            return Ok(None);
        };
        self.note(problem.code.clone().into_owned());
        if problem.status == 503 || problem.status == 429 {
            // The Standby is asked again soon: the gap of a failover is what this measures.
            let wait = problem.retry_after_ms.filter(|_| problem.status == 429);
            return Ok(wait.map(Duration::from_millis));
        }
        Err(AgentError::Unsigned(problem))
    }

    fn note(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }
}

/// How long one instance may take to be registered: hundreds of thousands of them are told to wait meanwhile.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(120);

fn report(load: &Load, connections: usize, workers: &[Worker]) -> Report {
    let registered = workers.iter().map(|w| w.registered_at).max().unwrap_or_default().as_secs_f64();
    let finished = workers.iter().map(|w| w.finished_at).max().unwrap_or_default().as_secs_f64();
    let seconds = finished - registered;
    let mut latencies: Vec<Duration> = workers.iter().flat_map(|w| w.samples.iter().map(|s| s.1)).collect();
    latencies.sort_unstable();
    let mut granted: Vec<Duration> = workers.iter().flat_map(|w| w.samples.iter().map(|s| s.0)).collect();
    granted.sort_unstable();
    let gap = granted.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default();
    let mut errors = BTreeMap::new();
    for (what, count) in workers.iter().flat_map(|w| &w.errors) {
        *errors.entry(what.clone()).or_default() += count;
    }
    let requests = latencies.len() as u64;
    Report {
        instances: load.instances,
        connections,
        registration_seconds: registered,
        registrations_per_second: load.instances as f64 / registered.max(f64::EPSILON),
        seconds,
        requests,
        requests_per_second: requests as f64 / seconds.max(f64::EPSILON),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        p999_ms: quantile(&latencies, 0.999),
        max_ms: quantile(&latencies, 1.0),
        longest_gap_ms: gap.as_secs_f64() * 1e3,
        verified: workers.iter().map(|w| w.verified).sum(),
        errors,
        signing: "each request is signed just before it is sent, outside the measured latency".into(),
    }
}

/// The smallest value that at least `share` of the sorted values do not exceed, in milliseconds; 0 for none.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert!((quantile(&sorted, 0.5) - 50.0).abs() < 1e-9);
        assert!((quantile(&sorted, 0.99) - 99.0).abs() < 1e-9);
        assert!((quantile(&sorted, 1.0) - 100.0).abs() < 1e-9);
        assert!(quantile(&[], 0.5).abs() < 1e-9);
    }
}
