//! The holder: the thread that decides, many times a second, whether the addresses are on here.

use super::driver::{Driver, Finding};
use super::{Guard, Holding, Stage};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How often the holder looks: serving and its end are noticed within this.
const LOOK: Duration = Duration::from_millis(5);
/// The address is given up this long before the lease ends, to be off in time on a busy machine.
pub const MARGIN: Duration = Duration::from_millis(20);
/// How often a held address gets another lifetime, which is a second.
const RENEW: Duration = Duration::from_millis(200);
/// How often a node that holds nothing looks at its interface and for strays.
const CHECK: Duration = Duration::from_millis(500);
/// After a failure to raise the address, until the next try.
const RETRY: Duration = Duration::from_millis(20);
/// How long the same trouble is logged only once.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// When the neighbours are told after a take-over: a burst for those that listen, repeats for what got lost.
const ANNOUNCE_AFTER_MS: [u64; 9] = [0, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000];
/// Between two announcements against a stranger that claims the address: forged frames must not make us flood the link.
const DEFEND_EVERY: Duration = Duration::from_secs(1);
/// So long after a take-over the former holder's kernel may still answer; it is no stranger.
const FORMER_HOLDER: Duration = Duration::from_millis(1_500);

/// What the holder works with.
pub struct Holder {
    pub guard: Arc<dyn Guard>,
    pub stage: Arc<dyn Stage>,
    pub addresses: watch::Receiver<Vec<IpAddr>>,
    pub report: watch::Sender<Holding>,
    pub findings: mpsc::UnboundedSender<Finding>,
    pub stop: CancellationToken,
}

