//! Logs, metrics, and what the machine is doing.

mod host;
mod logs;
mod metrics;

pub use host::{Host, Interface, Load, Resources};
pub use logs::{LogFormat, init as init_logs, recent as recent_logs};
pub use metrics::{AnswerLabels, Metrics, PoolLabels, serve as serve_metrics};
