//! What an operator of central may do: the same requests offline on the store and, while `serve` holds it, through the
//! Unix socket in central's folder.

use super::document::{BillingKind, LicenseTerms, TagUsage, TermTerms};
use super::records::*;
use super::refusal::{RefusalReason, Result, check_name, check_text, refused};
use super::service::Service;
use super::store::Batch;
use crate::license::{MAX_COUNT, MAX_COVERS, MAX_LICENSES_PER_ACCOUNT, MAX_TERMS, Millis};
use serde::{Deserialize, Serialize};

/// A request of an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRequest {
    /// Makes the smart account if it is new, and the virtual accounts that are.
    CreateAccount {
        smart_account: String,
        virtual_accounts: Vec<String>,
    },
    ListAccounts,
    Entitle(Entitle),
    ListServers,
    /// Lets the copy of a server that was refused last speak for it from now on.
    Readopt {
        server: String,
    },
    Revoke {
        server: String,
    },
    /// Frees what an account that no longer exists on its server is bound to.
    Release {
        server: String,
        account: String,
    },
    Events,
    /// A request document; answered as over HTTPS.
    Answer {
        document: String,
    },
}

/// Sets what a virtual account purchased of one license.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entitle {
    pub smart_account: String,
    pub virtual_account: String,
    pub tag: String,
    pub name: String,
    /// 0: known to the catalog, nothing purchased.
    pub quantity: u64,
    pub term_start: Option<Millis>,
    pub term_end: Option<Millis>,
    pub billing: BillingKind,
    pub export_controlled: bool,
    /// Tags of the licenses that cover this one, the preferred first; none: as they are.
    pub covered_by: Option<Vec<String>>,
}

/// What a request came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminReply {
    /// Done; one sentence for people.
    Done(String),
    Accounts(Vec<AccountRow>),
    Servers(Vec<ServerRow>),
    Events(Vec<CentralEvent>),
    Document(String),
}

/// A virtual account, with a row for each license it has (one without, if it has none).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    pub smart_account: String,
    /// None: the smart account has no virtual account yet.
    pub virtual_account: Option<String>,
    /// Server and account that draw on it.
    pub server: Option<String>,
    pub account: Option<String>,
    pub licenses: Vec<LicenseTerms>,
    /// What its account reported at the last synchronization.
    pub usage: Vec<TagUsage>,
}

/// An account of an on-prem server (or a server without any).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerRow {
    pub server: String,
    /// `active`, `revoked`, or `contested` while a copy of it is refused.
    pub status: String,
    pub incarnation: u64,
    pub account: Option<String>,
    pub smart_account: Option<String>,
    pub virtual_account: Option<String>,
    pub seq: u64,
    pub instances: u64,
    pub synchronized: Option<Millis>,
    pub last_contact: Millis,
}

impl Service {
    /// Carries out an operator's request.
    ///
    /// # Errors
    /// `Refused` with what is wrong; anything else is the store's failure.
    pub fn admin(&self, request: AdminRequest) -> Result<AdminReply> {
        if let AdminRequest::Answer { document } = request {
            let answer = self.answer(document.as_bytes())?;
            return Ok(AdminReply::Document(String::from_utf8_lossy(&answer).into_owned()));
        }
        let _one_at_a_time = self.writer.lock();
        match request {
            AdminRequest::CreateAccount { smart_account, virtual_accounts } => {
                self.create_account(&smart_account, &virtual_accounts)
            }
            AdminRequest::ListAccounts => self.list_accounts(),
            AdminRequest::Entitle(entitle) => self.entitle(entitle),
            AdminRequest::ListServers => self.list_servers(),
            AdminRequest::Readopt { server } => self.readopt(&server),
            AdminRequest::Revoke { server } => self.revoke(&server),
            AdminRequest::Release { server, account } => self.release(&server, &account),
            AdminRequest::Events => self.list_events(),
            AdminRequest::Answer { .. } => unreachable!("answered above, before the lock is taken"),
        }
    }

    fn create_account(&self, smart_account: &str, virtual_accounts: &[String]) -> Result<AdminReply> {
        check_name("smart account", smart_account)?;
        let now = (self.clock)();
        let mut meta = self.meta()?;
        let mut batch = Batch::default();
        let mut made = Vec::new();
        if self.store.get::<SmartAccount>(&SmartAccount::key(smart_account))?.is_none() {
            meta.last_id += 1;
            let account = SmartAccount { id: meta.last_id, name: smart_account.to_owned(), created: now };
            batch.put(&SmartAccount::key(smart_account), &account);
            made.push(format!("smart account {smart_account}"));
        }
        for name in virtual_accounts {
            let key = VirtualAccount::key(smart_account, name);
            if self.store.get::<VirtualAccount>(&key)?.is_none() {
                batch.put(&key, &self.new_virtual_account(&mut meta, smart_account, name, now)?);
                made.push(format!("virtual account {smart_account}/{name}"));
            }
        }
        if made.is_empty() {
            return Err(refused(
                RefusalReason::Exists,
                format!("smart account {smart_account} exists; nothing to create"),
            ));
        }
        batch.put(Meta::KEY, &meta);
        self.store.commit(batch)?;
        Ok(AdminReply::Done(format!("Created {}.", made.join(", "))))
    }

