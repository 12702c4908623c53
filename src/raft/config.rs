//! Timing and sizes of the Raft protocol.

use openraft::{Config, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Largest gRPC message taken from a peer. tonic's default of 4 MiB is below one append of [`MAX_APPEND_ENTRIES`] full
/// batches of a busy second; a single entry is at most 4 MiB (`store::codec::MAX_BODY_BYTES`).
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Entries in one append. With batches of a few KiB an append stays around a megabyte.
pub const MAX_APPEND_ENTRIES: u64 = 300;

/// Data in one part of a snapshot stream.
pub const SNAPSHOT_PART_BYTES: usize = 256 << 10;

/// A snapshot is taken every so many entries. An entry is a batch, so this is a minute of full load or weeks of none,
/// and it bounds both the log's size and what a restart replays.
pub const SNAPSHOT_EVERY: u64 = 20_000;

/// Entries kept behind a snapshot, so that a follower that was away briefly catches up from the log.
pub const KEEP_BEHIND_SNAPSHOT: u64 = 10_000;

/// A learner this close to the leader counts as caught up.
pub const CAUGHT_UP_WITHIN: u64 = 100;

/// How long a follower may wait to hear that an entry it holds is committed, unless new entries tell it sooner.
pub const COMMIT_DELAY: Duration = Duration::from_millis(10);

/// The least time between two appends to a witness while a data node alone makes entries commit. Each costs a barrier
/// and a tenth of the processor time of a batch; a witness needs them only when the data node is lost.
pub const WITNESS_PACE: Duration = Duration::from_millis(10);

/// A data node that acknowledged nothing for this long is no longer counted on to make entries commit.
pub const STANDBY_FRESH: Duration = Duration::from_millis(30);

/// A peer that does not answer an append for this long has its stream ended and opened anew. Far above a slow disk's
/// barrier, since a new stream sends everything unacknowledged again.
pub const APPEND_STALL: Duration = Duration::from_secs(2);

/// For one whole snapshot, sent and installed; a peer that is slower starts over.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Raft timing, equal on all voters: peers with another one are refused, because a lease is only as good as the
/// shortest election timeout around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    pub heartbeat_ms: u64,
    pub election_min_ms: u64,
    /// Also the length of the leader lease.
    pub election_max_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 }
    }
}

impl Timings {
    /// How long a leader may act on one quorum acknowledgement, counted from when it asked.
    #[must_use]
    pub const fn lease(self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }

    #[must_use]
    pub const fn heartbeat(self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }
}

impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.heartbeat_ms, self.election_min_ms, self.election_max_ms)
    }
}

impl FromStr for Timings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<u64> = text.split('/').map_while(|p| p.parse().ok()).collect();
        match parts[..] {
            [heartbeat_ms, election_min_ms, election_max_ms] => {
                Ok(Self { heartbeat_ms, election_min_ms, election_max_ms })
            }
            _ => Err(format!("'{text}' is not heartbeat/minimum/maximum in milliseconds")),
        }
    }
}

/// openraft's configuration. Elections are off until the first lease after start has passed, see `hold`.
///
/// # Errors
/// When the timings contradict each other.
pub(super) fn openraft_config(cluster: &str, timings: Timings) -> Result<Arc<Config>, openraft::ConfigError> {
    let config = Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: timings.heartbeat_ms,
        election_timeout_min: timings.election_min_ms,
        election_timeout_max: timings.election_max_ms,
        install_snapshot_timeout: u64::try_from(SNAPSHOT_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
        max_payload_entries: MAX_APPEND_ENTRIES,
        replication_lag_threshold: SNAPSHOT_EVERY,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: KEEP_BEHIND_SNAPSHOT,
        purge_batch_size: 1_000,
        // A peer that comes back is found within two heartbeats.
        backoff: "100ms".to_owned(),
        enable_pre_vote: Some(true),
        // A leader that restarts must win again: its lease may have passed to another.
        enable_leader_restore: Some(false),
        enable_elect: false,
        ..Config::default()
    };
    Ok(Arc::new(config.validate()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_survive_the_wire() {
        let timings = Timings::default();
        assert_eq!(timings.to_string().parse(), Ok(timings));
        assert!("50/150".parse::<Timings>().is_err());
        assert!("50/150/300/1".parse::<Timings>().is_err());
        assert!("50/x/300".parse::<Timings>().is_err());
    }

    #[test]
    fn contradicting_timings_are_refused() {
        assert!(openraft_config("c", Timings::default()).is_ok());
        let wrong = Timings { election_min_ms: 300, election_max_ms: 150, ..Timings::default() };
        assert!(openraft_config("c", wrong).is_err());
    }
}
