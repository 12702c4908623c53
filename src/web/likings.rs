//! How the person likes the pages for whom a request is answered. What is made for nobody in particular is as
//! [`Preferences::INITIAL`] says.

use crate::admin::time_zone;
use crate::license::{Millis, Preferences};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::task::JoinError;

tokio::task_local! {
    static LIKINGS: Likings;
}

#[derive(Clone)]
pub struct Likings {
    rows: usize,
    zone: TimeZone,
}

impl Likings {
    /// A zone that this version does not know is UTC.
    pub fn of(preferences: &Preferences) -> Self {
        let rows = usize::try_from(preferences.rows).unwrap_or(usize::MAX);
        Self { rows, zone: time_zone(&preferences.time_zone).unwrap_or(TimeZone::UTC) }
    }

    fn here() -> Self {
        LIKINGS.try_with(Self::clone).unwrap_or_else(|_| Self::of(&Preferences::INITIAL))
    }

    /// What `answer` makes is made as they like it.
    pub async fn around<T>(self, answer: impl Future<Output = T>) -> T {
        LIKINGS.scope(self, answer).await
    }
}

/// Does `work` on a thread that may block, as the person likes it for whom it is done.
///
/// # Errors
/// When it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let likings = Likings::here();
    tokio::task::spawn_blocking(move || LIKINGS.sync_scope(likings, work)).await
}

/// Rows of one page of a list.
pub fn rows() -> usize {
    Likings::here().rows
}

/// A moment to the minute, in the person's zone; none beyond the calendar.
pub fn local(at: Millis) -> Option<String> {
    let moment = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(moment.to_zoned(Likings::here().zone).strftime("%Y-%m-%d %H:%M %Z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likings(zone: &str) -> Likings {
        Likings::of(&Preferences { rows: 25, time_zone: zone.into(), ..Preferences::INITIAL })
    }

    #[tokio::test]
    async fn times_are_of_the_persons_zone_also_on_other_threads() {
        let (winter, summer) = (Millis(1_763_863_735_120), Millis(1_751_328_000_000));
        let both = move || (local(winter), local(summer), rows());
        let told = |winter: &str, summer: &str, rows| (Some(winter.into()), Some(summer.into()), rows);
        assert_eq!(both(), told("2025-11-23 02:08 UTC", "2025-07-01 00:00 UTC", 50));
        let there = likings("Europe/Berlin").around(async { (both(), blocking(both).await.unwrap()) }).await;
        let expected = told("2025-11-23 03:08 CET", "2025-07-01 02:00 CEST", 25);
        assert_eq!(there, (expected.clone(), expected));
        let kathmandu = likings("Asia/Kathmandu").around(async { local(winter) }).await;
        assert_eq!(kathmandu.as_deref(), Some("2025-11-23 07:53 +0545"));
        let unknown = likings("Mars/Olympus").around(async { local(winter) }).await;
        assert_eq!(unknown.as_deref(), Some("2025-11-23 02:08 UTC"));
        assert_eq!(local(Millis(u64::MAX)), None);
    }
}
