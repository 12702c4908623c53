//! Prometheus metrics, on a listener of their own.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Labels of a license pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PoolLabels {
    pub account: String,
    pub virtual_account: String,
    pub license: String,
}

/// Label of an answered product request: `granted`, `refused`, `error`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    pub answer: String,
}

type Refresh = Box<dyn Fn(&Metrics) + Send>;

/// A histogram kept elsewhere: sum, count, and counts by upper bound.
#[derive(Clone, Debug, Default)]
pub struct Mirrored(Arc<Mutex<Histogrammed>>);

type Histogrammed = (f64, u64, Vec<(f64, u64)>);

impl Collector for Mirrored {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let (sum, count, buckets) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "Duration of the Raft log's disk barrier";
        encoder
            .encode_descriptor("log_fsync_latency", help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// Everything measured. Gauges that mirror state are set by `refresh`, just before a scrape is answered.
pub struct Metrics {
    registry: Registry,
    refresh: Mutex<Option<Refresh>>,
    pub quorum_ack_age: Gauge<f64, AtomicU64>,
    pub is_leader: Gauge,
    pub serving: Gauge,
    pub term: Gauge,
    pub applied_index: Gauge,
    pub commit_latency: Histogram,
    pub fsync_latency: Mirrored,
    pub batches: Gauge,
    pub batched_commands: Gauge,
    pub instances: Gauge,
    pub pool_balance: Family<PoolLabels, Gauge>,
    pub vip_held: Gauge,
    pub snapshot_age: Gauge<f64, AtomicU64>,
    pub answers: Family<AnswerLabels, Counter>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // 10 µs to 10 s in steps of two.
        let latency = || Histogram::new(exponential_buckets(0.000_01, 2.0, 20));
        let mut metrics = Self {
            registry: Registry::with_prefix("licraft"),
            refresh: Mutex::new(None),
            quorum_ack_age: Gauge::default(),
            is_leader: Gauge::default(),
            serving: Gauge::default(),
            term: Gauge::default(),
            applied_index: Gauge::default(),
            commit_latency: latency(),
            fsync_latency: Mirrored::default(),
            batches: Gauge::default(),
            batched_commands: Gauge::default(),
            instances: Gauge::default(),
            pool_balance: Family::default(),
            vip_held: Gauge::default(),
            snapshot_age: Gauge::default(),
            answers: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        let age = self.quorum_ack_age.clone();
        r.register_with_unit(
            "raft_quorum_ack_age",
            "Time since a quorum last acknowledged this leader",
            Unit::Seconds,
            age,
        );
        r.register("raft_leader", "1 where this node is the Raft leader", self.is_leader.clone());
        r.register("serving", "1 where licenses are served now", self.serving.clone());
        r.register("raft_term", "Current Raft term", self.term.clone());
        r.register("raft_applied_index", "Index of the last applied log entry", self.applied_index.clone());
        r.register_with_unit(
            "commit_latency",
            "From proposing a command to its outcome",
            Unit::Seconds,
            self.commit_latency.clone(),
        );
        r.register_collector(Box::new(self.fsync_latency.clone()));
        r.register("proposed_batches", "Batches proposed by this process", self.batches.clone());
        r.register("proposed_commands", "Commands in them", self.batched_commands.clone());
        r.register("instances", "Registered product instances", self.instances.clone());
        r.register("pool_balance", "Purchased plus substituted minus in use", self.pool_balance.clone());
        r.register("vip_held", "1 where this node holds the virtual address", self.vip_held.clone());
        r.register_with_unit("snapshot_age", "Age of the newest snapshot", Unit::Seconds, self.snapshot_age.clone());
        r.register("product_answers", "Answered product requests", self.answers.clone());
    }

    /// Mirrors the log's histogram of barriers, in microseconds.
    pub fn set_fsync<const N: usize>(&self, barriers: &crate::store::Histogram<N>) {
        let (count, sum) = barriers.totals();
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bound = |micros: u64| if micros == u64::MAX { f64::MAX } else { seconds(micros) };
        let buckets = barriers.buckets().into_iter().map(|(bound_us, n)| (bound(bound_us), n)).collect();
        *self.fsync_latency.0.lock().unwrap_or_else(PoisonError::into_inner) = (seconds(sum), count, buckets);
    }

    /// Mirrors the proposer's counters; commands by batches is the mean batch.
    pub fn set_batches(&self, stats: &crate::raft::ProposerStats) {
        let mirror = |gauge: &Gauge, value: &AtomicU64| {
            gauge.set(i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
        };
        mirror(&self.batches, &stats.batches);
        mirror(&self.batched_commands, &stats.commands);
    }

    /// Sets what brings the state-mirroring gauges up to date before each scrape.
    pub fn on_scrape(&self, refresh: impl Fn(&Self) + Send + 'static) {
        *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(refresh));
    }

    /// The metrics in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(refresh) = &*self.refresh.lock().unwrap_or_else(PoisonError::into_inner) {
            refresh(self);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }
}

/// Serves `GET /metrics` on `listen` until `stop`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(listen: SocketAddr, metrics: Arc<Metrics>, stop: CancellationToken) -> std::io::Result<()> {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let page = move || {
        let metrics = metrics.clone();
        async move { ([(http::header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render()) }
    };
    let router = axum::Router::new().route("/metrics", axum::routing::get(page));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_prefix_and_unit() {
        let metrics = Metrics::default();
        metrics.on_scrape(|m| {
            m.vip_held.set(1);
        });
        let barriers = crate::store::StoreMetrics::default().barrier_us;
        barriers.observe(200);
        metrics.set_fsync(&barriers);
        let text = metrics.render();
        assert!(text.contains("licraft_vip_held 1\n"), "{text}");
        assert!(text.contains("licraft_log_fsync_latency_seconds_count 1\n"), "{text}");
    }
}
