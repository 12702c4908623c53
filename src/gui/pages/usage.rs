//! Usage over time as a chart and a table: the most in use each day, or each week of a year, against what was purchased.

use crate::admin::date;
use crate::license::Millis;
use crate::proto::admin::UsageDay;
use crate::web::form::query;
use http::Uri;
use std::fmt::Write;

/// The days that can be shown; the first unless the address says otherwise.
const SPANS: [u32; 3] = [30, 90, 365];
/// Beyond so many days a bar is a week: on a phone each is still some pixels wide, and the page stays small.
const DAILY: u32 = 92;
/// Units of the drawing: from one bar to the next, the width of one, and the height of the whole scale.
const STEP: u64 = 10;
const WIDTH: u64 = 8;
const HEIGHT: u64 = 200;

/// The days that the address asks for.
pub fn span(uri: &Uri) -> u32 {
    let asked = query(uri, "days").parse().ok();
    asked.filter(|days| SPANS.contains(days)).unwrap_or(SPANS[0])
}

/// A day or a week.
pub struct UsageBar {
    pub from: String,
    pub purchased: u64,
    pub peak: u64,
    pub lowest: i64,
    pub short: bool,
    /// Place of its left edge, and where the column of the most in use begins and how high it is.
    pub x: u64,
    pub y: u64,
    pub height: u64,
}

impl UsageBar {
    fn of(days: &[&UsageDay], place: u64) -> Option<Self> {
        let (first, last) = (days.first()?, days.last()?);
        Some(Self {
            from: date(Millis(first.day_ms)),
            purchased: last.purchased,
            peak: days.iter().map(|day| day.peak_in_use).max()?,
            lowest: days.iter().map(|day| day.lowest_balance).min()?,
            short: days.iter().any(|day| day.out_of_compliance > 0),
            x: place * STEP + (STEP - WIDTH) / 2,
            y: HEIGHT,
            height: 0,
        })
    }
}

pub struct UsageChart {
    /// `day` or `week`.
    pub unit: &'static str,
    /// The spans to choose from, and whether it is this one.
    pub spans: [(u32, bool); 3],
    /// Oldest first. Where nothing is known there is none.
    pub bars: Vec<UsageBar>,
    /// The first day of which something is known, if that is not before all that is shown.
    pub known_since: Option<String>,
    pub width: u64,
    /// What was purchased, as a path.
    pub purchased: String,
    /// The numbers at the top, in the middle and at the bottom.
    pub scale: [String; 3],
    /// The first day, one in the middle, and the last.
    pub dates: [String; 3],
    /// Says the whole in a sentence.
    pub summary: String,
}

impl UsageChart {
    /// From the days that are known, oldest first, up to today; None without any.
    pub fn of(days: &[UsageDay], span: u32, today: Millis) -> Option<Self> {
        let (unit, per_bar) = if span > DAILY { ("week", 7) } else { ("day", 1) };
        let (today, span_days) = (today.0 / Millis::DAY, u64::from(span));
        let places = span_days.div_ceil(per_bar);
        // Weeks end today, so that the last bar is a whole one.
        let place = |day: &UsageDay| places.checked_sub(1 + (today - (day.day_ms / Millis::DAY).min(today)) / per_bar);
        let mut bars: Vec<_> = (0..places)
            .filter_map(|here| {
                let of_bar: Vec<_> = days.iter().filter(|day| place(day) == Some(here)).collect();
                UsageBar::of(&of_bar, here)
            })
            .collect();
        let top = round_up(bars.iter().map(|bar| bar.peak.max(bar.purchased)).max()?);
        for bar in &mut bars {
            (bar.height, bar.y) = (height(bar.peak, top), HEIGHT - height(bar.peak, top));
        }
        let first_day = |day: u64| date(Millis(day * Millis::DAY));
        let begin = (today + 1).saturating_sub(span_days);
        Some(Self {
            unit,
            known_since: bars.first().filter(|bar| bar.x >= STEP).map(|bar| bar.from.clone()),
            spans: SPANS.map(|days| (days, days == span)),
            width: places * STEP,
            purchased: purchased(&bars, top),
            scale: [short_number(top), short_number(top / 2), "0".to_owned()],
            dates: [first_day(begin), first_day(begin + span_days / 2), first_day(today)],
            summary: summary(&bars, unit),
            bars,
        })
    }

    /// For a table, the newest first.
    pub fn rows(&self) -> impl Iterator<Item = &UsageBar> {
        self.bars.iter().rev()
    }

    pub fn any_short(&self) -> bool {
        self.bars.iter().any(|bar| bar.short)
    }
}

fn summary(bars: &[UsageBar], unit: &str) -> String {
    let most = bars.iter().map(|bar| bar.peak).max().unwrap_or(0);
    let short = bars.iter().filter(|bar| bar.short).count();
    let (first, last) = (bars.first(), bars.last());
    let (since, now) = (first.map_or("", |bar| &bar.from), last.map_or(0, |bar| bar.purchased));
    let plural = if short == 1 { "" } else { "s" };
    format!("Since {since} at most {most} in use; {now} purchased now; out of compliance in {short} {unit}{plural}.")
}