    fn list_accounts(&self) -> Result<AdminReply> {
        let mut rows = Vec::new();
        for smart in self.store.scan::<SmartAccount>(&["smart-account"])? {
            let accounts = self.store.scan::<VirtualAccount>(&["virtual-account", &smart.name])?;
            if accounts.is_empty() {
                rows.push(AccountRow {
                    smart_account: smart.name,
                    virtual_account: None,
                    server: None,
                    account: None,
                    licenses: Vec::new(),
                    usage: Vec::new(),
                });
                continue;
            }
            for account in accounts {
                let licenses = self.entitlements(&account.smart_account, &account.name)?;
                let usage = match &account.bound {
                    Some(bound) => self.store.get(&AccountRecord::usage_blob(&bound.server, &bound.account))?,
                    None => None,
                };
                let (server, bound) = account.bound.map(|b| (b.server, b.account)).unzip();
                rows.push(AccountRow {
                    smart_account: account.smart_account,
                    virtual_account: Some(account.name),
                    server,
                    account: bound,
                    licenses,
                    usage: usage.unwrap_or_default(),
                });
            }
        }
        Ok(AdminReply::Accounts(rows))
    }

    /// Sets the term with this billing and end; a quantity of 0 leaves only the catalog entry.
    fn entitle(&self, entitle: Entitle) -> Result<AdminReply> {
        let now = (self.clock)();
        check_entitle(&entitle, now)?;
        let (smart, va, tag) = (&entitle.smart_account, &entitle.virtual_account, &entitle.tag);
        if self.store.get::<VirtualAccount>(&VirtualAccount::key(smart, va))?.is_none() {
            let message =
                format!("there is no virtual account {smart}/{va}; make it with `licraft central account create`");
            return Err(refused(RefusalReason::NotFound, message));
        }
        let key = EntitlementRecord::key(smart, va, tag);
        let known = self.store.get::<EntitlementRecord>(&key)?;
        if known.is_none() && self.entitlements(smart, va)?.len() >= MAX_LICENSES_PER_ACCOUNT {
            let message =
                format!("{smart}/{va} has {MAX_LICENSES_PER_ACCOUNT} licenses, which is the most one answer carries");
            return Err(refused(RefusalReason::Invalid, message));
        }
        let (mut terms, covered_before) = known.map(|k| (k.license.terms, k.license.covered_by)).unwrap_or_default();
        if entitle.quantity == 0 {
            terms.clear();
        } else {
            let end = entitle.term_end.map(|e| e.0);
            // Kept when not given anew: on-prem, transfers follow a term by its start.
            let same = |t: &TermTerms| (t.billing, t.end) == (entitle.billing, end);
            let known_start = terms.iter().find(|t| same(t)).map(|t| Millis(t.start));
            terms.retain(|t| !same(t));
            let start = entitle.term_start.or(known_start).unwrap_or(now).0;
            terms.push(TermTerms { quantity: entitle.quantity, start, end, billing: entitle.billing });
            if terms.len() > MAX_TERMS {
                return Err(refused(RefusalReason::Invalid, format!("a license has at most {MAX_TERMS} terms")));
            }
        }
        let covered_by = match &entitle.covered_by {
            None => covered_before,
            Some(tags) => self.check_covers(smart, va, tag, tags)?,
        };
        let done = format!("{smart}/{va} has {} of {tag} ({}).", entitle.quantity, entitle.name);
        let license = LicenseTerms {
            tag: entitle.tag,
            name: entitle.name,
            export_controlled: entitle.export_controlled,
            terms,
            covered_by,
        };
        let record = EntitlementRecord {
            smart_account: entitle.smart_account,
            virtual_account: entitle.virtual_account,
            license,
        };
        let mut batch = Batch::default();
        batch.put(&key, &record);
        self.store.commit(batch)?;
        Ok(AdminReply::Done(done))
    }

    /// The rule that `tag` is covered by `tags`, which must be other licenses there that it does not cover itself.
    fn check_covers(&self, smart: &str, va: &str, tag: &str, tags: &[String]) -> Result<Vec<String>> {
        let invalid = |message: String| Err(refused(RefusalReason::Invalid, message));
        if tags.len() > MAX_COVERS {
            return invalid(format!("a license is covered by at most {MAX_COVERS} others"));
        }
        let licenses = self.entitlements(smart, va)?;
        let mut seen: Vec<&str> = Vec::new();
        for cover in tags {
            if seen.contains(&cover.as_str()) {
                return invalid(format!("{cover} is named twice; name each license once"));
            }
            seen.push(cover);
            if !licenses.iter().any(|l| l.tag == *cover) {
                let message = format!("{smart}/{va} has no license {cover} that could cover {tag}; entitle it first");
                return Err(refused(RefusalReason::NotFound, message));
            }
        }
        let mut next = 0;
        while let Some(cover) = seen.get(next).copied() {
            if cover == tag {
                return invalid(format!("{tag} would cover itself; a higher license covers a lower one, never back"));
            }
            let above = licenses.iter().filter(|l| l.tag == cover).flat_map(|l| &l.covered_by);
            let above: Vec<&str> = above.map(String::as_str).filter(|tag| !seen.contains(tag)).collect();
            seen.extend(above);
            next += 1;
        }
        Ok(tags.to_vec())
    }

