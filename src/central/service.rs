//! Central's decisions: what a request document comes to. Everything is checked first, then one batch is made durable,
//! then the response goes out; so a lost response is given again, byte for byte.

use super::Clock;
use super::admin::Caller;
use super::change::Change;
use super::document::{
    self, Body, CertificateRequest, Der, Digest, DocumentError, LicenseTerms, RegistrationRequest,
    RegistrationResponse, SyncRequest, SyncResponse, Unverified, Verified,
};
use super::keys::Keys;
use super::records::*;
use super::refusal::*;
use super::store::{Batch, Store, StoreError};
use crate::license::{MAX_SERVER_HOSTS, Millis};
use crate::pki::ca;
use crate::pki::jws::{Header, PublicKey};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The vendor's authority over its store and keys.
pub struct Service {
    pub(super) store: Store,
    /// Those in force; replaced as a whole when another issuing CA takes over.
    keys: ArcSwap<Keys>,
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    /// One change at a time: each reads, decides and commits.
    pub(super) writer: Mutex<()>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    /// Makes keys and an empty store in `dir`, which must be absent or empty. The vendor root's key goes to `root_key`, a
    /// new file; without one, into `dir`.
    ///
    /// # Errors
    /// When the folder holds something or cannot be written, or the file is there.
    pub fn create(dir: &Path, name: &str, root_key: Option<&Path>, caller: &Caller, clock: Clock) -> Result<Self> {
        check_name("name", name)?;
        make_private_folder(dir)?;
        let now = clock();
        let root_key = root_key.map_or_else(|| Keys::root_key_file(dir), Path::to_owned);
        let keys = Keys::create(dir, &root_key, name, now)?;
        let store = Store::create(dir)?;
        let meta = Meta {
            format: Meta::FORMAT,
            name: name.to_owned(),
            last_id: 0,
            last_event: 0,
            last_order: 0,
            last_audit: 0,
            audit_head: Digest::default(),
            issuing: Keys::FIRST,
        };
        let mut change = Change { batch: Batch::default(), meta, now, actor: caller.actor.clone() };
        change.audit("init", &format!("{name}, vendor root {}", keys.fingerprint()));
        let service =
            Self { store, keys: ArcSwap::from_pointee(keys), dir: dir.to_owned(), clock, writer: Mutex::new(()) };
        service.finish(change)?;
        Ok(service)
    }

