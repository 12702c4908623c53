//! What pools had and used, day by day.

use super::*;
use crate::license::MAX_USAGE_DAYS;

/// A day (UTC, by the stamped clock) of a pool, or what is known of it while it is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageDay {
    /// Days since the Unix epoch.
    pub day: u64,
    /// At the end of the day.
    pub purchased: u64,
    pub in_use: u64,
    /// Net count lent (negative) or borrowed (positive), at the end of the day.
    pub substitution: i64,
    /// The most that was in use at any time of the day.
    pub peak: u64,
    /// The lowest balance at any time of the day.
    pub lowest: i64,
}

/// What a day takes over from the one before.
type Counts = (u64, u64, i64);

impl UsageDay {
    /// At the end of the day.
    #[must_use]
    pub const fn balance(&self) -> i64 {
        self.covered() - self.in_use as i64
    }

    // Counts are limited to MAX_COUNT (2^40), so these casts are exact.
    const fn covered(&self) -> i64 {
        self.purchased as i64 + self.substitution
    }

    /// Of a pool that has been so all day.
    pub(in crate::license) const fn of(pool: &Pool, day: u64) -> Self {
        let Pool { purchased, in_use, substitution, .. } = *pool;
        Self { day, purchased, in_use, substitution, peak: in_use, lowest: pool.balance() }
    }

    /// A later day on which nothing changes.
    #[must_use]
    pub const fn quiet(&self, day: u64) -> Self {
        Self { day, peak: self.in_use, lowest: self.balance(), ..*self }
    }

    pub(in crate::license) const fn counts(&self) -> Counts {
        (self.purchased, self.in_use, self.substitution)
    }

    /// This day went on as `later`.
    fn and(&self, later: &Self) -> Self {
        Self { peak: self.peak.max(later.peak), lowest: self.lowest.min(later.lowest), ..*later }
    }

    /// Adds it to days of the same pool, of which the last one may be the same day.
    pub(in crate::license) fn append_to(self, days: &mut Vec<Self>) {
        match days.last_mut() {
            Some(last) if last.day == self.day => *last = last.and(&self),
            _ => days.push(self),
        }
    }

    /// How it differs from the day after `before` if purchases do not change: zeros, mostly.
    const fn differences(&self, before: &Self) -> [i64; 6] {
        let least_peak = if before.in_use > self.in_use { before.in_use } else { self.in_use };
        [
            self.day.wrapping_sub(before.day).wrapping_sub(1).cast_signed(),
            self.purchased.wrapping_sub(before.purchased).cast_signed(),
            self.in_use.wrapping_sub(before.in_use).cast_signed(),
            self.substitution.wrapping_sub(before.substitution),
            self.peak.wrapping_sub(least_peak).cast_signed(),
            self.lowest.wrapping_sub(self.covered().wrapping_sub_unsigned(self.peak)),
        ]
    }

    /// The other way round.
    fn from_differences(before: &Self, [day, purchased, in_use, substitution, peak, lowest]: [i64; 6]) -> Self {
        let mut this = Self {
            day: before.day.wrapping_add(1).wrapping_add_signed(day),
            purchased: before.purchased.wrapping_add_signed(purchased),
            in_use: before.in_use.wrapping_add_signed(in_use),
            substitution: before.substitution.wrapping_add(substitution),
            ..Self::default()
        };
        this.peak = before.in_use.max(this.in_use).wrapping_add_signed(peak);
        this.lowest = this.covered().wrapping_sub_unsigned(this.peak).wrapping_add(lowest);
        this
    }
}

impl Pool {
    /// Takes note of the counts as they are on this day. Gives the last day that was noted, if it is over.
    pub(in crate::license) fn note_usage(&mut self, day: u64) -> Option<UsageDay> {
        let now = UsageDay::of(self, day);
        let last = self.last_day.unwrap_or_default();
        if last.counts() == now.counts() {
            return None;
        }
        if self.last_day.is_some() && last.day == day {
            self.last_day = Some(last.and(&now));
            return None;
        }
        // A day begins as the one before ended, unless there was nothing.
        let begun = if last.counts() == Counts::default() { now } else { last.quiet(day).and(&now) };
        self.last_day.replace(begun)
    }
}

/// The days of a pool that are over and on which something changed, oldest first; at most [`MAX_USAGE_DAYS`].
///
/// There may be a hundred thousand pools, so a day takes some three bytes: one with a bit for each number of it that is
/// not as expected after the day before, then how much it differs, in base 128 with the sign in the lowest bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageHistory {
    pub va: VirtualAccountId,
    pub license: LicenseId,
    packed: Box<[u8]>,
}

