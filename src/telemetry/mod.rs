//! Logs, metrics and health.

mod logs;
mod metrics;

pub use logs::{LogFormat, init as init_logs};
pub use metrics::{AnswerLabels, Metrics, PoolLabels, serve as serve_metrics};
