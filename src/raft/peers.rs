//! What this node knows of the others: it asks each for its report at a steady pace.

use super::clock::{CLOCK_TOLERANCE_MS, Clock};
use super::peer::{Connect, Lane, NodeReport, Peer, PeerError};
use crate::license::Millis;
use crate::store::NodeInfo;
use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often each peer is asked. Status shows ages in milliseconds from heartbeats; this is for the slower facts.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A peer that has not answered for this long says nothing about clocks any more.
const CLOCK_FRESH: Duration = Duration::from_secs(60);

/// The last that was heard of a peer.
#[derive(Clone, Debug)]
pub struct PeerView {
    pub info: NodeInfo,
    /// Its last report, with when it arrived.
    pub report: Option<(NodeReport, std::time::Instant)>,
    /// Its wall clock minus ours, milliseconds, as of that report.
    pub clock_offset_ms: i64,
    /// Round trip of that report.
    pub round_trip: Duration,
    /// Why the last question was not answered.
    pub trouble: Option<String>,
}

/// A report with what asking for it showed.
pub(super) struct Answer {
    pub report: NodeReport,
    /// The peer's wall clock minus ours, milliseconds.
    pub clock_offset_ms: i64,
    pub round_trip: Duration,
}

/// Asks a peer for its report.
pub(super) async fn ask(peer: &dyn Peer, clock: &dyn Clock) -> Result<Answer, PeerError> {
    let asked = Instant::now();
    let report = peer.report().await?;
    let round_trip = asked.elapsed();
    // The peer read its clock about half a round trip ago.
    let ours = clock.now().0.saturating_sub(u64::try_from(round_trip.as_millis()).unwrap_or(0) / 2);
    let clock_offset_ms = i64::try_from(i128::from(report.wall.0) - i128::from(ours)).unwrap_or(i64::MAX);
    Ok(Answer { report, clock_offset_ms, round_trip })
}

/// A peer's wall clock, as it was read.
struct PeerClock {
    wall: Millis,
    at: std::time::Instant,
    /// It runs evenly by the peer's own account.
    steady: bool,
}

impl PeerClock {
    /// Whether it agrees with a wall clock that says `wall` now. By the time that has passed, not by our wall clock of
    /// then, so that a jump of ours shows at once.
    fn agrees(&self, wall: Millis) -> bool {
        let passed = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wall.plus(passed).0.abs_diff(wall.0) <= CLOCK_TOLERANCE_MS
    }
}

/// How many clocks of peers are known, agree with ours, and do so though they never jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    pub known: usize,
    pub agree: usize,
    pub steady: usize,
}

/// All peers of this node.
pub struct Peers {
    views: RwLock<BTreeMap<u64, PeerView>>,
    /// Kept beside the views so that stamping takes no lock.
    clocks: ArcSwap<Vec<PeerClock>>,
}

impl Peers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { views: RwLock::default(), clocks: ArcSwap::default() })
    }

    /// A copy of what is known now.
    #[must_use]
    pub fn views(&self) -> BTreeMap<u64, PeerView> {
        self.views.read().clone()
    }

    /// How the peers' clocks stand to ours, which says `wall` now.
    pub(super) fn clocks(&self, wall: Millis) -> Clocks {
        let clocks = self.clocks.load();
        let agree = clocks.iter().filter(|clock| clock.agrees(wall));
        let (agree, steady) = agree.fold((0, 0), |(all, steady), c| (all + 1, steady + usize::from(c.steady)));
        Clocks { known: clocks.len(), agree, steady }
    }

    fn note_clocks(&self) {
        let views = self.views.read();
        let clock = |view: &PeerView| {
            let (report, arrived) = view.report.as_ref().filter(|(_, at)| at.elapsed() < CLOCK_FRESH)?;
            // The peer read its clock about half a round trip before.
            let at = arrived.checked_sub(view.round_trip / 2).unwrap_or(*arrived);
            Some(PeerClock { wall: report.wall, at, steady: report.steady })
        };
        self.clocks.store(Arc::new(views.values().filter_map(clock).collect()));
    }

    /// Asks the peers that `members` names, until `stop`.
    pub(super) async fn ask(
        self: Arc<Self>,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        members: impl Fn() -> BTreeMap<u64, NodeInfo> + Send + 'static,
        stop: CancellationToken,
    ) {
        let mut handles: BTreeMap<u64, (NodeInfo, Arc<dyn Peer>)> = BTreeMap::new();
        while !stop.is_cancelled() {
            let members = members();
            handles.retain(|id, (info, _)| members.get(id) == Some(&*info));
            self.views.write().retain(|id, _| members.contains_key(id));
            for (id, info) in members {
                handles.entry(id).or_insert_with(|| (info.clone(), connect.peer(id, &info, Lane::Main)));
            }
            let questions = handles.iter().map(|(id, (info, peer))| self.ask_one(*id, info, peer, &*clock));
            tokio::select! {
                _ = futures::future::join_all(questions) => self.note_clocks(),
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn ask_one(&self, id: u64, info: &NodeInfo, peer: &Arc<dyn Peer>, clock: &dyn Clock) {
        let answer = tokio::time::timeout(ASK_EVERY, ask(&**peer, clock)).await;
        let mut views = self.views.write();
        let view = views.entry(id).or_insert_with(|| PeerView {
            info: info.clone(),
            report: None,
            clock_offset_ms: 0,
            round_trip: Duration::ZERO,
            trouble: None,
        });
        view.info.clone_from(info);
        match answer {
            Ok(Ok(Answer { report, clock_offset_ms, round_trip })) => {
                view.clock_offset_ms = clock_offset_ms;
                view.round_trip = round_trip;
                view.report = Some((report, Instant::now().into_std()));
                view.trouble = None;
            }
            Ok(Err(error)) => view.trouble = Some(error.to_string()),
            Err(_) => view.trouble = Some("no answer in time".to_owned()),
        }
    }
}
