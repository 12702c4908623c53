//! A node that has other data than the majority takes no part in the cluster until it is provisioned afresh.

use super::control::Control;
use super::identity::{read_whole, write_whole};

/// What to do then.
pub(super) const HALTED: &str =
    "run `licraft ha remove` with its name on the active node, then provision it afresh with --replace";
/// Says why, in the data directory.
const FILE: &str = "halted";

impl Control {
    /// Why this node takes no part in the cluster until it is provisioned afresh.
    pub(super) fn halted(&self) -> Option<String> {
        read_whole(&self.data_dir().join(FILE)).unwrap_or_else(|error| Some(error.to_string()))
    }

    /// Ends the part of this node, whose data is not that of the majority after entry `index`. The data stays for those
    /// who look for the cause.
    pub(super) async fn halt(&self, index: u64) {
        let why = format!("its data differs from that of the other nodes after entry {index:X}");
        if let Err(error) = write_whole(self.data_dir(), FILE, &why) {
            tracing::error!(%error, "this node will stop anew after its next start");
        }
        self.stop_running(&why).await;
    }
}
