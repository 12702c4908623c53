//! Going on without a quorum, because an operator says that the others are gone; and the end of a conflict between two
//! nodes that did so.

use super::control::{Control, internal, wait_serving};
use super::epoch::{self, Change, Conflict, How};
use super::identity::NodeFile;
use super::running::Running;
use super::set_aside::{free_name, store_bytes};
use crate::admin::{self, AdminError, Kind, Progress, PromotionStakes, rfc3339};
use crate::license::Millis;
use crate::proto::admin::ResolveRequest;
use crate::proto::admin::cluster_client::ClusterClient;
use crate::raft::{Agreement, EpochMet, PeerStatus, Replica};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A voter that was heard of within this time is there.
const THERE: Duration = Duration::from_millis(1_500);

/// What bears on a promotion.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    witness: bool,
    /// Whether this node is a member by the newest membership that it knows.
    member: bool,
    /// Whether this node votes by the newest membership it knows.
    votes: bool,
    /// Whether this node learns the log anew, so that what it knows may be of long ago.
    learning: bool,
    /// Whether that membership is on its way to another one.
    joint: bool,
    others: Vec<Other>,
    /// Whether the data here is not that of the others.
    differs: bool,
    /// The newest command that this node has carried out.
    newest: Millis,
}

#[derive(Clone, Debug)]
struct Other {
    name: String,
    witness: bool,
    votes: bool,
    /// Answers now.
    there: bool,
    /// Has answered since this node started.
    seen: bool,
}

impl Standing {
    pub(super) fn of(replica: &Replica) -> Self {
        let status = replica.status();
        let other = |peer: &PeerStatus| Other {
            name: peer.info.name.clone(),
            witness: peer.info.witness,
            votes: peer.voter,
            there: peer.last_contact.is_some_and(|age| age < THERE),
            seen: peer.last_contact.is_some(),
        };
        Self {
            witness: replica.options().info.witness,
            member: replica.membership().members().contains_key(&status.node_id),
            votes: status.voter,
            learning: replica.learning(),
            joint: replica.membership().is_joint(),
            others: status.peers.iter().map(other).collect(),
            differs: replica.agreement() != Agreement::Equal,
            newest: replica.ledger().state().now(),
        }
    }

    /// What an operator puts at stake by promoting this node.
    ///
    /// # Errors
    /// When it needs no promotion, or can have none.
    pub(super) fn stakes(&self) -> Result<PromotionStakes, AdminError> {
        if self.witness {
            return Err(AdminError::new(Kind::State, "a witness cannot be promoted: it serves no licenses")
                .hint("promote a data node"));
        }
        if !self.member {
            return Err(AdminError::new(Kind::State, "this node has no data of the cluster yet")
                .hint("promote a node that has, or provision this one afresh"));
        }
        let voters = self.others.iter().filter(|other| other.votes);
        let all = voters.clone().count() + usize::from(self.votes);
        let there = voters.filter(|other| other.there).count() + usize::from(self.votes);
        if there > all / 2 {
            return Err(AdminError::new(Kind::State, "a quorum answers, so there is nothing to promote")
                .because(format!("{there} of {all} voters answer; they agree on an active node by themselves"))
                .hint("look at `licraft ha status`; `licraft ha switchover` moves the active role"));
        }
        Ok(PromotionStakes {
            others: self.others.iter().map(|other| other.name.clone()).collect(),
            lacks: self.lacks(),
        })
    }

    /// Why this node may lack what the others have granted; none where it cannot. Two voters agree on nothing without
    /// both, so each has all that was acknowledged, unless an operator has promoted the other.
    fn lacks(&self) -> Option<String> {
        let since = format!("licenses granted after {} may be unknown here", rfc3339(self.newest));
        let why = match self.others.as_slice() {
            _ if self.learning => "this node had set its data aside and has not learnt all again".to_owned(),
            _ if self.differs => "the data here differed from that of the others".to_owned(),
            _ if !self.votes => "this node had no vote, so the others needed no answer of it".to_owned(),
            [other] if other.votes && !other.witness && !self.joint => match other.seen {
                true => return None,
                false => format!(
                    "this node has not seen {} since it started, so that may have been promoted meanwhile",
                    other.name
                ),
            },
            _ => "the others could agree without this node".to_owned(),
        };
        Some(format!("{since}: {why}"))
    }
}

