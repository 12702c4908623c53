//! Lists of revoked ID certificates (RFC 5280, section 5): signed from committed data alone, so that they are the same
//! bytes on every node, and kept until the next one is in force.

use super::problem::{Code, Problem};
use super::service::{Service, internal};
use crate::license::{AccountId, Reason, State, VirtualAccountId};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::IpAddr;

/// What a signed list was made from: the number of the list and the issuer's certificate.
type Source = (u64, Vec<u8>);

/// The signed lists, by account. Behind a lock that waits: a list of a large fleet takes a second to sign, once.
#[derive(Default)]
pub(super) struct RevocationLists(tokio::sync::Mutex<HashMap<AccountId, (Source, Bytes)>>);

/// Where an account's list is found on this server.
#[must_use]
pub fn crl_path(account: AccountId) -> String {
    format!("/crl/{account}.crl")
}

/// What an ID certificate says of the list: port 80 of the name in the products' URL. None while there is no name.
pub(super) fn crl_url(state: &State, va: VirtualAccountId) -> Option<String> {
    let account = state.virtual_account(va)?.account;
    let name = state.settings().host_common_name.as_str();
    let host = match name.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ if name.is_empty() => return None,
        _ => name.to_owned(),
    };
    Some(format!("http://{host}{}", crl_path(account)))
}

impl Service {
    /// The list in force under this file name.
    pub(super) async fn revocation_list(&self, file: &str) -> Result<Bytes, Problem> {
        self.check_serving()?;
        let state = self.context.ledger.state();
        let unknown = || {
            let detail = format!("no account here has a revocation list {file}; an ID certificate names its issuer's");
            Problem::new(Code::Refused(Reason::NotFound), detail)
        };
        let id = file.strip_suffix(".crl").and_then(|id| id.parse().ok()).map(AccountId);
        let account = id.and_then(|id| state.account(id)).ok_or_else(unknown)?;
        let ca = account.keys.as_ref().and_then(|keys| keys.ca_chain.first()).ok_or_else(unknown)?;
        let list = state.revocation_list();
        if list.number == 0 {
            return Err(Problem::new(Code::Unavailable, "the first revocation list is being made").retry_after(1_000));
        }
        let (id, source) = (account.id, (list.number, ca.clone()));
        let mut lists = self.lists.0.lock().await;
        if let Some((_, signed)) = lists.get(&id).filter(|(of, _)| *of == source) {
            return Ok(signed.clone());
        }
        let signer = self.keyring.signer(account).map_err(internal)?.ok_or_else(unknown)?;
        let sign = tokio::task::spawn_blocking(move || signer.revocation_list(&state, id));
        let signed = Bytes::from(sign.await.map_err(internal)?.map_err(internal)?);
        lists.insert(id, (source, signed.clone()));
        Ok(signed)
    }
}
