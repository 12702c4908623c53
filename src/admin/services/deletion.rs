//! The deletion of an account as one guided operation. Each step can be repeated, so that a deletion that broke off, or
//! waits for an answer of central by file, goes on where it was.

use crate::admin::error::{AdminError, Kind};
use crate::admin::find;
use crate::admin::service::{Call, Service};
use crate::license::{AccountStatus, Command, Finding, Hindrance};
use crate::proto::admin::DeleteAccountRequest;

const REASON: &str = "it is to be deleted";

impl Service {
    /// Takes the account out of service, tells central that it ends, and deletes it.
    pub(super) async fn delete_account(&self, call: &Call, asked: DeleteAccountRequest) -> Result<u64, AdminError> {
        let state = self.state();
        let account = find::account(&state, &asked.account)?;
        let (id, name) = (account.id, account.name.clone());
        let hinders = |f: &Finding| f.in_the_way && !(asked.without_central && f.kind == Hindrance::Outstanding);
        let findings: Vec<Finding> = state.before_deletion(id).into_iter().filter(hinders).collect();
        if !findings.is_empty() {
            return Err(in_the_way(&name, &findings));
        }
        if account.status == AccountStatus::Active {
            let reason = if asked.reason.is_empty() { REASON.to_owned() } else { asked.reason };
            self.step(call, Command::DeactivateAccount { account: id, reason }).await?;
        }
        let known = matches!(account.status, AccountStatus::Active | AccountStatus::Inactive);
        match (known, asked.without_central) {
            (true, true) => self.change(call, Command::AbandonAccount { account: id }).await,
            (true, false) => {
                self.parts.sync.close(id, &call.caller.actor).await?;
                self.change(call, Command::DeleteAccount { account: id }).await
            }
            (false, _) => self.change(call, Command::DeleteAccount { account: id }).await,
        }
    }
}

fn in_the_way(name: &str, findings: &[Finding]) -> AdminError {
    let joined = |part: fn(&Finding) -> &str, between| findings.iter().map(part).collect::<Vec<_>>().join(between);
    let kind = match findings.iter().any(|f| f.kind == Hindrance::Instances) {
        true => Kind::NotEmpty,
        false => Kind::State,
    };
    AdminError::new(kind, format!("account {name:?} cannot be deleted yet"))
        .because(joined(|f| &f.what, "; "))
        .hint(joined(|f| &f.next, "; "))
}
