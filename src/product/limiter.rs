//! Limits what unknown sources may cost: a token bucket for each, in a table of bounded size.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failed or unknown attempts a source may make at once. Generous enough for a site whose products all hold one wrong
/// token, far below what would keep a core busy.
const BURST: f64 = 100.0;
/// Attempts a second that a bucket regains.
const REFILL_PER_SECOND: f64 = 10.0;
/// Sources remembered; at 40 bytes each the table stays below 4 MiB.
const MAX_SOURCES: usize = 65_536;

/// Who asks, as coarse as an attacker can choose: one IPv4 address, or one IPv6 /64, which is one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
    /// Everyone who finds the table full.
    Overflow,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                Self::V6(std::array::from_fn(|i| octets[i]))
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * REFILL_PER_SECOND).min(BURST);
        self.at = now;
    }
}

/// The table. On the products' port only failing and unknown requests touch it, and central's load is small, so one
/// lock is enough.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    buckets: Mutex<HashMap<Source, Bucket>>,
}

impl Limiter {
    /// Takes one attempt of `address`; when it has none left, says how long until it has.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        let mut source = Source::from(address);
        if !buckets.contains_key(&source) && buckets.len() >= MAX_SOURCES {
            // A full bucket is the same as none.
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.level < BURST
            });
            if buckets.len() >= MAX_SOURCES {
                source = Source::Overflow;
            }
        }
        let bucket = buckets.entry(source).or_insert(Bucket { level: BURST, at: now });
        bucket.refill(now);
        if bucket.level >= 1.0 {
            bucket.level -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.level) / REFILL_PER_SECOND))
        }
    }

    /// Gives back an attempt that was taken before anything was checked, and was a good one.
    pub(crate) fn give_back(&self, address: IpAddr) {
        if let Some(bucket) = self.buckets.lock().get_mut(&Source::from(address)) {
            bucket.level = (bucket.level + 1.0).min(BURST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_burst_then_a_rate_and_others_are_unharmed() {
        let limiter = Limiter::default();
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let start = Instant::now();
        for _ in 0..100 {
            limiter.take(a, start).unwrap();
        }
        let wait = limiter.take(a, start).unwrap_err();
        assert!(wait <= Duration::from_millis(100));
        limiter.take(b, start).unwrap();
        limiter.take(a, start + wait).unwrap();
        limiter.take(a, start + wait).unwrap_err();
    }

    #[test]
    fn good_attempts_are_given_back_so_that_any_number_may_come() {
        let limiter = Limiter::default();
        let (site, now) = ("192.0.2.1".parse().unwrap(), Instant::now());
        for _ in 0..25_000 {
            limiter.take(site, now).unwrap();
            limiter.give_back(site);
        }
        for _ in 0..100 {
            limiter.take(site, now).unwrap();
        }
        limiter.take(site, now).unwrap_err();
    }

    #[test]
    fn one_ipv6_link_is_one_source_and_a_mapped_ipv4_is_that_ipv4() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn the_table_is_bounded() {
        let limiter = Limiter::default();
        let now = Instant::now();
        for i in 0..u32::try_from(MAX_SOURCES).unwrap() + 200 {
            let _ = limiter.take(IpAddr::from((0x0a00_0000 + i).to_be_bytes()), now);
        }
        assert!(limiter.buckets.lock().len() <= MAX_SOURCES + 1);
        // Those who came too late share one bucket, which is empty by now; a minute later there is room again.
        limiter.take("203.0.113.1".parse().unwrap(), now).unwrap_err();
        limiter.take("203.0.113.1".parse().unwrap(), now + Duration::from_secs(60)).unwrap();
        assert_eq!(limiter.buckets.lock().len(), 1);
    }
}
