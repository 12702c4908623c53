//! Epochs of the cluster: which one this node is in, how it goes to another, and what it does when it meets one.
//!
//! Within an epoch Raft keeps the replicas equal. An operator who promotes a node without a quorum begins a new one, in
//! which that node goes on alone; whoever comes back from the old one gives way to it.

use super::finding::{Finding, Teller};
use super::identity::{IdentityError, NodeFile, NodeIdentity, read_whole, remove_leftover, write_whole};
use super::set_aside::{FOLDER, Keep, STORE, keep};
use crate::license::{Command, Severity};
use crate::pki::random;
use crate::raft::{EpochMet, Ledger, Replica};
use crate::store::{Epoch, Store, StoreOptions};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A change of epoch that was decided and is not finished, in the data directory.
const CHANGE: &str = "epoch.json";
/// Another node that was promoted beside this one.
const CONFLICT: &str = "conflict.json";
/// Says that the store was taken away and the node learns all anew.
const REJOINING: &str = "rejoining";
/// The epochs in which this machine was a member, beside the data that was set aside: it stays when that changes.
const PAST: &str = "epochs.json";
/// Says that the incarnation is to be raised, and why.
const RAISE: &str = "incarnation.raise";
/// After a command that was not carried out.
const RETRY: Duration = Duration::from_secs(1);

/// What a node does with its data when it goes to another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// Goes on with it as the only voter; a copy is set aside.
    Alone,
    /// Goes on with it as the only voter, without a copy.
    Kept,
    /// Sets it aside and learns all from the others.
    Anew,
}

/// A change of epoch. Once it is written it is carried out, by the next start at the latest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub how: How,
    pub epoch_counter: u64,
    /// Random 128 bits as hex.
    pub epoch_id: String,
    /// Under which name the data is set aside.
    pub aside: String,
    /// For people.
    pub why: String,
}

impl Change {
    /// To a new epoch after that of `file`.
    pub(super) fn after(file: &NodeFile, how: How, aside: String, why: String) -> Self {
        let epoch_id = hex::encode(random::bytes::<16>());
        Self { how, epoch_counter: file.epoch_counter + 1, epoch_id, aside, why }
    }

    /// To the epoch of another node.
    pub(super) fn to(epoch: Epoch, aside: String, why: String) -> Self {
        let epoch_id = format!("{:032x}", epoch.id);
        Self { how: How::Anew, epoch_counter: epoch.counter, epoch_id, aside, why }
    }

    /// Decides it: from now on the node runs only in the new epoch.
    pub(super) fn begin(&self, data_dir: &Path) -> Result<(), IdentityError> {
        write_whole(data_dir, CHANGE, self)
    }

    /// Carries it out. A repetition after a crash does what is left.
    async fn carry_out(&self, data_dir: &Path) -> Result<()> {
        let mut file = NodeFile::load(data_dir)?;
        match self.how {
            How::Alone => {
                set_aside(data_dir, self, Keep::Copy).await?;
                go_on_alone(data_dir, &file).await?;
            }
            How::Kept => go_on_alone(data_dir, &file).await?,
            How::Anew => {
                set_aside(data_dir, self, Keep::Move).await?;
                NodeIdentity::forget_store(data_dir)?;
                write_whole(data_dir, REJOINING, &self.why)?;
            }
        }
        if self.how != How::Anew {
            raise_incarnation(data_dir, &self.why)?;
        }
        file.epoch_counter = self.epoch_counter;
        file.epoch_id.clone_from(&self.epoch_id);
        file.save(data_dir)?;
        remove_leftover(&data_dir.join(CONFLICT))?;
        remove_leftover(&data_dir.join(CHANGE))?;
        Ok(std::fs::File::open(data_dir)?.sync_all()?)
    }
}

async fn go_on_alone(data_dir: &Path, file: &NodeFile) -> Result<()> {
    let store = data_dir.join(STORE);
    let alone = Store::make_sole_voter(&store, StoreOptions::default(), file.node_id);
    alone.await.context("making this node the only voter")?;
    // There is nobody left to learn from.
    Ok(remove_leftover(&data_dir.join(REJOINING))?)
}

async fn set_aside(data_dir: &Path, change: &Change, store: Keep) -> Result<()> {
    let (data_dir, change) = (data_dir.to_owned(), change.clone());
    // The decision itself is none of the data: put back, it would be carried out again.
    let kept = tokio::task::spawn_blocking(move || keep(&data_dir, &change.aside, &change.why, store, &[CHANGE]));
    kept.await?.context("setting the data aside")
}

/// Carries out a change of epoch that was decided, if there is one. Nothing of the node may run.
///
/// # Errors
/// When it cannot be carried out; it is tried again at the next start.
pub(super) async fn finish(data_dir: &Path) -> Result<()> {
    let path = data_dir.join(CHANGE);
    let Some(change) = read_whole::<Change>(&path)? else { return Ok(()) };
    tracing::warn!(epoch = change.epoch_counter, why = change.why, "going to another epoch");
    change.carry_out(data_dir).await.with_context(|| format!("going to epoch {}", change.epoch_counter))
}