    fn list_servers(&self) -> Result<AdminReply> {
        let mut rows = Vec::new();
        for server in self.store.scan::<ServerRecord>(&["server"])? {
            let status = match (&server.revoked, &server.refused) {
                (true, _) => "revoked",
                (false, Some(_)) => "contested",
                (false, None) => "active",
            };
            let row = ServerRow {
                server: server.uid.clone(),
                status: status.into(),
                incarnation: server.life.incarnation,
                account: None,
                smart_account: None,
                virtual_account: None,
                seq: 0,
                instances: 0,
                synchronized: None,
                last_contact: server.last_contact,
            };
            let accounts = self.store.scan::<AccountRecord>(&["account", &server.uid])?;
            if accounts.is_empty() {
                rows.push(row.clone());
            }
            rows.extend(accounts.into_iter().map(|a| ServerRow {
                account: Some(a.name),
                smart_account: Some(a.smart_account),
                virtual_account: Some(a.virtual_account),
                seq: a.line.seq,
                instances: a.instances,
                synchronized: a.synchronized,
                ..row.clone()
            }));
        }
        Ok(AdminReply::Servers(rows))
    }

    fn readopt(&self, uid: &str) -> Result<AdminReply> {
        let mut server = self.server(uid)?;
        let Some(twin) = server.refused.take() else {
            let message = format!("no copy of server {uid} was refused; there is nothing to re-adopt");
            return Err(refused(RefusalReason::NotFound, message));
        };
        let mut batch = Batch::default();
        if twin.life != server.life {
            server.retired.retain(|l| *l != twin.life);
            if server.retired.len() >= ServerRecord::MAX_RETIRED {
                server.retired.remove(0);
            }
            server.retired.push(server.life);
            server.life = twin.life;
        }
        if let Some(mut account) = self.account(uid, &twin.account)? {
            account.line.reopened = Some(twin.request);
            batch.put(&AccountRecord::key(uid, &twin.account), &account);
        }
        let message = format!("{} of server {uid} speaks for it from now on", twin.life);
        self.commit_server(batch, &server, "server-readopted", &twin.account, message.clone())?;
        Ok(AdminReply::Done(format!("{message}; any other copy is refused.")))
    }

    fn revoke(&self, uid: &str) -> Result<AdminReply> {
        let mut server = self.server(uid)?;
        server.revoked = true;
        self.commit_server(Batch::default(), &server, "server-revoked", "", format!("server {uid} was revoked"))?;
        Ok(AdminReply::Done(format!("Server {uid} is revoked: its requests are refused from now on.")))
    }

    fn release(&self, uid: &str, name: &str) -> Result<AdminReply> {
        let server = self.server(uid)?;
        let Some(account) = self.account(uid, name)? else {
            return Err(refused(RefusalReason::NotFound, format!("server {uid} has no account {name:?}")));
        };
        let mut batch = Batch::default();
        let key = VirtualAccount::key(&account.smart_account, &account.virtual_account);
        if let Some(virtual_account) = self.store.get::<VirtualAccount>(&key)? {
            batch.put(&key, &VirtualAccount { bound: None, ..virtual_account });
        }
        batch.remove(&AccountRecord::key(uid, name));
        for blob in [
            AccountRecord::registration_blob(uid, name),
            AccountRecord::sync_blob(uid, name),
            AccountRecord::usage_blob(uid, name),
        ] {
            batch.remove(&blob);
        }
        let done = format!("{}/{} is free again", account.smart_account, account.virtual_account);
        self.commit_server(batch, &server, "account-released", name, done.clone())?;
        Ok(AdminReply::Done(format!("{done}; account {name} must register again.")))
    }

    fn list_events(&self) -> Result<AdminReply> {
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

    fn commit_server(
        &self,
        mut batch: Batch,
        server: &ServerRecord,
        kind: &str,
        account: &str,
        message: String,
    ) -> Result<()> {
        let mut meta = self.meta()?;
        self.note(&mut batch, &mut meta, kind, &server.uid, account, message);
        batch.put(Meta::KEY, &meta);
        batch.put(&ServerRecord::key(&server.uid), server);
        Ok(self.store.commit(batch)?)
    }
}

fn check_entitle(entitle: &Entitle, now: Millis) -> Result<()> {
    check_text("license tag", &entitle.tag)?;
    check_text("license name", &entitle.name)?;
    if entitle.quantity > MAX_COUNT {
        return Err(refused(RefusalReason::Invalid, format!("the quantity is at most {MAX_COUNT}")));
    }
    let start = entitle.term_start.unwrap_or(now);
    if entitle.term_end.is_some_and(|end| end <= start) {
        return Err(refused(RefusalReason::Invalid, "the term must end after it starts"));
    }
    Ok(())
}
