//! The cluster's verbs on this node: what `licraft init` and `licraft ha …` do.

use super::deploy;
use super::epoch;
use super::facts::whole_ms;
use super::halt::HALTED;
use super::identity::{self, CLUSTER_CA_DAYS, NodeFile, NodeIdentity};
use super::join::{self, Joiner};
use super::leave;
use super::node_certificate;
use super::pairing::{CODE_LIFE, PairingError, node_certificate, node_hosts, node_life};
use super::preflight;
use super::retired;
use super::running::{Running, active_name};
use super::set_aside::{self, set_aside};
use super::shared::Shared;
use super::status::{self, Mode};
use super::switchover;
use super::upstream::UpstreamKeeper;
use crate::admin::{
    AdminError, Check, ClusterControl, ClusterStatus, Deploy, DrillReport, FenceDrillReport, Imported, Initialize,
    Initialized, Kind, NodeDigest, PairingCode, Preflight, Progress, Promote, PromotionStakes, Provision, SetAside,
    Switchover, SwitchoverReport, SyncControl,
};
use crate::backup::Backup;
use crate::central::Asked;
use crate::config::NodeRole;
use crate::license::{AccountId, Command, Member, Outcome, Settings};
use crate::pki::ca::{self, Authority};
use crate::pki::jws::{Algorithm, SigningKey};
use crate::pki::seal::Sealer;
use crate::pki::tls::Identity as TlsIdentity;
use crate::pki::{pairing, random};
use crate::raft::Ledger;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A fresh sole voter elects itself within an election time-out; this is far beyond it.
const FIRST_ELECTION: Duration = Duration::from_secs(10);
/// How long the end of the process waits for a verb under way.
const VERB_AT_END: Duration = Duration::from_secs(2);

/// This node's part in the cluster.
pub struct Control {
    pub(super) shared: Arc<Shared>,
    running: watch::Sender<Option<Arc<Running>>>,
    pub(super) retired_pages: Mutex<Option<retired::Pages>>,
    /// One verb that changes the node's mode at a time.
    pub(super) verb: tokio::sync::Mutex<()>,
}

