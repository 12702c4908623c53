//! Which issuing CA signs. Another one takes over at once; what the old one signed leads to the same vendor root, and
//! stays good as long as it says itself.

use super::{AdminReply, IssuingRow};
use crate::central::change::Change;
use crate::central::keys::Keys;
use crate::central::refusal::{RefusalReason, Result, refused};
use crate::central::service::Service;
use crate::pki::ca;

impl Service {
    pub(super) fn show_issuing(&self) -> Result<AdminReply> {
        let (meta, keys) = (self.meta()?, self.keys());
        Ok(AdminReply::Issuing(IssuingRow {
            number: meta.issuing,
            vendor: meta.name,
            fingerprint: ca::fingerprint(keys.issuing()),
            not_after: ca::not_after(keys.issuing())?,
            root_fingerprint: keys.fingerprint(),
        }))
    }

    /// The keys must be in central's folder, made by [`Keys::issue`] where the root key is at hand.
    pub(super) fn use_issuing(&self, number: u32, mut change: Change) -> Result<AdminReply> {
        let old = change.meta.issuing;
        if number != old + 1 {
            let message = format!("number {old} is in force, so the next one is {}, not {number}", old + 1);
            return Err(refused(RefusalReason::Invalid, message));
        }
        let checked = Keys::load(&self.dir, number).and_then(|keys| keys.check(change.now).map(|()| keys));
        let keys = checked.map_err(|error| refused(RefusalReason::Invalid, format!("the new keys: {error}")))?;
        if keys.root() != self.keys().root() {
            return Err(refused(RefusalReason::Invalid, "the new keys: they are below another vendor root"));
        }
        let fingerprint = ca::fingerprint(keys.issuing());
        change.meta.issuing = number;
        change.note("issuing-ca-changed", "", "", format!("issuing CA {number} signs from now on"));
        change.audit("issuing-ca-rollover", &format!("number {number}, {fingerprint}"));
        self.finish(change)?;
        self.set_keys(keys);
        // Nothing is signed with them any more. Left behind they would only be in danger, not be wrong.
        if let Err(error) = Keys::forget(&self.dir, old) {
            tracing::warn!(%error, "private keys of the old issuing CA are still there");
        }
        Ok(AdminReply::Done(format!("Issuing CA {number} signs from now on. Its fingerprint: {fingerprint}")))
    }
}
