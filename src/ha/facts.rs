//! What this node knows of itself and its peers, as the status derives its picture from it.

use super::control::Control;
use super::identity::NodeFile;
use super::running::Running;
use super::status::{Answer, Facts, MemberFacts, Mode};
use crate::license::{Member, Millis};
use crate::raft::{Ledger, PeerStatus};
use std::time::{Duration, SystemTime};

/// A peer whose last report is older than this does not answer.
const PEER_FRESH: Duration = Duration::from_millis(1_500);

impl Control {
    fn answers(&self, running: &Running) -> Vec<MemberFacts> {
        let status = running.replica.status();
        let state = self.shared.ledger.state();
        let voters = running.replica.membership().voters();
        let mut members: Vec<Member> = state.members().filter(|m| !m.retired).cloned().collect();
        if members.is_empty() {
            members.push(member_of(running));
        }
        let fact = |m: Member| {
            let answer = if m.node_id == status.node_id {
                Some(Answer {
                    version: env!("CARGO_PKG_VERSION").into(),
                    term: status.last_applied.map_or(0, |id| id.term),
                    index: status.last_applied.map_or(0, |id| id.index),
                    write_lag_ms: None,
                    flush_lag_ms: None,
                    replay_lag_ms: None,
                    contact_ms: 0,
                    connected_since: None,
                    resources: Some(self.shared.host.load().resources),
                })
            } else {
                status.peers.iter().find(|p| p.node_id == m.node_id).and_then(peer_answer)
            };
            MemberFacts {
                voter: voters.contains(&m.node_id),
                node_id: m.node_id,
                name: m.name,
                public_address: m.public_address,
                cluster_address: host_of(&m.cluster_address),
                witness: m.witness,
                answer,
            }
        };
        members.into_iter().map(fact).collect()
    }

    pub(super) fn facts(&self, running: Option<&Running>) -> Facts {
        let config = &self.shared.config;
        let state = self.shared.ledger.state();
        let mut facts = Facts {
            mode: Mode::Running,
            this_node: config.name.clone(),
            this_id: 0,
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: 0,
            members: Vec::new(),
            leader: None,
            serving: false,
            changing_since: None,
            vip: state.settings().vip.clone(),
            vip_held: false,
            sync_enabled: !state.settings().central_url.is_empty(),
            failed_actions: Vec::new(),
            differing: Vec::new(),
            conflict: None,
            stranded: None,
            halted: None,
        };
        // Only then is the disk asked, which may hang while the node runs.
        let Some(running) = running else {
            facts.mode = self.mode_without_running();
            facts.halted = self.halted();
            if let Ok(file) = NodeFile::load(self.data_dir()) {
                facts.this_id = file.node_id;
                facts.epoch = file.epoch_counter;
            }
            return facts;
        };
        let role = running.replica.roles().borrow().clone();
        facts.this_id = running.replica.options().node_id;
        facts.epoch = running.identity.file.epoch_counter;
        facts.members = self.answers(running);
        facts.leader = role.leader;
        let here = *running.active.borrow();
        let fresh = |age: Duration| age < PEER_FRESH;
        let there = running.replica.status().peers.iter().any(|p| p.serving && p.last_contact.is_some_and(fresh));
        facts.serving = here || (there && facts.leader != Some(facts.this_id));
        facts.changing_since = (!facts.serving).then(|| millis(role.since));
        facts.differing = running.replica.differing();
        facts.failed_actions = running.failed.all();
        facts.conflict = running.conflict.borrow().as_ref().map(|c| (c.name.clone(), c.yields));
        facts.stranded = running.stranded.borrow().clone();
        facts.vip_held = !running.holding.borrow().held.is_empty();
        facts
    }
}

fn peer_answer(peer: &PeerStatus) -> Option<Answer> {
    let contact = peer.last_contact.filter(|age| *age < PEER_FRESH)?;
    Some(Answer {
        version: peer.version.clone().unwrap_or_default(),
        term: peer.last_applied.map_or(0, |id| id.term),
        // A report is up to half a second old; what the peer acknowledged meanwhile is newer.
        index: peer.last_applied.max(peer.matched).map_or(0, |id| id.index),
        write_lag_ms: peer.write_lag.map(whole_ms),
        flush_lag_ms: peer.flush_lag.map(whole_ms),
        replay_lag_ms: peer.replay_lag.map(whole_ms),
        contact_ms: whole_ms(contact),
        connected_since: None,
        resources: peer.resources,
    })
}

fn member_of(running: &Running) -> Member {
    let info = &running.replica.options().info;
    Member {
        node_id: running.replica.options().node_id,
        name: info.name.clone(),
        public_address: info.public_address.clone(),
        cluster_address: info.cluster_address.clone(),
        witness: info.witness,
        joined: Millis(0),
        retired: false,
    }
}

/// `10.0.0.5` of `10.0.0.5:7441`: addresses are shown without the port.
fn host_of(address: &str) -> String {
    address.parse::<std::net::SocketAddr>().map_or_else(|_| address.to_owned(), |a| a.ip().to_string())
}

fn millis(at: SystemTime) -> Millis {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(whole_ms(since))
}

/// In milliseconds, as people and programs are told.
pub(super) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