impl Control {
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            running: watch::channel(None).0,
            retired_pages: Mutex::default(),
            verb: tokio::sync::Mutex::new(()),
        })
    }

    /// Starts what the data directory says: nothing when uninitialised or stopped, else the running part. Verbs that come
    /// meanwhile wait for it.
    ///
    /// # Errors
    /// When an initialised node cannot start.
    pub async fn begin(&self) -> anyhow::Result<()> {
        let _verb = self.verb.lock().await;
        self.resume().await
    }

    /// As [`Self::begin`], within a verb.
    pub(super) async fn resume(&self) -> anyhow::Result<()> {
        if let Some(name) = set_aside::finish_restore(self.data_dir(), (self.shared.clock)())? {
            tracing::warn!(name, "data that had been set aside is back in its place");
            // A backup begins a life of its own.
            if name != set_aside::BACKUP && identity::exists(self.data_dir()) {
                epoch::raise_incarnation(self.data_dir(), &format!("data set aside as {name} was put back"))?;
            }
        }
        if !identity::exists(self.data_dir()) {
            return Ok(());
        }
        if self.retired_file().exists() {
            return self.stay_retired().await;
        }
        if let Some(why) = self.halted() {
            self.shared.ledger.off(&why);
            return Ok(());
        }
        if self.stopped_file().exists() {
            self.shared.ledger.off("the cluster is stopped on this node; run `licraft ha start`");
            return Ok(());
        }
        self.start_running().await
    }

    /// Leaves in order, for the end of the process.
    pub async fn shutdown(&self) {
        // A verb that goes on, such as a deploy that waits for a node, must not keep the process from ending.
        let verb = tokio::time::timeout(VERB_AT_END, self.verb.lock()).await;
        if verb.is_ok() {
            self.stand_down_at_end().await;
        }
        self.stop_running("this node is ending").await;
    }

    pub(super) async fn stop_running(&self, why: &str) {
        self.shared.ledger.off(why);
        if let Some(running) = self.running.send_replace(None) {
            end(running).await;
        }
        let pages = self.retired_pages.lock().take();
        if let Some(pages) = pages {
            pages.close().await;
        }
    }

    /// The running part, if it runs. Let go of it soon: `ha stop` waits for that.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Running>> {
        self.running.borrow().clone()
    }

    /// Changes whenever the running part starts or ends.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Running>>> {
        self.running.subscribe()
    }

    pub(super) fn need_running(&self) -> Result<Arc<Running>, AdminError> {
        self.current().ok_or_else(|| self.not_running())
    }

    /// Why nothing runs here, and what to do.
    #[must_use]
    pub fn not_running(&self) -> AdminError {
        if let Some(why) = self.halted() {
            return AdminError::new(Kind::State, "this node has stopped").because(why).hint(HALTED);
        }
        match self.mode_without_running() {
            Mode::Uninitialised => AdminError::new(Kind::Uninitialised, "this node holds no data yet")
                .hint("run `licraft init` for a fresh server, `licraft ha provision-standby` to join one, or `licraft backup restore`"),
            Mode::Retired => AdminError::new(Kind::State, "this node is retired")
                .hint("provision it afresh with `licraft ha provision-standby --replace`"),
            _ => AdminError::new(Kind::NotRunning, "cluster is not currently running on this node")
                .hint("run `licraft ha start`"),
        }
    }

    pub(super) fn data_dir(&self) -> &std::path::Path {
        &self.shared.config.data_dir
    }

    fn stopped_file(&self) -> PathBuf {
        self.data_dir().join("stopped")
    }

    /// The way to central, which a witness does not have.
    fn upstream(&self) -> Result<Arc<UpstreamKeeper>, AdminError> {
        let running = self.need_running()?;
        running.upstream.clone().ok_or_else(|| not_active(&running))
    }

    fn need_kept(&self, name: &str) -> Result<(), AdminError> {
        match set_aside::is_kept(self.data_dir(), name) {
            true => Ok(()),
            false => Err(AdminError::new(Kind::NotFound, format!("nothing is set aside as {name} here"))
                .hint("`licraft ha set-aside list` shows what is")),
        }
    }

    pub(super) fn mode_without_running(&self) -> Mode {
        match identity::exists(self.data_dir()) {
            false => Mode::Uninitialised,
            true if self.retired_file().exists() => Mode::Retired,
            true => Mode::Stopped,
        }
    }

    pub(super) async fn start_running(&self) -> anyhow::Result<()> {
        epoch::finish(self.data_dir()).await?;
        let identity = Arc::new(NodeIdentity::load(self.data_dir())?);
        epoch::note_epoch(self.data_dir(), &identity.file)?;
        let running = Running::start(&self.shared, identity).await?;
        self.running.send_replace(Some(Arc::new(running)));
        Ok(())
    }

    pub(super) fn uninitialised(&self) -> Result<(), AdminError> {
        match identity::exists(self.data_dir()) {
            false => Ok(()),
            true => Err(AdminError::new(Kind::State, "this node already holds the data of a server")
                .because(format!("{} is in use", self.data_dir().display()))
                .hint(
                    "`licraft ha provision-standby` and `licraft backup restore` take --replace, which sets it aside",
                )),
        }
    }

    /// An identity for the first node of a new cluster under `ca`, with the timing of `settings`.
    pub(super) fn founder(&self, ca: Authority, sealer: Sealer, settings: &Settings) -> anyhow::Result<NodeIdentity> {
        let (now, config) = ((self.shared.clock)(), &self.shared.config);
        let (name, key) = (&config.name, SigningKey::generate(Algorithm::Es256)?);
        let cluster_id = hex::encode(random::bytes::<16>());
        let hosts = node_hosts(config.address, config.raft.listen.ip(), name);
        let cert = node_certificate(&ca, &ca::csr(&key, name)?, 1, &cluster_id, name, hosts, node_life(now, now))?;
        Ok(NodeIdentity {
            file: NodeFile {
                node_id: 1,
                name: name.clone(),
                witness: false,
                cluster_id,
                epoch_counter: 1,
                epoch_id: hex::encode(random::bytes::<16>()),
                heartbeat_ms: settings.heartbeat_ms,
                election_min_ms: settings.election_min_ms,
                election_max_ms: settings.election_max_ms,
            },
            ca_cert: ca.cert_der().to_vec(),
            ca: Some(ca),
            sealer: Some(sealer),
            tls: ArcSwap::from_pointee(TlsIdentity { chain: vec![cert], key_pkcs8: key.to_pkcs8_der()? }),
        })
    }

    fn fresh_identity(&self) -> anyhow::Result<NodeIdentity> {
        let subject = format!("{} cluster CA", self.shared.config.name);
        let ca = Authority::self_signed(&subject, CLUSTER_CA_DAYS, (self.shared.clock)())?;
        self.founder(ca, Sealer::generate(), &Settings::default())
    }

    /// Forms a cluster of one and commits the first commands.
    async fn first_commands(&self, administrator: crate::license::User) -> Result<String, AdminError> {
        let running = self.need_running()?;
        let config = &self.shared.config;
        let info = running.replica.options().info.clone();
        running.replica.membership().initialize(info.clone()).await.map_err(internal)?;
        wait_serving(&running).await?;
        let server_uid = hex::encode(random::bytes::<16>());
        let member = Member {
            node_id: running.replica.options().node_id,
            name: info.name,
            public_address: info.public_address,
            cluster_address: info.cluster_address,
            witness: false,
            joined: (self.shared.clock)(),
            retired: false,
        };
        let settings = Settings { host_common_name: config.address.to_string(), ..Settings::default() };
        for command in [
            Command::Initialize { server_uid: server_uid.clone(), administrator },
            Command::PutMember { member },
            Command::SetSettings { settings },
        ] {
            commit(&*running.ledger(), "init", command).await?;
        }
        Ok(server_uid)
    }
}

