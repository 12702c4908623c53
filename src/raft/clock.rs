//! The time that the leader stamps: never back, only while the wall clock agrees with the other nodes', and without a jump
//! that nobody has confirmed.

use super::peers::{Clocks, Peers};
use crate::license::{CLOCK_JUMP, LONGEST_OUTAGE, Millis, Stamp, State};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How far this node's wall clock may be from another's and still agree with it.
pub const CLOCK_TOLERANCE_MS: u64 = 10_000;

/// A wall clock.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        #[cfg(feature = "test-clock")]
        let wall = wall.saturating_add_signed(test_shift());
        Millis(wall)
    }
}

/// By how many milliseconds a test has moved this process's clock: the number in the file that `LICRAFT_TEST_CLOCK` names.
#[cfg(feature = "test-clock")]
fn test_shift() -> i64 {
    static FILE: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("LICRAFT_TEST_CLOCK").map(Into::into));
    let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Watches whether the wall clock runs evenly, as the monotonic clock does, which nobody sets.
pub(super) struct Watch {
    clock: Arc<dyn Clock>,
    /// A time that was right, and when that was.
    anchor: Mutex<Option<(Millis, Instant)>>,
}

/// What a look at the clock showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub wall: Millis,
    /// Where even running leads.
    pub even: Millis,
    /// The wall clock is about there.
    pub steady: bool,
}

impl Reading {
    const fn jumped(&self) -> bool {
        self.wall.0 > self.even.0.saturating_add(CLOCK_JUMP)
    }
}

impl Watch {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, anchor: Mutex::default() })
    }

    /// Reads the clock on a node that has applied `state`.
    pub fn read(&self, state: &State) -> Reading {
        self.read_at(Instant::now(), state.now(), state.meta().clock_ahead > 0)
    }

    fn read_at(&self, now: Instant, state_time: Millis, doubted: bool) -> Reading {
        let wall = self.clock.now();
        let near = |time: Millis| wall.0.abs_diff(time.0) <= CLOCK_JUMP;
        let mut anchor = self.anchor.lock();
        let even = match *anchor {
            Some((time, at)) => time.plus(millis(now.saturating_duration_since(at))).max(state_time),
            None => from_start(wall, state_time, doubted),
        };
        // State time that was confirmed meanwhile tells as well, and a clock that was set back is right again there.
        let steady = near(even) || near(state_time);
        if steady {
            *anchor = Some((wall, now));
        } else if anchor.is_none() && wall > state_time {
            *anchor = Some((even, now));
        }
        Reading { wall, even, steady }
    }

    /// The wall clock is right, whatever it was before.
    fn trust(&self, wall: Millis) {
        *self.anchor.lock() = Some((wall, Instant::now()));
    }
}

