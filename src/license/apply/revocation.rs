//! Revoked ID certificates, and the list of them.

use super::*;

impl Apply<'_> {
    /// Notes that a certificate is out of force before its end. Where there is no room, those that end soonest go.
    pub fn revoke(&mut self, account: AccountId, certificate: &IdCertificate, reason: RevocationReason) {
        if self.now >= certificate.not_after {
            return;
        }
        let day = certificate.not_after.0 / Millis::DAY;
        let newest = self.state.revoked.get_prev(&(day, u64::MAX)).map(|(_, block)| &**block);
        let newest = newest.filter(|newest| newest.day == day);
        let block = match newest {
            None => 0,
            Some(newest) if newest.revoked.len() < REVOKED_BLOCK => newest.block,
            Some(newest) => newest.block + 1,
        };
        let key = (day, block);
        if !self.state.revoked.contains_key(&key) && self.state.revoked.len() >= MAX_REVOKED / REVOKED_BLOCK {
            self.drop_revoked_block();
        }
        let revocation = Revocation { serial: certificate.serial, account, at: self.now, reason };
        let empty = || Arc::new(RevokedBlock { day, block, revoked: Vec::new() });
        Arc::make_mut(self.state.revoked.entry(key).or_insert_with(empty)).revoked.push(revocation);
        self.changes.insert(RecordKey::Revoked(day, block));
    }

    /// The next list takes the place of the one in force; the same number again changes nothing.
    pub fn issue_revocation_list(&mut self, number: u64) -> Done {
        let list = self.state.revocation_list;
        if number > list.number + 1 {
            let message = format!("The next revocation list is number {}, not {number}.", list.number + 1);
            return Err(refuse(Reason::Invalid, message));
        }
        if number == list.number + 1 {
            self.state.revocation_list = RevocationList { number, issued: self.now, before: list.issued };
            self.changes.insert(RecordKey::RevocationList);
        }
        Ok(Outcome::Done)
    }

    /// Forgets certificates that were on a list after their end, some at a time.
    pub fn forget_revoked(&mut self) {
        for _ in 0..REVOKED_BLOCKS_PER_APPLY {
            let Some(&((day, _), _)) = self.state.revoked.get_min() else { break };
            if !self.state.revocation_list.over(day) {
                break;
            }
            self.drop_revoked_block();
        }
    }

    fn drop_revoked_block(&mut self) {
        if let Some(&((day, block), _)) = self.state.revoked.get_min() {
            self.state.revoked.remove(&(day, block));
            self.changes.insert(RecordKey::Revoked(day, block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000 * Millis::DAY;

    fn apply<T>(state: &mut State, now: u64, act: impl FnOnce(&mut Apply<'_>) -> T) -> T {
        let (mut changes, now) = (Changes::new(), Millis(now));
        act(&mut Apply { state, changes: &mut changes, actor: "test", now, before: now, unsettled: Vec::new() })
    }

    fn revoke(state: &mut State, account: u64, serial: u128, not_after: u64) {
        let serial = serial.to_be_bytes();
        let certificate =
            IdCertificate { serial, key_hash: [0; 32], not_before: Millis(0), not_after: Millis(not_after) };
        apply(state, NOW, |apply| apply.revoke(AccountId(account), &certificate, RevocationReason::Superseded));
    }

    fn listed(state: &State) -> Vec<u128> {
        state.revoked(AccountId(1)).map(|revoked| u128::from_be_bytes(revoked.serial)).collect()
    }

    fn issue(state: &mut State, number: u64, now: u64) -> Vec<u128> {
        let done = apply(state, now, |apply| {
            let done = apply.issue_revocation_list(number);
            apply.forget_revoked();
            done
        });
        assert_eq!(done, Ok(Outcome::Done));
        listed(state)
    }

    #[test]
    fn a_certificate_is_listed_until_a_list_after_its_end() {
        let mut state = State::default();
        let end = NOW + 2 * Millis::DAY + 5;
        revoke(&mut state, 1, 1, end);
        revoke(&mut state, 2, 2, end);
        revoke(&mut state, 1, 3, NOW);
        assert!(listed(&state).is_empty(), "there is no list yet");
        assert!(issue(&mut state, 1, NOW).is_empty(), "revoked in the very millisecond");
        assert_eq!(issue(&mut state, 2, NOW + 1), [1], "not of another account, and not what had ended");
        assert_eq!(issue(&mut state, 2, NOW + 9), [1]);
        assert_eq!(state.revocation_list().issued, Millis(NOW + 1), "a repeat changes nothing");
        let over = NOW + 3 * Millis::DAY;
        assert_eq!(issue(&mut state, 3, over), [1], "the first list after its end");
        assert!(issue(&mut state, 4, over + 1).is_empty());
        assert!(state.revoked.is_empty());
        let refused = apply(&mut state, over, |apply| apply.issue_revocation_list(9)).unwrap_err();
        assert_eq!(refused.reason, Reason::Invalid);
    }

    #[test]
    fn the_list_is_bounded_and_its_records_are_small() {
        let (mut state, block) = (State::default(), REVOKED_BLOCK as u128);
        for serial in 0..MAX_REVOKED as u128 + 1 {
            revoke(&mut state, 1, serial, NOW + Millis::DAY * (1 + u64::from(serial >= block)));
        }
        assert_eq!(state.revoked.len(), MAX_REVOKED / REVOKED_BLOCK);
        assert!(state.revoked.values().all(|block| block.revoked.len() <= REVOKED_BLOCK));
        let listed = issue(&mut state, 1, NOW + 1);
        assert_eq!((listed[0], listed.len()), (block, MAX_REVOKED - REVOKED_BLOCK + 1), "the soonest made room");
    }
}
