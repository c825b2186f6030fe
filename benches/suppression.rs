//! The suppression list at its full size: what a look-up takes, in memory and not, bytes an entry, a start, a new file, an import.
//!
//! `ENTRIES=50000000 BENCH_DIR=/var/tmp cargo bench --bench suppression`; 50,000,000 entries want 7 GB of disk for some minutes.

use std::convert::Infallible;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relevo::control::suppression::{Job, ListFile, Runs};
use relevo::policy::suppression::Suppression;
use relevo::policy::suppression::canonical::Kind;
use relevo::policy::suppression::entry::{Entry, Reason};
use relevo::policy::suppression::exchange::{Defaults, Import, write_line};
use relevo::policy::suppression::fingerprint::Key;
use relevo::policy::suppression::recent::{Recent, bit};
use relevo::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_764_000_000_000);
const KEY: Key = Key(*b"a key of a bench");

#[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
fn took<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

fn mixed(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) >> 1
}

fn address(number: u64, out: &mut String) {
    use std::fmt::Write;
    out.clear();
    let _ = write!(out, "some.user{number}@domain{}.example", number % 100_003);
}

fn entry<'a>(address: &'a str, tenant: Option<&'a str>) -> Entry<'a> {
    Entry { tenant, address, reason: Reason::HardBounce, added: NOW, expires: None, note: "" }
}

fn offered(directory: &Path, numbers: std::ops::Range<u64>) -> Runs {
    let (mut runs, mut text) = (Runs::new(directory, KEY), String::new());
    for number in numbers {
        address(number, &mut text);
        // One in eight is a tenant's.
        let tenant = (number % 8 == 7).then_some("shop");
        runs.offer(&entry(&text, tenant)).expect("room");
    }
    runs
}

fn opened(path: &Path) -> Arc<ListFile> {
    Arc::new(ListFile::open(path).expect("a sound file").expect("a file"))
}

/// Takes a file out of memory.
fn forget(path: &Path) {
    let file = File::open(path).expect("a file");
    file.sync_all().expect("a disk");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a kernel that forgets");
}

/// Time that this thread had the core.
fn worked() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds of a look-up, of recipients made before: of the best and of the middle one of some parts, as others may want the core; and how many of all
/// were listed.
fn look_ups(list: &Suppression, first: u64, below: u64, count: u64, tenant: Option<&str>) -> (Took, u64) {
    let (mut text, mut all, mut times) = (String::new(), 0, Vec::new());
    let parts = if count > 100_000 { 20 } else { 1 };
    for part in 0..parts {
        let recipients: Vec<(String, usize)> = (0..count / parts)
            .map(|number| {
                address(first + mixed((part << 32) | (number + 1)) % below, &mut text);
                (text.clone(), text.find('@').expect("an address") + 1)
            })
            .collect();
        let begun = worked();
        let is_listed = |(text, at): &&(String, usize)| list.find(text.as_bytes(), *at, tenant).is_some();
        let (time, found) = took(|| recipients.iter().filter(is_listed).count() as u64);
        let spent = worked() - begun;
        all += found;
        times
            .push((spent as f64 / recipients.len() as f64, time.as_nanos() as f64 / recipients.len() as f64));
    }
    times.sort_by(|one, other| one.0.total_cmp(&other.0));
    (Took { best: times[0].0, middle: times[times.len() / 2].0, clock: times[0].1 }, all)
}

/// Nanoseconds of a look-up.
struct Took {
    best: f64,
    middle: f64,
    clock: f64,
}

impl std::fmt::Display for Took {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.0} ns ({:.0} in the middle)", self.best, self.middle)
    }
}

fn csv(count: u64) {
    let (mut text, mut line) = (Vec::new(), String::new());
    for number in 0..count {
        address(number, &mut line);
        write_line(&entry(&line, Some("shop")), &mut text);
    }
    let (time, summary) = took(|| {
        let defaults = Defaults { tenant: None, reason: Reason::Manual, now: NOW };
        let mut import = Import::new(defaults);
        let mut seen = 0;
        let mut take = |entry: &Entry<'_>| {
            seen += entry.address.len();
            Ok::<(), Infallible>(())
        };
        text.chunks(64 << 10).try_for_each(|piece| import.feed(piece, &mut take)).expect("it takes all");
        import.finish(&mut take).expect("it takes all")
    });
    assert_eq!(summary.entries, count);
    println!("read as CSV          {count} lines, {} MB: {time:.2?}", text.len() >> 20);
}

fn main() {
    let entries = std::env::var("ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000u64);
    let parent = std::env::var_os("BENCH_DIR").unwrap_or("/var/tmp".into());
    let scratch = tempfile::tempdir_in(parent).expect("a scratch directory");
    let path = scratch.path().join("list");
    csv(entries.min(1_000_000));

    let (sorted, runs) = took(|| offered(scratch.path(), 0..entries));
    let (merged, made) = took(|| Job::of_import(scratch.path(), KEY, None, runs, NOW).run().expect("a disk"));
    let head = made.head;
    println!("import of {entries}: sorted {sorted:.2?}, new file {merged:.2?}");
    println!(
        "bytes an entry       look-up {:.2}, disk {:.2}",
        (head.parts[0].index_bytes() + head.parts[0].values_bytes()) as f64 / entries as f64,
        head.end as f64 / entries as f64
    );

    forget(&path);
    let (cold, file) = took(|| opened(&path));
    let recent = || Arc::new(Recent::new(0));
    let list = Suppression::new(KEY, Some(file.base().clone()), recent());
    let (faults, _) = look_ups(&list, 0, entries, 2_000, None);
    let (loaded, base) = took(|| file.load().expect("a sound file"));
    let mapped = look_ups(&list, entries, entries, 1_000_000, None).0;
    let list = Suppression::new(KEY, Some(base.clone()), recent());
    let (again, _) = took(|| opened(&path));
    println!("start                not in memory {cold:.2?}, in memory {again:.2?}; loaded {loaded:.2?}");
    println!("look-up, mapped              not listed {mapped}");
    println!("look-up from disk    {:.1} us", faults.clock / 1000.0);

    let count = 2_000_000;
    for (name, tenant) in [("node", None), ("node and tenant", Some("shop"))] {
        let (hit, found) = look_ups(&list, 0, entries, count, tenant);
        let (miss, none) = look_ups(&list, entries, entries, count, tenant);
        println!("look-up, {name:<16} listed {hit} ({found} of {count}), not listed {miss} ({none})");
    }
    let changed = Arc::new(Recent::new(250_000));
    let mut text = String::new();
    for number in 0..250_000 {
        address(2 * entries + number, &mut text);
        let place = entry(&text, None).place(&KEY).expect("a place");
        changed.set(place.fingerprint, true, bit(Kind::Address, false)).expect("room");
    }
    let with_changes = Suppression::new(KEY, Some(base), changed);
    let (miss, _) = look_ups(&with_changes, entries, entries, count, None);
    println!("look-up, 250,000 changes    not listed {miss}");
    let small = Suppression::new(KEY, None, recent());
    let (none, _) = look_ups(&small, 0, entries, count, Some("shop"));
    println!("look-up, empty list         {none}");

    let (merged, made) = took(|| {
        let runs = offered(scratch.path(), entries..entries + 250_000);
        Job::of_import(scratch.path(), KEY, Some(file.clone()), runs, NOW).run().expect("a disk")
    });
    println!("250,000 more         {merged:.2?}, {} entries", made.counts.entries);
}
