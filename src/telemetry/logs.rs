//! Structured logs on standard error, as text or JSON lines.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging. `LICRAFT_LOG` sets the filter (tracing's syntax); `LICRAFT_LOG_FORMAT=json` wins over `format`.
/// A second call in one process changes nothing.
pub fn init(format: LogFormat) {
    // The engine under `raft` logs every hiccup of a peer as an error; what matters of it is reported by our rooms.
    let filter =
        EnvFilter::try_from_env("LICRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info,openraft=off,sled=warn"));
    let json = match std::env::var("LICRAFT_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok("text") => false,
        _ => format == LogFormat::Json,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let already = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
    if already.is_err() {
        tracing::debug!("logging was started before");
    }
}
