//! From what a node knows to what `ha status` says: a pure function, so that every case has a test.

use crate::admin::{
    ClusterState, ClusterStatus, Daemon, FailedAction, Heartbeat, NodeRole, NodeState, NodeStatus, Replication,
    VipStatus,
};
use crate::license::Millis;
use crate::telemetry::Resources;

/// A standby further behind than this many entries is catching up: at full load some hundred are in flight.
pub const CATCH_UP_ENTRIES: u64 = 2_000;

/// What this node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Uninitialised,
    Stopped,
    Retired,
    Running,
}

/// What a member said when asked just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub version: String,
    /// Last applied entry.
    pub term: u64,
    pub index: u64,
    pub write_lag_ms: Option<u64>,
    pub flush_lag_ms: Option<u64>,
    pub replay_lag_ms: Option<u64>,
    /// Milliseconds since it was last heard of; 0 for this node.
    pub contact_ms: u64,
    pub connected_since: Option<Millis>,
    pub resources: Option<Resources>,
}

/// A member of the cluster and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    pub node_id: u64,
    pub name: String,
    pub public_address: String,
    pub cluster_address: String,
    pub witness: bool,
    /// Counts for the quorum; false while it is only paired or catching up.
    pub voter: bool,
    pub answer: Option<Answer>,
}

/// Everything the verdict rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    pub mode: Mode,
    pub this_node: String,
    pub this_id: u64,
    pub version: String,
    pub epoch: u64,
    pub members: Vec<MemberFacts>,
    /// The leader, where a quorum still follows it.
    pub leader: Option<u64>,
    /// Whether the leader is a data node that serves licenses now.
    pub serving: bool,
    /// Since when there is no serving leader.
    pub changing_since: Option<Millis>,
    pub vip: Vec<String>,
    pub vip_held: bool,
    pub sync_enabled: bool,
    pub failed_actions: Vec<FailedAction>,
    /// The members whose data differs from that of this node.
    pub differing: Vec<String>,
    /// The other node that was promoted beside this one, and whether this one yields to it meanwhile.
    pub conflict: Option<(String, bool)>,
    /// A node of a later epoch, of which this one was a member before: it can neither serve nor rejoin.
    pub stranded: Option<String>,
    /// Why this node takes no part until it is provisioned afresh.
    pub halted: Option<String>,
}

/// The picture as the operator sees it.
#[must_use]
pub fn derive(facts: &Facts) -> ClusterStatus {
    let cluster = cluster_state(facts);
    let leader = facts.leader.filter(|_| cluster != ClusterState::Stopped);
    let active_index = leader.and_then(|id| member(facts, id)).and_then(|m| m.answer.as_ref()).map(|a| a.index);
    let nodes: Vec<NodeStatus> = facts.members.iter().map(|m| node_status(facts, m, leader, active_index)).collect();
    let data_online = |n: &&NodeStatus| n.role != NodeRole::Witness && n.state != NodeState::Offline;
    let connected = nodes.iter().filter(data_online).count() >= 2;
    let holder = leader.filter(|_| facts.serving && !facts.vip.is_empty());
    let mut status = ClusterStatus {
        cluster,
        this_node: facts.this_node.clone(),
        version: facts.version.clone(),
        epoch: facts.epoch,
        vip: VipStatus {
            addresses: facts.vip.clone(),
            holder: holder.and_then(|id| member(facts, id)).map(|m| m.name.clone()),
        },
        heartbeat: if connected { Heartbeat::Connected } else { Heartbeat::Disconnected },
        failure_tolerance: failure_tolerance(facts),
        verdict: String::new(),
        failed_actions: facts.failed_actions.clone(),
        nodes,
        daemons: daemons(facts),
        changing_since: facts.changing_since.filter(|_| facts.mode == Mode::Running && !facts.serving),
        conflict: facts.conflict.iter().flat_map(|(other, _)| [facts.this_node.clone(), other.clone()]).collect(),
    };
    status.verdict = verdict(facts, &status);
    status
}

fn member(facts: &Facts, id: u64) -> Option<&MemberFacts> {
    facts.members.iter().find(|m| m.node_id == id)
}

fn quorum(facts: &Facts) -> (usize, usize, usize) {
    let voters = facts.members.iter().filter(|m| m.voter).count();
    let online = facts.members.iter().filter(|m| m.voter && m.answer.is_some()).count();
    (voters, online, voters / 2 + 1)
}

/// How many voters may fail while a quorum with at least one data node remains.
fn failure_tolerance(facts: &Facts) -> u32 {
    let (voters, online, needed) = quorum(facts);
    let data_online = facts.members.iter().filter(|m| m.voter && !m.witness && m.answer.is_some()).count();
    if facts.mode != Mode::Running || voters == 0 {
        return 0;
    }
    let spare = online.saturating_sub(needed).min(data_online.saturating_sub(1));
    u32::try_from(spare).unwrap_or(u32::MAX)
}

