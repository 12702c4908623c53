//! The virtual address: held by the serving leader alone, given up before its lease ends.
//!
//! The loop is level-triggered: it compares what should be (does this node serve?) with what is (is the address
//! open here?) at every wake-up, so a missed change is repaired by the next look. Driver `bind` opens listeners on an
//! address that the host already answers for (loopback); it covers the death of a process, not of a host.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the loop looks without being woken: a missed wake-up costs no more than this.
const LOOK: Duration = Duration::from_millis(10);
/// The address is given up this long before the lease ends, to be off in time on a busy machine.
pub const MARGIN: Duration = Duration::from_millis(20);
/// How long the same reason for not getting the address is reported only once.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Whether this node may hold the address, and how long at least.
pub trait Guard: Send + Sync + 'static {
    /// The end of the lease under which this node serves; none when it does not serve.
    fn serving_until(&self) -> Option<Instant>;
}

/// Opens everything that answers on the address.
pub trait Stage: Send + Sync + 'static {
    /// Opens all listeners on `addresses` or none; what it opened ends when `until` is cancelled.
    ///
    /// # Errors
    /// When an address cannot be had, for instance because its former holder has not let go.
    fn open(&self, addresses: &[IpAddr], until: CancellationToken) -> io::Result<()>;
}

/// What the holder is doing, for status, metrics and events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// The addresses open here.
    pub held: Vec<IpAddr>,
    /// Why they are not, though they should be.
    pub trouble: Option<String>,
}

/// Holds the addresses whenever `guard` says that this node serves, until `stop`.
pub async fn hold(
    guard: Arc<dyn Guard>,
    stage: Arc<dyn Stage>,
    mut addresses: watch::Receiver<Vec<IpAddr>>,
    mut wake: watch::Receiver<u64>,
    report: watch::Sender<Holding>,
    stop: CancellationToken,
) {
    let mut open: Option<(Vec<IpAddr>, CancellationToken)> = None;
    let mut reported: Option<(String, Instant)> = None;
    loop {
        let wanted = addresses.borrow_and_update().clone();
        let until = guard.serving_until().filter(|until| *until > Instant::now() + MARGIN && !stop.is_cancelled());
        let change = open.as_ref().is_some_and(|(held, _)| until.is_none() || *held != wanted);
        if change && let Some((held, token)) = open.take() {
            token.cancel();
            tracing::info!(?held, "virtual address given up");
            report.send_replace(Holding::default());
        }
        if stop.is_cancelled() {
            return;
        }
        if until.is_some() && open.is_none() && !wanted.is_empty() {
            let token = CancellationToken::new();
            match stage.open(&wanted, token.clone()) {
                Ok(()) => {
                    tracing::info!(addresses = ?wanted, "virtual address held");
                    report.send_replace(Holding { held: wanted.clone(), trouble: None });
                    open = Some((wanted, token));
                    reported = None;
                }
                Err(e) => note_trouble(&e, &mut reported, &report),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = wake.changed() => {}
            _ = addresses.changed() => {}
            () = stop.cancelled() => {}
        }
    }
}

fn note_trouble(error: &io::Error, reported: &mut Option<(String, Instant)>, report: &watch::Sender<Holding>) {
    let why = error.to_string();
    let news = reported.as_ref().is_none_or(|(old, at)| *old != why || at.elapsed() > REPORT_EVERY);
    if news {
        tracing::warn!(%why, "the virtual address cannot be had yet; trying on");
        report.send_replace(Holding { held: Vec::new(), trouble: Some(why.clone()) });
        *reported = Some((why, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Node {
        until: Mutex<Option<Instant>>,
        open: Arc<AtomicUsize>,
        refuse: AtomicUsize,
    }

    impl Guard for Node {
        fn serving_until(&self) -> Option<Instant> {
            *self.until.lock().unwrap()
        }
    }

    impl Stage for Node {
        fn open(&self, _: &[IpAddr], until: CancellationToken) -> io::Result<()> {
            if self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            let open = self.open.clone();
            open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                until.cancelled().await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
            Ok(())
        }
    }

    async fn until(what: &str, mut is: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is() {
            assert!(Instant::now() < deadline, "never came: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn the_address_follows_the_lease_and_ends_with_it() {
        let node = Arc::new(Node { refuse: AtomicUsize::new(3), ..Node::default() });
        let (_addresses, addresses) = watch::channel(vec![IpAddr::from([127, 0, 0, 12])]);
        let (_wake, wake) = watch::channel(0);
        let (report, seen) = watch::channel(Holding::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(hold(node.clone(), node.clone(), addresses, wake, report, stop.clone()));

        let open = || node.open.load(Ordering::SeqCst);
        *node.until.lock().unwrap() = Some(Instant::now() + Duration::from_millis(500));
        until("held after three refusals", || open() == 1).await;
        assert_eq!(seen.borrow().held.len(), 1);
        // Nobody renews the lease: the address goes by itself.
        until("given up at the end of the lease", || open() == 0).await;
        *node.until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(60));
        until("held again", || open() == 1).await;
        stop.cancel();
        task.await.unwrap();
        until("given up at the end", || open() == 0).await;
    }
}
