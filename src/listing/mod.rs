//! Lists of what the state holds, a page at a time: searched, filtered and sorted here alone, for REST and for the pages.
//!
//! Everything but product instances is so little (2,000 licenses, 10,000 events) that a look at each record for every
//! page is cheap. Instances are not: following 300,000 pointers and folding the case of as many names takes longer than
//! a page may, and indexes in the state for each order would be paid for by every authorization, on every node. So the
//! active node keeps a [`Directory`] beside the state: columns that are looked through in a few milliseconds, brought up
//! to date by what differs from the state they were made of.

mod directory;
mod history;
mod instances;
mod licenses;
mod query;
mod records;

pub use directory::Directory;
pub use history::{Activity, ActivityKind, ActivitySearch, AlertFilter, activity, past_alerts};
pub use instances::{InstanceColumn, InstanceSearch, Within};
pub use licenses::{LicenseColumn, LicenseRow, LicenseSearch, licenses};
pub use query::{Column, Listed, Needle, Order, Window};
pub use records::{
    AccountColumn, AccountSearch, AlertColumn, AlertSearch, EventColumn, EventSearch, TokenColumn, TokenSearch,
    TokenStatus, VirtualAccountColumn, VirtualAccountSearch, accounts, alerts, events, tokens, virtual_accounts,
};

use crate::license::{InstanceId, State};
use crate::raft::Ledger;
use parking_lot::{RwLock, RwLockWriteGuard};
use std::sync::Arc;
use std::time::Duration;

/// How often the active node brings its directory up to date without being asked: ten thousand changes a second are then
/// a few milliseconds of work each time, no page waits longer, and no old state is held for long.
const FOLLOW: Duration = Duration::from_millis(250);

/// The lists of one node.
pub struct Lists {
    ledger: Arc<dyn Ledger>,
    directory: RwLock<Directory>,
}

impl std::fmt::Debug for Lists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lists")
    }
}

impl Lists {
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>) -> Arc<Self> {
        Arc::new(Self { ledger, directory: RwLock::default() })
    }

    /// The product instances that `wanted` asks for, with the state in which they are those. It blocks for some
    /// milliseconds: not on a thread that serves.
    pub fn instances(&self, wanted: &InstanceSearch<'_>) -> (Arc<State>, Listed<InstanceId>) {
        let directory = self.directory.read();
        if Arc::ptr_eq(directory.state(), &self.ledger.state()) {
            return (directory.state().clone(), directory.find(wanted));
        }
        drop(directory);
        let mut directory = self.directory.write();
        // Asked for here, so that it is never older than what another page has seen.
        directory.follow(&self.ledger.state());
        let directory = RwLockWriteGuard::downgrade(directory);
        (directory.state().clone(), directory.find(wanted))
    }

    /// Keeps the directory near the state while this node serves, and gives its memory back when it does not.
    pub async fn keep(self: Arc<Self>, serving: impl Fn() -> bool + Send + 'static) {
        loop {
            tokio::time::sleep(FOLLOW).await;
            let (lists, wanted) = (self.clone(), serving());
            let followed = tokio::task::spawn_blocking(move || match wanted {
                true => lists.directory.write().follow(&lists.ledger.state()),
                false => *lists.directory.write() = Directory::default(),
            });
            if let Err(error) = followed.await {
                tracing::error!(%error, "the directory of product instances could not be kept");
            }
        }
    }
}
