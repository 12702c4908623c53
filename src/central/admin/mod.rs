//! What people and programs may do at central: the same requests from the command line (offline on the store and, while
//! `serve` holds it, through the Unix socket in central's folder), from the pages and from the REST API.

mod accounts;
mod issuing;
mod log;
mod orders;
mod people;
mod request;
mod rows;
mod servers;

pub use request::{AdminReply, AdminRequest, Entitle};
pub use rows::{AccountRow, AuditRow, IssuingRow, ServerRow, TokenRow, UserRow};

pub use super::records::{CentralEvent, Order};
use super::refusal::{RefusalReason, Result, refused};
use super::service::Service;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For the audit log: `uid 0`, a user's name, `token ID`; empty for an on-prem server.
    pub actor: String,
    /// Sees only this smart account, and changes nothing; None: all of central.
    pub smart_account: Option<String>,
}

impl Caller {
    /// Somebody of the vendor, who may do everything.
    #[must_use]
    pub fn operator(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), smart_account: None }
    }

    /// Who may read this process's files and its socket.
    #[must_use]
    pub fn uid(uid: u32) -> Self {
        Self::operator(format!("uid {uid}"))
    }

    /// An on-prem server, whose document proves who it is.
    pub(super) fn on_prem() -> Self {
        Self::operator("")
    }

    pub(super) fn is_person(&self) -> bool {
        !self.actor.is_empty()
    }

    pub(super) fn sees(&self, smart_account: &str) -> bool {
        self.smart_account.as_deref().is_none_or(|own| own == smart_account)
    }

    /// Refuses what belongs to another smart account.
    pub(super) fn require(&self, smart_account: &str) -> Result<()> {
        if self.sees(smart_account) {
            return Ok(());
        }
        let own = self.smart_account.as_deref().unwrap_or_default();
        let message = format!("this belongs to another smart account than {own:?}; ask an operator of the vendor");
        Err(refused(RefusalReason::Denied, message))
    }

    fn may(&self, request: &AdminRequest) -> bool {
        use AdminRequest as R;
        let looks = matches!(request, R::ListAccounts | R::ListServers { .. } | R::Orders { .. } | R::Answer { .. });
        self.smart_account.is_none() || looks
    }
}

impl Service {
    /// Carries out a request. A change is written into the audit log with it.
    ///
    /// # Errors
    /// `Refused` with what is wrong; anything else is central's own failure.
    pub fn admin(&self, caller: &Caller, request: AdminRequest) -> Result<AdminReply> {
        use AdminRequest as R;
        if !caller.may(&request) {
            let message = format!("{} may look at one smart account, and do nothing else", caller.actor);
            return Err(refused(RefusalReason::Denied, message));
        }
        if let R::Answer { document } = request {
            let answer = self.answer_for(caller, document.as_bytes())?;
            return Ok(AdminReply::Document(String::from_utf8_lossy(&answer).into_owned()));
        }
        let _one_at_a_time = self.writer.lock();
        let mut change = self.begin(&caller.actor)?;
        let line = request.audit_line();
        let changes = &mut change;
        let reply = match request {
            R::CreateAccount { smart_account, virtual_accounts } => {
                self.create_account(&smart_account, &virtual_accounts, changes)
            }
            R::RenameAccount { smart_account, name } => self.rename_account(&smart_account, &name, changes),
            R::DeleteAccount { smart_account } => self.delete_account(&smart_account, changes),
            R::RenameVirtualAccount { smart_account, virtual_account, name } => {
                self.rename_virtual_account((&smart_account, &virtual_account), &name, changes)
            }
            R::DeleteVirtualAccount { smart_account, virtual_account } => {
                self.delete_virtual_account(&smart_account, &virtual_account, changes)
            }
            R::ListAccounts => self.list_accounts(caller),
            R::Entitle(entitle) => self.entitle(entitle, changes),
            R::Orders { smart_account, virtual_account, tag, limit } => {
                let wanted = (smart_account.as_deref(), virtual_account.as_deref(), tag.as_deref());
                self.list_orders(caller, wanted, limit)
            }
            R::ListServers { closed } => self.list_servers(caller, closed),
            R::Readopt { server } => self.readopt(&server, changes),
            R::Revoke { server } => self.revoke(&server, changes),
            R::Release { server, account } => self.release(&server, &account, changes),
            R::Events => self.list_events(),
            R::CreateUser { name, smart_account, password_hash, must_change } => {
                self.create_user(&name, smart_account, password_hash, must_change, changes)
            }
            R::ListUsers => self.list_users(),
            R::SetPassword { name, password_hash, must_change } => {
                self.set_password(&name, password_hash, must_change, changes)
            }
            R::DeleteUser { name } => self.delete_user(&name, changes),
            R::CreateToken { id, description, smart_account, hash } => {
                self.create_token(&id, description, smart_account, hash, changes)
            }
            R::ListTokens => self.list_tokens(),
            R::RevokeToken { id } => self.revoke_token(&id, changes),
            R::VerifyAudit => self.verify_audit(),
            R::Audit { after } => self.list_audit(after),
            R::ShowIssuing => self.show_issuing(),
            R::UseIssuing { number } => return self.use_issuing(number, change),
            R::Answer { .. } => unreachable!("answered above, before the lock is taken"),
        }?;
        if let Some((action, detail)) = line {
            change.audit(action, &detail);
            self.finish(change)?;
        }
        Ok(reply)
    }
}