fn cluster_state(facts: &Facts) -> ClusterState {
    match facts.mode {
        Mode::Uninitialised => return ClusterState::Uninitialised,
        Mode::Stopped => return ClusterState::Stopped,
        Mode::Retired => return ClusterState::Retired,
        Mode::Running => {}
    }
    let (voters, online, needed) = quorum(facts);
    if facts.vip.is_empty() && voters <= 1 && facts.members.len() <= 1 && facts.serving {
        return ClusterState::Standalone;
    }
    if online < needed {
        return ClusterState::NoQuorum;
    }
    let active_index = facts.leader.and_then(|id| member(facts, id)).and_then(|m| m.answer.as_ref()).map(|a| a.index);
    let all_well = facts.members.iter().all(|m| {
        m.answer
            .as_ref()
            .is_some_and(|a| m.voter && active_index.unwrap_or(0).saturating_sub(a.index) <= CATCH_UP_ENTRIES)
    });
    let agreed = facts.conflict.is_none() && facts.differing.is_empty();
    if facts.serving && all_well && agreed { ClusterState::Normal } else { ClusterState::Degraded }
}

fn node_status(facts: &Facts, m: &MemberFacts, leader: Option<u64>, active_index: Option<u64>) -> NodeStatus {
    let stopped_here = facts.mode == Mode::Stopped && m.node_id == facts.this_id;
    let state = match &m.answer {
        _ if stopped_here => NodeState::Stopped,
        None => NodeState::Offline,
        Some(a) if !m.voter || active_index.unwrap_or(0).saturating_sub(a.index) > CATCH_UP_ENTRIES => {
            NodeState::CatchingUp
        }
        Some(_) => NodeState::Online,
    };
    let leads = leader == Some(m.node_id);
    let role = match (m.witness, leads && facts.serving) {
        (true, _) => NodeRole::Witness,
        (false, true) => NodeRole::Active,
        (false, false) => NodeRole::Standby,
    };
    let replication = match (m.witness, leads) {
        _ if leader.is_none() || state == NodeState::Offline => Replication::None,
        (true, _) => Replication::None,
        (false, true) => Replication::Master,
        (false, false) => Replication::Slave,
    };
    let a = m.answer.as_ref();
    NodeStatus {
        name: m.name.clone(),
        public_address: m.public_address.clone(),
        cluster_address: m.cluster_address.clone(),
        role,
        replication,
        state,
        version: a.map(|a| a.version.clone()).unwrap_or_default(),
        last_contact_ms: a.map(|a| a.contact_ms),
        log_term: a.map_or(0, |a| a.term),
        log_index: a.map_or(0, |a| a.index),
        write_lag_ms: a.and_then(|a| a.write_lag_ms),
        flush_lag_ms: a.and_then(|a| a.flush_lag_ms),
        replay_lag_ms: a.and_then(|a| a.replay_lag_ms),
        connected_since: a.and_then(|a| a.connected_since),
        resources: a.and_then(|a| a.resources),
    }
}

fn daemons(facts: &Facts) -> Vec<Daemon> {
    let running = facts.mode == Mode::Running;
    let witness = member(facts, facts.this_id).is_some_and(|m| m.witness);
    let serving_here = running && facts.serving && facts.leader == Some(facts.this_id);
    let daemon = |name: &str, active: bool, enabled: bool| Daemon { name: name.into(), active, enabled };
    vec![
        daemon("raft", running, true),
        daemon("vip", facts.vip_held, !witness),
        daemon("https", serving_here, !witness),
        daemon("sync", serving_here && facts.sync_enabled, !witness),
    ]
}

