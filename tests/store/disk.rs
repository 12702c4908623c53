//! A disk that can lose power: everything not made durable by `fsync` is lost, or torn, at a chosen operation.
//!
//! A file keeps what its own last `fsync` covered; a name keeps what the last `fsync` of its directory covered. In a
//! torn cut a random part of the rest survives: any subset of 512-byte sectors of each write, any prefix of each
//! directory's changes.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

pub const ROOT: u64 = 1;
const SECTOR: usize = 512;

type Names = BTreeMap<OsString, u64>;

pub enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => put(data, *offset, bytes),
            Self::Size(size) => data.resize(*size, 0),
        }
    }
}

pub enum Node {
    File { data: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
    Dir { names: Names, durable: Names, pending: Vec<Vec<(OsString, Option<u64>)>> },
}

/// What to do instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Io,
    Full,
}

pub struct Disk {
    pub nodes: HashMap<u64, Node>,
    pub next: u64,
    /// Changing operations so far.
    pub operations: u64,
    /// At this operation the power goes: nothing changes any more, everything fails.
    pub cut_at: u64,
    /// A disk that lies: it acknowledges `fsync` and does nothing. This is what the test looks like without barriers.
    pub lies: bool,
    /// Bytes that fit.
    pub capacity: usize,
    pub fails: bool,
}

impl Default for Disk {
    fn default() -> Self {
        let root = Node::Dir { names: Names::new(), durable: Names::new(), pending: Vec::new() };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            next: 2,
            operations: 0,
            cut_at: u64::MAX,
            lies: false,
            capacity: 1 << 30,
            fails: false,
        }
    }
}

impl Disk {
    pub fn is_dead(&self) -> bool {
        self.operations >= self.cut_at
    }

    fn change(&mut self) -> Result<(), Fault> {
        if self.is_dead() || self.fails {
            return Err(Fault::Io);
        }
        self.operations += 1;
        if self.is_dead() { Err(Fault::Io) } else { Ok(()) }
    }

    pub fn used(&self) -> usize {
        self.nodes.values().map(|node| if let Node::File { data, .. } = node { data.len() } else { 0 }).sum()
    }

    pub fn names(&self, dir: u64) -> &Names {
        match &self.nodes[&dir] {
            Node::Dir { names, .. } => names,
            Node::File { .. } => panic!("not a directory"),
        }
    }

    pub fn look_up(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.names(dir).get(name).copied()
    }

    pub fn create(&mut self, dir: u64, name: &OsStr, is_dir: bool) -> Result<u64, Fault> {
        self.change()?;
        let number = self.next;
        self.next += 1;
        let node = match is_dir {
            true => Node::Dir { names: Names::new(), durable: Names::new(), pending: Vec::new() },
            false => Node::File { data: Vec::new(), durable: Vec::new(), pending: Vec::new() },
        };
        self.nodes.insert(number, node);
        self.link(dir, vec![(name.to_owned(), Some(number))]);
        Ok(number)
    }

    pub fn remove(&mut self, dir: u64, name: &OsStr) -> Result<(), Fault> {
        self.change()?;
        self.link(dir, vec![(name.to_owned(), None)]);
        Ok(())
    }

    pub fn rename(&mut self, dir: u64, from: &OsStr, to: &OsStr) -> Result<(), Fault> {
        self.change()?;
        let number = self.look_up(dir, from);
        self.link(dir, vec![(from.to_owned(), None), (to.to_owned(), number)]);
        Ok(())
    }

    fn link(&mut self, dir: u64, change: Vec<(OsString, Option<u64>)>) {
        if let Some(Node::Dir { names, pending, .. }) = self.nodes.get_mut(&dir) {
            relink(names, &change);
            pending.push(change);
        }
    }

    pub fn write(&mut self, file: u64, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.change()?;
        let used = self.used();
        if let Some(Node::File { data, pending, .. }) = self.nodes.get_mut(&file) {
            let grows = (offset + bytes.len()).saturating_sub(data.len());
            if used + grows > self.capacity {
                return Err(Fault::Full);
            }
            put(data, offset, bytes);
            pending.push(Change::Write(offset, bytes.to_vec()));
        }
        Ok(())
    }

    pub fn resize(&mut self, file: u64, size: usize) -> Result<(), Fault> {
        self.change()?;
        let used = self.used();
        if let Some(Node::File { data, pending, .. }) = self.nodes.get_mut(&file) {
            if used + size.saturating_sub(data.len()) > self.capacity {
                return Err(Fault::Full);
            }
            data.resize(size, 0);
            pending.push(Change::Size(size));
        }
        Ok(())
    }

    pub fn sync(&mut self, number: u64) -> Result<(), Fault> {
        self.change()?;
        if self.lies {
            return Ok(());
        }
        match self.nodes.get_mut(&number) {
            Some(Node::File { durable, pending, .. }) => pending.drain(..).for_each(|change| change.apply(durable)),
            Some(Node::Dir { names, durable, pending }) => {
                pending.clear();
                durable.clone_from(names);
            }
            None => {}
        }
        Ok(())
    }

    /// What is on the disk when power comes back.
    pub fn after_cut(mut self, random: &mut StdRng, torn: bool) -> Self {
        for node in self.nodes.values_mut() {
            match node {
                Node::File { data, durable, pending } => {
                    if torn {
                        pending.iter().for_each(|change| tear(change, durable, random));
                    }
                    pending.clear();
                    data.clone_from(durable);
                }
                Node::Dir { names, durable, pending } => {
                    let kept = if torn { random.random_range(0..=pending.len()) } else { 0 };
                    pending.drain(..).take(kept).for_each(|change| relink(durable, &change));
                    names.clone_from(durable);
                }
            }
        }
        let mut reached = HashSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(number) = todo.pop() {
            if let Some(Node::Dir { names, .. }) = self.nodes.get(&number) {
                todo.extend(names.values().copied().filter(|number| reached.insert(*number)));
            }
        }
        self.nodes.retain(|number, _| reached.contains(number));
        (self.operations, self.cut_at, self.fails) = (0, u64::MAX, false);
        self
    }
}

fn relink(names: &mut Names, change: &[(OsString, Option<u64>)]) {
    for (name, number) in change {
        match number {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

fn put(data: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if data.len() < end {
        data.resize(end, 0);
    }
    data[offset..end].copy_from_slice(bytes);
}

/// Applies a random part of a change that was under way.
fn tear(change: &Change, data: &mut Vec<u8>, random: &mut impl Rng) {
    match change {
        Change::Size(_) => {
            if random.random() {
                change.apply(data);
            }
        }
        Change::Write(offset, bytes) => {
            let (all, none) = (random.random_bool(0.3), random.random_bool(0.3));
            let mut at = 0;
            while at < bytes.len() {
                let len = (SECTOR - (offset + at) % SECTOR).min(bytes.len() - at);
                if all || (!none && random.random()) {
                    put(data, offset + at, &bytes[at..at + len]);
                }
                at += len;
            }
        }
    }
}