/// Holds the addresses whenever the guard says that this node serves, until the holder's `stop`; the receiver ends when
/// all is off. `runtime` runs what the stage opens.
///
/// # Errors
/// When the thread cannot be started.
pub fn hold(holder: Holder, driver: Box<dyn Driver>, runtime: Handle) -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("vip".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        Loop::new(holder, driver).run();
        // Nobody may be waiting.
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// The addresses as they are on now.
struct Open {
    addresses: Vec<IpAddr>,
    listeners: CancellationToken,
    since: Instant,
    announced: usize,
    defended: Instant,
    renewed: Instant,
    /// The end of the lease at the last renewal: without a later one there was no new acknowledgement.
    lease: Instant,
}

struct Loop {
    holder: Holder,
    driver: Box<dyn Driver>,
    open: Option<Open>,
    retry_at: Instant,
    checked: Option<Instant>,
    logged: Option<(String, Instant)>,
}

impl Loop {
    fn new(holder: Holder, driver: Box<dyn Driver>) -> Self {
        Self { holder, driver, open: None, retry_at: Instant::now(), checked: None, logged: None }
    }

    fn run(mut self) {
        loop {
            let stopping = self.holder.stop.is_cancelled();
            let wanted = self.holder.addresses.borrow().clone();
            let lease = self.lease().filter(|_| !stopping);
            let mut next = Instant::now() + LOOK;
            match lease {
                Some(lease) if !wanted.is_empty() => {
                    self.serve(&wanted, lease);
                    next = next.min(lease - MARGIN);
                }
                _ => self.idle(&wanted),
            }
            if stopping {
                return;
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// The end of the lease, while there is enough of it left.
    fn lease(&self) -> Option<Instant> {
        self.holder.guard.serving_until().filter(|until| *until > Instant::now() + MARGIN)
    }

    /// This node serves: the addresses must be on.
    fn serve(&mut self, wanted: &[IpAddr], lease: Instant) {
        if self.open.as_ref().is_some_and(|open| open.addresses != wanted) {
            self.close();
        }
        if self.open.is_none() && Instant::now() >= self.retry_at {
            match self.raise(wanted, lease) {
                Ok(open) => {
                    tracing::info!(addresses = ?wanted, "virtual address held");
                    self.logged = None;
                    self.holder.report.send_replace(Holding { held: wanted.to_vec(), trouble: None });
                    self.open = Some(open);
                }
                Err(error) => {
                    self.trouble(&error);
                    self.retry_at = Instant::now() + RETRY;
                }
            }
        }
        if let Err(error) = self.keep(lease) {
            self.close();
            self.trouble(&error);
        }
    }

    fn raise(&mut self, wanted: &[IpAddr], lease: Instant) -> io::Result<Open> {
        let guard = &self.holder.guard;
        let serving = || guard.serving_until().is_some_and(|until| until > Instant::now() + MARGIN);
        self.driver.raise(wanted, &serving)?;
        let listeners = CancellationToken::new();
        if let Err(error) = self.holder.stage.open(wanted, listeners.clone()) {
            self.lower(wanted);
            return Err(error);
        }
        let now = Instant::now();
        Ok(Open { addresses: wanted.to_vec(), listeners, since: now, announced: 0, defended: now, renewed: now, lease })
    }

    /// What a holder does all the time: renew, announce, defend.
    fn keep(&mut self, lease: Instant) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let age = open.since.elapsed();
        if open.renewed.elapsed() >= RENEW && lease > open.lease {
            self.driver.renew(&open.addresses)?;
            open.renewed = Instant::now();
            open.lease = lease;
        }
        if ANNOUNCE_AFTER_MS.get(open.announced).is_some_and(|at| age >= Duration::from_millis(*at)) {
            open.announced += 1;
            self.driver.announce(&open.addresses)?;
        }
        for finding in self.driver.findings() {
            match finding {
                Finding::Stranger { .. } if age < FORMER_HOLDER => continue,
                Finding::Stranger { .. } if open.defended.elapsed() >= DEFEND_EVERY => {
                    open.defended = Instant::now();
                    self.driver.announce(&open.addresses)?;
                }
                // Its neighbours may have forgotten it, or learnt another place.
                Finding::PutBack(_) => self.driver.announce(&open.addresses)?,
                Finding::Stranger { .. } | Finding::Stray(_) => {}
            }
            // Nobody listens any more while the node ends.
            let _ = self.holder.findings.send(finding);
        }
        Ok(())
    }

    /// This node does not serve: no address may be on.
    fn idle(&mut self, wanted: &[IpAddr]) {
        if self.open.is_some() {
            self.close();
            self.checked = None;
        }
        if self.checked.is_some_and(|at| at.elapsed() < CHECK) && !self.holder.stop.is_cancelled() {
            return;
        }
        self.checked = Some(Instant::now());
        let checked = self.driver.sweep(wanted).and_then(|()| self.driver.check());
        match checked {
            Err(error) => self.trouble(&error),
            Ok(()) => {
                self.logged = None;
                self.holder.report.send_if_modified(|holding| holding.trouble.take().is_some());
            }
        }
        for finding in self.driver.findings() {
            if let Finding::Stray(address) = &finding {
                tracing::warn!(%address, "the virtual address was on here though this node does not serve; removed");
                let _ = self.holder.findings.send(finding);
            }
        }
    }

    /// Ends the listeners first, so that nothing answers on an address that is going.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.listeners.cancel();
        self.lower(&open.addresses);
        tracing::info!(addresses = ?open.addresses, "virtual address given up");
        self.holder.report.send_replace(Holding::default());
    }

    fn lower(&mut self, addresses: &[IpAddr]) {
        if let Err(error) = self.driver.lower(addresses) {
            tracing::error!(%error, "the virtual address may still be on this host");
            self.trouble(&error);
        }
    }

    fn trouble(&mut self, error: &io::Error) {
        let why = error.to_string();
        if self.logged.as_ref().is_none_or(|(old, at)| *old != why || at.elapsed() > LOG_EVERY) {
            tracing::warn!(%why, "trouble with the virtual address; trying on");
            self.logged = Some((why.clone(), Instant::now()));
        }
        self.holder.report.send_if_modified(|holding| {
            let news = holding.trouble.as_ref() != Some(&why);
            holding.trouble = Some(why);
            news
        });
    }
}

#[cfg(test)]
mod tests;
