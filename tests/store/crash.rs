//! `kill -9`, power cuts, a full disk and a failing one: what was acknowledged is there, and the store always opens.
//!
//! `LICRAFT_CRASH_ROUNDS` sets the number of rounds, `LICRAFT_CRASH_SEED` the first seed and `LICRAFT_CRASH_SEEDS` how
//! many follow for the power cuts: a few by default, 60 rounds of 5 seeds under `tests/run --all`.

use super::child::{CANNOT_OPEN, DONE, FATAL, LOW, Promises, Said, Worker};
use super::disk::Disk;
use super::mount::mount;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

/// `few`, or `many` under `tests/run --all`, unless the variable says otherwise.
fn scale(name: &str, few: u64, many: u64) -> u64 {
    number(name, if std::env::var_os("LICRAFT_TEST_ALL").is_some() { many } else { few })
}

/// Cuts power in as many rounds and with as many seeds as are wanted; none where this machine has no FUSE.
pub fn cut_power_for_all_seeds(start: Start) -> Option<Vec<Promises>> {
    let first = number("LICRAFT_CRASH_SEED", 1);
    let seeds = first..first + scale("LICRAFT_CRASH_SEEDS", 1, 5);
    let rounds = scale("LICRAFT_CRASH_ROUNDS", 25, 60);
    seeds.map(|seed| Some(cut_power(start, rounds, seed, false)?.unwrap_or_else(|lost| panic!("{lost}")))).collect()
}

/// Starts a child on a folder with a seed and a number of groups.
pub type Start = fn(&Path, u64, u64) -> Worker;

const NODE: Start = |dir, seed, groups| Worker::start(dir, seed, groups, 0);

/// Runs a child to its end; the second value is how it ended.
fn listen(worker: &mut Worker, promises: &mut Promises) -> Result<(Vec<Said>, Option<i32>), String> {
    let mut heard = Vec::new();
    while let Some(said) = worker.next() {
        promises.hear(&said)?;
        heard.push(said);
    }
    let status = worker.wait();
    Ok((heard, status))
}

