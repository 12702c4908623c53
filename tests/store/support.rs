//! What the store's tests share: entries with real commands, and a store driven without openraft.

use futures::stream;
use licraft::license::{Command, Millis, Outcome, Request, Role, Severity, Stamp, User};
use licraft::store::*;
use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use std::path::Path;

pub fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 256 << 10,
        log_cache_bytes: 64 << 10,
        image_interval: std::time::Duration::from_millis(20),
        disk_reserve_bytes: 0,
        ..StoreOptions::default()
    }
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id: 1 }, index }
}

/// Commands that make entry `index`: entry 0 initializes the server, others add events, whose texts name the index.
pub fn commands(index: u64) -> Vec<Request> {
    let command = if index == 0 {
        Command::Initialize {
            server_uid: "0123456789abcdef0123456789abcdef".into(),
            administrator: User::new(
                "admin".into(),
                Role::SystemAdministrator,
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA".into(),
                false,
            ),
        }
    } else {
        Command::NoteEvent {
            event: licraft::license::NewEvent {
                severity: Severity::Informational,
                account: None,
                kind: "test".into(),
                message: format!("entry {index}"),
            },
        }
    };
    vec![Request { id: 0, actor: "test".into(), command }]
}

pub fn entry_with(term: u64, index: u64, requests: Vec<Request>) -> Entry {
    let batch = Batch {
        epoch: Epoch { counter: 1, id: 1 },
        term,
        node_id: 1,
        seq: index + 1,
        stamp: Stamp::at(Millis(1_000 + index)),
        requests,
    };
    let envelope = Envelope::seal(&batch, &|_| [0; 32]).unwrap();
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(envelope) }
}

pub fn entry(term: u64, index: u64) -> Entry {
    entry_with(term, index, commands(index))
}

/// A store without openraft: appends, commits and applies as a sole voter would.
pub struct Node {
    pub log: LogStore,
    pub machine: Machine,
    pub handle: StoreHandle,
}

impl Node {
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let (log, machine, handle) = Store::open(dir, options)?;
        Ok(Self { log, machine, handle })
    }

    /// What openraft does at start: a snapshot newer than the image is installed, committed entries are applied.
    pub async fn recover(&mut self) -> std::io::Result<()> {
        let helper = openraft::StorageHelper::<TypeConfig, _, _>::new(&mut self.log, &mut self.machine);
        helper.with_id(1).get_initial_state().await.map_err(std::io::Error::other)?;
        Ok(())
    }

    pub async fn append(&mut self, entries: Vec<Entry>) -> std::io::Result<()> {
        self.log.blocking_append(entries).await.map_err(std::io::Error::other)
    }

    /// Commits and applies, and returns nothing but errors.
    pub async fn apply(&mut self, entries: Vec<Entry>) -> std::io::Result<()> {
        let last = entries.last().map(|entry| entry.log_id);
        self.log.save_committed(last).await?;
        self.machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
    }

    pub async fn write(&mut self, entries: Vec<Entry>) -> std::io::Result<()> {
        self.append(entries.clone()).await?;
        self.apply(entries).await
    }

    pub async fn last_index(&mut self) -> u64 {
        self.log.get_log_state().await.unwrap().last_log_id.map_or(0, |id| id.index)
    }

    pub fn digest(&self) -> [u8; 32] {
        state_digest(&self.handle.state()).unwrap()
    }

    pub fn close(self) {
        let Self { log, machine, handle } = self;
        drop((log, machine));
        handle.close();
    }
}

/// The state after entries 0 to `last`, computed without a store.
pub fn expected(last: u64) -> licraft::license::State {
    let mut state = licraft::license::State::default();
    for index in 0..=last {
        for request in commands(index) {
            let outcome = state.apply(Stamp::at(Millis(1_000 + index)), &request, &mut Default::default());
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        }
    }
    state
}

/// Whether `state` is what entries 0 to `last` make, whichever leader sealed the last of them.
pub fn is_expected(state: &licraft::license::State, last: u64) -> bool {
    let mut expected = expected(last);
    expected.admit_batch(state.meta().last_batch, &mut Default::default());
    *state == expected
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
