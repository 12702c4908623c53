//! One request to its end: signed afresh for every attempt, repeated until an answer can be trusted or time is up.

use super::record::{Pending, Wanted};
use super::{Agent, AgentError};
use crate::pki::jws::{Header, Jws, SigningKey};
use crate::pki::random;
use crate::product::message::{Answer, AnswerBody, LicenseCount, REQUEST_TYP, RequestPayload, RequestType};
use crate::product::problem::Problem;
use std::time::{Duration, Instant};

/// Waits between attempts, doubling from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How often a request is moved to a newer number. A product restored from a backup needs one; two programs with one
/// identity would do it for ever.
const MAX_RENUMBERED: u32 = 3;

/// Exponential backoff with full jitter: between half and the whole of a wait that doubles.
#[derive(Debug)]
pub(super) struct Retry {
    first: Duration,
    last: Duration,
    now: Duration,
}

impl Retry {
    pub(super) const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, now: first }
    }

    pub(super) const fn reset(&mut self) {
        self.now = self.first;
    }

    /// The next wait, at least what the server asked for.
    pub(super) fn next_wait(&mut self, asked: Option<Duration>) -> Duration {
        let half = self.now / 2;
        let jitter = half.mul_f64(f64::from(u16::from_le_bytes(random::bytes())) / f64::from(u16::MAX));
        self.now = (self.now * 2).min(self.last);
        (half + jitter).max(asked.unwrap_or_default())
    }
}

impl Agent {
    /// Carries out the pending request, moving it to a newer number when the server says that this one is used.
    pub(super) async fn settle(&mut self, mut pending: Pending) -> Result<(), AgentError> {
        let mut renumbered = 0;
        loop {
            let error = match self.exchange_pending(&pending).await {
                Ok(answer) => return self.accept(&pending.wanted, answer.time, answer.body),
                Err(error) => error,
            };
            let AgentError::Refused { code, number, .. } = &error else { return Err(error) };
            match (code.as_str(), *number) {
                ("stale-request" | "request-mismatch", Some(current)) if renumbered < MAX_RENUMBERED => {
                    renumbered += 1;
                    self.record.number = current.max(self.record.number) + 1;
                    pending.number = self.record.number;
                    self.record.pending = Some(pending.clone());
                    self.dir.save(&self.record)?;
                }
                ("instance-unknown", _) => return self.unknown(pending.wanted, error).await,
                _ => {
                    self.record.pending = None;
                    self.record.last_failure = Some(((self.clock)().0, error.to_string()));
                    self.dir.save(&self.record)?;
                    return Err(error);
                }
            }
        }
    }

    /// The server says that it does not know this product. A server restored from a backup has forgotten those that came
    /// after it, and takes their certificates for proof.
    async fn unknown(&mut self, wanted: Wanted, error: AgentError) -> Result<(), AgentError> {
        let licenses = match wanted {
            // What a repeated deregistration is told when its first answer was lost.
            Wanted::Deregister => {
                self.record.forget_registration();
                return self.dir.save(&self.record);
            }
            Wanted::Authorize { licenses } => licenses,
            Wanted::RenewAuthorization | Wanted::RenewId { .. } => self.held(),
        };
        match self.come_back(licenses).await {
            Ok(()) => {}
            Err(AgentError::Unreachable { .. } | AgentError::State { .. }) => return Err(error),
            Err(_) => {
                self.record.forget_registration();
                self.dir.save(&self.record)?;
                return Err(error);
            }
        }
        match self.record.pending.clone() {
            // Ends: what came back is known, and comes back no second time.
            Some(pending) => Box::pin(self.settle(pending)).await,
            None => Ok(()),
        }
    }

    /// What the last authorization is for.
    fn held(&self) -> Vec<LicenseCount> {
        let held = self.record.authorization.as_ref().map_or(&[][..], |a| &a.licenses);
        held.iter().map(|l| LicenseCount { tag: l.tag.clone(), count: l.count }).collect()
    }

