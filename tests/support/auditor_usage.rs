//! Usage over time: every change is written down, and the days are recounted from that.

use super::compare::same;
use super::*;

/// What a pool had and used after something had happened on a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    day: u64,
    /// Purchased, in use, borrowed.
    counts: (u64, u64, i64),
}

impl Seen {
    fn balance(&self) -> i64 {
        self.counts.0 as i64 + self.counts.2 - self.counts.1 as i64
    }
}

impl Auditor {
    pub(super) fn see_usage(&mut self) {
        let known: BTreeSet<Key> = self.pools().into_iter().chain(self.seen.keys().copied()).collect();
        for key in known {
            let counts = (self.purchased(key), self.in_use(key), self.borrowed(key));
            let before = self.seen.get(&key).and_then(|seen| seen.last()).map_or((0, 0, 0), |last| last.counts);
            if counts != before {
                self.seen.entry(key).or_default().push(Seen { day: self.now / DAY, counts });
            }
        }
    }

    /// None: there was nothing all day.
    fn day(&self, key: Key, day: u64) -> Option<UsageDay> {
        let seen = self.seen.get(&key)?;
        let before = seen.iter().rfind(|s| s.day < day).filter(|s| s.counts != (0, 0, 0));
        let all: Vec<&Seen> = before.into_iter().chain(seen.iter().filter(|s| s.day == day)).collect();
        let (purchased, in_use, substitution) = all.last()?.counts;
        let peak = all.iter().map(|s| s.counts.1).max()?;
        let lowest = all.iter().map(|s| s.balance()).min()?;
        Some(UsageDay { day, purchased, in_use, substitution, peak, lowest })
    }

    /// The days on which something changed.
    pub(super) fn compare_usage(&self, state: &State) -> Result<(), String> {
        let pools = self.pools();
        for (va, (account, _)) in &self.vas {
            for license in self.licenses.iter().filter(|(_, l)| l.0 == *account).map(|(id, _)| *id) {
                let mut days: Vec<u64> = self.seen.get(&(*va, license)).into_iter().flatten().map(|s| s.day).collect();
                days.dedup();
                // Those that are over, and the last one of a pool that is there.
                let kept = MAX_USAGE_DAYS + usize::from(pools.contains(&(*va, license)));
                let too_many = days.len().saturating_sub(kept);
                let days: Vec<_> =
                    days.into_iter().skip(too_many).filter_map(|day| self.day((*va, license), day)).collect();
                same("usage", days, state.usage_days(VirtualAccountId(*va), LicenseId(license)))?;
            }
        }
        Ok(())
    }

    /// All days of each account, those without a change too, its pools added up.
    pub(super) fn compare_usage_over_time(&self, state: &State) -> Result<(), String> {
        for account in self.accounts.keys() {
            let own: Vec<Key> = self.seen.keys().filter(|k| self.account_of(k.0) == *account).copied().collect();
            let first = own.iter().filter_map(|k| self.seen[k].first()).map(|s| s.day).min();
            let today = self.now / DAY;
            // The last week, which may begin before anything was known.
            let from = (today - 7).max(first.unwrap_or(today + 1));
            let total = |day| {
                let pools: Vec<UsageDay> = own.iter().filter_map(|key| self.day(*key, day)).collect();
                UsageTotal {
                    day,
                    purchased: pools.iter().map(|p| p.purchased).sum(),
                    in_use: pools.iter().map(|p| p.in_use).sum(),
                    substitution: pools.iter().map(|p| p.substitution).sum(),
                    peak: pools.iter().map(|p| p.peak).sum(),
                    lowest: pools.iter().map(|p| p.lowest).min().unwrap_or(0),
                    pools: pools.len() as u64,
                    short: pools.iter().filter(|p| p.lowest < 0).count() as u64,
                }
            };
            let expected: Vec<_> = (from..=today).map(total).collect();
            let vas = state.virtual_accounts(AccountId(*account)).map(|va| va.id);
            let pools = vas.flat_map(|va| state.licenses_with_usage(va).into_iter().map(move |license| (va, license)));
            same("usage over time", expected, state.usage(pools, today - 7..=today))?;
        }
        Ok(())
    }
}
