//! How long the disk takes to make an append safe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use relevo_load::ledger::microseconds;
use serde::Serialize;

/// Bytes of the file written to, made like a segment of the spool: zeros, synced, before anything is measured.
const FILE_BYTES: u64 = 16 << 20;
const ZEROS: usize = 1 << 20;

/// Flushes of appends of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Flushes {
    /// Of one append.
    pub bytes: u64,
    /// How many were measured.
    pub count: u64,
    /// Appends made safe a second, one after the other.
    pub rate: f64,
    /// Median of append and `fdatasync`, microseconds.
    pub p50_us: u64,
    /// 99 of 100 took at most this.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// Removed with its end.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn create(directory: &Path) -> io::Result<Scratch> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".relevo-tune-{}-{number}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let scratch = Scratch { path, file };
        let zeros = vec![0; ZEROS];
        for at in (0..FILE_BYTES).step_by(ZEROS) {
            scratch.file.write_all_at(&zeros, at)?;
        }
        scratch.file.sync_all()?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is a file of known name; there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Appends of `bytes`, each followed by `fdatasync`, for about `time`. Needs an existing directory.
pub fn flushes(directory: &Path, bytes: u64, time: Duration) -> io::Result<Flushes> {
    let directory = crate::check::existing_directory(directory).ok_or(io::ErrorKind::NotFound)?;
    let scratch = Scratch::create(&directory)?;
    // Not zeros: a disk may have a shortcut for these.
    let body: Vec<u8> = (0..bytes).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let mut histogram = microseconds();
    let (began, mut at) = (Instant::now(), 0);
    while began.elapsed() < time || histogram.is_empty() {
        let before = Instant::now();
        scratch.file.write_all_at(&body, at)?;
        scratch.file.sync_data()?;
        histogram.saturating_record(before.elapsed().as_micros() as u64);
        at = if at + 2 * bytes > FILE_BYTES { 0 } else { at + bytes };
    }
    Ok(Flushes {
        bytes,
        count: histogram.len(),
        rate: histogram.len() as f64 / began.elapsed().as_secs_f64(),
        p50_us: histogram.value_at_quantile(0.5),
        p99_us: histogram.value_at_quantile(0.99),
        max_us: histogram.max(),
    })
}
