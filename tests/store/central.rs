//! Power cuts under central's store: each acknowledged commit is there, whole, and the store always opens.

use super::child::{CANNOT_OPEN, DIR, DONE, FATAL, GROUPS, SEED, WRONG, Worker};
use super::crash::{Start, cut_power, cut_power_for_all_seeds};
use licraft::central::{Batch, Keys, Store, StoreError, system_clock};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;

const CENTRAL: Start = Worker::start_central;
/// Commits change so many records in turn.
const RECORDS: u64 = 20;
/// The number of the last commit.
const LAST: &str = "last";
const BLOB: &str = "blob";

/// What a commit changes, all of it or nothing. Every fifth replaces the blob, some remove a record.
fn blob_of(commit: u64) -> Option<Vec<u8>> {
    // From nothing to many pages.
    commit.is_multiple_of(5).then(|| (0..commit * 7_919 % 200_000).map(|i| (i + commit) as u8).collect())
}

fn removes(commit: u64) -> bool {
    commit % 7 == 3
}

fn key_of(commit: u64) -> String {
    format!("record\0{:02}", commit % RECORDS)
}

fn batch_of(commit: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(LAST, &commit);
    match removes(commit) {
        true => batch.remove(&key_of(commit)),
        false => batch.put(&key_of(commit), &commit),
    }
    if let Some(blob) = blob_of(commit) {
        batch.put_bytes(BLOB, blob);
    }
    batch
}

/// Whether the store holds just what commits 0 to `last` make.
fn is_expected(store: &Store, last: Option<u64>) -> Result<bool, StoreError> {
    let mut records = BTreeMap::new();
    let mut blob = None;
    for commit in last.map_or(0..0, |last| 0..last + 1) {
        match removes(commit) {
            true => records.remove(&key_of(commit)),
            false => records.insert(key_of(commit), commit),
        };
        blob = blob_of(commit).or(blob);
    }
    let held: Vec<u64> = store.scan(&["record"])?;
    Ok(held == records.into_values().collect::<Vec<_>>() && store.bytes(BLOB)? == blob)
}

#[test]
#[ignore = "run by other tests in a process of its own"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    // Ends while the store is open, as central's process does.
    std::process::exit(work(Path::new(&dir), number(SEED), number(GROUPS)));
}

fn work(dir: &Path, seed: u64, commits: u64) -> i32 {
    let store = match open(dir) {
        Ok(store) => store,
        Err(error) => {
            println!("@error {error}");
            return CANNOT_OPEN;
        }
    };
    let status = run(&store, seed, commits).unwrap_or_else(|error| {
        println!("@fatal {error}");
        FATAL
    });
    std::mem::forget(store);
    status
}

/// Opens the store with the keys beside it; makes both anew only where there is no store.
fn open(dir: &Path) -> Result<Store, Box<dyn std::error::Error>> {
    match Store::open(dir) {
        Err(StoreError::Missing(_)) => {
            std::fs::create_dir_all(dir)?;
            for entry in std::fs::read_dir(dir)? {
                std::fs::remove_file(entry?.path())?;
            }
            Keys::create(dir, &Keys::root_key_file(dir), "Test", system_clock()())?;
            Ok(Store::create(dir)?)
        }
        opened => {
            let store = std::mem::ManuallyDrop::new(opened?);
            Keys::load(dir, Keys::FIRST)?;
            Ok(std::mem::ManuallyDrop::into_inner(store))
        }
    }
}

fn run(store: &Store, seed: u64, commits: u64) -> Result<i32, StoreError> {
    let mut random = StdRng::seed_from_u64(seed);
    let last: Option<u64> = store.get(LAST)?;
    if !is_expected(store, last)? {
        println!("@wrong records after commit {last:?}");
        return Ok(WRONG);
    }
    println!("@open {} 0", last.map_or("none".to_owned(), |last| last.to_string()));
    let first = last.map_or(0, |last| last + 1);
    for commit in first..first.saturating_add(commits) {
        store.commit(batch_of(commit))?;
        println!("@ack {commit}");
        if random.random_bool(0.02) && !is_expected(store, Some(commit))? {
            return Ok(WRONG);
        }
    }
    Ok(DONE)
}

#[test]
fn a_power_cut_loses_no_acknowledged_commit_of_central() {
    for promises in cut_power_for_all_seeds(CENTRAL).unwrap_or_default() {
        assert!(promises.acknowledged > Some(100), "hardly anything was tested: {promises:?}");
    }
}

#[test]
fn without_barriers_the_power_cut_test_of_central_fails() {
    let Some(result) = cut_power(CENTRAL, 25, 1, true) else { return };
    let lost = result.expect_err("nothing was lost on a disk that ignores fsync: this test proves nothing");
    eprintln!("without barriers: {lost}");
}