#[async_trait]
impl ClusterControl for Control {
    async fn status(&self) -> ClusterStatus {
        let running = self.current();
        status::derive(&self.facts(running.as_deref()))
    }

    async fn initialize(&self, request: Initialize) -> Result<Initialized, AdminError> {
        let _verb = self.verb.lock().await;
        if self.shared.config.role == NodeRole::Witness {
            return Err(AdminError::new(Kind::State, "a witness cannot be initialised: it holds no server")
                .hint("run `licraft ha provision-witness --join ADDRESS --code CODE` here"));
        }
        self.uninitialised()?;
        let identity = self.fresh_identity().map_err(internal)?;
        std::fs::create_dir_all(self.data_dir()).map_err(internal)?;
        identity.create(self.data_dir()).map_err(internal)?;
        self.start_running().await.map_err(internal)?;
        let server_uid = self.first_commands(request.administrator).await?;
        Ok(Initialized { server_uid })
    }

    async fn generate_keys(&self, progress: Progress) -> Result<PairingCode, AdminError> {
        let running = self.need_running()?;
        let Some(ca) = &running.identity.ca else {
            return Err(
                AdminError::new(Kind::State, "a witness has no keys to pair with").hint("run this on the primary node")
            );
        };
        if running.replica.guard().serving_until().is_none() {
            return Err(not_active(&running));
        }
        progress.step("Opening pairing for one node...");
        let hash = ca::certificate_key(ca.cert_der()).map_err(internal)?.hash();
        let code = self.shared.codes.lock().open(&hash);
        let life = whole_ms(CODE_LIFE);
        Ok(PairingCode {
            code: code.to_string(),
            expires: (self.shared.clock)().plus(life),
            join_address: self.shared.config.admin.listen.to_string(),
        })
    }

