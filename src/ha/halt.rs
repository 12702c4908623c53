//! A node that has other data than the majority takes no part in the cluster until it is provisioned afresh.

use super::control::Control;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

/// What to do then.
pub(super) const HALTED: &str =
    "run `licraft ha remove` with its name on the active node, then provision it afresh with --replace";

impl Control {
    fn halted_file(&self) -> PathBuf {
        self.data_dir().join("halted")
    }

    /// Why this node takes no part in the cluster until it is provisioned afresh.
    pub(super) fn halted(&self) -> Option<String> {
        match fs::read_to_string(self.halted_file()) {
            Ok(why) => Some(why),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("{} cannot be read: {error}", self.halted_file().display())),
        }
    }

    /// Ends the part of this node, whose data is not that of the majority after entry `index`. The data stays for those
    /// who look for the cause.
    pub(super) async fn halt(&self, index: u64) {
        let why = format!("its data differs from that of the other nodes after entry {index:X}");
        let written = fs::write(self.halted_file(), &why).and_then(|()| File::open(self.halted_file())?.sync_all());
        if let Err(error) = written {
            tracing::error!(%error, "this node will stop anew after its next start");
        }
        self.stop_running(&why).await;
    }
}
