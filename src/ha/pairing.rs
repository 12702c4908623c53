//! Pairing: a new node proves the operator's one-time code and becomes a member (RFC 9266 channel binding).
//!
//! The joiner accepts a TLS server only if its chain ends in the CA whose key hash is in the code; the server hands
//! out a certificate only against an HMAC under the code's secret over the TLS exporter, so that neither an
//! eavesdropper nor a man in the middle learns or gains anything.

use crate::license::Millis;
use crate::pki::ca::{self, Authority, Leaf, Purpose};
use crate::pki::pairing::PairingCode;
use crate::pki::tls::{CLUSTER_URI, NODE_URI};
use crate::pki::{PkiError, equal_secrets, random};
use crate::proto::pairing::JoinRequest;
use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::identity::NODE_CERTIFICATE_DAYS;

/// ALPN name of the pairing service on the Raft port.
pub const ALPN: &[u8] = b"licraft-pairing/1";
/// TLS exporter label that the proofs are bound to.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-licraft-pairing";
/// A code lives for half an hour and one use.
pub const CODE_LIFE: Duration = Duration::from_secs(30 * 60);
/// Wrong proofs after which a code is burnt.
pub const MAX_FAILURES: u32 = 10;

/// The one code that may be open.
#[derive(Default)]
pub struct Desk {
    open: Option<Open>,
}

struct Open {
    code: PairingCode,
    until: Instant,
    failures: u32,
}

/// Why a join is refused.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    #[error("no pairing code is open; run `licraft ha generate-keys` on the primary for a new one")]
    Closed,
    #[error("the pairing code is wrong or was used; {left} more tries before it is burnt")]
    WrongCode { left: u32 },
    #[error(
        "the server is not the cluster this code was made for; check the address, and the code for typing mistakes"
    )]
    WrongCluster,
    #[error("{0}")]
    Connection(String),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl Desk {
    /// Opens a fresh code, closing any older one.
    pub fn open(&mut self, ca_key_hash: &[u8; 32]) -> PairingCode {
        let code = PairingCode::generate(ca_key_hash);
        self.open = Some(Open { code: code.clone(), until: Instant::now() + CODE_LIFE, failures: 0 });
        code
    }

    /// Whether a code can be used now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|o| Instant::now() < o.until)
    }

    /// Checks a join's proof. A right one burns the code, as does the tenth wrong one.
    ///
    /// # Errors
    /// When there is no open code or the proof is wrong.
    pub fn check(&mut self, request: &JoinRequest, exporter: &[u8]) -> Result<(), PairingError> {
        if !self.is_open() {
            self.open = None;
        }
        let open = self.open.as_mut().ok_or(PairingError::Closed)?;
        if equal_secrets(&proof(&open.code, request, exporter), &request.proof) {
            self.open = None;
            return Ok(());
        }
        open.failures += 1;
        let left = MAX_FAILURES - open.failures;
        if left == 0 {
            self.open = None;
        }
        Err(PairingError::WrongCode { left })
    }
}

/// The joiner's proof over every field of its request.
#[must_use]
pub fn proof(code: &PairingCode, request: &JoinRequest, exporter: &[u8]) -> [u8; 32] {
    use prost::Message;
    let bare = JoinRequest { proof: Vec::new().into(), ..request.clone() };
    code.proof("join", exporter, &bare.encode_to_vec())
}

/// What a node is called by: its public address, the one for Raft, and its name.
#[must_use]
pub fn node_hosts(public: IpAddr, cluster: IpAddr, name: &str) -> Vec<String> {
    let mut hosts = vec![public.to_string(), cluster.to_string(), name.to_owned()];
    hosts.dedup();
    hosts
}

/// Issues the certificate of node `node_id`.
///
/// # Errors
/// When the request is malformed.
pub fn node_certificate(
    ca: &Authority,
    csr: &[u8],
    node_id: u64,
    cluster_id: &str,
    name: &str,
    hosts: Vec<String>,
    life: Range<Millis>,
) -> Result<Vec<u8>, PkiError> {
    let leaf = Leaf {
        common_name: name.to_owned(),
        purpose: Purpose::Node,
        hosts,
        uris: vec![format!("{NODE_URI}{node_id}"), format!("{CLUSTER_URI}{cluster_id}")],
        crl: None,
        serial: random::bytes(),
        not_before: life.start,
        not_after: life.end,
    };
    ca.issue_leaf(csr, &leaf)
}

/// From when until when a certificate holds that is made `now` for a node known `since`. A renewed one begins no later than
/// the first: made by a clock that is far ahead, it is taken by the other nodes all the same.
pub fn node_life(since: Millis, now: Millis) -> Range<Millis> {
    since.min(Millis(now.0.saturating_sub(ca::BACKDATE_MS)))..now.plus(NODE_CERTIFICATE_DAYS * Millis::DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(code: &PairingCode, exporter: &[u8]) -> JoinRequest {
        let mut request = JoinRequest { name: "secondary-node".into(), ..Default::default() };
        request.proof = proof(code, &request, exporter).to_vec().into();
        request
    }

    #[test]
    fn a_code_works_once() {
        let mut desk = Desk::default();
        let code = desk.open(&[1; 32]);
        let join = request(&code, b"channel");
        desk.check(&join, b"channel").unwrap();
        assert!(matches!(desk.check(&join, b"channel"), Err(PairingError::Closed)));
    }

    #[test]
    fn a_relayed_or_changed_request_is_refused_and_ten_failures_burn_the_code() {
        let mut desk = Desk::default();
        let code = desk.open(&[1; 32]);
        let join = request(&code, b"channel");
        desk.check(&join, b"another channel").unwrap_err();
        desk.check(&JoinRequest { witness: true, ..join.clone() }, b"channel").unwrap_err();
        for _ in 2..MAX_FAILURES {
            assert!(matches!(desk.check(&join, b"x"), Err(PairingError::WrongCode { .. })));
        }
        assert!(matches!(desk.check(&join, b"channel"), Err(PairingError::Closed)));
    }

    #[test]
    fn a_new_code_closes_the_older_one() {
        let mut desk = Desk::default();
        let old = desk.open(&[1; 32]);
        let new = desk.open(&[1; 32]);
        desk.check(&request(&old, b"c"), b"c").unwrap_err();
        desk.check(&request(&new, b"c"), b"c").unwrap();
    }
}