impl UsageHistory {
    pub(in crate::license) fn new(va: VirtualAccountId, license: LicenseId) -> Self {
        Self { va, license, packed: Box::default() }
    }

    pub fn days(&self) -> impl Iterator<Item = UsageDay> + '_ {
        let mut bytes = self.packed.iter().copied();
        let mut before = UsageDay::default();
        std::iter::from_fn(move || {
            let given = bytes.next()?;
            let mut differences = [0; 6];
            for (n, difference) in differences.iter_mut().enumerate() {
                if given & (1 << n) != 0 {
                    *difference = unpack(&mut bytes)?;
                }
            }
            before = UsageDay::from_differences(&before, differences);
            Some(before)
        })
    }

    /// Adds a day, or what more is known of the last one; the oldest makes room.
    pub(in crate::license) fn add(&mut self, day: UsageDay) {
        let mut days: Vec<UsageDay> = self.days().collect();
        day.append_to(&mut days);
        let too_many = days.len().saturating_sub(MAX_USAGE_DAYS);
        let (mut packed, mut before) = (Vec::new(), UsageDay::default());
        for day in days.drain(too_many..) {
            let differences = day.differences(&before);
            let given = differences.iter().enumerate().filter(|(_, d)| **d != 0);
            packed.push(given.clone().map(|(n, _)| 1 << n).sum());
            given.for_each(|(_, difference)| pack(*difference, &mut packed));
            before = day;
        }
        self.packed = packed.into();
    }
}

fn pack(number: i64, into: &mut Vec<u8>) {
    let mut left = (number << 1 ^ number >> 63).cast_unsigned();
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}

/// None: the bytes end within it.
fn unpack(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> UsageHistory {
        UsageHistory::new(VirtualAccountId(1), LicenseId(2))
    }

    fn usual(day: u64) -> UsageDay {
        UsageDay { day, purchased: 100, in_use: 90 + day % 7, substitution: 0, peak: 97, lowest: 3 }
    }

    #[test]
    fn numbers_of_any_size_are_packed_and_unpacked() {
        for number in [0, 1, -1, 63, 64, -64, -65, 1 << 40, -(1 << 60), i64::MAX, i64::MIN] {
            let mut packed = Vec::new();
            pack(number, &mut packed);
            assert_eq!(unpack(&mut packed.iter().copied()), Some(number));
            assert_eq!(unpack(&mut packed[..packed.len() - 1].iter().copied()), None, "{number}");
        }
        let mut small = Vec::new();
        [5, -64, 63].into_iter().for_each(|number| pack(number, &mut small));
        assert_eq!(small.len(), 3);
    }

    #[test]
    fn days_of_any_kind_are_kept_as_they_are() {
        let most = 1 << 60;
        let days = [
            UsageDay { day: 20_000, purchased: 10, in_use: 3, substitution: 0, peak: 5, lowest: 5 },
            UsageDay { day: 20_001, purchased: 10, in_use: 12, substitution: 2, peak: 12, lowest: -2 },
            UsageDay { day: 20_400, purchased: 0, in_use: 0, substitution: -7, peak: 12, lowest: -12 },
            UsageDay { day: 20_401, purchased: most, in_use: most, substitution: 1, peak: most, lowest: -1 },
            UsageDay { day: 20_402, ..UsageDay::default() },
        ];
        let mut history = history();
        days.iter().for_each(|day| history.add(*day));
        assert_eq!(history.days().collect::<Vec<_>>(), days);
    }

    #[test]
    fn the_oldest_days_make_room_and_a_usual_day_takes_three_bytes() {
        let mut history = history();
        let last = 20_000 + MAX_USAGE_DAYS as u64;
        (20_000..=last).for_each(|day| history.add(usual(day)));
        let kept: Vec<_> = history.days().collect();
        assert_eq!(kept, (20_001..=last).map(usual).collect::<Vec<_>>());
        assert!(history.packed.len() <= 3 * MAX_USAGE_DAYS + 8, "{} bytes", history.packed.len());
    }

    #[test]
    fn a_day_that_goes_on_stays_one() {
        let mut history = history();
        history.add(UsageDay { day: 5, purchased: 10, in_use: 4, substitution: 0, peak: 8, lowest: 2 });
        history.add(UsageDay { day: 5, purchased: 3, in_use: 1, substitution: 0, peak: 1, lowest: 2 });
        let day = UsageDay { day: 5, purchased: 3, in_use: 1, substitution: 0, peak: 8, lowest: 2 };
        assert_eq!(history.days().collect::<Vec<_>>(), [day]);
    }
}
