//! What a running part finds out that ends or replaces it. It cannot do that itself, so it tells the node; what an earlier
//! running part told too late, when the node had already begun anew, no longer counts.

use super::control::Control;
use super::identity::NodeIdentity;
use crate::raft::EpochMet;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// A change that the node has to make.
#[derive(Clone, Debug)]
pub enum Finding {
    /// The cluster has retired this node.
    Retired,
    /// A majority has another state than this node after entry `index`.
    Outvoted { index: u64 },
    /// A node of a higher epoch has spoken to this one.
    Above(EpochMet),
    /// The fence command has made sure that the other node is off: its name.
    Fenced(String),
}

/// A finding and the identity under which it was made.
pub type Found = (Arc<NodeIdentity>, Finding);

/// Tells the findings of one running part.
#[derive(Clone)]
pub struct Teller {
    identity: Arc<NodeIdentity>,
    to: UnboundedSender<Found>,
}

impl Teller {
    #[must_use]
    pub fn new(identity: Arc<NodeIdentity>, to: UnboundedSender<Found>) -> Self {
        Self { identity, to }
    }

    pub fn tell(&self, finding: Finding) {
        // Nobody listens when the process ends, and then nothing is to be changed.
        let _ = self.to.send((self.identity.clone(), finding));
    }
}

impl Control {
    /// Carries out what running parts find, until the process ends.
    pub async fn follow(&self, mut found: UnboundedReceiver<Found>) {
        while let Some((identity, finding)) = found.recv().await {
            self.carry_out(&identity, finding).await;
        }
    }

    async fn carry_out(&self, identity: &Arc<NodeIdentity>, finding: Finding) {
        let _verb = self.verb.lock().await;
        // Each start loads its identity anew, so an equal one is that of the very running part that told.
        let Some(running) = self.current().filter(|running| Arc::ptr_eq(&running.identity, identity)) else { return };
        match finding {
            Finding::Retired => {
                drop(running);
                if let Err(error) = self.retire().await {
                    tracing::error!(%error, "this node is retired, but could not put its keys away");
                }
            }
            Finding::Outvoted { index } => {
                drop(running);
                self.halt(index).await;
            }
            Finding::Above(met) => self.gone_beyond(running, met).await,
            Finding::Fenced(peer) => self.alone_after_fencing(running, &peer).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{ClusterControl, Initialize};
    use crate::config::Config;
    use crate::ha::shared::Shared;
    use crate::license::{Role, User};
    use crate::product::wall_clock;
    use tokio::sync::mpsc::unbounded_channel;

    fn config(dir: &std::path::Path) -> Config {
        let dir = dir.display();
        let text = format!(
            "name = \"one\"\ndata_dir = \"{dir}/data\"\nrole = \"data\"\naddress = \"127.93.0.1\"\n[raft]\nlisten = \"127.93.0.1:7441\"\n\
             [admin]\nsocket = \"{dir}/admin.sock\"\n[https]\nproduct = \"127.93.0.1:7443\"\ngui = \"127.93.0.1:7444\"\n\
             [vip]\ndriver = \"bind\"\n"
        );
        Config::parse(&text).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_earlier_running_part_found_does_not_end_the_present_one() {
        let dir = tempfile::tempdir().unwrap();
        let (findings, _found) = unbounded_channel();
        let control = Control::new(Shared::new(config(dir.path()), wall_clock(), None, findings));
        let password_hash = "never signs in".to_owned();
        let administrator = User::new("admin".into(), Role::SystemAdministrator, password_hash, true);
        control.initialize(Initialize { administrator }).await.unwrap();
        let before = control.current().unwrap().identity.clone();
        control.stop_running("for the test").await;
        control.start_running().await.unwrap();

        control.carry_out(&before, Finding::Retired).await;
        let now = control.current().expect("the running part goes on").identity.clone();
        control.carry_out(&now, Finding::Retired).await;
        assert!(control.current().is_none(), "its own retirement ends it");
        control.shutdown().await;
    }
}
