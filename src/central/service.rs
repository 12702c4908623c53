//! Central's decisions: what a request document comes to. Everything is checked first, then one batch is made durable,
//! then the response goes out; so a lost response is given again, byte for byte.

use super::Clock;
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
use parking_lot::Mutex;
use std::fmt;
use std::path::Path;

/// The vendor's authority over its store and keys.
pub struct Service {
    pub(super) store: Store,
    pub(super) keys: Keys,
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
    /// Makes keys and an empty store in `dir`, which must be absent or empty.
    ///
    /// # Errors
    /// When the folder holds something or cannot be written.
    pub fn create(dir: &Path, name: &str, clock: Clock) -> Result<Self> {
        check_name("name", name)?;
        make_private_folder(dir)?;
        let keys = Keys::create(dir, name, clock())?;
        let store = Store::create(dir)?;
        let mut batch = Batch::default();
        batch.put(Meta::KEY, &Meta { format: Meta::FORMAT, name: name.to_owned(), last_id: 0, last_event: 0 });
        store.commit(batch)?;
        Ok(Self { store, keys, clock, writer: Mutex::new(()) })
    }

    /// Opens what [`Service::create`] made.
    ///
    /// # Errors
    /// When it is not there, damaged, of another format, or in use.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self> {
        let store = Store::open(dir)?;
        let service = Self { store, keys: Keys::load(dir)?, clock, writer: Mutex::new(()) };
        let format = service.meta()?.format;
        if format != Meta::FORMAT {
            let why = format!("format {format}, this program knows {}: use the program that wrote it", Meta::FORMAT);
            return Err(StoreError::Damaged { key: Meta::KEY.into(), why }.into());
        }
        Ok(service)
    }

    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Answers a request document with a response document. A repeated request gets the first response's bytes.
    ///
    /// # Errors
    /// [`CentralError::Refused`] when the request is wrong; anything else is central's own failure.
    pub fn answer(&self, request: &[u8]) -> Result<Vec<u8>> {
        let document = Unverified::parse(request)?;
        let _one_at_a_time = self.writer.lock();
        match document.typ() {
            RegistrationRequest::TYP => self.register(&document),
            SyncRequest::TYP => self.synchronize(&document),
            other => Err(refused(
                RefusalReason::Invalid,
                format!("a document of type {other:?} is no request; send the file that the on-prem server exported"),
            )),
        }
    }

    fn register(&self, document: &Unverified) -> Result<Vec<u8>> {
        let claims: RegistrationRequest = document.claims()?;
        let ca_key = ca::csr_public_key(&claims.ca_csr.0).map_err(DocumentError::from)?;
        let request: Verified<RegistrationRequest> = document.verify(&ca_key)?;
        let body = &request.body;
        check_registration(body)?;
        let mut server = self.store.get::<ServerRecord>(&ServerRecord::key(&body.server))?;
        refuse_revoked(server.as_ref())?;
        let account = self.account(&body.server, &body.account)?;
        if let Some(account) = &account {
            if account.registration == request.digest {
                return self.stored(&AccountRecord::registration_blob(&body.server, &body.account));
            }
            // The same keys before the first synchronization: a new life of the server that never got the response.
            if account.line.seq > 0 || ca::certificate_key(&account.ca_cert.0)? != ca_key {
                return Err(account_exists(body));
            }
        }
        if let Some(server) = &mut server {
            self.admit_registration(server, &request, account.is_some())?;
        }
        let now = (self.clock)();
        let mut batch = Batch::default();
        let mut meta = self.meta()?;
        let binding = Binding { server: body.server.clone(), account: body.account.clone() };
        let (smart_account, virtual_account) = self.bind(body, binding, &mut meta, now, &mut batch)?;

        let chain = self.keys.certify_account(&body.ca_csr.0, &account_ca(&body.account), now)?;
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
        batch.put(&AccountRecord::key(&body.server, &body.account), &new_account(&request, &chain, &response, now));
        batch.put_bytes(&AccountRecord::registration_blob(&body.server, &body.account), signed.clone());
        let mut server = server.unwrap_or_else(|| new_server(body, now));
        server.last_contact = now;
        batch.put(&ServerRecord::key(&body.server), &server);
        let message =
            format!("account {} registered for {}/{}", body.account, body.smart_account, body.virtual_account);
        self.note(&mut batch, &mut meta, "account-registered", &body.server, &body.account, message);
        batch.put(Meta::KEY, &meta);
        self.store.commit(batch)?;
        Ok(signed)
    }

    /// Binds the virtual account, making it if need be; gives the upstream ids.
    fn bind(
        &self,
        body: &RegistrationRequest,
        binding: Binding,
        meta: &mut Meta,
        now: Millis,
        batch: &mut Batch,
    ) -> Result<(u64, u64)> {
        let (smart, name) = (&body.smart_account, &body.virtual_account);
        let smart_account = self.store.get::<SmartAccount>(&SmartAccount::key(smart))?.ok_or_else(|| {
            refused(
                RefusalReason::SmartAccountUnknown,
                format!("there is no smart account {smart:?}; check its spelling with the vendor"),
            )
        })?;
        let key = VirtualAccount::key(smart, name);
        let mut account = match self.store.get::<VirtualAccount>(&key)? {
            Some(account) => account,
            None => self.new_virtual_account(meta, smart, name, now)?,
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
        batch.put(&key, &account);
        Ok((smart_account.id, account.id))
    }

    pub(super) fn new_virtual_account(
        &self,
        meta: &mut Meta,
        smart_account: &str,
        name: &str,
        now: Millis,
    ) -> Result<VirtualAccount> {
        check_name("virtual account", name)?;
        if self.store.scan::<VirtualAccount>(&["virtual-account", smart_account])?.len() >= VirtualAccount::MAX {
            let message = format!(
                "smart account {smart_account:?} has {} virtual accounts, the most there can be",
                VirtualAccount::MAX
            );
            return Err(refused(RefusalReason::Invalid, message));
        }
        meta.last_id += 1;
        let (smart_account, name) = (smart_account.to_owned(), name.to_owned());
        Ok(VirtualAccount { id: meta.last_id, smart_account, name, created: now, bound: None })
    }

    fn synchronize(&self, document: &Unverified) -> Result<Vec<u8>> {
        let claims: SyncRequest = document.claims()?;
        let unknown = || {
            refused(
                RefusalReason::AccountUnknown,
                format!(
                    "server {} has no account {:?} here; was it released? register it again",
                    claims.server, claims.account
                ),
            )
        };
        let mut account = self.account(&claims.server, &claims.account)?.ok_or_else(unknown)?;
        let key = PublicKey::from_jwk(&account.signer_key)?;
        let request: Verified<SyncRequest> = document.verify(&key)?;
        let mut server = self.store.get::<ServerRecord>(&ServerRecord::key(&claims.server))?.ok_or_else(unknown)?;
        refuse_revoked(Some(&server))?;
        check_sync(&request.body)?;
        if request.body.seq == account.line.seq && request.digest == account.line.request {
            return self.stored(&AccountRecord::sync_blob(&server.uid, &account.name));
        }
        let life = request.body.life;
        self.admit_life(&mut server, life, &claims.account, request.digest)?;
        self.admit_sequence(&server, &account, &request)?;

        let now = (self.clock)();
        let body = request.body;
        let certificate = body.certificate.as_ref().map(|asked| self.certify_server(asked, now)).transpose()?;
        let ca_chain = body.ca_csr.as_ref().map(|csr| self.certify_again(&mut account, csr, now)).transpose()?;
        let response = document::payload(&SyncResponse {
            version: document::VERSION,
            request: request.digest,
            server: server.uid.clone(),
            account: account.name.clone(),
            seq: body.seq,
            entitlements: self.entitlements(&account.smart_account, &account.virtual_account)?,
            certificate: certificate.unwrap_or_default(),
            ca_chain: ca_chain.unwrap_or_default(),
            time: now.0,
        });
        let signed = self.sign::<SyncResponse>(&response)?;
        let mut batch = Batch::default();
        server.last_contact = now;
        batch.put(&ServerRecord::key(&server.uid), &server);
        batch.put_bytes(&AccountRecord::sync_blob(&server.uid, &account.name), signed.clone());
        account.line = Line {
            life: body.life,
            seq: body.seq,
            request: request.digest,
            response: Digest::of(&response),
            reopened: None,
        };
        account.instances = body.instances;
        batch.put(&AccountRecord::usage_blob(&server.uid, &account.name), &body.usage);
        account.synchronized = Some(now);
        batch.put(&AccountRecord::key(&server.uid, &account.name), &account);
        self.store.commit(batch)?;
        Ok(signed)
    }

    /// Certifies what products see of a server under the names that it goes by. Which they are is the site's affair:
    /// addresses are private ones, and documents do not rest on them.
    fn certify_server(&self, asked: &CertificateRequest, now: Millis) -> Result<Vec<Der>> {
        if asked.hosts.is_empty() || asked.hosts.len() > MAX_SERVER_HOSTS {
            let message =
                format!("a server's certificate has 1 to {MAX_SERVER_HOSTS} names, not {}", asked.hosts.len());
            return Err(refused(RefusalReason::Invalid, message));
        }
        let chain = self.keys.certify_server(&asked.csr.0, &asked.common_name, &asked.hosts, now);
        let chain =
            chain.map_err(|error| refused(RefusalReason::Invalid, format!("the server's certificate: {error}")))?;
        Ok(chain.into_iter().map(Der).collect())
    }

    /// A new certificate for the account CA that is known: the same name and key, so that what it has issued still holds.
    fn certify_again(&self, account: &mut AccountRecord, csr: &Der, now: Millis) -> Result<Vec<Der>> {
        let invalid = |why: String| refused(RefusalReason::Invalid, format!("the account CA's certificate: {why}"));
        let key = ca::csr_public_key(&csr.0).map_err(|error| invalid(error.to_string()))?;
        if key != ca::certificate_key(&account.ca_cert.0)? {
            return Err(invalid("the request is for another key than the account was registered with".into()));
        }
        let chain = self.keys.certify_account(&csr.0, &account_ca(&account.name), now)?;
        account.ca_cert = Der(chain[0].clone());
        Ok(chain.into_iter().map(Der).collect())
    }

    pub(super) fn meta(&self) -> Result<Meta> {
        let missing = || StoreError::Damaged { key: Meta::KEY.into(), why: "it is missing".into() };
        Ok(self.store.get(Meta::KEY)?.ok_or_else(missing)?)
    }

    pub(super) fn account(&self, server: &str, name: &str) -> Result<Option<AccountRecord>> {
        Ok(self.store.get(&AccountRecord::key(server, name))?)
    }

    /// Notes an event in `batch`; `meta` must be put by the caller.
    pub(super) fn note(
        &self,
        batch: &mut Batch,
        meta: &mut Meta,
        kind: &str,
        server: &str,
        account: &str,
        message: String,
    ) {
        meta.last_event += 1;
        let event = CentralEvent {
            at: (self.clock)(),
            kind: kind.to_owned(),
            server: server.to_owned(),
            account: account.to_owned(),
            message,
        };
        batch.put(&CentralEvent::key(meta.last_event), &event);
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
        let (key, chain) = self.keys.signer();
        Ok(document::sign::<T>(payload, key, Header::default().with_chain(chain))?)
    }
}

/// The subject of an account CA.
fn account_ca(account: &str) -> String {
    format!("Account {account}")
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