    /// Opens what [`Service::create`] made. The vendor root's key is not needed.
    ///
    /// # Errors
    /// When it is not there, damaged, of another format, or in use.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self> {
        let store = Store::open(dir)?;
        let missing = || StoreError::Damaged { key: Meta::KEY.into(), why: "it is missing".into() };
        let Meta { format, issuing, .. } = store.get(Meta::KEY)?.ok_or_else(missing)?;
        if format != Meta::FORMAT {
            let why = format!("format {format}, this program knows {}: use the program that wrote it", Meta::FORMAT);
            return Err(StoreError::Damaged { key: Meta::KEY.into(), why }.into());
        }
        let keys = ArcSwap::from_pointee(Keys::load(dir, issuing)?);
        Ok(Self { store, keys, dir: dir.to_owned(), clock, writer: Mutex::new(()) })
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    pub(super) fn set_keys(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// Answers a request document with a response document. A repeated request gets the first response's bytes.
    ///
    /// # Errors
    /// [`CentralError::Refused`] when the request is wrong; anything else is central's own failure.
    pub fn answer(&self, request: &[u8]) -> Result<Vec<u8>> {
        self.answer_for(&Caller::on_prem(), request)
    }

    /// As [`Self::answer`], of a file that somebody brought, who may only do so for what they see.
    pub(super) fn answer_for(&self, caller: &Caller, request: &[u8]) -> Result<Vec<u8>> {
        let document = Unverified::parse(request)?;
        let _one_at_a_time = self.writer.lock();
        match document.typ() {
            RegistrationRequest::TYP => self.register(&document, caller),
            SyncRequest::TYP => self.synchronize(&document, caller),
            other => Err(refused(
                RefusalReason::Invalid,
                format!("a document of type {other:?} is no request; send the file that the on-prem server exported"),
            )),
        }
    }

    fn register(&self, document: &Unverified, caller: &Caller) -> Result<Vec<u8>> {
        let claims: RegistrationRequest = document.claims()?;
        let ca_key = ca::csr_public_key(&claims.ca_csr.0).map_err(DocumentError::from)?;
        let request: Verified<RegistrationRequest> = document.verify(&ca_key)?;
        let body = &request.body;
        check_registration(body)?;
        caller.require(&body.smart_account)?;
        let mut server = self.store.get::<ServerRecord>(&ServerRecord::key(&body.server))?;
        self.refuse_dropped(server.as_ref())?;
        let mut change = self.begin(&caller.actor)?;
        let account = self.account(&body.server, &body.account)?;
        let same_keys = |a: &AccountRecord| Ok::<_, CentralError>(ca::certificate_key(&a.ca_cert.0)? == ca_key);
        match &account {
            Some(account) if account.closed.is_some() => {
                if same_keys(account)? {
                    return Err(account_closed(account));
                }
                self.keep_closed(account, &mut change)?;
            }
            Some(account) if account.registration == request.digest => {
                return self.stored(&AccountRecord::registration_blob(&body.server, &body.account));
            }
            // The same keys before the first synchronization: a new life of the server that never got the response.
            Some(account) if account.line.seq > 0 || !same_keys(account)? => return Err(account_exists(body)),
            _ => {}
        }
        if let Some(server) = &mut server {
            let known = account.is_some_and(|account| account.closed.is_none());
            self.admit_registration(server, &request, known)?;
        }
        let signed = self.certify_registration(&request, server, &mut change)?;
        if caller.is_person() {
            change.audit("answer", &format!("registration of account {} of server {}", body.account, body.server));
        }
        self.finish(change)?;
        Ok(signed)
    }

    /// The response to an admitted registration, with all that it changes.
    fn certify_registration(
        &self,
        request: &Verified<RegistrationRequest>,
        server: Option<ServerRecord>,
        change: &mut Change,
    ) -> Result<Vec<u8>> {
        let (body, now) = (&request.body, change.now);
        let (smart_account, virtual_account) = self.bind(body, change)?;
        let ca_name = format!("Account {}", body.account);
        let chain = self.keys().certify_account(&body.ca_csr.0, &ca_name, now)?;
        let response = document::payload(&RegistrationResponse {
            version: document::VERSION,
            request: request.digest,
            server: body.server.clone(),
            account: body.account.clone(),
            smart_account_id: smart_account,
            virtual_account_id: virtual_account,
            ca_chain: chain.iter().cloned().map(Der).collect(),
            entitlements: self.entitlements(&body.smart_account, &body.virtual_account)?,
            time: now.0,
        });
        let signed = self.sign::<RegistrationResponse>(&response)?;
        let record = new_account(request, &chain, &response, now);
        change.batch.put(&AccountRecord::key(&body.server, &body.account), &record);
        change.batch.put_bytes(&AccountRecord::registration_blob(&body.server, &body.account), signed.clone());
        let mut server = server.unwrap_or_else(|| new_server(body, now));
        server.heard(now);
        change.batch.put(&ServerRecord::key(&body.server), &server);
        let message =
            format!("account {} registered for {}/{}", body.account, body.smart_account, body.virtual_account);
        change.note("account-registered", &body.server, &body.account, message);
        Ok(signed)
    }

    /// Binds the virtual account, making it if need be; gives the upstream ids.
    fn bind(&self, body: &RegistrationRequest, change: &mut Change) -> Result<(u64, u64)> {
        let (smart, name) = (&body.smart_account, &body.virtual_account);
        let binding = Binding { server: body.server.clone(), account: body.account.clone() };
        let smart_account = self.store.get::<SmartAccount>(&SmartAccount::key(smart))?.ok_or_else(|| {
            refused(
                RefusalReason::SmartAccountUnknown,
                format!("there is no smart account {smart:?}; check its spelling with the vendor"),
            )
        })?;
        let key = VirtualAccount::key(smart, name);
        let mut account = match self.store.get::<VirtualAccount>(&key)? {
            Some(account) => account,
            None => self.new_virtual_account(change, smart, name)?,
        };
        if let Some(other) = account.bound.as_ref().filter(|b| **b != binding) {
            return Err(refused(
                RefusalReason::VirtualAccountBound,
                format!(
                    "virtual account {name:?} of {smart:?} is bound to account {:?} of another on-prem registration \
                     (server {}); choose another virtual account, or have the vendor release that one",
                    other.account, other.server
                ),
            ));
        }
        account.bound = Some(binding);
        change.batch.put(&key, &account);
        Ok((smart_account.id, account.id))
    }

    pub(super) fn new_virtual_account(
        &self,
        change: &mut Change,
        smart_account: &str,
        name: &str,
    ) -> Result<VirtualAccount> {
        check_name("virtual account", name)?;
        if self.store.scan::<VirtualAccount>(&["virtual-account", smart_account])?.len() >= VirtualAccount::MAX {
            let message = format!(
                "smart account {smart_account:?} has {} virtual accounts, the most there can be",
                VirtualAccount::MAX
            );
            return Err(refused(RefusalReason::Invalid, message));
        }
        change.meta.last_id += 1;
        let (smart_account, name) = (smart_account.to_owned(), name.to_owned());
        Ok(VirtualAccount { id: change.meta.last_id, smart_account, name, created: change.now, bound: None })
    }

    /// Puts an account that ended aside, since its name is given to another one.
    fn keep_closed(&self, account: &AccountRecord, change: &mut Change) -> Result<()> {
        change.meta.last_id += 1;
        let kept = self.store.keys(&["closed", &account.server])?;
        if kept.len() >= AccountRecord::MAX_CLOSED
            && let Some(oldest) = kept.first()
        {
            change.batch.remove(oldest);
        }
        change.batch.put(&AccountRecord::closed_key(&account.server, change.meta.last_id), account);
        change.batch.remove(&AccountRecord::sync_blob(&account.server, &account.name));
        Ok(())
    }

    fn synchronize(&self, document: &Unverified, caller: &Caller) -> Result<Vec<u8>> {
        let claims: SyncRequest = document.claims()?;
        let unknown = || account_unknown(&claims);
        let account = self.account(&claims.server, &claims.account)?.ok_or_else(unknown)?;
        let key = PublicKey::from_jwk(&account.signer_key)?;
        let request: Verified<SyncRequest> = document.verify(&key)?;
        caller.require(&account.smart_account)?;
        let mut server = self.store.get::<ServerRecord>(&ServerRecord::key(&claims.server))?.ok_or_else(unknown)?;
        self.refuse_dropped(Some(&server))?;
        check_sync(&request.body)?;
        if request.body.seq == account.line.seq && request.digest == account.line.request {
            return self.stored(&AccountRecord::sync_blob(&server.uid, &account.name));
        }
        if account.closed.is_some() && !request.body.closing {
            return Err(account_closed(&account));
        }
        self.admit_life(&mut server, request.body.life, &claims.account, request.digest)?;
        self.admit_sequence(&server, &account, &request)?;

        let mut change = self.begin(&caller.actor)?;
        if caller.is_person() {
            let (seq, name) = (request.body.seq, &account.name);
            change.audit("answer", &format!("synchronization {seq} of account {name} of server {}", server.uid));
        }
        server.heard(change.now);
        change.batch.put(&ServerRecord::key(&server.uid), &server);
        let signed = self.take_sync(&request, account, &mut change)?;
        self.finish(change)?;
        Ok(signed)
    }

    /// The response to an admitted synchronization, with all that it changes of the account.
    fn take_sync(
        &self,
        request: &Verified<SyncRequest>,
        mut account: AccountRecord,
        change: &mut Change,
    ) -> Result<Vec<u8>> {
        let (body, now) = (&request.body, change.now);
        let certificate = body.certificate.as_ref().map(|asked| self.certify_server(asked, now)).transpose()?;
        let entitlements = match body.closing {
            true => Vec::new(),
            false => self.entitlements(&account.smart_account, &account.virtual_account)?,
        };
        let response = document::payload(&SyncResponse {
            version: document::VERSION,
            request: request.digest,
            server: account.server.clone(),
            account: account.name.clone(),
            seq: body.seq,
            entitlements,
            certificate: certificate.unwrap_or_default(),
            time: now.0,
        });
        let signed = self.sign::<SyncResponse>(&response)?;
        change.batch.put_bytes(&AccountRecord::sync_blob(&account.server, &account.name), signed.clone());
        account.line = Line {
            life: body.life,
            seq: body.seq,
            request: request.digest,
            response: Digest::of(&response),
            reopened: None,
        };
        account.instances = body.instances;
        account.synchronized = Some(now);
        change.batch.put(&AccountRecord::usage_blob(&account.server, &account.name), &body.usage);
        // Said again by a later life of the server, it ends but once.
        if body.closing && account.closed.is_none() {
            account.closed = Some(now);
            self.unbind(&account, change)?;
            let message = format!("account {} ended; its virtual account is free again", account.name);
            change.note("account-closed", &account.server, &account.name, message);
        }
        change.batch.put(&AccountRecord::key(&account.server, &account.name), &account);
        Ok(signed)
    }

    /// Frees the virtual account that the account draws on.
    pub(super) fn unbind(&self, account: &AccountRecord, change: &mut Change) -> Result<()> {
        let key = VirtualAccount::key(&account.smart_account, &account.virtual_account);
        let binding = Binding { server: account.server.clone(), account: account.name.clone() };
        if let Some(known) = self.store.get::<VirtualAccount>(&key)?
            && known.bound == Some(binding)
        {
            change.batch.put(&key, &VirtualAccount { bound: None, ..known });
        }
        Ok(())
    }

    /// Certifies what products see of a server under the names that it goes by. Which they are is the site's affair:
    /// addresses are private ones, and documents do not rest on them.
    fn certify_server(&self, asked: &CertificateRequest, now: Millis) -> Result<Vec<Der>> {
        if asked.hosts.is_empty() || asked.hosts.len() > MAX_SERVER_HOSTS {
            let message =
                format!("a server's certificate has 1 to {MAX_SERVER_HOSTS} names, not {}", asked.hosts.len());
            return Err(refused(RefusalReason::Invalid, message));
        }
        let chain = self.keys().certify_server(&asked.csr.0, &asked.common_name, &asked.hosts, now);
        let chain =
            chain.map_err(|error| refused(RefusalReason::Invalid, format!("the server's certificate: {error}")))?;
        Ok(chain.into_iter().map(Der).collect())
    }

    pub(super) fn meta(&self) -> Result<Meta> {
        let missing = || StoreError::Damaged { key: Meta::KEY.into(), why: "it is missing".into() };
        Ok(self.store.get(Meta::KEY)?.ok_or_else(missing)?)
    }

    pub(super) fn account(&self, server: &str, name: &str) -> Result<Option<AccountRecord>> {
        Ok(self.store.get(&AccountRecord::key(server, name))?)
    }

    pub(super) fn entitlements(&self, smart_account: &str, virtual_account: &str) -> Result<Vec<LicenseTerms>> {
        let records = self.store.scan::<EntitlementRecord>(&["entitlement", smart_account, virtual_account])?;
        Ok(records.into_iter().map(|r| r.license).collect())
    }

    fn stored(&self, blob: &str) -> Result<Vec<u8>> {
        let missing = || StoreError::Damaged { key: blob.replace('\0', "/"), why: "it is missing".into() };
        Ok(self.store.bytes(blob)?.ok_or_else(missing)?)
    }

    fn sign<T: Body>(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let keys = self.keys();
        let (key, chain) = keys.signer();
        Ok(document::sign::<T>(payload, key, Header::default().with_chain(chain))?)
    }
}

fn new_server(body: &RegistrationRequest, now: Millis) -> ServerRecord {
    ServerRecord {
        uid: body.server.clone(),
        life: body.life,
        retired: Vec::new(),
        revoked: false,
        registered: now,
        last_contact: now,
        refused: None,
        readopted: None,
        silence_noted: false,
    }
}

fn new_account(
    request: &Verified<RegistrationRequest>,
    chain: &[Vec<u8>],
    response: &[u8],
    now: Millis,
) -> AccountRecord {
    let body = &request.body;
    AccountRecord {
        server: body.server.clone(),
        name: body.account.clone(),
        smart_account: body.smart_account.clone(),
        virtual_account: body.virtual_account.clone(),
        registered: now,
        registration: request.digest,
        ca_cert: Der(chain[0].clone()),
        signer_key: body.signer_key.clone(),
        line: Line { life: body.life, seq: 0, request: request.digest, response: Digest::of(response), reopened: None },
        instances: 0,
        synchronized: None,
        closed: None,
    }
}

/// The folder holds the vendor's keys: nobody else may look in.
fn make_private_folder(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let io = |source| StoreError::Io { what: format!("making {}", dir.display()), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    if std::fs::read_dir(dir).map_err(io)?.next().is_some() {
        return Err(refused(
            RefusalReason::Exists,
            format!("{} is not empty; a central is made in a folder of its own", dir.display()),
        ));
    }
    Ok(())
}