/// Opens once more without any trouble.
fn settle(start: Start, dir: &Path, promises: &mut Promises) -> Result<(), String> {
    let (heard, status) = listen(&mut start(dir, 0, 3), promises)?;
    match (heard.first(), status) {
        (Some(Said::Open { .. }), Some(DONE)) => Ok(()),
        _ => Err(format!("the store does not open any more: {status:?} {:?}", heard.first())),
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let seed = number("LICRAFT_CRASH_SEED", 1);
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut promises = Promises::default();
    for round in 0..number("LICRAFT_CRASH_ROUNDS", 8) {
        let mut worker = Worker::start(dir.path(), random.random(), u64::MAX, 0);
        for _ in 0..random.random_range(0..120) {
            let Some(said) = worker.next() else { break };
            promises.hear(&said).unwrap_or_else(|lost| panic!("seed {seed}, round {round}: {lost}"));
        }
        worker.kill();
        // What it said before it was killed counts.
        let (heard, status) = listen(&mut worker, &mut promises).unwrap();
        assert_eq!(status, None, "seed {seed}, round {round}: it ended by itself: {heard:?}");
    }
    settle(NODE, dir.path(), &mut promises).unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
    assert!(promises.acknowledged.is_some());
}

/// Cuts power `rounds` times at random operations of one disk. The error says what was lost.
pub fn cut_power(start: Start, rounds: u64, seed: u64, lies: bool) -> Option<Result<Promises, String>> {
    let mut random = StdRng::seed_from_u64(seed);
    let at = tempfile::tempdir().unwrap();
    let mut disk = Disk { lies, ..Disk::default() };
    let mut promises = Promises::default();
    for round in 0..rounds {
        // Early cuts hit the opening, with its repairs and its new image.
        let most = if random.random() { 80 } else { 600 };
        disk.cut_at = random.random_range(1..most);
        let shared = Arc::new(Mutex::new(disk));
        let session = mount(&shared, at.path())?;
        let mut worker = start(&at.path().join("data"), random.random(), u64::MAX);
        let ended = listen(&mut worker, &mut promises);
        drop(worker);
        session.umount_and_join().unwrap();
        disk = std::mem::take(&mut *shared.lock().unwrap());
        let cut = disk.cut_at;
        let at_cut = disk.is_dead();
        disk = disk.after_cut(&mut random, round % 3 != 0);
        let ended = ended.and_then(|(heard, status)| match status {
            // None: sled aborts when the disk fails at the very moment it closes a replaced image.
            Some(FATAL | CANNOT_OPEN) | None if at_cut => Ok(()),
            _ => Err(format!("it ended with {status:?}, power cut {at_cut}: {:?}", heard.last())),
        });
        if let Err(lost) = ended {
            return Some(Err(format!("seed {seed}, round {round}, cut at operation {cut}: {lost}")));
        }
    }
    let shared = Arc::new(Mutex::new(disk));
    let session = mount(&shared, at.path())?;
    let settled = settle(start, &at.path().join("data"), &mut promises);
    session.umount_and_join().unwrap();
    Some(settled.map(|()| promises))
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    for promises in cut_power_for_all_seeds(NODE).unwrap_or_default() {
        assert!(promises.acknowledged > Some(100) && promises.vote > 0, "hardly anything was tested: {promises:?}");
    }
}

#[test]
fn without_barriers_the_power_cut_test_fails() {
    let Some(result) = cut_power(NODE, 25, 1, true) else { return };
    let lost = result.expect_err("nothing was lost on a disk that ignores fsync: this test proves nothing");
    eprintln!("without barriers: {lost}");
}

#[test]
fn a_full_disk_refuses_work_early_and_heals() {
    let at = tempfile::tempdir().unwrap();
    let shared = Arc::new(Mutex::new(Disk::default()));
    let Some(session) = mount(&shared, at.path()) else { return };
    let data = at.path().join("data");
    let mut promises = Promises::default();
    settle(NODE, &data, &mut promises).unwrap();

    // Room shrinks under the reserve while it runs: it refuses work before anything fails.
    let mut worker = Worker::start(&data, 1, u64::MAX, 256 << 20);
    assert!(matches!(worker.next(), Some(Said::Open { .. })));
    let used = shared.lock().unwrap().used();
    shared.lock().unwrap().capacity = used + (200 << 20);
    let (_, status) = listen(&mut worker, &mut promises).unwrap();
    assert_eq!(status, Some(LOW));

    // No room at all, and no reserve: the failure is told, not acknowledged over.
    let mut worker = Worker::start(&data, 2, u64::MAX, 0);
    assert!(matches!(worker.next(), Some(Said::Open { .. })));
    shared.lock().unwrap().capacity = 0;
    let (heard, status) = listen(&mut worker, &mut promises).unwrap();
    assert_eq!(status, Some(FATAL), "{:?}", heard.last());

    // It does not start like this, and says why.
    let (heard, status) = listen(&mut Worker::start(&data, 3, 1, 0), &mut promises).unwrap();
    assert_eq!(status, Some(CANNOT_OPEN));
    assert!(matches!(&heard[..], [Said::Other(why)] if why.contains("make room")), "{heard:?}");

    shared.lock().unwrap().capacity = 1 << 30;
    settle(NODE, &data, &mut promises).unwrap();
    session.umount_and_join().unwrap();
}

#[test]
fn an_io_error_is_fatal_and_a_restart_heals() {
    let at = tempfile::tempdir().unwrap();
    let shared = Arc::new(Mutex::new(Disk::default()));
    let Some(session) = mount(&shared, at.path()) else { return };
    let data = at.path().join("data");
    let mut promises = Promises::default();
    for seed in 0..4 {
        let mut worker = Worker::start(&data, seed, u64::MAX, 0);
        while let Some(said) = worker.next() {
            promises.hear(&said).unwrap();
            if said == Said::Acknowledged(promises.acknowledged.unwrap_or(0)) {
                shared.lock().unwrap().fails = true;
            }
        }
        assert_eq!(worker.wait(), Some(FATAL));
        shared.lock().unwrap().fails = false;
        settle(NODE, &data, &mut promises).unwrap();
    }
    session.umount_and_join().unwrap();
}