/// A line in steps: at each bar as high as what was purchased at its end.
fn purchased(bars: &[UsageBar], top: u64) -> String {
    let mut path = String::new();
    let mut last = None;
    for bar in bars {
        let (from, y) = (bar.x - bar.x % STEP, HEIGHT - height(bar.purchased, top));
        // Writing to a String cannot fail.
        let _ = match last {
            None => write!(path, "M{from} {y}"),
            Some(before) if before != y => write!(path, "H{from}V{y}"),
            Some(_) => Ok(()),
        };
        last = Some(y);
    }
    if let Some(bar) = bars.last() {
        let _ = write!(path, "H{}", bar.x - bar.x % STEP + STEP);
    }
    path
}

/// How high a number stands on the scale up to `top`; however small, it is seen.
fn height(number: u64, top: u64) -> u64 {
    let exact = u128::from(number) * u128::from(HEIGHT) / u128::from(top.max(1));
    u64::try_from(exact).unwrap_or(HEIGHT).max(u64::from(number > 0))
}

/// The next number that is easy to read and has an easy half: 2, 4, 6, 8 or 10, or ten times as much, and so on.
fn round_up(number: u64) -> u64 {
    let mut unit = 1_u64;
    while number > unit.saturating_mul(10) {
        unit = unit.saturating_mul(10);
    }
    [2, 4, 6, 8]
        .map(|n| unit.saturating_mul(n))
        .into_iter()
        .find(|top| *top >= number)
        .unwrap_or(unit.saturating_mul(10))
}

/// With at most four digits: thousands as `k`, and so on.
fn short_number(number: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let unit = units.into_iter().find(|(unit, _)| number >= 10_000 && number >= *unit && number.is_multiple_of(*unit));
    unit.map_or_else(|| number.to_string(), |(unit, letter)| format!("{}{letter}", number / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Millis = Millis(20_000 * Millis::DAY + 5);

    fn day(day: u64, purchased: u64, peak: u64) -> UsageDay {
        let lowest_balance = purchased as i64 - peak as i64;
        let out_of_compliance = u64::from(lowest_balance < 0);
        UsageDay {
            day_ms: day * Millis::DAY,
            purchased,
            peak_in_use: peak,
            lowest_balance,
            out_of_compliance,
            ..UsageDay::default()
        }
    }

    #[test]
    fn the_first_day_is_one_bar_at_the_end() {
        assert!(UsageChart::of(&[], 30, TODAY).is_none());
        let chart = UsageChart::of(&[day(20_000, 10, 4)], 30, TODAY).unwrap();
        let places: Vec<_> = chart.bars.iter().map(|bar| (bar.x, bar.y, bar.height)).collect();
        assert_eq!((places, chart.width), (vec![(291, 120, 80)], 300));
        assert_eq!((chart.purchased.as_str(), chart.scale), ("M290 0H300", ["10", "5", "0"].map(String::from)));
        assert_eq!(chart.known_since.as_deref(), Some("2024-10-04"));
        assert_eq!(chart.dates, ["2024-09-05", "2024-09-20", "2024-10-04"]);
        assert!(
            chart.summary.contains("Since 2024-10-04 at most 4 in use; 10 purchased now; out of compliance in 0 days.")
        );
    }

    #[test]
    fn a_purchase_is_a_step_and_a_shortage_is_said() {
        let days = [day(19_998, 4, 6), day(19_999, 4, 4), day(20_000, 8, 7)];
        let chart = UsageChart::of(&days, 90, TODAY).unwrap();
        assert_eq!(chart.purchased, "M870 100H890V0H900");
        assert_eq!(chart.bars.iter().map(|bar| bar.short).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(chart.rows().next().unwrap().from, "2024-10-04");
        assert!(chart.any_short() && chart.summary.ends_with("in 1 day."), "{}", chart.summary);
    }

    #[test]
    fn a_year_is_shown_in_weeks_that_end_today() {
        let days: Vec<_> = (19_636..=20_000).map(|n| day(n, 10, n % 10)).collect();
        let chart = UsageChart::of(&days, 365, TODAY).unwrap();
        assert_eq!((chart.unit, chart.bars.len(), chart.width), ("week", 53, 530));
        assert_eq!(chart.known_since, None);
        // The oldest day is alone in the first one.
        assert_eq!((chart.bars[0].peak, chart.bars[1].peak, chart.bars[52].peak), (6, 9, 9));
        assert_eq!((chart.bars[1].from.as_str(), chart.bars[52].from.as_str()), ("2023-10-07", "2024-09-28"));
        assert_eq!(span(&"/licenses/7?days=365".parse().unwrap()), 365);
        assert_eq!(span(&"/licenses/7?days=31".parse().unwrap()), 30);
    }

    #[test]
    fn scales_end_at_numbers_that_are_easy_to_read() {
        for (number, top) in [(0, 2), (1, 2), (3, 4), (9, 10), (10, 10), (11, 20), (41, 60), (99, 100), (101, 200)] {
            assert_eq!(round_up(number), top, "{number}");
        }
        assert!(round_up(u64::MAX) > 0 && height(u64::MAX, round_up(u64::MAX)) <= HEIGHT);
        assert_eq!((height(1, 1_000_000), height(0, 10), height(10, 10)), (1, 0, HEIGHT));
        let texts = [0, 5, 9_999, 20_000, 15_000_000, 400_000_000_000].map(short_number);
        assert_eq!(texts, ["0", "5", "9999", "20k", "15M", "400G"].map(String::from));
    }
}