/// Another node that was promoted while this one was: neither knows what the other has granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    pub node_id: u64,
    /// The other node's name.
    pub name: String,
    /// Whether this node is the one that does not serve meanwhile.
    pub yields: bool,
}

impl Conflict {
    pub(super) fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        read_whole(&data_dir.join(CONFLICT))
    }
}

/// How an epoch stands to that of this node: an operator decided on the higher one later, knowing of the lower.
fn precedes(mine: Epoch, theirs: Epoch) -> Ordering {
    mine.counter.cmp(&theirs.counter)
}

/// Gives way to other epochs as they are met: before a higher one this node serves no more and tells it; of
/// two equal ones the node with the higher id serves no more.
pub(super) async fn watch(
    data_dir: PathBuf,
    replica: Arc<Replica>,
    conflict: watch::Sender<Option<Conflict>>,
    teller: Teller,
    stop: CancellationToken,
) {
    let mine = replica.options().epoch;
    let mut met = replica.epoch_met();
    while !stop.is_cancelled() {
        let seen = *met.borrow_and_update();
        if let Some(seen) = seen.filter(|seen| seen.epoch != mine) {
            match precedes(mine, seen.epoch) {
                Ordering::Greater => {}
                Ordering::Less => {
                    replica.guard().bar();
                    teller.tell(Finding::Above(seen));
                }
                Ordering::Equal => beside(&data_dir, &replica, &conflict, seen),
            }
        }
        tokio::select! {
            changed = met.changed() => if changed.is_err() { return },
            () = stop.cancelled() => {}
        }
    }
}

fn beside(data_dir: &Path, replica: &Replica, known: &watch::Sender<Option<Conflict>>, seen: EpochMet) {
    let yields = replica.options().epoch.id > seen.epoch.id;
    if yields {
        replica.guard().bar();
    }
    let name = replica.membership().members().remove(&seen.node_id).map(|info| info.name);
    let name = name.unwrap_or_else(|| format!("node {}", seen.node_id));
    let conflict = Conflict { node_id: seen.node_id, name, yields };
    if known.borrow().as_ref() == Some(&conflict) {
        return;
    }
    tracing::error!(
        other = conflict.name,
        yields,
        "both nodes were promoted; `licraft ha resolve --keep NODE` ends it"
    );
    // Without the file a restart would learn it when the nodes meet, a moment after it began to serve.
    if let Err(error) = write_whole(data_dir, CONFLICT, &conflict) {
        tracing::error!(%error, "the conflict is not known after a restart");
    }
    known.send_replace(Some(conflict));
}

/// An epoch in which this machine was a member, and under which id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    cluster_id: String,
    node_id: u64,
    epoch_counter: u64,
    epoch_id: String,
}

impl Past {
    fn of(file: &NodeFile) -> Self {
        let NodeFile { cluster_id, node_id, epoch_counter, epoch_id, .. } = file.clone();
        Self { cluster_id, node_id, epoch_counter, epoch_id }
    }
}

/// Notes that this node is about to be a member in its epoch.
///
/// # Errors
/// When it cannot be noted.
pub(super) fn note_epoch(data_dir: &Path, file: &NodeFile) -> Result<()> {
    let folder = data_dir.join(FOLDER);
    let mut all: Vec<Past> = read_whole(&folder.join(PAST))?.unwrap_or_default();
    let now = Past::of(file);
    if !all.contains(&now) {
        std::fs::create_dir_all(&folder)?;
        all.push(now);
        write_whole(&folder, PAST, &all)?;
    }
    Ok(())
}

/// Whether this node was a member in `epoch`. It may not rejoin that without what it voted and acknowledged there.
///
/// # Errors
/// When that cannot be read.
pub(super) fn was_in(data_dir: &Path, file: &NodeFile, epoch: Epoch) -> Result<bool, IdentityError> {
    let all: Vec<Past> = read_whole(&data_dir.join(FOLDER).join(PAST))?.unwrap_or_default();
    let there = Past { epoch_counter: epoch.counter, epoch_id: format!("{:032x}", epoch.id), ..Past::of(file) };
    Ok(all.contains(&there))
}

/// Whether this node learns all anew, as a member whose store was taken away.
pub(super) fn rejoining(data_dir: &Path) -> bool {
    data_dir.join(REJOINING).exists()
}

/// Ends [`rejoining`] once the node votes again.
pub(super) async fn rejoined(data_dir: PathBuf, replica: Arc<Replica>, stop: CancellationToken) {
    let votes = tokio::select! {
        votes = replica.until_votes() => votes.is_ok(),
        () = stop.cancelled() => false,
    };
    if votes && let Err(error) = remove_leftover(&data_dir.join(REJOINING)) {
        tracing::warn!(%error, "after a restart this node waits for a leader before it stands for election");
    }
}

/// Has the incarnation raised as soon as this node serves: central must take no copy of this server for it.
///
/// # Errors
/// When that cannot be noted.
pub(super) fn raise_incarnation(data_dir: &Path, why: &str) -> Result<(), IdentityError> {
    write_whole(data_dir, RAISE, &why)
}

