//! Runs on the active node: begins the synchronizations whose time has come, and finishes what a lost connection, a crash
//! or a change of the active node left unfinished.

use super::client::{Upstream, UpstreamError};
use super::schedule;
use crate::license::{AccountId, AccountStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often the accounts are looked through; each look is a walk over at most a thousand records.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the ends of the accounts' certificates are looked at: they come once in years.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// The pause after a failure doubles from the first to the last of these.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Accounts worked on at once: central serialises them anyway.
const AT_ONCE: usize = 4;
/// Between the beginnings of two: central takes ten requests a second of one server for long, and products that are served
/// meanwhile keep their share of the processors.
const PACE: Duration = Duration::from_millis(100);
/// Who, in events.
const ACTOR: &str = "synchronization service";

/// Resumes unfinished registrations and synchronizations while its node is active.
#[derive(Debug)]
pub struct SyncService {
    upstream: Arc<Upstream>,
    active: watch::Receiver<bool>,
    waiting: HashMap<AccountId, Wait>,
}

#[derive(Debug)]
struct Wait {
    until: Instant,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Register,
    Synchronize,
}

impl SyncService {
    /// `active` says whether this node serves now.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, active: watch::Receiver<bool>) -> Self {
        Self { upstream, active, waiting: HashMap::new() }
    }

    /// Runs until the sender of `active` is gone.
    pub async fn run(mut self) {
        while self.active.wait_for(|active| *active).await.is_ok() {
            // What failed on another node may well succeed from here.
            self.waiting.clear();
            let mut active = self.active.clone();
            tokio::select! {
                ended = active.wait_for(|active| !*active) => {
                    if ended.is_err() {
                        return;
                    }
                }
                () = self.work() => {}
            }
        }
    }

    /// Works off what is unfinished, look by look; dropped in the middle when the node is no longer active, which is
    /// harmless, since every step can be repeated.
    async fn work(&mut self) {
        let mut renewed: Option<Instant> = None;
        loop {
            if renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                renewed = Some(Instant::now());
                if let Err(error) = self.upstream.renew_certificates(ACTOR).await {
                    tracing::warn!(%error, "the accounts' certificates could not be renewed; trying again");
                }
            }
            let mut due = self.due();
            let mut running = JoinSet::new();
            while !due.is_empty() || !running.is_empty() {
                while running.len() < AT_ONCE {
                    let Some((account, work)) = due.pop() else { break };
                    let upstream = self.upstream.clone();
                    tokio::time::sleep(PACE).await;
                    running.spawn(async move { (account, work, carry_out(&upstream, account, work).await) });
                }
                match running.join_next().await {
                    Some(Ok((account, work, result))) => self.note(account, work, result),
                    Some(Err(error)) => tracing::error!(%error, "an exchange with central ended badly"),
                    None => {}
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn due(&self) -> Vec<(AccountId, Work)> {
        let state = self.upstream.ledger().state();
        if state.settings().central_url.is_empty() {
            return Vec::new();
        }
        let (now, wall) = (Instant::now(), self.upstream.now());
        let unfinished = state.accounts().filter_map(|account| {
            let work = match account.status {
                AccountStatus::Approved => Work::Register,
                _ if account.sync.outstanding.is_some() => Work::Synchronize,
                _ if schedule::next(&state, account).is_some_and(|time| time <= wall) => Work::Synchronize,
                _ => return None,
            };
            Some((account.id, work))
        });
        unfinished.filter(|(id, _)| self.waiting.get(id).is_none_or(|w| w.until <= now)).collect()
    }

    fn note(&mut self, account: AccountId, work: Work, result: Result<(), UpstreamError>) {
        let Err(error) = result else {
            self.waiting.remove(&account);
            return;
        };
        let last = self.waiting.get(&account).map_or(FIRST_PAUSE / 2, |w| w.pause);
        // What central refused is not asked again in a hurry.
        let pause = if error.may_pass() { (last * 2).min(LAST_PAUSE) } else { LAST_PAUSE };
        tracing::warn!(account = account.0, ?work, %error, retry_s = pause.as_secs(), "central was not satisfied or not reached");
        self.waiting.insert(account, Wait { until: Instant::now() + pause, pause });
    }
}

async fn carry_out(upstream: &Upstream, account: AccountId, work: Work) -> Result<(), UpstreamError> {
    match work {
        Work::Register => upstream.register(account, ACTOR).await,
        Work::Synchronize => upstream.synchronize(account, ACTOR).await.map(drop),
    }
}