impl Control {
    /// What a promotion of this node puts at stake.
    ///
    /// # Errors
    /// When it needs no promotion, or can have none.
    pub(super) fn stakes(running: &Running) -> Result<PromotionStakes, AdminError> {
        if let Some(conflict) = running.conflict.borrow().as_ref() {
            return Err(in_conflict(&running.identity.file.name, conflict));
        }
        Standing::of(&running.replica).stakes()
    }

    /// Promotes this node for the reason `why`; also where it may lack something, when `accept_data_loss`.
    pub(super) async fn promote_here(
        &self,
        running: Arc<Running>,
        accept_data_loss: bool,
        why: String,
        progress: &Progress,
    ) -> Result<PromotionStakes, AdminError> {
        let stakes = Self::stakes(&running)?;
        if let Some(lacks) = stakes.lacks.as_ref().filter(|_| !accept_data_loss) {
            return Err(AdminError::new(Kind::ClusterState, "this node may not have all licenses that were granted")
                .because(lacks.clone())
                .hint(
                    "bring the others back, or promote one that knows more; if they are gone for good, repeat it with \
                     --accept-data-loss",
                ));
        }
        room_for_copy(self.data_dir())?;
        self.go_to(running, |file, aside| Change::after(file, How::Alone, aside, why), progress).await?;
        Ok(stakes)
    }

    /// Ends the running part, changes the epoch, starts again and waits until this node serves.
    async fn go_to(
        &self,
        running: Arc<Running>,
        change: impl FnOnce(&NodeFile, String) -> Change,
        progress: &Progress,
    ) -> Result<(), AdminError> {
        let change = change(&running.identity.file, free_name(self.data_dir(), (self.shared.clock)()));
        drop(running);
        if change.how == How::Alone {
            progress.step(format!("Setting a copy of the data aside as {}...", change.aside));
        }
        self.stop_running("this node goes to another epoch of the cluster").await;
        let decided = change.begin(self.data_dir());
        let started = self.start_running().await;
        decided.map_err(internal)?;
        started.map_err(internal)?;
        progress.step(format!("Serving in epoch {}...", change.epoch_counter));
        wait_serving(&*self.need_running()?).await
    }

    /// Gives way to a node of a higher epoch.
    pub(super) async fn gone_beyond(&self, running: Arc<Running>, met: EpochMet) {
        if let Err(error) = self.give_way(running, met).await {
            tracing::error!(error = format!("{error:#}"), "this node could not go to the newer epoch");
        }
    }

    async fn give_way(&self, running: Arc<Running>, met: EpochMet) -> anyhow::Result<()> {
        let name = running.replica.membership().members().remove(&met.node_id).map(|info| info.name);
        let name = name.unwrap_or_else(|| format!("node {}", met.node_id));
        let counter = met.epoch.counter;
        if epoch::was_in(self.data_dir(), &running.identity.file, met.epoch)? {
            running.stranded.send_replace(Some(name));
            return Ok(());
        }
        tracing::warn!(node = name, epoch = counter, "another node was promoted; the data here is set aside");
        drop(running);
        self.stop_running(&format!("{name} was promoted; this node sets its data aside and rejoins")).await;
        let aside = free_name(self.data_dir(), (self.shared.clock)());
        Change::to(met.epoch, aside, format!("gave way to {name}, which was promoted to epoch {counter}"))
            .begin(self.data_dir())?;
        self.start_running().await
    }

    /// Ends a conflict: the node called `keep` goes on, and the other one gives way to it.
    pub(super) async fn resolve_for(
        &self,
        running: Arc<Running>,
        keep: &str,
        progress: &Progress,
    ) -> Result<(), AdminError> {
        let me = running.identity.file.name.clone();
        let conflict = running.conflict.borrow().clone();
        let Some(conflict) = conflict else {
            return Err(AdminError::new(Kind::State, "there is no conflict to resolve")
                .because("this node has met no other one that was promoted beside it")
                .hint("look at `licraft ha status` on each node"));
        };
        if keep == me {
            let why = format!("{me} was kept, and not {}", conflict.name);
            return self.go_to(running, |file, aside| Change::after(file, How::Kept, aside, why), progress).await;
        }
        if keep != conflict.name {
            return Err(AdminError::new(Kind::NotFound, format!("{keep} is not one of the two"))
                .because(format!("the conflict is between {me} and {}", conflict.name)));
        }
        progress.step(format!("Asking {keep} to go on..."));
        let channel = self.admin_of(&running, keep).ok_or_else(|| {
            AdminError::new(Kind::Unreachable, format!("the address of {keep} is not known here"))
                .hint(format!("run this on {keep}"))
        })?;
        drop(running);
        let refused = |status: tonic::Status| {
            AdminError::new(Kind::Unreachable, format!("{keep} did not do it"))
                .because(status.message())
                .hint(format!("run this on {keep}"))
        };
        let request = ResolveRequest { keep: keep.to_owned() };
        let asked = ClusterClient::new(channel).resolve(admin::on_behalf(request, "resolve")).await;
        let mut steps = asked.map_err(refused)?.into_inner();
        while let Some(step) = steps.message().await.map_err(refused)? {
            progress.step(step.text);
        }
        Ok(())
    }
}