    async fn provision(&self, request: Provision, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let config = &self.shared.config;
        let witness = config.role == NodeRole::Witness;
        if witness != request.witness {
            let (is, verb) = match witness {
                true => ("a witness", "provision-witness"),
                false => ("a data node", "provision-standby"),
            };
            return Err(AdminError::new(Kind::State, format!("the node file says that this is {is}"))
                .hint(format!("run `licraft ha {verb}`, or change `role` in the node file")));
        }
        if !request.replace {
            self.uninitialised()?;
        }
        let code = pairing::PairingCode::parse(&request.code).ok_or_else(|| {
            AdminError::new(Kind::Invalid, "that is not a pairing code")
                .hint("type the code that `licraft ha generate-keys` printed: eight groups of four")
        })?;
        let joiner = Joiner {
            name: config.name.clone(),
            public_address: config.address.to_string(),
            cluster_address: config.raft.listen.to_string(),
            witness,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        progress.step(format!("Joining the cluster at {}...", request.join));
        let (identity, peer) = join::join(&request.join, &code, joiner).await.map_err(not_let_in)?;
        std::fs::create_dir_all(self.data_dir()).map_err(internal)?;
        if request.replace {
            self.stop_running("this node is being provisioned afresh").await;
            if let Some(kept) =
                set_aside(self.data_dir(), (self.shared.clock)(), "provisioned afresh").map_err(internal)?
            {
                progress.step(format!("The data that was here is in {} now.", kept.display()));
            }
        }
        progress.step("Writing the keys...");
        identity.create(self.data_dir()).map_err(internal)?;
        self.start_running().await.map_err(internal)?;
        progress.step(format!("Joined. Now run `licraft ha deploy` on {peer}."));
        Ok(())
    }

    async fn deploy(&self, request: Deploy, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        deploy::deploy(&self.shared, &running, request, &progress).await
    }

    async fn switchover(
        &self,
        request: Switchover,
        progress: Progress,
    ) -> Result<Option<SwitchoverReport>, AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        switchover::switchover(&self.shared, &running, &request, &progress).await
    }

    async fn stop(&self, force: bool, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        match self.stand_down(&running, &progress).await {
            Ok(()) => {}
            Err(error) if force => tracing::warn!(%error, "stopping without a hand-over, by force"),
            Err(error) => {
                return Err(AdminError::new(Kind::ClusterState, "nobody can take over from this node")
                    .because(error.to_string())
                    .hint("bring the other node back first, or repeat with --force to stop service"));
            }
        }
        progress.step("Stopping Cluster (vip)...");
        std::fs::write(self.stopped_file(), b"").map_err(internal)?;
        sync_folder(self.data_dir()).map_err(internal)?;
        progress.step("Stopping Cluster (raft)...");
        drop(running);
        self.stop_running("the cluster is stopped on this node; run `licraft ha start`").await;
        Ok(())
    }

    async fn remove(&self, node: String, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        leave::remove(&running, &node, &progress).await
    }

    async fn stand_down_member(&self, node: String) -> Result<(), AdminError> {
        let running = self.need_running()?;
        leave::stand_down(&running, &node).await
    }

    async fn teardown(&self, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        let leads = running.replica.guard().serving_until().is_some();
        self.tear_down(&running, &progress).await?;
        drop(running);
        if leads { Ok(()) } else { self.retire().await }
    }

    async fn start(&self, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        if self.current().is_some() {
            return Ok(());
        }
        if self.mode_without_running() != Mode::Stopped || self.halted().is_some() {
            return self.need_running().map(drop);
        }
        progress.step("Starting Cluster (raft)...");
        self.start_running().await.map_err(internal)?;
        progress.step("Starting Cluster (vip)...");
        match std::fs::remove_file(self.stopped_file()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(internal(e)),
            _ => sync_folder(self.data_dir()).map_err(internal),
        }
    }

