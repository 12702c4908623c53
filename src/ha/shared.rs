//! What outlives `ha stop` and `ha start`: configuration, the ledger switch, metrics, the pairing desk.

use super::finding::Found;
use super::pairing::Desk;
use super::running::{Running, Served};
use super::switch::SwitchLedger;
use crate::config::Config;
use crate::product::Clock;
use crate::raft::Ledger;
use crate::telemetry::{Host, Metrics, PoolLabels};
use crate::vip::Guard;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// Makes the pages of the GUI port; without [`Served`] those of a retired node.
pub type Pages = Box<dyn Fn(Option<Served>) -> axum::Router + Send + Sync>;

/// The parts of a node that are there in every mode.
pub struct Shared {
    pub config: Config,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// The machine that this node runs on.
    pub host: Arc<Host>,
    pub ledger: Arc<SwitchLedger>,
    pub codes: Arc<Mutex<Desk>>,
    /// Set when the node must end: why.
    pub fatal: watch::Sender<Option<String>>,
    /// Given by the composition root, which alone knows the room of the pages.
    pub pages: OnceLock<Pages>,
    /// Where running parts tell what they find.
    pub findings: UnboundedSender<Found>,
    /// Where this process tells what to do when it dies; none when nobody started it for that.
    pub supervisor: Option<Arc<tokio::sync::Mutex<UnixStream>>>,
}

impl Shared {
    #[must_use]
    pub fn new(
        config: Config,
        clock: Clock,
        supervisor: Option<UnixStream>,
        findings: UnboundedSender<Found>,
    ) -> Arc<Self> {
        let (metrics, host) = (Arc::new(Metrics::default()), Arc::new(Host::new(config.data_dir.clone())));
        Arc::new(Self {
            config,
            clock,
            ledger: Arc::new(SwitchLedger::new("this node holds no data", metrics.commit_latency.clone())),
            metrics,
            host,
            codes: Arc::default(),
            fatal: watch::channel(None).0,
            findings,
            pages: OnceLock::new(),
            supervisor: supervisor.map(|socket| Arc::new(tokio::sync::Mutex::new(socket))),
        })
    }

    /// The router of the GUI port.
    pub fn pages(&self, served: Option<Served>) -> axum::Router {
        self.pages.get().map_or_else(axum::Router::new, |pages| pages(served))
    }

    /// Mirrors the running part into the metrics at each scrape.
    pub fn measure(self: &Arc<Self>, running: &Running) {
        let (replica, holding, ledger) = (running.replica.clone(), running.holding.clone(), self.ledger.clone());
        let store = running.store.metrics();
        let served = Served::new(replica.clone());
        self.metrics.on_scrape(move |m| {
            let status = replica.status();
            let age = status.quorum_ack_age.map_or(f64::NAN, |age| age.as_secs_f64());
            m.quorum_ack_age.set(age);
            m.is_leader.set(i64::from(status.role.leader == Some(status.node_id)));
            m.serving.set(i64::from(served.serving_until().is_some()));
            m.term.set(i64::try_from(status.role.term).unwrap_or(i64::MAX));
            m.applied_index.set(status.last_applied.map_or(0, |id| i64::try_from(id.index).unwrap_or(i64::MAX)));
            m.vip_held.set(i64::from(!holding.borrow().held.is_empty()));
            m.set_fsync(&store.barrier_us);
            m.set_batches(replica.proposer_stats());
            m.snapshot_age.set(age_of(store.snapshot_made_unix.load(Ordering::Relaxed)));
            let state = ledger.state();
            m.instances.set(i64::try_from(state.instance_count()).unwrap_or(i64::MAX));
            m.pool_balance.clear();
            for account in state.accounts() {
                for va in state.virtual_accounts(account.id) {
                    for pool in state.pools(va.id) {
                        let license = state.license(pool.license).map_or_else(String::new, |l| l.tag.to_string());
                        let labels =
                            PoolLabels { account: account.name.clone(), virtual_account: va.name.clone(), license };
                        m.pool_balance.get_or_create(&labels).set(pool.balance());
                    }
                }
            }
        });
    }
}

/// Seconds since `unix`, and not a number where there was nothing yet.
fn age_of(unix: u64) -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if unix == 0 { f64::NAN } else { now.as_secs_f64() - unix as f64 }
}