fn verdict(facts: &Facts, status: &ClusterStatus) -> String {
    let tolerance = match status.failure_tolerance {
        1 => "1 failure tolerated.".to_owned(),
        n => format!("{n} failures tolerated."),
    };
    let (voters, online, needed) = quorum(facts);
    if let Some((other, yields)) = &facts.conflict {
        let serves = if *yields { other } else { &facts.this_node };
        return format!(
            "Conflict: {} and {other} were both promoted and have each granted licenses that the other does not know. \
             Nothing is deleted; {serves} serves meanwhile. Decide whose data counts with `licraft ha resolve --keep NODE`.",
            facts.this_node
        );
    }
    if let Some(later) = &facts.stranded {
        return format!(
            "The data here is of epoch {}, and {later} is in a later one, of which this node was a member before, so it \
             cannot rejoin under its old id. Put the later data back with `licraft ha set-aside restore NAME`, or run \
             `licraft ha remove {}` there and provision this node afresh with --replace.",
            facts.epoch, facts.this_node
        );
    }
    let off: Vec<&str> = facts.members.iter().filter(|m| m.answer.is_none()).map(|m| m.name.as_str()).collect();
    match status.cluster {
        ClusterState::Uninitialised => "This node holds no data and serves nothing. Run `licraft init` for a fresh \
             server, `licraft ha provision-standby` to join one, or `licraft backup restore`."
            .into(),
        ClusterState::Stopped if let Some(why) = &facts.halted => format!(
            "This node has stopped: {why}. Nothing is deleted. Run `licraft ha remove {}` on the active node and provision \
             this one afresh with --replace.",
            facts.this_node
        ),
        ClusterState::Stopped => {
            "The cluster is stopped on this node. Run `licraft ha start` to come back as standby.".into()
        }
        ClusterState::Standalone => {
            "This node serves alone. 0 failures tolerated. Run `licraft ha generate-keys` to add a standby.".into()
        }
        ClusterState::Retired => {
            "This node is retired and read-only. Provision it as a new node to use it again.".into()
        }
        // The members are in the log, of which this node has nothing yet.
        ClusterState::NoQuorum if voters == 0 => {
            "This node has joined and waits for the active node to call. If that lasts, check that the nodes reach each \
             other at their cluster addresses (`raft.listen`)."
                .into()
        }
        ClusterState::NoQuorum => format!(
            "No quorum: {online} of {voters} voters answer and {needed} are needed, so no licenses are served. \
             Start or reconnect {}.{}",
            off.join(" and "),
            if member(facts, facts.this_id).is_some_and(|m| m.witness) {
                ""
            } else {
                " If that is impossible, `licraft ha promote` goes on without."
            }
        ),
        _ if !facts.serving => "Roles are changing: no node is active at this moment. Look again in a second.".into(),
        ClusterState::Normal => {
            let standbys: Vec<&str> = status
                .nodes
                .iter()
                .filter(|n| n.role == NodeRole::Standby && n.state == NodeState::Online)
                .map(|n| n.name.as_str())
                .collect();
            match standbys.as_slice() {
                [] => format!("Cluster is normal. {tolerance}"),
                names => format!("Cluster is normal. {tolerance} {} in sync and safe to promote.", are(names)),
            }
        }
        ClusterState::Degraded => degraded(facts, status, &off, &tolerance),
    }
}

fn degraded(facts: &Facts, status: &ClusterStatus, off: &[&str], tolerance: &str) -> String {
    let catching: Vec<String> = status
        .nodes
        .iter()
        .filter(|n| n.state == NodeState::CatchingUp)
        .map(|n| {
            let lead = status.nodes.iter().find(|a| a.role == NodeRole::Active).map_or(0, |a| a.log_index);
            format!("{} is catching up, {} entries behind", n.name, lead.saturating_sub(n.log_index))
        })
        .collect();
    if !facts.differing.is_empty() {
        return format!(
            "Cluster is degraded: the data of {} differs from that of {}, so switch over to none and promote none; licenses \
             are served. Run `licraft doctor` on each, and provision the one afresh that has the wrong data.",
            facts.differing.join(" and "),
            facts.this_node
        );
    }
    if off.is_empty() {
        return format!("Cluster is degraded: {}. {tolerance}", catching.join("; "));
    }
    let witness_only = facts.members.iter().filter(|m| m.answer.is_none()).all(|m| m.witness);
    let what = if witness_only { "licenses are served, but no failure is covered" } else { "licenses are served" };
    format!("Cluster is degraded: {} offline; {what}. {tolerance} Start {} again.", are(off), off.join(" and "))
}

