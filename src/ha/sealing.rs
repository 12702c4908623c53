//! The change of the sealing key. The new key is handed to every data node first; then a command puts it in force, the
//! active node seals everything anew, and a last command lets the nodes forget the old key. Whoever becomes active
//! meanwhile goes on from the records.

use super::control::{Control, commit, internal, not_active};
use super::identity::{NodeIdentity, replace_sealing_key};
use super::running::{Running, member_channel};
use crate::admin::{AdminError, Kind, Progress, on_behalf};
use crate::license::{Command, RESEALED_PER_COMMAND, Resealed, SealedPlace, Sealing, State};
use crate::pki::seal::{self, Sealer};
use crate::proto::admin::TakeSealingKeyRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::raft::Ledger;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// How often a node looks whether another key is in force; the command that puts it in force names it by itself.
const LOOK: Duration = Duration::from_millis(200);
/// How long the verb waits for everything to be sealed anew; it goes on without it.
const RESEAL: Duration = Duration::from_secs(120);

/// A data node's part in changes of the key.
pub(super) struct Keeper {
    pub ledger: Arc<dyn Ledger>,
    pub sealer: Sealer,
    pub data_dir: PathBuf,
    pub active: watch::Receiver<bool>,
}

impl Keeper {
    /// Follows the records until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut complained = None;
        while !stop.is_cancelled() {
            if let Some(sealing) = self.ledger.state().sealing()
                && let Err(error) = self.follow(sealing).await
                && complained != Some(sealing)
            {
                complained = Some(sealing);
                tracing::error!(error = format!("{error:#}"), "the change of the sealing key does not go on here");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn follow(&self, sealing: Sealing) -> Result<()> {
        use_key(&self.sealer, sealing)?;
        if sealing.previous.is_none() {
            return match self.sealer.forget_older() {
                true => Ok(replace_sealing_key(&self.data_dir, &self.sealer)?),
                false => Ok(()),
            };
        }
        if !*self.active.borrow() {
            return Ok(());
        }
        while let Some(secrets) = sealed_anew(&self.ledger.state(), &self.sealer)? {
            commit(&*self.ledger, "cluster", Command::Reseal { secrets }).await?;
        }
        Ok(commit(&*self.ledger, "cluster", Command::EndResealing { key: sealing.key }).await?)
    }
}

/// Seals under the key in force from now on.
fn use_key(sealer: &Sealer, sealing: Sealing) -> Result<()> {
    let known = sealer.put_in_force(sealing.key);
    known.then_some(()).context("this node does not have the sealing key in force; provision it afresh")
}

/// Some of the secrets that are sealed under another key than the one in force; none: there are none left.
fn sealed_anew(state: &State, sealer: &Sealer) -> Result<Option<Vec<Resealed>>> {
    let some = state.sealed_before().take(RESEALED_PER_COMMAND);
    let anew = |(place, old): (SealedPlace, &crate::license::Sealed)| {
        let new = sealer.seal(place.context(), &sealer.open(place.context(), old)?);
        Ok(Resealed { place, old: old.clone(), new })
    };
    let secrets = some.map(anew).collect::<Result<Vec<_>>>()?;
    Ok((!secrets.is_empty()).then_some(secrets))
}

impl Control {
    /// Makes another sealing key and puts it in force, once every other data node has it.
    pub(super) async fn rotate(
        &self,
        running: &Arc<Running>,
        actor: &str,
        progress: &Progress,
    ) -> Result<(), AdminError> {
        let sealer = running.identity.sealer.as_ref().filter(|_| running.replica.guard().serving_until().is_some());
        let Some(sealer) = sealer else { return Err(not_active(running)) };
        if running.ledger().state().sealing().is_some_and(|sealing| sealing.previous.is_some()) {
            return Err(AdminError::new(Kind::State, "the sealing key is being changed already")
                .hint("`licraft event list` tells when that has ended"));
        }
        let (key, previous) = (seal::fresh_key(), sealer.in_force());
        let id = take(&running.identity, self.data_dir(), &key).map_err(internal)?;
        self.hand_over(running, &key, progress).await?;
        progress.step("Putting the new key in force...");
        commit(&*running.ledger(), actor, Command::BeginResealing { key: id, previous }).await?;
        progress.step("Sealing everything anew...");
        let done = async {
            while running.ledger().state().sealing().is_some_and(|sealing| sealing.previous.is_some()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(RESEAL, done).await.is_err() {
            progress.step("It goes on by itself; an event tells when the old key is forgotten.");
        }
        Ok(())
    }

    /// Nothing is sealed under a key that a data node does not have.
    async fn hand_over(
        &self,
        running: &Running,
        key: &Zeroizing<[u8; seal::KEY_LEN]>,
        progress: &Progress,
    ) -> Result<(), AdminError> {
        let state = running.ledger().state();
        let me = running.identity.file.node_id;
        for member in state.members().filter(|m| !m.witness && !m.retired && m.node_id != me) {
            progress.step(format!("Handing the new key to {}...", member.name));
            let unreachable = |why: String| {
                AdminError::new(
                    Kind::Unreachable,
                    format!("{} did not take the new key, so the old one stays", member.name),
                )
                .because(why)
                .hint("bring that node back, or remove it with `licraft ha remove`, and run this again")
            };
            let channel = member_channel(&self.shared.config, &running.replica, &running.node_tls, &member.name)
                .ok_or_else(|| unreachable("it does not vote yet".into()))?;
            let request = TakeSealingKeyRequest { key: key.to_vec().into() };
            let taken = ClusterClient::new(channel).take_sealing_key(on_behalf(request, "rotation")).await;
            taken.map_err(|status| unreachable(status.message().to_owned()))?;
        }
        Ok(())
    }

    /// Keeps a key that the active node is about to put in force.
    pub(super) fn take_key(&self, running: &Running, key: &[u8]) -> Result<(), AdminError> {
        let key = <[u8; seal::KEY_LEN]>::try_from(key).map(Zeroizing::new);
        let key = key.map_err(|_| AdminError::new(Kind::Invalid, "a sealing key has 32 bytes"))?;
        take(&running.identity, self.data_dir(), &key).map(drop).map_err(internal)
    }
}

/// Adds the key, durably.
fn take(
    identity: &NodeIdentity,
    data_dir: &Path,
    key: &Zeroizing<[u8; seal::KEY_LEN]>,
) -> Result<crate::license::SealingKeyId> {
    let sealer = identity.sealer.as_ref().context("a witness has no sealing key")?;
    let id = sealer.add(key.clone());
    replace_sealing_key(data_dir, sealer)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{
        AccountId, AccountKeys, Changes, Millis, Outcome, Request, Role, Sealed, Stamp, Token, User, VirtualAccountId,
    };
    use crate::raft::ProposeError;
    use parking_lot::Mutex;

    /// One state; dies after so many proposals.
    struct Memory(Mutex<(State, usize)>);

    #[async_trait::async_trait]
    impl Ledger for Memory {
        async fn propose(&self, _: u128, _: &str, command: Command) -> Result<Outcome, ProposeError> {
            let mut inner = self.0.lock();
            if inner.1 == 0 {
                return Err(ProposeError::Stopped { why: "it was killed".into() });
            }
            inner.1 -= 1;
            let request = Request { id: 0, actor: "test".into(), command };
            let outcome = inner.0.apply(Stamp::at(Millis(1)), &request, &mut Changes::new());
            assert_eq!(inner.0.check(), Vec::<String>::new());
            Ok(outcome)
        }

        fn state(&self) -> Arc<State> {
            Arc::new(self.0.lock().0.clone())
        }
    }

    impl Memory {
        async fn must(&self, command: Command) {
            let outcome = self.propose(0, "test", command).await.unwrap();
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        }

        /// A server with an account and more tokens than one command seals anew.
        async fn with(sealer: &Sealer) -> Arc<Self> {
            let ledger = Arc::new(Self(Mutex::new((State::default(), usize::MAX))));
            let administrator = User::new("admin".into(), Role::SystemAdministrator, "x".into(), false);
            ledger.must(Command::Initialize { server_uid: "00".into(), administrator }).await;
            let request = Command::RequestAccount {
                name: "TEST".into(),
                requested_by: "admin".into(),
                smart_account: "S".into(),
                virtual_account: "V".into(),
            };
            ledger.must(request).await;
            let (account, seal) = (AccountId(1), |context| sealer.seal(context, b"secret"));
            let keys = AccountKeys {
                ca_csr: vec![1],
                ca_key: seal(AccountKeys::CA_KEY_CONTEXT),
                signer_key: seal(AccountKeys::SIGNER_KEY_CONTEXT),
                ca_chain: vec![],
                signer_cert: vec![],
            };
            ledger.must(Command::ApproveAccount { account, keys }).await;
            let (ca_chain, signer_cert) = (vec![vec![1]], vec![1]);
            let active =
                Command::ActivateAccount { account, ca_chain, signer_cert, entitlements: vec![], response: [0; 32] };
            ledger.must(active).await;
            for n in 0..=RESEALED_PER_COMMAND as u64 {
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&n.to_be_bytes());
                ledger.must(token(hash, seal(Token::CONTEXT))).await;
            }
            ledger
        }

        fn opens(&self, sealer: &Sealer) {
            for (place, sealed) in self.state().sealed() {
                assert_eq!(sealer.open(place.context(), sealed).unwrap().as_slice(), b"secret", "{place:?}");
            }
        }
    }

    fn token(hash: [u8; 32], sealed: Sealed) -> Command {
        Command::CreateToken {
            va: VirtualAccountId(2),
            hash,
            sealed,
            description: String::new(),
            expires_days: 1,
            max_uses: 0,
            export_controlled: false,
        }
    }

    /// A data node, which has its keys in a file.
    fn node(ledger: &Arc<Memory>, keys: &[u8], active: bool) -> (tempfile::TempDir, Keeper) {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::from_bytes(keys).unwrap();
        replace_sealing_key(dir.path(), &sealer).unwrap();
        let active = watch::channel(active).1;
        let keeper = Keeper { ledger: ledger.clone(), sealer, data_dir: dir.path().to_owned(), active };
        (dir, keeper)
    }

    fn kept(dir: &tempfile::TempDir) -> Sealer {
        Sealer::load(&dir.path().join("sealing.key")).unwrap()
    }

    #[tokio::test]
    async fn the_key_is_changed_also_when_the_active_node_dies_in_the_middle() {
        let old = Sealer::generate();
        let ledger = Memory::with(&old).await;
        let backup = (old.to_bytes(), ledger.state());
        let both = Sealer::from_bytes(&old.to_bytes()).unwrap();
        let key = both.add(seal::fresh_key());
        let (dirs, [first, second]) = {
            let (a, first) = node(&ledger, &both.to_bytes(), true);
            let (b, second) = node(&ledger, &both.to_bytes(), false);
            ([a, b], [first, second])
        };
        ledger.must(Command::BeginResealing { key, previous: old.in_force() }).await;
        // Dead after its first lot.
        ledger.0.lock().1 = 1;
        let sealing = || ledger.state().sealing().unwrap();
        first.follow(sealing()).await.unwrap_err();
        let left = ledger.state().sealed_before().count();
        assert!(left > 0 && left < ledger.state().sealed().count(), "{left}");
        ledger.opens(&first.sealer);
        ledger.0.lock().1 = usize::MAX;
        // The standby seals nothing, until it is active.
        second.follow(sealing()).await.unwrap();
        assert_eq!(ledger.state().sealed_before().count(), left);
        let second = Keeper { active: watch::channel(true).1, ..second };
        second.follow(sealing()).await.unwrap();
        assert_eq!((ledger.state().sealed_before().count(), sealing().previous), (0, None));
        ledger.opens(&second.sealer);
        // What was sealed under the old key meanwhile is not kept: nobody could open it.
        let late = ledger.propose(0, "test", token([9; 32], old.seal(Token::CONTEXT, b"secret"))).await.unwrap();
        assert!(matches!(late, Outcome::Refused(refusal) if refusal.message.contains("not in force any more")));
        // Each forgets the old key, also in its file; batches are still those of the cluster.
        for (keeper, dir) in [&first, &second].into_iter().zip(&dirs) {
            keeper.follow(sealing()).await.unwrap();
            let kept = kept(dir);
            assert_eq!((kept.in_force(), kept.mac(b"x")), (key, old.mac(b"x")));
            assert!(!kept.put_in_force(old.in_force()));
            ledger.opens(&kept);
        }
        // A backup from before has its own key.
        let restored = Sealer::from_bytes(&backup.0).unwrap();
        let sealed: Vec<_> = backup.1.sealed().collect();
        assert!(sealed.iter().all(|(place, sealed)| restored.open(place.context(), sealed).is_ok()));
    }

    #[tokio::test]
    async fn a_node_without_the_key_in_force_says_so_and_seals_nothing() {
        let old = Sealer::generate();
        let ledger = Memory::with(&old).await;
        ledger.must(Command::BeginResealing { key: [7; 8], previous: old.in_force() }).await;
        let (_dir, keeper) = node(&ledger, &old.to_bytes(), true);
        let error = keeper.follow(ledger.state().sealing().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("does not have the sealing key in force"), "{error}");
        assert_eq!(ledger.state().sealed_before().count(), ledger.state().sealed().count());
    }
}
