//! Slows down the guessing of passwords: each further failure makes its source, its user name and both together wait
//! longer.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Entries kept; a flood of names and sources displaces the stalest. Each costs some 200 bytes.
const MAX_ENTRIES: usize = 10_000;
/// An entry without a failure for so long is forgotten.
const FORGET: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// One source trying one name: most likely a person, or a guesser of that person's password.
    Pair(IpAddr, String),
    /// One source trying any name. Many people may sit behind one address.
    Source(IpAddr),
    /// Any source trying one name. The wait stays short, so that a flood cannot lock a person out.
    Name(String),
    /// Any source trying the codes of one name. Only who knows the password gets that far, so the wait may be long.
    Code(String),
}

impl Key {
    /// Failures that cost nothing, and the longest wait after more.
    fn rule(&self) -> (u32, Duration) {
        match self {
            Self::Pair(..) => (5, Duration::from_secs(15 * 60)),
            Self::Source(_) => (20, Duration::from_secs(15 * 60)),
            Self::Name(_) => (50, Duration::from_secs(10)),
            Self::Code(_) => (5, Duration::from_secs(15 * 60)),
        }
    }

    /// Doubles with every failure beyond the free ones.
    fn wait(&self, failures: u32) -> Duration {
        let (free, longest) = self.rule();
        match failures.checked_sub(free) {
            None | Some(0) => Duration::ZERO,
            Some(n) => Duration::from_secs(1 << (n - 1).min(30)).min(longest),
        }
    }
}

struct Entry {
    failures: u32,
    last: Instant,
    open_from: Instant,
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    Password,
    Code,
}

/// The table of recent failures.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<Key, Entry>>);

impl Attempts {
    /// Counts an attempt as failed before its password is looked at, so that many at once gain nothing.
    ///
    /// # Errors
    /// How long to wait; then nothing was counted.
    pub fn begin(&self, source: IpAddr, name: &str, tried: Secret, now: Instant) -> Result<(), Duration> {
        let mut table = self.0.lock();
        let keys = keys(source, name, tried);
        let open_from = keys.iter().filter_map(|k| table.get(k)).map(|e| e.open_from).max();
        if let Some(wait) = open_from.and_then(|t| t.checked_duration_since(now)).filter(|w| !w.is_zero()) {
            return Err(wait);
        }
        for key in keys {
            make_room(&mut table, &key, now);
            let entry = table.entry(key.clone()).or_insert(Entry { failures: 0, last: now, open_from: now });
            if now.duration_since(entry.last) > FORGET {
                entry.failures = 0;
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.last = now;
            entry.open_from = now + key.wait(entry.failures);
        }
        Ok(())
    }

    /// The attempt begun before was right after all.
    pub fn succeeded(&self, source: IpAddr, name: &str, tried: Secret) {
        let mut table = self.0.lock();
        for key in keys(source, name, tried) {
            if matches!(key, Key::Pair(..) | Key::Code(_)) {
                table.remove(&key);
            } else if let Some(entry) = table.get_mut(&key) {
                entry.failures = entry.failures.saturating_sub(1);
                entry.open_from = entry.last;
            }
        }
    }
}

fn keys(source: IpAddr, name: &str, tried: Secret) -> [Key; 3] {
    let (source, name) = (network(source), name.to_owned());
    let by_name = match tried {
        Secret::Password => Key::Name(name.clone()),
        Secret::Code => Key::Code(name.clone()),
    };
    [Key::Pair(source, name), Key::Source(source), by_name]
}

/// One customer of a provider commonly has a whole IPv6 /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

fn make_room(table: &mut HashMap<Key, Entry>, key: &Key, now: Instant) {
    if table.len() < MAX_ENTRIES || table.contains_key(key) {
        return;
    }
    table.retain(|_, e| now.duration_since(e.last) <= FORGET);
    if table.len() >= MAX_ENTRIES
        && let Some(stalest) = table.iter().min_by_key(|(_, e)| e.last).map(|(k, _)| k.clone())
    {
        table.remove(&stalest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn waits_double_after_the_free_failures_and_end() {
        let attempts = Attempts::default();
        let mut now = Instant::now();
        for _ in 0..6 {
            attempts.begin(A, "ann", Secret::Password, now).unwrap();
        }
        assert_eq!(attempts.begin(A, "ann", Secret::Password, now), Err(Duration::from_secs(1)));
        now += Duration::from_secs(1);
        attempts.begin(A, "ann", Secret::Password, now).unwrap();
        assert_eq!(attempts.begin(A, "ann", Secret::Password, now), Err(Duration::from_secs(2)));
        attempts.begin(B, "ann", Secret::Password, now).unwrap();
        attempts.begin(A, "bob", Secret::Password, now).unwrap();
        now += FORGET + Duration::from_secs(1);
        for _ in 0..6 {
            attempts.begin(A, "ann", Secret::Password, now).unwrap();
        }
    }

    #[test]
    fn a_flood_from_everywhere_never_locks_a_name_out_for_long() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let mut refused = Duration::ZERO;
        for i in 0..200u32 {
            let source = IpAddr::V4(std::net::Ipv4Addr::from_bits(i));
            for _ in 0..5 {
                refused = refused.max(attempts.begin(source, "ann", Secret::Password, now).err().unwrap_or_default());
            }
        }
        assert!(refused > Duration::ZERO && refused <= Duration::from_secs(10), "{refused:?}");
    }

    #[test]
    fn codes_are_guessed_slowly_from_wherever_it_is_tried() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let from = |i: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(i));
        let tried = (0..100).filter(|i| attempts.begin(from(*i), "ann", Secret::Code, now).is_ok()).count();
        assert_eq!(tried, 6);
        attempts.begin(A, "ann", Secret::Password, now).unwrap();
        attempts.begin(A, "bob", Secret::Code, now).unwrap();
    }

    #[test]
    fn one_source_is_slowed_whatever_names_it_tries() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let refused =
            (0..30).filter(|i| attempts.begin(A, &format!("user{i}"), Secret::Password, now).is_err()).count();
        assert_eq!(refused, 9);
        attempts.begin(B, "user1", Secret::Password, now).unwrap();
    }

    #[test]
    fn success_clears_the_pair_and_the_table_stays_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..20 {
            attempts.begin(A, "ann", Secret::Password, now).unwrap();
            attempts.succeeded(A, "ann", Secret::Password);
        }
        for i in 0..2 * MAX_ENTRIES as u32 {
            let _ = attempts.begin(
                IpAddr::V4(std::net::Ipv4Addr::from_bits(i)),
                "x",
                Secret::Password,
                now + Duration::from_secs(1),
            );
        }
        assert!(attempts.0.lock().len() <= MAX_ENTRIES);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_source() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:2".parse().unwrap()));
        assert_ne!(network("2001:db8:0:1::1".parse().unwrap()), network("2001:db8::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), A);
    }
}
