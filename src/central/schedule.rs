//! When an account synchronizes by itself. Made from committed state alone, so that each node comes to the same time, and
//! one that becomes active late catches up.

use crate::license::{Account, AccountStatus, Millis, Schedule, State};
use crate::pki::sha256;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Up to so much later than its time, so that not all sites come to central at once.
const JITTER: u64 = 30 * Millis::MINUTE;
/// More days than lie between two times of any schedule.
const DAYS: i64 = 32;

/// The next time; it may be past. None while there is nothing to do by itself.
#[must_use]
pub fn next(state: &State, account: &Account) -> Option<Millis> {
    if !matches!(account.status, AccountStatus::Active | AccountStatus::Inactive) || account.sync.closed {
        return None;
    }
    let sync = &account.sync;
    let after = sync.last_success.unwrap_or_default().max(sync.scheduled_since).max(account.changed_at);
    let time = occurrence(sync.schedule, after)?;
    let seed = format!("{} {} {}", state.meta().server_uid, account.id.0, time.0);
    let seed = sha256(seed.as_bytes());
    let jitter = seed.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)) % JITTER;
    Some(time.plus(jitter))
}

/// The first time of the schedule after `after`.
fn occurrence(schedule: Schedule, after: Millis) -> Option<Millis> {
    let minute = match schedule {
        Schedule::Off => return None,
        Schedule::Daily { minute } | Schedule::Weekly { minute, .. } | Schedule::Monthly { minute, .. } => minute,
    };
    let after = Timestamp::from_millisecond(i64::try_from(after.0).ok()?).ok()?;
    let midnight = after.to_zoned(TimeZone::UTC).date().to_datetime(jiff::civil::Time::midnight());
    let fits = |time: &DateTime| match schedule {
        Schedule::Weekly { weekday, .. } => {
            i64::from(time.date().weekday().to_monday_zero_offset()) == i64::from(weekday)
        }
        Schedule::Monthly { day, .. } => i64::from(time.day()) == i64::from(day),
        Schedule::Off | Schedule::Daily { .. } => true,
    };
    let times = (0..=DAYS).filter_map(|days| midnight.checked_add(days.days().minutes(i64::from(minute))).ok());
    let stamps = times.filter(fits).filter_map(|time| time.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp());
    let time = stamps.into_iter().find(|time| *time > after)?;
    u64::try_from(time.as_millisecond()).ok().map(Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(schedule: Schedule, time: &str) -> Option<String> {
        let time: Timestamp = time.parse().unwrap();
        let next = occurrence(schedule, Millis(u64::try_from(time.as_millisecond()).unwrap()))?;
        Some(Timestamp::from_millisecond(i64::try_from(next.0).unwrap()).unwrap().to_string())
    }

    #[test]
    fn the_next_time_comes_after_the_last_one() {
        let daily = Schedule::Daily { minute: 90 };
        assert_eq!(after(daily, "2026-11-23T01:29:59Z").unwrap(), "2026-11-23T01:30:00Z");
        assert_eq!(after(daily, "2026-11-23T01:30:00Z").unwrap(), "2026-11-24T01:30:00Z");
        // 2026-11-23 is a Monday.
        let weekly = Schedule::Weekly { weekday: 0, minute: 0 };
        assert_eq!(after(weekly, "2026-11-22T23:59:59Z").unwrap(), "2026-11-23T00:00:00Z");
        assert_eq!(after(weekly, "2026-11-23T00:00:00Z").unwrap(), "2026-11-30T00:00:00Z");
        let monthly = Schedule::Monthly { day: 28, minute: 1439 };
        assert_eq!(after(monthly, "2027-01-28T23:59:00Z").unwrap(), "2027-02-28T23:59:00Z");
        assert_eq!(after(monthly, "2027-12-31T00:00:00Z").unwrap(), "2028-01-28T23:59:00Z");
        assert_eq!(after(Schedule::Off, "2026-11-23T00:00:00Z"), None);
    }
}
