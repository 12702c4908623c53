//! Backups on this node: what goes into one, and beginning anew with one.

use super::control::{Control, internal, wait_serving};
use super::facts::whole_ms;
use super::running::Running;
use super::set_aside;
use crate::admin::{AdminError, Kind, Progress};
use crate::backup::{Backup, Lag, Manifest};
use crate::config::NodeRole;
use crate::license::{MAX_RESTORE_MARK, Member};
use crate::pki::ca::Authority;
use crate::pki::random;
use crate::pki::seal::Sealer;
use crate::store::{LeaderId, LogId, NodeInfo, Store, StoreOptions};
use anyhow::Context;
use zeroize::Zeroizing;

impl Control {
    /// The newest applied state with the keys that it lives by.
    pub(super) fn make_backup(&self) -> Result<Backup, AdminError> {
        let running = self.need_running()?;
        let identity = &running.identity;
        let (Some(ca), Some(sealer)) = (&identity.ca, identity.sealer.clone()) else {
            return Err(
                AdminError::new(Kind::State, "a witness holds nothing to back up").hint("run this on a data node")
            );
        };
        // As they are now: keys that are forgotten meanwhile are still needed for this state.
        let sealer = Sealer::from_bytes(&sealer.to_bytes()).map_err(internal)?;
        // Before the state: then nothing is taken for missing that is in it.
        let lag = lag(&running);
        let (state, applied) = running.store.state_at();
        let applied = applied.ok_or_else(|| AdminError::new(Kind::State, "this node has received nothing yet"))?;
        if state.sealing().is_some_and(|sealing| !sealer.put_in_force(sealing.key)) {
            return Err(AdminError::new(Kind::State, "the sealing key is being changed").hint("repeat the command"));
        }
        let ca = Authority::from_parts(ca.cert_der().to_vec(), Zeroizing::new(ca.key_pkcs8().to_vec()));
        let lag = lag.map(|(newest, silence_ms)| Lag { entries: newest.saturating_sub(applied.index), silence_ms });
        let manifest = Manifest::of(&state, applied, identity.file.name.clone(), (self.shared.clock)(), lag);
        Ok(Backup { manifest, sealer, ca: ca.map_err(internal)?, state: (*state).clone() })
    }

    /// Makes a server of its own of this node: keys and state from the backup; name, addresses and cluster its own.
    pub(super) async fn restore_backup(
        &self,
        backup: Backup,
        replace: bool,
        progress: &Progress,
    ) -> Result<(), AdminError> {
        if self.shared.config.role == NodeRole::Witness {
            return Err(AdminError::new(Kind::State, "a witness cannot hold a server").hint("run this on a data node"));
        }
        if !replace {
            self.uninitialised()?;
        }
        progress.step("Building the store...");
        self.stage(backup).await.map_err(internal)?;
        if self.current().is_some() {
            progress.step("Ending what runs here...");
        }
        self.stop_running("a backup is put in its place").await;
        set_aside::begin_restore_of_backup(self.data_dir()).map_err(internal)?;
        progress.step("Starting with the backup...");
        self.resume().await.map_err(internal)?;
        wait_serving(&*self.need_running()?).await
    }

    /// Prepares a data directory beside the one in use.
    async fn stage(&self, backup: Backup) -> anyhow::Result<()> {
        let (now, config) = ((self.shared.clock)(), &self.shared.config);
        let identity = self.founder(backup.ca, backup.sealer, backup.state.settings())?;
        let info = NodeInfo {
            name: config.name.clone(),
            public_address: config.address.to_string(),
            cluster_address: config.raft.listen.to_string(),
            witness: false,
        };
        let member = Member {
            node_id: identity.file.node_id,
            name: info.name.clone(),
            public_address: info.public_address.clone(),
            cluster_address: info.cluster_address.clone(),
            witness: false,
            joined: now,
            retired: false,
        };
        let mark = random::u128() % u128::from(MAX_RESTORE_MARK) + 1;
        let state = backup.state.restored(now, u64::try_from(mark)?, member);
        // Batches carry the term, and those of terms up to this one are not taken any more.
        let term = state.meta().last_batch.0;
        let leader_id = LeaderId { term, node_id: identity.file.node_id };
        let first = LogId { leader_id, index: backup.manifest.index };
        let staged = set_aside::stage_backup(self.data_dir()).context("making room for the backup")?;
        let store = staged.join(set_aside::STORE);
        Store::begin_with(&store, StoreOptions::default(), state, first, info).await.context("making the store")?;
        Ok(identity.create(&staged)?)
    }
}

/// Unless this node is active: the newest entry that it knows of, and since when it has not heard of the active node.
fn lag(running: &Running) -> Option<(u64, Option<u64>)> {
    if running.replica.guard().serving_until().is_some() {
        return None;
    }
    let leader = running.replica.roles().borrow().leader;
    let status = running.replica.status();
    let peer = status.peers.iter().find(|peer| Some(peer.node_id) == leader);
    let newest = peer.and_then(|peer| peer.last_log).map(|log| log.index).max(status.last_log);
    Some((newest.unwrap_or_default(), peer.and_then(|peer| peer.last_contact).map(whole_ms)))
}