    async fn drill(&self, progress: Progress) -> Result<DrillReport, AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        self.rehearse(&running, &progress).await
    }

    async fn drill_fence(&self, progress: Progress) -> Result<FenceDrillReport, AdminError> {
        self.rehearse_fencing(&progress).await
    }

    async fn preflight(&self, request: Preflight) -> Result<Vec<Check>, AdminError> {
        self.need_running()?;
        Ok(preflight::at_this_end(&self.shared.config, request).await)
    }

    async fn rotate_sealing_key(&self, actor: &str, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        self.rotate(&running, actor, &progress).await
    }

    async fn take_sealing_key(&self, key: &[u8]) -> Result<(), AdminError> {
        self.take_key(&*self.need_running()?, key)
    }

    async fn certify_node(&self, name: &str, csr: &[u8]) -> Result<Vec<u8>, AdminError> {
        let running = self.need_running()?;
        node_certificate::certify(&running.identity, &running.ledger().state(), name, csr, (self.shared.clock)())
    }

    async fn promote(&self, request: Promote, progress: Progress) -> Result<PromotionStakes, AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        if request.only_look {
            return Self::stakes(&running);
        }
        let why = format!("{} was promoted without a quorum", running.identity.file.name);
        self.promote_here(running, request.accept_data_loss, why, &progress).await
    }

    async fn resolve(&self, keep: String, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        let running = self.need_running()?;
        self.resolve_for(running, &keep, &progress).await
    }

    async fn list_set_aside(&self) -> Result<Vec<SetAside>, AdminError> {
        set_aside::list(self.data_dir()).map_err(internal)
    }

    async fn restore_set_aside(&self, name: String, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        self.need_kept(&name)?;
        progress.step("Ending what runs here...");
        self.stop_running("other data is put in its place").await;
        set_aside::begin_restore(self.data_dir(), &name).map_err(internal)?;
        progress.step(format!("Putting {name} back..."));
        self.resume().await.map_err(internal)
    }

    async fn delete_set_aside(&self, name: String) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        self.need_kept(&name)?;
        set_aside::delete(self.data_dir(), &name).map_err(internal)
    }

    async fn backup(&self) -> Result<Backup, AdminError> {
        self.make_backup()
    }

    async fn restore(&self, backup: Backup, replace: bool, progress: Progress) -> Result<(), AdminError> {
        let _verb = self.verb.lock().await;
        self.restore_backup(backup, replace, &progress).await
    }

    async fn digests(&self) -> Result<Vec<NodeDigest>, AdminError> {
        self.collect_all_digests().await
    }
}

#[async_trait]
impl SyncControl for Control {
    async fn close(&self, account: AccountId, actor: &str) -> Result<(), AdminError> {
        self.upstream()?.close(account, actor).await
    }

    async fn sync_now(&self, account: AccountId) -> Result<(), AdminError> {
        self.upstream()?.synchronize(account).await
    }

    async fn approve(&self, account: AccountId, actor: &str) -> Result<(), AdminError> {
        self.upstream()?.approve(account, actor).await
    }

    async fn export_request(&self, account: AccountId, actor: &str) -> Result<Asked, AdminError> {
        self.upstream()?.export(account, actor).await
    }

    async fn import_response(&self, document: &[u8], dry_run: bool, actor: &str) -> Result<Imported, AdminError> {
        self.upstream()?.import(document, dry_run, actor).await
    }
}

/// Waits until this node serves.
pub(super) async fn wait_serving(running: &Running) -> Result<(), AdminError> {
    let mut active = running.active.clone();
    match tokio::time::timeout(FIRST_ELECTION, active.wait_for(|a| *a)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(AdminError::new(Kind::Internal, "this node did not become active in time").hint("look at its log")),
    }
}

/// Commits `command` for `actor`; a refusal is an error.
pub(super) async fn commit(ledger: &dyn Ledger, actor: &str, command: Command) -> Result<(), AdminError> {
    match ledger.propose(random::u128(), actor, command).await? {
        Outcome::Refused(refusal) => Err(refusal.into()),
        _ => Ok(()),
    }
}

pub(super) fn not_active(running: &Running) -> AdminError {
    match active_name(&running.replica) {
        Some(active) => AdminError::new(Kind::NotActive, format!("this node is not active; {active} is"))
            .hint(format!("run this on {active}")),
        None => AdminError::new(Kind::NoActiveNode, "no node is active now").hint("look at `licraft ha status`"),
    }
}

pub(super) fn internal(error: impl std::fmt::Display) -> AdminError {
    AdminError::new(Kind::Internal, "this node could not do it").because(format!("{error:#}"))
}

pub(super) fn sync_folder(path: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Readers (status, metrics) hold the running part for moments only; it ends when the last one lets go.
async fn end(mut running: Arc<Running>) {
    loop {
        match Arc::try_unwrap(running) {
            Ok(running) => return running.shutdown().await,
            Err(shared) => running = shared,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn not_let_in(error: PairingError) -> AdminError {
    AdminError::new(Kind::Unreachable, "this node was not let in, and nothing has changed here")
        .because(error.to_string())
        .hint("compare address and code with what `licraft ha generate-keys` printed, or run that again for a new code")
}
