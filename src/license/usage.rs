//! Usage over time: the days of pools, with those on which nothing changed, and of several pools together.

use super::*;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What pools had and used on a day, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotal {
    /// Days since the Unix epoch (UTC).
    pub day: u64,
    /// At the end of the day; of today, by now.
    pub purchased: u64,
    pub in_use: u64,
    pub substitution: i64,
    /// The most in use in each pool at any time of the day, added up: of several pools it need not have been at one time.
    pub peak: u64,
    /// The lowest balance that any of the pools had at any time of the day; 0 if there was none.
    pub lowest: i64,
    /// Pools that there were, and those of them that were out of compliance at any time of the day.
    pub pools: u64,
    pub short: u64,
}

impl UsageTotal {
    fn add(&mut self, day: &UsageDay) {
        self.purchased += day.purchased;
        self.in_use += day.in_use;
        self.substitution += day.substitution;
        self.peak += day.peak;
        self.lowest = if self.pools == 0 { day.lowest } else { self.lowest.min(day.lowest) };
        self.pools += 1;
        self.short += u64::from(day.lowest < 0);
    }
}

impl State {
    /// The licenses of which a virtual account has or used any, now or as far back as is known.
    #[must_use]
    pub fn licenses_with_usage(&self, va: VirtualAccountId) -> BTreeSet<LicenseId> {
        let pools = (va, LicenseId(0))..=(va, LicenseId(u64::MAX));
        let known = self.usage.range(pools.clone()).map(|((_, license), _)| *license);
        known.chain(self.pools.range(pools).map(|((_, license), _)| *license)).collect()
    }

    /// The days of a pool on which something changed, oldest first. The last one may be today, which is not over.
    #[must_use]
    pub fn usage_days(&self, va: VirtualAccountId, license: LicenseId) -> Vec<UsageDay> {
        let mut days = self.usage.get(&(va, license)).map(|known| known.days().collect()).unwrap_or_default();
        if let Some(last) = self.pool(va, license).and_then(|pool| pool.last_day) {
            last.append_to(&mut days);
        }
        days
    }

    fn first_usage_day(&self, va: VirtualAccountId, license: LicenseId) -> Option<u64> {
        let over = self.usage.get(&(va, license)).and_then(|known| known.days().next());
        over.or_else(|| self.pool(va, license)?.last_day).map(|first| first.day)
    }

    /// What these pools had and used on each of these days, from the first one on of which something is known.
    pub fn usage(
        &self,
        pools: impl IntoIterator<Item = (VirtualAccountId, LicenseId)>,
        days: RangeInclusive<u64>,
    ) -> Vec<UsageTotal> {
        let pools: Vec<_> = pools.into_iter().collect();
        let known = pools.iter().filter_map(|(va, license)| self.first_usage_day(*va, *license)).min();
        let Some(known) = known else { return Vec::new() };
        let (from, to) = days.into_inner();
        let from = from.max(known);
        let mut totals: Vec<_> = (from..=to).map(|day| UsageTotal { day, ..UsageTotal::default() }).collect();
        // One at a time: all days of all pools need not be unpacked at once.
        for (va, license) in pools {
            let mut days = self.usage_days(va, license).into_iter().peekable();
            let mut last = UsageDay::default();
            for total in &mut totals {
                while let Some(day) = days.next_if(|day| day.day <= total.day) {
                    last = day;
                }
                // Nothing is there any more, or not yet.
                if last.day == total.day {
                    total.add(&last);
                } else if last.counts() != Default::default() {
                    total.add(&last.quiet(total.day));
                }
            }
        }
        totals
    }
}