/// Why the incarnation is to be raised, if it is.
pub(super) fn to_be_raised(data_dir: &Path) -> Option<String> {
    read_whole(&data_dir.join(RAISE)).ok().flatten()
}

/// Raises the incarnation and records why, where [`raise_incarnation`] asks for it.
pub(super) async fn conclude(
    data_dir: PathBuf,
    ledger: Arc<dyn Ledger>,
    mut active: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let Some(why) = to_be_raised(&data_dir) else { return };
    while !stop.is_cancelled() {
        tokio::select! {
            serves = active.wait_for(|active| *active) => if serves.is_err() { return },
            () = stop.cancelled() => return,
        }
        match ledger.propose(random::u128(), "cluster", Command::RaiseIncarnation).await {
            Ok(_) => {
                super::address::event(&*ledger, Severity::Major, "promotion", why).await;
                if let Err(error) = remove_leftover(&data_dir.join(RAISE)) {
                    tracing::warn!(%error, "the incarnation will be raised again at the next start");
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "the incarnation is not raised yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::set_aside::list;
    use super::*;
    use crate::store::store_of_voters;
    use std::fs;

    fn node() -> NodeFile {
        NodeFile {
            node_id: 2,
            name: "b".into(),
            witness: false,
            cluster_id: "c".into(),
            epoch_counter: 4,
            epoch_id: format!("{:032x}", 9),
            heartbeat_ms: 50,
            election_min_ms: 150,
            election_max_ms: 300,
        }
    }

    /// Another node's epoch, later than that of [`node`].
    const LATER: Epoch = Epoch { counter: 5, id: 7 };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn giving_way_is_finished_whenever_a_crash_interrupts_it() {
        for crash in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path();
            node().save(data).unwrap();
            fs::create_dir(data.join(STORE)).unwrap();
            fs::write(data.join(STORE).join("log"), "old").unwrap();
            fs::write(data.join("store.made"), "").unwrap();
            let change = Change::to(LATER, "then".into(), "why".into());
            change.begin(data).unwrap();
            if crash > 0 {
                keep(data, "then", "why", Keep::Move, &[CHANGE]).unwrap();
            }
            if crash > 1 {
                NodeIdentity::forget_store(data).unwrap();
            }
            if crash > 2 {
                write_whole(data, REJOINING, &"why").unwrap();
            }
            if crash > 3 {
                NodeFile { epoch_counter: 5, epoch_id: change.epoch_id.clone(), ..node() }.save(data).unwrap();
            }
            finish(data).await.unwrap();
            finish(data).await.unwrap();
            let now = NodeFile::load(data).unwrap();
            assert_eq!((now.epoch_counter, now.epoch_id), (LATER.counter, format!("{:032x}", LATER.id)));
            assert!(rejoining(data) && to_be_raised(data).is_none());
            assert!(!data.join(STORE).exists() && !data.join("store.made").exists() && !data.join(CHANGE).exists());
            let [kept] = list(data).unwrap().try_into().unwrap();
            assert_eq!((kept.epoch, kept.why.as_str()), (4, "why"), "crash {crash}");
            let kept = data.join(FOLDER).join("then");
            assert_eq!(fs::read_to_string(kept.join(STORE).join("log")).unwrap(), "old");
            assert!(!kept.join(CHANGE).exists(), "put back, it would be carried out again");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_one_that_is_kept_ends_the_conflict_and_raises_the_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        node().save(data).unwrap();
        store_of_voters(&data.join(STORE), &[1, 2]).await;
        write_whole(data, REJOINING, &"why").unwrap();
        write_whole(data, CONFLICT, &Conflict { node_id: 1, name: "a".into(), yields: true }).unwrap();
        Change::after(&node(), How::Kept, "then".into(), "b was kept".into()).begin(data).unwrap();
        finish(data).await.unwrap();
        let now = NodeFile::load(data).unwrap();
        assert!(now.epoch_counter == 5 && now.epoch_id != node().epoch_id && now.epoch_id.len() == 32);
        assert_eq!(Conflict::load(data).unwrap(), None);
        assert!(!rejoining(data), "it would wait for a leader for good");
        assert_eq!(to_be_raised(data).as_deref(), Some("b was kept"));
        assert_eq!(list(data).unwrap(), []);
    }

    #[test]
    fn an_epoch_is_known_again_under_the_same_id_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let epoch = Epoch { counter: 4, id: 9 };
        assert!(!was_in(data, &node(), epoch).unwrap());
        note_epoch(data, &node()).unwrap();
        note_epoch(data, &node()).unwrap();
        assert!(was_in(data, &node(), epoch).unwrap() && !was_in(data, &node(), LATER).unwrap());
        assert!(!was_in(data, &NodeFile { node_id: 3, ..node() }, epoch).unwrap(), "provisioned afresh");
        // It is none of the data that was set aside.
        assert_eq!(list(data).unwrap(), []);
    }
}