fn are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let member = |node_id: u64, name: &str, witness| MemberFacts {
            node_id,
            name: name.into(),
            public_address: format!("192.168.1.{node_id}"),
            cluster_address: format!("10.0.0.{node_id}:7441"),
            witness,
            voter: true,
            answer: Some(Answer {
                version: "0.1.0".into(),
                term: 2,
                index: 100,
                write_lag_ms: Some(0),
                flush_lag_ms: Some(0),
                replay_lag_ms: Some(0),
                contact_ms: 1,
                connected_since: None,
                resources: None,
            }),
        };
        Facts {
            mode: Mode::Running,
            this_node: "primary-node".into(),
            this_id: 1,
            version: "0.1.0".into(),
            epoch: 1,
            members: vec![
                member(1, "primary-node", false),
                member(2, "secondary-node", false),
                member(3, "witness", true),
            ],
            leader: Some(1),
            serving: true,
            changing_since: None,
            vip: vec!["192.168.1.12".into()],
            vip_held: true,
            sync_enabled: true,
            failed_actions: vec![],
            differing: vec![],
            conflict: None,
            stranded: None,
            halted: None,
        }
    }

    #[test]
    fn all_well() {
        let status = derive(&facts());
        assert_eq!(status.cluster, ClusterState::Normal);
        assert_eq!(status.failure_tolerance, 1);
        assert_eq!(status.heartbeat, Heartbeat::Connected);
        assert_eq!(status.vip.holder.as_deref(), Some("primary-node"));
        assert_eq!(
            status.verdict,
            "Cluster is normal. 1 failure tolerated. secondary-node is in sync and safe to promote."
        );
    }

    #[test]
    fn peer_off_witness_off_and_no_quorum_are_told_apart() {
        let mut f = facts();
        f.members[1].answer = None;
        let status = derive(&f);
        assert_eq!((status.cluster, status.heartbeat), (ClusterState::Degraded, Heartbeat::Disconnected));
        assert_eq!((status.nodes[1].state, status.failure_tolerance), (NodeState::Offline, 0));

        let mut f = facts();
        f.members[2].answer = None;
        let status = derive(&f);
        assert_eq!((status.cluster, status.heartbeat), (ClusterState::Degraded, Heartbeat::Connected));
        assert!(status.verdict.contains("witness is offline"), "{}", status.verdict);

        f.members[1].answer = None;
        f.serving = false;
        f.leader = None;
        let status = derive(&f);
        assert_eq!(status.cluster, ClusterState::NoQuorum);
        assert!(status.verdict.contains("1 of 3 voters"), "{}", status.verdict);
        assert_eq!(status.vip.holder, None);
    }

    #[test]
    fn without_a_quorum_a_data_node_may_be_promoted_and_a_witness_not() {
        let mut f = facts();
        f.members[1].answer = None;
        f.members[2].answer = None;
        f.serving = false;
        assert!(derive(&f).verdict.ends_with("`licraft ha promote` goes on without."), "{}", derive(&f).verdict);
        (f.this_id, f.members[2].answer) = (3, f.members[0].answer.take());
        assert!(derive(&f).verdict.ends_with("Start or reconnect primary-node and secondary-node."));
    }

    #[test]
    fn a_conflict_names_both_and_who_serves() {
        let mut f = facts();
        f.members[1].answer = None;
        for (yields, serves) in [(true, "secondary-node"), (false, "primary-node")] {
            f.conflict = Some(("secondary-node".into(), yields));
            let status = derive(&f);
            assert_eq!((status.cluster, status.conflict.len()), (ClusterState::Degraded, 2));
            assert!(status.verdict.contains(&format!("{serves} serves meanwhile")), "{}", status.verdict);
        }
    }

    #[test]
    fn a_lagging_standby_is_catching_up_and_never_called_safe() {
        let mut f = facts();
        if let Some(a) = &mut f.members[0].answer {
            a.index = 100 + CATCH_UP_ENTRIES + 1;
        }
        let status = derive(&f);
        assert_eq!((status.cluster, status.nodes[1].state), (ClusterState::Degraded, NodeState::CatchingUp));
        assert!(status.verdict.contains("secondary-node is catching up, 2001 entries behind"), "{}", status.verdict);
        assert!(!status.verdict.contains("safe"));
    }

    #[test]
    fn while_roles_change_nobody_is_master() {
        let mut f = facts();
        f.leader = None;
        f.serving = false;
        f.changing_since = Some(Millis(5));
        let status = derive(&f);
        assert_eq!(status.changing_since, Some(Millis(5)));
        assert!(status.nodes.iter().all(|n| n.replication == Replication::None));
        assert!(status.verdict.starts_with("Roles are changing"));
    }

    #[test]
    fn alone_stopped_and_uninitialised() {
        let mut f = facts();
        f.members.truncate(1);
        f.vip.clear();
        assert_eq!(derive(&f).cluster, ClusterState::Standalone);
        f.mode = Mode::Stopped;
        assert_eq!(derive(&f).nodes[0].state, NodeState::Stopped);
        f.mode = Mode::Uninitialised;
        f.members.clear();
        assert_eq!(derive(&f).cluster, ClusterState::Uninitialised);
    }

    #[test]
    fn a_node_with_other_data_is_no_safe_standby() {
        let mut facts = facts();
        facts.differing = vec!["secondary-node".into()];
        let status = derive(&facts);
        assert_eq!(status.cluster, ClusterState::Degraded);
        let says =
            "the data of secondary-node differs from that of primary-node, so switch over to none and promote none";
        assert!(status.verdict.contains(says) && !status.verdict.contains("safe to promote"), "{}", status.verdict);
    }

    #[test]
    fn a_node_that_was_outvoted_says_why_it_has_stopped() {
        let mut facts = facts();
        facts.mode = Mode::Stopped;
        facts.halted = Some("its data differs from that of the other nodes after entry 1F".into());
        let verdict = derive(&facts).verdict;
        let says =
            "This node has stopped: its data differs from that of the other nodes after entry 1F. Nothing is deleted.";
        assert!(verdict.starts_with(says) && !verdict.contains("ha start"), "{verdict}");
    }
}
