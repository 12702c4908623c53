//! The on-prem servers and their accounts.

use super::{AdminReply, Caller, ServerRow};
use crate::central::change::Change;
use crate::central::records::*;
use crate::central::refusal::{RefusalReason, Result, refused};
use crate::central::service::Service;

impl Service {
    pub(super) fn list_servers(&self, caller: &Caller, closed: bool) -> Result<AdminReply> {
        let now = (self.clock)();
        let mut rows = Vec::new();
        for server in self.store.scan::<ServerRecord>(&["server"])? {
            let row = ServerRow {
                server: server.uid.clone(),
                status: server.status(now).into(),
                incarnation: server.life.incarnation,
                account: None,
                smart_account: None,
                virtual_account: None,
                seq: 0,
                instances: 0,
                synchronized: None,
                last_contact: server.last_contact,
                closed: None,
            };
            let mut accounts = self.store.scan::<AccountRecord>(&["account", &server.uid])?;
            if closed {
                accounts.extend(self.store.scan::<AccountRecord>(&["closed", &server.uid])?);
            }
            accounts.retain(|a| (closed || a.closed.is_none()) && caller.sees(&a.smart_account));
            if accounts.is_empty() && caller.smart_account.is_none() {
                rows.push(row.clone());
            }
            rows.extend(accounts.into_iter().map(|a| ServerRow {
                account: Some(a.name),
                smart_account: Some(a.smart_account),
                virtual_account: Some(a.virtual_account),
                seq: a.line.seq,
                instances: a.instances,
                synchronized: a.synchronized,
                closed: a.closed,
                ..row.clone()
            }));
        }
        Ok(AdminReply::Servers(rows))
    }

    /// One thing at a time: a server that was silent may have a copy as well, which is for another look.
    pub(super) fn readopt(&self, uid: &str, change: &mut Change) -> Result<AdminReply> {
        let server = self.server(uid)?;
        if server.revoked {
            let message = format!("server {uid} was revoked; its accounts are registered anew from another server");
            return Err(refused(RefusalReason::InUse, message));
        }
        if server.silent(change.now) {
            let message = format!("server {uid} was taken back after its silence");
            change.note("server-readopted", uid, "", message.clone());
            let server = ServerRecord { readopted: Some(change.now), silence_noted: false, ..server };
            change.batch.put(&ServerRecord::key(uid), &server);
            return Ok(AdminReply::Done(format!("{message}; it can synchronize again.")));
        }
        self.readopt_copy(server, change)
    }

    fn readopt_copy(&self, mut server: ServerRecord, change: &mut Change) -> Result<AdminReply> {
        let uid = server.uid.clone();
        let Some(twin) = server.refused.take() else {
            let message =
                format!("server {uid} was not silent, and no copy of it was refused; there is nothing to re-adopt");
            return Err(refused(RefusalReason::NotFound, message));
        };
        if twin.life != server.life {
            server.retired.retain(|l| *l != twin.life);
            if server.retired.len() >= ServerRecord::MAX_RETIRED {
                server.retired.remove(0);
            }
            server.retired.push(server.life);
            server.life = twin.life;
        }
        if let Some(mut account) = self.account(&uid, &twin.account)? {
            account.line.reopened = Some(twin.request);
            change.batch.put(&AccountRecord::key(&uid, &twin.account), &account);
        }
        let message = format!("{} of server {uid} speaks for it from now on", twin.life);
        change.note("server-readopted", &uid, &twin.account, message.clone());
        change.batch.put(&ServerRecord::key(&uid), &server);
        Ok(AdminReply::Done(format!("{message}; any other copy is refused.")))
    }

    pub(super) fn revoke(&self, uid: &str, change: &mut Change) -> Result<AdminReply> {
        let server = ServerRecord { revoked: true, ..self.server(uid)? };
        change.note("server-revoked", uid, "", format!("server {uid} was revoked"));
        change.batch.put(&ServerRecord::key(uid), &server);
        Ok(AdminReply::Done(format!("Server {uid} is revoked: its requests are refused from now on.")))
    }

    pub(super) fn release(&self, uid: &str, name: &str, change: &mut Change) -> Result<AdminReply> {
        self.server(uid)?;
        let Some(account) = self.account(uid, name)? else {
            return Err(refused(RefusalReason::NotFound, format!("server {uid} has no account {name:?}")));
        };
        self.unbind(&account, change)?;
        for key in [
            AccountRecord::key(uid, name),
            AccountRecord::registration_blob(uid, name),
            AccountRecord::sync_blob(uid, name),
            AccountRecord::usage_blob(uid, name),
        ] {
            change.batch.remove(&key);
        }
        let done = format!("{}/{} is free again", account.smart_account, account.virtual_account);
        change.note("account-released", uid, name, done.clone());
        Ok(AdminReply::Done(format!("{done}; account {name} must register again.")))
    }

    pub(super) fn list_events(&self) -> Result<AdminReply> {
        let mut events = self.store.scan::<CentralEvent>(&["event"])?;
        events.sort_by_key(|e| e.at);
        Ok(AdminReply::Events(events))
    }

    fn server(&self, uid: &str) -> Result<ServerRecord> {
        let unknown = || {
            refused(RefusalReason::NotFound, format!("there is no server {uid:?}; see `licraft central server list`"))
        };
        self.store.get(&ServerRecord::key(uid))?.ok_or_else(unknown)
    }
}
