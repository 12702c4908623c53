//! The state and its only mutator.

use super::*;
use std::collections::BTreeSet;

/// Keys of the records that an apply touched (changed, added or removed).
pub type Changes = BTreeSet<RecordKey>;

/// Everything the cluster agrees on. Cloning is cheap (persistent maps), so readers and snapshots take a clone.
#[derive(Clone, Debug, Default)]
pub struct State {}

impl State {
    /// Carries out `request` at `stamp`, noting touched records in `changes`. Deterministic: equal states and equal
    /// arguments give equal states and outcomes. A refused command changes nothing but state time (and, for a
    /// numbered product request, its request number).
    pub fn apply(&mut self, stamp: Stamp, request: &Request, changes: &mut Changes) -> Outcome {
        let _ = (stamp, request, changes);
        todo!()
    }

    // ---- records: how images and snapshots see the state ----
    /// The record under `key`, if it exists.
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        let _ = key;
        todo!()
    }
    /// All records in key order.
    pub fn records(&self) -> Box<dyn Iterator<Item = (RecordKey, Record)> + Send + '_> {
        todo!()
    }
    /// Rebuilds a state, indexes included, from records in any order.
    pub fn from_records(records: impl IntoIterator<Item = (RecordKey, Record)>) -> Self {
        let _ = records.into_iter();
        todo!()
    }
    /// Recounts every kept total and index and lists what differs; empty means sound.
    pub fn check(&self) -> Vec<String> {
        todo!()
    }

    // ---- queries ----
    pub fn meta(&self) -> &Meta {
        todo!()
    }
    pub fn settings(&self) -> &Settings {
        todo!()
    }
    pub fn is_initialized(&self) -> bool {
        !self.meta().server_uid.is_empty()
    }
    pub fn accounts(&self) -> Box<dyn Iterator<Item = &Account> + Send + '_> {
        todo!()
    }
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        let _ = id;
        todo!()
    }
    pub fn account_by_name(&self, name: &str) -> Option<&Account> {
        let _ = name;
        todo!()
    }
    pub fn virtual_accounts(&self, account: AccountId) -> Box<dyn Iterator<Item = &VirtualAccount> + Send + '_> {
        let _ = account;
        todo!()
    }
    pub fn virtual_account(&self, id: VirtualAccountId) -> Option<&VirtualAccount> {
        let _ = id;
        todo!()
    }
    pub fn virtual_account_by_name(&self, account: AccountId, name: &str) -> Option<&VirtualAccount> {
        let _ = (account, name);
        todo!()
    }
    pub fn licenses(&self, account: AccountId) -> Box<dyn Iterator<Item = &License> + Send + '_> {
        let _ = account;
        todo!()
    }
    pub fn license(&self, id: LicenseId) -> Option<&License> {
        let _ = id;
        todo!()
    }
    pub fn license_by_tag(&self, account: AccountId, tag: &str) -> Option<&License> {
        let _ = (account, tag);
        todo!()
    }
    pub fn pool(&self, va: VirtualAccountId, license: LicenseId) -> Option<&Pool> {
        let _ = (va, license);
        todo!()
    }
    pub fn pools(&self, va: VirtualAccountId) -> Box<dyn Iterator<Item = &Pool> + Send + '_> {
        let _ = va;
        todo!()
    }
    pub fn tokens(&self, va: VirtualAccountId) -> Box<dyn Iterator<Item = &Token> + Send + '_> {
        let _ = va;
        todo!()
    }
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        let _ = id;
        todo!()
    }
    pub fn token_by_hash(&self, hash: &Digest32) -> Option<&Token> {
        let _ = hash;
        todo!()
    }
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        let _ = id;
        todo!()
    }
    pub fn instance_by_udi(&self, account: AccountId, udi: &Udi) -> Option<&Instance> {
        let _ = (account, udi);
        todo!()
    }
    pub fn instance_count(&self) -> u64 {
        todo!()
    }
    /// All instances in id order, from `after` exclusive.
    pub fn instances(&self, after: Option<InstanceId>) -> Box<dyn Iterator<Item = &Instance> + Send + '_> {
        let _ = after;
        todo!()
    }
    /// What the instance's licenses stand at now (for pages and `instance show`); None for an unknown instance.
    pub fn authorization(&self, id: InstanceId) -> Option<Authorization> {
        let _ = id;
        todo!()
    }
    /// Events newer than `after`, oldest first.
    pub fn events(&self, after: u64) -> Box<dyn Iterator<Item = &Event> + Send + '_> {
        let _ = after;
        todo!()
    }
    pub fn alerts(&self) -> Box<dyn Iterator<Item = &Alert> + Send + '_> {
        todo!()
    }
    pub fn users(&self) -> Box<dyn Iterator<Item = &User> + Send + '_> {
        todo!()
    }
    pub fn user(&self, name: &str) -> Option<&User> {
        let _ = name;
        todo!()
    }
    pub fn members(&self) -> Box<dyn Iterator<Item = &Member> + Send + '_> {
        todo!()
    }
    pub fn member(&self, node_id: u64) -> Option<&Member> {
        let _ = node_id;
        todo!()
    }
    pub fn role_changes(&self) -> Box<dyn Iterator<Item = &RoleChange> + Send + '_> {
        todo!()
    }
}