/// Why nothing else can be done first.
fn in_conflict(me: &str, conflict: &Conflict) -> AdminError {
    AdminError::new(Kind::State, format!("{me} and {} were both promoted", conflict.name))
        .hint("decide whose data counts with `licraft ha resolve --keep NODE`")
}

fn room_for_copy(data_dir: &Path) -> Result<(), AdminError> {
    let needed = store_bytes(data_dir).map_err(internal)?;
    let fs = rustix::fs::statvfs(data_dir).map_err(internal)?;
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    // As much again, so that the node can go on afterwards.
    match free / 2 >= needed {
        true => Ok(()),
        false => Err(AdminError::new(Kind::State, "there is no room for a copy of the data")
            .because(format!("the copy takes {needed} bytes, and {free} are free in {}", data_dir.display()))
            .hint("make room, or delete old copies with `licraft ha set-aside delete NAME`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(name: &str) -> Other {
        Other { name: name.into(), witness: false, votes: true, there: false, seen: true }
    }

    fn standing(others: Vec<Other>) -> Standing {
        Standing {
            witness: false,
            member: true,
            votes: true,
            learning: false,
            joint: false,
            others,
            differs: false,
            newest: Millis(1_700_000_000_000),
        }
    }

    #[test]
    fn the_survivor_of_two_lacks_nothing() {
        let stakes = standing(vec![other("b")]).stakes().unwrap();
        assert_eq!(stakes, PromotionStakes { others: vec!["b".into()], lacks: None });
    }

    #[test]
    fn whoever_may_lack_something_says_what() {
        let pair = standing(vec![other("b")]);
        let unseen = standing(vec![Other { seen: false, ..other("b") }]);
        let no_vote = Standing { votes: false, ..pair.clone() };
        let learning = Standing { learning: true, ..pair.clone() };
        let differs = Standing { differs: true, ..pair.clone() };
        let leaving = Standing { joint: true, ..pair.clone() };
        let learner = standing(vec![Other { votes: false, ..other("b") }, Other { there: false, ..other("c") }]);
        let of_three = standing(vec![other("b"), Other { witness: true, ..other("w") }]);
        let with_witness = standing(vec![Other { witness: true, ..other("w") }]);
        for (standing, why) in [
            (unseen, "has not seen b since it started"),
            (no_vote, "had no vote"),
            (learning, "has not learnt all again"),
            (differs, "differed from that of the others"),
            (leaving, "could agree without this node"),
            (learner, "could agree without this node"),
            (of_three, "could agree without this node"),
            (with_witness, "could agree without this node"),
        ] {
            let lacks = standing.stakes().unwrap().lacks.unwrap();
            assert!(lacks.contains("granted after 2023-11-14T22:13:20Z") && lacks.contains(why), "{lacks}");
        }
    }

    #[test]
    fn no_promotion_where_a_quorum_is_or_where_nothing_is() {
        let there = Other { there: true, ..other("b") };
        let alone = standing(Vec::new());
        let pair = standing(vec![there.clone()]);
        let three = standing(vec![there.clone(), other("c")]);
        // Without a vote of its own, one voter that answers is enough.
        let no_vote = Standing { votes: false, ..pair.clone() };
        for standing in [alone, pair.clone(), three, no_vote] {
            let error = standing.stakes().unwrap_err();
            assert!(error.to_string().contains("a quorum answers"), "{error}");
        }
        let witness = Standing { witness: true, ..standing(vec![other("b")]) };
        assert!(witness.stakes().unwrap_err().to_string().contains("a witness"));
        let fresh = Standing { member: false, votes: false, ..standing(vec![other("b")]) };
        assert!(fresh.stakes().unwrap_err().to_string().contains("no data"));
    }
}
