//! The floor under every latency: one write and one barrier, on one file and on three at once, as three nodes do.

use super::report::{Row, Runs};
use anyhow::Result;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// As long as the log's record of one command.
const RECORD: usize = 512;
/// Written before, as the log does, so that a barrier moves no metadata.
const FILE: usize = 16 << 20;

pub fn measure(runs: usize, time: Duration) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("licraft-bench").tempdir()?;
    let mut rows = Vec::new();
    for files in [1, 3] {
        let mut p50 = Runs::default();
        for _ in 0..runs {
            p50.0.push(barriers(dir.path(), files, time)?);
        }
        rows.push(Row {
            what: format!("fdatasync after {RECORD} bytes, {files} file(s), p50"),
            unit: "ms",
            runs: p50,
            target: None,
        });
    }
    Ok(rows)
}

/// The median in milliseconds.
fn barriers(dir: &Path, files: usize, time: Duration) -> Result<f64> {
    let mut all = hdrhistogram::Histogram::<u64>::new(3)?;
    std::thread::scope(|scope| {
        let work = |n: usize| move || write(&dir.join(n.to_string()), time);
        let threads: Vec<_> = (0..files).map(|n| scope.spawn(work(n))).collect();
        for thread in threads {
            all.add(thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??)?;
        }
        anyhow::Ok(())
    })?;
    Ok(all.value_at_quantile(0.5) as f64 / 1000.0)
}

fn write(path: &Path, time: Duration) -> Result<hdrhistogram::Histogram<u64>> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; FILE], 0)?;
    file.sync_all()?;
    let mut latencies = hdrhistogram::Histogram::<u64>::new(3)?;
    let end = Instant::now() + time;
    for at in (0..FILE as u64 - RECORD as u64).step_by(RECORD).cycle() {
        let began = Instant::now();
        if began > end {
            break;
        }
        file.write_all_at(&[1; RECORD], at)?;
        file.sync_data()?;
        latencies.record(began.elapsed().as_micros() as u64)?;
    }
    Ok(latencies)
}