/// Where the clock of a node that has just started should be. What it missed it cannot know, so it believes its clock: an
/// outage of weeks must raise no alarm. Not so a time before the last stamp, which is surely wrong; nor one so long after
/// it that no license would outlive it; nor while the cluster doubts the clock, for a restart must not confirm it.
fn from_start(wall: Millis, state_time: Millis, doubted: bool) -> Millis {
    let fresh = state_time == Millis(0);
    let believed = !doubted && wall <= state_time.plus(LONGEST_OUTAGE);
    if fresh || believed { wall.max(state_time) } else { state_time }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes stamps.
pub(super) struct Stamper {
    watch: Arc<Watch>,
    peers: Arc<Peers>,
    last: Mutex<Millis>,
}

impl Stamper {
    pub fn new(watch: Arc<Watch>, peers: Arc<Peers>) -> Self {
        Self { watch, peers, last: Mutex::new(Millis(0)) }
    }

    /// The next stamp, not before the time of `state` nor any stamp given earlier. After a jump that nobody has confirmed
    /// it goes on evenly, and says where the wall clock is.
    ///
    /// # Errors
    /// When the clock disagrees with the other nodes, with what to do about it.
    pub fn stamp(&self, state: &State) -> Result<Stamp, String> {
        let reading = self.watch.read(state);
        let clocks = self.peers.clocks(reading.wall);
        if let Some(why) = clocks.disagreement() {
            return Err(why);
        }
        let confirmed = clocks.confirm();
        if reading.jumped() && confirmed {
            self.watch.trust(reading.wall);
        }
        let doubted = reading.jumped() && !confirmed;
        let mut last = self.last.lock();
        let time = if doubted { reading.even } else { reading.wall };
        *last = (*last).max(state.now()).max(time);
        Ok(Stamp { at: *last, wall: if doubted { reading.wall } else { *last } })
    }

    /// Whether the next stamp would say something else of the clock than the last one applied.
    pub fn news(&self, state: &State) -> bool {
        let doubted = state.meta().clock_ahead > 0;
        self.stamp(state).is_ok_and(|stamp| (stamp.wall.0 > stamp.at.0.saturating_add(CLOCK_JUMP)) != doubted)
    }
}

impl Clocks {
    /// Why this node may not stamp: more clocks disagree with its own than agree.
    pub fn disagreement(&self) -> Option<String> {
        // This node counts too: of three clocks two must agree, of two both.
        ((self.agree + 1) * 2 <= self.known + 1).then(|| {
            format!(
                "this node's clock is more than {} s away from {} of {} other nodes; set the clocks (NTP)",
                CLOCK_TOLERANCE_MS / 1_000,
                self.known - self.agree,
                self.known,
            )
        })
    }

    /// Whether the others confirm a jump of this node's clock: most of them agree with it, and their clocks have not
    /// jumped. All may follow one time server.
    const fn confirm(&self) -> bool {
        self.steady * 2 > self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Default)]
    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> Millis {
            Millis(self.0.load(Ordering::Relaxed))
        }
    }

    const YEAR: u64 = 365 * Millis::DAY;
    const T: u64 = 50 * YEAR;

    /// A watch that began at `wall`, with a function that reads it: wall clock and time since the begin.
    fn watch(state_time: u64, wall: u64, doubted: bool) -> impl FnMut(u64, u64, u64) -> Reading {
        let (hands, begin) = (Arc::new(Hands::default()), Instant::now());
        let watch = Watch::new(hands.clone());
        let read = move |wall, since, state_time, doubted| {
            hands.0.store(wall, Ordering::Relaxed);
            watch.read_at(begin + Duration::from_millis(since), Millis(state_time), doubted)
        };
        read(wall, 0, state_time, doubted);
        move |wall, since, state_time| read(wall, since, state_time, false)
    }

    #[test]
    fn a_jump_is_one_against_even_running_not_against_the_last_stamp() {
        let mut read = watch(T, T, false);
        let three_days = 3 * Millis::DAY;
        let quiet = read(T + three_days, three_days, T);
        assert!(quiet.steady && !quiet.jumped(), "nobody asked for anything for three days: {quiet:?}");
        let slewed = read(T + three_days + CLOCK_JUMP, three_days, T);
        assert!(slewed.steady && !slewed.jumped(), "{slewed:?}");
        let since = three_days + 1_000;
        let jumped = read(T + YEAR, since, T);
        assert!(jumped.jumped() && !jumped.steady);
        assert_eq!(jumped.even, Millis(T + three_days + CLOCK_JUMP + 1_000));
        let still = read(T + YEAR + 1_000, since + 1_000, T);
        assert_eq!((still.jumped(), still.even), (true, jumped.even.plus(1_000)), "it goes on evenly");
        let right = read(still.even.0 + 5, since + 1_000, T);
        assert!(right.steady && !right.jumped(), "the clock was set right");
    }

    #[test]
    fn confirmed_state_time_ends_the_doubt() {
        let mut read = watch(T, T, false);
        assert!(read(T + YEAR, 10, T).jumped());
        assert!(!read(T + YEAR + 10, 20, T + YEAR).jumped(), "somebody accepted it");
        assert!(read(T + 2 * YEAR, 30, T + YEAR).jumped(), "but not the next one");
    }

    #[test]
    fn a_clock_that_was_set_back_and_forth_is_right_where_even_running_leads() {
        let mut read = watch(T, T, false);
        let back = read(T - YEAR, 1_000, T);
        assert!(!back.steady && !back.jumped());
        let forth = read(T + 2 * Millis::HOUR, 2 * Millis::HOUR, T);
        assert!(forth.steady && !forth.jumped(), "{forth:?}");
    }

    #[test]
    fn a_start_is_believed_after_an_outage_but_not_for_ever_nor_in_doubt() {
        let weeks = 200 * Millis::DAY;
        assert!(!watch(T, T + weeks, false)(T + weeks + 5, 5, T).jumped(), "an outage of 200 days");
        assert!(watch(T, T + 2 * YEAR, false)(T + 2 * YEAR + 5, 5, T).jumped(), "nobody is away for two years");
        assert!(watch(T, T + weeks, true)(T + weeks + 5, 5, T).jumped(), "a restart confirms nothing");
        assert!(!watch(0, T, false)(T + 5, 5, 0).jumped(), "a fresh server");
        // A machine without a battery starts in the past, until its clock is set.
        let mut read = watch(T, 1_000, false);
        assert!(!read(2_000, 1_000, T).jumped());
        let set = read(T + weeks, 2_000, T);
        assert!(set.steady && !set.jumped(), "{set:?}");
    }

    #[test]
    fn most_of_the_others_confirm_if_their_clocks_did_not_jump() {
        let clocks = |known, agree, steady| Clocks { known, agree, steady };
        for (some, stamps, confirms) in [
            (clocks(0, 0, 0), true, false),
            (clocks(1, 0, 0), false, false),
            (clocks(1, 1, 1), true, true),
            (clocks(2, 1, 1), true, false),
            (clocks(2, 0, 0), false, false),
            (clocks(2, 2, 2), true, true),
            (clocks(2, 2, 0), true, false),
        ] {
            assert_eq!((some.disagreement().is_none(), some.confirm()), (stamps, confirms), "{some:?}");
        }
    }
}
