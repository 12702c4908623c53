//! Structured logs on standard error, as text or JSON lines. The newest lines are kept for the diagnostic bundle.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Lines kept, and how long one may be: at most a megabyte.
const RECENT_LINES: usize = 1_000;
const RECENT_BYTES: usize = 1_024;

static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

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
    let out = fmt::layer().with_writer(io::stderr).with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    let out = if json { out.json().boxed() } else { out.with_target(false).boxed() };
    let kept = fmt::layer().with_writer(|| Recent).with_ansi(false).with_target(false);
    if tracing_subscriber::registry().with(filter).with(out).with(kept).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

/// The newest lines of this process, oldest first.
#[must_use]
pub fn recent() -> Vec<String> {
    RECENT.lock().iter().cloned().collect()
}

/// Keeps lines.
struct Recent;

impl io::Write for Recent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(&bytes[..bytes.len().min(RECENT_BYTES)]).trim_end().to_owned();
        let mut recent = RECENT.lock();
        while recent.len() >= RECENT_LINES {
            recent.pop_front();
        }
        recent.push_back(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_newest_lines_are_kept_and_none_is_endless() {
        for n in 0..RECENT_LINES + 10 {
            Recent.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        Recent.write_all(&[b'x'; 5_000]).unwrap();
        let lines = recent();
        assert_eq!((lines.len(), lines[0].as_str()), (RECENT_LINES, "line 11"));
        assert_eq!(lines.last().map(String::len), Some(RECENT_BYTES));
    }
}
