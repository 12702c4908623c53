//! Product instances in columns, for searches that look at every one of them.

use crate::license::{Instance, InstanceChange, InstanceId, LicenseId, State, VirtualAccountId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The group of a row whose instance is gone.
pub(super) const GONE: u32 = u32::MAX;
/// Gone rows that do not count yet, so that a small directory is not made anew all the time.
const FREE_DEAD: usize = 1_024;

/// What many instances have in common. Where an instance is, what it is, and whether it is in compliance follow from it,
/// so a search decides about these once a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub va: VirtualAccountId,
    pub product_type: Arc<str>,
    pub licenses: Vec<LicenseId>,
}

impl Group {
    fn of(instance: &Instance) -> Self {
        let licenses = instance.usage.iter().map(|(license, _)| *license).collect();
        Self { va: instance.va, product_type: instance.product_type.clone(), licenses }
    }
}

/// The columns of one state: row n of each belongs to one instance, oldest first. About 90 bytes an instance.
#[derive(Debug, Default)]
pub struct Directory {
    state: Arc<State>,
    pub(super) ids: Vec<InstanceId>,
    /// Place in `groups`, or [`GONE`].
    pub(super) group_of: Vec<u32>,
    pub(super) last_contact: Vec<u64>,
    /// Names in lower case, one after the other: with 2^20 instances of 800 bytes each far from 2^32.
    pub(super) texts: Vec<u8>,
    /// Where each row's text begins.
    pub(super) starts: Vec<u32>,
    /// Rows by text.
    pub(super) by_name: Vec<u32>,
    pub(super) groups: Vec<Group>,
    known: BTreeMap<Group, u32>,
    dead: usize,
}

impl Directory {
    /// The directory of `state`.
    #[must_use]
    pub fn of(state: &Arc<State>) -> Self {
        let mut directory = Self { state: state.clone(), ..Self::default() };
        state.instances(None).for_each(|instance| directory.add(instance));
        directory.place_names();
        directory
    }

    /// The state that it shows.
    #[must_use]
    pub const fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Shows `state` from now on, at the price of what differs.
    pub fn follow(&mut self, state: &Arc<State>) {
        if Arc::ptr_eq(&self.state, state) {
            return;
        }
        let before = std::mem::replace(&mut self.state, state.clone());
        let mut fits = true;
        for change in state.instance_changes(&before) {
            fits &= self.take(&change);
        }
        if !fits || self.dead > FREE_DEAD + self.ids.len() / 4 {
            *self = Self::of(state);
            return;
        }
        self.place_names();
    }

    /// False for what only another history has: a new instance with an old id, or a name that changed.
    fn take(&mut self, change: &InstanceChange<'_>) -> bool {
        match change {
            InstanceChange::Added(instance) => {
                if self.ids.last().is_some_and(|last| *last >= instance.id) {
                    return false;
                }
                self.add(instance);
            }
            InstanceChange::Changed { old, new } => {
                let Some(row) = self.row(new.id) else { return false };
                if (&old.udi, &old.host_name) != (&new.udi, &new.host_name) {
                    return false;
                }
                self.last_contact[row] = new.last_contact.0;
                let same_usage = Arc::ptr_eq(&old.usage, &new.usage);
                if !same_usage || old.va != new.va || old.product_type != new.product_type {
                    self.group_of[row] = self.group(new);
                }
            }
            InstanceChange::Removed(instance) => {
                let Some(row) = self.row(instance.id) else { return false };
                self.group_of[row] = GONE;
                self.dead += 1;
            }
        }
        true
    }

    fn row(&self, id: InstanceId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    fn add(&mut self, instance: &Instance) {
        let group = self.group(instance);
        self.ids.push(instance.id);
        self.group_of.push(group);
        self.last_contact.push(instance.last_contact.0);
        self.starts.push(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let udi = format!("UDI_PID:{};UDI_SN:{};", instance.udi.pid, instance.udi.sn);
        // A line end is below every character of a name: rows are in the order of their names, then of their devices.
        let host = instance.host_name.as_deref().unwrap_or_default();
        for part in [host, &udi].into_iter().filter(|part| !part.is_empty()) {
            self.texts.extend_from_slice(part.to_lowercase().as_bytes());
            self.texts.push(b'\n');
        }
    }

    fn group(&mut self, instance: &Instance) -> u32 {
        let group = Group::of(instance);
        if let Some(known) = self.known.get(&group) {
            return *known;
        }
        // Fewer than rows ever added, which are fewer than 2^32 before all is made anew.
        let place = self.groups.len() as u32;
        self.groups.push(group.clone());
        self.known.insert(group, place);
        place
    }

    pub(super) fn text(&self, row: u32) -> &[u8] {
        let row = row as usize;
        let end = self.starts.get(row + 1).map_or(self.texts.len(), |start| *start as usize);
        &self.texts[self.starts[row] as usize..end]
    }

    /// Brings new rows into the order of names.
    fn place_names(&mut self) {
        let placed = std::mem::take(&mut self.by_name);
        let mut new: Vec<u32> = (placed.len() as u32..self.ids.len() as u32).collect();
        new.sort_unstable_by_key(|row| (self.text(*row), *row));
        if new.is_empty() || placed.is_empty() {
            self.by_name = if new.is_empty() { placed } else { new };
            return;
        }
        let mut merged = Vec::with_capacity(self.ids.len());
        let mut rest = placed.as_slice();
        for row in new {
            let text = self.text(row);
            let before = rest.partition_point(|other| self.text(*other) <= text);
            merged.extend_from_slice(&rest[..before]);
            merged.push(row);
            rest = &rest[before..];
        }
        merged.extend_from_slice(rest);
        self.by_name = merged;
    }
}