    async fn exchange_pending(&mut self, pending: &Pending) -> Result<Answer<'static>, AgentError> {
        let instance = self.registration()?.instance.clone();
        let (kind, licenses, csr) = match &pending.wanted {
            Wanted::Authorize { licenses } => (RequestType::Authorize, Some(licenses.clone()), None),
            Wanted::RenewAuthorization => (RequestType::RenewAuthorization, None, None),
            Wanted::RenewId { csr, .. } => (RequestType::RenewId, None, Some(csr.clone())),
            Wanted::Deregister => (RequestType::Deregister, None, None),
        };
        let mut payload = RequestPayload::new(kind, String::new(), 0);
        payload.number = Some(pending.number);
        payload.licenses = licenses;
        payload.csr = csr;
        let key = self.dir.key()?;
        let result = self.exchange(&key, Some(&instance), payload.clone()).await;
        match (&result, &pending.wanted) {
            // The first answer may have been lost after the server took the new key.
            (Err(AgentError::Unsigned(problem)), Wanted::RenewId { new_key: true, .. })
                if problem.code == "wrong-key" =>
            {
                let key = self.dir.next_key()?;
                self.exchange(&key, Some(&instance), payload).await
            }
            _ => result,
        }
    }

    /// Sends a request until a trusted answer comes. A refusal is an error; so is silence.
    pub(super) async fn exchange(
        &mut self,
        key: &SigningKey,
        instance: Option<&str>,
        mut payload: RequestPayload,
    ) -> Result<Answer<'static>, AgentError> {
        self.transport.check()?;
        let start = Instant::now();
        let mut retry = Retry::new(FIRST_WAIT, LAST_WAIT);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(key, instance, &mut payload).await {
                Ok(answer) => {
                    self.record.silent_since = None;
                    return into_result(answer);
                }
                Err(Failure::Final(error)) => error,
                Err(Failure::Again { error, after }) => {
                    let wait = retry.next_wait(after);
                    if start.elapsed() + wait < self.patience {
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    self.record.silent_since.get_or_insert((self.clock)().0);
                    AgentError::Unreachable { seconds: self.patience.as_secs(), attempts, last: error }
                }
            };
            self.record.last_failure = Some(((self.clock)().0, error.to_string()));
            self.dir.save(&self.record)?;
            return Err(error);
        }
    }

    async fn attempt(
        &mut self,
        key: &SigningKey,
        instance: Option<&str>,
        payload: &mut RequestPayload,
    ) -> Result<Answer<'static>, Failure> {
        let now = (self.clock)();
        payload.nonce = hex::encode(random::bytes::<12>());
        payload.time = now.0;
        payload.signer = self.record.trust.signer();
        let bytes = serde_json::to_vec(payload).expect("a struct of strings and numbers always serialises");
        let body = sign(key, instance, &bytes).map_err(Failure::Final)?;
        let again = |error: String, after| Failure::Again { error, after };
        let received = self.transport.post(body).await.map_err(|e| again(e, None))?;
        if received.signed {
            // A forged or foreign answer must not end the conversation: the true one may still come.
            let answer = self.record.trust.verify(&received.body, &bytes, now);
            return answer.map_err(|error| again(error.to_string(), None));
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(&received.body) else {
            return Err(again(format!("HTTP {} from something that is no license server", received.status), None));
        };
        if problem.status == 429 || problem.status >= 500 {
            let after = problem.retry_after_ms.map(Duration::from_millis);
            return Err(again(problem.to_string(), after));
        }
        Err(Failure::Final(AgentError::Unsigned(problem)))
    }
}

enum Failure {
    /// Worth trying again, after what the server asked for.
    Again {
        error: String,
        after: Option<Duration>,
    },
    Final(AgentError),
}

fn into_result(answer: Answer<'static>) -> Result<Answer<'static>, AgentError> {
    match answer.body {
        AnswerBody::Refused(refused) => Err(AgentError::Refused {
            code: refused.code.into_owned(),
            title: refused.title.into_owned(),
            detail: refused.detail.into_owned(),
            number: refused.number,
        }),
        _ => Ok(answer),
    }
}

/// The bytes of a signed request; `instance` is none for a registration.
pub(super) fn sign(key: &SigningKey, instance: Option<&str>, payload: &[u8]) -> Result<Vec<u8>, AgentError> {
    let mut header = Header::typ(REQUEST_TYP).with_key(&key.public_key());
    if let Some(instance) = instance {
        header = header.with_kid(instance);
    }
    let jws = Jws::sign(key, header, payload)?;
    Ok(serde_json::to_vec(&jws).expect("a struct of strings always serialises"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_with_jitter_and_heed_the_server() {
        let mut retry = Retry::new(Duration::from_millis(100), Duration::from_millis(400));
        for whole in [100, 200, 400, 400] {
            let wait = retry.next_wait(None).as_millis();
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole}");
        }
        assert_eq!(retry.next_wait(Some(Duration::from_secs(9))), Duration::from_secs(9));
    }
}
